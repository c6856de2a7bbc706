"""Writers that agree on who may write; and that no row depends on it."""

import json
import signal
import subprocess
import time

import pytest

import lake

ROWS = 1_500_000
WRITERS, FILES = 6, 12


@pytest.fixture
def large(inbox):
    """A file that takes long enough to be interrupted."""
    path = inbox / "large.csv"
    lines = (f"{number},some text that takes its room\n" for number in range(ROWS))
    path.write_text("id,text\n" + "".join(lines))
    return path


def start(*arguments):
    return subprocess.Popen(
        lake.command(*arguments), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8",
    )


def start_and_wait_for_its_lease(source, table):
    holder = start("ingest", source, "--table", table, "--lease", "run", "--json")
    record = table / "_delta_log" / "_lakefeed" / "table.lease"
    deadline = time.monotonic() + 20
    while not (record.exists() and record.stat().st_size):
        assert holder.poll() is None and time.monotonic() < deadline, "it never took the lease"
        time.sleep(0.001)
    return holder


def lease(command, table):
    shown = lake.run("lease", command, table, "--json")
    assert shown.exit_code == 0, str(shown)
    return json.loads(shown.stdout)


def count_ids(table):
    return lake.aggregate(table, "SELECT count(*), count(DISTINCT id) FROM t")


def test_a_second_run_is_told_who_holds_the_lease_and_a_person_can_break_it(large, table):
    holder = start_and_wait_for_its_lease(large, table)
    try:
        holder.send_signal(signal.SIGSTOP)
        held = lease("show", table)
        assert str(holder.pid) in held["owner"] and held["epoch"] == 1

        refused = lake.ingest(large, table=table, arguments=["--lease", "run"])
        error = refused.receipt(large)["error"]
        assert error["kind"] == "contention" and held["owner"] in error["message"], error
        assert "lease break" in error["advice"]

        told = lake.run("lease", "show", table)
        assert held["owner"] in told.stdout and "since" in told.stdout, str(told)
        assert lease("break", table)["owner"] == held["owner"]
        assert lake.run("lease", "show", table).stdout == "nobody holds the lease\n"
        second = lake.ingest_all(large, table=table, arguments=["--lease", "run"])
        assert second.statuses() == {"large.csv": lake.COMMITTED}
    finally:
        holder.send_signal(signal.SIGCONT)
    said, _ = holder.communicate(timeout=lake.RUN_SECONDS_MAX)
    # It woke up without its lease, and found that the object had been taken.
    assert lake.parse_receipt(said)["status"] == lake.DUPLICATE
    assert count_ids(table) == [(ROWS, ROWS)]


def test_the_lease_of_a_run_that_was_killed_is_free_at_once(large, table):
    holder = start_and_wait_for_its_lease(large, table)
    holder.kill()
    holder.wait()
    assert lease("show", table) is None
    after = lake.ingest_all(large, table=table, arguments=["--lease", "run"])
    assert after.statuses() == {"large.csv": lake.COMMITTED}
    assert count_ids(table) == [(ROWS, ROWS)]
    assert lease("show", table) is None


def test_writers_queue_for_their_commits(inbox, table):
    """Each its own files, all at once: nobody needs more than one attempt for them."""
    paths = [inbox / f"{number:02}.csv" for number in range(WRITERS * FILES)]
    for number, path in enumerate(paths):
        path.write_text(f"id\n{number}\n")
    lake.ingest_all(paths[0], table=table)
    writers = [
        start("ingest", *paths[n * FILES : (n + 1) * FILES], "--table", table,
              "--lease", "commit", "--json")
        for n in range(WRITERS)
    ]
    receipts = []
    for writer in writers:
        said, _ = writer.communicate(timeout=lake.RUN_SECONDS_MAX)
        assert writer.returncode == 0, said
        receipts += map(lake.parse_receipt, said.splitlines())
    assert lake.column(table, "id") == list(range(WRITERS * FILES))
    attempts = {r["attempts"] for r in receipts if r["status"] == lake.COMMITTED}
    assert attempts == {1}, attempts
