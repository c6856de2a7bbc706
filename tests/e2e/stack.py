"""template.yaml, translated by SAM's own translator and deployed to moto's CloudFormation.

moto makes the buckets, queues, tables, rules, the role and the function, without running it. It does not
know queue policies, alarms and a bucket's notification; `announce_landings` makes up for the last."""

import ast
import io
import json
import zipfile
from dataclasses import dataclass
from fnmatch import fnmatchcase

from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

import lake
import s3 as server

NAME = "lakefeed"
LANDING = "landing-of-ours"
TERRAFORM = lake.REPOSITORY / "infra" / "aws"


def template() -> dict:
    """The template, with intrinsic functions in their long form."""
    return yaml_parse((lake.REPOSITORY / "template.yaml").read_text(encoding="utf-8"))


@dataclass
class Stack:
    """What was deployed."""

    s3: server.S3
    resources: dict
    outputs: dict[str, str]
    variables: dict[str, str]
    statements: list[dict]

    def allows(self, action: str, resource: str, prefix: str | None = None) -> bool:
        """Whether the function's role may do this; `prefix` is what a listing asks for."""
        return any(
            action in as_list(statement["Action"])
            and any(fnmatchcase(resource, pattern) for pattern in as_list(statement["Resource"]))
            and has_prefix(statement.get("Condition"), prefix)
            for statement in self.statements
        )

    def announce_landings(self):
        """Has the landing bucket send what the template says that it sends; to a queue that is left
        alone, because moto would start the function in Docker."""
        for mapping in self.client("lambda").list_event_source_mappings()["EventSourceMappings"]:
            self.client("lambda").update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        (queue,) = self.resources["NewLandingBucket"]["Properties"]["NotificationConfiguration"][
            "QueueConfigurations"]
        rules = [
            {"Name": rule["Name"], "Value": self.resolved(rule["Value"])}
            for rule in queue["Filter"]["S3Key"]["Rules"]
        ]
        assert queue["Queue"] == {"Fn::GetAtt": ["Queue", "Arn"]}
        arn = self.client("sqs").get_queue_attributes(
            QueueUrl=self.outputs["QueueUrl"], AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self.client("s3").put_bucket_notification_configuration(
            Bucket=LANDING,
            NotificationConfiguration={"QueueConfigurations": [
                {"QueueArn": arn, "Events": [queue["Event"]], "Filter": {"Key": {"FilterRules": rules}}},
            ]},
        )

    def resolved(self, value):
        """A literal, or the default of the parameter that it refers to."""
        if isinstance(value, dict):
            return template()["Parameters"][value["Ref"]]["Default"]
        return value

    def client(self, service: str):
        return self.s3.client(service)


def deploy(s3: server.S3, **parameters) -> Stack:
    """Deploys the template; every parameter that is not given has its default."""
    parameters = {"LandingBucket": LANDING, **parameters}
    source = template()
    source["Resources"]["LakefeedFunction"]["Properties"]["CodeUri"] = upload_function(s3)
    values = {name: of.get("Default") for name, of in source["Parameters"].items()}
    translated = Translator({}, Parser()).translate(source, {**values, **parameters})
    cloudformation = s3.client("cloudformation")
    cloudformation.create_stack(
        StackName=NAME,
        TemplateBody=json.dumps(translated),
        Parameters=[
            {"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()
        ],
        Capabilities=["CAPABILITY_IAM"],
    )
    (stack,) = cloudformation.describe_stacks(StackName=NAME)["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE", stack
    function = s3.client("lambda").get_function_configuration(FunctionName=NAME)
    # moto leaves null where AWS::NoValue was.
    variables = {k: v for k, v in function["Environment"]["Variables"].items() if v is not None}
    return Stack(
        s3=s3,
        resources=translated["Resources"],
        outputs={output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]},
        variables=variables,
        statements=statements_of(s3, function["Role"].rsplit("/", 1)[-1]),
    )


def upload_function(s3: server.S3) -> dict[str, str]:
    """Anything at all, where `sam deploy` puts the function's archive."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr("bootstrap", "")
    place = {"LocationConstraint": server.REGION}
    s3.client("s3").create_bucket(Bucket="artifacts", CreateBucketConfiguration=place)
    s3.put("artifacts", "function.zip", archive.getvalue())
    return {"Bucket": "artifacts", "Key": "function.zip"}


def statements_of(s3: server.S3, role: str) -> list[dict]:
    document = s3.client("iam").get_role_policy(RoleName=role, PolicyName="lakefeed")[
        "PolicyDocument"]
    # moto answers with the repr of what it was given.
    document = ast.literal_eval(document) if isinstance(document, str) else document
    return [statement for statement in document["Statement"] if statement is not None]


def as_list(value) -> list:
    return value if isinstance(value, list) else [value]


def has_prefix(condition: dict | None, prefix: str | None) -> bool:
    if condition is None:
        return True
    ((operator, keys),) = condition.items()
    assert operator == "StringLikeIfExists" and list(keys) == ["s3:prefix"], condition
    return prefix is None or any(fnmatchcase(prefix, like) for like in as_list(keys["s3:prefix"]))
