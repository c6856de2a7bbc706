"""Leases of tables on S3 that are kept in DynamoDB; against moto."""

import datetime
import json
import subprocess

import pytest

import lake
import s3 as server

TABLE = "s3://lake/orders"
LEASES = "lakefeed-leases"
DAY = datetime.timedelta(days=1)
# Longer than the client waits for one answer.
TOO_LATE_SECONDS = 6


@pytest.fixture
def s3(s3):
    s3.put("landing", "a.csv", "id\n1\n2\n")
    return s3


@pytest.fixture
def leases(s3):
    """The DynamoDB table, as docs/operations.md says that it is made."""
    s3.client("dynamodb").create_table(
        TableName=LEASES, BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "table_uri", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "table_uri", "KeyType": "HASH"}],
    )


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "lakefeed.toml"
    path.write_text(f"[dynamodb]\nlease_table = '{LEASES}'\n")
    return path


def ingest(s3, config, scope, *sources, table=TABLE, **variables):
    arguments = ["--config", config, "--lease", scope]
    environment = {**s3.environment, **variables}
    return lake.ingest(
        *(sources or ["s3://landing/a.csv"]), table=table, arguments=arguments, env=environment
    )


def lease(s3, config, command, table=TABLE):
    shown = lake.run("lease", command, table, "--json", "--config", config, env=s3.environment)
    assert shown.exit_code == 0, str(shown)
    return json.loads(shown.stdout)


def item(s3, table=TABLE):
    key = {"table_uri": {"S": table}}
    found = s3.client("dynamodb").get_item(TableName=LEASES, Key=key, ConsistentRead=True)
    return {name: next(iter(value.values())) for name, value in found.get("Item", {}).items()}


def put_item(s3, expires_in):
    """The lease of somebody else, taken a day before it expires."""
    expires = datetime.datetime.now(datetime.timezone.utc) + expires_in
    at = (expires - DAY).isoformat()
    texts = {
        "table_uri": TABLE, "owner": "somebody:7", "purpose": "a test", "acquired_at": at,
        "renewed_at": at, "expires_at": expires.isoformat(),
    }
    s3.client("dynamodb").put_item(
        TableName=LEASES, Item={"epoch": {"N": "4"}, **{k: {"S": v} for k, v in texts.items()}}
    )


def calls(s3):
    return [r.dynamodb_call for r in s3.requests if r.dynamodb_call]


def error_of(code):
    """An answer of DynamoDB's; the code alone counts."""
    return {"status": "400 Bad Request", "headers": [("x-amzn-errortype", code)]}


def test_a_lease_is_an_item(s3, leases, config):
    s3.put("landing", "b.csv", "id\n3\n")
    for scope, epoch, source in (("run", "1", "a.csv"), ("commit", "2", "b.csv")):
        run = ingest(s3, config, scope, f"s3://landing/{source}", table=TABLE + "/",
                     AWS_SESSION_TOKEN="a-token")
        assert run.exit_code == 0, str(run)
        found = item(s3)
        assert found["epoch"] == epoch and "ingest of feed" in found["purpose"], found
        assert found["ended_at"] >= found["renewed_at"] >= found["acquired_at"]
        assert float(found["duration_seconds"]) == 30
        expires = datetime.datetime.fromisoformat(found["expires_at"][:19] + "+00:00")
        assert float(found["ttl"]) == expires.timestamp() + 30 * DAY.total_seconds()
    assert not any(key.endswith("table.lease") for key in s3.keys("lake"))
    assert lease(s3, config, "show") is None
    asked = [r for r in s3.requests if r.dynamodb_call in ("GetItem", "PutItem")]
    ours = [r for r in asked if "Boto3" not in r.headers["HTTP_USER_AGENT"]]
    assert ours and all(
        f"/{server.REGION}/dynamodb/" in r.headers["HTTP_AUTHORIZATION"] for r in ours)
    assert any(r.headers.get("HTTP_X_AMZ_SECURITY_TOKEN") == "a-token" for r in ours)


def test_a_second_run_is_told_who_holds_the_lease_and_a_person_can_break_it(s3, leases, config):
    put_item(s3, expires_in=DAY)
    refused = ingest(s3, config, "run")
    error = refused.receipts[0]["error"]
    assert error["kind"] == "contention" and "somebody:7" in error["message"], error
    assert lease(s3, config, "show")["owner"] == "somebody:7"
    assert lease(s3, config, "break", TABLE + "/")["owner"] == "somebody:7"
    assert lease(s3, config, "break") is None
    after = ingest(s3, config, "run")
    assert after.statuses() == {"a.csv": lake.COMMITTED}, str(after)
    assert item(s3)["epoch"] == "5"


def test_an_expired_lease_is_taken_and_a_fresh_one_only_delays_a_commit(s3, leases, config):
    config.write_text(
        config.read_text() + "[[feed]]\nsource='s3://landing/a.csv'\n"
        f"table='{TABLE}'\nlease = {{ scope = 'commit', wait_seconds_max = 1 }}\n"
    )
    put_item(s3, expires_in=DAY)
    run = lake.run("ingest", "--config", config, "--feed", "default", env=s3.environment)
    assert run.exit_code == 0, str(run)
    assert item(s3)["owner"] == "somebody:7" and s3.column(TABLE, "id") == [1, 2]
    put_item(s3, expires_in=-DAY)
    s3.put("landing", "b.csv", "id\n3\n")
    assert ingest(s3, config, "run", "s3://landing/b.csv").exit_code == 0
    assert item(s3)["epoch"] == "5" and s3.column(TABLE, "id") == [1, 2, 3]


def test_tables_elsewhere_have_their_own_leases(s3, leases, config, table, inbox):
    (inbox / "a.csv").write_text("id\n1\n")
    del s3.requests[:]
    assert ingest(s3, config, "run", inbox / "a.csv", table=table).exit_code == 0
    assert s3.requests == [] and (table / "_delta_log/_lakefeed/table.lease").exists()


def test_what_is_missing_is_told(s3, config):
    for told, fault in [
        ("no such table", None),
        ("dynamodb:GetItem", error_of("AccessDeniedException")),
        ("keys of the table", error_of("ValidationException")),
    ]:
        s3.faults[:] = fault and [server.Fault(lambda r: r.dynamodb_call, times=99, **fault)] or []
        run = ingest(s3, config, "run", table=TABLE)
        spoken = json.dumps([r["error"] for r in run.receipts]) + run.stderr
        assert run.exit_code in (1, 2) and told in spoken, str(run)
        assert LEASES in spoken
    # A commit does without.
    run = ingest(s3, config, "commit")
    assert run.exit_code == 0 and "without the lease" in run.stderr, str(run)


@pytest.mark.parametrize("status", ["503 Service Unavailable", server.CUT], ids=["503", "cut"])
def test_a_break_whose_answer_was_lost_says_whose_lease_it_was(s3, leases, config, status):
    put_item(s3, expires_in=DAY)
    s3.faults.append(server.Fault(lambda r: r.dynamodb_call == "PutItem", status, effect=True))
    assert lease(s3, config, "break")["owner"] == "somebody:7"
    assert s3.faults[0].struck == 1 and lease(s3, config, "show") is None


@pytest.mark.parametrize("scope", ["run", "commit"])
def test_an_outage_stops_a_run_that_wants_to_be_alone_and_no_commit(s3, leases, config, scope):
    s3.faults.append(server.Fault(lambda r: r.dynamodb_call, "503 Service Unavailable", times=99))
    run = ingest(s3, config, scope)
    if scope == "run":
        assert run.receipts[0]["error"]["kind"] == "storage_unavailable", str(run)
        s3.faults.clear()
        run = ingest(s3, config, scope)
    assert run.receipts[0]["status"] == lake.COMMITTED, str(run)
    assert s3.column(TABLE, "id") == [1, 2]


FAULTS = {
    "500": {"status": "500 Internal Server Error"},
    "503": {"status": "503 Service Unavailable"},
    "throughput": error_of("ProvisionedThroughputExceededException"),
    "throttled": error_of("ThrottlingException"),
    "refused": error_of("ConditionalCheckFailedException"),
    "cut": {"status": server.CUT},
    "too late": {"delay_seconds": TOO_LATE_SECONDS},
}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("effect", [True, False], ids=["after it took effect", "instead"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("scope", ["run", "commit"])
def test_one_fault_at_each_call_changes_nothing(s3, leases, config, scope, fault, effect):
    """From the first call of an ingest to the last, each in turn: of taking the lease, of renewing it
    and of ending it. The lease is free in the end, and was held once."""
    config.write_text(
        config.read_text() + "[[feed]]\nname = 'test'\nsource = 's3://landing/a.csv'\n"
        f"table = '{TABLE}'\nlease = {{ duration_seconds = 2, scope = '{scope}' }}\n"
    )
    struck, number = [], 0
    while len(struck) == number:
        number += 1
        table, begin = f"s3://lake/{number}", len(calls(s3))
        strike = server.Fault(
            lambda r: r.dynamodb_call and len(calls(s3)) == begin + number
            and (fault != "refused" or r.dynamodb_call == "PutItem"),
            effect=effect, **FAULTS[fault],
        )
        # Long enough for a renewal.
        slow = server.Fault(is_append, None, delay_seconds=1.0)
        s3.faults[:] = [slow, strike]
        run = lake.ingest("s3://landing/a.csv", table=table, env=s3.environment,
                          arguments=["--config", config, "--feed", "test"])
        made = calls(s3)[begin:]
        if len(made) >= number:
            struck.append(made[number - 1])
        assert strike.struck or len(made) < number or fault == "refused"
        told = f"{number}: {made}\n{run}"
        assert run.receipts[0]["status"] == lake.COMMITTED, told
        assert run.receipts[0]["attempts"] == 1 and "without the lease" not in run.stderr, told
        assert lease(s3, config, "show", table) is None, told
        assert item(s3, table)["epoch"] == "1", told
        assert sorted(row["id"] for row in s3.read_with_deltalake(table)) == [1, 2], told
    assert len(struck) >= 4, "taking and ending are two calls each"


def is_append(request):
    """Version 0 makes the table."""
    return request.method == "PUT" and request.path.endswith("/_delta_log/00000000000000000001.json")


def test_writers_queue_for_their_commits(s3, leases, config):
    for number in range(12):
        s3.put("landing", f"{number:02}.csv", f"id\n{number}\n")
    racers = [
        subprocess.Popen(
            lake.command("ingest", f"s3://landing/{group}*.csv", "--table", TABLE,
                         "--config", config, "--lease", "commit"),
            env=s3.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        for group in (0, 1, 0, 1)
    ]
    for racer in racers:
        _, stderr = racer.communicate(timeout=lake.RUN_SECONDS_MAX)
        assert racer.returncode == 0, stderr
    assert s3.column(TABLE, "id") == list(range(12))
    assert lease(s3, config, "show") is None and int(item(s3)["epoch"]) > 1
