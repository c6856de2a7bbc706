"""Makes a Delta table's log as long as that of an old table, without making its data.

Usage: long_table.py TABLE VERSIONS FILES

What TABLE has is kept: it is summed up, with files that do not exist, in a checkpoint at the version
VERSIONS, which TAIL_COMMITS commits follow. The commits before the checkpoint lie there as they would
for 30 days, but nobody reads them: many names of few files.
"""

import json
import os
import sys
import uuid
from pathlib import Path

import pyarrow
from pyarrow import parquet

TAIL_COMMITS = 10
ROW_GROUP_ROWS = 50_000
# File systems bound the names of one file.
NAMES_PER_FILE = 10_000

STRINGS = pyarrow.map_(pyarrow.string(), pyarrow.string())
TEXT, LONG, INT, FLAG = pyarrow.string(), pyarrow.int64(), pyarrow.int32(), pyarrow.bool_()
# https://github.com/delta-io/delta/blob/master/PROTOCOL.md#checkpoint-schema
SCHEMA = pyarrow.schema({
    "txn": pyarrow.struct({"appId": TEXT, "version": LONG, "lastUpdated": LONG}),
    "add": pyarrow.struct({
        "path": TEXT, "partitionValues": STRINGS, "size": LONG, "modificationTime": LONG,
        "dataChange": FLAG, "stats": TEXT,
    }),
    "remove": pyarrow.struct({
        "path": TEXT, "deletionTimestamp": LONG, "dataChange": FLAG, "extendedFileMetadata": FLAG,
        "partitionValues": STRINGS, "size": LONG,
    }),
    "metaData": pyarrow.struct({
        "id": TEXT, "name": TEXT, "description": TEXT,
        "format": pyarrow.struct({"provider": TEXT, "options": STRINGS}),
        "schemaString": TEXT, "partitionColumns": pyarrow.list_(TEXT), "createdTime": LONG,
        "configuration": STRINGS,
    }),
    "protocol": pyarrow.struct({
        "minReaderVersion": INT, "minWriterVersion": INT,
        "readerFeatures": pyarrow.list_(TEXT), "writerFeatures": pyarrow.list_(TEXT),
    }),
})
# Maps are lists of pairs to pyarrow.
MAPS = {"partitionValues", "options", "configuration"}


class Log:
    """A table's log that has no checkpoint yet."""

    def __init__(self, table: Path):
        self.folder = table / "_delta_log"
        self.adds, self.pointers = [], {}
        commits = sorted(self.folder.glob("*.json"))
        self.version = int(commits[-1].stem)
        for commit in commits:
            for line in commit.read_text().splitlines():
                self.take(json.loads(line))

    def take(self, action: dict):
        match action:
            case {"protocol": described}:
                self.protocol = described
            case {"metaData": described}:
                self.metadata = described
            case {"txn": pointer}:
                self.pointers[pointer["appId"]] = pointer
            case {"add": added}:
                self.adds.append(added)

    def path(self, version: int, suffix: str) -> Path:
        return self.folder / f"{version:020}.{suffix}"

    def invented_add(self, number: int) -> dict:
        """A file like the last real one, with another name and other bounds."""
        like = self.adds[-1]
        stats = json.loads(like["stats"])
        for bounds in ("minValues", "maxValues"):
            stats[bounds]["id"] = number
        path = f"part-{uuid.uuid4()}.zstd.parquet"
        return {**like, "path": path, "size": 10_000 + number % 1_000, "stats": json.dumps(stats)}

    def checkpoint(self, version: int, files: int):
        """Sums up what there is, and invented files, so that there are `files` of them."""
        rows = [{"protocol": self.protocol}, {"metaData": self.metadata}]
        rows += [{"txn": pointer} for pointer in self.pointers.values()]
        rows += [{"add": add} for add in self.adds]
        actions = len(rows) + files - len(self.adds)
        with parquet.ParquetWriter(self.path(version, "checkpoint.parquet"), SCHEMA) as writer:
            for number in range(len(self.adds), files):
                rows.append({"add": self.invented_add(number)})
                if len(rows) == ROW_GROUP_ROWS:
                    writer.write_table(as_table(rows))
                    rows = []
            writer.write_table(as_table(rows))
        hint = {"version": version, "size": actions, "numOfAddFiles": files}
        (self.folder / "_last_checkpoint").write_text(json.dumps(hint))

    def commit(self, version: int):
        """Adds one invented file."""
        info = {"timestamp": self.adds[-1]["modificationTime"], "operation": "WRITE"}
        actions = [{"commitInfo": info}, {"add": self.invented_add(version)}]
        text = "".join(json.dumps(action) + "\n" for action in actions)
        self.path(version, "json").write_text(text)

    def extend(self, versions: int, files: int):
        original = None
        for version in range(self.version + 1, versions + 1):
            if original is None or version % NAMES_PER_FILE == 0:
                original = self.path(version, "json")
                self.commit(version)
            else:
                os.link(original, self.path(version, "json"))
        self.checkpoint(versions, files)
        for version in range(versions + 1, versions + 1 + TAIL_COMMITS):
            self.commit(version)


def as_table(rows: list[dict]) -> pyarrow.Table:
    return pyarrow.Table.from_pylist([with_pairs(row) for row in rows], schema=SCHEMA)


def with_pairs(action: dict) -> dict:
    return {
        key: list(value.items()) if key in MAPS
        else with_pairs(value) if isinstance(value, dict) else value
        for key, value in action.items()
    }


if __name__ == "__main__":
    Log(Path(sys.argv[1])).extend(int(sys.argv[2]), int(sys.argv[3]))
