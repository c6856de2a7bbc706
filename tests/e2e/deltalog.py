"""What other writers put into a table's log that Python's deltalake cannot: features, column mapping and
deletion vectors, as Delta's PROTOCOL.md has them."""

import base64
import json
import struct
import uuid
import zlib
from pathlib import Path

import lake

READER_FEATURES = {"deletionVectors", "columnMapping", "timestampNtz"}
DELETION_VECTOR_MAGIC = 1681511377
ROARING_WITHOUT_RUNS = 12346
Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
BASE85 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
TO_Z85 = str.maketrans(BASE85, Z85)


def actions(table: Path) -> list[dict]:
    """Every action of the log, oldest first, each with its version."""
    return [
        {**json.loads(line), "version": int(log.stem)}
        for log in sorted((table / "_delta_log").glob("*.json"))
        for line in log.read_text().splitlines()
    ]


def newest(table: Path, kind: str) -> dict:
    return [action[kind] for action in actions(table) if kind in action][-1]


def live(table: Path) -> dict[str, dict]:
    """The actions that add what the table holds, by path."""
    files = {}
    for action in actions(table):
        if "add" in action:
            files[action["add"]["path"]] = action["add"]
        if "remove" in action and same_vector(files, action["remove"]):
            del files[action["remove"]["path"]]
    return files


def same_vector(files: dict, remove: dict) -> bool:
    added = files.get(remove["path"])
    return added is not None and added.get("deletionVector") == remove.get("deletionVector")


def commit(table: Path, *new: dict) -> int:
    version = lake.version(table) + 1
    log = table / "_delta_log" / f"{version:020}.json"
    info = {"commitInfo": {"timestamp": 0, "operation": "MANUAL"}}
    with log.open("x") as file:
        file.writelines(json.dumps(action) + "\n" for action in (info, *new))
    return version


def demand(table: Path, feature: str, **properties: str) -> int:
    """Commits that the table wants `feature` of its writers, and has these properties."""
    protocol, metadata = newest(table, "protocol"), newest(table, "metaData")
    writers = {*protocol.get("writerFeatures", ()), feature}
    readers = {*protocol.get("readerFeatures", ())} | ({feature} & READER_FEATURES)
    protocol = {
        "minReaderVersion": 3, "minWriterVersion": 7,
        "readerFeatures": sorted(readers), "writerFeatures": sorted(writers),
    }
    metadata["configuration"] = {**metadata.get("configuration", {}), **properties}
    return commit(table, {"protocol": protocol}, {"metaData": metadata})


def delete_rows(table: Path, path: str, rows: list[int], inline: bool) -> int:
    """Commits a deletion vector of these rows of a file, which has none; an even number of them."""
    add = live(table)[path]
    statistics = {**json.loads(add["stats"]), "tightBounds": False}
    vector = inline_vector(rows) if inline else stored_vector(table, rows)
    removed = {"path": path, "deletionTimestamp": 1, "dataChange": True,
               "extendedFileMetadata": True, "size": add["size"],
               "partitionValues": add["partitionValues"]}
    added = {**add, "deletionVector": vector, "stats": json.dumps(statistics)}
    return commit(table, {"remove": removed}, {"add": added})


def inline_vector(rows: list[int]) -> dict:
    body = bitmap_array(rows)
    return {"storageType": "i", "pathOrInlineDv": z85(body), "sizeInBytes": len(body),
            "cardinality": len(rows)}


def stored_vector(table: Path, rows: list[int]) -> dict:
    name, body = uuid.uuid4(), bitmap_array(rows)
    file = table / f"deletion_vector_{name}.bin"
    checked = struct.pack(">I", len(body)) + body + struct.pack(">I", zlib.crc32(body))
    file.write_bytes(b"\x01" + checked)
    return {"storageType": "u", "pathOrInlineDv": z85(name.bytes), "offset": 1,
            "sizeInBytes": len(body), "cardinality": len(rows)}


def bitmap_array(rows: list[int]) -> bytes:
    """A RoaringBitmapArray of one bitmap of one array container."""
    header = struct.pack("<IQI", DELETION_VECTOR_MAGIC, 1, 0)
    container = struct.pack("<IIHHI", ROARING_WITHOUT_RUNS, 1, 0, len(rows) - 1, 16)
    return header + container + struct.pack(f"<{len(rows)}H", *sorted(rows))


def z85(body: bytes) -> str:
    assert len(body) % 4 == 0
    return base64.b85encode(body).decode().translate(TO_Z85)
