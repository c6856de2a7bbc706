"""The notebook that the project grew from: five batches, one folder, a table that remembers."""

import deltalake
import pyarrow
import pytest

import gate
import lake

ROWS_PER_BATCH = 20


@pytest.fixture
def batches(inbox):
    return [write_batch(inbox, number) for number in range(1, 6)]


def write_batch(inbox, number):
    path = inbox / f"batch_{number:03}.csv"
    lines = (f"{number * 1000 + i},{i * 1.5}\n" for i in range(ROWS_PER_BATCH))
    path.write_text("id,value\n" + "".join(lines))
    return path


def ids(*numbers):
    return sorted(number * 1000 + i for number in numbers for i in range(ROWS_PER_BATCH))


def test_four_new_batches_are_one_commit(batches, inbox, table):
    first = lake.ingest_all(batches[0], table=table)
    assert first.receipt(batches[0])["rows"] == 20
    assert lake.column(table, "id") == ids(1)
    bootstrapped = lake.version(table)

    second = lake.ingest_all(inbox, table=table)
    assert second.receipt(batches[0])["status"] == lake.DUPLICATE
    news = [second.receipt(batch) for batch in batches[1:]]
    assert [(r["status"], r["rows"]) for r in news] == [(lake.COMMITTED, 20)] * 4
    assert {r["version"] for r in news} == {bootstrapped + 1}
    assert lake.version(table) == bootstrapped + 1
    assert lake.rows_added_by_version(table)[bootstrapped + 1] == 80
    assert lake.column(table, "id") == ids(1, 2, 3, 4, 5)
    sources = [row["_source_file"].rsplit("/", 1)[-1] for row in lake.read(table)]
    assert {name: sources.count(name) for name in sources} == {b.name: 20 for b in batches}


def test_a_second_run_does_nothing(batches, inbox, table):
    lake.ingest_all(inbox, table=table)
    before, rows = lake.listing(table), lake.read(table)
    again = lake.ingest_all(inbox, table=table)
    assert again.statuses() == {batch.name: lake.DUPLICATE for batch in batches}
    assert lake.listing(table) == before
    assert lake.read(table) == rows


def test_a_moved_table_goes_on(batches, inbox, table):
    lake.ingest_all(*batches[:4], table=table)
    moved = table.with_name("moved")
    table.rename(moved)
    run = lake.ingest_all(inbox, table=moved)
    statuses = run.statuses()
    assert statuses.pop("batch_005.csv") == lake.COMMITTED
    assert set(statuses.values()) == {lake.DUPLICATE} and len(statuses) == 4
    assert lake.column(moved, "id") == ids(1, 2, 3, 4, 5)
    assert not table.exists()


def test_an_object_named_twice_is_taken_once(batches, inbox, table):
    lake.ingest_all(batches[0], batches[0], inbox, table=table)
    assert lake.column(table, "id") == ids(1, 2, 3, 4, 5)


# --- dedupe = "column": to the letter --------------------------------------------------------
#
# The table's own column says which files were taken: what the notebook writes with
# `WHERE filename NOT IN (SELECT DISTINCT filename FROM tgt)`, pinned to a version.

MERGE = {"dedupe": "column", "source_key": "name", "source_file_column": "filename"}


@pytest.fixture
def bootstrapped(batches, table, tmp_path):
    """B, with batch_001 in it."""
    lake.ingest_all(batches[0], table=table, arguments=lake.feed(tmp_path, **MERGE))
    return table


def delete(table, name):
    """What a parallel job does."""
    deleted = deltalake.DeltaTable(table).delete(f"filename = '{name}'")
    assert deleted["num_deleted_rows"] == ROWS_PER_BATCH


def append(table, *numbers):
    """Another writer's rows of some batches."""
    rows = [(number * 1000 + i, i * 1.5, f"batch_{number:03}.csv")
            for number in numbers for i in range(ROWS_PER_BATCH)]
    columns = zip(("id", "value", "filename"), zip(*rows))
    deltalake.write_deltalake(table, pyarrow.table(dict(columns)), mode="append")


def merge(inbox, table, tmp_path):
    return lake.ingest_all(inbox, table=table, arguments=lake.feed(tmp_path, **MERGE))


def test_the_table_itself_says_what_it_has(inbox, bootstrapped, tmp_path):
    names = {row["filename"] for row in lake.read(bootstrapped)}
    assert names == {"batch_001.csv"}
    append(bootstrapped, 3)
    run = merge(inbox, bootstrapped, tmp_path)
    assert [name for name, status in run.statuses().items() if status == lake.DUPLICATE] == [
        "batch_001.csv", "batch_003.csv"]
    assert lake.column(bootstrapped, "id") == ids(1, 2, 3, 4, 5)
    before = lake.version(bootstrapped)
    assert set(merge(inbox, bootstrapped, tmp_path).statuses().values()) == {lake.DUPLICATE}
    assert lake.version(bootstrapped) == before


def test_what_somebody_deleted_is_taken_again(inbox, bootstrapped, tmp_path):
    merge(inbox, bootstrapped, tmp_path)
    delete(bootstrapped, "batch_004.csv")
    run = merge(inbox, bootstrapped, tmp_path)
    taken = [name for name, status in run.statuses().items() if status == lake.COMMITTED]
    assert taken == ["batch_004.csv"]
    assert lake.column(bootstrapped, "id") == ids(1, 2, 3, 4, 5)


def test_a_delete_between_pin_and_commit_makes_it_plan_again(inbox, bootstrapped):
    with gate.before_the_commit(inbox, table=bootstrapped, **MERGE) as run:
        delete(bootstrapped, "batch_001.csv")
        deleted = lake.version(bootstrapped)
    assert run.exit_code == 0, str(run)
    assert "does not hold the sources any more that it held" in run.stderr, str(run)
    assert set(run.statuses().values()) == {lake.COMMITTED} and len(run.receipts) == 5, str(run)
    assert {receipt["version"] for receipt in run.receipts} == {deleted + 1}
    assert lake.column(bootstrapped, "id") == ids(1, 2, 3, 4, 5)


def test_an_append_of_one_of_ours_in_between_is_seen(inbox, bootstrapped):
    with gate.before_the_commit(inbox, table=bootstrapped, **MERGE) as run:
        append(bootstrapped, 2, 7)
    assert run.statuses() == {
        "batch_001.csv": lake.DUPLICATE, "batch_002.csv": lake.DUPLICATE,
        "batch_003.csv": lake.COMMITTED, "batch_004.csv": lake.COMMITTED,
        "batch_005.csv": lake.COMMITTED,
    }, str(run)
    assert lake.column(bootstrapped, "id") == ids(1, 2, 3, 4, 5, 7)


@pytest.mark.parametrize("deed", ["compact", "append", "delete"])
def test_what_concerns_none_of_ours_is_no_reason_to_stop(inbox, bootstrapped, deed):
    append(bootstrapped, 8)
    with gate.before_the_commit(inbox, table=bootstrapped, **MERGE) as run:
        if deed == "compact":
            assert deltalake.DeltaTable(bootstrapped).optimize.compact()["numFilesRemoved"] == 2
        elif deed == "append":
            append(bootstrapped, 9)
        else:
            delete(bootstrapped, "batch_008.csv")
    assert run.exit_code == 0 and "planning again" not in run.stderr, str(run)
    others = {"compact": [8], "append": [8, 9], "delete": []}[deed]
    assert lake.column(bootstrapped, "id") == ids(1, 2, 3, 4, 5, *others)


def test_the_ledger_is_kept_all_the_same(inbox, bootstrapped, tmp_path):
    """Who goes back to it finds everything there; and a file without rows is read once."""
    (inbox / "batch_006.csv").write_text("id,value\n")
    assert merge(inbox, bootstrapped, tmp_path).statuses()["batch_006.csv"] == lake.COMMITTED
    assert merge(inbox, bootstrapped, tmp_path).statuses()["batch_006.csv"] == lake.DUPLICATE
    fields = {**MERGE, "dedupe": "ledger"}
    run = lake.ingest_all(inbox, table=bootstrapped, arguments=lake.feed(tmp_path, **fields))
    assert set(run.statuses().values()) == {lake.DUPLICATE}


def test_what_was_undone_is_not_what_somebody_deleted(inbox, bootstrapped, tmp_path):
    merge(inbox, bootstrapped, tmp_path)
    config = lake.feed(tmp_path, **{**MERGE, "table": str(bootstrapped)})[:2]
    undone = lake.run("undo", bootstrapped, "batch_002.csv", *config)
    assert undone.exit_code == 0 and "20 rows removed" in undone.stdout, str(undone)
    assert merge(inbox, bootstrapped, tmp_path).statuses()["batch_002.csv"] == lake.DUPLICATE
    assert lake.column(bootstrapped, "id") == ids(1, 3, 4, 5)

    again = lake.run("replay", inbox / "batch_002.csv", "--table", bootstrapped, *config,
                     "--feed", "test")
    assert again.exit_code == 0, str(again)
    assert lake.column(bootstrapped, "id") == ids(1, 2, 3, 4, 5)
    delete(bootstrapped, "batch_002.csv")
    assert merge(inbox, bootstrapped, tmp_path).statuses()["batch_002.csv"] == lake.COMMITTED
    assert lake.column(bootstrapped, "id") == ids(1, 2, 3, 4, 5)
