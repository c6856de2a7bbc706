"""AWS Lambda on the loopback: the Runtime API that a function's process asks for its events, and what
Lambda does about it (deadlines, crashes, freezing), and a queue's batches as Lambda delivers them.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote_plus

import lake

BINARY = Path(os.environ.get("LAKEFEED_LAMBDA_BIN") or lake.BINARY.with_name("lakefeed-lambda"))
NAME = "lakefeed-test"
ARN = f"arn:aws:lambda:eu-central-1:123456789012:function:{NAME}"
INIT_SECONDS_MAX = 10
POLL_SECONDS = 0.05


@dataclass
class Outcome:
    """What one invocation came to, as who sent the event is told."""

    request_id: str
    seconds: float
    payload: object = None
    error: dict | None = None
    is_cold_start: bool = False
    stdout: list[dict] = field(default_factory=list)
    stderr: str = ""

    @property
    def receipts(self) -> list[dict]:
        return [line for line in self.stdout if "status" in line]

    @property
    def metrics(self) -> list[dict]:
        return [line for line in self.stdout if "_aws" in line]

    @property
    def failures(self) -> list[str]:
        """What a queue is told to deliver again."""
        return [item["itemIdentifier"] for item in self.payload["batchItemFailures"]]

    def statuses(self) -> dict[str, str]:
        return {r["source"].rsplit("/", 1)[-1]: r["status"] for r in self.receipts}


@dataclass
class Function:
    """What all instances of a function have in common."""

    environment: dict[str, str]
    timeout_seconds: float = 30
    memory_megabytes: int = 512
    # A command that the function is run through.
    prefix: tuple[str, ...] = ()
    # What is written into the header; the true deadline in milliseconds since 1970 unless set.
    deadline_ms: int | None = None

    def instance(self) -> "Instance":
        return Instance(self)


class RuntimeApi(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A process that is killed says nothing more, and that is not our error."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(*_)


class Instance:
    """One instance: a process at a time, which is started for an event and again after a crash, is
    killed at its deadline, and stands still between events."""

    def __init__(self, function: Function):
        self.function = function
        self.process: subprocess.Popen | None = None
        self.cold_starts = 0
        self.freezing = threading.Lock()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def invoke(self, event) -> Outcome:
        """Hands the process one event, and waits until it has answered, died or been killed."""
        request_id = str(uuid.uuid4())
        is_cold_start = self.process is None or self.process.poll() is not None
        began = time.monotonic()
        if is_cold_start:
            error = self.start()
            if error:
                return self.outcome(request_id, began, error=error, is_cold_start=True)
            began = time.monotonic()
        ends = time.time() + self.function.timeout_seconds
        deadline_ms = self.function.deadline_ms or int(ends * 1000)
        with self.freezing:
            self.events.put((request_id, deadline_ms, json.dumps(event)))
            self.kill_quietly(signal.SIGCONT)
        while time.time() < ends:
            try:
                kind, answered_id, body = self.answers.get(timeout=POLL_SECONDS)
            except queue.Empty:
                if self.process.poll() is not None:
                    error = {"errorType": "Runtime.ExitError", "errorMessage": self.exit_message()}
                    break
                continue
            assert answered_id == request_id, "it answered another event"
            told = {"error" if kind == "error" else "payload": body}
            return self.outcome(request_id, began, is_cold_start=is_cold_start, **told)
        else:
            self.kill_quietly(signal.SIGKILL)
            seconds = self.function.timeout_seconds
            message = f"{request_id} Task timed out after {seconds:.2f} seconds"
            error = {"errorType": "Sandbox.Timedout", "errorMessage": message}
        self.process.wait()
        return self.outcome(request_id, began, error=error, is_cold_start=is_cold_start)

    def start(self) -> dict | None:
        """Starts a process, and waits until it asks for an event; the error of one that doesn't."""
        self.stop()
        self.cold_starts += 1
        self.events, self.answers = queue.Queue(), queue.Queue()
        self.asked = threading.Event()
        self.lines, self.errors = [], []
        self.server = RuntimeApi(("127.0.0.1", 0), handler_of(self))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        environment = {
            **self.function.environment,
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.server.server_port}",
            "AWS_LAMBDA_FUNCTION_NAME": NAME,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.function.memory_megabytes),
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{NAME}",
            "AWS_LAMBDA_LOG_STREAM_NAME": f"2026/08/01/[$LATEST]{uuid.uuid4().hex}",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        }
        self.process = subprocess.Popen(
            [*self.function.prefix, str(BINARY)], env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", errors="replace",
        )
        self.readers = [
            threading.Thread(target=lambda f=f, l=l: l.extend(iter(f.readline, "")), daemon=True)
            for f, l in ((self.process.stdout, self.lines), (self.process.stderr, self.errors))
        ]
        for reader in self.readers:
            reader.start()
        ends = time.monotonic() + INIT_SECONDS_MAX
        while not self.asked.wait(POLL_SECONDS):
            if self.process.poll() is not None:
                try:
                    _, _, told = self.answers.get_nowait()
                    return told
                except queue.Empty:
                    return {"errorType": "Runtime.ExitError", "errorMessage": self.exit_message()}
            assert time.monotonic() < ends, "it asks for no event"
        return None

    def outcome(self, request_id, began, **told) -> Outcome:
        seconds = time.monotonic() - began
        if self.process.poll() is not None:
            for reader in self.readers:
                reader.join()
        time.sleep(0.01)  # What it said before it answered is on its way through a pipe.
        said = [json.loads(line) for line in list(self.lines) if line.startswith("{")]
        ours = [line for line in said if line.get("request_id") == request_id]
        return Outcome(request_id, seconds, stdout=ours, stderr="".join(self.errors), **told)

    def exit_message(self) -> str:
        code = self.process.wait()
        how = f"signal: {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        return f"Error: Runtime exited with error: {how}"

    def kill_quietly(self, number):
        try:
            self.process.send_signal(number)
        except ProcessLookupError:
            pass

    def stop(self):
        if self.process:
            self.kill_quietly(signal.SIGKILL)
            self.process.wait()
            for reader in self.readers:
                reader.join()
            self.process.stdout.close()
            self.process.stderr.close()
            self.process = None
            self.server.shutdown()
            self.server.server_close()


def handler_of(instance: Instance):
    """The Runtime API of one process."""
    process_events, answers, asked = instance.events, instance.answers, instance.asked

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            assert self.path == "/2018-06-01/runtime/invocation/next", self.path
            with instance.freezing:
                # Unless it is one that has died since.
                is_ours = instance.process and instance.events is process_events
                if is_ours and process_events.empty():
                    # Nothing runs in a function that has answered and asked for more.
                    instance.kill_quietly(signal.SIGSTOP)
            asked.set()
            request_id, deadline_ms, event = process_events.get()
            self.answer(200, event.encode(), {
                "Lambda-Runtime-Aws-Request-Id": request_id,
                "Lambda-Runtime-Deadline-Ms": str(deadline_ms),
                "Lambda-Runtime-Invoked-Function-Arn": ARN,
                "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0",
            })

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "null") \
                if "Content-Length" in self.headers else json.loads(self.read_chunks() or "null")
            path = self.path.removeprefix("/2018-06-01/runtime/")
            if path == "init/error":
                answers.put(("error", None, body))
            else:
                request_id, kind = re.fullmatch(r"invocation/([^/]+)/(response|error)", path).groups()
                answers.put((kind, request_id, body))
            self.answer(202, b'{"status":"OK"}\n', {})

        def read_chunks(self) -> bytes:
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def answer(self, status, body, headers):
            try:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # The process died while it was answered.

    return Handler


# --- a queue ---------------------------------------------------------------------------------


class Queue:
    """A queue of SQS with a dead-letter queue, and its event-source mapping.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """

    def __init__(self, s3, name: str, receives_max: int, visibility_seconds: int = 180):
        self.sqs = s3.client("sqs")
        self.dead_url = self.sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        redrive = {"deadLetterTargetArn": self.arn_of(self.dead_url), "maxReceiveCount": receives_max}
        self.url = self.sqs.create_queue(
            QueueName=name,
            Attributes={
                "RedrivePolicy": json.dumps(redrive), "VisibilityTimeout": str(visibility_seconds),
            },
        )["QueueUrl"]
        self.arn = self.arn_of(self.url)

    def arn_of(self, url: str) -> str:
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return found["Attributes"]["QueueArn"]

    def is_told_of(self, s3, bucket: str):
        """From now on the bucket announces its objects here."""
        configuration = {"QueueArn": self.arn, "Events": ["s3:ObjectCreated:*"]}
        s3.client("s3").put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [configuration]},
        )

    def receive(self) -> list[dict]:
        return self.sqs.receive_message(
            QueueUrl=self.url, AttributeNames=["All"], MaxNumberOfMessages=10,
        ).get("Messages", [])

    def deliver(self, instance: Instance) -> Outcome | None:
        """One batch to the function: what is done is deleted, and what is not is there again at once.
        Nothing, where nothing waits."""
        messages = self.receive()
        if not messages:
            return None
        outcome = instance.invoke(self.event_of(messages))
        if outcome.error:
            failed = {message["MessageId"] for message in messages}
        else:
            failed = set(outcome.failures)
        for action, of_failed in ((self.delete, False), (self.show_again, True)):
            chosen = [m for m in messages if (m["MessageId"] in failed) == of_failed]
            if chosen:
                action(chosen)
        return outcome

    def deliver_all(self, instance: Instance) -> list[Outcome]:
        """Until nothing waits."""
        return list(iter(lambda: self.deliver(instance), None))

    def event_of(self, messages: list[dict]) -> dict:
        return {
            "Records": [
                {
                    "messageId": message["MessageId"], "receiptHandle": message["ReceiptHandle"],
                    "body": message["Body"], "attributes": message["Attributes"],
                    "messageAttributes": {}, "md5OfBody": message["MD5OfBody"],
                    "eventSource": "aws:sqs", "eventSourceARN": self.arn,
                    "awsRegion": "eu-central-1",
                }
                for message in messages
            ]
        }

    def delete(self, messages: list[dict]):
        entries = [
            {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
            for number, message in enumerate(messages)
        ]
        self.sqs.delete_message_batch(QueueUrl=self.url, Entries=entries)

    def show_again(self, messages: list[dict]):
        entries = [
            {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}
            for number, message in enumerate(messages)
        ]
        self.sqs.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)

    def send(self, bodies: list[str]):
        for start in range(0, len(bodies), 10):
            entries = [
                {"Id": str(number), "MessageBody": body}
                for number, body in enumerate(bodies[start : start + 10])
            ]
            self.sqs.send_message_batch(QueueUrl=self.url, Entries=entries)

    def take_all(self) -> list[str]:
        """Empties the queue; the bodies of its messages."""
        bodies = []
        while messages := self.receive():
            bodies += [message["Body"] for message in messages]
            self.delete(messages)
        return bodies

    def dead(self) -> list[str]:
        """The keys that the dead letters announce."""
        keys = []
        while messages := self.sqs.receive_message(
            QueueUrl=self.dead_url, MaxNumberOfMessages=10
        ).get("Messages"):
            for message in messages:
                records = json.loads(message["Body"])["Records"]
                keys += [unquote_plus(record["s3"]["object"]["key"]) for record in records]
        return keys
