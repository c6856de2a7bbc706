"""Random CSV files in random dialects, written by Python's csv, and read by us, by DuckDB and by Python.

What was written is what must be read. Ours is the reader on trial; DuckDB is a witness, and where it
differs, that is told by class. A file that ours reads differently is made as small as it can be, and kept.
"""

import argparse
import csv
import io
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
KEPT_MAX = 50

# Plain words, what dialects are made of, and what is hard to tell from it.
WORDS = ["a", "word", "0012", "1.5", "-3", "true", "null", "NULL", "NA", "é", "日本", "😀", "x y", "\u202f", "", "",
         "'", '"', '""', "''", ",", ";", "\t", "|", " ", "  ", "\\", "\\\\", "\\N", "\\n", "#", "# no", "\n",
         "\r", "\r\n", "\n\n", "sep=;", "=1+1", "a,b", "\x01", "\x7f", "`"]
DELIMITERS = [",", ";", "\t", "|", " ", "\x01", "^", "~", ":"]
QUOTINGS = {"minimal": csv.QUOTE_MINIMAL, "all": csv.QUOTE_ALL, "nonnumeric": csv.QUOTE_NONNUMERIC,
            "none": csv.QUOTE_NONE}


@dataclass(frozen=True)
class Dialect:
    delimiter: str
    # None: no field is quoted.
    quote: str | None
    escape: str | None
    end: str
    quoting: str
    has_header: bool

    def format(self) -> dict:
        return {
            "delimiter": self.delimiter, "quotechar": self.quote, "escapechar": self.escape,
            "doublequote": self.escape is None, "lineterminator": self.end,
            "quoting": QUOTINGS[self.quoting],
        }

    def write(self, rows: list[list[str]]) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text, **self.format()).writerows(rows)
        return text.getvalue().encode()

    def options(self) -> dict:
        """As `[feed.csv]` has it."""
        return {
            "delimiter": "\\x01" if self.delimiter == "\x01" else self.delimiter,
            "quote": self.quote or False, "escape": self.escape or False,
            "line_ending": {"\n": "lf", "\r\n": "crlf", "\r": "cr"}[self.end],
            "header": self.has_header, "skip_lines": 0, "null_values": [],
        }


def dialect_of(chance: random.Random) -> Dialect:
    quoting = chance.choices(list(QUOTINGS), [6, 2, 2, 1])[0]
    escape = "\\" if quoting == "none" else chance.choice([None, None, "\\"])
    quote = None if quoting == "none" else chance.choice(['"', '"', "'"])
    return Dialect(chance.choice(DELIMITERS), quote, escape, chance.choice(["\n", "\n", "\r\n", "\r"]),
                   quoting, chance.random() < 0.5)


def rows_of(chance: random.Random, dialect: Dialect) -> list[list[str]]:
    width = chance.choice([1, 2, 2, 3, 4, 7])
    # In most files a line end in a value is the dialect's, so that all readers can agree.
    words = WORDS if chance.random() < 0.3 else [*[w for w in WORDS if not {*w} & {*"\r\n"}], dialect.end]
    rows = [[text_of(chance, words) for _ in range(width)] for _ in range(chance.randint(1, 9))]
    if dialect.has_header:
        rows.insert(0, [f"c{i}" for i in range(width)])
    return rows


def text_of(chance: random.Random, words: list[str]) -> str:
    return "".join(chance.choice(words) for _ in range(chance.choice([0, 1, 1, 1, 2, 3, 6])))


class Ours:
    """The decoder, in a process that answers one file at a time."""

    def __init__(self, binary: Path):
        self.process = subprocess.Popen(
            [binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")

    def read(self, path: Path, dialect: Dialect) -> list[list[str]] | str:
        request = {"path": str(path), "options": dialect.options()}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            return answer["error"]
        if answer["bad"]:
            return f"{answer['bad']} bad rows"
        return [["" if value is None else value for value in row] for row in answer["rows"]]


class DuckDB:
    def __init__(self):
        import duckdb

        self.connection = duckdb.connect(config={"threads": 1})

    def read(self, path: Path, dialect: Dialect, width: int) -> list[list[str]] | str:
        names = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(width))
        # If it is strict, it knows no escapes outside of quotes, and takes no CRLF after a quote.
        options = {
            "delim": dialect.delimiter, "quote": dialect.quote or "",
            "escape": dialect.escape or dialect.quote or "", "header": dialect.has_header,
            "new_line": dialect.end.replace("\r", "\\r").replace("\n", "\\n"), "auto_detect": False,
            "strict_mode": False, "parallel": False,
        }
        said = ", ".join(f"{name} = {literal(value)}" for name, value in options.items())
        query = f"SELECT * FROM read_csv({literal(str(path))}, columns = {{{names}}}, {said})"
        try:
            rows = self.connection.execute(query).fetchall()
        except Exception as error:
            return f"{type(error).__name__}: {' '.join(str(error).splitlines()[:2])}"
        return [["" if value is None else value for value in row] for row in rows]


def literal(value: str | bool) -> str:
    return str(value) if isinstance(value, bool) else "'" + value.replace("'", "''") + "'"


def python_reads(data: bytes, dialect: Dialect, rows: list[list[str]]) -> bool:
    """Whether Python reads what it wrote. To it every CR and LF ends a line, be it said or not, and it does
    not quote all of them."""
    options = dialect.format()
    if dialect.quoting == "nonnumeric":
        options["quoting"] = csv.QUOTE_MINIMAL
    try:
        return list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True, **options)) == rows
    except csv.Error:
        return False


def class_of(read, expected: list[list[str]]) -> str:
    """How what was read differs: what kind of complaint, or of difference."""
    if isinstance(read, str):
        return re.split(r" (on|Original) |\. ", read)[0]
    if len(read) != len(expected):
        return "more rows" if len(read) > len(expected) else "fewer rows"
    found, wanted = next((a, b) for a, b in zip(flat(read), flat(expected)) if a != b)
    if found.replace("\\", "") == wanted.replace("\\", ""):
        return "backslashes"
    if found.replace("\r\n", "\n").replace("\r", "\n") == wanted.replace("\r\n", "\n").replace("\r", "\n"):
        return "line ends in values"
    if found.strip(" ") == wanted.strip(" "):
        return "spaces"
    return "values"


def flat(rows: list[list[str]]) -> list[str]:
    return [value for row in rows for value in row]


def smallest(rows: list[list[str]], differs) -> list[list[str]]:
    """`rows` with as much taken away as leaves the difference."""
    smaller = True
    while smaller:
        smaller = False
        for candidate in reductions(rows):
            if differs(candidate):
                rows, smaller = candidate, True
                break
    return rows


def reductions(rows: list[list[str]]):
    for i in range(len(rows)):
        if len(rows) > 1:
            yield rows[:i] + rows[i + 1:]
    for j in range(len(rows[0])):
        if len(rows[0]) > 1:
            yield [row[:j] + row[j + 1:] for row in rows]
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            for k in range(len(value)):
                yield [*rows[:i], [*row[:j], value[:k] + value[k + 1:], *row[j + 1:]], *rows[i + 1:]]


def main(description: str) -> int:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1, help="of the first file; each has its own")
    parser.add_argument("--decoder", type=Path, help="cargo's example `decode`; built where it is not given")
    parser.add_argument("--keep", type=Path, default=REPOSITORY / "target" / "csv-differential",
                        help="where files go that are read differently (target/csv-differential)")
    arguments = parser.parse_args()
    ours, duckdb = Ours(arguments.decoder or built()), DuckDB()
    counts: Counter = Counter()
    kept = 0
    with tempfile.TemporaryDirectory(prefix="csv-differential-") as scratch:
        path = Path(scratch) / "a.csv"
        for seed in range(arguments.seed, arguments.seed + arguments.files):
            found = compare(seed, path, ours, duckdb, counts)
            if found and kept < KEPT_MAX:
                keep(arguments.keep / str(seed), *found, path, ours)
                kept += 1
            if (seed - arguments.seed + 1) % 10_000 == 0:
                print(f"== {seed - arguments.seed + 1} files", file=sys.stderr, flush=True)
    print(f"seeds {arguments.seed} to {arguments.seed + arguments.files - 1}")
    for name, count in sorted(counts.items()):
        print(f"{count:8} {name}")
    return int(bool(kept))


def compare(seed: int, path: Path, ours: Ours, duckdb: DuckDB, counts: Counter):
    """Counts how one file is read; the dialect and the rows, where ours reads them differently."""
    chance = random.Random(seed)
    dialect = dialect_of(chance)
    rows = rows_of(chance, dialect)
    try:
        data = dialect.write(rows)
    except csv.Error:
        counts["not written: there is no way to write it in the dialect"] += 1
        return None
    path.write_bytes(data)
    expected = rows[dialect.has_header:]
    reads = python_reads(data, dialect, rows)
    counts["Python differs from what it wrote"] += not reads
    theirs = duckdb.read(path, dialect, len(rows[0]))
    if theirs != expected:
        why = "" if reads else ", as Python does"
        counts[f"DuckDB differs{why}: {class_of(theirs, expected)}"] += 1
    read = ours.read(path, dialect)
    if read == expected:
        counts["ours agrees" + (" with DuckDB" if theirs == expected else ", and DuckDB does not")] += 1
        return None
    if reason := explained(dialect, rows, data, read):
        counts[f"ours differs, as it should: {reason}"] += 1
        return None
    counts[f"OURS DIFFERS: {class_of(read, expected)}"] += 1
    return dialect, rows


def explained(dialect: Dialect, rows: list[list[str]], data: bytes, read) -> str | None:
    """Why what was written cannot be read, where the file does not say it."""
    # At the end of a row, a CR that is not quoted belongs to the line's end; a row of it alone is empty.
    if dialect.end == "\n" and b"\r\n" in data and isinstance(read, list):
        if is_without_carriage_returns(read, rows[dialect.has_header:]):
            return "a CR before the LF"
    return None


def is_without_carriage_returns(read: list[list[str]], expected: list[list[str]]) -> bool:
    """Whether `read` is `expected`, but for a CR at the end of some rows."""
    left = iter([*read, None])
    row = next(left)
    for wanted in expected:
        if wanted == ["\r"] and row != wanted:
            continue
        if not row or row[:-1] != wanted[:-1] or row[-1] not in (wanted[-1], wanted[-1].removesuffix("\r")):
            return False
        row = next(left)
    return row is None


def keep(folder: Path, dialect: Dialect, rows: list[list[str]], path: Path, ours: Ours):
    def differs(candidate: list[list[str]]) -> bool:
        try:
            data = dialect.write(candidate)
        except csv.Error:
            return False
        path.write_bytes(data)
        read = ours.read(path, dialect)
        return read != candidate[dialect.has_header:] and not explained(dialect, candidate, data, read)

    rows = smallest(rows, differs)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dialect.write(rows))
    shutil.copy(path, folder / "input.csv")
    told = {"dialect": asdict(dialect), "expected": rows[dialect.has_header:],
            "read": ours.read(path, dialect)}
    (folder / "difference.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n",
                                            encoding="utf-8")
    print(f"== {folder}", file=sys.stderr, flush=True)


def built() -> Path:
    command = ["cargo", "build", "--release", "--no-default-features", "--example", "decode",
               "--message-format", "json-render-diagnostics"]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, encoding="utf-8", check=True)
    made = (json.loads(line) for line in done.stdout.splitlines())
    return Path(next(m["executable"] for m in made
                     if m.get("executable") and m["target"]["name"] == "decode"))
