"""How many commits a second a table takes from several writers at once, in a local folder, and on a store
with latency."""

import contextlib
import json
import shutil
import subprocess
import threading
import time
from pathlib import Path

from .figures import OURS
from .measure import PROCESS_SECONDS_MAX, SAID_CHARACTERS_MAX
from .places import CONTENDERS, REPOSITORY, Broken, say
from .tables import DELTA_RS, source

OURS_LEASED = f"{OURS}, lease"
# An append that lost every race it ran is begun again, as a scheduler would.
BEGINNINGS_MAX = 50


def run(setting, writers: int, appends: int) -> list[dict]:
    """One row of figures for each contender; each writer makes `appends` commits of one row."""
    contenders = {OURS: ours(setting, []), OURS_LEASED: ours(setting, ["--lease", "commit"])}
    if setting.peers:
        contenders[DELTA_RS] = delta_rs(setting)
    found = []
    for name, command in contenders.items():
        inbox, table = setting.scratch / "small", setting.scratch / "table"
        # The table is there before the race.
        once([setting.binary, "ingest", source(inbox, 0), "--table", table])
        numbers = [range(1 + w * appends, 1 + (w + 1) * appends) for w in range(writers)]
        sources = [[source(inbox, number) for number in of_writer] for of_writer in numbers]
        seconds, again = race([(command, table, of_writer) for of_writer in sources])
        rows = int(once([setting.python, CONTENDERS / "count_ids.py", table]).split()[-1])
        if rows != 1 + writers * appends:
            raise Broken(f"{name}: {rows} rows after {writers} writers × {appends} appends")
        shutil.rmtree(table)
        shutil.rmtree(inbox)
        rate = writers * appends / seconds
        found.append({"contender": name, "writers": writers, "appends": appends,
                      "seconds": seconds, "commits_per_second": rate, "begun_again": again})
        say(f"{writers} writers, {name}: {rate:.1f} commits/s, {again} begun again")
    return found


def with_latency(numbers) -> list[dict]:
    """The same of ours alone, on a store in memory where each request takes its time: bench/writers.rs
    says how. Cargo builds that first."""
    say("== building bench/writers.rs")
    command = ["cargo", "bench", "--quiet", "--locked", "--bench", "writers", "--", *map(str, numbers)]
    done = subprocess.run(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, encoding="utf-8", timeout=PROCESS_SECONDS_MAX)
    if done.returncode:
        raise Broken(f"{' '.join(command)} ended with {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def ours(setting, arguments):
    """One process for each append."""
    def work(table: Path, sources: list[Path], start: threading.Barrier) -> int:
        start.wait()
        return sum(
            begin([setting.binary, "ingest", csv, "--table", table, "--json", *arguments])
            for csv in sources
        )
    return work


def delta_rs(setting):
    """One process for all of a writer's appends, started before the race: Python takes too long to."""
    def work(table: Path, sources: list[Path], start: threading.Barrier) -> int:
        command = list(map(str, [setting.python, CONTENDERS / "delta_writer.py", table, *sources]))
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        process.stdout.readline()
        start.wait()
        try:
            said, _ = process.communicate("go\n", timeout=PROCESS_SECONDS_MAX)
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.returncode:
            raise Broken(f"{' '.join(command)}\n{said[-SAID_CHARACTERS_MAX:]}")
        return int(said.split()[-1])
    return work


def begin(command) -> int:
    """Runs an append until it is committed; how often it was begun again."""
    for beginnings in range(BEGINNINGS_MAX):
        done = execute(command)
        if done.returncode == 0:
            return beginnings
        receipts = [json.loads(line) for line in done.stdout.splitlines()]
        if [receipt["error"]["kind"] for receipt in receipts] != ["contention"]:
            break
    raise failure(command, done)


def once(command) -> str:
    done = execute(command)
    if done.returncode:
        raise failure(command, done)
    return done.stdout


def execute(command) -> subprocess.CompletedProcess:
    return subprocess.run(
        list(map(str, command)), stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8",
        timeout=PROCESS_SECONDS_MAX,
    )


def failure(command, done: subprocess.CompletedProcess) -> Broken:
    said = (done.stdout + done.stderr)[-SAID_CHARACTERS_MAX:]
    return Broken(f"{' '.join(map(str, command))}\nended with {done.returncode}:\n{said}")


def race(jobs) -> tuple[float, int]:
    """Does all jobs at once; the seconds until the last has ended, and what was begun again."""
    again, broken = [], []
    start = threading.Barrier(len(jobs) + 1, timeout=PROCESS_SECONDS_MAX)

    def do(command, table, sources):
        try:
            again.append(command(table, sources, start))
        except Exception as exception:  # Handed to whoever waits.
            broken.append(exception)
            start.abort()

    threads = [threading.Thread(target=do, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    with contextlib.suppress(threading.BrokenBarrierError):
        start.wait()
    began = time.monotonic()
    for thread in threads:
        thread.join()
    if broken:
        raise broken[0]
    return time.monotonic() - began, sum(again)
