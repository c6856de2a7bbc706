"""Fixtures shared by all acceptance tests."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

import lake
import s3 as server


def pytest_configure(config):
    if not lake.BINARY.is_file():
        pytest.exit(f"{lake.BINARY} is not there: run tests/run, or set LAKEFEED_BIN", returncode=2)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI a test that could not run has failed: nobody reads the skips."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"skipped under CI: {call.excinfo.value if call.excinfo else ''}"
    return report


@pytest.fixture
def table(tmp_path) -> Path:
    """Where the test's table will be; its folder is there, the table is not."""
    folder = tmp_path / "lake"
    folder.mkdir()
    return folder / "table"


@pytest.fixture
def inbox(tmp_path) -> Path:
    """An empty folder for source files."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def public_folder():
    """An empty folder that every user of the machine can read and enter."""
    folder = Path(tempfile.mkdtemp(prefix="lakefeed-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def s3():
    """A server of S3 and SQS with an empty bucket to land in, and one for the table."""
    with server.serve() as running:
        for bucket in ("landing", "lake"):
            place = {"LocationConstraint": server.REGION}
            running.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
        yield running
