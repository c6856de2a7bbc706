"""DuckDB: `read_csv`, copied to Parquet by DuckDB itself, then made a Delta table of in place.

Usage: duckdb_parquet.py CSV TABLE [zstd1]
"""

import sys
from pathlib import Path

import deltalake
import duckdb

import lineitem


def main(source, table, compression=None):
    chosen = ", COMPRESSION zstd, COMPRESSION_LEVEL 1" if compression else ""
    types = lineitem.columns("BIGINT", "DOUBLE", "VARCHAR", "DATE")
    Path(table).mkdir()
    connection = duckdb.connect()
    # DuckDB's own advice for what is larger than memory.
    connection.execute("SET preserve_insertion_order = false")
    connection.execute(
        "COPY (SELECT * FROM read_csv(?, columns = ?, header = true))"
        f" TO '{table}/part-0.parquet' (FORMAT parquet{chosen})",
        [source, types],
    )
    deltalake.convert_to_deltalake(table)


if __name__ == "__main__":
    main(*sys.argv[1:])
