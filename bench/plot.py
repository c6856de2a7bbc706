"""Draws results.json as SVG, one file for each question. Usage: plot.py RESULTS FOLDER"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402

from yardstick.figures import METRICS, OURS, spreads  # noqa: E402

OURS_COLOUR, PEER_COLOUR = "#1b6ca8", "#b8b8b8"
# So that the same results give the same file.
STYLE = {
    "svg.hashsalt": "lakefeed", "svg.fonttype": "none", "font.size": 9,
    "axes.spines.top": False, "axes.spines.right": False,
}


def save(figure, folder: Path, name: str):
    figure.savefig(folder / f"{name}.svg", bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)


def feed(parts: list[dict], folder: Path):
    """Bars of the largest scale at which everything was measured."""
    part = max(parts, key=lambda part: (len({r["contender"] for r in part["runs"]}), part["csv_bytes"]))
    metrics = METRICS[:4]
    figure, axes = pyplot.subplots(1, len(metrics), figsize=(10, 2.6), sharey=True)
    for axis, metric in zip(axes, metrics):
        found = spreads(part["runs"], metric.key)
        medians = [spread.median / metric.per_unit for spread in found.values()]
        colours = [OURS_COLOUR if name == OURS else PEER_COLOUR for name in found]
        axis.barh(list(found), medians, color=colours)
        axis.set_title(f"{metric.title}, {metric.unit}")
        axis.invert_yaxis()
    # One axis's direction is everybody's, and each call turned it round.
    axes[0].set_ylim(len(found) - 0.5, -0.5)
    save(figure, folder, "feed")


def memory(parts: list[dict], folder: Path):
    figure, axis = pyplot.subplots(figsize=(6, 3.2))
    points: dict[str, list] = {}
    for part in parts:
        for name, spread in spreads(part["runs"], "peak_rss_bytes").items():
            points.setdefault(name, []).append((part["csv_bytes"] / 1e6, spread.median / 1e6))
    for name, of_name in points.items():
        # What was left out at the largest size has no line worth looking at.
        if len(of_name) == len(parts):
            # C0 looks like ours.
            colour = OURS_COLOUR if name == OURS else f"C{len(axis.lines)}"
            axis.plot(*zip(*of_name), marker="o", markersize=3, label=name, color=colour)
    axis.set(xscale="log", yscale="log", xlabel="CSV, MB", ylabel="peak RSS, MB")
    axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, folder, "memory")


def ages(tables: list[dict], folder: Path):
    """Appends against the number of files, for the tables whose ledger is short."""
    figure, axes = pyplot.subplots(1, 2, figsize=(8, 2.8))
    short = [table for table in tables if table["objects"] == 1]
    for axis, metric in zip(axes, METRICS[1:3]):
        points: dict[str, list] = {}
        for table in short:
            appends = [run for run in table["runs"] if run["what"] == "append"]
            for name, spread in spreads(appends, metric.key).items():
                points.setdefault(name, []).append((table["files"], spread.median / metric.per_unit))
        for name, of_name in points.items():
            colour = OURS_COLOUR if name == OURS else "#888888"
            axis.plot(*zip(*of_name), marker="o", markersize=3, label=name, color=colour)
        axis.set(xscale="log", yscale="log", xlabel="files in the table",
                 ylabel=f"{metric.title} of an append, {metric.unit}")
    axes[0].legend()
    figure.tight_layout()
    save(figure, folder, "append")


def crowd(races: list[dict], folder: Path, file: str):
    figure, axis = pyplot.subplots(figsize=(5, 2.8))
    for name in dict.fromkeys(race["contender"] for race in races):
        of_name = [(r["writers"], r["commits_per_second"]) for r in races if r["contender"] == name]
        axis.plot(*zip(*of_name), marker="o", markersize=3, label=name)
    axis.set(xscale="log", xlabel="writers", ylabel="commits per second", ylim=(0, None))
    counts = sorted({race["writers"] for race in races})
    axis.set_xticks(counts, counts)
    axis.minorticks_off()
    axis.legend()
    save(figure, folder, file)


def main(results: str, folder: str):
    pyplot.rcParams.update(STYLE)
    found, folder = json.loads(Path(results).read_text()), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if "feed" in found:
        feed(found["feed"], folder)
        memory(found["feed"], folder)
    if "tables" in found:
        ages(found["tables"], folder)
    for part in ("writers", "latency"):
        if part in found:
            crowd(found[part], folder, part)


if __name__ == "__main__":
    main(*sys.argv[1:])
