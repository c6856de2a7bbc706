"""The commands that are not about taking, and names that are hard to write down."""

import pytest

import lake


def test_show_prints_some_rows(inbox, table):
    (inbox / "a.csv").write_text('id,note\n1,"two\nlines"\n2,short\n3,c\n')
    lake.ingest_all(inbox, table=table)
    run = lake.run("show", table, "--rows", "2")
    assert run.exit_code == 0, str(run)
    header, *rows = run.stdout.splitlines()
    assert header.split() == ["id", "note", "_source_file"]
    assert len(rows) == 2 and "two\\nlines" in rows[0]


def test_show_needs_a_table(table):
    run = lake.run("show", table)
    assert run.exit_code == 1 and "no table" in run.stderr, str(run)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions(shell):
    run = lake.run("completions", shell)
    assert run.exit_code == 0 and "ledger" in run.stdout, str(run)


def test_help_has_examples():
    run = lake.run("--help")
    assert run.exit_code == 0 and "Examples:" in run.stdout
    assert "lakefeed ingest landing/ --table lake/orders" in run.stdout


@pytest.mark.parametrize("chore", [["--optimize"], ["--zorder", "id"], ["--vacuum", "--dry-run"]])
def test_what_this_build_cannot_do_is_said(table, chore):
    run = lake.run("maintain", table, *chore)
    assert run.exit_code == 2 and "--features maintain" in run.stderr, str(run)


NAMES = ["with space.csv", "50%.csv", "a%20b.csv", "#1.csv", "a+b&c=d.csv", "ünïcode-送.csv", "[x]{y}?.csv"]


@pytest.mark.parametrize("name", NAMES)
def test_any_file_name_can_be_taken(inbox, table, name):
    source = inbox / name
    source.write_text("id\n1\n")
    lake.ingest_all(source, table=table)
    assert lake.ingest_all(inbox, table=table).statuses() == {name: lake.DUPLICATE}
    assert lake.column(table, "_source_file") == [f"file://{source}"]


@pytest.mark.parametrize("name", ["a table", "täble", "#1", "a+b=c"])
def test_a_table_may_have_a_difficult_name(inbox, tmp_path, name):
    """Read with one reader: Polars 2.1 does not find the files of such a table, whoever wrote it."""
    table = tmp_path / name
    for content in ("id\n1\n", "id\n2\n"):
        (inbox / f"{content[-2]}.csv").write_text(content)
        lake.ingest_all(inbox, table=table)
    assert sorted(row["id"] for row in lake.read_with_deltalake(table)) == [1, 2]


def test_a_percent_sign_in_a_tables_name_is_refused(inbox, tmp_path):
    (inbox / "a.csv").write_text("id\n1\n")
    run = lake.run("ingest", inbox, "--table", tmp_path / "50%")
    assert run.exit_code == 2 and "percent" in run.stderr, str(run)


def test_any_partition_value_can_be_written(inbox, table):
    values = {1: "x", 2: "y z", 3: "50%", 4: "a/b", 5: None, 6: "é=1", 7: "a%20b", 8: "#?&+:"}
    rows = "".join(f"{i},{value or ''}\n" for i, value in values.items())
    (inbox / "a.csv").write_text(f"id,part\n{rows}", encoding="utf-8")
    lake.ingest_all(inbox, table=table, arguments=["--partition-by", "part"])
    assert {row["id"]: row["part"] for row in lake.read(table)} == values


def test_a_table_behind_a_link(inbox, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (inbox / "a.csv").write_text("id\n1\n")
    lake.ingest_all(inbox, table=tmp_path / "link" / "table")
    (inbox / "b.csv").write_text("id\n2\n")
    lake.ingest_all(inbox, table=tmp_path / "link" / "table")
    assert lake.column(tmp_path / "real" / "table", "id") == [1, 2]


def test_headers_that_delta_forbids_are_mended(inbox, table):
    (inbox / "a.csv").write_text("Trip Distance,fare(usd)\n1.5,2\n")
    lake.ingest_all(inbox, table=table)
    (inbox / "b.csv").write_text("fare(usd),TRIP DISTANCE\n4,3.5\n")
    lake.ingest_all(inbox, table=table)
    assert lake.column(table, "Trip_Distance") == [1.5, 3.5]
    assert lake.column(table, "fare_usd_") == [2, 4]


def test_readers_find_extreme_values_by_their_statistics(inbox, table):
    """Each value is looked up by itself, so a bound that is too narrow would hide it."""
    instants = ["0001-01-01T00:00:00", "1969-12-31T23:59:59.999999", "9999-12-31T23:59:59.999999"]
    texts = ["é" * 33, "z" * 40, "\U0010ffff" * 40]
    numbers = ["-9223372036854775808", "9223372036854775807", "0"]
    for i, (instant, text, number) in enumerate(zip(instants * 2, texts * 2, numbers * 2)):
        (inbox / f"{i}.csv").write_text(f'at,text,number\n{instant},"{text}",{number}\n')
        lake.ingest_all(inbox / f"{i}.csv", table=table)
    lookups = [
        *((f"\"at\" = TIMESTAMP '{instant}'") for instant in instants),
        *((f"text = '{text}'") for text in texts),
        *((f"number = CAST('{number}' AS BIGINT)") for number in numbers),
    ]
    for where in lookups:
        query = f"SELECT count(*) FROM delta_scan('{table}') WHERE {where}"
        (count,) = lake.connect().execute(query).fetchone()
        assert count == 2, f"DuckDB finds {count} rows where {where}"
