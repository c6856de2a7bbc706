"""Holds a writer up between its pin and its commit, so that others can do something there."""

import fcntl
import json
import os
import subprocess
import time
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import lake

ARRIVAL_SECONDS_MAX = 30
# The writer waits for its turn for so long, and then goes on without.
WAIT_SECONDS_MAX = 60


@contextmanager
def lease_held(table: Path):
    """Nobody else gets the table's lease meanwhile."""
    record = table / "_delta_log" / "_lakefeed" / "table.lease"
    now = datetime.now(timezone.utc)
    lease = {
        "owner": "the gate", "purpose": "a test", "epoch": 1,
        "acquired_at": now.isoformat(), "renewed_at": now.isoformat(),
        "expires_at": (now + timedelta(minutes=10)).isoformat(),
    }
    with record.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(lease))
        file.flush()
        yield


@contextmanager
def before_the_commit(*sources, table: Path, **fields):
    """A run of these sources, which waits before its commit while the body runs. Yields a run that is
    filled in when the body has ended; `fields` are the feed's."""
    folder = table.parent
    lease = {"scope": "commit", "wait_seconds_max": WAIT_SECONDS_MAX}
    arguments = lake.feed(folder, lease=lease, **fields)
    before = lake.unnamed_files(table)
    outcome = lake.Run(-1, "", "")
    with lease_held(table):
        writer = subprocess.Popen(
            lake.command("ingest", *sources, "--table", table, "--json", *arguments),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            encoding="utf-8", env={**os.environ, "LAKEFEED_LOG": "warn,lakefeed=info"},
        )
        try:
            wait_for_its_files(writer, table, before)
            yield outcome
        except BaseException:
            writer.kill()
            raise
    outcome.stdout, outcome.stderr = writer.communicate(timeout=lake.RUN_SECONDS_MAX)
    outcome.exit_code = writer.returncode
    outcome.receipts = [lake.parse_receipt(line) for line in outcome.stdout.splitlines()]


def wait_for_its_files(writer, table, before):
    """Until it has pinned the table, looked at its objects, and written what they hold."""
    deadline = time.monotonic() + ARRIVAL_SECONDS_MAX
    while not any(is_finished(name) for name in lake.unnamed_files(table) - before):
        assert writer.poll() is None, writer.communicate()
        assert time.monotonic() < deadline, "it never wrote a file"
        time.sleep(0.01)


def is_finished(name: str) -> bool:
    return name.endswith(".parquet")
