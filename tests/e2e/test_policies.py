"""What a feed can be told, and tables that somebody else made."""

import csv
import os
import re
from datetime import date
from decimal import Decimal

import deltalake
import pyarrow
import pytest

import lake


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def numbers(*values):
    return "number\n" + "".join(f"{value}\n" for value in values)


# --- objects that come again -----------------------------------------------------------------


@pytest.mark.parametrize(
    "policy, status, exit_code, expected",
    [
        ("skip", lake.SKIPPED, 0, [1, 2]),
        ("append", lake.COMMITTED, 0, [1, 2, 3, 4, 5]),
        ("fail", lake.FAILED, 1, [1, 2]),
    ],
)
def test_a_rewritten_file(inbox, table, tmp_path, policy, status, exit_code, expected):
    arguments = lake.feed(tmp_path, on_changed=policy)
    source = write(inbox / "source.csv", numbers(1, 2))
    lake.ingest_all(source, table=table, arguments=arguments)
    before = lake.version(table)
    write(source, numbers(3, 4, 5))

    run = lake.ingest(source, table=table, arguments=arguments)
    assert run.exit_code == exit_code, str(run)
    receipt = run.receipt(source)
    assert receipt["status"] == status, str(run)
    if status == lake.FAILED:
        assert receipt["error"]["kind"] == "source_refused", str(run)
    assert lake.column(table, "number") == expected
    assert (lake.version(table) == before) == (status != lake.COMMITTED)


def test_append_takes_each_version_once(inbox, table, tmp_path):
    arguments = lake.feed(tmp_path, on_changed="append")
    source = inbox / "source.csv"
    for content in (numbers(1), numbers(2, 3)):
        write(source, content)
        lake.ingest_all(source, table=table, arguments=arguments)
        again = lake.ingest_all(source, table=table, arguments=arguments)
        assert again.receipt(source)["status"] == lake.DUPLICATE
    assert lake.column(table, "number") == [1, 2, 3]


@pytest.mark.parametrize("policy", ["skip", "append", "fail"])
def test_a_touched_file_is_a_duplicate(inbox, table, tmp_path, policy):
    arguments = lake.feed(tmp_path, on_changed=policy)
    source = write(inbox / "source.csv", numbers(1, 2))
    lake.ingest_all(source, table=table, arguments=arguments)
    os.utime(source, (1_700_000_000, 1_700_000_000))
    run = lake.ingest_all(source, table=table, arguments=arguments)
    assert run.receipt(source)["status"] == lake.DUPLICATE, str(run)
    assert lake.column(table, "number") == [1, 2]


@pytest.mark.parametrize("key, expected", [("uri", [1, 1, 2, 2]), ("name", [1, 2])])
def test_one_name_in_two_folders(inbox, table, tmp_path, key, expected):
    arguments = lake.feed(tmp_path, source_key=key)
    for folder in ("monday", "tuesday"):
        source = write(inbox / folder / "source.csv", numbers(1, 2))
        lake.ingest_all(source, table=table, arguments=arguments)
    assert lake.column(table, "number") == expected


# --- reading ---------------------------------------------------------------------------------


def compressed(codec, text):
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, codec) as stream:
        stream.write(text.encode())
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.csv.zst"])
@pytest.mark.parametrize("codec", [None, "gzip", "zstd"])
def test_the_magic_number_tells_the_compression(inbox, table, name, codec):
    text = numbers(*range(10_000))
    source = inbox / name
    source.write_bytes(compressed(codec, text) if codec else text.encode())
    receipt = lake.ingest_all(source, table=table).receipt(source)
    assert (receipt["rows"], receipt["bytes_read"]) == (10_000, source.stat().st_size)
    assert lake.column(table, "number") == list(range(10_000))


def test_gzip_members_are_read_to_the_last(inbox, table):
    source = inbox / "members.csv.gz"
    source.write_bytes(compressed("gzip", numbers(1, 2)) + compressed("gzip", "3\n4\n"))
    lake.ingest_all(source, table=table)
    assert lake.column(table, "number") == [1, 2, 3, 4]


def test_a_dialect(inbox, table, tmp_path):
    dialect = {"delimiter": ";", "quote": "'", "null_values": ["-", "NA"]}
    text = "id;name;amount\n1;'a;b';1.5\n2;'it''s';-\nNA;\"c\";2.5\n"
    source = write(inbox / "source.csv", text)
    lake.ingest_all(source, table=table, arguments=lake.feed(tmp_path, csv=dialect))
    expected = [
        {"id": 1, "name": "a;b", "amount": 1.5},
        {"id": 2, "name": "it's", "amount": None},
        {"id": None, "name": '"c"', "amount": 2.5},
    ]
    assert without_source(lake.read(table)) == lake.in_order(expected)


def without_source(rows):
    return [{k: v for k, v in row.items() if k != "_source_file"} for row in rows]


def test_line_ends_and_a_byte_order_mark(inbox, table):
    source = inbox / "windows.csv"
    source.write_bytes(b"\xef\xbb\xbfid,name\r\n1,a\r\n2,\"b\r\nc\"\r\n")
    lake.ingest_all(source, table=table)
    expected = [{"id": 1, "name": "a"}, {"id": 2, "name": "b\r\nc"}]
    assert without_source(lake.read(table)) == expected


def test_a_column_is_given_its_type(inbox, table):
    prices = ["0.10", "1234567890123.45", "-0.01", "7"]
    source = write(inbox / "source.csv", "id,price\n" + "".join(f"{i},{p}\n" for i, p in enumerate(prices)))
    lake.ingest_all(source, table=table, arguments=["--column", "price=decimal(15,2)"])
    assert lake.column_types(table)["price"] == "decimal(15,2)"
    assert lake.column(table, "price") == sorted(map(Decimal, prices))


def test_leading_zeros_stay(inbox, table):
    source = write(inbox / "source.csv", "zip,count\n00501,1\n10001,2\n02134,3\n")
    lake.ingest_all(source, table=table)
    assert lake.column(table, "zip") == ["00501", "02134", "10001"]
    assert lake.column(table, "count") == [1, 2, 3]


def test_large_integers_stay_exact(inbox, table):
    values = [2**53 + 1, 2**63 - 1, -(2**63)]
    lake.ingest_all(write(inbox / "source.csv", numbers(*values)), table=table)
    assert lake.column(table, "number") == sorted(values)


def test_the_tables_schema_decides(inbox, table):
    """A later file whose values alone would be integers goes into the table's strings."""
    lake.ingest_all(write(inbox / "a.csv", "code,day\nx1,2026-01-02\n"), table=table)
    lake.ingest_all(write(inbox / "b.csv", "code,day\n17,2026-01-03\n"), table=table)
    assert lake.column(table, "code") == ["17", "x1"]
    assert lake.column(table, "day") == [date(2026, 1, 2), date(2026, 1, 3)]


# --- partitions ------------------------------------------------------------------------------

PLACES = ["Köln", "a/b", "50%", "x=y", "with space", "", "NL"]


def test_partitions(inbox, table, tmp_path):
    source = inbox / "source.csv"
    with source.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "place", "day"])
        writer.writerows([i, PLACES[i % 7], f"2026-01-0{1 + i % 2}"] for i in range(140))
    arguments = lake.feed(tmp_path, partition_by=["place", "day"])
    lake.ingest_all(source, table=table, arguments=arguments)

    assert deltalake.DeltaTable(table).metadata().partition_columns == ["place", "day"]
    found = [(r["id"], r["place"] or "", r["day"]) for r in lake.read(table)]
    expected = [(i, PLACES[i % 7], date(2026, 1, 1 + i % 2)) for i in range(140)]
    assert sorted(found) == expected


# --- tables of other makers ------------------------------------------------------------------


@pytest.fixture
def foreign(table):
    """A table that Python's deltalake made."""
    rows = {"id": pyarrow.array([1, 2], pyarrow.int64()), "name": ["a", "b"]}
    deltalake.write_deltalake(table, pyarrow.table(rows))
    return table


def test_a_foreign_table_is_appended_to_as_it_is(foreign, inbox):
    source = write(inbox / "source.csv", "id,name\n3,c\n")
    lake.ingest_all(source, table=foreign)
    assert lake.ingest_all(source, table=foreign).receipt(source)["status"] == lake.DUPLICATE
    assert lake.column_types(foreign) == {"id": "long", "name": "string"}
    assert lake.read(foreign) == [{"id": i, "name": n} for i, n in [(1, "a"), (2, "b"), (3, "c")]]


def test_deltalake_appends_to_our_table(inbox, table):
    lake.ingest_all(write(inbox / "source.csv", "id,name\n1,a\n"), table=table)
    more = {"id": pyarrow.array([2], pyarrow.int64()), "name": ["b"], "_source_file": ["theirs"]}
    deltalake.write_deltalake(table, pyarrow.table(more), mode="append")
    lake.ingest_all(write(inbox / "next.csv", "id,name\n3,c\n"), table=table)
    assert lake.column(table, "id") == [1, 2, 3]


@pytest.mark.parametrize("words", [["ingest"], ["ingest", "--json"], ["plan"]])
def test_a_check_constraint_is_refused(foreign, inbox, words):
    deltalake.DeltaTable(foreign).alter.add_constraint({"positive": "id > 0"})
    source = write(inbox / "source.csv", "id,name\n3,c\n")
    before = lake.listing(foreign)
    run = lake.run(*words, source, "--table", foreign)
    assert run.exit_code == 1, str(run)
    said = run.stdout + run.stderr
    assert re.search(r"check.?constraint", said, re.IGNORECASE), f"the feature is not named\n{run}"
    assert re.search(r"drop|remove|without", said, re.IGNORECASE), f"no way out\n{run}"
    assert lake.listing(foreign) == before


def test_columns_that_do_not_fit(foreign, inbox):
    source = write(inbox / "source.csv", "id,name,surprise\n3,c,1\n")
    run = lake.ingest(source, table=foreign)
    error = run.receipt(source)["error"]
    assert error["kind"] == "schema_mismatch" and "surprise" in str(error), str(run)
    assert lake.column(foreign, "id") == [1, 2]


# --- memory, plan, ledger --------------------------------------------------------------------


@pytest.mark.parametrize("memory", ["16MiB", "41MiB"])
def test_a_budget_that_is_too_small(inbox, table, memory):
    source = write(inbox / "source.csv", numbers(1))
    run = lake.run("ingest", source, "--table", table, "--memory", memory)
    assert run.exit_code == 2, str(run)
    sizes = re.findall(r"\d+(?:\.\d+)? ?[KMG]i?B", run.stderr)
    assert len(sizes) >= 2 and "--memory" in run.stderr, f"no sum is shown\n{run}"
    assert not table.exists()


def test_a_plan_writes_nothing(inbox, table):
    write(inbox / "old.csv", "id,amount\n1,2.5\n")
    planned = lake.run("plan", inbox, "--table", table)
    assert planned.exit_code == 0, str(planned)
    assert not table.exists()

    lake.ingest_all(inbox, table=table)
    write(inbox / "new.csv", "id,amount\n2,3.5\n")
    before = lake.listing(table.parent)
    planned = lake.run("plan", inbox, "--table", table)
    assert planned.exit_code == 0, str(planned)
    for word in ("old.csv", "new.csv", "id", "amount"):
        assert word in planned.stdout, str(planned)
    line = next(line for line in planned.stdout.splitlines() if "old.csv" in line)
    assert "duplicate" in line, str(planned)
    assert lake.listing(table.parent) == before


def test_each_object_is_read_as_it_is_written(inbox, table):
    write(inbox / "a.csv", "id,amount\n1,2.5\n")
    write(inbox / "b.csv", "Notes, as of May\n\nid;amount\n2;3.5\n3;4\n")
    planned = lake.run("plan", inbox, "--table", table)
    assert 'delimiter ";", header after line 2' in planned.stdout, str(planned)
    run = lake.ingest_all(inbox, table=table)
    dialect = run.receipt(inbox / "b.csv")["dialect"]
    assert dialect["delimiter"] == ";" and dialect["skip_lines"] == 2, str(run)
    assert 0 < dialect["confidence"] <= 1, str(run)
    assert sorted(row["amount"] for row in lake.read(table)) == [2.5, 3.5, 4]


def test_the_ledger_can_be_read(inbox, table):
    names = ["a.csv", "b.csv", "with space.csv"]
    for i, name in enumerate(names):
        write(inbox / name, numbers(i))
    lake.ingest_all(inbox, table=table)
    before = lake.listing(table)
    shown = lake.run("ledger", "show", table)
    assert shown.exit_code == 0, str(shown)
    for name in names:
        assert name in shown.stdout.replace("%20", " "), str(shown)
    assert lake.listing(table) == before


def test_a_lost_ledger_is_not_taken_for_empty(inbox, table):
    source = write(inbox / "source.csv", numbers(1))
    lake.ingest_all(source, table=table)
    ledger = table / "_delta_log" / "_lakefeed"
    ledger.rename(table.parent / "lost")
    before = lake.listing(table)
    run = lake.run("ingest", source, "--table", table)
    assert run.exit_code == 1, str(run)
    said = run.stdout + run.stderr
    assert "ledger rebuild" in said and "reset" in said, str(run)
    assert lake.listing(table) == before


# --- what a review found ---------------------------------------------------------------------


def test_content_is_known_again_after_a_version_without_rows(inbox, table):
    arguments = ["--on-changed", "append"]
    source = inbox / "source.csv"
    for content, status in [
        (numbers(1, 2), lake.COMMITTED),
        ("number\n", lake.COMMITTED),
        (numbers(1, 2), lake.DUPLICATE),
    ]:
        source.unlink(missing_ok=True)
        write(source, content)
        run = lake.ingest_all(source, table=table, arguments=arguments)
        assert run.statuses() == {"source.csv": status}
    assert lake.column(table, "number") == [1, 2]


def test_objects_without_rows_do_not_hide_the_others(inbox, table):
    for i in range(20):
        write(inbox / f"a{i:02}.csv", "number\n")
    write(inbox / "z.csv", numbers(1))
    run = lake.ingest_all(inbox, table=table)
    assert run.statuses()["z.csv"] == lake.COMMITTED
    assert lake.column(table, "number") == [1]


def test_many_objects_of_one_name(inbox, table):
    for i in range(30):
        write(inbox / f"day={i:02}" / "data.csv", numbers(i))
    arguments = ["--source-key", "name", "--on-changed", "append"]
    run = lake.ingest_all(inbox, table=table, arguments=arguments)
    assert [receipt["status"] for receipt in run.receipts] == [lake.COMMITTED] * 30
    assert lake.column(table, "number") == list(range(30))


def test_headers_that_differ_in_case_are_one_column(inbox, table):
    write(inbox / "a.csv", "id,Net Amount\n1,2\n")
    write(inbox / "b.csv", "ID,net_amount\n2,2.5\n")
    lake.ingest_all(inbox, table=table)
    assert lake.column(table, "id") == [1, 2]
    assert lake.column(table, "Net_Amount") == [2, 2.5]


def test_a_long_partition_value(inbox, table):
    long = "é" * 300
    write(inbox / "a.csv", f"id,part\n1,{long}\n2,x\n3,{long}y\n")
    lake.ingest_all(inbox, table=table, arguments=["--partition-by", "part"])
    # Polars takes the value from the folder's name, which no file system would hold.
    for read in (lake.read_with_deltalake, lake.read_with_duckdb):
        rows = {row["id"]: row["part"] for row in read(table)}
        assert rows == {1: long, 2: "x", 3: long + "y"}


def test_a_name_that_is_no_utf8_stops_nothing(inbox, table):
    with open(os.fsencode(inbox) + b"/caf\xe9.csv", "wb") as file:
        file.write(b"number\n1\n")
    write(inbox / "good.csv", numbers(2))
    run = lake.ingest(inbox, table=table)
    assert run.exit_code == 1, str(run)
    assert sorted(run.statuses().values()) == [lake.COMMITTED, lake.FAILED]
    assert lake.column(table, "number") == [2]


@pytest.mark.parametrize("place", ["nowhere/", "nowhere/*.csv", "nowhere"])
def test_a_folder_that_is_not_there(inbox, table, place):
    run = lake.ingest(inbox / place if not place.endswith("/") else f"{inbox}/{place}", table=table)
    assert run.exit_code == 1, str(run)
    assert [receipt["error"]["kind"] for receipt in run.receipts] == ["source_gone"]


def test_decimals_are_found_by_their_statistics(inbox, table):
    values = ["12345678901234.5678", "99999999999999.9999", "-0.0001"]
    for i, value in enumerate(values):
        write(inbox / f"{i}.csv", f"amount\n{value}\n")
        lake.ingest_all(
            inbox / f"{i}.csv", table=table, arguments=["--column", "amount=decimal(18,4)"]
        )
    for value in values:
        query = f"SELECT count(*) FROM delta_scan('{table}') WHERE amount = '{value}'::DECIMAL(18,4)"
        assert lake.connect().execute(query).fetchone() == (1,), value
    logs = "".join(path.read_text() for path in (table / "_delta_log").glob("*.json"))
    assert all(value in logs for value in values)


def test_a_partition_column_that_may_not_be_null(inbox, table):
    fields = [pyarrow.field("id", pyarrow.int64()), pyarrow.field("day", pyarrow.string(), False)]
    empty = pyarrow.schema(fields).empty_table()
    deltalake.write_deltalake(table, empty, partition_by=["day"])
    write(inbox / "a.csv", "id,day\n1,monday\n")
    lake.ingest_all(inbox, table=table)
    assert lake.column(table, "day") == ["monday"]
