"""Objects and tables drift apart: new columns come with their rows, and everybody reads the table."""

import json
import subprocess

import deltalake
import pytest

import lake

ADD = ("--drift", "new_columns=add")
RACES = 8


def write(inbox, name, text):
    path = inbox / f"{name}.csv"
    path.write_text(text)
    return path


def without_source(table):
    rows = lake.read(table)
    return lake.in_order([{k: v for k, v in row.items() if k != "_source_file"} for row in rows])


def actions(table, version):
    lines = (table / "_delta_log" / f"{version:020}.json").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_new_column_comes_in_the_commit_of_its_rows(inbox, table):
    lake.ingest_all(write(inbox, "a", "id,name\n1,one\n"), table=table)
    b = write(inbox, "b", "id,price,name,made on\n2,0.5,two,2024-02-29\n")
    before = lake.version(table)
    run = lake.ingest_all(b, table=table, arguments=ADD)
    receipt = run.receipt(b)
    assert receipt["columns_added"] == ["price", "made_on"]
    assert receipt["version"] == lake.version(table) == before + 1

    kinds = [next(iter(action)) for action in actions(table, receipt["version"])]
    assert kinds.count("metaData") == kinds.count("add") == 1
    (first,) = [action["metaData"] for action in actions(table, 0) if "metaData" in action]
    (now,) = [a["metaData"] for a in actions(table, receipt["version"]) if "metaData" in a]
    assert {k: v for k, v in now.items() if k != "schemaString"} == {
        k: v for k, v in first.items() if k != "schemaString"
    }
    types = lake.column_types(table)
    assert (types["price"], types["made_on"]) == ("double", "date")
    rows = {row["id"]: row for row in without_source(table)}
    assert rows[1]["price"] is None and rows[1]["made_on"] is None
    assert (rows[2]["price"], str(rows[2]["made_on"])) == (0.5, "2024-02-29")
    # An old version is as it was.
    old = deltalake.DeltaTable(table, version=before).schema().to_json()
    assert "price" not in old


def test_the_default_is_to_fail_and_to_say_what_to_do(inbox, table):
    lake.ingest_all(write(inbox, "a", "id\n1\n"), table=table)
    b = write(inbox, "b", "id,price\n2,1\n")
    error = lake.ingest(b, table=table).receipt(b)["error"]
    assert error["kind"] == "schema_mismatch"
    assert "new_columns" in error["advice"]
    assert lake.column_types(table).keys() == {"id", "_source_file"}


def test_ignored_columns_leave_the_table_as_it_is(inbox, table):
    lake.ingest_all(write(inbox, "a", "id\n1\n"), table=table)
    b = write(inbox, "b", "price,id\n1,2\n")
    lake.ingest_all(b, table=table, arguments=("--drift", "new_columns=ignore"))
    assert without_source(table) == [{"id": 1}, {"id": 2}]


def test_one_batch_of_different_headers(inbox, table):
    lake.ingest_all(write(inbox, "a", "id\n1\n"), table=table)
    sources = [
        write(inbox, "b", "id,x\n2,20\n"),
        write(inbox, "c", "y,id\nred,3\n"),
        write(inbox, "d", "id,x,y,z\n4,4.5,blue,true\n"),
        write(inbox, "e", "id\n5\n"),
    ]
    run = lake.ingest_all(*sources, table=table, arguments=ADD)
    assert set(run.statuses().values()) == {lake.COMMITTED}
    rows = {row["id"]: (row["x"], row["y"], row["z"]) for row in without_source(table)}
    none = (None, None, None)
    assert rows == {
        1: none, 2: (20.0, None, None), 3: (None, "red", None), 4: (4.5, "blue", True), 5: none,
    }


def test_the_plan_says_what_would_become_of_new_columns(inbox, table):
    lake.ingest_all(write(inbox, "a", "id\n1\n"), table=table)
    b = write(inbox, "b", "id,price\n2,1\n")
    before = lake.listing(table)
    for policy, told in [
        ("add", "would be added"), ("ignore", "would be ignored"), ("rescue", "would be rescued"),
        ("fail", "would fail"),
    ]:
        said = lake.run("plan", b, "--table", table, "--drift", f"new_columns={policy}")
        assert said.exit_code == 0 and told in said.stdout, str(said)
    assert lake.listing(table) == before


@pytest.mark.parametrize("columns", [("x", "y"), ("x", "x"), ("x", "X")])
def test_writers_that_add_columns_at_once_both_end_well(inbox, table, columns):
    lake.ingest_all(write(inbox, "first", "id\n0\n"), table=table)
    expected = {0}
    for race in range(RACES):
        writers = []
        for number, column in enumerate(columns):
            identity = 1 + 2 * race + number
            expected.add(identity)
            source = write(inbox, f"{race}_{number}", f"id,{column}{race}\n{identity},{identity}\n")
            command = lake.command("ingest", source, "--table", table, *ADD)
            writers.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))
        assert [writer.wait(timeout=lake.RUN_SECONDS_MAX) for writer in writers] == [0, 0]
    rows = without_source(table)
    assert {row["id"] for row in rows} == expected and len(rows) == len(expected)
    per_race = len({column.lower() for column in columns})
    assert len(rows[0]) == 1 + per_race * RACES
    for row in rows:
        values = [value for name, value in row.items() if name != "id" and value is not None]
        assert values == ([row["id"]] if row["id"] else [])


def test_a_table_with_mapped_columns_gets_ids_and_names_for_its_files(inbox, table):
    lake.ingest_all(write(inbox, "a", "id\n1\n"), table=table)
    (metadata,) = [a["metaData"] for a in actions(table, 0) if "metaData" in a]
    (protocol,) = [a["protocol"] for a in actions(table, 0) if "protocol" in a]
    schema = json.loads(metadata["schemaString"])
    for number, field in enumerate(schema["fields"], start=1):
        field["metadata"] = {
            "delta.columnMapping.id": number, "delta.columnMapping.physicalName": field["name"],
        }
    metadata["schemaString"] = json.dumps(schema)
    metadata["configuration"] |= {
        "delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": "7",
    }
    features = {"readerFeatures": ["columnMapping"], "writerFeatures": ["columnMapping"]}
    upgraded = {"minReaderVersion": 3, "minWriterVersion": 7}
    upgraded |= {k: sorted({*protocol.get(k, []), *v}) for k, v in features.items()}
    change = [{"commitInfo": {"timestamp": 0, "operation": "SET TBLPROPERTIES"}}]
    change += [{"protocol": upgraded}, {"metaData": metadata}]
    path = table / "_delta_log" / f"{lake.version(table) + 1:020}.json"
    path.write_text("".join(json.dumps(action) + "\n" for action in change))

    b = write(inbox, "b", "id,price\n2,0.5\n")
    version = lake.ingest_all(b, table=table, arguments=ADD).receipt(b)["version"]
    (now,) = [a["metaData"] for a in actions(table, version) if "metaData" in a]
    assert now["configuration"]["delta.columnMapping.maxColumnId"] == "8"
    price = json.loads(now["schemaString"])["fields"][-1]
    assert price["name"] == "price" and price["metadata"]["delta.columnMapping.id"] == 8
    lake.ingest_all(write(inbox, "c", "price,id\n1.5,3\n"), table=table)
    rows = lake.connect().execute("SELECT id, price FROM delta_scan(?) ORDER BY id", [str(table)])
    assert rows.fetchall() == [(1, None), (2, 0.5), (3, 1.5)]


def test_a_column_is_widened_where_the_table_allows_it(inbox, table):
    narrow = ("--column", "id=int32", "--column", "size=float32")
    lake.ingest_all(write(inbox, "a", "id,size\n1,0.5\n"), table=table, arguments=narrow)
    b = write(inbox, "b", "id,size\n3000000000,1.5\n")
    assert lake.ingest(b, table=table).receipt(b)["status"] == lake.FAILED

    (metadata,) = [a["metaData"] for a in actions(table, 0) if "metaData" in a]
    metadata["configuration"]["delta.enableTypeWidening"] = "true"
    features = {"readerFeatures": ["typeWidening"], "writerFeatures": ["typeWidening"]}
    change = [{"commitInfo": {"timestamp": 0, "operation": "SET TBLPROPERTIES"}}]
    change += [{"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, **features}}]
    path = table / "_delta_log" / f"{len(list((table / '_delta_log').glob('*.json'))):020}.json"
    path.write_text("".join(json.dumps(a) + "\n" for a in [*change, {"metaData": metadata}]))

    version = lake.ingest_all(b, table=table).receipt(b)["version"]
    (now,) = [a["metaData"] for a in actions(table, version) if "metaData" in a]
    identity = json.loads(now["schemaString"])["fields"][0]
    assert identity["type"] == "long"
    widened = {"fromType": "integer", "toType": "long"}
    assert identity["metadata"] == {"delta.typeChanges": [widened]}
    # Of the readers here, those that are built on the Delta kernel know the feature.
    rows = lake.connect().execute("SELECT id, size FROM delta_scan(?) ORDER BY id", [str(table)])
    assert rows.fetchall() == [(1, 0.5), (3000000000, 1.5)]
