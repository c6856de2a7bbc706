#!/usr/bin/env python3
"""What our folder in _delta_log adds to the listings that engines make of it, on the tests' S3.

Usage: listings.py LAKEFEED [COMMITS], with the interpreter of the tests' environment.

A table of so many commits of one object each, 360 by default, is uploaded with its ledger and without
it. Bytes are those of the answers' bodies; the times are of this server, and compare only with each other.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests" / "e2e"))

import s3  # noqa: E402

OURS = "_lakefeed"
ROUNDS = 9


def make(binary: str, folder: Path, commits: int) -> Path:
    table, source = folder / "table", folder / "one.csv"
    for number in range(commits):
        source.write_text(f"id\n{number}\n")
        named = source.rename(folder / f"{number}.csv")
        subprocess.run([binary, "ingest", named, "--table", table], check=True, capture_output=True)
    return table


def walked(folder: Path) -> float:
    """Milliseconds in which a local folder is listed to the bottom, and each file looked at."""
    began = time.monotonic()
    for path in folder.rglob("*"):
        path.stat()
    return (time.monotonic() - began) * 1e3


def upload(server, table: Path, name: str, wanted):
    for path in sorted(table.rglob("*")):
        relative = path.relative_to(table)
        if path.is_file() and wanted(relative):
            server.put("lake", f"{name}/{relative}", path.read_bytes())


def listed(server, **arguments) -> tuple[int, int, float]:
    """Pages, bytes and seconds of one listing."""
    client = server.client("s3")
    bodies = []
    client.meta.events.register(
        "after-call.s3.ListObjectsV2",
        lambda http_response, **_: bodies.append(len(http_response.content)))
    began = time.monotonic()
    for _ in client.get_paginator("list_objects_v2").paginate(Bucket="lake", **arguments):
        pass
    return len(bodies), sum(bodies), time.monotonic() - began


def asked(server, read) -> str:
    """How often an engine lists, and asks for anything, to read a table."""
    del server.requests[:]
    read()
    listings = [r for r in server.requests if "list-type" in r.query]
    return f"{len(listings)} listings of {len(server.requests)} requests"


def main(binary: str, commits: int = 360):
    with tempfile.TemporaryDirectory() as scratch, s3.serve() as server:
        place = {"LocationConstraint": s3.REGION}
        server.client("s3").create_bucket(Bucket="lake", CreateBucketConfiguration=place)
        table = make(binary, Path(scratch), int(commits))
        upload(server, table, "with", lambda path: True)
        upload(server, table, "none", lambda path: OURS not in path.parts)
        files = [path for path in (table / "_delta_log" / OURS).rglob("*") if path.is_file()]
        print(f"{commits} commits, {len(files)} files in {OURS}")
        log = table / "_delta_log"
        for name, folder in (("with", log), ("none", shutil.copytree(
                log, Path(scratch) / "none", ignore=shutil.ignore_patterns(OURS)))):
            taken = statistics.median(walked(folder) for _ in range(ROUNDS))
            print(f"{name:5} {'a local folder, to the bottom':28} {taken:6.1f} ms")
        hint = max(log.glob("*.checkpoint.parquet")).name[:20]
        for name in ("with", "none"):
            key = f"{name}/_delta_log/"
            for what, arguments in {
                "from the last checkpoint on": {"Prefix": key, "StartAfter": key + hint},
                "the folder alone": {"Prefix": key, "Delimiter": "/"},
                "all below it": {"Prefix": key},
            }.items():
                found = [listed(server, **arguments) for _ in range(ROUNDS)]
                pages, size, _ = found[0]
                seconds = statistics.median(seconds for *_, seconds in found)
                print(f"{name:5} {what:28} {pages} pages {size / 1e3:7.1f} KB {seconds * 1e3:6.1f} ms")
            uri = f"s3://lake/{name}"
            for engine in ("deltalake", "polars", "duckdb"):
                reader = getattr(server, f"read_with_{engine}")
                print(f"{name:5} {engine:28} {asked(server, lambda: reader(uri))}")


if __name__ == "__main__":
    main(*sys.argv[1:])
