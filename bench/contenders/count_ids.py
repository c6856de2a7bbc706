"""How many rows a table has, if no id is there twice; read by DuckDB. Usage: count_ids.py TABLE"""

import sys

import deltalake
import duckdb

if __name__ == "__main__":
    files = deltalake.DeltaTable(sys.argv[1]).file_uris()
    query = f"SELECT count(*), count(DISTINCT id) FROM read_parquet({files})"
    rows, distinct = duckdb.execute(query).fetchone()
    print(rows if rows == distinct else f"{rows} rows of {distinct} ids")
