"""The pollutions, after those of the Pollock benchmark: 2,290 files, of which one is clean.

A file is rows of cells with what separates and ends them. What a perfect reader makes of it is its cells
as they were before the separators were spoilt. Sizes, names and weights are the benchmark's: a weight is
how many files of its survey have the pollution, shared out among the files that show it here.
"""

import csv
import io
import json
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from .source import Cell, table


@dataclass
class Row:
    cells: list[Cell]
    separators: list[str]
    end: str
    # "preamble", "header" or "data".
    role: str = "data"
    before: str = ""


@dataclass
class File:
    name: str
    rows: list[Row]
    weight: float = 1.0
    quote: str = '"'
    escape: str = '"'
    delimiter: str = ","

    def render(self) -> bytes:
        return "".join(map(self.render_row, self.rows)).encode("ascii")

    def render_row(self, row: Row) -> str:
        separators = [*row.separators, row.end]
        cells = (self.render_cell(cell) for cell in row.cells)
        return row.before + "".join(map("".join, zip(cells, separators)))

    def render_cell(self, cell: Cell) -> str:
        # Where the quote is another, what the values hold of it stays as it is.
        text = cell.text.replace('"', self.escape + '"') if self.quote == '"' else cell.text
        stray = self.quote if cell.has_stray_quote else ""
        return f"{self.quote}{stray}{text}{self.quote}" if cell.is_quoted else stray + text

    def header(self) -> list[str]:
        """The columns' names; of a header of several rows, those in one column with spaces between."""
        rows = [row.cells for row in self.rows if row.role == "header"]
        return [" ".join(cell.value for cell in column) for column in zip(*rows)]

    def records(self) -> list[list[str]]:
        return [[cell.value for cell in row.cells] for row in self.rows if row.role == "data"]

    def parameters(self) -> dict:
        """What a reader that is configured is told."""
        roles = [row.role for row in self.rows]
        return {
            "encoding": "ascii",
            "delimiter": self.delimiter if self.rows else "",
            "quotechar": self.quote if self.rows else "",
            "escapechar": self.escape if self.rows else "",
            "row_delimiter": self.rows[0].end if self.rows else "",
            "header_lines": roles.count("header"),
            "preamble_lines": roles.count("preamble"),
            "column_names": self.header(),
            "n_columns": max((len(record) for record in self.records()), default=0),
        }


def source(name: str, weight: float, role_of_first: str = "header") -> File:
    rows = [Row(cells, [","] * (len(cells) - 1), "\r\n") for cells in table()]
    rows[0].role = role_of_first
    return File(name, rows, weight)


def files() -> list[File]:
    """All of them, in one order."""
    return [source("source", 1), *of_the_table(), *of_the_dialect(), *of_single_rows()]


def of_the_table() -> list[File]:
    made = []

    def add(name: str, weight: float) -> File:
        made.append(source(name, weight))
        return made[-1]

    add("file_no_payload", 15).rows.clear()
    add("file_no_trailing_newline", 184).rows[-1].end = ""
    add("file_double_trailing_newline", 5).rows[-1].end = "\r\n\r\n"
    del add("file_no_header", 470).rows[0]
    for count in (2, 3):
        rows = add(f"file_header_multirow_{count}", 47).rows
        rows[:1] = [deepcopy(rows[0]) for _ in range(count)]
    rows = add("file_preamble", 282).rows
    rows[:0] = [preamble("PREAMBLE", rows[0]), preamble("", rows[0])]
    for kind, change in (("less", -1), ("same", 0), ("more", 1)):
        rows = add(f"file_multitable_{kind}", 188 / 3).rows
        rows += second_table(rows, change)
    del add("file_header_only", 3).rows[1:]
    del add("file_one_data_row", 4).rows[2:]
    return made


def preamble(text: str, like: Row) -> Row:
    cells = [Cell(text if i == 0 else "", False) for i in range(len(like.cells))]
    return Row(cells, list(like.separators), like.end, "preamble")


def second_table(rows: list[Row], change: int) -> list[Row]:
    """The first table again, but for its last row, with so many columns more. Its header is a row."""
    again = deepcopy(rows[:-1])
    for number, row in enumerate(again):
        row.role = "data"
        if change < 0:
            del row.cells[change:], row.separators[change:]
        for extra in range(change):
            row.cells.append(Cell(f"col{extra + 1}" if number == 0 else "", False))
            row.separators.append(",")
    return again


def of_the_dialect() -> list[File]:
    made = []
    for delimiter, weight in (("\t", 4), (";", 834), (" ", 4), (", ", 101)):
        file = source(f"file_field_delimiter{code_points(delimiter)}", weight)
        file.delimiter = delimiter
        for row in file.rows:
            row.separators = [delimiter] * len(row.separators)
        made.append(file)
    for end, weight in (("\n", 1691), ("\r", 7)):
        file = source(f"file_record_delimiter{code_points(end)}", weight)
        for row in file.rows:
            row.end = end
        made.append(file)
    made.append(source("file_quotation_char_0x27", 11))
    made[-1].quote = made[-1].escape = "'"
    for escape, name, weight in (("\\", "0x5C", 1), ("", "0x00", 7)):
        made.append(source(f"file_escape_char_{name}", weight))
        made[-1].escape = escape
    return made


def code_points(text: str) -> str:
    return "".join(f"_0x{ord(character):X}" for character in text)


def of_single_rows() -> list[File]:
    made = []
    clean = source("", 1)
    for number, row in enumerate(clean.rows):
        for column in range(len(row.cells)):
            made.append(more_separators(number, column))
            if column > 0:
                made.append(less_separators(number, column))
            made.append(stray_quote(number, column))
        made.append(source(f"row_field_delimiter_{number}_0x20", 1 / 7))
        polluted = made[-1].rows[number]
        polluted.separators = [" "] * len(polluted.separators)
    return made


def more_separators(number: int, column: int) -> File:
    file = source(f"row_more_sep_row{number}_col{column}", 260 / 707)
    row = file.rows[number]
    if column == 0:
        row.before = ","
    else:
        row.separators[column - 1] += ","
    return file


def less_separators(number: int, column: int) -> File:
    file = source(f"row_less_sep_row{number}_col{column}", 260 / 707)
    file.rows[number].separators[column - 1] = ""
    return file


def stray_quote(number: int, column: int) -> File:
    file = source(f"row_extra_quote{number}_col{column}", 1 / 108)
    file.rows[number].cells[column].has_stray_quote = True
    return file


def kind_of(name: str) -> str:
    """What the files of `name`'s sort have in common: a row's pollution, or the file's own name."""
    for kind in ("row_more_sep", "row_less_sep", "row_extra_quote", "row_field_delimiter"):
        if name.startswith(kind):
            return kind
    return name


def write(folder: Path) -> list[File]:
    """Writes each file as `csv/NAME.csv`, with `parameters/NAME.json` and `clean/NAME.csv`."""
    for part in ("csv", "parameters", "clean"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    made = files()
    for file in made:
        (folder / "csv" / f"{file.name}.csv").write_bytes(file.render())
        parameters = json.dumps(file.parameters(), indent=2) + "\n"
        (folder / "parameters" / f"{file.name}.json").write_text(parameters, encoding="utf-8")
        (folder / "clean" / f"{file.name}.csv").write_text(clean(file), encoding="utf-8")
    return made


def clean(file: File) -> str:
    """What a perfect reader makes of it, all fields quoted; without a header where it has none."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([*([file.header()] if file.header() else []), *file.records()])
    return text.getvalue()
