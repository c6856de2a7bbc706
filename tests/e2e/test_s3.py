"""From S3 into a table on S3, by a listing and by what a bucket announces; against moto."""

import json
import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import moto.backends
import pytest

import lake
import s3 as server

EVENTS = lake.REPOSITORY / "events" / "aws"
KEY = "orders/2026/08/01 a+b=ü.csv"
TABLE = "s3://lake/orders"


def ingest(s3, *sources, table=TABLE, **options):
    return lake.ingest(*sources, table=table, env=s3.environment, **options)


def ingest_all(s3, *sources, **options):
    run = ingest(s3, *sources, **options)
    assert run.exit_code == 0, str(run)
    return run


def invoke(s3, event, folder, source="s3://landing/orders/", **fields):
    """`lakefeed invoke --json`: the run with its receipts, and what a queue is answered."""
    _, config, _, _ = lake.feed(folder, source=source, table=TABLE, **fields)
    run = lake.run("invoke", event, "--config", config, "--json", env=s3.environment)
    lines = run.stdout.splitlines()
    answer = json.loads(lines.pop()) if lines and "batchItemFailures" in lines[-1] else None
    run.receipts = [lake.parse_receipt(line) for line in lines]
    return run, answer and [item["itemIdentifier"] for item in answer["batchItemFailures"]]


def many_rows(count: int) -> str:
    numbers = random.Random(7)
    return "id,text\n" + "".join(f"{i},{numbers.getrandbits(256):064x}\n" for i in range(count))


def is_commit(request):
    name = request.path.rsplit("/", 1)[-1]
    return request.method == "PUT" and "/_delta_log/0" in request.path and name.endswith(".json")


# --- by a listing ----------------------------------------------------------------------------


def test_a_prefix_is_taken_once(s3):
    keys = [KEY, "orders/b.csv", "orders/50%.csv", "orders/a%20b.csv", "orders/送&?#.csv"]
    for number, key in enumerate([*keys, "orders/note.txt"]):
        s3.put("landing", key, f"id,name\n{number},n\n")
    run = ingest_all(s3, "s3a://landing/orders/")
    assert {r["source"] for r in run.receipts} == {f"s3://landing/{key}" for key in keys}
    assert s3.column(TABLE, "_source_file") == sorted(f"s3://landing/{key}" for key in keys)
    again = ingest_all(s3, "s3://landing/orders/**/*.csv")
    assert set(again.statuses().values()) == {lake.DUPLICATE}
    assert s3.column(TABLE, "id") == [0, 1, 2, 3, 4]


def test_a_key_that_is_no_path_has_a_receipt_and_stops_nothing(s3):
    for number, key in enumerate(["orders/a.csv", "orders//b.csv", "orders/./c.csv", "orders/d.csv"]):
        s3.put("landing", key, f"id\n{number}\n")
    s3.put("landing", "orders/", "")
    run = ingest(s3, "s3://landing/orders/")
    statuses = {r["source"]: r["status"] for r in run.receipts}
    assert statuses == {
        "s3://landing/orders/a.csv": lake.COMMITTED,
        "s3://landing/orders//b.csv": lake.FAILED,
        "s3://landing/orders/./c.csv": lake.FAILED,
        "s3://landing/orders/d.csv": lake.COMMITTED,
    }
    assert s3.column(TABLE, "id") == [0, 3]
    named = ingest(s3, "s3://landing/orders//b.csv")
    assert named.exit_code == 1 and named.receipts[0]["status"] == lake.FAILED, str(named)


def test_a_listing_of_several_pages(s3, monkeypatch):
    """With a key in the middle that is no path, and would fail its page."""
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")
    for number in range(35):
        s3.put("landing", f"orders/{number:02}.csv", f"id\n{number}\n")
    s3.put("landing", "orders/17.csv//x.csv", "id\n0\n")
    del s3.requests[:]
    run = ingest(s3, "s3://landing/orders/")
    assert len([r for r in s3.requests if r.path == "/landing" and "list-type=2" in r.query]) == 4
    assert len(run.receipts) == 36 and run.exit_code == 1
    assert s3.column(TABLE, "id") == list(range(35))


def test_a_table_with_partitions_in_the_root_of_a_bucket(s3):
    s3.put("landing", "a.csv", "id,part\n1,x\n2,y z\n3,a/b\n")
    ingest_all(s3, "s3://landing/*.csv", table="s3://lake", arguments=["--partition-by", "part"])
    # Polars 2.1 does not find the files of such partitions in a cloud, whoever wrote them.
    for read in (s3.read_with_deltalake, s3.read_with_duckdb):
        rows = read("s3://lake")
        assert {row["id"]: row["part"] for row in rows} == {1: "x", 2: "y z", 3: "a/b"}


def test_a_large_object_is_uploaded_in_parts(s3):
    s3.put("landing", "big.csv", many_rows(300_000))
    run = ingest_all(s3, "s3://landing/big.csv")
    assert run.receipts[0]["rows"] == 300_000
    assert any(r.method == "POST" and "uploadId=" in r.query for r in s3.requests)
    assert len(s3.read_with_deltalake(TABLE)) == 300_000
    ranged = [r for r in s3.requests if r.method == "GET" and r.path == "/landing/big.csv"]
    assert len(ranged) > 5
    assert all("HTTP_RANGE" in r.headers and "HTTP_IF_MATCH" in r.headers for r in ranged)


# --- wrong addresses and missing rights ------------------------------------------------------


@pytest.mark.parametrize("source, table", [
    ("s3://nowhere/a.csv", TABLE), ("s3://nowhere/*.csv", TABLE),
    ("s3://landing/a.csv", "s3://nowhere/orders"),
])
def test_a_bucket_that_is_not_there_is_named(s3, source, table):
    s3.put("landing", "a.csv", "id\n1\n")
    run = lake.run("ingest", source, "--table", table, env=s3.environment)
    assert run.exit_code == 2, str(run)
    assert "nowhere" in run.stderr and "there is no such bucket" in run.stderr, str(run)


def test_a_region_that_is_another_is_named(s3):
    elsewhere = server.Fault(
        lambda r: r.path.startswith("/landing"), "301 Moved Permanently", times=100,
        headers=[("x-amz-bucket-region", "us-west-2")],
    )
    s3.faults.append(elsewhere)
    run = lake.run("ingest", "s3://landing/", "--table", TABLE, env=s3.environment)
    assert run.exit_code == 2 and "us-west-2" in run.stderr, str(run)


def test_missing_rights_are_told(s3):
    s3.put("landing", "a.csv", "id\n1\n")
    denied = server.Fault(lambda r: r.path == "/landing/a.csv", "403 Forbidden", times=100)
    s3.faults.append(denied)
    run = ingest(s3, "s3://landing/a.csv", "s3://landing/*.csv")
    assert run.exit_code == 1 and "permission" in run.receipts[0]["error"]["message"], str(run)
    s3.faults[:] = [server.Fault(is_commit, "403 Forbidden", times=100)]
    run = ingest(s3, "s3://landing/a.csv")
    assert run.exit_code == 1 and "grant" in run.receipts[0]["error"]["advice"], str(run)
    s3.faults.clear()
    ingest_all(s3, "s3://landing/a.csv")
    assert s3.column(TABLE, "id") == [1]


def test_the_configuration_says_how_s3_is_reached(s3, tmp_path):
    s3.put("landing", "a.csv", "id\n1\n")
    config = tmp_path / "lakefeed.toml"
    config.write_text(
        f"[s3]\nendpoint = '{s3.endpoint}'\nallow_http = true\nregion = '{server.REGION}'\n"
        "sse_kms_key_id = 'a-key'\nrequest_payer = true\n"
        f"[[feed]]\nname = 'orders'\nsource = 's3://landing/*.csv'\ntable = '{TABLE}'\n"
    )
    environment = {k: v for k, v in s3.environment.items() if not k.startswith("AWS_")}
    command = ("ingest", "--config", config, "--feed", "orders")
    del s3.requests[:]
    run = lake.run(*command, env={**environment, **server.CREDENTIALS})
    assert run.exit_code == 0, str(run)
    assert all(r.headers["HTTP_X_AMZ_REQUEST_PAYER"] == "requester" for r in s3.requests)
    writes = [r for r in s3.requests if r.method == "PUT"]
    assert writes and all(
        r.headers["HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION"] == "aws:kms"
        and r.headers["HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION_AWS_KMS_KEY_ID"] == "a-key"
        for r in writes
    )
    assert all(server.REGION in r.headers["HTTP_AUTHORIZATION"] for r in s3.requests)
    config.write_text(config.read_text().replace("[s3]", "[s3]\nunsigned = true"))
    del s3.requests[:]
    lake.run(*command, env=environment)
    assert s3.requests and not any("HTTP_AUTHORIZATION" in r.headers for r in s3.requests)


# --- faults and rivals -----------------------------------------------------------------------


@pytest.fixture
def impatient(tmp_path):
    """A configuration with which no answer is waited for longer than a second."""
    config = tmp_path / "impatient.toml"
    config.write_text("[s3]\nrequest_seconds_max = 1\n")
    return ["--config", config]


@pytest.mark.parametrize("status", [
    "500 Internal Server Error", "503 Slow Down", "409 Conflict", server.HUNG,
])
@pytest.mark.parametrize("effect", [True, False], ids=["after it took effect", "instead"])
def test_a_commit_whose_answer_was_lost_is_found_out_about(s3, impatient, status, effect):
    """The client repeats the PUT by itself, and then meets its own commit as somebody else's; but for
    one that hung, after which we look ourselves."""
    s3.put("landing", "a.csv", "id\n1\n")
    ingest_all(s3, "s3://landing/a.csv")
    s3.put("landing", "b.csv", "id\n2\n")
    s3.faults.append(server.Fault(is_commit, status, effect))
    run = ingest_all(s3, "s3://landing/b.csv", arguments=impatient)
    assert s3.faults[0].struck == 1
    assert run.receipts[0]["status"] == lake.COMMITTED and run.receipts[0]["attempts"] == 1
    assert s3.column(TABLE, "id") == [1, 2]


@pytest.mark.parametrize("has_table", [True, False], ids=["into a table", "into a new table"])
def test_an_object_that_is_replaced_while_it_is_read_is_read_again(s3, has_table):
    if has_table:
        s3.put("landing", "0.csv", "id\n0\n")
        ingest_all(s3, "s3://landing/0.csv")
    s3.put("landing", "a.csv", "id\n1\n")

    def replace(request):
        if request.method == "GET" and request.path == "/landing/a.csv" and not pinned:
            pinned.append(request.headers["HTTP_IF_MATCH"])
            # Behind the server's back: it is busy with this very request.
            buckets = moto.backends.get_backend("s3")["123456789012"]["aws"]
            buckets.put_object("landing", "a.csv", b"id\n2\n3\n")
        return False

    pinned = []
    s3.faults.append(server.Fault(replace))
    run = ingest_all(s3, "s3://landing/a.csv")
    assert pinned and run.receipts[0]["rows"] == 2, str(run)
    assert s3.column(TABLE, "id") == ([0, 2, 3] if has_table else [2, 3])


# What another run may get over.
MAY_PASS = {"source_unavailable", "storage_unavailable", "source_changed", "commit_unknown"}


STATUSES = [
    "500 Internal Server Error", "503 Slow Down", "409 Conflict", "412 Precondition Failed", server.CUT,
    server.HUNG,
]
# How many ingests go on at once, each of which waits for most of its time.
RUNS_AT_ONCE = 8


@dataclass
class Struck:
    """An ingest into a new table, in a bucket of its own, of which the request of this number fails."""

    s3: server.S3
    number: int
    requests: list[server.Request] = field(default_factory=list)

    def run(self, status, effect, arguments):
        bucket, table = f"run-{self.number}", f"s3://run-{self.number}/orders"
        place = {"LocationConstraint": server.REGION}
        self.s3.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
        self.s3.put(bucket, "a.csv", "id\n1\n2\n")

        def wanted(request):
            if request.path.split("/")[1] == bucket:
                self.requests.append(request)
                return len(self.requests) == self.number
            return False

        fault = server.Fault(wanted, status, effect)
        self.s3.faults.append(fault)
        run = ingest(self.s3, f"s3://{bucket}/a.csv", table=table, arguments=arguments)
        self.s3.faults.remove(fault)
        if self.number > 0:
            assert fault.struck, f"{self.number}\n{run}"
            self.check(run, status, effect, table)

    def check(self, run, status, effect, table):
        struck = self.requests[-1]
        told = f"{self.number}: {struck}\n{run}"
        (receipt,) = run.receipts
        # A client that repeats its request gets over one failure, but that it takes its own first
        # tail of a new table for another writer's: the creation is then left to the next run.
        only_reads = struck.method in ("GET", "HEAD")
        is_repeated = status[0] == "5" or (status == server.HUNG and only_reads)
        may_fail = not is_repeated or (effect and "/_lakefeed/" in struck.path and not only_reads)
        assert receipt["status"] == lake.COMMITTED or may_fail, told
        assert receipt["error"] is None or receipt["error"]["kind"] in MAY_PASS, told
        source = receipt["source"]
        (again,) = ingest_all(self.s3, source, table=table).receipts
        was_taken = receipt["status"] == lake.COMMITTED
        assert again["status"] == (lake.DUPLICATE if was_taken else lake.COMMITTED), told
        assert sorted(row["id"] for row in self.s3.read_with_deltalake(table)) == [1, 2], told


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("effect", [True, False], ids=["after it took effect", "instead"])
@pytest.mark.parametrize("status", STATUSES, ids=lambda status: status.split(" ", 1)[1])
def test_one_fault_at_each_request_loses_and_doubles_nothing(s3, impatient, status, effect):
    """From the first request of an ingest into a new table to its last, each in its turn."""
    arguments = impatient if status == server.HUNG else []
    whole = Struck(s3, 0)
    whole.run(status, effect, arguments)
    count = len(whole.requests)
    assert count > 15, "an ingest makes more requests than that"
    with ThreadPoolExecutor(RUNS_AT_ONCE) as pool:
        runs = [Struck(s3, number) for number in range(1, count + 1)]
        list(pool.map(lambda run: run.run(status, effect, arguments), runs))


STEPS_OF_UPLOAD = {
    "begin": lambda r: r.method == "POST" and r.query.startswith("uploads"),
    "part": lambda r: r.method == "PUT" and "partNumber=2" in r.query,
    "end": lambda r: r.method == "POST" and "uploadId=" in r.query,
}


@pytest.mark.slow
@pytest.mark.parametrize("effect", [True, False], ids=["after it took effect", "instead"])
def test_an_upload_of_which_a_request_hangs_loses_and_doubles_nothing(s3, impatient, tmp_path, effect):
    source = tmp_path / "big.csv"
    source.write_text(many_rows(300_000))
    s3.files["/static/big.csv"] = source

    def run(step):
        table = f"s3://lake/{step}"
        strikes = lambda r: r.path.startswith(f"/lake/{step}/") and STEPS_OF_UPLOAD[step](r)
        fault = server.Fault(strikes, server.HUNG, effect)
        s3.faults.append(fault)
        first = ingest(s3, "s3://static/big.csv", table=table, arguments=impatient)
        s3.faults.remove(fault)
        (receipt,) = first.receipts
        assert fault.struck == 1, str(first)
        # An upload that ended is not there to be ended again.
        may_fail = step == "end" and effect
        assert receipt["status"] == lake.COMMITTED or may_fail, str(first)
        assert receipt["error"] is None or receipt["error"]["kind"] in MAY_PASS, str(first)
        ingest_all(s3, "s3://static/big.csv", table=table)
        assert s3.query(table, "SELECT count(*), count(DISTINCT id) FROM t").fetchall() == [(300_000,) * 2]

    with ThreadPoolExecutor() as pool:
        list(pool.map(run, STEPS_OF_UPLOAD))


def test_an_upload_that_failed_is_aborted(s3):
    s3.put("landing", "big.csv", many_rows(300_000))
    s3.faults.append(server.Fault(lambda r: "partNumber=2" in r.query, "400 Bad Request", times=9))
    run = ingest(s3, "s3://landing/big.csv")
    assert run.exit_code == 1 and s3.faults[0].struck, str(run)
    assert s3.open_uploads("lake") == []
    assert [key for key in s3.keys("lake") if key.endswith(".parquet")] == []


def test_writers_race_for_a_table(s3):
    """The server takes one request at a time, so that its conditional writes can be trusted."""
    for number in range(24):
        s3.put("landing", f"{number:02}.csv", f"id\n{number}\n")
    racers = [
        subprocess.Popen(
            lake.command("ingest", f"s3://landing/{group}*.csv", "--table", TABLE),
            env=s3.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        for group in (0, 1, 2, 0)
    ]
    for racer in racers:
        _, stderr = racer.communicate(timeout=lake.RUN_SECONDS_MAX)
        assert racer.returncode == 0, stderr
    assert s3.column(TABLE, "id") == list(range(24))


# --- by what a bucket announces --------------------------------------------------------------


def test_messages_of_a_queue_are_taken(s3, tmp_path):
    s3.put("landing", KEY, "id\n1\n")
    s3.put("landing", "orders/b.csv", "id\n2\n")
    run, failures = invoke(s3, EVENTS / "sqs.json", tmp_path)
    assert run.exit_code == 0 and failures == [], str(run)
    assert run.statuses() == {"01 a+b=ü.csv": lake.COMMITTED, "b.csv": lake.COMMITTED}
    again, failures = invoke(s3, EVENTS / "sqs.json", tmp_path)
    assert failures == [] and set(again.statuses().values()) == {lake.DUPLICATE}, str(again)
    assert s3.column(TABLE, "_source_file") == [f"s3://landing/{KEY}", "s3://landing/orders/b.csv"]


def test_only_the_messages_that_failed_come_again(s3, tmp_path):
    s3.put("landing", "orders/a.csv", "id\n1\n")
    run, failures = invoke(s3, EVENTS / "sqs-unparsable.json", tmp_path)
    assert run.exit_code == 1 and len(failures) == 3, str(run)
    assert run.statuses() == {"a.csv": lake.COMMITTED}
    assert "not JSON" in run.stderr, str(run)


def test_a_group_stops_at_its_first_failure(s3, tmp_path):
    s3.put("landing", "orders/a.csv", "id\n1\n2,3\n")
    s3.put("landing", "orders/b.csv", "id\n4\n")
    s3.put("landing", "returns/a.csv", "id\n5\n")
    event = EVENTS / "sqs-fifo.json"
    first, second, third = (r["messageId"] for r in json.loads(event.read_text())["Records"])
    source = ["s3://landing/orders/", "s3://landing/returns/"]
    run, failures = invoke(s3, event, tmp_path, source=source)
    assert failures == [first, third] and second not in failures, str(run)
    assert s3.column(TABLE, "id") == [4, 5]


def test_what_no_feed_wants_is_acknowledged_and_counted(s3, tmp_path):
    run, failures = invoke(s3, EVENTS / "sqs.json", tmp_path, source="s3://landing/invoices/")
    assert (run.exit_code, failures, run.receipts) == (0, [], []), str(run)
    config = tmp_path / "lakefeed.toml"
    told = lake.run("invoke", EVENTS / "sqs.json", "--config", config, env=s3.environment)
    assert "2 objects for no feed" in told.stdout, str(told)


def test_a_feed_that_cannot_run_fails_its_own_objects(s3, tmp_path):
    s3.put("landing", "orders/b.csv", "id\n2\n")
    good = f"[[feed]]\nname = 'good'\nsource = 's3://landing/orders/b.csv'\ntable = '{TABLE}'\n"
    bad = (
        "[[feed]]\nname = 'bad'\nsource = 's3://landing/orders/2026/'\n"
        "table = 's3://nowhere/orders'\n"
    )
    config = tmp_path / "lakefeed.toml"
    config.write_text(bad + good)
    event = EVENTS / "sqs.json"
    run = lake.run("invoke", event, "--config", config, "--json", env=s3.environment)
    first = json.loads(event.read_text())["Records"][0]["messageId"]
    answer = json.loads(run.stdout.splitlines()[-1])
    assert answer == {"batchItemFailures": [{"itemIdentifier": first}]}, str(run)
    assert s3.column(TABLE, "id") == [2]


REFUSED = {"s3-version-3", "sqs-unparsable", "s3-awkward-keys"}


@pytest.mark.parametrize("event", sorted(EVENTS.glob("*.json")), ids=lambda path: path.stem)
def test_every_kind_of_event_can_be_invoked(s3, tmp_path, event):
    run, failures = invoke(s3, event, tmp_path)
    assert run.exit_code == int(event.stem in REFUSED), str(run)
    assert (failures is None) == (not event.stem.startswith("sqs")), str(run)
    announced = event.with_suffix(".golden").read_text().count('"uri":"s3://landing/orders')
    assert len({r["source"] for r in run.receipts}) <= announced
    assert bool(run.receipts) == bool(announced), str(run)


def test_a_real_notification_is_taken(s3, tmp_path):
    """An upload, what the bucket then puts in its queue, and the queue's batch as Lambda has it."""
    sqs = s3.client("sqs")
    queue = sqs.create_queue(QueueName="landing-events")["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    arn = attributes["Attributes"]["QueueArn"]
    s3.client("s3").put_bucket_notification_configuration(
        Bucket="landing",
        NotificationConfiguration={
            "QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]
        },
    )
    s3.put("landing", KEY, "id\n1\n")
    s3.put("landing", "orders/b.csv", "id\n2\n")
    received = []
    while batch := sqs.receive_message(
        QueueUrl=queue, AttributeNames=["All"], MaxNumberOfMessages=10
    ).get("Messages"):
        received += batch
    records = [
        {
            "messageId": message["MessageId"], "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"], "attributes": message["Attributes"],
            "eventSource": "aws:sqs", "eventSourceARN": arn,
        }
        for message in received
    ]
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"Records": records}))
    run, failures = invoke(s3, event, tmp_path)
    assert run.exit_code == 0 and failures == [], str(run)
    assert s3.column(TABLE, "id") == [1, 2]
