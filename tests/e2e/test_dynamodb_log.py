"""Commits through DynamoDB, as Spark's S3DynamoDBLogStore makes them; against moto, and beside delta-rs
1.5, which has that protocol of its own."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import deltalake
import moto.backends
import pyarrow
import pytest

import lake
import s3 as server

TABLE = "s3a://lake/orders"
LOG = "orders/_delta_log"
# The last release line of delta-rs that commits through DynamoDB; beside the newest, which does not.
RIVAL = "deltalake==1.5.0"
DAY_SECONDS = 24 * 60 * 60


@pytest.fixture
def s3(s3):
    server.create_log_table(s3.client("dynamodb"))
    return s3


@pytest.fixture(scope="session")
def rival_path() -> Path:
    """A folder with the delta-rs that can do it, fetched once."""
    data = Path(os.environ.get("LAKEFEED_TEST_DATA", Path.home() / ".cache" / "lakefeed" / "data"))
    folder = data / RIVAL.replace("==", "-")
    if not (folder / "complete").exists():
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
             "--no-deps", "--upgrade", "--target", folder, RIVAL],
            check=True, timeout=300,
        )
        (folder / "complete").touch()
    return folder


@pytest.fixture
def rival(s3, rival_path):
    """Runs a line of Python with delta-rs 1.5, and gives its value; or kills it at a request."""

    def run(line: str, table: str = TABLE, dies_at=None):
        code = (
            "import json, deltalake, pyarrow\n"
            f"assert deltalake.__version__ == {RIVAL.split('==')[1]!r}\n"
            f"table, options = {table!r}, {{'AWS_S3_LOCKING_PROVIDER': 'dynamodb'}}\n"
            "opened = lambda: deltalake.DeltaTable(table, storage_options=options)\n"
            "def append(**columns):\n"
            "    deltalake.write_deltalake(table, pyarrow.table(columns), mode='append',\n"
            "        schema_mode='merge', storage_options=options)\n"
            f"print(json.dumps({line}))\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code], env={**s3.environment, "PYTHONPATH": str(rival_path)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        if dies_at:
            dies = lambda request: dies_at(request) and process.kill() is None
            s3.faults[:] = [server.Fault(dies, server.CUT)]
        stdout, stderr = process.communicate(timeout=lake.RUN_SECONDS_MAX)
        if dies_at:
            assert s3.faults[0].struck and process.returncode < 0, stderr
            s3.faults.clear()
            return None
        assert process.returncode == 0, stderr
        return json.loads(stdout)

    return run


def feed(folder, source="s3://landing/", table=TABLE, **fields):
    """The arguments of a feed that commits through DynamoDB."""
    return lake.feed(folder, source=source, table=table, **{"commit": "dynamodb", **fields})


def ingest(s3, folder, *arguments, more="", **fields):
    """One run; `more` is what else the configuration says."""
    chosen = feed(folder, **fields)
    with (folder / "lakefeed.toml").open("a") as config:
        config.write(more)
    run = lake.run("ingest", *chosen, "--json", *arguments, env=s3.environment)
    if run.exit_code in (0, 1):
        run.receipts = [lake.parse_receipt(line) for line in run.stdout.splitlines()]
    return run


def ingest_all(s3, folder, **fields):
    run = ingest(s3, folder, **fields)
    assert run.exit_code == 0, str(run)
    return run


def take(s3, folder, *numbers, **fields):
    """Ingests a new object of these numbers."""
    name = "-".join(map(str, numbers))
    s3.put("landing", f"{name}.csv", "id\n" + "".join(f"{number}\n" for number in numbers))
    run = ingest_all(s3, folder, source=f"s3://landing/{name}.csv", **fields)
    assert run.statuses() == {f"{name}.csv": lake.COMMITTED}, str(run)
    return run


def entries(s3) -> list[dict]:
    """What is in the log table, in its order; each checked for form."""
    found = s3.client("dynamodb").scan(TableName="delta_log", ConsistentRead=True)["Items"]
    plain = [{name: next(iter(value.values())) for name, value in item.items()} for item in found]
    for entry in plain:
        assert {"tablePath", "fileName", "tempPath", "complete"} <= entry.keys(), entry
        assert entry["complete"] in ("true", "false"), entry
        assert ("expireTime" in entry) == (entry["complete"] == "true"), entry
    return sorted(plain, key=lambda entry: (entry["tablePath"], entry["fileName"]))


def file_name(version: int) -> str:
    return f"{version:020}.json"


def change_entry(s3, version, table=TABLE, **values):
    item = {"tablePath": table, "fileName": file_name(version), **values}
    item = {k: {"N" if k == "expireTime" else "S": str(v)} for k, v in item.items()}
    s3.client("dynamodb").put_item(TableName="delta_log", Item=item)


def forget_entries(s3):
    for entry in entries(s3):
        key = {name: {"S": entry[name]} for name in ("tablePath", "fileName")}
        s3.client("dynamodb").delete_item(TableName="delta_log", Key=key)


def assert_whole(s3, beside_rival=False):
    """Every entry is complete, and what it names is what is in the log. (delta-rs takes the named file
    away once it is there.)"""
    client = s3.client("s3")
    keys = set(s3.keys("lake"))
    for entry in entries(s3):
        assert entry["complete"] == "true", entry
        log = f"{entry['tablePath'].removeprefix('s3a://lake/')}/_delta_log"
        decided, seen = (f"{log}/{entry[name]}" for name in ("tempPath", "fileName"))
        if decided not in keys:
            assert beside_rival, entry
            continue
        bodies = [client.get_object(Bucket="lake", Key=k)["Body"].read() for k in (decided, seen)]
        assert bodies[0] == bodies[1], entry


def column(s3, name="id", table="s3://lake/orders"):
    return sorted(row[name] for row in s3.read_with_deltalake(table))


def call(request):
    """The name of a request: a call of DynamoDB's, or what is done with which file of the table."""
    file = request.path.removeprefix("/lake/orders/")
    return request.dynamodb_call or f"{request.method} {file}"


def is_log_file(request):
    return request.method == "PUT" and call(request).startswith("PUT _delta_log/0")


# --- the protocol ----------------------------------------------------------------------------


def test_a_commit_is_entered_before_it_is_in_the_log(s3, tmp_path):
    take(s3, tmp_path, 1)
    del s3.requests[:]
    take(s3, tmp_path, 2)
    asked = [call(request) for request in s3.requests]
    found = entries(s3)
    assert [(e["tablePath"], e["fileName"], e["complete"]) for e in found] == [
        (TABLE, file_name(version), "true") for version in range(3)
    ]
    for entry in found:
        assert entry["tempPath"].startswith(f".tmp/{entry['fileName']}.")
        assert len(entry["tempPath"]) == len(f".tmp/{entry['fileName']}.") + 36
        assert 0 <= int(entry["expireTime"]) - DAY_SECONDS - time.time() + 60 <= 120
    # To load, and to commit: this is what a commit costs in DynamoDB.
    assert [a for a in asked if " " not in a] == ["Query", "Query", "PutItem", "PutItem"]
    commit = [f"PUT _delta_log/{found[2]['tempPath']}", "PutItem", f"PUT _delta_log/{file_name(2)}"]
    places = [asked.index(commit[0]), asked.index("PutItem"), asked.index(commit[2])]
    assert places == sorted(places) and asked.count(commit[2]) == 1
    assert_whole(s3)
    assert column(s3) == [1, 2]


def test_the_commit_before_is_finished_first(s3, tmp_path):
    """Its writer is between its last two steps while we load and commit."""
    take(s3, tmp_path, 1)
    def take_back(request):
        if request.method == "PUT" and request.path.endswith(".parquet"):
            # Behind the server's back: it is busy with this very request.
            tables = moto.backends.get_backend("dynamodb")["123456789012"][server.REGION].tables
            (of_table,) = tables["delta_log"].items.values()
            *_, last = sorted(of_table.values(), key=lambda item: item.attrs["fileName"].value)
            last.attrs["complete"].value = "false"
            del last.attrs["expireTime"]
            taken_back.append(request)
        return False

    taken_back = []
    s3.faults.append(server.Fault(take_back))
    take(s3, tmp_path, 2)
    assert len(taken_back) == 1
    assert_whole(s3)


def test_another_log_table_is_named_in_the_configuration(s3, tmp_path):
    s3.put("landing", "a.csv", "id\n1\n")
    config = feed(tmp_path)
    path = tmp_path / "lakefeed.toml"
    path.write_text(path.read_text() + "[dynamodb]\nlog_table = 'elsewhere'\n")
    run = lake.run("ingest", *config, "--json", env=s3.environment)
    assert run.exit_code == 2 and "elsewhere" in run.stderr, str(run)
    assert s3.keys("lake") == [] and entries(s3) == []


def test_a_log_table_that_is_not_there_is_named(s3, tmp_path):
    s3.client("dynamodb").delete_table(TableName="delta_log")
    s3.put("landing", "a.csv", "id\n1\n")
    run = ingest(s3, tmp_path)
    assert run.exit_code == 2 and "delta_log" in run.stderr, str(run)
    assert s3.keys("lake") == []


def test_a_checkpoint_is_written_and_relied_on(s3, tmp_path):
    for number in range(3):
        take(s3, tmp_path, number)
    summed = lake.run("maintain", TABLE, *feed(tmp_path)[:2], env=s3.environment)
    assert summed.exit_code == 0 and "is summed up" in summed.stdout, str(summed)
    (name,) = [key for key in s3.keys("lake", LOG) if key.endswith(".checkpoint.parquet")]
    for version in range(int(name.rsplit("/", 1)[-1][:20])):
        s3.client("s3").delete_object(Bucket="lake", Key=f"{LOG}/{file_name(version)}")
    take(s3, tmp_path, 3)
    assert column(s3) == [0, 1, 2, 3]


def test_repairs_of_the_ledger_keep_to_it(s3, tmp_path):
    take(s3, tmp_path, 1)
    config = tmp_path / "lakefeed.toml"
    for command in (["rebuild"], ["reset", "--yes"]):
        run = lake.run("ledger", *command, "s3://lake/orders", "--config", config, env=s3.environment)
        assert run.exit_code == 0, str(run)
    assert [e["fileName"] for e in entries(s3)] == [file_name(version) for version in range(4)]
    refused = lake.run("ledger", "rebuild", TABLE, env=s3.environment)
    assert refused.exit_code == 1 and "commit = \"dynamodb\"" in refused.stderr, str(refused)


# --- faults ----------------------------------------------------------------------------------

# What another run may get over.
MAY_PASS = {"storage_unavailable", "source_unavailable", "source_changed", "commit_unknown"}
THROTTLED = "400 Throttled"
STALLED = "an answer that does not come"
# How long our client then waits for one.
IMPATIENT = "[dynamodb]\nrequest_seconds_max = 1\n"


def fault(wanted, status, effect):
    """THROTTLED is DynamoDB's refusal for being asked too much."""
    if status == THROTTLED:
        code = ("x-amzn-errortype", "ProvisionedThroughputExceededException")
        return server.Fault(wanted, "400 Bad Request", effect, headers=[code])
    if status == STALLED:
        return server.Fault(wanted, server.HUNG, effect)
    return server.Fault(wanted, status, effect)


def nth(name, number):
    """Picks the request of this name that comes as the `number`th."""
    seen = []

    def wanted(request):
        if call(request) == name or (name == "log file" and is_log_file(request)):
            seen.append(request)
        return len(seen) == number and request is seen[-1]

    return wanted


IN_DYNAMODB = [("Query", 1), ("Query", 2), ("PutItem", 1), ("PutItem", 2)]
ON_S3 = [("log file", 1), ("PUT _delta_log/.tmp", 1)]
FAULTS = [
    *((step, status, effect) for step in IN_DYNAMODB for effect in (True, False)
      for status in ("500 Internal Server Error", server.CUT)),
    *((step, status, False) for step in IN_DYNAMODB
      for status in ("503 Service Unavailable", THROTTLED)),
    *((step, status, effect) for step in ON_S3 for effect in (True, False)
      for status in ("503 Slow Down", server.CUT)),
    *((step, STALLED, effect) for step in IN_DYNAMODB for effect in (True, False)),
]


@pytest.mark.parametrize("step, status, effect", FAULTS)
def test_a_fault_at_each_step_of_the_protocol(s3, tmp_path, step, status, effect):
    """Once it took effect, or instead."""
    name, number = step
    take(s3, tmp_path, 1)
    s3.put("landing", "b.csv", "id\n2\n")
    wanted = nth(name, number)
    if name.endswith(".tmp"):
        wanted = lambda request: call(request).startswith(name)
    s3.faults[:] = [fault(wanted, status, effect)]
    more = IMPATIENT if status == STALLED else ""
    run = ingest(s3, tmp_path, source="s3://landing/b.csv", more=more)
    assert s3.faults[0].struck == 1
    (receipt,) = run.receipts
    assert receipt["status"] == lake.COMMITTED, str(run)
    assert receipt["version"] == 2, str(run)
    assert column(s3) == [1, 2]
    take(s3, tmp_path, 3)
    assert column(s3) == [1, 2, 3]
    assert_whole(s3)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("effect", [True, False], ids=["after it took effect", "instead"])
@pytest.mark.parametrize("status", ["503 Slow Down", server.CUT], ids=["refused", "cut"])
def test_one_fault_at_each_request_loses_and_doubles_nothing(s3, tmp_path, status, effect):
    """From the first request of an ingest into a new table to its last, each in turn."""
    s3.put("landing", "a.csv", "id\n1\n2\n")
    struck, number = [], 0
    while len(struck) == number:
        number += 1
        table, begin = f"s3a://lake/{number}", len(s3.requests)
        s3.faults[:] = [server.Fault(lambda _: len(s3.requests) == begin + number, status, effect)]
        run = ingest(s3, tmp_path, table=table)
        if s3.faults[0].struck:
            struck.append(s3.requests[begin + number - 1])
        told = f"{number}: {struck[-1]}\n{run}"
        (receipt,) = run.receipts
        assert receipt["error"] is None or receipt["error"]["kind"] in MAY_PASS, told
        (again,) = ingest_all(s3, tmp_path, table=table).receipts
        was_taken = receipt["status"] == lake.COMMITTED
        may_be_taken = (receipt["error"] or {}).get("kind") == "commit_unknown"
        expected = lake.DUPLICATE if was_taken else lake.COMMITTED
        assert again["status"] == expected or may_be_taken, told
        assert column(s3, table=f"s3://lake/{number}") == [1, 2], told
    assert_whole(s3)
    assert len(struck) > 20, "an ingest makes more requests than that"


def leave_half_finished(s3, folder, number, status="400 Bad Request"):
    """A commit of ours that is decided, and not in the log."""
    s3.put("landing", f"{number}.csv", f"id\n{number}\n")
    s3.faults[:] = [server.Fault(is_log_file, status, times=1000)]
    run = ingest(s3, folder, source=f"s3://landing/{number}.csv")
    s3.faults.clear()
    (receipt,) = run.receipts
    assert receipt["error"]["kind"] == "commit_unknown", str(run)
    assert entries(s3)[-1]["complete"] == "false"


# A refusal is sure that the log file is not there, and yet the commit is not undone.
@pytest.mark.parametrize("status", ["400 Bad Request", "403 Forbidden"])
@pytest.mark.parametrize("has_table", [True, False], ids=["into a table", "into a new table"])
def test_what_is_decided_is_finished_by_the_next_who_looks(s3, tmp_path, has_table, status):
    if has_table:
        take(s3, tmp_path, 1)
    leave_half_finished(s3, tmp_path, 2, status)
    # A look is enough.
    shown = lake.run("show", TABLE, "--config", tmp_path / "lakefeed.toml", env=s3.environment)
    assert shown.exit_code == 0 and ("2" in shown.stdout) == has_table, str(shown)
    assert_whole(s3)
    run = ingest_all(s3, tmp_path, source="s3://landing/2.csv")
    # The creation is what was half finished, where there was no table.
    assert run.statuses() == {"2.csv": lake.DUPLICATE if has_table else lake.COMMITTED}
    take(s3, tmp_path, 3)
    assert column(s3) == ([1, 2, 3] if has_table else [2, 3])
    assert_whole(s3)


def test_a_decided_commit_that_is_lost_is_refused(s3, tmp_path):
    take(s3, tmp_path, 1)
    leave_half_finished(s3, tmp_path, 2)
    s3.client("s3").delete_object(Bucket="lake", Key=f"{LOG}/{entries(s3)[-1]['tempPath']}")
    s3.put("landing", "3.csv", "id\n3\n")
    run = ingest(s3, tmp_path, source="s3://landing/3.csv")
    error = run.receipts[0]["error"] if run.receipts else run.stderr
    assert run.exit_code == 1 and "is missing" in str(error), str(run)
    assert column(s3) == [1]


# --- others ----------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["s3a://lake/orders", "s3://lake/orders"])
def test_a_log_that_one_begins_is_gone_on_with_by_the_other(s3, tmp_path, rival, table):
    rival("append(id=[1])", table=table)
    take(s3, tmp_path, 2, table=table)
    rival("append(id=[3])", table=table)
    take(s3, tmp_path, 4, table=table)
    found = entries(s3)
    # Ours are two where a table is adopted.
    assert [e["fileName"] for e in found] == [file_name(version) for version in range(5)]
    assert {(e["tablePath"], e["complete"]) for e in found} == {(table, "true")}
    assert column(s3) == [1, 2, 3, 4]
    assert rival("opened().version()", table=table) == 4


def test_each_finishes_what_the_other_left(s3, tmp_path, rival):
    take(s3, tmp_path, 1)
    leave_half_finished(s3, tmp_path, 2)
    assert rival("opened().version()") == 2
    rival("append(id=[3])")
    assert column(s3) == [1, 2, 3]
    rival("append(id=[4])", dies_at=is_log_file)
    assert entries(s3)[-1]["complete"] == "false"
    take(s3, tmp_path, 5)
    assert column(s3) == [1, 2, 3, 4, 5]
    assert_whole(s3, beside_rival=True)


@pytest.mark.slow
def test_writers_of_both_race_for_a_table(s3, tmp_path, rival):
    take(s3, tmp_path, 100)
    for number in range(24):
        s3.put("landing", f"race/{number:02}.csv", f"id\n{number}\n")
    racers = []
    for group in (0, 1, 2, 0):
        folder = tmp_path / f"racer-{len(racers)}"
        folder.mkdir()
        arguments = feed(folder, source=f"s3://landing/race/{group}*.csv")
        racers.append(subprocess.Popen(
            lake.command("ingest", *arguments), env=s3.environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        ))
    rival("[append(id=[number]) for number in range(200, 206)]")
    for racer in racers:
        _, stderr = racer.communicate(timeout=lake.RUN_SECONDS_MAX)
        assert racer.returncode == 0, stderr
    assert column(s3) == [*range(24), 100, *range(200, 206)]
    assert_whole(s3, beside_rival=True)


# --- writers of the other kind ---------------------------------------------------------------


def test_a_conditional_writer_refuses_a_table_of_the_dynamodb_kind(s3, tmp_path):
    take(s3, tmp_path, 1)
    s3.put("landing", "2.csv", "id\n2\n")
    before = s3.keys("lake", LOG)
    run = ingest(s3, tmp_path, source="s3://landing/2.csv", commit="conditional_put")
    (receipt,) = run.receipts
    assert receipt["error"]["kind"] == "table_unsupported", str(run)
    assert 'commit = "dynamodb"' in receipt["error"]["advice"], str(run)
    assert [k for k in s3.keys("lake", LOG) if "/_lakefeed/" not in k] == [
        k for k in before if "/_lakefeed/" not in k]
    # Settled as the documentation says.
    for key in s3.keys("lake", f"{LOG}/.tmp/"):
        s3.client("s3").delete_object(Bucket="lake", Key=key)
    ingest_all(s3, tmp_path, source="s3://landing/2.csv", commit="conditional_put")
    assert column(s3) == [1, 2]


def test_a_conditional_writer_looks_for_the_other_kind_once(s3, tmp_path):
    take(s3, tmp_path, 1, commit="conditional_put")
    looks = [r for r in s3.requests if "list-type=2" in r.query and ".tmp" in r.query]
    assert len(looks) == 1
    assert {r.dynamodb_call for r in s3.requests} == {None, "CreateTable"}


def append_without_an_entry(s3, number):
    """By a writer that commits by conditional writes alone."""
    deltalake.write_deltalake(
        "s3://lake/orders", pyarrow.table({"id": [number]}), mode="append", schema_mode="merge",
        storage_options=s3.storage_options,
    )


def test_commits_without_entries_are_noticed(s3, tmp_path):
    take(s3, tmp_path, 1)
    append_without_an_entry(s3, 2)
    s3.put("landing", "3.csv", "id\n3\n")
    run = ingest(s3, tmp_path, source="s3://landing/3.csv")
    (receipt,) = run.receipts
    assert receipt["error"]["kind"] == "table_unsupported", str(run)
    assert "version 2" in receipt["error"]["message"], str(run)
    assert column(s3) == [1, 2]
    forget_entries(s3)
    ingest_all(s3, tmp_path, source="s3://landing/3.csv")
    assert column(s3) == [1, 2, 3]


def test_entries_may_be_forgotten_after_their_day(s3, tmp_path):
    """All of them, or those in the middle before the older ones."""
    take(s3, tmp_path, 1)
    forget_entries(s3)
    take(s3, tmp_path, 2)
    append_without_an_entry(s3, 3)
    (last,) = entries(s3)
    change_entry(s3, 2, tempPath=last["tempPath"], complete="true", expireTime=int(time.time()) - 9)
    take(s3, tmp_path, 4)
    assert column(s3) == [1, 2, 3, 4]


def test_a_table_that_goes_by_its_other_name_is_refused(s3, tmp_path):
    take(s3, tmp_path, 1, table="s3://lake/orders")
    s3.put("landing", "2.csv", "id\n2\n")
    run = ingest(s3, tmp_path, source="s3://landing/2.csv", table=TABLE)
    (receipt,) = run.receipts
    assert receipt["error"]["kind"] == "table_unsupported", str(run)
    assert "s3://lake/orders" in receipt["error"]["message"], str(run)
    assert column(s3) == [1]


@pytest.mark.parametrize("version", [0, 7])
def test_entries_of_a_table_that_is_gone_are_refused(s3, tmp_path, version):
    change_entry(s3, version, tempPath=".tmp/x", complete="true", expireTime=int(time.time()) + 9)
    s3.put("landing", "a.csv", "id\n1\n")
    run = ingest(s3, tmp_path)
    (receipt,) = run.receipts
    assert receipt["error"]["kind"] == "table_invalid", str(run)
    assert [k for k in s3.keys("lake") if k.startswith(f"{LOG}/0")] == []
    forget_entries(s3)
    ingest_all(s3, tmp_path)
    assert column(s3) == [1]
