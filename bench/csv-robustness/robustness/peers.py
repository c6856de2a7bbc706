"""The other readers, each automatic and configured.

Each is as lenient as its options let it be. What a configured one is told is in the file's parameters, and
as in the benchmark's own adapter for DuckDB it skips the header and is told the names.
"""

import csv
import io
from pathlib import Path

from .score import Loaded


def names_of(parameters: dict) -> list[str]:
    count = max(parameters["n_columns"], 1)
    return parameters["column_names"] or [f"col_{i}" for i in range(count)]


def lines_before_rows(parameters: dict) -> int:
    return parameters["preamble_lines"] + parameters["header_lines"]


def of_pandas(frame) -> Loaded:
    """By way of CSV, as in the benchmark: what is null is empty."""
    header, *records = csv.reader(io.StringIO(frame.to_csv(index=False), newline=""))
    return Loaded(header, records)


def of_arrow(table) -> Loaded:
    columns = [map(text_of, column.to_pylist()) for column in table.columns]
    return Loaded(list(table.column_names), [list(row) for row in zip(*columns)])


def text_of(value) -> str:
    return "" if value is None else str(value)


def duckdb_automatic(path: Path, _parameters: dict) -> Loaded:
    return duckdb_read(path)


def duckdb_configured(path: Path, parameters: dict) -> Loaded:
    return duckdb_read(
        path,
        delimiter=parameters["delimiter"] or ",",
        quotechar=parameters["quotechar"] or '"',
        escapechar=parameters["escapechar"] or '"',
        skiprows=lines_before_rows(parameters),
        header=False,
        columns={name: "VARCHAR" for name in names_of(parameters)},
        auto_detect=False,
    )


def duckdb_read(path: Path, **options) -> Loaded:
    import duckdb

    # In parallel it refuses files in which a quote spans lines, once it is to pad rows.
    with duckdb.connect(config={"threads": 1}) as connection:
        relation = connection.read_csv(
            str(path), strict_mode=False, ignore_errors=True, null_padding=True, parallel=False,
            **options)
        return of_pandas(relation.df())


def pandas_automatic(path: Path, _parameters: dict) -> Loaded:
    import pandas

    return of_pandas(pandas.read_csv(
        path, sep=None, engine="python", dtype=object, keep_default_na=False, on_bad_lines="skip"))


def pandas_configured(path: Path, parameters: dict) -> Loaded:
    import pandas

    quote, escape = parameters["quotechar"] or '"', parameters["escapechar"]
    end = parameters["row_delimiter"]
    delimiter = parameters["delimiter"] or ","
    return of_pandas(pandas.read_csv(
        path,
        sep=delimiter[0], skipinitialspace=len(delimiter) > 1,
        quotechar=quote,
        doublequote=escape == quote, escapechar=escape if escape not in ("", quote) else None,
        lineterminator=end if len(end) == 1 else None,
        skiprows=lines_before_rows(parameters), header=None, names=names_of(parameters), index_col=False,
        engine="c", dtype=object, keep_default_na=False, on_bad_lines="skip",
    ))


def polars_automatic(path: Path, _parameters: dict) -> Loaded:
    import polars

    return of_arrow(polars.read_csv(
        path, ignore_errors=True, truncate_ragged_lines=True).to_arrow())


def polars_configured(path: Path, parameters: dict) -> Loaded:
    import polars

    end = parameters["row_delimiter"]
    frame = polars.read_csv(
        path,
        separator=parameters["delimiter"] or ",", quote_char=parameters["quotechar"] or '"',
        eol_char=end if len(end) == 1 else "\n",
        skip_lines=lines_before_rows(parameters), has_header=False, new_columns=names_of(parameters),
        infer_schema=False, ignore_errors=True, truncate_ragged_lines=True,
    )
    return of_arrow(frame.to_arrow())


def pyarrow_automatic(path: Path, _parameters: dict) -> Loaded:
    from pyarrow import csv as arrow_csv

    return of_arrow(arrow_csv.read_csv(
        path,
        read_options=arrow_csv.ReadOptions(use_threads=False),
        parse_options=arrow_csv.ParseOptions(invalid_row_handler=lambda row: "skip"),
    ))


def pyarrow_configured(path: Path, parameters: dict) -> Loaded:
    import pyarrow
    from pyarrow import csv as arrow_csv

    quote, escape = parameters["quotechar"] or '"', parameters["escapechar"]
    names = names_of(parameters)
    return of_arrow(arrow_csv.read_csv(
        path,
        read_options=arrow_csv.ReadOptions(
            use_threads=False, skip_rows=lines_before_rows(parameters), column_names=names),
        parse_options=arrow_csv.ParseOptions(
            delimiter=parameters["delimiter"] or ",", quote_char=quote,
            double_quote=escape == quote, escape_char=escape if escape not in ("", quote) else False,
            newlines_in_values=True, invalid_row_handler=lambda row: "skip"),
        convert_options=arrow_csv.ConvertOptions(
            column_types={name: pyarrow.string() for name in names}),
    ))


def python_automatic(path: Path, _parameters: dict) -> Loaded:
    text = path.read_bytes().decode("ascii")
    rows = list(csv.reader(io.StringIO(text, newline=""), csv.Sniffer().sniff(text)))
    return Loaded(rows[0], rows[1:])


def python_configured(path: Path, parameters: dict) -> Loaded:
    text = path.read_bytes().decode("ascii")
    quote, escape = parameters["quotechar"] or '"', parameters["escapechar"]
    delimiter = parameters["delimiter"] or ","
    rows = list(csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter[0], skipinitialspace=len(delimiter) > 1, quotechar=quote,
        doublequote=escape in ("", quote), escapechar=escape if escape not in ("", quote) else None,
    ))
    return Loaded(names_of(parameters), [row for row in rows[lines_before_rows(parameters):] if row])


READERS = {
    "automatic": {
        "DuckDB": duckdb_automatic, "Polars": polars_automatic, "pandas": pandas_automatic,
        "PyArrow": pyarrow_automatic, "Python csv": python_automatic,
    },
    "configured": {
        "DuckDB": duckdb_configured, "Polars": polars_configured, "pandas": pandas_configured,
        "PyArrow": pyarrow_configured, "Python csv": python_configured,
    },
}
