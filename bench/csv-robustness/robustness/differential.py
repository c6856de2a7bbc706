"""Random CSV files in random dialects, written by Python's csv, and read by us, by DuckDB and by Python.

What was written is what must be read. Ours is the reader on trial; DuckDB is a witness, and where it
differs, that is told by class. A file that ours reads differently is made as small as it can be, and kept.
With `--detect`, ours is told nothing of the dialect, and what counts is what it is sure of.
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
# From here on ours is sure of the dialect that it has found.
CONFIDENCE_MIN = 0.9

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


# What tables are made of that somebody meant to be read: columns of one kind, and texts with marks in them.
NAMES = ["id", "name", "city", "amount", "created at", "note", "url", "qty", "Price", "is_open", "größe", "SKU"]
TEXTS = ["apples", "Zoë", "a rake, and a hoe", "so; so", 'the "best" one', "it's here", "12 o'clock", "up/down", "C:\\x",
         "one\ntwo", "50 %", "(none)", "a - b", "Main St. 5", "x|y", "~5", "no: never", "日本", 'a 10" pipe', "#1"]


def table_of(chance: random.Random, dialect: Dialect) -> list[list[str]]:
    kinds = {
        "integer": lambda: str(chance.randint(-9, 99_999)),
        "decimal": lambda: f"{chance.uniform(-9, 999):.2f}",
        "day": lambda: f"20{chance.randint(10, 29)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}",
        "time": lambda: f"{chance.randint(0, 23):02}:{chance.randint(0, 59):02}:{chance.randint(0, 59):02}",
        "code": lambda: f"{chance.choice('ABC')}{chance.choice('XYZ')}-{chance.randint(0, 9999):04}",
        "address": lambda: f"https://example.com/{chance.choice(NAMES[:2])}?id={chance.randint(0, 99)}",
        "text": lambda: chance.choice(TEXTS),
        "texts": lambda: " ".join(chance.choice(TEXTS) for _ in range(chance.randint(1, 5))),
    }
    columns = [kinds[chance.choice(list(kinds))] for _ in range(chance.randint(2, 9))]
    rows = [[make() if chance.random() > 0.05 else "" for make in columns] for _ in range(chance.randint(3, 60))]
    if dialect.has_header:
        rows.insert(0, chance.sample(NAMES, len(columns)))
    return rows


class Ours:
    """The decoder, in a process that answers one file at a time."""

    def __init__(self, binary: Path):
        self.process = subprocess.Popen(
            [binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")

    def read(self, path: Path, dialect: Dialect) -> list[list[str]] | str:
        return self.rows(self.answer(path, dialect.options()))

    def find(self, path: Path) -> tuple[list[list[str]] | str, float]:
        """What it reads where it is told nothing of the dialect, and how sure it is of that."""
        answer = self.answer(path, {"null_values": []})
        return self.rows(answer), answer.get("confidence", 0)

    def answer(self, path: Path, options: dict) -> dict:
        self.process.stdin.write(json.dumps({"path": str(path), "options": options}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def rows(self, answer: dict) -> list[list[str]] | str:
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


def smallest(rows: list[list[str]], header_rows: int, differs) -> list[list[str]]:
    """`rows` with as much taken away, but of the header, as leaves the difference."""
    smaller = True
    while smaller:
        smaller = False
        for candidate in reductions(rows, header_rows):
            if differs(candidate):
                rows, smaller = candidate, True
                break
    return rows


def reductions(rows: list[list[str]], header_rows: int):
    for i in range(header_rows, len(rows)):
        if len(rows) > 1:
            yield rows[:i] + rows[i + 1:]
    for j in range(len(rows[0])):
        if len(rows[0]) > 1:
            yield [row[:j] + row[j + 1:] for row in rows]
    for i, row in list(enumerate(rows))[header_rows:]:
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
    parser.add_argument("--detect", action="store_true", help="the dialect is for ours to find out")
    arguments = parser.parse_args()
    ours = Ours(arguments.decoder or built())
    trial = Found(ours) if arguments.detect else Said(ours)
    counts: Counter = Counter()
    kept = 0
    with tempfile.TemporaryDirectory(prefix="csv-differential-") as scratch:
        path = Path(scratch) / "a.csv"
        for seed in range(arguments.seed, arguments.seed + arguments.files):
            differing = compare(seed, path, trial, counts)
            if differing and kept < KEPT_MAX:
                keep(arguments.keep / str(seed), *differing, path, trial)
                kept += 1
            if (seed - arguments.seed + 1) % 10_000 == 0:
                print(f"== {seed - arguments.seed + 1} files", file=sys.stderr, flush=True)
    print(f"seeds {arguments.seed} to {arguments.seed + arguments.files - 1}")
    for name, count in sorted(counts.items()):
        print(f"{count:8} {name}")
    return int(bool(kept))


def compare(seed: int, path: Path, trial, counts: Counter):
    """Counts how one file is read; the dialect and the rows, where ours reads them differently."""
    chance = random.Random(seed)
    dialect = dialect_of(chance)
    rows = trial.rows_of(chance, dialect)
    try:
        path.write_bytes(dialect.write(rows))
    except csv.Error:
        counts["not written: there is no way to write it in the dialect"] += 1
        return None
    return (dialect, rows) if trial.differs(path, dialect, rows, counts) else None


class Said:
    """Ours is told the dialect, and so are Python and DuckDB."""

    rows_of = staticmethod(rows_of)

    def __init__(self, ours: Ours):
        self.ours, self.duckdb = ours, DuckDB()

    def differs(self, path: Path, dialect: Dialect, rows: list[list[str]], counts: Counter) -> bool:
        expected = rows[dialect.has_header:]
        reads = python_reads(path.read_bytes(), dialect, rows)
        counts["Python differs from what it wrote"] += not reads
        theirs = self.duckdb.read(path, dialect, len(rows[0]))
        if theirs != expected:
            why = "" if reads else ", as Python does"
            counts[f"DuckDB differs{why}: {class_of(theirs, expected)}"] += 1
        read = self.ours.read(path, dialect)
        if read == expected:
            counts["ours agrees" + (" with DuckDB" if theirs == expected else ", and DuckDB does not")] += 1
        elif reason := explained(dialect, rows, read):
            counts[f"ours differs, as it should: {reason}"] += 1
        else:
            counts[f"OURS DIFFERS: {class_of(read, expected)}"] += 1
            return True
        return False

    def is_wrong(self, path: Path, dialect: Dialect, rows: list[list[str]]) -> bool:
        read = self.ours.read(path, dialect)
        return read != rows[dialect.has_header:] and not explained(dialect, rows, read)

    def told(self, path: Path, dialect: Dialect):
        return self.ours.read(path, dialect)


class Found:
    """Ours is told nothing. It must not be sure of what is wrong; what it is not sure of, a person looks at."""

    rows_of = staticmethod(table_of)

    def __init__(self, ours: Ours):
        self.ours = ours

    def differs(self, path: Path, dialect: Dialect, rows: list[list[str]], counts: Counter) -> bool:
        read, confidence = self.ours.find(path)
        is_sure = confidence >= CONFIDENCE_MIN
        who = "ours is sure" if is_sure else "ours is not sure"
        expected = rows[dialect.has_header:]
        if read == expected:
            counts[f"{who}, and right"] += 1
        elif isinstance(read, str):
            counts[f"{who}, and refuses rows"] += 1
        elif reason := self.explained(dialect, rows, read):
            counts[f"{who}, and differs as it should: {reason}"] += 1
        elif is_sure:
            counts[f"OURS IS SURE, and wrong: {class_of(read, expected)}"] += 1
            return True
        else:
            counts[f"{who}, and wrong"] += 1
        return False

    def is_wrong(self, path: Path, dialect: Dialect, rows: list[list[str]]) -> bool:
        return self.differs(path, dialect, rows, Counter())

    def explained(self, dialect: Dialect, rows: list[list[str]], read) -> str | None:
        """Why what was written cannot be known from the file."""
        expected = rows[dialect.has_header:]
        if dialect.escape and each(without_escapes, read) == expected:
            return "nothing tells that a backslash escapes"
        if dialect.quote == "'" and each(without_apostrophes, read) == expected:
            return "nothing tells that an apostrophe quotes"
        first = next((i for i, row in enumerate(expected) if any(row)), 0)
        if not dialect.has_header and read == expected[first:]:
            return "rows of nothing at the start are no rows"
        return explained(dialect, rows, read)

    def told(self, path: Path, _dialect: Dialect):
        return self.ours.answer(path, {"null_values": []})


def explained(dialect: Dialect, rows: list[list[str]], read) -> str | None:
    """Why what was written cannot be read, where the file does not say it."""
    # At the end of a row, a CR that is not quoted belongs to the line's end; a row of it alone is empty.
    if dialect.end == "\n" and isinstance(read, list):
        if is_without_carriage_returns(dialect, read, rows[dialect.has_header:]):
            return "a CR before the LF"
    return None


def each(change, rows: list[list[str]]) -> list[list[str]]:
    return [[change(value) for value in row] for row in rows]


def without_apostrophes(value: str) -> str:
    is_quoted = len(value) > 1 and value[0] == value[-1] == "'"
    return value[1:-1].replace("''", "'") if is_quoted else value


def without_escapes(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)


def is_without_carriage_returns(dialect: Dialect, read: list[list[str]], expected: list[list[str]]) -> bool:
    """Whether `read` is `expected`, but for a CR that is not quoted at the end of some rows."""
    left = iter([*read, None])
    row = next(left)
    for wanted in expected:
        if row != wanted:
            if not ends_with_bare_carriage_return(dialect, wanted):
                return False
            if wanted == ["\r"]:
                continue
            if row != [*wanted[:-1], wanted[-1].removesuffix("\r")]:
                return False
        row = next(left)
    return row is None


def ends_with_bare_carriage_return(dialect: Dialect, row: list[str]) -> bool:
    """Whether the row, as it is written, has a CR right before its LF that nothing makes data."""
    before = dialect.write([row]).removesuffix(b"\n")
    text = before.removesuffix(b"\r")
    escapes = len(text) - len(text.rstrip(b"\\")) if dialect.escape else 0
    return text != before and escapes % 2 == 0


def keep(folder: Path, dialect: Dialect, rows: list[list[str]], path: Path, trial):
    def differs(candidate: list[list[str]]) -> bool:
        try:
            path.write_bytes(dialect.write(candidate))
        except csv.Error:
            return False
        return trial.is_wrong(path, dialect, candidate)

    rows = smallest(rows, int(dialect.has_header), differs)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dialect.write(rows))
    shutil.copy(path, folder / "input.csv")
    told = {"dialect": asdict(dialect), "expected": rows[dialect.has_header:],
            "read": trial.told(path, dialect)}
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
