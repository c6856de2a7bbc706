"""Polars: `scan_csv`, streamed by `sink_parquet`, then made a Delta table of in place.

Usage: polars_parquet.py CSV TABLE [zstd1]
"""

import sys
from pathlib import Path

import deltalake
import polars

import lineitem


def main(source, table, compression=None):
    options = {"compression": "zstd", "compression_level": 1} if compression else {}
    schema = lineitem.columns(polars.Int64, polars.Float64, polars.String, polars.Date)
    file = Path(table) / "part-0.parquet"
    polars.scan_csv(source, schema=schema).sink_parquet(file, mkdir=True, **options)
    deltalake.convert_to_deltalake(table)


if __name__ == "__main__":
    main(*sys.argv[1:])
