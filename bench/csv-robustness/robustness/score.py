"""The ten measures of one file, and the scores of all.

*Success*: the reader did not fail. Then precision, recall and F1 of what it made of the *header* (names),
the *records* (all values of a row, put together) and the *cells* (header and rows). All are shares of
multisets, so order does not count. Names and records are compared by what they mean (`normal`), cells as they are
written. A score is the sum of the ten means, so 10 is the most; it is simple where each file weighs the
same, and weighted where each weighs as its pollution does in the world.
"""

import re
from collections import Counter
from dataclasses import dataclass

MEASURES = ["success", *(f"{part}_{measure}" for part in ("header", "record", "cell")
                         for measure in ("precision", "recall", "f1"))]


@dataclass
class Loaded:
    """What a reader made of a file."""

    header: list[str]
    records: list[list[str]]
    error: str | None = None


def measures(header: list[str], records: list[list[str]], loaded: Loaded,
             first_row_names: bool = False) -> list[float]:
    """The ten measures, in the order of MEASURES.

    A file without a header has nothing to be wrong about in it, so its measures are 1. Where
    `first_row_names`, its first row counts as one, as in the benchmark's own scores.
    """
    if loaded.error is not None:
        return [0.0] * len(MEASURES)
    if not header and not records:
        return [1.0] * len(MEASURES)
    if not header and first_row_names:
        header, records = records[0], records[1:]
    shares = [
        agreement([normal(name) for name in header], [normal(name) for name in loaded.header]),
        agreement(joined(records), joined(loaded.records)),
        agreement(flat([header, *records]), flat([loaded.header if header else [], *loaded.records])),
    ]
    return [1.0, *(share for triple in shares for share in triple)]


def agreement(expected: list[str], found: list[str]) -> tuple[float, float, float]:
    if not expected:
        return 1.0, 1.0, 1.0
    common = (Counter(expected) & Counter(found)).total()
    if not common:
        return 0.0, 0.0, 0.0
    precision, recall = common / len(found), common / len(expected)
    return precision, recall, 2 * precision * recall / (precision + recall)


def joined(records: list[list[str]]) -> list[str]:
    return ["".join(map(normal, record)) for record in records]


def flat(rows: list[list[str]]) -> list[str]:
    return [cell for row in rows for cell in row]


DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})$")
ISO_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[ T]00:00:00(?:\.0+)?)?$")
TIME = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d)(?:\.0+)?)?$")
INTEGER = re.compile(r"[+-]?\d+$")
NUMBER = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][+-]?\d+)?$")
BOOLEANS = {"true": "1", "false": "0"}


def normal(value: str) -> str:
    """One spelling of what a value means: of dates, times, numbers, booleans, and of words without case."""
    if match := DATE.match(value):
        day, month, year = match.groups()
        return f"{year}-{int(month):02}-{int(day):02}"
    if match := ISO_DATE.match(value):
        return "-".join(match.groups())
    if match := TIME.match(value):
        hours, minutes, seconds = match.groups()
        return f"{int(hours):02}:{minutes}:{seconds or '00'}"
    if INTEGER.match(value):
        return str(int(value))
    if NUMBER.match(value):
        return str(float(value))
    return BOOLEANS.get(value.lower(), value.lower())


def means(rows: list[list[float]], weights: list[float]) -> list[float]:
    """Each measure's weighted mean."""
    total = sum(weights)
    return [sum(map(lambda value, weight: value * weight, column, weights)) / total
            for column in zip(*rows)]
