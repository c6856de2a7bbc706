"""The notebook that the project grew from: five batches, one folder, a table that remembers."""

import pytest

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
