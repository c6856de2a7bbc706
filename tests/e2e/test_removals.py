"""Rows that are taken away: replaced, undone, taken again, overwritten; and nobody else's."""

import json
import os

import deltalake
import pyarrow
import pytest

import deltalog
import gate
import lake

REPLACE = ["--on-changed", "replace"]


def write(path, text):
    """Writes a file anew, so that it is another object, whatever its content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def numbers(*values):
    return "number\n" + "".join(f"{value}\n" for value in values)


def take(*sources, table, arguments=(), expect=lake.COMMITTED):
    """The receipt of the last of these sources, all of which come to what is expected."""
    run = lake.ingest_all(*sources, table=table, arguments=arguments)
    assert set(run.statuses().values()) == {expect}, str(run)
    return run.receipt(sources[-1])


def replay(*sources, table):
    run = lake.run("replay", *sources, "--table", table, "--json")
    assert run.exit_code == 0, str(run)
    return [lake.parse_receipt(line) for line in run.stdout.splitlines()]


def undo(table, *objects):
    run = lake.run("undo", table, *objects, "--json")
    assert run.exit_code == 0, str(run)
    return json.loads(run.stdout)


def adopt(table):
    """Says that nothing was taken into a table that another made, and that names sources."""
    run = lake.run("ledger", "rebuild", table)
    assert run.exit_code == 0, str(run)


def data_files(table):
    return sorted(deltalog.live(table))


@pytest.fixture
def shared(inbox, table):
    """A table that has taken a and b, whose rows share a data file, and c, which has its own."""
    write(inbox / "a.csv", numbers(1, 2, 3))
    write(inbox / "b.csv", numbers(10, 20))
    take(inbox / "a.csv", inbox / "b.csv", table=table)
    take(write(inbox / "c.csv", numbers(100)), table=table)
    assert len(data_files(table)) == 2
    return table


# --- replace ---------------------------------------------------------------------------------


def test_a_corrected_file_takes_the_place_of_what_it_was(inbox, shared):
    before, files = lake.version(shared), data_files(shared)
    receipt = take(write(inbox / "a.csv", numbers(4)), table=shared, arguments=REPLACE)
    assert (receipt["rows"], receipt["rows_removed"]) == (1, 3)
    assert lake.column(shared, "number") == [4, 10, 20, 100]
    assert lake.version(shared) == receipt["version"] == before + 1, "it is one commit"
    assert len(set(files) & set(data_files(shared))) == 1, "the file of c is as it was"
    assert not lake.unnamed_files(shared) - set(files)
    # What was there can still be read.
    old = deltalake.DeltaTable(shared, version=before).to_pyarrow_table()["number"].to_pylist()
    assert sorted(old) == [1, 2, 3, 10, 20, 100]
    told = deltalake.DeltaTable(shared).history(1)[0]["operationParameters"]
    assert (told["mode"], told["predicate"]) == (
        "Overwrite", f"`_source_file` IN ('file://{inbox}/a.csv')")


def test_a_file_that_holds_nothing_else_goes_as_it_is(inbox, shared):
    receipt = take(write(inbox / "c.csv", numbers(5, 6)), table=shared, arguments=REPLACE)
    assert (receipt["rows_removed"], receipt["data_files"]) == (1, 1)
    changes = [action for action in deltalog.actions(shared)
               if action["version"] == receipt["version"]]
    assert sum("add" in change for change in changes) == 1
    assert sum("remove" in change for change in changes) == 1
    assert lake.column(shared, "number") == [1, 2, 3, 5, 6, 10, 20]


def test_both_objects_of_a_shared_file_are_replaced_at_once(inbox, shared):
    a, b = write(inbox / "a.csv", numbers(7)), write(inbox / "b.csv", numbers(8))
    take(a, b, table=shared, arguments=REPLACE)
    assert lake.column(shared, "number") == [7, 8, 100]
    assert len(data_files(shared)) == 2


def test_what_comes_back_is_taken_back(inbox, table):
    source = inbox / "source.csv"
    for content in ([1, 2], [3], [1, 2], [3]):
        take(write(source, numbers(*content)), table=table, arguments=REPLACE)
        assert lake.column(table, "number") == content
        take(source, table=table, arguments=REPLACE, expect=lake.DUPLICATE)
        touched = write(source, numbers(*content))
        take(touched, table=table, arguments=REPLACE, expect=lake.DUPLICATE)
        assert lake.column(table, "number") == content


def test_versions_without_rows(inbox, shared):
    source = inbox / "a.csv"
    for content, removed in [([], 3), ([5], 0), ([], 1), ([6, 7], 0)]:
        receipt = take(write(source, numbers(*content)), table=shared, arguments=REPLACE)
        assert (receipt["rows"], receipt["rows_removed"]) == (len(content), removed)
        assert lake.column(shared, "number") == sorted([*content, 10, 20, 100])


def test_an_object_without_a_byte_replaces_nothing(inbox, shared):
    run = lake.ingest_all(write(inbox / "a.csv", ""), table=shared, arguments=REPLACE)
    assert run.statuses() == {"a.csv": lake.SKIPPED}
    assert lake.column(shared, "number") == [1, 2, 3, 10, 20, 100]


def test_a_bad_correction_changes_nothing(inbox, shared):
    before = lake.version(shared)
    run = lake.ingest(write(inbox / "a.csv", numbers("x")), table=shared, arguments=REPLACE)
    assert run.statuses() == {"a.csv": lake.FAILED}
    assert lake.version(shared) == before
    assert lake.column(shared, "number") == [1, 2, 3, 10, 20, 100]


def test_rows_that_a_compaction_moved_are_found(inbox, shared):
    assert deltalake.DeltaTable(shared).optimize.compact()["numFilesRemoved"] == 2
    assert take(write(inbox / "a.csv", numbers(4)), table=shared, arguments=REPLACE)[
        "rows_removed"] == 3
    assert lake.column(shared, "number") == [4, 10, 20, 100]


@pytest.mark.parametrize("deed", ["compact", "delete", "undo", "replace"])
def test_what_others_do_before_the_commit(inbox, shared, deed):
    source = write(inbox / "a.csv", numbers(4))
    with gate.before_the_commit(source, table=shared, on_changed="replace") as run:
        if deed == "compact":
            assert deltalake.DeltaTable(shared).optimize.compact()["numFilesRemoved"] == 2
        elif deed == "delete":
            deltalake.DeltaTable(shared).delete("number IN (2, 20)")
        elif deed == "undo":
            undo(shared, source)
        else:
            take(source, table=shared, arguments=REPLACE)
    receipt = run.receipt(source)
    if deed == "replace":
        assert receipt["status"] == lake.DUPLICATE, str(run)
    else:
        removed = {"compact": 3, "delete": 2, "undo": 0}[deed]
        assert (receipt["status"], receipt["rows_removed"]) == (lake.COMMITTED, removed), str(run)
    rest = [10, 100] if deed == "delete" else [10, 20, 100]
    assert lake.column(shared, "number") == [4, *rest]
    assert lake.unnamed_files(shared) <= everything_ever_named(shared)


def everything_ever_named(table):
    return {action["add"]["path"] for action in deltalog.actions(table) if "add" in action}


def test_more_objects_than_are_told_apart_and_across_a_checkpoint(inbox, table):
    schema = pyarrow.schema([("number", pyarrow.int64()), ("_source_file", pyarrow.string())])
    deltalake.DeltaTable.create(
        table, deltalake.Schema.from_arrow(schema),
        configuration={"delta.checkpointInterval": "4"},
    )
    adopt(table)
    sources = [write(inbox / f"{n:03}.csv", numbers(n)) for n in range(150)]
    for start in range(0, 150, 25):
        take(*sources[start : start + 25], table=table)
    assert list((table / "_delta_log").glob("*.checkpoint.parquet"))
    corrected = [write(inbox / f"{n:03}.csv", numbers(1000 + n)) for n in range(0, 150, 2)]
    take(*corrected, table=table, arguments=REPLACE)
    assert lake.column(table, "number") == sorted(
        [*range(1, 150, 2), *range(1000, 1150, 2)])


ALL_TYPES = {
    "whole": ("int64", ["1", "-9223372036854775808", ""]),
    "small": ("int16", ["1", "-32768", ""]),
    "ratio": ("float64", ["0.1", "-1e300", ""]),
    "price": ("decimal(18,4)", ["12345678901234.5678", "-0.0001", ""]),
    "day": ("date", ["2026-01-31", "1969-12-31", ""]),
    "local": ("timestamp", ["2026-01-31T01:02:03.456789", "1969-12-31T23:59:59", ""]),
    "moment": ("timestamptz", ["2026-01-31T01:02:03.456789Z", "1969-12-31T23:59:59Z", ""]),
    "is_good": ("boolean", ["true", "false", ""]),
    "text": ("string", ["é 'quoted'", '""', ""]),
}


@pytest.mark.parametrize("partition_by", [None, "text", "day", "whole", "price", "moment"])
def test_whoever_shares_the_file_keeps_every_value(inbox, table, partition_by):
    columns = [f"--column={name}={kind}" for name, (kind, _) in ALL_TYPES.items()]
    if partition_by:
        columns.append(f"--partition-by={partition_by}")
    lines = [",".join(values[i] for _, values in ALL_TYPES.values()) for i in range(3)]
    text = "\n".join([",".join(ALL_TYPES), *lines]) + "\n"
    kept, gone = write(inbox / "kept.csv", text), write(inbox / "gone.csv", text)
    take(kept, gone, table=table, arguments=columns)
    of_kept = [row for row in lake.read(table) if "kept" in row["_source_file"]]
    assert len(of_kept) == 3
    take(write(gone, text.splitlines()[0] + "\n"), table=table, arguments=REPLACE)
    assert lake.read(table) == of_kept


def test_columns_that_go_by_other_names_in_the_files(inbox, table):
    """Column mapping: only DuckDB of the three can read that."""
    fields = [
        {"name": name, "type": kind, "nullable": True,
         "metadata": {"delta.columnMapping.id": i, "delta.columnMapping.physicalName": f"col-{i}"}}
        for i, (name, kind) in enumerate([("number", "long"), ("_source_file", "string")], 1)
    ]
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7,
                "readerFeatures": ["columnMapping"], "writerFeatures": ["columnMapping"]}
    metadata = {
        "id": "00000000-0000-0000-0000-000000000001", "partitionColumns": [], "createdTime": 0,
        "format": {"provider": "parquet", "options": {}},
        "schemaString": json.dumps({"type": "struct", "fields": fields}),
        "configuration": {"delta.columnMapping.mode": "name",
                          "delta.columnMapping.maxColumnId": "2"},
    }
    log = table / "_delta_log"
    log.mkdir(parents=True)
    actions = ({"protocol": protocol}, {"metaData": metadata})
    (log / f"{0:020}.json").write_text("\n".join(map(json.dumps, actions)) + "\n")
    adopt(table)

    def column():
        return sorted(row["number"] for row in lake.read_with_duckdb(table))

    a, b = write(inbox / "a.csv", numbers(1, 2)), write(inbox / "b.csv", numbers(3))
    take(a, b, table=table)
    take(write(a, numbers(4)), table=table, arguments=REPLACE)
    assert column() == [3, 4]
    assert undo(table, b)["objects"][0]["rows_removed"] == 1
    assert column() == [4]


@pytest.mark.parametrize("inline", [True, False])
def test_rows_that_others_deleted_do_not_come_back(inbox, table, inline):
    """With a deletion vector, on a file of ours."""
    a, b = write(inbox / "a.csv", numbers(1, 2, 3)), write(inbox / "b.csv", numbers(10, 20, 30, 40))
    take(a, b, table=table)
    deltalog.demand(table, "deletionVectors", **{"delta.enableDeletionVectors": "true"})
    (file,) = data_files(table)
    rows = pyarrow.parquet.read_table(table / file)["number"].to_pylist()
    deltalog.delete_rows(table, file, [rows.index(2), rows.index(30)], inline)
    assert lake.column(table, "number") == [1, 3, 10, 20, 40], "the vector is honoured"

    receipt = take(write(a, numbers(4)), table=table, arguments=REPLACE)
    assert receipt["rows_removed"] == 2
    assert lake.column(table, "number") == [4, 10, 20, 40]
    (removed,) = [action["remove"] for action in deltalog.actions(table)
                  if action["version"] == receipt["version"] and "remove" in action]
    assert removed["deletionVector"]["cardinality"] == 2

    # Once more, on a file of which all but deleted rows are of one object.
    rest = next(path for path in data_files(table)
                if pyarrow.parquet.read_metadata(table / path).num_rows == 3)
    deltalog.delete_rows(table, rest, [0, 2], inline)
    assert undo(table, b)["objects"][0]["rows_removed"] == 1
    assert lake.column(table, "number") == [4]


# --- undo and replay -------------------------------------------------------------------------


def test_a_dry_run_says_what_would_go_and_an_undo_takes_it(inbox, shared):
    source = inbox / "a.csv"
    before = lake.listing(shared)
    planned = lake.run("undo", shared, source, "--dry-run")
    assert planned.exit_code == 0 and "3 rows would be removed" in planned.stdout, str(planned)
    assert lake.listing(shared) == before

    done = lake.run("undo", shared, source)
    assert done.exit_code == 0 and "3 rows removed" in done.stdout, str(done)
    assert lake.column(shared, "number") == [10, 20, 100]
    assert deltalake.DeltaTable(shared).history(1)[0]["operation"] == "DELETE"
    before = lake.version(shared)
    again = lake.run("undo", shared, source)
    assert again.exit_code == 0 and "undone before" in again.stdout, str(again)
    assert lake.version(shared) == before

    shown = lake.run("ledger", "show", shared, source)
    assert "undone" in shown.stdout, str(shown)


@pytest.mark.parametrize("policy", ["skip", "append", "replace", "fail"])
def test_what_was_undone_is_not_taken_again_by_itself(inbox, shared, policy):
    source, arguments = inbox / "a.csv", ["--on-changed", policy]
    assert undo(shared, source)["objects"][0]["rows_removed"] == 3
    for text in (None, numbers(1, 2, 3)):
        if text:
            write(source, text)
        receipt = take(source, table=shared, arguments=arguments, expect=lake.DUPLICATE)
        assert receipt["reason"] == ("same content" if text else "undone")
        assert lake.column(shared, "number") == [10, 20, 100]
    # Other content is, whatever the policy: nothing of it is in the table.
    take(write(source, numbers(4)), table=shared, arguments=arguments)
    assert lake.column(shared, "number") == [4, 10, 20, 100]
    take(source, table=shared, arguments=arguments, expect=lake.DUPLICATE)


def test_a_replay_takes_what_was_undone(inbox, shared):
    source = inbox / "a.csv"
    undo(shared, source)
    (receipt,) = replay(source, table=shared)
    assert (receipt["rows"], receipt["rows_removed"]) == (3, 0)
    assert lake.column(shared, "number") == [1, 2, 3, 10, 20, 100]
    take(source, table=shared, expect=lake.DUPLICATE)
    assert undo(shared, source)["objects"][0]["rows_removed"] == 3
    assert lake.column(shared, "number") == [10, 20, 100]


def test_a_replay_puts_rows_in_their_own_place(inbox, shared):
    rows = lake.read(shared)
    receipts = replay(inbox, table=shared)
    assert sum(receipt["rows_removed"] for receipt in receipts) == 6
    assert lake.read(shared) == rows
    deltalake.DeltaTable(shared).delete("number = 2")
    replay(inbox / "a.csv", table=shared)
    assert lake.read(shared) == rows


def test_a_replay_takes_what_was_never_taken(inbox, table):
    source = write(inbox / "a.csv", numbers(1))
    (receipt,) = replay(source, table=table)
    assert (receipt["status"], receipt["rows_removed"]) == (lake.COMMITTED, 0)
    take(source, table=table, expect=lake.DUPLICATE)


def test_an_undo_goes_by_any_name(inbox, shared):
    names = [inbox / "a.csv", f"file://{inbox}/b.csv", os.path.relpath(inbox / "c.csv")]
    done = undo(shared, *names)
    assert [item["rows_removed"] for item in done["objects"]] == [3, 2, 1]
    assert lake.read(shared) == []


def test_an_undo_by_the_name_in_the_ledger(inbox, table):
    arguments = ["--source-key", "name"]
    take(write(inbox / "a.csv", numbers(1)), write(inbox / "b.csv", numbers(2)), table=table,
         arguments=arguments)
    undo(table, "a.csv")
    assert lake.column(table, "number") == [2]


def test_an_object_that_is_not_known_is_refused_with_all_others(inbox, shared):
    before = lake.listing(shared)
    for arguments in ([], ["--dry-run"]):
        run = lake.run("undo", shared, inbox / "a.csv", inbox / "z.csv", *arguments)
        assert run.exit_code == 1 and "z.csv" in run.stderr, str(run)
        assert "ledger show" in run.stderr, str(run)
    assert lake.listing(shared) == before


def test_every_version_and_every_alias_of_an_object_goes(inbox, table):
    source, arguments = inbox / "a.csv", ["--on-changed", "append"]
    take(write(source, numbers(1)), table=table, arguments=arguments)
    take(write(source, numbers(2, 3)), table=table, arguments=arguments)
    take(write(source, numbers(2, 3)), table=table, arguments=arguments, expect=lake.DUPLICATE)
    assert undo(table, source)["objects"][0]["rows_removed"] == 3
    assert lake.read(table) == []
    for content in (numbers(1), numbers(2, 3)):
        take(write(source, content), table=table, arguments=arguments, expect=lake.DUPLICATE)
    assert undo(table, source)["objects"][0]["was_undone"]
    take(write(source, numbers(4)), table=table, arguments=arguments)
    assert lake.column(table, "number") == [4]


def test_rows_that_somebody_else_deleted_need_no_undoing(inbox, shared):
    deltalake.DeltaTable(shared).delete("number < 4")
    assert undo(shared, inbox / "a.csv")["objects"][0]["rows_removed"] == 0
    assert lake.column(shared, "number") == [10, 20, 100]
    take(inbox / "a.csv", table=shared, expect=lake.DUPLICATE)


# --- blind modes -----------------------------------------------------------------------------


def test_a_blind_append_is_said_aloud_and_takes_everything_again(inbox, shared):
    run = lake.ingest_all(inbox, table=shared, arguments=["--mode", "append"])
    assert set(run.statuses().values()) == {lake.COMMITTED}
    assert "mode append" in run.stderr and "twice" in run.stderr, str(run)
    assert lake.column(shared, "number") == sorted(2 * [1, 2, 3, 10, 20, 100])
    assert set(lake.ingest_all(inbox, table=shared).statuses().values()) == {lake.DUPLICATE}
    assert undo(shared, inbox / "a.csv")["objects"][0]["rows_removed"] == 6


def test_an_overwrite_is_one_commit_and_the_new_data_wins(inbox, shared):
    rows = pyarrow.table({"number": [77], "_source_file": ["somebody else's"]})
    deltalake.write_deltalake(shared, rows, mode="append")
    before = lake.version(shared)
    new = [write(inbox / "new" / f"{n}.csv", numbers(n)) for n in range(3)]
    run = lake.ingest_all(*new, table=shared, arguments=["--mode", "overwrite"])
    assert set(run.statuses().values()) == {lake.COMMITTED}
    assert "mode overwrite" in run.stderr and str(shared) in run.stderr, str(run)
    assert lake.column(shared, "number") == [0, 1, 2]
    assert lake.version(shared) == before + 1
    assert set(lake.ingest_all(*new, table=shared).statuses().values()) == {lake.DUPLICATE}


def test_an_overwrite_with_what_the_table_holds_already(inbox, shared):
    run = lake.ingest_all(inbox, table=shared, arguments=["--mode", "overwrite"])
    assert set(run.statuses().values()) == {lake.COMMITTED}
    assert lake.column(shared, "number") == [1, 2, 3, 10, 20, 100]


def test_an_overwrite_makes_a_table(inbox, table):
    take(write(inbox / "a.csv", numbers(1)), table=table, arguments=["--mode", "overwrite"])
    assert lake.column(table, "number") == [1]


def test_an_overwrite_with_a_bad_object_changes_nothing(inbox, shared):
    before, files = lake.version(shared), lake.unnamed_files(shared)
    write(inbox / "z.csv", numbers(7, "x"))
    run = lake.ingest(inbox, table=shared, arguments=["--mode", "overwrite"])
    assert set(run.statuses().values()) == {lake.FAILED} and len(run.receipts) == 4
    assert run.receipt(inbox / "z.csv")["error"]["kind"] == "source_invalid"
    assert run.receipt(inbox / "a.csv")["error"]["kind"] == "source_refused", str(run)
    assert lake.version(shared) == before and lake.unnamed_files(shared) == files
    assert lake.column(shared, "number") == [1, 2, 3, 10, 20, 100]


# --- tables that do not let rows be taken away -----------------------------------------------


@pytest.mark.parametrize("feature, property", [
    ("appendOnly", "delta.appendOnly"),
    ("changeDataFeed", "delta.enableChangeDataFeed"),
])
def test_a_table_that_forbids_it_is_refused_with_the_way_out(inbox, shared, feature, property):
    deltalog.demand(shared, feature, **{property: "true"})
    take(write(inbox / "d.csv", numbers(5)), table=shared)
    before = lake.column(shared, "number")
    write(inbox / "a.csv", numbers(4))
    run = lake.ingest(inbox / "a.csv", table=shared, arguments=REPLACE)
    error = run.receipt(inbox / "a.csv")["error"]
    assert error["kind"] == "table_unsupported" and property in error["advice"], str(run)
    for arguments in (["undo", shared, inbox / "b.csv"],
                      ["replay", inbox / "b.csv", "--table", shared],
                      ["ingest", inbox / "b.csv", "--table", shared, "--mode", "overwrite"]):
        run = lake.run(*arguments)
        assert run.exit_code == 1 and property in run.stdout + run.stderr, str(run)
    assert lake.column(shared, "number") == before
    # Where there is nothing to take away, nothing is refused.
    take(write(inbox / "e.csv", numbers(6)), table=shared, arguments=REPLACE)
    deltalog.demand(shared, feature, **{property: "false"})
    take(inbox / "a.csv", table=shared, arguments=REPLACE)


def test_a_table_that_does_not_say_whose_its_rows_are(inbox, table):
    source = write(inbox / "a.csv", numbers(1))
    config = lake.feed(inbox.parent, source_file_column=False)
    take(source, table=table, arguments=config)
    for arguments in (["undo", table, source], ["replay", source, "--table", table],
                      ["ingest", source, "--table", table, *REPLACE],
                      ["ingest", source, "--table", table, "--dedupe", "column"]):
        run = lake.run(*arguments)
        assert run.exit_code != 0, str(run)
        assert "whose each row is" in run.stdout + run.stderr, str(run)
    assert lake.column(table, "number") == [1]
