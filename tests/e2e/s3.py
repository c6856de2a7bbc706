"""S3 and DynamoDB on the loopback: moto's server, one request at a time, with a hook for faults, and behind
a check of signatures and of signed bodies, which moto has not."""

import io
import os
import re
import socket
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Callable

import boto3
import deltalake
import duckdb
import polars
import pyarrow
import requests
from botocore.config import Config
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

import lake
import signatures

REGION = "eu-central-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


@dataclass
class Request:
    """One request as the server saw it; the path is percent-decoded."""

    method: str
    path: str
    query: str
    headers: dict[str, str]

    @property
    def dynamodb_call(self) -> str | None:
        """The call's name, where it is one of DynamoDB's."""
        return self.headers.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2] or None


CUT = "000 the connection is cut"
HUNG = "000 the connection stays, and nothing comes"


@dataclass
class Fault:
    """Answers `status` to the first `times` requests that `wanted` picks; with `effect`, once the
    server has done what it was asked, else instead. The status CUT cuts the connection, and HUNG
    leaves it open without an answer; with none, the server's own answer is given. Meanwhile `delay_seconds` pass, for everybody."""

    wanted: Callable[[Request], bool]
    status: str | None = "500 Internal Server Error"
    effect: bool = False
    times: int = 1
    headers: list[tuple[str, str]] = field(default_factory=list)
    delay_seconds: float = 0
    # Whether a byte of the request's body is another when it arrives.
    flips: bool = False
    struck: int = 0


@dataclass
class S3:
    """A running server."""

    endpoint: str
    requests: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    # Files that are served as they are, by path: moto would hold them, and copy them for each range.
    files: dict[str, Path] = field(default_factory=dict)
    # What was refused for its signature, or for what its body became.
    refused: list[tuple[Request, signatures.Refusal]] = field(default_factory=list)

    def client(self, service: str):
        return boto3.client(
            service, endpoint_url=self.endpoint, region_name=REGION,
            aws_access_key_id="test", aws_secret_access_key="test",
            config=Config(s3={"addressing_style": "path"}),
        )

    @property
    def environment(self) -> dict[str, str]:
        """What lakefeed is told by its environment."""
        ambient = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        return {
            **ambient, **CREDENTIALS, "AWS_REGION": REGION, "AWS_ALLOW_HTTP": "true",
            "AWS_ENDPOINT_URL": self.endpoint,
        }

    def put(self, bucket: str, key: str, body: str | bytes):
        self.client("s3").put_object(Bucket=bucket, Key=key, Body=body)

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        pages = self.client("s3").get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=bucket, Prefix=prefix)
        return [entry["Key"] for page in found for entry in page.get("Contents", [])]

    def open_uploads(self, bucket: str) -> list[str]:
        found = self.client("s3").list_multipart_uploads(Bucket=bucket)
        return [upload["Key"] for upload in found.get("Uploads", [])]

    def read(self, table: str) -> list[dict]:
        """The rows of a Delta table, on which all readers agree."""
        by_reader = [lake.in_order(reader(table)) for reader in (
            self.read_with_deltalake, self.read_with_duckdb, self.read_with_polars)]
        assert by_reader[0] == by_reader[1] == by_reader[2]
        return by_reader[0]

    def column(self, table: str, name: str) -> list:
        return sorted(row[name] for row in self.read(table))

    def read_with_deltalake(self, table: str) -> list[dict]:
        opened = deltalake.DeltaTable(table, storage_options=self.storage_options)
        rows = deltalake.QueryBuilder().register("t", opened).execute("SELECT * FROM t")
        return pyarrow.table(rows).to_pylist()

    def read_with_polars(self, table: str) -> list[dict]:
        return polars.read_delta(table, storage_options=self.storage_options).to_dicts()

    def read_with_duckdb(self, table: str) -> list[dict]:
        return self.query(table, "SELECT * FROM t").to_arrow_table().to_pylist()

    def query(self, table: str, query: str) -> duckdb.DuckDBPyConnection:
        """What DuckDB says to a query about a Delta table, which it calls `t`."""
        connection = lake.connect("delta", "httpfs")
        host = self.endpoint.removeprefix("http://")
        connection.execute(
            f"CREATE SECRET (TYPE s3, KEY_ID 'test', SECRET 'test', REGION '{REGION}',"
            f" ENDPOINT '{host}', URL_STYLE 'path', USE_SSL false)"
        )
        connection.execute(f"CREATE VIEW t AS SELECT * FROM delta_scan('{table}')")
        return connection.execute(query)

    @property
    def storage_options(self) -> dict[str, str]:
        """What other tools are told."""
        return {
            **CREDENTIALS, "AWS_REGION": REGION, "AWS_ALLOW_HTTP": "true",
            "AWS_ENDPOINT_URL": self.endpoint,
        }


def serve_file(path: Path, request: Request, start_response):
    """One object as S3 serves it, for readers that pin its version and ask for ranges."""
    stat = path.stat()
    etag = f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'
    if request.headers.get("HTTP_IF_MATCH", etag) != etag:
        start_response("412 Precondition Failed", [("Content-Length", "0")])
        return [b""]
    first, last, status = 0, stat.st_size - 1, "200 OK"
    headers = [("ETag", etag), ("Last-Modified", formatdate(stat.st_mtime, usegmt=True))]
    if ranged := re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("HTTP_RANGE", "")):
        first, last = int(ranged[1]), min(int(ranged[2] or last), last)
        status = "206 Partial Content"
        headers.append(("Content-Range", f"bytes {first}-{last}/{stat.st_size}"))
    start_response(status, [*headers, ("Content-Length", str(last - first + 1))])
    if request.method == "HEAD":
        return [b""]
    with path.open("rb") as file:
        file.seek(first)
        return [file.read(last - first + 1)]


def hang_up_on_nobody(connection: socket.socket) -> socket.socket:
    """The other end sees what is returned, which stays open and silent as long as somebody holds it.
    The server goes on with `connection`, and answers nobody."""
    held = connection.dup()
    nobody, _ = socket.socketpair()
    os.dup2(nobody.fileno(), connection.fileno())
    return held


def flip_a_byte(environ: dict):
    body = bytearray(signatures.take_body(environ))
    body[len(body) // 2] ^= 1
    environ["wsgi.input"] = io.BytesIO(body)


class Quiet(WSGIRequestHandler):
    # One that connects and asks nothing, as a client's pool may, must not hold up all others.
    timeout = 2

    def log(self, *_):
        pass


def create_log_table(client):
    """The DynamoDB table of S3DynamoDBLogStore, as Spark creates it."""
    key = {"tablePath": "HASH", "fileName": "RANGE"}
    client.create_table(
        TableName="delta_log",
        AttributeDefinitions=[{"AttributeName": k, "AttributeType": "S"} for k in key],
        KeySchema=[{"AttributeName": k, "KeyType": v} for k, v in key.items()],
        ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 5},
    )


@contextmanager
def serve():
    """Starts a server with nothing in it. moto is not atomic under threads, so it gets none."""
    moto = DomainDispatcherApplication(create_backend_app)
    s3 = S3(endpoint="")
    held = []

    def application(environ, start_response):
        headers = {k: v for k, v in environ.items() if k.startswith("HTTP_")}
        request = Request(
            environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"], headers
        )
        s3.requests.append(request)

        def checked(environ, start_response):
            if refusal := signatures.refusal(environ, {"test": "test"}):
                s3.refused.append((request, refusal))
                return refusal.answer(request.method, start_response)
            if request.path in s3.files:
                return serve_file(s3.files[request.path], request, start_response)
            return moto(environ, start_response)

        for fault in s3.faults:
            if fault.struck < fault.times and fault.wanted(request):
                fault.struck += 1
                time.sleep(fault.delay_seconds)
                if fault.flips:
                    flip_a_byte(environ)
                if fault.status is None:
                    continue
                if fault.effect:
                    outcome = []
                    list(checked(environ, lambda status, *_: outcome.append(status)))
                    assert outcome[0][0] in "24", outcome
                else:
                    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                if fault.status == CUT:
                    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
                if fault.status == HUNG:
                    held.append(hang_up_on_nobody(environ["werkzeug.socket"]))
                start_response(fault.status, [("Content-Length", "0"), *fault.headers])
                return [b""]
        return checked(environ, start_response)

    server = make_server("127.0.0.1", 0, application, threaded=False, request_handler=Quiet)
    s3.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        # The state is the process's, not the server's.
        requests.post(f"{s3.endpoint}/moto-api/reset", timeout=10).raise_for_status()
        yield s3
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        for connection in held:
            connection.close()


if __name__ == "__main__":
    # For tests that are not Python's: serves until its standard input ends, as it does with whoever
    # started it.
    with serve() as started:
        place = {"LocationConstraint": REGION}
        started.client("s3").create_bucket(Bucket="conformance", CreateBucketConfiguration=place)
        create_log_table(started.client("dynamodb"))
        print(started.endpoint, flush=True)
        sys.stdin.read()
