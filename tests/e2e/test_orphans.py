"""What killed and frozen writers leave behind, and that a sweep takes that and nothing else."""

import re
import signal
import subprocess
import time
import uuid

import deltalake
import pytest

import lake

# Of a file that takes long enough to be interrupted.
LARGE_ROWS = 1_500_000
WAIT_SECONDS_MAX = 30


@pytest.fixture
def started():
    """Starts processes, and leaves none behind."""
    processes = []

    def start(*arguments):
        processes.append(subprocess.Popen(
            lake.command(*arguments), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8",
        ))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def write(inbox, name, *ids):
    path = inbox / name
    path.write_text("id,text\n" + "".join(f"{number},some text\n" for number in ids))
    return path


def wait_until(is_so, what):
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not is_so():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.005)


def unnamed(table):
    """Finished data files that the newest version does not name."""
    return {name for name in lake.unnamed_files(table) if name.endswith(".parquet")}


def sweep(table, *arguments):
    """How many data files and files of the ledger were deleted, or would be."""
    run = lake.run("maintain", table, "--orphans", *arguments)
    assert run.exit_code == 0, str(run)
    found = re.search(r"names (\d+) data files? \(.*?\) and (\d+) files? of the ledger", run.stdout)
    assert found, str(run)
    return tuple(map(int, found.groups()))


def ledger(table):
    return lake.run("ledger", "show", table, "--json").stdout


@pytest.fixture
def stuck(inbox, table, started):
    """A writer that has its data file, and waits for a lease; and who has that, frozen."""
    lake.ingest_all(write(inbox, "first.csv", 1), table=table)
    large = write(inbox, "large.csv", *range(1_000_000, 1_000_000 + LARGE_ROWS))
    holder = started("ingest", large, "--table", table, "--lease", "run", "--json")
    record = table / "_delta_log" / "_lakefeed" / "table.lease"
    wait_until(lambda: record.exists() and record.stat().st_size, "it takes the lease")
    holder.send_signal(signal.SIGSTOP)
    writer = started("ingest", write(inbox, "second.csv", 2, 3), "--table", table,
                     "--lease", "commit", "--json")
    wait_until(lambda: unnamed(table), "it has its data file")
    return writer, holder


def test_a_writer_that_was_frozen_through_a_sweep_starts_again(stuck, inbox, table):
    writer, holder = stuck
    writer.send_signal(signal.SIGSTOP)
    (orphan,) = unnamed(table)
    assert sweep(table, "--dry-run") == (1, 0)
    assert unnamed(table) == {orphan}
    assert sweep(table) == (1, 0)
    assert not unnamed(table)

    holder.send_signal(signal.SIGCONT)
    writer.send_signal(signal.SIGCONT)
    for process in (holder, writer):
        said, _ = process.communicate(timeout=120)
        receipt = lake.parse_receipt(said)
        assert receipt["status"] == lake.COMMITTED, said
    # Who wakes up to find a checkpoint over his version cannot tell whether he was in it, and leaves
    # his files to the next sweep.
    sweep(table)
    assert sweep(table) == (0, 0) and not unnamed(table)
    counted = lake.aggregate(table, "SELECT count(*), count(DISTINCT id) FROM t")
    assert counted == [(LARGE_ROWS + 3, LARGE_ROWS + 3)]
    again = lake.ingest_all(inbox, table=table)
    assert set(again.statuses().values()) == {lake.DUPLICATE}


def test_what_a_killed_writer_left_behind_goes(stuck, inbox, table):
    writer, holder = stuck
    writer.kill()
    holder.kill()
    assert sweep(table) == (1, 0)
    assert not unnamed(table) and sweep(table) == (0, 0)
    lake.ingest_all(inbox / "second.csv", table=table)
    assert lake.column(table, "id") == [1, 2, 3]


def test_nothing_else_goes(inbox, table):
    lake.ingest_all(write(inbox, "first.csv", 1), table=table)
    entries = ledger(table)
    folder = next(table.glob("_delta_log/_lakefeed/*/default"))
    spared = [
        table / f"part-00000-{uuid.uuid4()}-c000.zstd.parquet",
        table / f"lakefeed-another-0-{uuid.uuid4()}.zstd.parquet",
        table / f"lakefeed-default-99-{uuid.uuid4()}.zstd.parquet",
        table / "notes.txt",
        # A tail that may be the next one's.
        folder / f"{99 << 24:019}.ledger",
        folder / f"runs/99-{uuid.uuid4()}.ledger",
    ]
    orphans = [
        table / f"lakefeed-default-0-{uuid.uuid4()}.zstd.parquet",
        table / f"country=DE/lakefeed-default-0-{uuid.uuid4()}.zstd.parquet",
        folder / f"{1 << 24 | 7:019}.ledger",
        folder / f"runs/0-{uuid.uuid4()}.ledger",
    ]
    for path in spared + orphans:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("left behind")
    assert sweep(table, "--dry-run") == (2, 2)
    assert all(path.exists() for path in spared + orphans)
    assert sweep(table) == (2, 2)
    assert all(path.exists() for path in spared)
    assert not any(path.exists() for path in orphans)
    assert ledger(table) == entries
    assert lake.ingest_all(inbox, table=table).statuses() == {"first.csv": lake.DUPLICATE}


@pytest.mark.parametrize("is_forgotten", [False, True])
def test_what_was_committed_once_is_for_vacuum_to_take(inbox, table, is_forgotten):
    first = write(inbox, "first.csv", 1)
    lake.ingest_all(first, table=table)
    (named,) = deltalake.DeltaTable(table).get_add_actions(flatten=True)["path"].to_pylist()
    before = lake.version(table)
    if is_forgotten:
        deltalake.DeltaTable(table).alter.set_table_properties(
            {"delta.deletedFileRetentionDuration": "interval 0 hours"},
            raise_if_not_exists=False)
    deltalake.DeltaTable(table).delete()
    # With no retention, the checkpoint does not tell of the file that was taken away.
    assert lake.run("maintain", table).exit_code == 0
    assert sweep(table) == (0, 0)
    assert (table / named).exists()
    assert deltalake.DeltaTable(table, version=before).to_pyarrow_table().num_rows == 1


def test_a_table_that_is_not_there(table):
    run = lake.run("maintain", table, "--orphans")
    assert run.exit_code != 0 and "there is no table" in run.stderr, str(run)
    assert not table.exists()
