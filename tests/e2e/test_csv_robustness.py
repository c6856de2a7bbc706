"""The polluted files of bench/csv-robustness and their scores, which no reader is needed for."""

import csv
import sys
from collections import Counter
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench" / "csv-robustness"
sys.path.insert(0, str(BENCH))

from robustness import pollutions, score  # noqa: E402
from robustness.score import Loaded  # noqa: E402

FILES = {file.name: file for file in pollutions.files()}


def test_there_are_as_many_files_of_each_kind_as_in_the_benchmark():
    kinds = Counter(pollutions.kind_of(name) for name in FILES)
    assert len(FILES) == 2290
    assert kinds["row_more_sep"] == 756
    assert kinds["row_less_sep"] == 672
    assert kinds["row_extra_quote"] == 756
    assert kinds["row_field_delimiter"] == 84


def test_a_pollution_changes_what_its_name_says_and_nothing_else():
    clean = FILES["source"].render().split(b"\r\n")

    def changed(name: str) -> dict[int, tuple[bytes, bytes]]:
        polluted = FILES[name].render().split(b"\r\n")
        assert len(polluted) == len(clean)
        return {i: (a, b) for i, (a, b) in enumerate(zip(clean, polluted)) if a != b}

    assert changed("row_extra_quote0_col2") == {
        0: (clean[0], clean[0].replace(b"Qty", b'"Qty'))}
    assert changed("row_more_sep_row0_col2") == {0: (clean[0], clean[0].replace(b",Qty", b",,Qty"))}
    assert changed("row_less_sep_row0_col2") == {0: (clean[0], clean[0].replace(b",Qty", b"Qty"))}
    assert changed("row_field_delimiter_0_0x20") == {0: (clean[0], clean[0].replace(b",", b" "))}
    assert list(changed("row_extra_quote83_col7")) == [83]


def test_a_perfect_reader_has_ten_and_one_that_fails_nothing(tmp_path):
    pollutions.write(tmp_path)
    for name, file in FILES.items():
        with (tmp_path / "clean" / f"{name}.csv").open(newline="", encoding="utf-8") as text:
            rows = list(csv.reader(text))
        header = rows.pop(0) if file.header() else ["col_0"]
        found = score.measures(file.header(), file.records(), Loaded(header, rows))
        assert found == [1.0] * 10, name
        assert score.measures(file.header(), file.records(), Loaded([], [], "no")) == [0.0] * 10


def test_what_is_lost_or_made_up_costs_recall_or_precision():
    records = [["1", "a"], ["2", "b"]]
    lost = dict(zip(score.MEASURES, score.measures(["x", "y"], records, Loaded(["x"], [["1", "a"]]))))
    assert (lost["header_precision"], lost["header_recall"]) == (1.0, 0.5)
    assert (lost["record_precision"], lost["record_recall"]) == (1.0, 0.5)
    assert (lost["cell_precision"], lost["cell_recall"]) == (1.0, 0.5)
    surplus = Loaded(["x", "y"], [*records, ["3", "c"]])
    more = dict(zip(score.MEASURES, score.measures(["x", "y"], records, surplus)))
    assert (more["record_precision"], more["record_recall"]) == (2 / 3, 1.0)
    assert (more["cell_precision"], more["cell_recall"]) == (6 / 8, 1.0)


@pytest.mark.parametrize("one, other", [
    ("28/01/2018", "2018-01-28"), ("00:15", "00:15:00"), ("007", "7"), ("1.50", "1.5"), ("True", "1"),
    ("Lantern", "lantern"),
])
def test_spellings_of_one_value_are_one(one, other):
    assert score.normal(one) == score.normal(other)


@pytest.mark.parametrize("one, other", [
    ("28/01/2018", "29/01/2018"), ("2", "2.0"), ("00:15", "00:16"), ('5"', "5"), ("", "0"), ("AE-12", "AE-1")])
def test_other_values_are_others(one, other):
    assert score.normal(one) != score.normal(other)
