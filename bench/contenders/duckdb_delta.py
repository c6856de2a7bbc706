"""DuckDB: `read_csv`, a reader of record batches, streamed into delta-rs.

Usage: duckdb_delta.py CSV TABLE [zstd1]
"""

import sys

import duckdb
from deltalake import WriterProperties, write_deltalake

import lineitem


def main(source, table, compression=None):
    options = {}
    if compression:
        options["writer_properties"] = WriterProperties(compression="ZSTD", compression_level=1)
    types = lineitem.columns("BIGINT", "DOUBLE", "VARCHAR", "DATE")
    connection = duckdb.connect()
    # DuckDB's own advice for what is larger than memory.
    connection.execute("SET preserve_insertion_order = false")
    query = "SELECT * FROM read_csv(?, columns = ?, header = true)"
    rows = connection.sql(query, params=[source, types])
    write_deltalake(table, rows.to_arrow_reader(), **options)


if __name__ == "__main__":
    main(*sys.argv[1:])
