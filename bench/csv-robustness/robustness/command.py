"""The command line: makes the files, has each reader read them, and prints the table."""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path

from . import peers, pollutions
from .lakefeed import Lakefeed
from .score import MEASURES, Loaded, means, measures

REPOSITORY = Path(__file__).resolve().parents[3]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lakefeed"
PACKAGES = {"DuckDB": "duckdb", "Polars": "polars", "pandas": "pandas", "PyArrow": "pyarrow"}
OURS = "Lakefeed"
# --quick takes every so many-th of the files of one kind.
QUICK_STEP = 25


def main(description: str) -> int:
    arguments = parse(description)
    made = pollutions.write(arguments.files)
    if arguments.quick:
        made = thinned(made)
    if arguments.only:
        made = [file for file in made if arguments.only in file.name]
    results = {"versions": versions(), "files": len(made), "modes": {}}
    for mode in arguments.modes:
        readers = chosen(mode, arguments)
        results["modes"][mode] = {
            name: judged(name, mode, reader, made, arguments) for name, reader in readers.items()
        }
        print(table(mode, results["modes"][mode]), flush=True)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"== {arguments.output}", file=sys.stderr)
    return 0


def parse(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"every {QUICK_STEP}th file of each kind")
    parser.add_argument("--only", help="the files whose name has this in it")
    parser.add_argument("--readers", default="", help="these alone, separated by commas")
    parser.add_argument("--mode", dest="modes", action="append", choices=["automatic", "configured"])
    parser.add_argument("--lakefeed", type=Path, default=os.environ.get("LAKEFEED_BIN"),
                        help="the binary ($LAKEFEED_BIN); without one, the peers alone are run")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--files", type=Path, default=CACHE / "csv-robustness",
                        help="where the files are written (the cache)")
    parser.add_argument("--output", type=Path,
                        default=REPOSITORY / "target" / "csv-robustness" / "results.json",
                        help="where the results go (target/csv-robustness/results.json)")
    arguments = parser.parse_args()
    arguments.modes = arguments.modes or ["automatic", "configured"]
    return arguments


def thinned(made: list[pollutions.File]) -> list[pollutions.File]:
    kinds: dict[str, list[pollutions.File]] = {}
    for file in made:
        kinds.setdefault(pollutions.kind_of(file.name), []).append(file)
    kept = []
    for alike in kinds.values():
        some = alike[::QUICK_STEP]
        for file in some:
            file.weight *= len(alike) / len(some)
        kept += some
    return kept


def versions() -> dict[str, str]:
    return {name: version(package) for name, package in PACKAGES.items()}


def chosen(mode: str, arguments: argparse.Namespace) -> dict:
    readers = dict(peers.READERS[mode])
    if arguments.lakefeed:
        lakefeed = Lakefeed(Path(arguments.lakefeed).resolve())
        readers = {OURS: getattr(lakefeed, mode), **readers}
    wanted = [name for name in arguments.readers.split(",") if name]
    return {name: reader for name, reader in readers.items() if not wanted or name in wanted}


def judged(name: str, mode: str, reader, made: list[pollutions.File], arguments) -> dict:
    """What one reader made of all files: the ten means, the scores, and each file's own measures."""
    print(f"== {name}, {mode}", file=sys.stderr, flush=True)
    with ProcessPoolExecutor(arguments.processes) as pool:
        ends = list(pool.map(partial(attempt, reader, arguments.files), made, chunksize=16))
    weights = [file.weight for file in made]
    rows = [of_file for of_file, _, _ in ends]
    simple = means(rows, [1.0] * len(rows))
    weighted = means(rows, weights)
    published = [of_file for _, of_file, _ in ends]
    return {
        "measures": dict(zip(MEASURES, simple)),
        "weighted_measures": dict(zip(MEASURES, weighted)),
        "simple": sum(simple),
        "weighted": sum(weighted),
        "simple_as_published": sum(means(published, [1.0] * len(rows))),
        "weighted_as_published": sum(means(published, weights)),
        "files": {
            file.name: {"score": sum(of_file), "measures": of_file, **({"error": error} if error else {})}
            for file, (of_file, _, error) in zip(made, ends)
        },
    }


def attempt(reader, folder: Path, file: pollutions.File):
    """The measures of one file, once as we count and once as published, and why it failed, if it did."""
    loaded = load(reader, folder, file)
    expected = file.header(), file.records()
    return (
        measures(*expected, loaded), measures(*expected, loaded, first_row_names=True), loaded.error,
    )


def load(reader, folder: Path, file: pollutions.File) -> Loaded:
    try:
        return reader(folder / "csv" / f"{file.name}.csv", file.parameters())
    except subprocess.TimeoutExpired:
        return Loaded([], [], "it hung")
    # Some readers panic, which is no Exception.
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return Loaded([], [], f"{type(error).__name__}: {error}")


def table(mode: str, results: dict) -> str:
    header = [mode, *(measure.replace("_", " ") for measure in MEASURES),
              "simple", "weighted", "as published"]
    lines = ["| " + " | ".join(header) + " |", "| :-- |" + " --: |" * (len(header) - 1)]
    for name, found in results.items():
        cells = [f"{found['measures'][measure]:.4f}" for measure in MEASURES]
        cells += [f"{found['simple']:.3f}", f"{found['weighted']:.3f}"]
        cells += [f"{found['simple_as_published']:.3f} / {found['weighted_as_published']:.3f}"]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(lines) + "\n"
