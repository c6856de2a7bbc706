"""Sweeps of many objects, most of which were taken before, and the ledger that knows them."""

import json
import subprocess
import sys

import pytest

import lake
from test_memory import MEASURE

TABLE = "s3://lake/orders"
# More than a tail of the ledger holds.
OBJECTS = 300
# More than a sweep holds at once, and what all of them may add to what a few take.
MANY_OBJECTS = 30_000
MANY_BYTES_MAX = 16_000_000


def fill(inbox, count):
    for number in range(count):
        (inbox / f"{number:05}.csv").write_text(f"id\n{number}\n", encoding="utf-8")


def entries(table, *objects):
    run = lake.run("ledger", "show", table, *objects, "--json")
    assert run.exit_code == 0, str(run)
    return [json.loads(line) for line in run.stdout.splitlines()]


def runs(table):
    return sorted(table.glob("_delta_log/_lakefeed/*/default/runs/*.ledger"))


@pytest.fixture
def taken(inbox, table):
    """A table that has taken more objects than a tail of its ledger holds, and one more since."""
    fill(inbox, OBJECTS)
    lake.ingest_all(inbox, table=table)
    (inbox / "last.csv").write_text("id\n-1\n", encoding="utf-8")
    lake.ingest_all(inbox, table=table)
    assert len(runs(table)) == 1
    return table


def test_what_was_folded_is_remembered(inbox, taken):
    again = lake.ingest_all(inbox, table=taken)
    assert set(again.statuses().values()) == {lake.DUPLICATE}
    assert len(again.receipts) == OBJECTS + 1
    assert lake.column(taken, "id") == [-1, *range(OBJECTS)]


def test_the_whole_ledger_is_shown_and_one_object_of_it(inbox, taken):
    shown = entries(taken)
    assert len(shown) == OBJECTS + 1
    assert {entry["name"].rsplit("/", 1)[-1] for entry in shown} == {p.name for p in inbox.iterdir()}
    one = next(entry for entry in shown if entry["name"].endswith("/00123.csv"))
    assert entries(taken, one["name"]) == [one]
    assert entries(taken, "nothing.csv") == []


def test_duckdb_reads_the_whole_ledger(taken):
    """With the query of docs/architecture.md."""
    folder = taken / "_delta_log" / "_lakefeed" / "*" / "default"
    query = """
        SELECT name, version, rows FROM read_parquet(?)
        UNION
        SELECT name, version, rows FROM read_json(?, format = 'newline_delimited') WHERE name IS NOT NULL
    """
    files = [str(folder / "runs" / "*.ledger"), str(folder / "*.ledger")]
    assert len(lake.connect().execute(query, files).fetchall()) == OBJECTS + 1


def test_a_lost_run_is_not_taken_for_empty(inbox, taken):
    (run,) = runs(taken)
    run.unlink()
    refused = lake.ingest(inbox / "00007.csv", table=taken)
    assert refused.exit_code == 1, str(refused)
    assert refused.receipts[0]["error"]["kind"] == "ledger_missing", str(refused)
    # What no run can hold needs none.
    (inbox / "z.csv").write_text("id\n-2\n", encoding="utf-8")
    lake.ingest_all(inbox / "z.csv", table=taken)
    rebuilt = lake.run("ledger", "rebuild", taken)
    assert rebuilt.exit_code == 0, str(rebuilt)
    again = lake.ingest_all(inbox, table=taken)
    assert set(again.statuses().values()) == {lake.DUPLICATE}


def test_maintain_merges_runs(inbox, table):
    for begin in range(8):
        for number in range(257):
            (inbox / f"{begin}-{number:03}.csv").write_text("id\n1\n", encoding="utf-8")
        lake.ingest_all(inbox / f"{begin}-*.csv", table=table)
    maintained = lake.run("maintain", table)
    assert "merged, 1 times" in maintained.stdout, str(maintained)
    assert len(entries(table)) == 8 * 257
    assert lake.run("maintain", table).stdout.count("merged") == 0
    again = lake.ingest_all(inbox, table=table)
    assert set(again.statuses().values()) == {lake.DUPLICATE}


def test_a_sweep_looks_only_at_what_it_does_not_know(s3):
    for number in range(20):
        s3.put("landing", f"orders/{number:02}.csv", f"id\n{number}\n")
    sweep = ("ingest", "s3://landing/orders/", "--table", TABLE, "--json")
    assert lake.run(*sweep, env=s3.environment).exit_code == 0
    s3.put("landing", "orders/07.csv", "id\n700\n701\n")
    s3.put("landing", "orders/20.csv", "id\n20\n")
    s3.requests.clear()
    again = lake.run(*sweep, env=s3.environment)
    assert again.exit_code == 0, str(again)
    looked_at = {r.path for r in s3.requests if r.path.startswith("/landing/orders/") and "csv" in r.path}
    assert looked_at == {"/landing/orders/07.csv", "/landing/orders/20.csv"}
    statuses = [lake.parse_receipt(line)["status"] for line in again.stdout.splitlines()]
    assert sorted(statuses) == sorted([lake.COMMITTED, lake.SKIPPED, *[lake.DUPLICATE] * 19])
    assert s3.column(TABLE, "id") == list(range(21))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_memory_does_not_grow_with_what_a_sweep_finds(inbox, tmp_path, table):
    def sweep(source):
        result = tmp_path / "measured.json"
        subprocess.run(
            [sys.executable, "-I", "-S", MEASURE, result,
             *lake.command("ingest", source, "--table", table)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True,
        )
        return json.loads(result.read_text())["peak_rss_bytes"]

    fill(inbox, MANY_OBJECTS)
    first = sweep(inbox)
    again = sweep(inbox)
    few = sweep(inbox / "0000?.csv")
    print(f"{few / 1e6:.1f} MB for ten, {again / 1e6:.1f} for all again, {first / 1e6:.1f} at first")
    assert again <= few + MANY_BYTES_MAX
    assert lake.aggregate(table, "SELECT count(*), count(DISTINCT id) FROM t") == [
        (MANY_OBJECTS, MANY_OBJECTS)
    ]
