"""PyArrow: `csv.open_csv`, a reader of record batches, streamed into delta-rs.

Usage: pyarrow_delta.py CSV TABLE [zstd1]
"""

import sys

import pyarrow
from deltalake import WriterProperties, write_deltalake
from pyarrow import csv

import lineitem


def main(source, table, compression=None):
    options = {}
    if compression:
        options["writer_properties"] = WriterProperties(compression="ZSTD", compression_level=1)
    types = lineitem.columns(pyarrow.int64(), pyarrow.float64(), pyarrow.string(), pyarrow.date32())
    reader = csv.open_csv(source, convert_options=csv.ConvertOptions(column_types=types))
    write_deltalake(table, reader, **options)


if __name__ == "__main__":
    main(*sys.argv[1:])
