"""Runs lakefeed, and reads its tables with the readers that other people use."""

import datetime
import importlib
import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import deltalake
import duckdb
import polars
import pyarrow

REPOSITORY = Path(__file__).resolve().parents[2]
BINARY = Path(
    os.environ.get("LAKEFEED_BIN")
    or Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / "release" / "lakefeed"
)
RUN_SECONDS_MAX = 60

COMMITTED, DUPLICATE, SKIPPED, FAILED = "committed", "duplicate", "skipped", "failed"
RECEIPT_FIELDS = frozenset(
    "source status reason table version rows rows_rejected rows_rescued rows_removed columns_added bytes_read"
    " bytes_written data_files attempts duration_ms cpu_ms peak_rss_bytes rejects quarantine error".split()
)


@dataclass
class Run:
    """What one run of lakefeed came to."""

    exit_code: int
    stdout: str
    stderr: str
    receipts: list[dict] = field(default_factory=list)

    def receipt(self, source: Path) -> dict:
        """The one receipt of `source`."""
        found = [r for r in self.receipts if same_place(r["source"], source)]
        assert len(found) == 1, f"{len(found)} receipts for {source}\n{self}"
        return found[0]

    def statuses(self) -> dict[str, str]:
        """Status by the source's base name."""
        return {r["source"].rsplit("/", 1)[-1]: r["status"] for r in self.receipts}

    def __str__(self):
        return f"exit code {self.exit_code}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"


def command(*arguments) -> list[str]:
    return [str(BINARY), *map(str, arguments)]


def run(*arguments, prefix=(), **options) -> Run:
    """Runs lakefeed to its end. `prefix` is a command to run it through."""
    done = subprocess.run(
        [*map(str, prefix), *command(*arguments)],
        capture_output=True, stdin=subprocess.DEVNULL, encoding="utf-8",
        timeout=RUN_SECONDS_MAX, **options,
    )
    return Run(done.returncode, done.stdout, done.stderr)


def ingest(*sources, table, arguments=(), **options) -> Run:
    """`lakefeed ingest --json`, with its receipts checked for form."""
    result = run("ingest", *sources, "--table", table, "--json", *arguments, **options)
    if result.exit_code in (0, 1):
        result.receipts = [parse_receipt(line) for line in result.stdout.splitlines()]
        any_failed = any(r["status"] == FAILED for r in result.receipts)
        assert result.receipts and (result.exit_code == 1) == any_failed, str(result)
    return result


def ingest_all(*sources, table, **options) -> Run:
    """The same, where nothing may fail."""
    result = ingest(*sources, table=table, **options)
    assert result.exit_code == 0, str(result)
    return result


def parse_receipt(line: str) -> dict:
    receipt = json.loads(line)
    assert RECEIPT_FIELDS <= receipt.keys(), f"no {RECEIPT_FIELDS - receipt.keys()} in {line}"
    assert receipt["status"] in (COMMITTED, DUPLICATE, SKIPPED, FAILED), line
    if receipt["status"] == COMMITTED:
        assert isinstance(receipt["version"], int) and isinstance(receipt["rows"], int), line
    if receipt["status"] == FAILED:
        error = receipt["error"]
        assert error["kind"] and error["message"] and error["advice"], line
        assert {"line", "byte", "column"} <= error.keys(), line
    else:
        assert receipt["error"] is None, line
    assert receipt["reason"] or receipt["status"] in (COMMITTED, FAILED), line
    return receipt


def same_place(uri: str, path: Path) -> bool:
    return uri.removeprefix("file://") in (str(path), str(path.resolve()))


def feed(
    folder: Path, csv: dict | None = None, lease: dict | None = None, drift: dict | None = None, **fields
) -> tuple[str, ...]:
    """Writes a configuration of one feed into `folder`; the arguments that choose it."""
    fields = {"name": "test", "source": "**", "table": "unused", **fields}
    # TOML's strings, booleans, integers and arrays of strings are written as JSON's.
    lines = ["[[feed]]", *(f"{key} = {json.dumps(value)}" for key, value in fields.items())]
    for name, values in (("csv", csv), ("lease", lease), ("drift", drift)):
        if values:
            lines += [f"[feed.{name}]", *(f"{k} = {json.dumps(v)}" for k, v in values.items())]
    path = folder / "lakefeed.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return ("--config", str(path), "--feed", fields["name"])


# --- reading ---------------------------------------------------------------------------------


def connect(*names: str) -> duckdb.DuckDBPyConnection:
    """DuckDB with these extensions, or delta, out of the installed wheels; it fetches nothing."""
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    for name in names or ("delta",):
        wheel = Path(importlib.import_module(f"duckdb_extension_{name}").__file__).parent
        (extension,) = wheel.glob(f"extensions/v{duckdb.__version__}/{name}.duckdb_extension")
        connection.execute(f"LOAD '{extension}'")
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def read_with_deltalake(table: Path) -> list[dict]:
    rows = deltalake.QueryBuilder().register("t", deltalake.DeltaTable(table))
    return pyarrow.table(rows.execute("SELECT * FROM t")).to_pylist()


def read_with_duckdb(table: Path) -> list[dict]:
    rows = connect().execute("SELECT * FROM delta_scan(?)", [str(table)])
    return rows.to_arrow_table().to_pylist()


def read_with_polars(table: Path) -> list[dict]:
    return polars.read_delta(str(table)).to_dicts()


READERS = {
    "deltalake": read_with_deltalake,
    "DuckDB": read_with_duckdb,
    "Polars": read_with_polars,
}


def read(table: Path) -> list[dict]:
    """The table's rows in a fixed order, on which all readers agree."""
    rows_by_reader = {name: in_order(reader(table)) for name, reader in READERS.items()}
    (first, rows), *others = rows_by_reader.items()
    for name, other in others:
        assert other == rows, f"{name} and {first} read {table} differently"
    return rows


def aggregate(table: Path, query: str) -> list[tuple]:
    """The rows of `query` over the table, which it calls `t`; all readers agree on them."""
    rows = deltalake.QueryBuilder().register("t", deltalake.DeltaTable(table)).execute(query)
    by_deltalake = [tuple(row.values()) for row in pyarrow.table(rows).to_pylist()]
    connection = connect()
    connection.execute(f"CREATE VIEW t AS SELECT * FROM delta_scan('{table}')")
    by_duckdb = connection.execute(query).fetchall()
    by_polars = polars.SQLContext(t=polars.scan_delta(str(table))).execute(query).collect().rows()
    assert sorted(by_deltalake) == sorted(by_duckdb) == sorted(by_polars), table
    return sorted(by_duckdb)


def in_order(rows: list[dict]) -> list[dict]:
    plain = [{name: without_zone(value) for name, value in row.items()} for row in rows]
    return sorted(plain, key=lambda row: repr(sorted(row.items())))


def without_zone(value):
    if isinstance(value, datetime.datetime) and value.tzinfo:
        return value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    return value


def column(table: Path, name: str) -> list:
    """One column's values, sorted."""
    return sorted(row[name] for row in read(table))


def version(table: Path) -> int:
    return deltalake.DeltaTable(table).version()


def column_types(table: Path) -> dict[str, str]:
    """Delta's name for the type of each column."""
    schema = json.loads(deltalake.DeltaTable(table).schema().to_json())
    return {entry["name"]: entry["type"] for entry in schema["fields"]}


def rows_added_by_version(table: Path) -> dict[int, int]:
    """How many rows each version adds, for those that add any."""
    added = {}
    for log in sorted((table / "_delta_log").glob("*.json")):
        actions = map(json.loads, log.read_text().splitlines())
        adds = [action["add"] for action in actions if "add" in action]
        if adds:
            added[int(log.stem)] = sum(json.loads(add["stats"])["numRecords"] for add in adds)
    return added


def unnamed_files(table: Path) -> set[str]:
    """The files beside the log that the newest version does not name; without partitions."""
    files = {str(path.relative_to(table)) for path in table.rglob("*") if path.is_file()}
    named = deltalake.DeltaTable(table).get_add_actions(flatten=True)["path"].to_pylist()
    return {name for name in files if not name.startswith("_delta_log/")} - set(named)


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below `folder` with its size and time of change: equal when nothing was written."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
    }
