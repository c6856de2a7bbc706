"""delta-rs: appends small CSVs to a table, a commit each, and says how often it began one again.

Usage: delta_writer.py TABLE CSV...

It says that it is ready, and begins when it is told anything. A commit tries again by itself (15
times); one that lost all of these races is begun again.
"""

import sys

from deltalake.exceptions import CommitFailedError

import delta_append

BEGINNINGS_MAX = 50


def append(source: str, table: str) -> int:
    for beginnings in range(BEGINNINGS_MAX):
        try:
            delta_append.main(source, table)
            return beginnings
        except CommitFailedError as lost:
            last = lost
    raise last


if __name__ == "__main__":
    table, *sources = sys.argv[1:]
    print("ready", flush=True)
    sys.stdin.readline()
    print(sum(append(source, table) for source in sources))
