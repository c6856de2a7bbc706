"""Checkpoints: written when they are due, complete, and read by everybody."""

import io
import json
import os
import time
from collections import Counter

import deltalake
import moto.backends
import pyarrow
import pyarrow.parquet
import pytest

import lake
import s3 as server

INTERVAL = 5


def create(table, **properties):
    """A table that wants a checkpoint every INTERVAL versions."""
    properties = {"delta.checkpointInterval": str(INTERVAL), **properties}
    schema = pyarrow.schema([("id", pyarrow.int64()), ("day", pyarrow.string())])
    deltalake.DeltaTable.create(
        table, deltalake.Schema.from_arrow(schema), partition_by=["day"], configuration=properties,
    )


def feed_one_by_one(inbox, table, numbers):
    for number in numbers:
        source = inbox / f"{number:03}.csv"
        source.write_text(f"id,day\n{number},d{number % 3}\n")
        lake.ingest_all(source, table=table)


def checkpoints(table):
    return sorted(int(p.name[:20]) for p in (table / "_delta_log").glob("*.checkpoint.parquet"))


def hint(table):
    return json.loads((table / "_delta_log" / "_last_checkpoint").read_text())


def clean_up(table):
    """Takes away every commit behind the newest checkpoint."""
    newest = checkpoints(table)[-1]
    for commit in (table / "_delta_log").glob("*.json"):
        if int(commit.stem) <= newest:
            commit.unlink()


@pytest.mark.parametrize("properties", [{}, {"delta.checkpoint.writeStatsAsStruct": "true"}])
def test_every_so_many_versions_the_table_is_summed_up(inbox, table, properties):
    create(table, **properties)
    feed_one_by_one(inbox, table, range(12))
    # Version 0 is the creation, 1 the ledger's beginning.
    assert lake.version(table) == 13
    assert checkpoints(table) == [5, 10]
    assert hint(table)["version"] == 10
    # The protocol, the metadata, one ledger's pointer, and a file of each version from 2 on.
    assert (hint(table)["size"], hint(table)["numOfAddFiles"]) == (3 + 9, 9)

    clean_up(table)
    assert lake.column(table, "id") == list(range(12))
    again = lake.ingest_all(inbox, table=table)
    assert set(again.statuses().values()) == {lake.DUPLICATE}
    feed_one_by_one(inbox, table, range(12, 20))
    assert checkpoints(table) == [5, 10, 15, 20]
    clean_up(table)
    assert lake.column(table, "id") == list(range(20))


def test_a_version_is_summed_up_without_the_one_that_overtook_it(s3):
    """Another writer commits between our commit and its checkpoint."""
    table, log = "s3://lake/orders", "orders/_delta_log"
    deltalake.DeltaTable.create(
        table, deltalake.Schema.from_arrow(pyarrow.schema([("id", pyarrow.int64())])),
        configuration={"delta.checkpointInterval": str(INTERVAL)}, storage_options=s3.storage_options,
    )
    body = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"id": [99]}), body)
    s3.put("lake", "orders/theirs.parquet", body.getvalue())
    add = {"path": "theirs.parquet", "partitionValues": {}, "size": len(body.getvalue()),
           "modificationTime": 0, "dataChange": True}
    overtaking = []

    def overtake(request):
        if request.path.endswith(f"{INTERVAL:020}.checkpoint.parquet") and not overtaking:
            overtaking.append(request)
            # Behind the server's back: it is busy with this very request.
            buckets = moto.backends.get_backend("s3")["123456789012"]["aws"]
            commit = json.dumps({"add": add}).encode()
            buckets.put_object("lake", f"{log}/{INTERVAL + 1:020}.json", commit)
        return False

    s3.faults.append(server.Fault(overtake))
    # Version 0 is the creation, 1 the ledger's beginning.
    for number in range(2, INTERVAL + 1):
        s3.put("landing", f"{number}.csv", f"id\n{number}\n")
        run = lake.ingest(f"s3://landing/{number}.csv", table=table, env=s3.environment)
        assert run.exit_code == 0, str(run)
    assert overtaking
    for version in range(INTERVAL + 1):
        s3.client("s3").delete_object(Bucket="lake", Key=f"{log}/{version:020}.json")

    def ids(version):
        opened = deltalake.DeltaTable(table, version=version, storage_options=s3.storage_options)
        rows = deltalake.QueryBuilder().register("t", opened).execute("SELECT id FROM t")
        return sorted(row["id"] for row in pyarrow.table(rows).to_pylist())

    assert ids(INTERVAL) == list(range(2, INTERVAL + 1))
    assert ids(INTERVAL + 1) == [*range(2, INTERVAL + 1), 99]


def test_what_was_deleted_stays_deleted(inbox, table):
    create(table)
    feed_one_by_one(inbox, table, range(3))
    deltalake.DeltaTable(table).delete("id = 1")
    feed_one_by_one(inbox, table, range(3, 8))
    # Version 5 is the deletion, and its writer wrote no checkpoint.
    assert checkpoints(table) == [10]
    # Readers look for tombstones of what is in a checkpoint, so that they would not mind.
    (file,) = (table / "_delta_log").glob("*.checkpoint.parquet")
    actions = [{kind: value for kind, value in row.items() if value}
               for row in pyarrow.parquet.read_table(file).to_pylist()]
    told = Counter(kind for action in actions for kind in action)
    assert told == {"protocol": 1, "metaData": 1, "txn": 1, "add": 7, "remove": 1}
    assert (hint(table)["size"], hint(table)["numOfAddFiles"]) == (11, 7)
    clean_up(table)
    assert lake.column(table, "id") == [0, 2, 3, 4, 5, 6, 7]
    # VACUUM needs the tombstones.
    assert len(deltalake.DeltaTable(table).vacuum(
        retention_hours=0, dry_run=True, enforce_retention_duration=False)) == 1


def test_one_can_be_asked_for(inbox, table):
    create(table)
    feed_one_by_one(inbox, table, range(2))
    assert checkpoints(table) == []
    done = lake.run("maintain", table)
    assert done.exit_code == 0 and "version 3 is summed up" in done.stdout, str(done)
    assert (checkpoints(table), hint(table)["version"]) == ([3], 3)
    done = lake.run("maintain", table)
    assert done.exit_code == 0 and "summed up already" in done.stdout, str(done)
    clean_up(table)
    assert lake.column(table, "id") == [0, 1]


def test_one_is_not_begun_where_the_one_before_is_too_large_to_read(inbox, table):
    """Others write one row group for all files, and a row group is read whole."""
    create(table)
    feed_one_by_one(inbox, table, range(2))
    deltalake.DeltaTable(table).create_checkpoint()
    (version,) = checkpoints(table)
    path = table / "_delta_log" / f"{version:020}.checkpoint.parquet"
    theirs = pyarrow.parquet.read_table(path)
    add = next(row for row in theirs.to_pylist() if row["add"])
    many = [
        {**add, "add": {**add["add"], "path": f"none/{number:0300}.parquet"}}
        for number in range(200_000)
    ]
    one_group = pyarrow.concat_tables([theirs, pyarrow.Table.from_pylist(many, schema=theirs.schema)])
    pyarrow.parquet.write_table(
        one_group, path, compression="none", use_dictionary=False, row_group_size=len(one_group),
    )
    feed_one_by_one(inbox, table, [2])
    refused = lake.run("maintain", table, "--memory", "160MiB")
    assert refused.exit_code != 0 and "a checkpoint" in refused.stderr, str(refused)
    assert "--memory" in refused.stderr, str(refused)
    assert checkpoints(table) == [version]
    lake.run("maintain", table, "--memory", "512MiB")
    assert len(checkpoints(table)) == 2
    # Ours is in small row groups, whatever it was made of.
    again = lake.run("maintain", table, "--memory", "160MiB")
    assert "already" in again.stdout, str(again)
    feed_one_by_one(inbox, table, [3])
    assert lake.run("maintain", table, "--memory", "160MiB").exit_code == 0
    assert len(checkpoints(table)) == 3


def test_the_hint_never_moves_back_and_is_only_a_hint(inbox, table):
    create(table)
    feed_one_by_one(inbox, table, range(6))
    assert hint(table)["version"] == 5
    file = table / "_delta_log" / "_last_checkpoint"
    file.write_text("no json")
    feed_one_by_one(inbox, table, range(6, 11))
    assert hint(table)["version"] == 10
    # One that was left behind by whoever wrote the last checkpoint but one.
    file.write_text('{"version": 5, "size": 1}')
    feed_one_by_one(inbox, table, range(11, 13))
    assert lake.column(table, "id") == list(range(13))
    feed_one_by_one(inbox, table, range(13, 15))
    assert (checkpoints(table), hint(table)["version"]) == ([5, 10, 15], 15)


def demand_v2_checkpoints(table):
    log = table / "_delta_log" / f"{0:020}.json"
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    for action in actions:
        if "protocol" in action:
            action["protocol"] = {
                "minReaderVersion": 3, "minWriterVersion": 7,
                "readerFeatures": ["v2Checkpoint"], "writerFeatures": ["v2Checkpoint"],
            }
    log.write_text("".join(json.dumps(action) + "\n" for action in actions))


def sidecars_named(table, version):
    """The sidecars of a checkpoint, which tells of no data file itself."""
    rows = pyarrow.parquet.read_table(table / "_delta_log" / f"{version:020}.checkpoint.parquet").to_pylist()
    assert any(row["checkpointMetadata"] for row in rows)
    assert not any(row["add"] or row["remove"] for row in rows)
    return {row["sidecar"]["path"]: row["sidecar"] for row in rows if row["sidecar"]}


def ids(table):
    """Without Polars, which does not read tables that have the feature."""
    by_duckdb, by_deltalake = (
        sorted(row["id"] for row in read(table))
        for read in (lake.read_with_duckdb, lake.read_with_deltalake)
    )
    assert by_duckdb == by_deltalake
    return by_duckdb


def sidecars_there(table):
    return {path.name: path for path in (table / "_delta_log" / "_sidecars").iterdir()}


def test_a_table_with_v2_checkpoints_gets_sidecars(inbox, table):
    create(table)
    demand_v2_checkpoints(table)
    feed_one_by_one(inbox, table, range(6))
    assert checkpoints(table) == [5]
    named, there = sidecars_named(table, 5), sidecars_there(table)
    assert len(named) == 1 and named.keys() == there.keys()
    for name, path in there.items():
        assert named[name]["sizeInBytes"] == path.stat().st_size
        file = pyarrow.parquet.read_table(path)
        assert file.column_names == ["add", "remove"] and file.num_rows == 4
    clean_up(table)
    assert ids(table) == list(range(6))
    # The next one is made of this one.
    feed_one_by_one(inbox, table, range(6, 12))
    assert checkpoints(table) == [5, 10]
    clean_up(table)
    assert ids(table) == list(range(12))
    assert len(sidecars_there(table)) == 2
    again = lake.ingest_all(inbox, table=table)
    assert set(again.statuses().values()) == {lake.DUPLICATE}


def test_a_sidecar_goes_when_no_checkpoint_names_it(inbox, table):
    create(table, **{"delta.logRetentionDuration": "interval 2 days"})
    demand_v2_checkpoints(table)
    feed_one_by_one(inbox, table, range(14))
    assert checkpoints(table) == [5, 10, 15]
    old, kept, young = (set(sidecars_named(table, version)) for version in (5, 10, 15))
    folder = table / "_delta_log" / "_sidecars"
    orphans = [folder / f"left-behind-{age}.parquet" for age in ("long-ago", "just-now")]
    for path in orphans:
        path.write_text("by a writer that was killed")
    long_ago = time.time() - 3 * 24 * 3600
    # Two days ago is before version 13; the checkpoint of 10 is what the log begins with from now on.
    for file in (table / "_delta_log").iterdir():
        if file.name[:20].isdigit() and int(file.name[:20]) <= 12:
            os.utime(file, (long_ago, long_ago))
    for name in (*old, *kept, orphans[0].name):
        os.utime(folder / name, (long_ago, long_ago))
    feed_one_by_one(inbox, table, range(14, 19))
    assert checkpoints(table) == [10, 15, 20]
    newest = set(sidecars_named(table, 20))
    assert set(sidecars_there(table)) == kept | young | newest | {orphans[1].name}
    assert ids(table) == list(range(19))
    older = deltalake.QueryBuilder().register("t", deltalake.DeltaTable(table, version=11))
    assert pyarrow.table(older.execute("SELECT * FROM t")).num_rows == 10


@pytest.mark.parametrize("is_wanted", [True, False])
def test_the_log_forgets_what_is_past_its_retention(inbox, table, is_wanted):
    wanted = {"delta.enableExpiredLogCleanup": str(is_wanted).lower()}
    create(table, **{"delta.logRetentionDuration": "interval 2 days", **wanted})
    feed_one_by_one(inbox, table, range(9))
    # So that versions up to 7 are older than that, which can be read from the checkpoint of 5.
    for file in (table / "_delta_log").iterdir():
        if file.name[:20].isdigit() and int(file.name[:20]) <= 7:
            long_ago = time.time() - 3 * 24 * 3600
            os.utime(file, (long_ago, long_ago))
    assert checkpoints(table) == [5, 10]
    left = {int(p.stem) for p in (table / "_delta_log").glob("*.json")}
    assert left == set(range(11)), "nothing was old when the last checkpoint was written"
    feed_one_by_one(inbox, table, range(9, 14))
    left = {int(p.stem) for p in (table / "_delta_log").glob("*.json")}
    assert left == set(range(5 if is_wanted else 0, 16))
    assert lake.column(table, "id") == list(range(14))
    assert sorted(deltalake.DeltaTable(table, version=8).to_pyarrow_table()["id"].to_pylist()) == list(range(7))
