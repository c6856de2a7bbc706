"""Polars: `scan_csv`, streamed by `sink_delta` into delta-rs. Usage: polars_delta.py CSV TABLE [zstd1]"""

import sys

import polars
from deltalake import WriterProperties

import lineitem


def main(source, table, compression=None):
    options = {}
    if compression:
        options["writer_properties"] = WriterProperties(compression="ZSTD", compression_level=1)
    schema = lineitem.columns(polars.Int64, polars.Float64, polars.String, polars.Date)
    polars.scan_csv(source, schema=schema).sink_delta(table, delta_write_options=options)


if __name__ == "__main__":
    main(*sys.argv[1:])
