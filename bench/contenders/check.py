"""What DuckDB reads in a Delta table, or in the CSV: for comparing, and how long reading takes.

Usage: check.py table|csv PLACE. Writes a line of JSON. The table's log is read by delta-rs, its
files by DuckDB. Amounts are summed in cents, so that sums are exact in any order.
"""

import json
import sys
import time

import deltalake
import duckdb

import lineitem

SCANS = 2


def figures_query(rows: str) -> str:
    """Every column takes part, so that the time of the query is that of a whole scan."""
    cents = [f"CAST(sum(CAST(round({name} * 100) AS BIGINT)) AS BIGINT)" for name in lineitem.FLOATS]
    sums = [f"CAST(sum({name}) AS BIGINT)" for name in lineitem.INTEGERS]
    dates = [f"count(DISTINCT {name})" for name in lineitem.DATES]
    texts = [f"CAST(sum(strlen({name})) AS BIGINT)" for name in lineitem.FLAGS + lineitem.TEXTS]
    return f"SELECT count(*), {', '.join(cents + sums + dates + texts)} FROM {rows}"


def main(kind, place):
    connection = duckdb.connect()
    if kind == "csv":
        types = lineitem.columns("BIGINT", "DOUBLE", "VARCHAR", "DATE")
        query = figures_query(f"read_csv('{place}', columns = {types}, header = true)")
        scans = 1
    else:
        files = deltalake.DeltaTable(place).file_uris()
        query = figures_query(f"read_parquet({files})")
        scans = SCANS
    cpu_seconds = []
    for _ in range(scans):
        began = time.process_time()
        (figures,) = connection.execute(query).fetchall()
        cpu_seconds.append(time.process_time() - began)
    print(json.dumps({"figures": figures, "scan_cpu_seconds": min(cpu_seconds)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
