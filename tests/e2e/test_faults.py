"""Whatever is wrong with one file, its receipt says so, and its neighbours are committed."""

import gzip
import io
import os
import shutil
import stat
import subprocess
import threading
import time
import warnings
from contextlib import contextmanager

import pyarrow
import pyarrow.parquet
import pytest

import lake

HEADER = "id,name,amount\n"
GOOD_ROWS = 50
NOBODY = 65534


def rows(first, count):
    return "".join(f"{i},name {i},{i}.25\n" for i in range(first, first + count))


def write_good(path, first, count=GOOD_ROWS):
    path.write_text(HEADER + rows(first, count))
    return path


@pytest.fixture
def started(inbox, table):
    """A table with rows 0..50, so that the schema is known."""
    lake.ingest_all(write_good(inbox / "start.csv", 0), table=table)
    return table


def parquet_bytes():
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"id": [1, 2, 3]}), sink)
    return sink.getvalue()


PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f64540"
    "0000000049454e44ae426082"
)

# What is in the bad file, and where the fault is: (line, column). Line 1 is the header.
BAD_CONTENTS = {
    "a PNG": (PNG, None),
    "Parquet": (parquet_bytes(), None),
    "a wrong type in the last line": (f"{HEADER}{rows(900, 30)}x30,late,1.5\n".encode(), (32, "id")),
    "a wrong type, no line end": (f"{HEADER}{rows(900, 3)}904,late,1.5.5".encode(), (5, "amount")),
    "a field too many": (f"{HEADER}{rows(900, 7)}907,a,1.5,more\n{rows(908, 3)}".encode(), (9, None)),
    "a field too few": (f"{HEADER}{rows(900, 7)}907,a\n{rows(908, 3)}".encode(), (9, None)),
    "invalid UTF-8": (f"{HEADER}{rows(900, 4)}904,".encode() + b"caf\xe9,1.5\n", (6, None)),
    "a quote without end": (f'{HEADER}{rows(900, 4)}904,"open,1.5\n{rows(905, 3)}'.encode(), (6, None)),
    "after a quoted line end": (f'{HEADER}900,"a\nb",1.5\nx,c,2.5\n'.encode(), (4, "id")),
    "a broken gzip": (gzip.compress(rows(900, 500).encode())[:-20], None),
}


@pytest.mark.parametrize("case", BAD_CONTENTS)
def test_a_bad_file_is_alone(started, inbox, case):
    content, place = BAD_CONTENTS[case]
    bad = inbox / "m_bad.csv"
    bad.write_bytes(content)
    write_good(inbox / "a_good.csv", 100)
    write_good(inbox / "z_good.csv", 200)

    run = lake.ingest(inbox, table=started)
    assert run.exit_code == 1, str(run)
    assert run.statuses() == {
        "start.csv": lake.DUPLICATE,
        "a_good.csv": lake.COMMITTED,
        "m_bad.csv": lake.FAILED,
        "z_good.csv": lake.COMMITTED,
    }
    assert_blamed(run, bad, ("source_invalid", "schema_mismatch"))
    if place:
        line, column = place
        start_of_row = sum(map(len, content.splitlines(keepends=True)[: line - 1]))
        at = run.receipt(bad)["error"]
        assert (at["line"], at["byte"]) == (line, start_of_row), str(run)
        assert column is None or at["column"] == column, str(run)
    good_ids = [*range(50), *range(100, 150), *range(200, 250)]
    assert lake.column(started, "id") == good_ids

    write_good(bad, 300)
    mended = lake.ingest_all(inbox, table=started)
    assert mended.statuses().pop("m_bad.csv") == lake.COMMITTED
    assert lake.column(started, "id") == [*good_ids, *range(300, 350)]


def assert_blamed(run, path, kinds):
    """`path` has a receipt that says why; lake.ingest has seen that it says what to do."""
    assert run.receipt(path)["error"]["kind"] in kinds, str(run)


def test_a_bad_last_line_of_a_large_file(inbox, table):
    """Too large to be judged before it is written: what was written stays invisible."""
    bad = inbox / "large.csv"
    good_part = HEADER + "".join(f"{i},{'x' * 90},{i}.25\n" for i in range(300_000))
    bad.write_text(good_part + "last,x,1.5\n")
    good = write_good(inbox / "small.csv", 0)
    run = lake.ingest(inbox, table=table)
    assert run.statuses() == {"large.csv": lake.FAILED, "small.csv": lake.COMMITTED}, str(run)
    assert_blamed(run, bad, ("source_invalid",))
    at = run.receipt(bad)["error"]
    assert (at["line"], at["byte"], at["column"]) == (300_002, len(good_part), "id")
    assert lake.column(table, "id") == list(range(GOOD_ROWS))
    assert lake.unnamed_files(table) == set()

    bad.write_text(good_part)
    assert lake.ingest_all(inbox, table=table).receipt(bad)["rows"] == 300_000
    assert lake.ingest_all(inbox, table=table).receipt(good)["status"] == lake.DUPLICATE


def test_a_missing_file(inbox, table):
    good, missing = write_good(inbox / "good.csv", 0), inbox / "missing.csv"
    run = lake.ingest(good, missing, table=table)
    assert run.statuses() == {"good.csv": lake.COMMITTED, "missing.csv": lake.FAILED}, str(run)
    assert_blamed(run, missing, ("source_gone",))
    assert lake.column(table, "id") == list(range(50))

    write_good(missing, 100)
    assert lake.ingest_all(good, missing, table=table).receipt(missing)["rows"] == 50


def test_an_empty_file_waits_for_content(inbox, table):
    good, empty = write_good(inbox / "good.csv", 0), inbox / "empty.csv"
    empty.touch()
    for _ in range(2):
        run = lake.ingest_all(inbox, table=table)
        assert run.receipt(empty)["status"] == lake.SKIPPED, str(run)
        assert "empty" in run.receipt(empty)["reason"], str(run)
    assert run.receipt(good)["status"] == lake.DUPLICATE

    write_good(empty, 100)
    assert lake.ingest_all(inbox, table=table).receipt(empty)["status"] == lake.COMMITTED
    assert lake.column(table, "id") == [*range(50), *range(100, 150)]


def test_an_empty_file_alone_makes_no_table(inbox, table):
    (inbox / "empty.csv").touch()
    assert lake.ingest_all(inbox, table=table).statuses() == {"empty.csv": lake.SKIPPED}
    assert not table.exists()


def test_a_header_alone_is_zero_rows(started, inbox):
    header = inbox / "header.csv"
    header.write_text(HEADER)
    receipt = lake.ingest_all(header, table=started).receipt(header)
    assert (receipt["status"], receipt["rows"]) == (lake.COMMITTED, 0)
    again = lake.ingest_all(header, table=started)
    assert again.receipt(header)["status"] == lake.DUPLICATE
    assert lake.column(started, "id") == list(range(50))


def test_a_header_alone_makes_no_table(inbox, table):
    header = inbox / "header.csv"
    header.write_text(HEADER)
    assert lake.ingest_all(header, table=table).receipt(header)["status"] == lake.SKIPPED
    assert not table.exists()

    write_good(header, 0)
    assert lake.ingest_all(header, table=table).receipt(header)["status"] == lake.COMMITTED
    assert lake.column(table, "id") == list(range(50))


# --- storage that refuses --------------------------------------------------------------------


@contextmanager
def small_disk(folder):
    """A disk of 6 MB at `folder`; yields what to do to it to make it large.

    As root on Linux it is a real, small file system. Elsewhere a limit on the size of a file
    stands in for it, which fails at the same place with another errno.
    """
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    if os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0:
        try:
            grow = ["mount", "-o", "remount,size=200m", str(folder)]
            yield (), lambda: subprocess.run(grow, check=True)
        finally:
            subprocess.run(["umount", str(folder)], check=True)
    else:
        warnings.warn("no tmpfs can be mounted: a limit of 6 MB on each file stands in for it")
        # In blocks of 512 bytes; the signal must be ignored for write() to return an error.
        limited = "trap '' XFSZ; ulimit -f 12288; exec \"$@\""
        yield ("/bin/sh", "-c", limited, "sh"), lambda: None


def test_a_full_disk(inbox, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    with small_disk(disk) as (prefix, grow):
        table = disk / "table"
        small = write_good(inbox / "small.csv", 0)
        large = inbox / "large.csv"
        noise = os.urandom(15_000_000).hex()
        lines = (f"{i},{noise[i * 300 : i * 300 + 300]},1.5\n" for i in range(100_000))
        large.write_text(HEADER + "".join(lines))

        run = lake.ingest(inbox, table=table, prefix=prefix)
        assert run.statuses() == {"small.csv": lake.COMMITTED, "large.csv": lake.FAILED}, str(run)
        assert_blamed(run, large, ("storage_unavailable",))
        assert lake.column(table, "id") == list(range(50))
        assert lake.unnamed_files(table) == set(), "the disk stays full of what failed"

        grow()
        mended = lake.ingest_all(inbox, table=table)
        assert mended.receipt(large)["rows"] == 100_000
        assert mended.receipt(small)["status"] == lake.DUPLICATE
        assert len(lake.read(table)) == 100_050


@pytest.fixture
def as_nobody(public_folder):
    """Runs lakefeed as a user whom file modes stop; they do not stop root."""
    if os.geteuid() != 0:
        return {}
    binary = shutil.copy(lake.BINARY, public_folder / "lakefeed")
    return {"executable": binary, "user": NOBODY, "group": NOBODY, "extra_groups": []}


@contextmanager
def without_permission(paths, mode):
    before = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
    for path in before:
        path.chmod(mode)
    try:
        yield
    finally:
        for path, mode in before.items():
            path.chmod(mode)


def folders(root):
    return [root, *(path for path in root.rglob("*") if path.is_dir())]


def give_to_nobody(folder):
    for path in [folder, *folder.rglob("*")]:
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)


def test_an_unwritable_table(public_folder, as_nobody):
    folder = public_folder / "data"
    folder.mkdir()
    give_to_nobody(folder)
    first = write_good(folder / "first.csv", 0)
    table = folder / "table"
    lake.ingest_all(first, table=table, **as_nobody)
    second = write_good(folder / "second.csv", 100)
    before = lake.listing(table)
    with without_permission(folders(table), 0o555):
        run = lake.ingest(second, table=table, **as_nobody)
    assert run.exit_code == 1, str(run)
    assert run.receipt(second)["error"]["kind"] == "storage_unavailable", str(run)
    assert lake.listing(table) == before
    lake.ingest_all(second, table=table, **as_nobody)
    assert lake.column(table, "id") == [*range(50), *range(100, 150)]


def test_an_unwritable_place_for_a_new_table(public_folder, as_nobody):
    folder = public_folder / "data"
    folder.mkdir()
    source = write_good(folder / "source.csv", 0)
    give_to_nobody(folder)
    with without_permission([folder], 0o555):
        run = lake.ingest(source, table=folder / "table", **as_nobody)
    assert run.exit_code == 1, str(run)
    assert run.receipt(source)["error"]["kind"] == "storage_unavailable", str(run)
    assert not (folder / "table").exists()


def test_an_unreadable_file(public_folder, as_nobody):
    folder = public_folder / "data"
    folder.mkdir()
    good = write_good(folder / "good.csv", 0)
    secret = write_good(folder / "secret.csv", 100)
    give_to_nobody(folder)
    with without_permission([secret], 0o000):
        run = lake.ingest(good, secret, table=folder / "table", **as_nobody)
    assert run.statuses() == {"good.csv": lake.COMMITTED, "secret.csv": lake.FAILED}, str(run)
    assert_blamed(run, secret, ("source_unavailable",))
    assert lake.column(folder / "table", "id") == list(range(50))


# --- files that change while they are read ---------------------------------------------------

MOVING_ROWS = 200_000
FIRST_REVISION = 100_000


class MovingFile:
    """A file whose every row carries the number of its version, rewritten without pause.

    Overwriting keeps inode and size, and is one write() followed by a time of change of its own,
    so that a mixture of two versions exists only while the file is visibly changing.
    """

    def __init__(self, path, by_rename):
        self.path, self.by_rename = path, by_rename
        lines = (f"{i:06},@@@@@@,{'p' * 90}\n" for i in range(MOVING_ROWS))
        self.template = ("id,revision,padding\n" + "".join(lines)).encode()
        self.revision = FIRST_REVISION
        self.write_next()

    def write_next(self):
        self.revision += 1
        content = self.template.replace(b"@@@@@@", b"%06d" % self.revision)
        if self.by_rename:
            scratch = self.path.with_suffix(".scratch")
            scratch.write_bytes(content)
            os.replace(scratch, self.path)
            return
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT)
        try:
            assert os.pwrite(descriptor, content, 0) == len(content)
        finally:
            os.close(descriptor)
        now = time.time_ns()
        os.utime(self.path, ns=(now, now))

    @contextmanager
    def moving(self, every_seconds):
        stop = threading.Event()

        def work():
            while not stop.wait(every_seconds):
                self.write_next()

        writer = threading.Thread(target=work)
        writer.start()
        try:
            yield
        finally:
            stop.set()
            writer.join()


@pytest.mark.parametrize("by_rename", [False, True], ids=["overwritten", "renamed over"])
def test_a_file_that_changes_while_it_is_read(inbox, table, tmp_path, by_rename):
    arguments = lake.feed(tmp_path, on_changed="append")
    good = write_small_revision(inbox / "good.csv")
    moving = MovingFile(inbox / "moving.csv", by_rename)
    commits = []

    def ingest():
        run = lake.ingest(good, moving.path, table=table, arguments=arguments)
        receipt = run.receipt(moving.path)
        if receipt["status"] == lake.FAILED:
            assert_blamed(run, moving.path, ("source_changed",))
        elif receipt["status"] == lake.COMMITTED:
            assert receipt["rows"] == MOVING_ROWS
            commits.append(receipt["version"])
        return receipt["status"]

    statuses = []
    for every_seconds in [0.01] * 5 + [0.3] * 5:
        with moving.moving(every_seconds):
            statuses.append(ingest())
    print(f"while it moved: {statuses}")
    # Renamed over, what is open is read to its end as it was: nothing need ever fail.
    assert by_rename or lake.FAILED in statuses, "the file was never caught changing"
    # At rest its last version is taken, unless that was already done.
    assert ingest() in (lake.COMMITTED, lake.DUPLICATE)

    per_revision = revisions(table)
    assert per_revision.pop(FIRST_REVISION) == GOOD_ROWS
    assert set(per_revision.values()) == {MOVING_ROWS}
    assert len(per_revision) == len(commits)
    assert moving.revision in per_revision


def write_small_revision(path):
    lines = (f"{i:06},{FIRST_REVISION},good\n" for i in range(GOOD_ROWS))
    path.write_text("id,revision,padding\n" + "".join(lines))
    return path


def revisions(table):
    """How many rows there are of each revision, on which all readers agree."""
    query = "SELECT CAST(revision AS BIGINT), count(*) FROM t GROUP BY 1"
    return dict(lake.aggregate(table, query))


# --- bad usage -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, right_name",
    [
        (["--tabel", "lake"], "--table"),
        (["--table", "lake", "--format", "delt"], "delta"),
        (["--table", "lake", "--memory", "lots"], "--memory"),
        (["--table", "ftp://host/lake"], "file"),
        ([], "--table"),
    ],
)
def test_bad_usage(inbox, arguments, right_name):
    write_good(inbox / "good.csv", 0)
    before = lake.listing(inbox)
    run = lake.run("ingest", inbox / "good.csv", *arguments, cwd=inbox)
    assert run.exit_code == 2, str(run)
    assert right_name in run.stderr, str(run)
    assert lake.listing(inbox) == before


def test_a_misspelt_command():
    run = lake.run("ingset")
    assert run.exit_code == 2 and "ingest" in run.stderr, str(run)


@pytest.mark.parametrize(
    "fields, right_name",
    [
        ({"on_chnaged": "append"}, "on_changed"),
        ({"partition_bye": ["name"]}, "partition_by"),
        ({"on_changed": "apend"}, "append"),
        ({"csv": {"delimeter": ";"}}, "delimiter"),
        ({"csv": {"delimiter": 7}}, "delimiter"),
    ],
)
def test_bad_configuration(inbox, table, tmp_path, fields, right_name):
    good = write_good(inbox / "good.csv", 0)
    run = lake.run("ingest", good, "--table", table, *lake.feed(tmp_path, **fields))
    assert run.exit_code == 2, str(run)
    assert right_name in run.stderr, str(run)
    assert not table.exists()


def test_a_misspelt_feed(inbox, table, tmp_path):
    good = write_good(inbox / "good.csv", 0)
    config, path, *_ = lake.feed(tmp_path, name="orders")
    run = lake.run("ingest", good, "--table", table, config, path, "--feed", "ordres")
    assert run.exit_code == 2 and "orders" in run.stderr, str(run)


def test_a_missing_configuration(inbox, table):
    good = write_good(inbox / "good.csv", 0)
    run = lake.run("ingest", good, "--table", table, "--config", inbox / "none.toml")
    assert run.exit_code == 2 and "none.toml" in run.stderr, str(run)
    assert not table.exists()
