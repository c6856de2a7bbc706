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
# What of the rescued column is the fields that a row has too many, in order, and what is a row that could
# not be told apart into fields.
SURPLUS_KEY, RAW_KEY = "_surplus", "_raw"
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
    """A table's rows, each with what it had too much of behind it; in one piece, where that is how it is."""
    import deltalake

    arrow = deltalake.DeltaTable(table).to_pyarrow_table()
    names = [name for name in arrow.column_names if name not in (SOURCE_COLUMN, RESCUED_COLUMN)]
    columns = [arrow.column(name).to_pylist() for name in names]
    records = [["" if value is None else str(value) for value in row] for row in zip(*columns)]
    if RESCUED_COLUMN in arrow.column_names:
        rescued = arrow.column(RESCUED_COLUMN).to_pylist()
        records = [with_rescued(record, json.loads(rest or "{}")) for record, rest in zip(records, rescued)]
    return Loaded(names, records)


def with_rescued(record: list[str], rescued: dict) -> list[str]:
    if RAW_KEY in rescued:
        return [rescued[RAW_KEY]]
    return [*record, *rescued.get(SURPLUS_KEY, [])]
