"""delta-rs: appends a small CSV to a table. Usage: delta_append.py CSV TABLE"""

import sys

import deltalake
import pyarrow
from pyarrow import csv


def main(source, table):
    rows = csv.read_csv(source)
    # As ours names the source of each row.
    rows = rows.append_column("_source_file", pyarrow.array([source] * len(rows)))
    deltalake.write_deltalake(table, rows, mode="append")


if __name__ == "__main__":
    main(*sys.argv[1:])
