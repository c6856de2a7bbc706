"""The function behind cargo-lambda's emulator of the Runtime API: a second opinion on our own."""

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import lake
from runtime_api import BINARY
from test_lambda import AWS, SCHEDULE, TABLE, announcing, configuration, function, put_all

REQUIREMENT = "cargo-lambda==1.9.2"
# What the emulator calls the function: one of the binaries of the package that it is started in.
NAME = "lakefeed-lambda"
START_SECONDS_MAX = 20
INVOKE_SECONDS_MAX = 30


@pytest.fixture(scope="session")
def cargo_lambda() -> Path:
    """The program, fetched once. It wants Zig for compiling, which nobody does here."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    tools = Path(os.environ.get("LAKEFEED_TOOLS") or cache / "lakefeed" / "tools")
    folder = tools / REQUIREMENT.replace("==", "-")
    if not (folder / "complete").exists():
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
             "--no-deps", "--upgrade", "--target", folder, REQUIREMENT],
            capture_output=True, encoding="utf-8", timeout=100,
        )
        if done.returncode != 0:
            pytest.skip(f"NOT TESTED: {REQUIREMENT} cannot be installed: {done.stderr[-500:]}")
        (folder / "complete").touch()
    return folder / "bin" / "cargo-lambda"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(command, log: Path, **options):
    with log.open("w") as out:
        process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=out,
            stderr=subprocess.STDOUT, **options,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def invoke(cargo_lambda, s3, tmp_path):
    """Starts the emulator, and the function as one starts it beside that; what invokes it, and gives its
    answer or the text of its error, and what has been logged."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "Cargo.toml").write_text(
        f"[package]\nname = 'emulated'\nversion = '0.0.0'\n[[bin]]\nname = '{NAME}'\npath = 'main.rs'\n"
    )
    (package / "main.rs").write_text("fn main() {}\n")
    port = free_port()
    here = ["--invoke-address", "127.0.0.1", "--invoke-port", str(port)]
    watch = [cargo_lambda, "lambda", "watch", "--only-lambda-apis", "--ignore-changes", *here]
    environment = {
        **function(s3, configuration()).environment,
        "AWS_LAMBDA_RUNTIME_API": f"http://127.0.0.1:{port}/.rt/{NAME}",
        "AWS_LAMBDA_FUNCTION_NAME": NAME, "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
    }
    log = tmp_path / "function.log"

    def invoke(event) -> tuple[object, str | None, str]:
        if not isinstance(event, Path):
            event, content = tmp_path / "event.json", event
            event.write_text(json.dumps(content))
        done = subprocess.run(
            [cargo_lambda, "lambda", "invoke", *here, "--data-file", event, NAME],
            capture_output=True, encoding="utf-8", timeout=INVOKE_SECONDS_MAX, cwd=package,
        )
        if done.returncode != 0:
            return None, done.stderr, log.read_text()
        return json.loads(done.stdout), None, log.read_text()

    with running(watch, tmp_path / "emulator.log", cwd=package) as emulator:
        ends = time.monotonic() + START_SECONDS_MAX
        while emulator.poll() is None and time.monotonic() < ends:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        else:
            pytest.fail((tmp_path / "emulator.log").read_text())
        with running([BINARY], log, env=environment) as process:
            yield invoke
            assert process.poll() is None, log.read_text()


def test_a_batch_is_taken_and_what_failed_is_named(s3, invoke):
    """Its deadline is 600,000 ms after 1970, which is none, and keeps it from nothing."""
    put_all(s3, {"orders/a.csv": "id\n1\n2\n", "orders/b.csv": "id\nx,y\n"})
    answer, error, log = invoke(announcing("orders/a.csv", "orders/b.csv"))
    assert error is None and answer == {"batchItemFailures": [{"itemIdentifier": "orders/b.csv"}]}, log
    assert '"deadline_ms":600000' in log and "this is no deadline" in log
    assert s3.column(TABLE, "id") == [1, 2]
    put_all(s3, {"orders/b.csv": "id\n3\n"})
    answer, error, log = invoke(announcing("orders/a.csv", "orders/b.csv"))
    assert error is None and answer == {"batchItemFailures": []}, log
    assert s3.column(TABLE, "id") == [1, 2, 3]
    receipts = [json.loads(line) for line in log.splitlines() if '"status"' in line]
    statuses = [receipt["status"] for receipt in receipts]
    assert sorted(statuses) == [lake.COMMITTED, lake.COMMITTED, lake.DUPLICATE, lake.FAILED]


def test_it_answers_every_event_as_in_our_own_emulator(s3, invoke):
    events = [*sorted(AWS.glob("*.json")), *sorted(SCHEDULE.glob("*.json"))]
    nonsense = [{"hello": "world"}, [1], {"lakefeed": {"sweep": "invoices"}}]
    assert len(events) > 15
    with function(s3).instance() as instance:
        for event in [*events, *nonsense]:
            content = json.loads(event.read_text()) if isinstance(event, Path) else event
            ours = instance.invoke(content)
            answer, error, log = invoke(event)
            assert (error is None) == (ours.error is None), (event, error, ours)
            if error is None:
                assert answer == ours.payload, (event, ours)
            else:
                assert ours.error["errorType"] in error, (event, error, ours)
