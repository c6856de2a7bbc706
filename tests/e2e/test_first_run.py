"""What a newcomer sees: the orders that come with the project, cell by cell."""

import csv
from datetime import date, datetime

import pytest

import lake

ORDERS = lake.REPOSITORY / "tests" / "data" / "orders"
# In both formats' words, but for when something was ordered, which has a word of its own in each.
TYPES = {
    "order_id": "long",
    "customer": "string",
    "country": "string",
    "amount": "double",
    "quantity": "long",
    "shipped_on": "date",
    "gift": "boolean",
    "note": "string",
    "_source_file": "string",
}


def optional(convert):
    return lambda text: convert(text) if text else None


# How Python reads the same text. An empty text may be read as null or as an empty string.
CONVERTERS = {
    "order_id": int,
    "customer": str,
    "country": str,
    "amount": float,
    "quantity": int,
    "ordered_at": datetime.fromisoformat,
    "shipped_on": optional(date.fromisoformat),
    "gift": {"true": True, "false": False}.get,
    "note": str,
}


def expected_rows():
    for path in sorted(ORDERS.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                cells = {name: CONVERTERS[name](text) for name, text in row.items()}
                yield cells | {"_source_file": path.name}


@pytest.fixture
def orders(table):
    lake.ingest_all(ORDERS, table=table)
    return table


def test_types_are_inferred(orders):
    types = lake.column_types(orders)
    assert types.pop("ordered_at") in ("timestamp", "timestamp_ntz")
    assert types == TYPES


def test_every_cell_is_right(orders):
    found = lake.read(orders)
    for row in found:
        row["note"] = row["note"] or ""
        row["_source_file"] = row["_source_file"].rsplit("/", 1)[-1]
    expected = list(expected_rows())
    assert len(expected) == 34
    assert sorted(found, key=lambda row: row["order_id"]) == expected


def test_receipts_add_up(table):
    run = lake.ingest_all(ORDERS, table=table)
    assert set(run.statuses().values()) == {lake.COMMITTED}
    assert sum(r["rows"] for r in run.receipts) == 34
    for path in ORDERS.glob("*.csv"):
        receipt = run.receipt(path)
        assert receipt["bytes_read"] == path.stat().st_size
        assert receipt["rows_rejected"] == 0
        assert receipt["attempts"] >= 1
        assert receipt["peak_rss_bytes"] > 1 << 20
        assert lake.same_place(receipt["table"], table)


def test_a_report_for_people(table):
    run = lake.run("ingest", ORDERS, "--table", table)
    assert run.exit_code == 0, str(run)
    assert "34" in run.stdout and not run.stdout.startswith("{"), str(run)
    assert "\x1b" not in run.stdout, "colours where there is no terminal"


@pytest.mark.parametrize("pattern", ["orders_*.csv", "*-0[1-4].csv"])
def test_a_glob_is_a_source(table, pattern):
    run = lake.ingest_all(ORDERS / pattern, table=table)
    assert len(run.receipts) == 4
    assert len(lake.read(table)) == 34


def test_uris_are_sources_and_tables(table):
    run = lake.ingest_all(f"file://{ORDERS}", table=f"file://{table}")
    assert len(run.receipts) == 4
    assert len(lake.read(table)) == 34


@pytest.mark.parametrize("arguments", [["--help"], ["ingest", "--help"], ["plan", "--help"]])
def test_help(arguments):
    run = lake.run(*arguments)
    assert run.exit_code == 0 and "Usage" in run.stdout, str(run)
