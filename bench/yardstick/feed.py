"""One file of CSV into a new Delta table: ours and the peers in turn, round by round."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from .figures import OURS
from .measure import measure
from .places import CONTENDERS, Broken, lineitem, say

# Name, script, and whether it is told to compress as we do (zstd at level 1), or left at its default.
PEERS = {
    "Polars, sink_delta": ("polars_delta.py", None),
    "Polars, sink_delta, zstd 1": ("polars_delta.py", "zstd1"),
    "Polars, sink_parquet, zstd 1": ("polars_parquet.py", "zstd1"),
    "PyArrow → delta-rs": ("pyarrow_delta.py", None),
    "PyArrow → delta-rs, zstd 1": ("pyarrow_delta.py", "zstd1"),
    "DuckDB → delta-rs, zstd 1": ("duckdb_delta.py", "zstd1"),
    "DuckDB, COPY, zstd 1": ("duckdb_parquet.py", "zstd1"),
}
# What a large file is not measured with: the same tools at their defaults.
SMALL_SCALES = ("0.01", "0.1", "1")


def contenders(setting, scale_factor: str) -> dict:
    """By name, what makes the command for a source and a table."""
    def peer(script, compression):
        arguments = [compression] if compression else []
        return lambda source, table: [
            setting.python, CONTENDERS / script, source, table, *arguments]

    found = {OURS: lambda source, table: [setting.binary, "ingest", source, "--table", table]}
    for name, (script, compression) in PEERS.items():
        if setting.peers and (compression or scale_factor in SMALL_SCALES):
            found[name] = peer(script, compression)
    return found


def check(setting, kind: str, place: Path) -> dict:
    """What is in a table, or ought to be."""
    done = measure([setting.python, CONTENDERS / "check.py", kind, place])
    return json.loads(done.stdout.splitlines()[-1])


def size(table: Path) -> tuple[int, int]:
    """The bytes and the number of all files of a table, its log's and the hidden ones too."""
    sizes = [path.stat().st_size for path in table.rglob("*") if path.is_file()]
    return sum(sizes), len(sizes)


def run(setting, scale_factor: str, rounds: int) -> dict:
    """The figures of every contender, one run of each in every round."""
    source = lineitem(setting.python, scale_factor)
    expected = check(setting, "csv", source)["figures"]
    runs = []
    for turn in range(rounds):
        for name, command in contenders(setting, scale_factor).items():
            table = setting.scratch / "feed"
            measured = asdict(measure(command(source, table)))
            del measured["stdout"]
            found = check(setting, "table", table)
            if found["figures"] != expected:
                raise Broken(f"{name} made another table of {source}:\n{found}\nnot\n{expected}")
            bytes_, files = size(table)
            shutil.rmtree(table)
            runs.append({
                "contender": name, "round": turn, **measured, "bytes": bytes_, "files": files,
                "scan_cpu_seconds": found["scan_cpu_seconds"],
            })
            say(f"scale {scale_factor}, round {turn + 1} of {rounds}, {name}:"
                f" CPU {measured['cpu_seconds']:.2f} s, wall {measured['wall_seconds']:.2f} s,"
                f" {measured['peak_rss_bytes'] / 1e6:.0f} MB, wrote {bytes_ / 1e6:.0f} MB")
    return {"scale_factor": scale_factor, "csv_bytes": source.stat().st_size, "runs": runs}
