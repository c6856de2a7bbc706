"""The yardstick measures, and knows a wrong table when it sees one. What it measures is not tested."""

import json
import os
import subprocess
import sys
from pathlib import Path

import deltalake
import pytest

import lake

BENCH = lake.REPOSITORY / "bench"
sys.path.insert(0, str(BENCH))

from yardstick import figures  # noqa: E402


def bench(tmp_path, *arguments, binary=lake.BINARY):
    """`bench/run` at its smallest, with the interpreter of the tests in place of its own."""
    command = [sys.executable, BENCH / "run", "--smoke", *arguments]
    places = ["--output", tmp_path / "results", "--scratch", tmp_path / "scratch"]
    return subprocess.run(
        [*map(str, command), *map(str, places)], capture_output=True, encoding="utf-8",
        env={**os.environ, "LAKEFEED_BIN": str(binary), "LAKEFEED_BENCH_PYTHON": sys.executable},
        timeout=300,
    )


@pytest.mark.parametrize("arguments", [
    ["--ours-only"],
    pytest.param([], marks=[pytest.mark.slow, pytest.mark.timeout(300)]),
])
def test_every_part_runs(tmp_path, arguments):
    done = bench(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results" / "results.json").read_text())
    contenders = {run["contender"] for part in results["feed"] for run in part["runs"]}
    assert len(contenders) == (1 if arguments else 8)
    for run in results["feed"][0]["runs"]:
        # The interpreter alone has some megabytes; a process that was not measured has none.
        assert run["peak_rss_bytes"] > 5e6 and run["cpu_seconds"] > 0 and run["bytes"] > 1e6, run
    assert [table["files"] for table in results["tables"]] == [1, 30, 1]
    assert {race["writers"] for race in results["writers"]} == {1, 2}
    for title in ("lineitem at scale factor 0.01", "append against", "checkpoint against", "commits per"):
        assert title in done.stdout
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_contender_that_loses_a_row_has_no_figures(tmp_path):
    liar = tmp_path / "liar"
    liar.write_text(
        f'#!/bin/sh\nhead -n -1 "$2" > "{tmp_path}/short.csv"\nshift 2\n'
        f'exec "{lake.BINARY}" ingest "{tmp_path}/short.csv" "$@"\n'
    )
    liar.chmod(0o755)
    done = bench(tmp_path, "feed", "--ours-only", binary=liar)
    assert done.returncode == 1 and "lakefeed made another table" in done.stderr, done.stderr
    assert not (tmp_path / "results" / "results.json").exists()


def test_a_table_whose_log_was_made_longer_is_still_ours(inbox, table):
    first, second = inbox / "first.csv", inbox / "second.csv"
    for number, source in enumerate((first, second)):
        source.write_text(f"id,name\n{number},a\n")
    lake.ingest_all(first, table=table)
    script = BENCH / "contenders" / "long_table.py"
    subprocess.run([sys.executable, script, table, "20", "30"], check=True)
    # The checkpoint, and ten commits after it.
    log = deltalake.DeltaTable(table)
    assert (log.version(), len(log.file_uris())) == (30, 40)
    # The ledger's pointer is in the checkpoint alone.
    for commit in (table / "_delta_log").glob("*.json"):
        if int(commit.stem) <= 20:
            commit.unlink()
    assert lake.ingest_all(first, table=table).statuses() == {"first.csv": lake.DUPLICATE}
    assert lake.ingest_all(second, table=table).receipt(second)["version"] == 31


def runs(**seconds):
    return [
        {"contender": name.replace("_", " "), "round": turn, "cpu_seconds": value}
        for name, values in seconds.items() for turn, value in enumerate(values)
    ]


def test_ours_is_held_against_the_best_peer_by_medians():
    (verdict,) = figures.verdicts(runs(lakefeed=[1, 3, 2], slow=[50, 50, 50], best=[8, 8, 30]))
    assert (verdict.metric.title, verdict.best_peer) == ("CPU", "best")
    assert (verdict.ratio, verdict.each.least, verdict.each.most) == (0.25, 1 / 15, 0.375)
    assert verdict.is_met
    (verdict,) = figures.verdicts(runs(lakefeed=[4], best=[8]))
    assert not verdict.is_met
    assert figures.verdicts(runs(lakefeed=[4])) == []


def test_few_megabytes_beside_a_glutton_are_still_too_many():
    def verdict(ours, best):
        found = [{"contender": "lakefeed", "round": 0, "peak_rss_bytes": ours},
                 {"contender": "glutton", "round": 0, "peak_rss_bytes": best}]
        return figures.verdicts(found)[0].is_met

    assert verdict(72e6, 400e6) and not verdict(73e6, 4000e6) and not verdict(72e6, 300e6)


@pytest.mark.parametrize("value, shown", [
    (0, "0"), (5.0, "5"), (0.1234, "0.123"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1,234"),
])
def test_figures_have_three_digits(value, shown):
    assert figures.number(value) == shown
