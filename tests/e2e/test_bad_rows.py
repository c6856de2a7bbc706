"""What becomes of bad rows: quarantined, rescued, dropped, or the end of their object."""

import json
import re
import signal
import subprocess
import time

import duckdb
import pytest

import lake

# Of a file that takes long enough to be interrupted.
LARGE_ROWS = 1_500_000
WAIT_SECONDS_MAX = 30

DIRTY = (
    b"id,price,text\n"
    b"1,1.5,a\n"
    b"2,x,b\n"
    b"3,3.5\n"
    b"4,4.5,caf\xe9\n"
    b"5,5.5,e,f\n"
    b'6,6.5,"g"h\n'
    b"7,7.5,i\n"
)
# Line, byte, column, kind, row.
BAD = [
    (3, 22, "price", "bad_value", b"2,x,b"),
    (4, 28, None, "too_few_fields", b"3,3.5"),
    (5, 34, "text", "bad_encoding", b"4,4.5,caf\xe9"),
    (6, 45, None, "too_many_fields", b"5,5.5,e,f"),
    (7, 55, None, "text_after_quote", b'6,6.5,"g"h'),
]


@pytest.fixture
def dirty(inbox, table):
    """A dirty object, for a table that is there."""
    clean = inbox / "clean.csv"
    clean.write_text("id,price,text\n0,0.5,z\n")
    path = inbox / "dirty.csv"
    path.write_bytes(DIRTY)
    return clean, path


def csv(**options):
    """Options, with a dialect that is not to be found out: so much dirt may look like another."""
    options = {"delimiter": ",", "quote": '"', "header": "true"} | options
    return [part for key, value in options.items() for part in ("--csv", f"{key}={value}")]


def taken(dirty, table, **options):
    """The receipt of the dirty object."""
    clean, path = dirty
    lake.ingest_all(clean, table=table, arguments=csv(**options))
    return lake.ingest_all(path, table=table, arguments=csv(**options)).receipt(path)


def path_of(uri):
    assert uri.startswith("file://"), uri
    return uri.removeprefix("file://")


def quarantined(uri):
    query = f"""select line, byte, "column", kind, raw from '{path_of(uri)}' order by byte"""
    return duckdb.sql(query).fetchall()


def quarantine_files(table):
    return {path.name for path in table.glob("_delta_log/_lakefeed/**/quarantine/*.parquet")}


def commit_info(table):
    log = max((table / "_delta_log").glob("*.json"))
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    return next(action["commitInfo"] for action in actions if "commitInfo" in action)


def test_by_default_one_bad_row_fails_its_object(dirty, table):
    clean, path = dirty
    lake.ingest_all(clean, table=table)
    run = lake.ingest(path, table=table, arguments=csv())
    receipt = run.receipt(path)
    assert receipt["status"] == "failed", str(run)
    assert (receipt["error"]["line"], receipt["error"]["column"]) == (3, "price")
    assert (receipt["rows_rejected"], len(receipt["rejects"])) == (5, 5)
    assert lake.column(table, "id") == [0]


def test_quarantined_rows_are_in_a_file_that_the_commit_names(dirty, table):
    receipt = taken(dirty, table, bad_rows="quarantine")
    assert (receipt["rows"], receipt["rows_rejected"]) == (2, 5)
    assert [
        (reject["line"], reject["byte"], reject["column"], reject["kind"])
        for reject in receipt["rejects"]
    ] == [row[:4] for row in BAD]
    assert quarantined(receipt["quarantine"]) == BAD
    assert commit_info(table)["operationParameters"]["quarantine"] == receipt["quarantine"]
    assert sorted(lake.column(table, "id")) == [0, 1, 7]
    shown = lake.run("ledger", "show", table).stdout
    assert receipt["quarantine"] in shown


def test_small_objects_share_a_file(inbox, table):
    for name in ("a", "b", "c"):
        (inbox / f"{name}.csv").write_text("id\n1\n" + ("1,2\n" if name != "c" else ""))
    run = lake.ingest_all(inbox, table=table, arguments=csv(bad_rows="quarantine"))
    files = {r["source"].rsplit("/", 1)[-1]: r["quarantine"] for r in run.receipts}
    assert files["a.csv"] == files["b.csv"] and files["c.csv"] is None
    sources = duckdb.sql(f"select source from '{path_of(files['a.csv'])}' order by 1").fetchall()
    assert [source.rsplit("/", 1)[-1] for source, in sources] == ["a.csv", "b.csv"]


def test_a_large_object_is_quarantined_as_it_is_streamed(inbox, table):
    path = inbox / "large.csv"
    with path.open("w") as file:
        file.write("id,text\n")
        for number in range(LARGE_ROWS):
            file.write(f"{number},some text\n" if number % 3 else f"{number},some,text\n")
    receipt = lake.ingest_all(path, table=table, arguments=csv(bad_rows="quarantine")).receipt(path)
    assert receipt["rows_rejected"] == LARGE_ROWS // 3
    found = duckdb.sql(f"select count(*), count(distinct line) from '{path_of(receipt['quarantine'])}'")
    assert found.fetchall() == [(LARGE_ROWS // 3, LARGE_ROWS // 3)]


def test_a_place_of_ones_own(dirty, table, tmp_path):
    place = tmp_path / "bad"
    receipt = taken(dirty, table, bad_rows="quarantine", quarantine=place)
    assert path_of(receipt["quarantine"]).startswith(f"{place}/default-")
    assert quarantined(receipt["quarantine"]) == BAD


def test_rescued_rows_are_in_the_table_as_far_as_they_can_be_read(dirty, table):
    receipt = taken(dirty, table, bad_rows="rescue")
    assert (receipt["rows"], receipt["rows_rejected"], receipt["rows_rescued"]) == (7, 0, 5)
    read = [
        (json.loads(row["_rescued"]), row["id"], row["price"], row["text"])
        for row in lake.read(table) if row["_rescued"]
    ]
    expected = [
        ({"price": "x"}, 2, None, "b"),
        ({"_missing": 1}, 3, 3.5, None),
        ({"_raw_base64": "NCw0LjUsY2Fm6Q=="}, 4, 4.5, "caf\ufffd"),
        ({"_surplus": ["f"]}, 5, 5.5, "e"),
        ({"_raw": '6,6.5,"g"h'}, 6, 6.5, "gh"),
    ]
    assert sorted(read, key=str) == sorted(expected, key=str)


def test_a_table_without_the_column_is_given_it(dirty, table):
    clean, path = dirty
    lake.ingest_all(clean, table=table)
    # The sample from which columns are inferred must be text.
    path.write_bytes(DIRTY.replace(b"\xe9", b"e"))
    run = lake.ingest_all(path, table=table, arguments=csv(bad_rows="rescue"))
    assert run.receipt(path)["rows_rescued"] == 4
    assert len([row for row in lake.read(table) if row["_rescued"]]) == 4


def test_dropped_rows_are_counted(dirty, table):
    receipt = taken(dirty, table, bad_rows="drop")
    assert (receipt["rows"], receipt["rows_rejected"], receipt["quarantine"]) == (2, 5, None)


@pytest.mark.parametrize("budget", [{"max_bad_rows": 4}, {"max_bad_ratio": 0.5}])
@pytest.mark.parametrize("policy", ["quarantine", "rescue", "drop"])
def test_an_object_over_its_budget_is_refused_whole(dirty, table, policy, budget):
    clean, path = dirty
    arguments = csv(bad_rows=policy, **budget)
    lake.ingest_all(clean, table=table, arguments=arguments)
    run = lake.ingest(path, table=table, arguments=arguments)
    receipt = run.receipt(path)
    assert receipt["status"] == "failed" and next(iter(budget)) in receipt["error"]["message"]
    assert len(receipt["rejects"]) == 5
    assert lake.column(table, "id") == [0] and not quarantine_files(table)


def test_an_object_that_was_mended_is_taken_again(dirty, table):
    receipt = taken(dirty, table, bad_rows="quarantine")
    _, path = dirty
    path.write_bytes(b"id,price,text\n" + b"".join(b"%d,1.5,a\n" % number for number in range(1, 8)))
    run = lake.ingest_all(
        path, table=table, arguments=["--on-changed", "replace", *csv(bad_rows="quarantine")]
    )
    assert run.receipt(path)["rows_rejected"] == 0
    assert sorted(lake.column(table, "id")) == list(range(8))
    assert quarantined(receipt["quarantine"]) == BAD


def wait_until(is_so, what):
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not is_so():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.005)


def test_what_a_killed_writer_quarantined_is_swept_and_nothing_else(dirty, inbox, table):
    receipt = taken(dirty, table, bad_rows="quarantine")
    named = quarantine_files(table)
    large = inbox / "large.csv"
    large.write_text("id,price,text\n" + "1,1.5,some text\n" * LARGE_ROWS)

    def start(*arguments):
        nowhere = subprocess.DEVNULL
        return subprocess.Popen(lake.command(*arguments), stdout=nowhere, stderr=nowhere)

    holder = start("ingest", large, "--table", table, "--lease", "run", *csv())
    try:
        record = table / "_delta_log" / "_lakefeed" / "table.lease"
        wait_until(lambda: record.exists() and record.stat().st_size, "it takes the lease")
        holder.send_signal(signal.SIGSTOP)
        second = inbox / "second.csv"
        second.write_text("id,price,text\n1\n")
        writer = start("ingest", second, "--table", table, "--lease", "commit",
                       *csv(bad_rows="quarantine"))
        try:
            wait_until(lambda: quarantine_files(table) > named, "it has its quarantine file")
        finally:
            writer.kill()
            writer.wait()
    finally:
        holder.kill()
        holder.wait()
    run = lake.run("maintain", table, "--orphans")
    assert run.exit_code == 0 and re.search(r"and 1 file of the ledger", run.stdout), str(run)
    assert quarantine_files(table) == named
    assert quarantined(receipt["quarantine"]) == BAD


def test_what_was_quarantined_outlives_a_rebuilt_ledger_and_an_undone_object(dirty, table):
    receipt = taken(dirty, table, bad_rows="quarantine")
    _, path = dirty
    for arguments in (
        ("undo", table, path),
        ("maintain", table, "--orphans"),
        ("ledger", "rebuild", table),
        ("maintain", table, "--orphans"),
    ):
        run = lake.run(*arguments)
        assert run.exit_code == 0, str(run)
    assert quarantined(receipt["quarantine"]) == BAD
