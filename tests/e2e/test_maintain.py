"""Compaction and vacuum by a build with the feature `maintain`; `tests/run --maintain`."""

import json
import os
import subprocess
import time
from pathlib import Path

import deltalake
import pytest

import lake
import s3 as server

pytestmark = pytest.mark.maintain

FILES, ROWS_PER_FILE, INGESTERS = 240, 5, 4
DAYS_AGO = 8 * 24 * 3600
S3_TABLE = "s3://lake/orders"


@pytest.fixture(scope="session", autouse=True)
def engine(tmp_path_factory):
    """What is tested here is in the binary."""
    refused = lake.run("maintain", tmp_path_factory.mktemp("none") / "table", "--optimize")
    assert "this build of lakefeed cannot" not in refused.stderr, "build it: tests/run --maintain"


def write_files(inbox: Path, files=FILES, first=0) -> list[Path]:
    paths = [inbox / f"part_{number:03}.csv" for number in range(first, first + files)]
    for number, path in enumerate(paths, first):
        begin = number * ROWS_PER_FILE
        lines = (f"{i},text {i % 7}\n" for i in range(begin, begin + ROWS_PER_FILE))
        path.write_text("id,name\n" + "".join(lines))
    return paths


def ids(files=FILES) -> list[int]:
    return list(range(files * ROWS_PER_FILE))


def ingest_apart(paths, table, parts):
    """As many commits as `parts`, so that there are files to put together."""
    for part in range(parts):
        lake.ingest_all(*paths[part::parts], table=table)


def maintain(table, *arguments, **options) -> lake.Run:
    done = lake.run("maintain", table, *arguments, **options)
    assert done.exit_code == 0, str(done)
    return done


def data_files(table: Path) -> set[str]:
    return {str(p.relative_to(table)) for p in table.rglob("*.parquet") if "_delta_log" not in p.parts}


def live_files(table: Path) -> set[str]:
    return set(deltalake.DeltaTable(table).get_add_actions(flatten=True)["path"].to_pylist())


def ledger_files(table: Path) -> dict:
    return lake.listing(table / "_delta_log" / "_lakefeed")


def actions(table: Path, version: int) -> list[dict]:
    log = table / "_delta_log" / f"{version:020}.json"
    return [json.loads(line) for line in log.read_text().splitlines()]


def assert_all_taken(sources, table):
    """The ledger knows every object, and so each is a duplicate."""
    shown = lake.run("ledger", "show", table, "--json")
    names = {json.loads(line)["name"] for line in shown.stdout.splitlines()}
    assert {name.removeprefix("file://") for name in names} == {str(path) for path in sources}
    again = lake.ingest_all(*sources, table=table)
    assert {receipt["status"] for receipt in again.receipts} == {lake.DUPLICATE}


# --- putting together ------------------------------------------------------------------------


def test_small_files_become_one(inbox, table):
    sources = write_files(inbox, 24)
    ingest_apart(sources, table, 12)
    before, ledger = lake.read(table), ledger_files(table)
    done = maintain(table, "--optimize")
    assert "version 13: 12 data files of" in done.stdout and "became 1 of" in done.stdout, str(done)
    assert lake.read(table) == before and len(live_files(table)) == 1
    assert ledger_files(table) == ledger
    changes = [action for line in actions(table, 13) for key, action in line.items()
               if key in ("add", "remove")]
    assert len(changes) == 13 and not any(change["dataChange"] for change in changes)
    assert_all_taken(sources, table)
    assert "nothing to put together" in maintain(table, "--optimize").stdout
    assert lake.version(table) == 13


def test_beside_four_ingesters(inbox, table):
    sources = write_files(inbox)
    ingest_apart(sources[:8], table, 4)
    others = [sources[8 + i::INGESTERS] for i in range(INGESTERS)]
    # Each takes a few at a time, and some that its neighbour takes, too.
    scripts = [
        [mine[i:i + 8] + others[(number + 1) % INGESTERS][i:i + 2] for i in range(0, len(mine), 8)]
        for number, mine in enumerate(others)
    ]
    running, compactions = [None] * INGESTERS, []
    deadline = time.monotonic() + 90
    while any(scripts) or any(process and process.poll() is None for process in running):
        assert time.monotonic() < deadline
        for number, process in enumerate(running):
            if scripts[number] and (process is None or process.poll() is not None):
                assert process is None or process.returncode == 0
                running[number] = start("ingest", *scripts[number].pop(0), "--table", table)
        done = maintain(table, "--optimize")
        if "became" in done.stdout:
            compactions.append(int(done.stdout.split()[1].rstrip(":")))
    assert all(process.returncode == 0 for process in running)
    overtaken = [version for version in compactions if read_version(table, version) < version - 1]
    print(f"{len(compactions)} compactions, {len(overtaken)} of them overtaken on their way")
    assert len(compactions) >= 3 and overtaken
    assert lake.column(table, "id") == ids()
    assert_all_taken(sources, table)


def start(*arguments):
    return subprocess.Popen(
        lake.command(*arguments),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )


def read_version(table, version) -> int:
    (information,) = [line["commitInfo"] for line in actions(table, version) if "commitInfo" in line]
    return information["readVersion"]


def test_rows_are_still_known_by_their_source(inbox, table):
    """What was put together can be replaced and undone."""
    sources = write_files(inbox, 12)
    ingest_apart(sources, table, 4)
    maintain(table, "--optimize")
    undone = lake.run("undo", table, sources[3])
    assert undone.exit_code == 0, str(undone)
    sources[5].write_text("id,name\n-1,new\n")
    replaced = lake.ingest_all(sources[5], table=table, arguments=("--on-changed", "replace"))
    assert replaced.receipt(sources[5])["status"] == lake.COMMITTED
    maintain(table, "--optimize")
    gone = {i for number in (3, 5) for i in range(number * ROWS_PER_FILE, (number + 1) * ROWS_PER_FILE)}
    assert lake.column(table, "id") == sorted((set(ids(12)) - gone) | {-1})


def test_the_rows_of_a_curve(inbox, table):
    sources = write_files(inbox, 24)
    ingest_apart(sources, table, 6)
    before = lake.read(table)
    done = maintain(table, "--zorder", "name,id")
    assert "6 data files of" in done.stdout and "became 1 of" in done.stdout, str(done)
    assert lake.read(table) == before
    (path,) = live_files(table)
    names = deltalake.DeltaTable(table).to_pyarrow_table()["name"].to_pylist()
    changes = sum(one != other for one, other in zip(names, names[1:]))
    assert changes < len(names) / 2, f"{path} is in no order"
    assert_all_taken(sources, table)


@pytest.mark.parametrize("name", ["a table", "täble", "#1", "a+b=c"])
def test_a_table_may_have_a_difficult_name(inbox, tmp_path, name):
    """Read with one reader: Polars 2.1 does not find the files of such a table, whoever wrote it."""
    table = tmp_path / name
    ingest_apart(write_files(inbox, 4), table, 2)
    maintain(table, "--optimize")
    maintain(table, "--vacuum", "--retain", "0", "--yes")
    assert sorted(row["id"] for row in lake.read_with_deltalake(table)) == ids(4)
    assert len(data_files(table)) == 1


def test_columns_that_cannot_order_rows(inbox, table):
    (inbox / "a.csv").write_text("id,name,country\n1,a,de\n")
    lake.ingest_all(inbox / "a.csv", table=table, arguments=("--partition-by", "country"))
    before = lake.listing(table)
    for column, reason in [("nam", 'did you mean "name"?'), ("country", "is a partition column"),
                           ("xyzzy", 'no column "xyzzy"')]:
        refused = lake.run("maintain", table, "--zorder", f"id,{column}")
        assert refused.exit_code == 2 and reason in refused.stderr, str(refused)
    assert lake.listing(table) == before


def test_the_log_is_left_alone(inbox, table):
    """The engine would write a checkpoint after each commit, and take old log files away."""
    sources = write_files(inbox, 8)
    ingest_apart(sources, table, 4)
    deltalake.DeltaTable(table).alter.set_table_properties({
        "delta.checkpointInterval": "1", "delta.logRetentionDuration": "interval 0 days",
    })
    deltalake.DeltaTable(table).create_checkpoint()
    log = table / "_delta_log"
    for path in log.glob("*.json"):
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - DAYS_AGO))
    before = lake.listing(log)
    maintain(table, "--optimize")
    after = lake.listing(log)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {f"{lake.version(table):020}.json"}
    assert lake.column(table, "id") == ids(8)


def test_on_s3(s3):
    for number in range(6):
        s3.put("landing", f"orders/{number}.csv", f"id,name\n{number},ü\n")
        taken = lake.ingest("s3://landing/orders/", table=S3_TABLE, env=s3.environment)
        assert taken.exit_code == 0, str(taken)
    done = maintain(S3_TABLE, "--optimize", env=s3.environment)
    assert "6 data files of" in done.stdout, str(done)
    assert s3.column(S3_TABLE, "id") == list(range(6))
    puts = [r for r in s3.requests if r.method == "PUT" and r.path.endswith("/00000000000000000006.json")]
    assert len(puts) == 1
    swept = maintain(S3_TABLE, "--vacuum", "--retain", "0", "--yes", env=s3.environment)
    assert "6 data files were deleted" in swept.stdout, str(swept)
    assert s3.column(S3_TABLE, "id") == list(range(6))
    again = lake.ingest("s3://landing/orders/", table=S3_TABLE, env=s3.environment)
    assert {receipt["status"] for receipt in again.receipts} == {lake.DUPLICATE}


def test_an_answer_that_is_lost_is_found_out(s3):
    for number in range(3):
        s3.put("landing", f"orders/{number}.csv", f"id\n{number}\n")
        lake.ingest("s3://landing/orders/", table=S3_TABLE, env=s3.environment)
    commit = lambda request: request.method == "PUT" and "/_delta_log/0" in request.path
    s3.faults[:] = [server.Fault(commit, server.CUT, effect=True)]
    done = maintain(S3_TABLE, "--optimize", env=s3.environment)
    assert s3.faults[0].struck and "version 4: 3 data files" in done.stdout, str(done)
    assert s3.column(S3_TABLE, "id") == [0, 1, 2]


def test_dynamodb_is_refused_by_name(tmp_path):
    _, config, *_ = lake.feed(tmp_path, table="s3a://lake/orders", commit="dynamodb")
    for chore in ("--optimize", "--vacuum"):
        refused = lake.run("maintain", "s3a://lake/orders", chore, "--config", config)
        assert refused.exit_code == 2 and "DynamoDB" in refused.stderr, str(refused)


def test_a_table_of_the_dynamodb_kind_is_refused_unasked(s3):
    s3.put("landing", "a.csv", "id\n1\n")
    lake.ingest("s3://landing/a.csv", table=S3_TABLE, env=s3.environment)
    s3.put("lake", "orders/_delta_log/.tmp/00000000000000000001.json.x", "{}\n")
    before = s3.keys("lake")
    for chore in ("--optimize", "--vacuum"):
        refused = lake.run("maintain", S3_TABLE, chore, env=s3.environment)
        assert refused.exit_code == 1 and "through DynamoDB, too" in refused.stderr, str(refused)
    assert s3.keys("lake") == before


@pytest.mark.slow
def test_memory(inbox, table):
    """Two hundred megabytes of Parquet in small files; the figures are for people."""
    path = inbox / "wide.csv"
    for number in range(20):
        with path.open("w") as file:
            file.write("id,text,number\n")
            for i in range(number * 100_000, (number + 1) * 100_000):
                file.write(f"{i},{hash((i, 1)):x}{hash((i, 2)):x}{hash((i, 3)):x}{hash((i, 4)):x},{i * 7919 % 1000003}\n")
        lake.ingest_all(path, table=table, arguments=("--on-changed", "append"))
    size = sum((table / name).stat().st_size for name in live_files(table))
    for chore in (["--optimize"], ["--zorder", "number"]):
        done, usage = measure_run("maintain", table, *chore, "--memory", "512MiB")
        print(f"{chore[0]}: {size >> 20} MB of Parquet, peak {usage} MB: {done}")
        assert usage < 1500
    assert lake.aggregate(table, "SELECT count(*), count(DISTINCT id) FROM t") == [(2_000_000, 2_000_000)]


def measure_run(*arguments):
    process = subprocess.Popen(lake.command(*arguments), stdout=subprocess.PIPE, text=True)
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return said.strip(), usage.ru_maxrss >> 10


# --- vacuum ----------------------------------------------------------------------------------


def age(path: Path, seconds=DAYS_AGO):
    stat = path.stat()
    os.utime(path, (stat.st_atime, stat.st_mtime - seconds))


def test_vacuum_takes_what_is_old_and_nothing_else(inbox, table):
    sources = write_files(inbox, 12)
    ingest_apart(sources, table, 6)
    replaced = live_files(table)
    maintain(table, "--optimize")
    # What a killed process left long ago, and what one that is running has written just now.
    (table / "left.parquet").write_bytes(b"left")
    age(table / "left.parquet")
    (table / "in-flight.parquet").write_bytes(b"in flight")
    (table / "notes.txt").write_text("not ours")
    age(table / "notes.txt")
    for path in (table / "_delta_log").rglob("*"):
        age(path)
    before = lake.listing(table)
    rehearsed = maintain(table, "--vacuum", "--dry-run")
    assert rehearsed.stdout == "left.parquet\n1 data files would be deleted\n"
    assert lake.listing(table) == before

    assert maintain(table, "--vacuum").stdout == "1 data files were deleted\n"
    assert set(before) - set(lake.listing(table)) == {"left.parquet"}
    assert replaced <= data_files(table), "they left the table less than a week ago"

    (table / "in-flight.parquet").unlink()
    maintain(table, "--vacuum", "--retain", "0", "--yes")
    assert set(before) - set(lake.listing(table)) == replaced | {"left.parquet", "in-flight.parquet"}
    assert lake.column(table, "id") == ids(12)
    assert_all_taken(sources, table)


def test_less_than_the_table_keeps_is_asked_for_twice(inbox, table):
    ingest_apart(write_files(inbox, 2), table, 2)
    maintain(table, "--optimize")
    before = lake.listing(table)
    refused = lake.run("maintain", table, "--vacuum", "--retain", "167")
    assert refused.exit_code == 2, str(refused)
    assert "keeps files for 168 hours" in refused.stderr and "--yes" in refused.stderr, str(refused)
    assert lake.listing(table) == before
    maintain(table, "--vacuum", "--retain", "168")
    deltalake.DeltaTable(table).alter.set_table_properties(
        {"delta.deletedFileRetentionDuration": "interval 1 hours"})
    maintain(table, "--vacuum", "--retain", "1")
    assert lake.column(table, "id") == ids(2)


def test_vacuum_knows_partitions_of_any_text(inbox, table):
    """A live file that is not recognised by its path would be deleted."""
    countries = ["a b", "50%", "x:y", "ü", "a/b", "q=1", "%2F", "#?", ""]
    lines = (f"{number},{country}\n" for number, country in enumerate(countries))
    (inbox / "a.csv").write_text("id,country\n" + "".join(lines))
    lake.ingest_all(inbox / "a.csv", table=table, arguments=("--partition-by", "country"))
    (inbox / "b.csv").write_text("id,country\n" + "".join(
        f"{number},{country}\n" for number, country in enumerate(countries, 100)))
    lake.ingest_all(inbox / "b.csv", table=table)
    maintain(table, "--optimize")
    before = lake.read(table)
    files = data_files(table)
    for path in table.rglob("*.parquet"):
        age(path)
    maintain(table, "--vacuum")
    assert data_files(table) == files, "what left the table just now was taken for older"
    maintain(table, "--vacuum", "--retain", "0", "--yes")
    assert lake.read(table) == before and len(before) == 2 * len(countries)
    assert len(data_files(table)) == len(countries)


def test_vacuum_beside_ingesters(inbox, table):
    """A run's files are younger than the run, and so spared while that is younger than the retention."""
    sources = write_files(inbox, 120)
    ingest_apart(sources[:4], table, 2)
    running = [start("ingest", *sources[i::INGESTERS], "--table", table) for i in range(INGESTERS)]
    turns = 0
    while any(process.poll() is None for process in running):
        maintain(table, "--vacuum", "--retain", "1", "--yes")
        turns += 1
    assert turns and all(process.returncode == 0 for process in running)
    assert lake.column(table, "id") == ids(120)
    assert_all_taken(sources, table)
