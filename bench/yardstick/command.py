"""The command line: which parts, how large, and where the results go."""

import argparse
import json
import os
import platform
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from . import feed, places, report, tables, writers
from .places import Broken, say
from .tables import Table


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    # Scale factor and rounds.
    feed: tuple[tuple[str, int], ...]
    # The table, how often ours appends to it, how often the peer, and how often each sums it up.
    tables: tuple[tuple[Table, int, int, int], ...]
    # How many writers at once, and how many appends each of them makes.
    writers: tuple[tuple[int, int], ...]
    # How many commits on a store with latency, and by how many writers at once; nothing for none.
    latency: tuple[int, ...] = ()


FULL = Size(
    feed=(("0.1", 3), ("1", 5), ("5", 2)),
    tables=(
        (Table(), 15, 5, 3),
        (Table(1_000, 1_000), 15, 5, 3),
        (Table(100_000, 100_000), 15, 3, 3),
        (Table(100_000, 1_000_000), 15, 2, 2),
        (Table(objects=10_000), 9, 0, 0),
        (Table(objects=100_000), 9, 0, 0),
    ),
    writers=((1, 96), (2, 48), (4, 24), (8, 12), (16, 6)),
    latency=(96, 1, 2, 4, 8, 16),
)
QUICK = Size(
    feed=(("0.1", 3),),
    tables=((Table(), 5, 2, 1), (Table(1_000, 1_000), 5, 2, 1), (Table(10_000, 100_000), 5, 2, 1),
            (Table(objects=1_000), 5, 0, 0)),
    writers=((1, 32), (4, 8), (16, 2)),
    latency=(32, 1, 4, 16),
)
SMOKE = Size(
    feed=(("0.01", 1),),
    tables=((Table(), 1, 1, 1), (Table(20, 30), 1, 1, 1), (Table(objects=10), 1, 0, 0)),
    writers=((1, 2), (2, 1)),
)

PARTS = ("feed", "tables", "writers", "latency")


@dataclass(frozen=True)
class Setting:
    """What every part is given."""

    binary: Path
    python: Path
    # An empty folder on the disk that is measured.
    scratch: Path
    peers: bool


def main(description: str) -> int:
    arguments = parse(description)
    size = SMOKE if arguments.smoke else QUICK if arguments.quick else FULL
    if arguments.scale:
        size = replace(size, feed=((arguments.scale, arguments.rounds),))
    scratch_root = arguments.scratch or places.CACHE
    scratch_root.mkdir(parents=True, exist_ok=True)
    arguments.output.mkdir(parents=True, exist_ok=True)
    try:
        binary, python = places.binary(), places.python()
        with tempfile.TemporaryDirectory(prefix="bench-", dir=scratch_root) as scratch:
            setting = Setting(binary, python, Path(scratch), not arguments.ours_only)
            results = measure_all(setting, size, arguments.parts or PARTS)
        path = arguments.output / "results.json"
        path.write_text(json.dumps(results, indent=1), encoding="utf-8")
        say(f"== {path}")
        if arguments.plot or not (arguments.quick or arguments.smoke):
            plots = [python, places.BENCH / "plot.py", path, arguments.output]
            subprocess.run(plots, check=True)
    except Broken as broken:
        say(f"bench/run: {broken}")
        return 1
    print(report.render(results))
    return 0


def parse(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="of " + ", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="minutes instead of an hour")
    parser.add_argument("--smoke", action="store_true", help="seconds; the figures mean nothing")
    parser.add_argument("--scale", help="feed lineitem at this scale factor alone, as 10")
    parser.add_argument("--rounds", type=int, default=3, help="so often (3)")
    parser.add_argument("--ours-only", action="store_true", help="without the peers")
    parser.add_argument("--plot", action="store_true", help="draw plots, as the full run does")
    parser.add_argument("--output", type=Path, default=places.REPOSITORY / "target" / "bench",
                        help="where results.json and plots go (target/bench)")
    parser.add_argument("--scratch", type=Path,
                        help="where tables are made, on the disk to be measured (the cache)")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    return arguments


def measure_all(setting: Setting, size: Size, parts) -> dict:
    load_before = os.getloadavg()[0]
    results = {}
    if "feed" in parts:
        results["feed"] = [feed.run(setting, *of_scale) for of_scale in size.feed]
    if "tables" in parts:
        results["tables"] = [tables.run(setting, *of_table) for of_table in size.tables]
    if "writers" in parts:
        found = [writers.run(setting, *of_race) for of_race in size.writers]
        results["writers"] = [row for of_race in found for row in of_race]
    if "latency" in parts and size.latency:
        results["latency"] = writers.with_latency(size.latency)
    results["machine"] = {
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": load_before,
        "load_after": os.getloadavg()[0],
        "versions": versions(setting),
    }
    return results


def versions(setting: Setting) -> list[str]:
    ours = subprocess.run([setting.binary, "--version"], stdout=subprocess.PIPE, encoding="utf-8")
    question = (
        "from importlib.metadata import version\n"
        "for name in ('polars', 'pyarrow', 'duckdb', 'deltalake'): print(name, version(name))"
    )
    peers = subprocess.run(
        [setting.python, "-c", question], stdout=subprocess.PIPE, encoding="utf-8")
    return [ours.stdout.strip(), *peers.stdout.splitlines()]
