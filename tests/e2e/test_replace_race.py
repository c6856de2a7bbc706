"""One object is corrected in a table of a thousand files that several sources share, while four writers
race for it and a rival appends and compacts: exactly its new rows, and everybody else's."""

import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

import deltalog
import lake

FILES, ROWS_PER_SOURCE, WRITERS, OWN_FILES = 1_000, 2, 4, 5
# So many of the files hold rows of the object, beside those of others.
FILES_WITH_IT = 20
RUNS = 20
RIVAL = Path(__file__).with_name("rival.py")


def write(path, ids):
    path.write_text("id,name\n" + "".join(f"{i},text {i}\n" for i in ids))
    return path


def write_file(table, number, it):
    """A data file of three sources, one of which may be the object."""
    first = it if number % (FILES // FILES_WITH_IT) == 0 else f"file:///others/{number:04}-0.csv"
    sources = [first, *(f"file:///others/{number:04}-{n}.csv" for n in (1, 2))]
    names = [name for name in sources for _ in range(ROWS_PER_SOURCE)]
    ids = [10_000 + number * len(names) + i for i in range(len(names))]
    path = f"shared-{number:04}.parquet"
    columns = {"id": ids, "name": ["text"] * len(ids), "_source_file": names}
    pyarrow.parquet.write_table(pyarrow.table(columns), table / path)
    statistics = {
        "numRecords": len(ids), "nullCount": {"_source_file": 0},
        "minValues": {"_source_file": min(names)}, "maxValues": {"_source_file": max(names)},
    }
    add = {"path": path, "partitionValues": {}, "size": (table / path).stat().st_size,
           "modificationTime": 0, "dataChange": True, "stats": json.dumps(statistics)}
    return {"add": add}, [i for i, name in zip(ids, names) if name != it]


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """A table that has taken the object, whose rows are in many of its files; and the others' rows."""
    folder = tmp_path_factory.mktemp("crowd")
    it, table = write(folder / "it.csv", range(10)), folder / "table"
    lake.ingest_all(it, table=table)
    written = [write_file(table, number, f"file://{it}") for number in range(FILES)]
    deltalog.commit(table, *(add for add, _ in written))
    return it, table, [i for _, others in written for i in others]


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, RUNS))])
def test_a_corrected_object_in_a_crowd(crowded, tmp_path, seed):
    it, whole, expected = crowded
    table = shutil.copytree(whole, tmp_path / "table")
    write(it, range(20, 25 + seed))
    own = [
        [write(tmp_path / f"{writer}-{n}.csv", [100 + writer * OWN_FILES + n]) for n in range(OWN_FILES)]
        for writer in range(WRITERS)
    ]
    stop, pause = tmp_path / "stop", random.Random(seed)
    # Not a pipe: what is buffered with its first line, `communicate` does not give.
    said = tmp_path / "said"
    with said.open("w") as out:
        rival = subprocess.Popen([sys.executable, str(RIVAL), str(table), str(stop)], stdout=out)
    try:
        while not said.read_text() and rival.poll() is None:
            time.sleep(0.01)
        writers = []
        for files in own:
            time.sleep(pause.uniform(0, 0.1))
            writers.append(subprocess.Popen(
                lake.command("ingest", it, *files, "--table", table, "--on-changed", "replace"),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            ))
        for writer in writers:
            # It may have lost every attempt (1), but may not have crashed.
            assert writer.wait(timeout=lake.RUN_SECONDS_MAX) in (0, 1)
    finally:
        stop.touch()
        assert rival.wait(timeout=lake.RUN_SECONDS_MAX) == 0
    said = said.read_text()
    last = lake.ingest_all(it, *sum(own, []), table=table, arguments=["--on-changed", "replace"])
    assert len(last.receipts) == 1 + WRITERS * OWN_FILES

    appended = [int(line.split()[1]) for line in said.splitlines() if line.startswith("appended")]
    print(f"the rival appended {len(appended)} times and compacted {said.count('compacted')} times")
    ids = [*range(20, 25 + seed), *range(100, 100 + WRITERS * OWN_FILES), *expected, *appended]
    assert lake.column(table, "id") == sorted(ids)
