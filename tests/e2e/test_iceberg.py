"""Iceberg tables that are a folder, read by other people's readers; `tests/run --iceberg`."""

import csv
import datetime
import json
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest
from pyiceberg.expressions import EqualTo
from pyiceberg.table import StaticTable

import lake
from test_first_run import ORDERS, TYPES, expected_rows

pytestmark = pytest.mark.iceberg

RACERS, FILES, ROWS_PER_FILE = 4, 40, 5


@pytest.fixture(scope="session", autouse=True)
def format(tmp_path_factory):
    """What is tested here is in the binary."""
    refused = lake.run(
        "ingest", tmp_path_factory.mktemp("none"), "--format", "iceberg", "--table", "memory:///none", "--json"
    )
    assert "this build has no" not in refused.stdout + refused.stderr, "build it: tests/run --iceberg"


def ingest(*sources, table, arguments=(), **options):
    return lake.ingest_all(*sources, table=table, arguments=("--format", "iceberg", *arguments), **options)


def newest_metadata(table: Path) -> Path:
    """Found as its readers find it: by the hint."""
    return table / "metadata" / f"v{(table / 'metadata' / 'version-hint.text').read_text()}.metadata.json"


def pyiceberg(table: Path) -> StaticTable:
    return StaticTable.from_metadata(str(newest_metadata(table)))


def read(table: Path) -> list[dict]:
    """The table's rows in a fixed order, on which all readers agree."""
    by_pyiceberg = lake.in_order(pyiceberg(table).scan().to_arrow().to_pylist())
    rows = lake.connect("avro", "iceberg").execute("SELECT * FROM iceberg_scan(?)", [str(table)])
    assert lake.in_order(rows.to_arrow_table().to_pylist()) == by_pyiceberg, table
    return by_pyiceberg


def column(table: Path, name: str) -> list:
    return sorted(row[name] for row in read(table))


def test_every_cell_is_right(table):
    run = ingest(ORDERS, table=table)
    assert set(run.statuses().values()) == {lake.COMMITTED}
    found = read(table)
    for row in found:
        row["note"] = row["note"] or ""
        row["_source_file"] = row["_source_file"].rsplit("/", 1)[-1]
    assert sorted(found, key=lambda row: row["order_id"]) == list(expected_rows())
    assert sum(row["amount"] for row in found) == pytest.approx(
        sum(row["amount"] for row in expected_rows())
    )


def test_types_are_iceberg_s(table):
    ingest(ORDERS, table=table)
    types = {field.name: str(field.field_type) for field in pyiceberg(table).schema().fields}
    assert types.pop("ordered_at") in ("timestamp", "timestamptz")
    assert types == TYPES


def test_what_was_taken_is_not_taken_again(table):
    ingest(*sorted(ORDERS.glob("*.csv"))[:2], table=table)
    first = ingest(ORDERS, table=table)
    assert sorted(first.statuses().values()) == [lake.COMMITTED] * 2 + [lake.DUPLICATE] * 2
    before = lake.listing(table)
    again = ingest(ORDERS, table=table)
    assert set(again.statuses().values()) == {lake.DUPLICATE}
    assert lake.listing(table) == before, "nothing is written"
    assert column(table, "order_id") == sorted(row["order_id"] for row in expected_rows())


def test_values_come_back_to_the_last_digit(table, inbox):
    source = inbox / "a.csv"
    source.write_text(
        "tiny,price,at,local,name\n"
        "-128,99999999999999999999.99,2024-02-29T23:59:59.123456Z,2024-02-29T23:59:59.123456,grüße\n"
        "127,-0.05,1969-12-31T23:59:59.999999Z,1969-12-31T23:59:59.999999,文件\n"
        ",,,,\n"
    )
    types = ("tiny=int8", "price=decimal(22,2)", "at=timestamptz", "local=timestamp", "name=string")
    ingest(source, table=table, arguments=[part for text in types for part in ("--column", text)])
    leap = datetime.datetime(2024, 2, 29, 23, 59, 59, 123456)
    eve = datetime.datetime(1969, 12, 31, 23, 59, 59, 999999)
    rows = sorted(read(table), key=lambda row: str(row["tiny"]))
    for row in rows:
        row.pop("_source_file")
    assert rows == [
        {"tiny": -128, "price": Decimal("99999999999999999999.99"), "at": leap, "local": leap, "name": "grüße"},
        {"tiny": 127, "price": Decimal("-0.05"), "at": eve, "local": eve, "name": "文件"},
        {"tiny": None, "price": None, "at": None, "local": None, "name": None},
    ]
    (file,) = pyiceberg(table).inspect.files().to_pylist()
    bounds = {name: (m["lower_bound"], m["upper_bound"]) for name, m in file["readable_metrics"].items()}
    assert bounds["price"] == (Decimal("-0.05"), Decimal("99999999999999999999.99"))
    assert bounds["tiny"] == (-128, 127)
    assert [lake.without_zone(bound) for bound in bounds["at"]] == [eve, leap]
    assert {m["null_value_count"] for n, m in file["readable_metrics"].items() if n != "_source_file"} == {1}


def test_a_filter_opens_only_the_files_it_must(table):
    for path in sorted(ORDERS.glob("*.csv")):
        ingest(path, table=table)
    found = pyiceberg(table)
    (source, *_) = sorted({row["_source_file"] for row in read(table)})
    scan = found.scan(row_filter=EqualTo("_source_file", source))
    assert len(list(found.scan().plan_files())) == 4
    assert len(list(scan.plan_files())) == 1, "names that begin alike are told apart by their bounds"
    with ORDERS.joinpath(source.rsplit("/", 1)[-1]).open(newline="") as file:
        assert scan.to_arrow().num_rows == len(list(csv.DictReader(file)))


def test_partitions_are_columns_and_are_pruned(table, inbox):
    arguments = lake.feed(inbox, partition_by=["country"], format="iceberg")
    lake.ingest_all(ORDERS, table=table, arguments=arguments)
    expected = list(expected_rows())
    country = expected[0]["country"]
    found = pyiceberg(table)
    assert [field.name for field in found.spec().fields] == ["country"]
    assert len(read(table)) == len(expected)
    scan = found.scan(row_filter=EqualTo("country", country))
    assert all(task.file.partition[0] == country for task in scan.plan_files())
    ids = scan.to_arrow()["order_id"].to_pylist()
    assert sorted(ids) == sorted(row["order_id"] for row in expected if row["country"] == country)


def test_a_version_of_before_can_be_read(table):
    for path in sorted(ORDERS.glob("*.csv")):
        ingest(path, table=table)
    found = pyiceberg(table)
    assert [entry["operation"] for entry in found.inspect.snapshots().to_pylist()] == ["append"] * 4
    rows = [
        found.scan(snapshot_id=snapshot.snapshot_id).to_arrow().num_rows
        for snapshot in sorted(found.snapshots(), key=lambda snapshot: snapshot.sequence_number)
    ]
    assert rows == sorted(rows) and rows[-1] == 34 and len(set(rows)) == 4
    assert [int(s.summary["total-records"]) for s in found.snapshots()] == rows


def test_the_hint_may_be_wrong_or_missing(table):
    (first, *others) = sorted(ORDERS.glob("*.csv"))
    ingest(first, table=table)
    hint = table / "metadata" / "version-hint.text"
    for text, path in zip(("1", "99", "nonsense"), others):
        hint.write_text(text)
        ingest(path, table=table)
    hint.unlink()
    again = ingest(ORDERS, table=table)
    assert set(again.statuses().values()) == {lake.DUPLICATE}
    metadata = sorted(table.joinpath("metadata").glob("v*.metadata.json"))
    hint.write_text(str(len(metadata)))
    assert column(table, "order_id") == sorted(row["order_id"] for row in expected_rows())


def test_other_commands_know_the_table_by_its_feed(table, inbox):
    ingest(ORDERS, table=table)
    known = lake.feed(inbox, table=str(table), format="iceberg")[:2]
    shown = lake.run("show", table, "--rows", "34", *known)
    assert shown.exit_code == 0 and all(row["customer"] in shown.stdout for row in expected_rows()), str(shown)
    (ledger,) = table.joinpath("metadata", "_lakefeed").glob("*/default")
    for file in ledger.glob("*.ledger"):
        file.unlink()
    lost = lake.ingest(ORDERS, table=table, arguments=("--format", "iceberg"))
    assert "ledger rebuild" in lost.stdout + lost.stderr, str(lost)
    rebuilt = lake.run("ledger", "rebuild", table, *known)
    assert rebuilt.exit_code == 0, str(rebuilt)
    assert set(ingest(ORDERS, table=table).statuses().values()) == {lake.DUPLICATE}
    assert len(read(table)) == 34


def test_racing_writers_double_nothing(table, inbox):
    paths = [inbox / f"part_{number:03}.csv" for number in range(FILES)]
    for number, path in enumerate(paths):
        first = number * ROWS_PER_FILE
        path.write_text("id\n" + "".join(f"{i}\n" for i in range(first, first + ROWS_PER_FILE)))
    # Each wants all of them, and begins with others.
    orders = [paths[i * 10:] + paths[:i * 10] for i in range(RACERS)]
    command = lambda paths: lake.command("ingest", *paths, "--format", "iceberg", "--table", table, "--json")
    racers = [
        subprocess.Popen(command(paths), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for paths in orders
    ]
    told = [racer.communicate(timeout=lake.RUN_SECONDS_MAX)[0] for racer in racers]
    assert {racer.returncode for racer in racers} <= {0, 1}
    ingest(inbox, table=table)
    assert column(table, "id") == list(range(FILES * ROWS_PER_FILE))
    receipts = [json.loads(line) for lines in told for line in lines.splitlines()]
    committed = [r["source"] for r in receipts if r["status"] == lake.COMMITTED]
    assert len(committed) == len(set(committed)), "two say that they have taken one object"
    # What lost its race left nothing but data files behind, if that.
    named = {manifest["path"] for manifest in pyiceberg(table).inspect.manifests().to_pylist()}
    manifests = {f"file://{path}" for path in table.joinpath("metadata").glob("*-m0.avro")}
    assert manifests == named


def test_what_is_not_done_yet_is_refused_by_name(table, inbox):
    ingest(ORDERS, table=table)
    before = lake.listing(table)
    source = sorted(ORDERS.glob("*.csv"))[0]
    known = lake.feed(inbox, table=str(table), format="iceberg")[:2]
    undone = lake.run("undo", table, source, *known)
    assert undone.exit_code != 0 and "does not take rows away from Iceberg tables yet" in undone.stderr, str(undone)
    wider = inbox / "wider.csv"
    wider.write_text("order_id,colour\n1,red\n")
    arguments = lake.feed(inbox, drift={"new_columns": "add"}, format="iceberg")
    added = lake.ingest(wider, table=table, arguments=arguments)
    (receipt,) = added.receipts
    assert receipt["status"] == lake.FAILED and receipt["error"]["kind"] == "table_unsupported", str(added)
    assert lake.listing(table) == before, "nothing is written"
