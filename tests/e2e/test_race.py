"""Many writers, some of them killed: every row is there exactly once."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lake

FILES, ROWS_PER_FILE, WRITERS = 200, 5, 4
RIVAL = Path(__file__).with_name("rival.py")


@pytest.fixture
def sources(inbox):
    paths = [inbox / f"part_{number:03}.csv" for number in range(FILES)]
    for number, path in enumerate(paths):
        first = number * ROWS_PER_FILE
        lines = (f"{i},text {i}\n" for i in range(first, first + ROWS_PER_FILE))
        path.write_text("id,name\n" + "".join(lines))
    return paths


EVERY_ID = list(range(FILES * ROWS_PER_FILE))


def start(*arguments):
    return subprocess.Popen(
        lake.command(*arguments),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )


def race(sources, table, random_numbers, solo_seconds):
    """Four writers of the same files; two are killed somewhere on their way. How many were."""
    writers = [start("ingest", *sources, "--table", table, "--json") for _ in range(WRITERS)]
    # Beside three others a writer takes up to as many times longer than alone.
    moments = sorted(random_numbers.uniform(0, 2.5 * solo_seconds) for _ in range(2))
    victims = random_numbers.sample(writers, 2)
    began = time.monotonic()
    for moment, victim in zip(moments, victims):
        time.sleep(max(0, began + moment - time.monotonic()))
        victim.kill()
    exit_codes = [writer.wait(timeout=lake.RUN_SECONDS_MAX) for writer in writers]
    # A survivor may have lost every attempt (1), but may not have crashed.
    assert set(exit_codes) <= {0, 1, -signal.SIGKILL}, exit_codes
    return exit_codes.count(-signal.SIGKILL)


def seconds_alone(sources, table):
    began = time.monotonic()
    lake.ingest_all(*sources, table=table)
    return time.monotonic() - began


def test_killed_writers_lose_and_double_nothing(sources, tmp_path):
    solo_seconds = seconds_alone(sources, tmp_path / "alone")
    killed = 0
    began = time.monotonic()
    for seed in range(12):
        if time.monotonic() - began > 45 and killed:
            break
        table = tmp_path / f"table_{seed}"
        killed += race(sources, table, random.Random(seed), solo_seconds)
        last = lake.ingest_all(*sources, table=table)
        assert len(last.receipts) == FILES
        assert lake.column(table, "id") == EVERY_ID, f"seed {seed}"
    print(f"{killed} writers were killed on their way, over {seed + 1} tables")
    assert killed >= 3, "the kills came too late to mean anything"


def test_a_race_without_kills(sources, table):
    writers = [start("ingest", *sources, "--table", table, "--json") for _ in range(WRITERS)]
    assert [writer.wait(timeout=lake.RUN_SECONDS_MAX) for writer in writers] == [0] * WRITERS
    assert lake.column(table, "id") == EVERY_ID
    again = lake.ingest_all(*sources, table=table)
    assert {r["status"] for r in again.receipts} == {lake.DUPLICATE}


def test_beside_a_rival_that_appends_and_compacts(sources, table, tmp_path):
    """Waves of four writers, one of them killed, while deltalake writes to the same table."""
    random_numbers = random.Random(7)
    waves = [sources[i : i + 10] for i in range(0, FILES, 10)]
    lake.ingest_all(*waves[0], table=table)
    stop = tmp_path / "stop"
    rival = subprocess.Popen(
        [sys.executable, str(RIVAL), str(table), str(stop)], stdout=subprocess.PIPE, text=True
    )
    said = rival.stdout.readline()
    try:
        for wave in waves[1:]:
            writers = [start("ingest", *wave, "--table", table, "--json") for _ in range(WRITERS)]
            time.sleep(random_numbers.uniform(0, 0.15))
            random_numbers.choice(writers).kill()
            for writer in writers:
                assert writer.wait(timeout=lake.RUN_SECONDS_MAX) in (0, 1, -signal.SIGKILL)
    finally:
        stop.touch()
        # Not `communicate`, which does not give what is buffered with the first line.
        said += rival.stdout.read()
    assert rival.wait(timeout=lake.RUN_SECONDS_MAX) == 0
    lake.ingest_all(*sources, table=table)

    appended = [int(line.split()[1]) for line in said.splitlines() if line.startswith("appended")]
    compactions = said.count("compacted")
    print(f"the rival appended {len(appended)} times and compacted {compactions} times")
    assert len(appended) >= 3 and compactions >= 1, said
    assert lake.column(table, "id") == sorted(EVERY_ID + appended)
