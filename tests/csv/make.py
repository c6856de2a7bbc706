#!/usr/bin/env python3
"""Makes the cases of tests/csv/dialects: the same rows in every dialect, said and found out.

    tests/csv/make.py

Python's csv writes the files and reads them again; what it reads is what is expected. What nobody has to
think about is made here; the cases of the other subjects are written by hand.
"""

import csv
import io
import json
import shutil
from itertools import product
from pathlib import Path

HERE = Path(__file__).resolve().parent / "dialects"
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", "space": " ", "soh": "\x01",
              "caret": "^", "tilde": "~", "colon": ":"}
QUOTES = {"double": '"', "single": "'"}
ESCAPES = {"doubling": None, "backslash": "\\"}
LINE_ENDS = {"lf": "\n", "crlf": "\r\n", "cr": "\r"}
HEADER = ["id", "name", "note", "price"]
MODES = {"minimal": csv.QUOTE_MINIMAL, "all": csv.QUOTE_ALL, "nonnumeric": csv.QUOTE_NONNUMERIC}


def rows(delimiter: str, quote: str, end: str) -> list[list]:
    """Rows with everything that a dialect has a way to write."""
    return [
        [1, "plain", "a few words", 1.5],
        [2, f"with{delimiter}delimiter", f"with {quote}quotes{quote}", 20],
        [3, f"two{end}lines", "", -3.25],
        [4, "Zoë", "naïve – “curly”", 0.5],
        [5, quote, f"{quote}{quote}", 1000],
        [6, "", "ends with a backslash \\", 7],
        [7, " spaces ", "日本語", 8.75],
        [8, "last", "one more", 9],
    ]


def written(all_rows: list[list], delimiter: str, quote: str, escape: str | None, end: str,
            quoting: int) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quotechar=quote, escapechar=escape, doublequote=escape is None,
               lineterminator=end, quoting=quoting).writerows(all_rows)
    return text.getvalue()


def read(text: str, delimiter: str, quote: str, escape: str | None) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quotechar=quote,
                        escapechar=escape, doublequote=escape is None, strict=True)
    return list(reader)


def toml(text: str) -> str:
    """A TOML string; its escapes are JSON's, but for a character that neither can show."""
    return '"\\\\x01"' if text == "\x01" else json.dumps(text)


def feed(delimiter: str, quote: str, escape: str | None, end: str, has_header: bool) -> str:
    names = {end: name for name, end in LINE_ENDS.items()}
    lines = [
        "[feed.csv]", f"delimiter = {toml(delimiter)}", f"quote = {toml(quote)}",
        f"escape = {toml(escape) if escape else 'false'}", f'line_ending = "{names[end]}"',
        f"header = {str(has_header).lower()}", "skip_lines = 0", *ALL_TEXT,
    ]
    return "\n".join(lines) + "\n"


# Nothing is null and nothing is a number, so that what is expected is what Python's csv reads.
ALL_TEXT = ["null_values = []", "infer = false"]


def put(name: str, text: str, configuration: str, header: list[str], expected: list[list[str]], **more):
    folder = HERE / name
    folder.mkdir(parents=True)
    (folder / "input.csv").write_bytes(text.encode())
    (folder / "feed.toml").write_text(configuration, encoding="utf-8")
    lines = ",\n".join("    " + json.dumps(row, ensure_ascii=False) for row in expected)
    fields = [f'  "columns": {json.dumps([column + " string" for column in header])}',
              f'  "rows": [\n{lines}\n  ]']
    fields += [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in more.items()]
    (folder / "expected.json").write_text("{\n" + ",\n".join(fields) + "\n}\n", encoding="utf-8")


def said():
    """Every dialect, all of it configured."""
    for (delimiter_name, delimiter), (quote_name, quote), (escape_name, escape), (end_name, end) in product(
            DELIMITERS.items(), QUOTES.items(), ESCAPES.items(), LINE_ENDS.items()):
        text = written([HEADER, *rows(delimiter, quote, end)], delimiter, quote, escape, end,
                       csv.QUOTE_MINIMAL)
        header, *expected = read(text, delimiter, quote, escape)
        put(f"said-{delimiter_name}-{quote_name}-{escape_name}-{end_name}", text,
            feed(delimiter, quote, escape, end, True), header, expected)


def without_header():
    for (delimiter_name, delimiter), (end_name, end) in product(DELIMITERS.items(), LINE_ENDS.items()):
        text = written(rows(delimiter, '"', end), delimiter, '"', None, end, csv.QUOTE_MINIMAL)
        put(f"headless-{delimiter_name}-{end_name}", text, feed(delimiter, '"', None, end, False),
            [f"column_{i}" for i in range(1, 5)], read(text, delimiter, '"', None))


def quoted_in_other_ways():
    for (delimiter_name, delimiter), (mode_name, mode) in product(DELIMITERS.items(), MODES.items()):
        text = written([HEADER, *rows(delimiter, '"', "\n")], delimiter, '"', None, "\n", mode)
        header, *expected = read(text, delimiter, '"', None)
        put(f"quoting-{mode_name}-{delimiter_name}", text, feed(delimiter, '"', None, "\n", True), header,
            expected)


def found_out():
    """Dialects that nothing is said of."""
    for (delimiter_name, delimiter), (end_name, end) in product(DELIMITERS.items(), LINE_ENDS.items()):
        text = written([HEADER, *rows(delimiter, '"', end)], delimiter, '"', None, end, csv.QUOTE_MINIMAL)
        header, *expected = read(text, delimiter, '"', None)
        put(f"found-{delimiter_name}-{end_name}", text, "[feed.csv]\n" + "\n".join(ALL_TEXT) + "\n",
            header, expected,
            # CRLF is read as LF, which a CR may come before.
            dialect={"delimiter": delimiter, "quote": '"', "escape": None,
                     "line_ending": "cr" if end_name == "cr" else "lf",
                     "header_rows": 1, "skip_lines": 0})
    for delimiter_name, delimiter in DELIMITERS.items():
        text = written([HEADER, *rows(delimiter, '"', "\n")], delimiter, '"', "\\", "\n", csv.QUOTE_ALL)
        header, *expected = read(text, delimiter, '"', "\\")
        put(f"found-{delimiter_name}-backslash", text, "[feed.csv]\n" + "\n".join(ALL_TEXT) + "\n",
            header, expected, dialect={"delimiter": delimiter, "quote": '"', "escape": "\\"})


def main():
    shutil.rmtree(HERE, ignore_errors=True)
    said()
    without_header()
    quoted_in_other_ways()
    found_out()
    print(f"{sum(1 for _ in HERE.iterdir())} cases in {HERE}")


if __name__ == "__main__":
    main()
