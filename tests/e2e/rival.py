"""Appends to a table and compacts it with Python's deltalake, until told to stop.

Usage: rival.py TABLE STOP_FILE. Says what was committed, a line each.
"""

import sys
from pathlib import Path

import deltalake
import pyarrow
from deltalake.exceptions import CommitFailedError

FIRST_ID = 1_000_000
APPENDS_PER_COMPACTION = 3


def rows(identifier):
    values = {"id": [identifier], "name": ["rival"], "_source_file": ["rival"]}
    return pyarrow.table(values)


def work(table, stop):
    turn = 0
    while not stop.exists():
        try:
            if turn % (APPENDS_PER_COMPACTION + 1) == APPENDS_PER_COMPACTION:
                deltalake.DeltaTable(table).optimize.compact()
                print("compacted", flush=True)
            else:
                deltalake.write_deltalake(table, rows(FIRST_ID + turn), mode="append")
                print("appended", FIRST_ID + turn, flush=True)
        except CommitFailedError as lost:
            print("lost", lost, flush=True)
        turn += 1


if __name__ == "__main__":
    work(sys.argv[1], Path(sys.argv[2]))
