"""template.yaml and infra/aws/ against the code, against each other, and deployed to moto."""

import itertools
import json
import random
import re
import tomllib
from urllib.parse import parse_qs

import pytest

import lake
import s3 as server
import stack

SOURCES = lake.REPOSITORY / "src"
TEMPLATE = stack.template()
PARAMETERS, RESOURCES = TEMPLATE["Parameters"], TEMPLATE["Resources"]
FUNCTION = RESOURCES["LakefeedFunction"]
CONFIGURATION_PAGE = (lake.REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")


@pytest.fixture
def s3(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", server.REGION)
    with server.serve() as running:
        yield running


def source(path: str) -> str:
    """A file of ours, which other branches of the work may not have yet."""
    found = SOURCES / path
    if not found.is_file():
        pytest.skip(f"there is no src/{path}")
    return found.read_text(encoding="utf-8")


def constant(text: str, name: str) -> str:
    """The value of a Rust constant, without quotes."""
    return re.search(rf"const {name}: [^=]+ = \"?([^\";]+)\"?;", text).group(1)


# --- the numbers -----------------------------------------------------------------------------


def test_a_message_is_hidden_six_times_as_long_as_the_function_may_take():
    mapping = TEMPLATE["Mappings"]["ByTimeout"]
    assert sorted(mapping) == sorted(PARAMETERS["TimeoutSeconds"]["AllowedValues"])
    for timeout, seconds in mapping.items():
        assert seconds["VisibilitySeconds"] == 6 * int(timeout)
        # More than one delivery in vain; and as long as Terraform's.
        assert seconds["AgeAlarmSeconds"] == 15 * int(timeout)
    found = {"Fn::FindInMap": ["ByTimeout", {"Ref": "TimeoutSeconds"}, "VisibilitySeconds"]}
    assert RESOURCES["Queue"]["Properties"]["VisibilityTimeout"] == found
    assert FUNCTION["Properties"]["Timeout"] == {"Ref": "TimeoutSeconds"}
    terraform = (stack.TERRAFORM / "queue.tf").read_text()
    assert "visibility_seconds = 6 * var.timeout_seconds" in terraform
    assert "age_alarm_seconds  = 15 * var.timeout_seconds" in terraform


def test_an_object_that_kills_the_function_is_known_before_its_neighbours_are_given_up():
    """Delivered DELIVERIES_MIN times it is begun with a marker; begun ATTEMPTS_MAX times it is
    failed at the next delivery, which is the first that is answered. So many must be granted."""
    attempts = source("ingest/attempts.rs")
    answered_at = int(constant(attempts, "DELIVERIES_MIN")) + int(constant(attempts, "ATTEMPTS_MAX"))
    assert PARAMETERS["ReceivesMax"]["MinValue"] >= answered_at
    assert PARAMETERS["ReceivesMax"]["Default"] >= answered_at


def test_a_message_outlives_its_deliveries_and_a_dead_one_outlives_the_queue():
    retention = {
        name: RESOURCES[name]["Properties"]["MessageRetentionPeriod"]
        for name in ("Queue", "DeadLetterQueue")
    }
    longest = max(m["VisibilitySeconds"] for m in TEMPLATE["Mappings"]["ByTimeout"].values())
    assert retention["Queue"] > longest * PARAMETERS["ReceivesMax"]["Default"]
    assert retention["DeadLetterQueue"] > retention["Queue"]


# --- the template and the code ---------------------------------------------------------------


def test_the_variables_are_those_that_the_code_reads():
    everything = source("bin/lambda.rs") + "".join(
        path.read_text(encoding="utf-8") for path in SOURCES.rglob("*.rs"))
    for name in FUNCTION["Properties"]["Environment"]["Variables"]:
        # Those of AWS are read by the object store, and are on the page.
        known = f"`{name}`" in CONFIGURATION_PAGE if name.startswith("AWS_") else (
            f'"{name}"' in everything)
        assert known, name


def test_the_binary_is_one_of_the_crates():
    source("bin/lambda.rs")
    manifest = tomllib.loads((lake.REPOSITORY / "Cargo.toml").read_text(encoding="utf-8"))
    binary = FUNCTION["Metadata"]["BuildProperties"]["Binary"]
    assert binary in [binary["name"] for binary in manifest["bin"]]
    assert f"--bin {binary}" in (lake.REPOSITORY / "Makefile").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("path", "statement"),
    [("lease/dynamodb.rs", "HoldLeases"), ("table/delta/dynamodb_log.rs", "CommitThroughDynamoDb")],
)
def test_what_the_code_asks_of_dynamodb_is_granted_and_no_more(s3, path, statement):
    calls = set(re.findall(r"\.(\w+_item|query|scan|describe_table)\(\)", source(path)))
    assert calls
    deployed = stack.deploy(s3, CommitMode="dynamodb")
    (granted,) = [found for found in deployed.statements if found["Sid"] == statement]
    wanted = {"dynamodb:" + call.title().replace("_", "") for call in calls}
    assert set(granted["Action"]) == wanted


def test_the_lease_table_is_as_the_code_wants_it():
    code, table = source("lease/dynamodb.rs"), RESOURCES["LeaseTable"]["Properties"]
    assert table["KeySchema"] == [{"AttributeName": constant(code, "KEY"), "KeyType": "HASH"}]
    assert table["TimeToLiveSpecification"]["AttributeName"] == constant(code, "TTL")


# --- the template and Terraform --------------------------------------------------------------


def snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def test_terraforms_variables_are_the_parameters():
    text = (stack.TERRAFORM / "variables.tf").read_text(encoding="utf-8")
    blocks = re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', text, re.MULTILINE | re.DOTALL)
    defaults = {
        name: (match := re.search(r"^  default +=(.*)$", block, re.MULTILINE))
        and str(json.loads(match.group(1))).lower()
        for name, block in blocks
    }
    wanted = {
        snake_case(name): "Default" in of and of["Default"] is not None and str(of["Default"]).lower()
        or (None if "Default" not in of else "")
        for name, of in PARAMETERS.items() if name != "BuildMethod"
    }
    assert {k: v for k, v in defaults.items() if k not in ("name", "function_zip")} == wanted


def test_terraform_grants_what_the_template_grants():
    def granted(text: str) -> set[str]:
        return set(re.findall(r"\b(?:s3|sqs|kms|logs|dynamodb|sts|lambda):[A-Z]\w+", text))

    text = "".join(path.read_text(encoding="utf-8") for path in stack.TERRAFORM.glob("*.tf"))
    of_template = granted((lake.REPOSITORY / "template.yaml").read_text(encoding="utf-8"))
    assert granted(text) == of_template and "s3:PutObject" in of_template


# --- the configuration that is made up -------------------------------------------------------


COMMITS, LEASES = ("conditional_put", "dynamodb"), ("off", "commit", "run")


@pytest.mark.parametrize(("commit", "lease"), list(itertools.product(COMMITS, LEASES)))
def test_the_feed_that_is_made_up(s3, tmp_path, commit, lease):
    deployed = stack.deploy(
        s3, CommitMode=commit, CreateDeltaLogTable="true", LeaseScope=lease, TableScheme="s3a",
        OnChanged="append",
    )
    assert "LAKEFEED_CONFIG" not in deployed.variables
    text = deployed.variables["LAKEFEED_CONFIG_TOML"]
    configuration = tomllib.loads(text)
    feed = {
        "name": "lakefeed", "source": "s3://landing-of-ours/landing/",
        "table": "s3a://landing-of-ours/lake/events", "on_changed": "append",
        "lease": {"scope": lease},
    }
    dynamodb = {}
    if commit == "dynamodb":
        feed["commit"] = commit
        dynamodb["log_table"] = "delta_log"
    if lease != "off":
        dynamodb["lease_table"] = deployed.outputs["LeaseTableName"]
    assert configuration == {"feed": [feed]} | ({"dynamodb": dynamodb} if dynamodb else {})
    s3.put(stack.LANDING, "landing/a.csv", "id\n1\n")
    receipts = sweep(deployed, tmp_path)
    assert [receipt["status"] for receipt in receipts] == [lake.COMMITTED]


@pytest.mark.parametrize(
    ("parameters", "variables"),
    [
        ({"FeedConfigToml": "feed = []"}, {"LAKEFEED_CONFIG_TOML": "feed = []"}),
        ({"FeedConfigUri": "s3://b/lakefeed.toml"}, {"LAKEFEED_CONFIG": "s3://b/lakefeed.toml"}),
        (
            {"KmsKeyArn": "arn:aws:kms:eu-central-1:123456789012:key/abc", "FeedConfigToml": "x"},
            {
                "LAKEFEED_CONFIG_TOML": "x", "AWS_SERVER_SIDE_ENCRYPTION": "aws:kms",
                "AWS_SSE_KMS_KEY_ID": "arn:aws:kms:eu-central-1:123456789012:key/abc",
            },
        ),
    ],
)
def test_what_is_configured_is_what_the_function_is_told(s3, parameters, variables):
    deployed = stack.deploy(s3, **parameters)
    assert deployed.variables.pop("LAKEFEED_LOG").startswith("warn,lakefeed=warn,")
    assert deployed.variables == variables
    assert deployed.allows("s3:GetObject", "arn:aws:s3:::b/lakefeed.toml") == (
        "FeedConfigUri" in parameters)
    assert ("UseKey" in [s["Sid"] for s in deployed.statements]) == ("KmsKeyArn" in parameters)


# --- deployed to moto ------------------------------------------------------------------------


def write_configuration(deployed, folder):
    path = folder / "lakefeed.toml"
    path.write_text(deployed.variables["LAKEFEED_CONFIG_TOML"], encoding="utf-8")
    return path


def invoke(deployed, event, folder):
    """Hands `event` to lakefeed, with the deployed function's configuration; its lines."""
    path = folder / "event.json"
    path.write_text(json.dumps(event), encoding="utf-8")
    config = write_configuration(deployed, folder)
    run = lake.run("invoke", path, "--config", config, "--json", env=deployed.s3.environment)
    assert run.exit_code == 0, str(run)
    return [json.loads(line) for line in run.stdout.splitlines()]


def sweep(deployed, folder):
    """Does what the template's schedule asks for."""
    (target,) = RESOURCES["SweepRule"]["Properties"]["Targets"]
    return invoke(deployed, json.loads(target["Input"]), folder)


def event_of_queue(deployed) -> dict:
    """What Lambda hands over of the messages that are in the queue."""
    received = deployed.client("sqs").receive_message(
        QueueUrl=deployed.outputs["QueueUrl"], MaxNumberOfMessages=10)
    return {"Records": [
        {
            "messageId": message["MessageId"], "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"], "attributes": {"ApproximateReceiveCount": "1"},
            "eventSource": "aws:sqs", "awsRegion": server.REGION,
        }
        for message in received.get("Messages", [])
    ]}


def asked_of(deployed, request) -> tuple[str, str, str | None]:
    """The action of a request, its resource, and the prefix that it lists. Of DynamoDB only leases are
    asked for here."""
    if request.dynamodb_call:
        table = deployed.outputs["LeaseTableName"]
        arn = f"arn:aws:dynamodb:{server.REGION}:123456789012:table/{table}"
        return f"dynamodb:{request.dynamodb_call}", arn, None
    bucket, _, key = request.path.lstrip("/").partition("/")
    query = parse_qs(request.query, keep_blank_values=True)
    if not key:
        assert request.method == "GET" and "list-type" in query, request
        return "s3:ListBucket", f"arn:aws:s3:::{bucket}", query.get("prefix", [None])[0]
    action = {
        "GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject", "POST": "s3:PutObject",
        "DELETE": "s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject",
    }[request.method]
    return action, f"arn:aws:s3:::{bucket}/{key}", None


def test_what_lands_is_in_the_table_by_what_the_role_may(s3, tmp_path):
    deployed = stack.deploy(s3)
    deployed.announce_landings()
    s3.put(stack.LANDING, "landing/a.csv", "id\n1\n")
    s3.put(stack.LANDING, "elsewhere/b.csv", "id\n2\n")
    event = event_of_queue(deployed)
    assert "landing" in json.dumps(event) and "elsewhere" not in json.dumps(event)
    s3.requests.clear()
    receipt, answer = invoke(deployed, event, tmp_path)
    assert receipt["status"] == lake.COMMITTED and answer == {"batchItemFailures": []}
    assert s3.column(deployed.outputs["TableUri"], "id") == [1]
    asked = list(s3.requests)
    # What no event told of is found by the schedule; so large that it is uploaded in parts.
    numbers = random.Random(1)
    rows = "\n".join(str(numbers.getrandbits(63)) for _ in range(1_500_000))
    s3.put(stack.LANDING, "landing/large.csv", f"id\n{rows}\n")
    s3.requests.clear()
    taken, large = sorted(sweep(deployed, tmp_path), key=lambda receipt: receipt["source"])
    assert (taken["status"], large["rows"]) == (lake.DUPLICATE, 1_500_000)
    asked += s3.requests
    assert any(request.query.startswith("uploads") for request in asked)
    assert {request.dynamodb_call for request in asked} >= {"GetItem", "PutItem"}
    for request in asked:
        assert deployed.allows(*asked_of(deployed, request)), request


def test_the_queue_starts_the_function_and_hears_which_messages_failed(s3):
    deployed = stack.deploy(s3, BatchSize="7", MaximumConcurrency="3")
    (mapping,) = deployed.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BatchSize"] == 7 and mapping["ScalingConfig"] == {"MaximumConcurrency": 3}
    queue = deployed.outputs["QueueUrl"].rsplit("/", 1)[-1]
    assert mapping["EventSourceArn"].endswith(f":{queue}")
    attributes = deployed.client("sqs").get_queue_attributes(
        QueueUrl=deployed.outputs["QueueUrl"], AttributeNames=["All"])["Attributes"]
    assert json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"] == (
        deployed.outputs["DeadLetterQueueArn"])
    assert attributes["VisibilityTimeout"] == "1800"


def test_the_role_may_do_no_more(s3):
    deployed = stack.deploy(s3, TableBucket="lake")
    landing, lake_bucket = f"arn:aws:s3:::{stack.LANDING}", "arn:aws:s3:::lake"
    assert deployed.allows("s3:GetObject", f"{landing}/landing/a.csv")
    assert deployed.allows("s3:PutObject", f"{lake_bucket}/lake/events/_delta_log/0.json")
    assert deployed.allows("s3:ListBucket", lake_bucket, "lake/events/_delta_log/")
    for action, resource, prefix in [
        ("s3:GetObject", f"{landing}/elsewhere/a.csv", None),
        ("s3:PutObject", f"{landing}/landing/a.csv", None),
        ("s3:DeleteObject", f"{landing}/landing/a.csv", None),
        ("s3:ListBucket", landing, "elsewhere/"),
        ("s3:PutObject", f"{lake_bucket}/lake/events2/a", None),
        ("s3:ListBucket", lake_bucket, "lake/events2/"),
        ("s3:ListBucket", lake_bucket, ""),
        ("dynamodb:PutItem", "arn:aws:dynamodb:eu-central-1:123456789012:table/delta_log", None),
    ]:
        assert not deployed.allows(action, resource, prefix), (action, resource, prefix)


def test_a_bucket_that_was_there_is_heard_through_eventbridge(s3):
    place = {"LocationConstraint": server.REGION}
    s3.client("s3").create_bucket(Bucket=stack.LANDING, CreateBucketConfiguration=place)
    deployed = stack.deploy(s3, CreateLandingBucket="false", LandingPrefix="in/")
    rules = deployed.client("events").list_rules()["Rules"]
    (pattern,) = [json.loads(r["EventPattern"]) for r in rules if r.get("EventPattern")]
    assert pattern["detail"] == {
        "bucket": {"name": [stack.LANDING]}, "object": {"key": [{"prefix": "in/"}]},
    }
    statement = RESOURCES["QueuePolicy"]["Properties"]["PolicyDocument"]["Statement"][0]["Fn::If"]
    for sender in statement[1:]:
        # Nobody else's bucket or rule, even of the same service.
        assert set(sender["Condition"]) == {"ArnEquals", "StringEquals"}
        assert set(sender["Condition"]["StringEquals"]) == {"aws:SourceAccount"}
