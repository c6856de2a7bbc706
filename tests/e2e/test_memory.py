"""Memory does not grow with the object: TPC-H lineitem, at several sizes."""

import bz2
import gzip
import json
import lzma
import os
import random
import subprocess
import sys
import sysconfig
import time
import zipfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

import deltalog
import lake

PEAK_RSS_BYTES_MAX = 128_000_000
GROWTH_MAX = 1.1
DATA = Path(os.environ.get("LAKEFEED_TEST_DATA") or Path.home() / ".cache" / "lakefeed" / "data")
# Of a data file with one row group, as others write them; and the files that one commit may take away.
LARGE_FILE_BYTES, FILES_MAX = 64_000_000, 10_000
MEASURE = Path(__file__).with_name("measure.py")

# Amounts in cents, so that sums are exact in every engine and in any order.
SUMS = """
SELECT count(*),
       sum(l_orderkey), sum(l_partkey), sum(l_suppkey), sum(l_linenumber),
       sum(CAST(round(l_quantity * 100) AS BIGINT)),
       sum(CAST(round(l_extendedprice * 100) AS BIGINT)),
       sum(CAST(round(l_discount * 100) AS BIGINT)),
       sum(CAST(round(l_tax * 100) AS BIGINT)),
       min(l_shipdate), max(l_shipdate), min(l_receiptdate), max(l_receiptdate),
       min(l_comment), max(l_comment), count(DISTINCT l_shipmode), count(DISTINCT l_returnflag)
FROM t
"""


def lineitem(scale_factor: int) -> Path:
    """The CSV, made once and kept."""
    folder = DATA / f"tpch-{scale_factor}"
    if not folder.exists():
        scratch = DATA / f"tpch-{scale_factor}.partial.{os.getpid()}"
        scratch.mkdir(parents=True)
        generator = Path(sysconfig.get_path("scripts")) / "tpchgen-cli"
        command = [generator, "csv", "-s", str(scale_factor), "--tables=lineitem", "-o", scratch]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        scratch.rename(folder)
    return folder / "lineitem.csv"


def ingest_measured(source: Path, table: Path, tmp_path: Path, *arguments) -> tuple[dict, int]:
    """The receipt, and the peak memory that the kernel saw."""
    result = tmp_path / "measured.json"
    command = lake.command("ingest", source, "--table", table, "--json", *arguments)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-I", "-S", MEASURE, result, *command],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, encoding="utf-8", check=True,
    )
    receipt = lake.parse_receipt(done.stdout)
    peak = json.loads(result.read_text())["peak_rss_bytes"]
    print(
        f"{source.stat().st_size / 1e6:.0f} MB in {time.monotonic() - began:.1f} s,"
        f" cpu {receipt['cpu_ms'] / 1e3:.1f} s, peak {peak / 1e6:.1f} MB (it says"
        f" {receipt['peak_rss_bytes'] / 1e6:.1f}), wrote {receipt['bytes_written'] / 1e6:.0f} MB"
    )
    return receipt, peak


def sums_of_csv(source: Path) -> tuple:
    connection = lake.connect()
    connection.execute(
        f"CREATE VIEW t AS SELECT * FROM read_csv('{source}', types={{'l_quantity': 'DECIMAL(15,2)',"
        " 'l_extendedprice': 'DECIMAL(15,2)', 'l_discount': 'DECIMAL(15,2)', 'l_tax': 'DECIMAL(15,2)'})"
    )
    return connection.execute(SUMS).fetchone()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_lineitem_fits(tmp_path, table):
    source = lineitem(1)
    receipt, peak = ingest_measured(source, table, tmp_path)
    assert max(peak, receipt["peak_rss_bytes"]) <= PEAK_RSS_BYTES_MAX
    assert receipt["rows"] == 6_001_215
    assert lake.aggregate(table, SUMS) == [sums_of_csv(source)]


@pytest.mark.huge
@pytest.mark.timeout(3600)
def test_five_times_the_size_takes_no_more(tmp_path, table):
    peaks = {}
    for scale_factor in (1, 5):
        folder = table.with_name(f"scale-{scale_factor}")
        receipt, peak = ingest_measured(lineitem(scale_factor), folder, tmp_path)
        peaks[scale_factor] = max(peak, receipt["peak_rss_bytes"])
    assert peaks[1] <= PEAK_RSS_BYTES_MAX
    assert peaks[5] <= GROWTH_MAX * peaks[1], peaks


ROWS_OF_BLOCK, BLOCKS = 20_000, 60


def block_of_rows() -> bytes:
    """Rows of 50 bytes or so, each fourth of which is bad."""
    chance = random.Random(1)
    rows = [
        f"{chance.getrandbits(40)},{chance.random():.9f},2024-02-{31 if row % 4 == 3 else 29},"
        f"text {chance.getrandbits(30):x}\n"
        for row in range(ROWS_OF_BLOCK)
    ]
    return "".join(rows).encode()


def written(name: str, folder: Path) -> Path:
    """An object of some 60 MB of text, in the encoding or compression of its name."""
    path = folder / f"large.csv.{name}"
    blocks = [b"id,share,day,words\n", *[block_of_rows()] * BLOCKS]
    if name == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            with archive.open("large.csv", "w") as member:
                member.writelines(blocks)
    elif name == "utf-16":
        with path.open("wb") as file:
            file.write(b"\xff\xfe")
            file.writelines(block.decode().encode("utf-16-le") for block in blocks)
    elif name == "csv":
        path.write_bytes(b"".join(blocks))
    else:
        openers = {
            "gz": lambda: gzip.open(path, "wb", compresslevel=1),
            "bz2": lambda: bz2.open(path, "wb"),
            "xz": lambda: lzma.open(path, "wb", preset=1),
            "zst": lambda: pyarrow.CompressedOutputStream(str(path), "zstd"),
            "lz4": lambda: pyarrow.CompressedOutputStream(str(path), "lz4"),
        }
        with openers[name]() as stream:
            for block in blocks:
                stream.write(block)
    return path


@pytest.mark.parametrize("bad_rows", ["quarantine", "rescue"])
@pytest.mark.parametrize("name", ["csv", "gz", "bz2", "xz", "zst", "lz4", "zip", "utf-16"])
def test_no_way_to_write_it_and_no_bad_rows_take_more_memory(name, bad_rows, tmp_path, table):
    source = written(name, tmp_path)
    receipt, peak = ingest_measured(
        source, table, tmp_path, "--column", "id=int64", "--column", "day=date",
        "--csv", f"bad_rows={bad_rows}", "--csv", "max_bad_ratio=1")
    taken, bad = receipt["rows"], receipt["rows_rejected"] + receipt["rows_rescued"]
    every = BLOCKS * ROWS_OF_BLOCK
    assert (taken, bad) == ((every, every // 4) if bad_rows == "rescue" else (every - every // 4, every // 4))
    assert peak <= PEAK_RSS_BYTES_MAX


def add_file(table, name, source, rows):
    """A data file in one row group, half of whose rows are of `source`; its action."""
    ids = pyarrow.Array.from_buffers(
        pyarrow.int64(), rows, [None, pyarrow.py_buffer(os.urandom(8 * rows))])
    sources = pyarrow.array(["file:///other.csv", str(source)] * (rows // 2))
    columns = pyarrow.table({"id": ids, "_source_file": sources})
    pyarrow.parquet.write_table(columns, table / name, row_group_size=rows)
    return {"add": {
        "path": name, "partitionValues": {}, "size": (table / name).stat().st_size,
        "modificationTime": 0, "dataChange": True, "stats": json.dumps({"numRecords": rows}),
    }}


def test_a_large_row_group_of_others_is_written_again(inbox, table, tmp_path):
    source = inbox / "source.csv"
    source.write_text("id\n1\n")
    lake.ingest_all(source, table=table)
    rows = LARGE_FILE_BYTES // 8
    deltalog.commit(table, add_file(table, "large.parquet", f"file://{source}", rows))
    source.write_text("id\n1\n2\n")
    refused = lake.ingest(
        source, table=table, arguments=["--on-changed", "replace", "--memory", "128MB"])
    assert refused.receipt(source)["error"]["kind"] == "over_budget", str(refused)
    assert lake.unnamed_files(table) == set()

    replace = ["--on-changed", "replace", "--memory", "512MB"]
    receipt, peak = ingest_measured(source, table, tmp_path, *replace)
    assert receipt["rows_removed"] == rows // 2 + 1
    assert peak <= PEAK_RSS_BYTES_MAX + LARGE_FILE_BYTES
    assert lake.aggregate(table, "SELECT count(*) FROM t") == [(rows // 2 + 2,)]


def test_as_many_files_as_one_commit_may_take_away(inbox, table, tmp_path):
    source = inbox / "source.csv"
    source.write_text("id\n1\n")
    lake.ingest_all(source, table=table)
    add = add_file(table, "0.parquet", "other", 2)["add"]
    others = [f"part-{number:05}-4ffcd4bb-0f52-4d7f-a6d7-4a1d5ab5ca26.parquet" for number in range(FILES_MAX)]
    deltalog.commit(table, *({"add": {**add, "path": name}} for name in others))
    refused = lake.ingest(source, table=table, arguments=["--mode", "overwrite"])
    error = refused.receipt(source)["error"]
    assert error["kind"] == "over_budget" and "10000" in error["message"], str(refused)
    removed = {"path": others[0], "deletionTimestamp": 1, "dataChange": True}
    deltalog.commit(table, {"remove": removed})
    receipt, peak = ingest_measured(source, table, tmp_path, "--mode", "overwrite")
    assert receipt["status"] == lake.COMMITTED and peak <= PEAK_RSS_BYTES_MAX
    assert lake.column(table, "id") == [1]
