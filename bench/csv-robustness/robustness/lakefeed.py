"""Lakefeed as a reader: each file goes into a table of its own, which is then read."""

import json
import subprocess
import tempfile
from pathlib import Path

from .peers import lines_before_rows, names_of
from .score import Loaded

# The column that tells whose a row is, and the column that holds what did not fit the others.
SOURCE_COLUMN = "_source_file"
RESCUED_COLUMN = "_rescued"
# What of the rescued column is the fields that a row has too many, in order, and how many it lacks.
SURPLUS_KEY, MISSING_KEY = "_surplus", "_missing"
# Where a column has another name than the header has for it, that is in its metadata.
HEADER_NAME_KEY = "lakefeed.headerName"
SECONDS_MAX = 60


class Lakefeed:
    """What one binary makes of the files."""

    def __init__(self, binary: Path):
        self.binary = binary

    def automatic(self, path: Path, _parameters: dict) -> Loaded:
        return self.read(path, {})

    def configured(self, path: Path, parameters: dict) -> Loaded:
        options = {
            "delimiter": parameters["delimiter"].replace("\t", "tab") or ",",
            "quote": parameters["quotechar"] or '"',
            "header": "false",
            "skip_lines": str(lines_before_rows(parameters)),
            "columns": ",".join(names_of(parameters)),
            "line_ending": {"\n": "lf", "\r": "cr"}.get(parameters["row_delimiter"], "crlf"),
        }
        if parameters["escapechar"] not in ("", parameters["quotechar"]):
            options["escape"] = parameters["escapechar"]
        return self.read(path, options)

    def read(self, path: Path, options: dict[str, str]) -> Loaded:
        options = {**options, "infer": "false", "bad_rows": "rescue"}
        with tempfile.TemporaryDirectory(prefix="robustness-") as scratch:
            table = Path(scratch) / "table"
            command = [self.binary, "ingest", path, "--table", table, "--json"]
            for key, value in options.items():
                command += ["--csv", f"{key}={value}"]
            done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=SECONDS_MAX)
            if done.returncode:
                return Loaded([], [], complaint(done))
            if not table.exists():
                return Loaded([], [], "there is no table" if path.stat().st_size else None)
            return rows_of(table)


def complaint(done: subprocess.CompletedProcess) -> str:
    """What the receipt says, or else what was last said."""
    for line in done.stdout.splitlines():
        if error := json.loads(line).get("error"):
            return f"{error['kind']}: {error['message']} (line {error.get('line')})"
    return (done.stderr.strip().splitlines() or ["it failed and said nothing"])[-1]


def rows_of(table: Path) -> Loaded:
    """A table's rows, each with all the fields that it had, under the names that its header has."""
    import deltalake

    delta = deltalake.DeltaTable(table)
    fields = [field for field in delta.schema().fields if field.name not in (SOURCE_COLUMN, RESCUED_COLUMN)]
    header = [field.metadata.get(HEADER_NAME_KEY, field.name) for field in fields]
    arrow = delta.to_pyarrow_table()
    columns = [arrow.column(field.name).to_pylist() for field in fields]
    records = [["" if value is None else str(value) for value in row] for row in zip(*columns)]
    if RESCUED_COLUMN in arrow.column_names:
        rescued = arrow.column(RESCUED_COLUMN).to_pylist()
        records = [with_rescued(record, json.loads(rest or "{}")) for record, rest in zip(records, rescued)]
    return Loaded(header, records)


def with_rescued(record: list[str], rescued: dict) -> list[str]:
    there = len(record) - rescued.get(MISSING_KEY, 0)
    return [*record[:there], *rescued.get(SURPLUS_KEY, [])]
