"""The function itself, in a Lambda of our own: events in, answers and logs out, rows in the table."""

import json
import os
import random
import signal
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager

import deltalake
import pytest

import lake
import s3 as server
from runtime_api import BINARY, Function, Instance, Queue

AWS = lake.REPOSITORY / "events" / "aws"
SCHEDULE = lake.REPOSITORY / "events" / "schedule"
TABLE = "s3://lake/orders"
LANDING = "s3://landing/orders/"
# How often a message is received before it is a dead letter. An object that kills the function is
# suspected at its third delivery, and given up at the third begin after that: at the sixth.
RECEIVES_MAX = 7


@pytest.fixture(autouse=True)
def binary():
    assert BINARY.is_file(), f"{BINARY} is not there: run tests/run, or set LAKEFEED_LAMBDA_BIN"


def configuration(*feeds: str, **fields) -> str:
    """The text of one feed with these fields, or of several."""
    fields = {"name": "orders", "source": LANDING, "table": TABLE, **fields}
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in fields.items())
    return "\n".join(feeds) or f"[[feed]]\n{lines}"


def with_lease(scope: str) -> str:
    return configuration() + f'[feed.lease]\nscope = "{scope}"\n'


def function(s3, text: str | None = None, variables=(), **options) -> Function:
    text = configuration() if text is None else text
    environment = {**s3.environment, "LAKEFEED_CONFIG_TOML": text, **dict(variables)}
    return Function(environment={k: v for k, v in environment.items() if v}, **options)


def announcing(*keys: str, bucket: str = "landing", receives: int = 1) -> dict:
    """A batch of a queue, a message for each object; the message's id is the key."""
    record = json.loads((AWS / "sqs.json").read_text())["Records"][0]

    def message(key):
        body = json.loads((AWS / "s3-put-2.1.json").read_text())
        del body["Records"][1:]
        body["Records"][0]["s3"]["bucket"]["name"] = bucket
        body["Records"][0]["s3"]["object"] = {"key": key}
        attributes = {**record["attributes"], "ApproximateReceiveCount": str(receives)}
        return {**record, "messageId": key, "body": json.dumps(body), "attributes": attributes}

    return {"Records": [message(key) for key in keys]}


def put_all(s3, bodies: dict[str, str]):
    client = s3.client("s3")
    for key, body in bodies.items():
        client.put_object(Bucket="landing", Key=key, Body=body)


def delayed(path: str, seconds: float, method: str = "GET") -> server.Fault:
    """Answers late, and rightly."""

    def delay(request):
        if request.method == method and request.path.startswith(path):
            time.sleep(seconds)
        return False

    return server.Fault(delay)


def wide_rows(count: int) -> str:
    numbers = random.Random(7)
    return "id,text\n" + "".join(f"{i},{numbers.getrandbits(512):0128x}\n" for i in range(count))


# --- events, answers, logs -------------------------------------------------------------------

# What cannot be done: a version of S3's notifications that nobody knows, keys that are no paths.
FAILING = {"s3-version-3", "s3-awkward-keys"}


def test_one_process_answers_every_kind_of_event(s3):
    events = [*sorted(AWS.glob("*.json")), *sorted(SCHEDULE.glob("*.json"))]
    assert len(events) > 15
    with function(s3).instance() as instance:
        for event in events:
            outcome = instance.invoke(json.loads(event.read_text()))
            if event.stem.startswith("sqs"):
                expected = 3 if event.stem == "sqs-unparsable" else 0
                assert len(outcome.failures) == expected, (event, outcome)
            elif event.stem in FAILING:
                assert outcome.error["errorType"].startswith("Lakefeed."), (event, outcome)
            else:
                assert outcome.error is None and outcome.payload is None, (event, outcome)
        assert instance.cold_starts == 1


def test_what_is_no_event_is_an_error_and_the_next_is_answered(s3):
    with function(s3).instance() as instance:
        for event in ({"hello": "world"}, [1], {"lakefeed": {"sweep": "invoices"}}):
            error = instance.invoke(event).error
            assert error["errorType"] == "Lakefeed.Configuration", error
            assert error["errorMessage"], error
        put_all(s3, {"orders/a.csv": "id\n1\n"})
        assert instance.invoke(announcing("orders/a.csv")).failures == []
        assert instance.cold_starts == 1


def test_receipts_and_metrics_are_logged_with_their_invocation(s3):
    put_all(s3, {"orders/a.csv": "id\n1\n2\n", "orders/b.csv": "id\n3\n", "orders/c.csv": "id\nx,y\n"})
    with function(s3).instance() as instance:
        first = instance.invoke(announcing("orders/a.csv", "orders/b.csv", "orders/c.csv"))
        again = instance.invoke(announcing("orders/a.csv"))
    assert first.failures == ["orders/c.csv"] and again.failures == []
    for receipt in first.receipts + again.receipts:
        lake.parse_receipt(json.dumps(receipt))
    assert again.statuses() == {"a.csv": lake.DUPLICATE}
    (counted,) = first.metrics
    expected = {
        "feed": "orders", "ObjectsCommitted": 2, "ObjectsDuplicate": 0, "ObjectsSkipped": 0,
        "ObjectsFailed": 1, "Rows": 3, "Commits": 1, "Attempts": 1, "ColdStart": 1,
    }
    assert expected.items() <= counted.items(), counted
    (directive,) = counted["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Lakefeed" and directive["Dimensions"] == [["feed"]]
    assert all(isinstance(counted[metric["Name"]], int) for metric in directive["Metrics"])
    assert abs(counted["_aws"]["Timestamp"] / 1000 - time.time()) < 60
    assert counted["PeakRssBytes"] > 1 << 20 and counted["DurationMs"] > 0
    assert again.metrics[0]["ColdStart"] == 0 and again.metrics[0]["ObjectsDuplicate"] == 1


def test_an_event_without_a_queue_that_is_not_done_is_an_error(s3):
    """So that Lambda tries again, and sends it where the function's failures go."""
    put_all(s3, {"orders/a.csv": "id\n1\n2,3\n"})
    event = json.loads(announcing("orders/a.csv")["Records"][0]["body"])
    with function(s3).instance() as instance:
        outcome = instance.invoke(event)
        assert outcome.error["errorType"] == "Lakefeed.NotDone", outcome
        put_all(s3, {"orders/a.csv": "id\n1\n"})
        outcome = instance.invoke(event)
    assert outcome.error is None and outcome.statuses() == {"a.csv": lake.COMMITTED}
    assert s3.column(TABLE, "id") == [1]


# --- configuration ---------------------------------------------------------------------------


@pytest.mark.parametrize("text, variables, told", [
    ("[[feed]\n", (), "LAKEFEED_CONFIG_TOML: line 1"),
    (configuration(tabel="x"), (), 'did you mean "table"?'),
    (configuration(source="s3://landing/[/"), (), "this is not a pattern"),
    ("[s3]\nregion = 'eu-central-1'\n", (), "there is no feed"),
    ("", (), "there is no feed"),
    ("", {"LAKEFEED_CONFIG": "s3://lake/none.toml"}, "s3://lake/none.toml: the configuration cannot"),
    ("", {"LAKEFEED_CONFIG": "s3://nowhere/a.toml"}, "there is no such bucket"),
    ("", {"LAKEFEED_CONFIG": "/nowhere/a.toml"}, "/nowhere/a.toml: the configuration cannot be read"),
    (configuration(), {"LAKEFEED_CONFIG": "s3://lake/a.toml"}, "both say something"),
    (configuration(), {"LAKEFEED_LOG": "a=b=c"}, "is not a filter"),
])
def test_what_is_configured_wrongly_is_an_error_of_the_start(s3, text, variables, told):
    with function(s3, text, variables).instance() as instance:
        error = instance.invoke({}).error
    assert error["errorType"] == "Lakefeed.Configuration" and told in error["errorMessage"], error


def test_too_little_memory_is_an_error_of_the_start(s3):
    with function(s3, memory_megabytes=32).instance() as instance:
        error = instance.invoke({}).error
    assert error["errorType"] == "Lakefeed.OverBudget", error


def test_the_configuration_can_be_in_a_bucket_or_a_file(s3, tmp_path):
    put_all(s3, {"orders/a.csv": "id\n1\n", "lakefeed.toml": configuration()})
    file = tmp_path / "lakefeed.toml"
    file.write_text(configuration(table="s3://lake/other"))
    for place in ("s3://landing/lakefeed.toml", str(file), f"file://{file}"):
        with function(s3, "", {"LAKEFEED_CONFIG": place}).instance() as instance:
            assert instance.invoke(announcing("orders/a.csv")).failures == []
    assert s3.column(TABLE, "id") == s3.column("s3://lake/other", "id") == [1]
    config = "s3://landing/lakefeed.toml"
    run = lake.run("plan", "--feed", "orders", "--config", config, env=s3.environment)
    assert run.exit_code == 0 and "duplicate" in run.stdout, str(run)
    s3.client("s3").put_object(Bucket="landing", Key="huge.toml", Body=b"#" * ((4 << 20) + 1))
    run = lake.run("plan", "--feed", "orders", "--config", "s3://landing/huge.toml",
                   env=s3.environment)
    assert run.exit_code == 2 and "too large" in run.stderr, str(run)


def test_outside_of_lambda_it_says_where_it_belongs():
    done = subprocess.run([BINARY], capture_output=True, encoding="utf-8", timeout=10, env={})
    assert done.returncode == 1 and "lakefeed invoke" in done.stderr, done


# --- time ------------------------------------------------------------------------------------


def test_what_takes_too_long_is_handed_back_in_time(s3):
    """Its neighbours are taken; and later, when it is read faster, so is it."""
    put_all(s3, {"orders/big.csv": wide_rows(200_000), "orders/a.csv": "id,text\n0,a\n"})
    s3.faults.append(delayed("/landing/orders/big.csv", 1))
    event = announcing("orders/big.csv", "orders/a.csv")
    with function(s3, timeout_seconds=8).instance() as instance:
        outcome = instance.invoke(event)
        assert outcome.error is None and outcome.failures == ["orders/big.csv"], outcome
        assert outcome.statuses() == {"a.csv": lake.COMMITTED, "big.csv": lake.FAILED}
        assert outcome.receipts[1]["error"]["kind"] == "deadline_too_short", outcome
        assert len(s3.read_with_deltalake(TABLE)) == 1
        s3.faults.clear()
    with function(s3, timeout_seconds=60).instance() as instance:
        outcome = instance.invoke(event)
    assert outcome.statuses() == {"a.csv": lake.DUPLICATE, "big.csv": lake.COMMITTED}, outcome
    assert len(s3.read_with_deltalake(TABLE)) == 200_001
    assert not [key for key in s3.keys("lake") if "/attempts/" in key]


def test_a_sweep_goes_on_where_the_last_had_no_time_left(s3):
    keys = [f"orders/{number:02}.csv" for number in range(12)]
    sweep = json.loads((SCHEDULE / "sweep-one-feed.json").read_text())
    versions = set()
    with function(s3, timeout_seconds=6).instance() as instance:
        for number, key in enumerate(keys):
            put_all(s3, {key: f"id\n{number}\n"})
            if number == 0:
                assert instance.invoke(sweep).statuses() == {"00.csv": lake.COMMITTED}
        s3.faults.append(delayed("/landing/orders/", 0.7))
        for sweeps in range(1, 9):
            outcome = instance.invoke(sweep)
            # Neither cut nor failed: what is left is the next sweep's.
            assert outcome.error is None, outcome
            versions |= {r["version"] for r in outcome.receipts if r["status"] == lake.COMMITTED}
            late = [r["error"]["kind"] for r in outcome.receipts if r["status"] == lake.FAILED]
            assert set(late) <= {"deadline_exceeded"}, outcome
            if not late:
                break
        assert instance.cold_starts == 1
    assert 1 < sweeps < 9, sweeps
    assert s3.column(TABLE, "id") == list(range(12))
    # Every commit that was made was told of.
    log = [key for key in s3.keys("lake", "orders/_delta_log/0") if key.endswith(".json")]
    assert len(log) == 2 + len(versions), "the table's creation, the first commit, and those"


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_looking_at_many_objects_ends_in_time_too(s3, method):
    """Nothing of a new table is begun: its columns are inferred from all that are looked at."""
    keys = [f"orders/{number:02}.csv" for number in range(12)]
    put_all(s3, {key: f"id\n{number}\n" for number, key in enumerate(keys)})
    s3.faults.append(delayed("/landing/orders/", 0.7, method))
    with function(s3, timeout_seconds=6).instance() as instance:
        outcome = instance.invoke(announcing(*keys))
    assert outcome.error is None and sorted(outcome.failures) == keys, outcome
    assert {r["error"]["kind"] for r in outcome.receipts} == {"deadline_exceeded"}
    assert s3.keys("lake") == []


def test_a_lease_is_not_waited_for_past_the_deadline(s3):
    """The commit goes on without it, in time to be answered for."""
    put_all(s3, {"orders/held.csv": "id\n0\n", "orders/a.csv": "id\n1\n"})
    lake.ingest_all("s3://landing/orders/held.csv", table=TABLE, env=s3.environment)
    put_all(s3, {"orders/big.csv": "id\n" + "2\n" * 1_000_000})
    s3.faults.append(delayed("/landing/orders/big.csv", 0.2))
    holder = subprocess.Popen(
        lake.command("ingest", "s3://landing/orders/big.csv", "--table", TABLE, "--lease", "run"),
        env=s3.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        ends = time.monotonic() + 20
        while not any(r.path == "/landing/orders/big.csv" and r.method == "GET" for r in s3.requests):
            assert holder.poll() is None and time.monotonic() < ends
            time.sleep(0.01)
        holder.send_signal(signal.SIGSTOP)
        with function(s3, with_lease("commit"), timeout_seconds=7).instance() as instance:
            outcome = instance.invoke(announcing("orders/a.csv"))
        assert outcome.error is None and outcome.statuses() == {"a.csv": lake.COMMITTED}, outcome
    finally:
        holder.kill()
        holder.wait()


@pytest.mark.parametrize("deadline_ms", [600_000, 1, 2**63])
def test_a_deadline_that_is_none_stops_nothing_and_is_told(s3, deadline_ms):
    """An emulator sends how long an invocation lasts, and not when it ends."""
    put_all(s3, {"orders/a.csv": "id\n1\n"})
    with function(s3, deadline_ms=deadline_ms).instance() as instance:
        outcome = instance.invoke(announcing("orders/a.csv"))
        assert outcome.failures == [] and outcome.statuses() == {"a.csv": lake.COMMITTED}, outcome
    (warning,) = map(json.loads, outcome.stderr.splitlines())
    assert warning["level"] == "WARN" and "deadline" in warning["fields"]["message"], warning
    assert warning["span"]["request_id"] == outcome.request_id, warning


# --- from an upload to the table, through a queue --------------------------------------------


def test_an_upload_is_in_the_table_and_its_message_gone(s3):
    queue = Queue(s3, "landing", RECEIVES_MAX)
    queue.is_told_of(s3, "landing")
    keys = ["orders/2026/08/01 a+b=ü.csv", "orders/b.csv", "orders/c%2Fd.csv"]
    put_all(s3, {key: f"id\n{number}\n" for number, key in enumerate(keys)})
    put_all(s3, {"invoices/a.csv": "id\n9\n"})
    with function(s3).instance() as instance:
        outcomes = queue.deliver_all(instance)
    assert [outcome.failures for outcome in outcomes] == [[]]
    assert s3.column(TABLE, "_source_file") == sorted(f"s3://landing/{key}" for key in keys)
    assert s3.column(TABLE, "id") == [0, 1, 2]
    assert queue.receive() == [] and queue.dead() == []


def test_an_object_that_kills_the_function_is_a_dead_letter_alone(s3):
    queue = Queue(s3, "landing", RECEIVES_MAX)
    queue.is_told_of(s3, "landing")
    put_all(s3, {f"orders/{number}.csv": f"id\n{number}\n" for number in range(9)})
    put_all(s3, {"orders/killer.csv": "id\n100\n"})
    deaths = []
    with function(s3).instance() as instance:

        def kill(request):
            kills = request.method == "GET" and request.path == "/landing/orders/killer.csv"
            if kills:
                deaths.append(instance.process.pid)
                os.kill(instance.process.pid, signal.SIGKILL)
            return kills

        s3.faults.append(server.Fault(kill, server.CUT, times=100))
        outcomes = queue.deliver_all(instance)
    told = [outcome.error["errorType"] if outcome.error else outcome.failures for outcome in outcomes]
    print(f"{len(deaths)} deaths, {len(outcomes)} deliveries: {told}")
    assert deaths and queue.dead() == ["orders/killer.csv"], told
    assert s3.column(TABLE, "id") == list(range(9))
    exhausted = [r["error"]["kind"] for r in outcomes[-1].receipts if r["error"]]
    assert exhausted == ["attempts_exhausted"]


OBJECTS, PROCESSES, ROWS = 1000, 8, 3
CHECKPOINT_INVOCATIONS = 20


def upload_all(s3) -> list[str]:
    """Uploads the objects; the bodies of the messages that announce them. In parts, because moto
    counts a queue's messages for each that it adds."""
    queue = Queue(s3, "events", RECEIVES_MAX)
    queue.is_told_of(s3, "landing")
    queue.take_all()
    bodies = []
    for start in range(0, OBJECTS, 100):
        put_all(s3, {
            f"orders/{n:04}.csv": "id\n" + "".join(f"{n * ROWS + i}\n" for i in range(ROWS))
            for n in range(start, start + 100)
        })
        bodies += queue.take_all()
    assert len(bodies) == OBJECTS
    return bodies


def burst(s3, text: str) -> dict:
    """Has the event of each object delivered one to three times, shuffled, to several processes at
    once; what came of it."""
    chance, queue = random.Random(7), Queue(s3, "landing", RECEIVES_MAX)
    deliveries = [body for body in upload_all(s3) for _ in range(chance.randint(1, 3))]
    chance.shuffle(deliveries)
    outcomes, sending, summing_up = [], threading.Lock(), threading.Lock()

    def work(instance):
        while True:
            with summing_up:
                if len(outcomes) % CHECKPOINT_INVOCATIONS == CHECKPOINT_INVOCATIONS - 1:
                    # Else each writer reads every commit so far, one by one.
                    deltalake.DeltaTable(TABLE, storage_options=s3.storage_options).create_checkpoint()
            with sending:
                sent, deliveries[:] = deliveries[:10], deliveries[10:]
            queue.send(sent)
            if outcome := queue.deliver(instance):
                outcomes.append(outcome)
            elif not sent:
                return

    with ExitStack() as stack:
        # The server is slower than S3, and all wait for it.
        burst_function = function(s3, text, timeout_seconds=120)
        instances = [stack.enter_context(burst_function.instance()) for _ in range(PROCESSES)]
        threads = [threading.Thread(target=work, args=[instance]) for instance in instances]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        outcomes += queue.deliver_all(instances[0])
        seconds = time.monotonic() - began
    assert queue.receive() == [] and queue.dead() == []
    total = {name: sum(m[name] for o in outcomes for m in o.metrics)
             for name in ("Commits", "Attempts", "ObjectsCommitted", "ObjectsDuplicate", "ObjectsFailed")}
    # On a busy machine the server keeps some waiting for minutes; their messages come again.
    cut = sum(outcome.error is not None for outcome in outcomes)
    return {"invocations": len(outcomes), "cut": cut, "seconds": round(seconds, 1), **total,
            "conflicts per commit": round(total["Attempts"] / total["Commits"] - 1, 3)}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("scope", ["off", "commit"])
def test_a_burst_is_taken_once_by_many_processes(s3, scope):
    figures = burst(s3, with_lease(scope))
    print(f"lease {scope}: {figures}")
    shown = lake.run("ledger", "show", TABLE, "--json", env=s3.environment)
    entries = [json.loads(line) for line in shown.stdout.splitlines()]
    assert len(entries) == len({entry["name"] for entry in entries}) == OBJECTS, str(shown)[:2000]
    assert {entry["state"] for entry in entries} == {"in"}
    # Whoever was cut has told nobody what it committed.
    assert figures["ObjectsCommitted"] == OBJECTS or figures["cut"]
    assert s3.column(TABLE, "id") == list(range(OBJECTS * ROWS))


# --- the size that it is made for ------------------------------------------------------------

MEMORY_BYTES, CPU_SHARE = 512 << 20, 0.29
CPU_PERIOD_US = 100_000
GIGABYTE = 1_000_000_000
GROUPS = "/sys/fs/cgroup"


@contextmanager
def control_group():
    """A command that runs others with the memory and the processor time of a function of 512 MB, and
    what reads how much memory they took at most; nothing, where the machine does not allow it."""
    name = f"lakefeed-{os.getpid()}"
    if os.path.exists(f"{GROUPS}/cgroup.controllers"):
        folders = [f"{GROUPS}/{name}"]
        limits = {"memory.max": MEMORY_BYTES, "memory.swap.max": 0,
                  "cpu.max": f"{int(CPU_SHARE * CPU_PERIOD_US)} {CPU_PERIOD_US}"}
        limits = {f"{folders[0]}/{file}": limit for file, limit in limits.items()}
        peak = f"{folders[0]}/memory.peak"
    else:
        folders = [f"{GROUPS}/memory/{name}", f"{GROUPS}/cpu/{name}"]
        limits = {f"{folders[0]}/memory.limit_in_bytes": MEMORY_BYTES,
                  f"{folders[1]}/cpu.cfs_period_us": CPU_PERIOD_US,
                  f"{folders[1]}/cpu.cfs_quota_us": int(CPU_SHARE * CPU_PERIOD_US)}
        peak = f"{folders[0]}/memory.max_usage_in_bytes"
    try:
        for folder in folders:
            os.mkdir(folder)
        for file, limit in limits.items():
            with open(file, "w") as opened:
                opened.write(str(limit))
    except OSError as error:
        print(f"NOT LIMITED: this machine gives us no control group ({error})")
        yield (), lambda: None
        return
    enter = "; ".join(f"echo $$ > {folder}/cgroup.procs" for folder in folders)
    try:
        yield ("sh", "-c", f'{enter}; exec "$0" "$@"'), lambda: int(open(peak).read())
    finally:
        for folder in folders:
            os.rmdir(folder)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("gigabytes", [
    pytest.param(1, marks=pytest.mark.slow), pytest.param(5, marks=pytest.mark.huge),
])
def test_gigabytes_go_through_a_function_of_half_of_one(s3, tmp_path, gigabytes):
    source = tmp_path / "lineitem.csv"
    rows = write_lineitem(source, gigabytes * GIGABYTE)
    size = source.stat().st_size
    s3.files["/static/orders/lineitem.csv"] = source
    text = configuration(source="s3://static/orders/")
    with control_group() as (prefix, peak):
        lambda_ = function(s3, text, timeout_seconds=900, prefix=prefix)
        with lambda_.instance() as instance:
            outcome = instance.invoke(announcing("orders/lineitem.csv", bucket="static"))
            assert outcome.error is None and outcome.failures == [], (
                f"{outcome.error} {outcome.receipts} {outcome.stderr[-2000:]}"
            )
            (receipt,), (counted,) = outcome.receipts, outcome.metrics
            print(
                f"{size / 1e6:.0f} MB in {outcome.seconds:.0f} s,"
                f" {receipt['cpu_ms'] / 1e3:.1f} s of CPU, peak RSS"
                f" {counted['PeakRssBytes'] / 1e6:.1f} MB, of the group {(peak() or 0) / 1e6:.1f} MB,"
                f" wrote {receipt['bytes_written'] / 1e6:.0f} MB"
            )
            assert receipt["rows"] == rows
            assert counted["PeakRssBytes"] < MEMORY_BYTES
    assert s3.query(TABLE, "SELECT count(*) FROM t").fetchall() == [(rows,)]
    source.unlink()


def write_lineitem(path, bytes_min) -> int:
    """TPC-H's lineitem, again and again until it is so large; how many rows that are."""
    from test_memory import lineitem

    rows = 0
    with path.open("wb") as out:
        while True:
            with lineitem(1).open("rb") as whole:
                header = next(whole)
                if rows == 0:
                    out.write(header)
                for line in whole:
                    out.write(line)
                    rows += 1
                    if rows % 1000 == 0 and out.tell() >= bytes_min:
                        return rows
