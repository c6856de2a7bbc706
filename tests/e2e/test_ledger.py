"""Ledgers that are lost, foreign, or forgotten on purpose, and events that sweep a feed."""

import json
import shutil

import deltalake
import pyarrow
import pytest

import lake

SCHEDULES = lake.REPOSITORY / "events" / "schedule"


def write(path, *values):
    path.write_text("number\n" + "".join(f"{value}\n" for value in values), encoding="utf-8")
    return path


def ledger_folder(table):
    return table / "_delta_log" / "_lakefeed"


def repair(word, table, *arguments):
    run = lake.run("ledger", word, table, "--json", *arguments)
    assert run.exit_code == 0, str(run)
    return json.loads(run.stdout)


@pytest.fixture
def taken(inbox, table):
    """A table that has taken two files."""
    lake.ingest_all(write(inbox / "a.csv", 1, 2), table=table)
    lake.ingest_all(write(inbox / "b.csv", 3), table=table)
    return table


def assert_refused(inbox, table, kind):
    run = lake.ingest(write(inbox / "c.csv", 4), table=table)
    assert run.exit_code == 1, str(run)
    error = run.receipt(inbox / "c.csv")["error"]
    assert error["kind"] == kind, str(run)
    assert "lakefeed ledger" in error["advice"], str(run)


def test_show_tells_of_each_object(taken):
    run = lake.run("ledger", "show", taken, "--json")
    entries = [json.loads(line) for line in run.stdout.splitlines()]
    assert [(e["name"].rsplit("/", 1)[-1], e["rows"], e["state"]) for e in entries] == [
        ("a.csv", 2, "in"), ("b.csv", 1, "in"),
    ]
    assert [e["version"] for e in entries] == [1, 2]


def test_duckdb_can_read_the_ledger(taken):
    tails = ledger_folder(taken) / "*" / "*" / "*.ledger"
    query = "SELECT DISTINCT name FROM read_json(?, format = 'newline_delimited') WHERE name NOTNULL"
    names = lake.connect().execute(query, [str(tails)]).fetchall()
    assert sorted(name.rsplit("/", 1)[-1] for (name,) in names) == ["a.csv", "b.csv"]


def test_a_lost_ledger_is_rebuilt_from_the_rows(inbox, taken):
    shutil.rmtree(ledger_folder(taken))
    assert_refused(inbox, taken, "ledger_missing")
    before = lake.column(taken, "number")
    assert repair("rebuild", taken)["entries"] == 2
    run = lake.ingest_all(inbox, table=taken)
    assert run.statuses() == {
        "a.csv": lake.DUPLICATE, "b.csv": lake.DUPLICATE, "c.csv": lake.COMMITTED,
    }
    assert lake.column(taken, "number") == [*before, 4]


def test_a_reset_forgets(inbox, taken):
    run = lake.run("ledger", "reset", taken)
    assert run.exit_code == 2 and "--yes" in run.stderr, str(run)
    assert repair("reset", taken, "--yes")["entries"] == 0
    lake.ingest_all(inbox, table=taken)
    assert lake.column(taken, "number") == [1, 1, 2, 2, 3, 3]


def test_a_table_replaced_in_place_is_not_taken_for_the_old_one(inbox, taken):
    old = json.loads((taken / "_delta_log" / f"{0:020}.json").read_text().splitlines()[2])
    assert "metaData" in old
    log = taken / "_delta_log" / f"{3:020}.json"
    old["metaData"]["id"] = "00000000-0000-0000-0000-000000000001"
    info = {"commitInfo": {"timestamp": 0, "operation": "REPLACE TABLE"}}
    log.write_text("\n".join(map(json.dumps, (info, old))) + "\n")
    assert_refused(inbox, taken, "ledger_foreign")
    repair("adopt", taken)
    assert lake.ingest_all(inbox / "c.csv", table=taken).statuses() == {"c.csv": lake.COMMITTED}


def test_a_table_with_sources_and_no_ledger_is_refused(inbox, table):
    rows = pyarrow.table({"number": [1], "_source_file": ["file:///elsewhere.csv"]})
    deltalake.write_deltalake(table, rows)
    assert_refused(inbox, table, "ledger_missing")
    assert repair("rebuild", table)["entries"] == 1
    assert lake.ingest_all(inbox, table=table).statuses() == {"c.csv": lake.COMMITTED}


def test_two_ledgers_of_one_table_know_nothing_of_each_other(inbox, table):
    source = write(inbox / "a.csv", 1)
    for ledger in ("one", "two"):
        run = lake.ingest_all(source, table=table, arguments=["--ledger", ledger])
        assert run.statuses() == {"a.csv": lake.COMMITTED}
    assert lake.column(table, "number") == [1, 1]


def test_a_schedule_sweeps_a_feed(inbox, table, tmp_path):
    write(inbox / "a.csv", 1)
    config = lake.feed(tmp_path, name="orders", source=str(inbox / "*.csv"), table=str(table))
    for event, status in [
        ("sweep-one-feed.json", lake.COMMITTED),
        ("eventbridge-rule.json", lake.DUPLICATE),
    ]:
        run = lake.run("invoke", SCHEDULES / event, "--json", *config[:2])
        assert run.exit_code == 0, str(run)
        assert [json.loads(line)["status"] for line in run.stdout.splitlines()] == [status]
    assert lake.column(table, "number") == [1]


def test_what_is_no_event_is_bad_usage(tmp_path):
    (tmp_path / "event.json").write_text('{"Records": []}')
    run = lake.run("invoke", tmp_path / "event.json")
    assert run.exit_code == 2 and "no event" in run.stderr, str(run)
