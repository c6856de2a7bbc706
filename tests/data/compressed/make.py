"""Makes the files beside it; README.md says with what."""

import bz2
import gzip
import io
import lzma
import subprocess
import zipfile
import zlib
from pathlib import Path

import lz4.frame
import snappy
import zstandard

HERE = Path(__file__).parent
NAMES = ["Zoë", "Жанна", "東京", "Ann", '"Smith, J."']
TEXT = "".join(
    ["id,name,amount\n"] + [f"{i},{NAMES[i % 5]},{i * i % 997}.{i % 100:02}\n" for i in range(400)]
).encode()
THIRDS = [TEXT[:3000], TEXT[3000:6000], TEXT[6000:]]


def write(name, data):
    (HERE / name).write_bytes(data)


def members(compress):
    return b"".join(compress(third) for third in THIRDS)


class Unseekable(io.RawIOBase):
    """Makes zipfile write what it would to a pipe: sizes after the file."""

    def __init__(self):
        self.data = b""

    def writable(self):
        return True

    def write(self, data):
        self.data += bytes(data)
        return len(data)


def archive(method, entries, seekable=True, zip64=False):
    file = io.BytesIO() if seekable else Unseekable()
    with zipfile.ZipFile(file, "w", method) as out:
        for name, data in entries:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            with out.open(info, "w", force_zip64=zip64) as entry:
                entry.write(data)
    return file.getvalue() if seekable else file.data


def gz(data):
    return gzip.compress(data, mtime=0)


def zst(data):
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def zst_of_unknown_size(data, **parameters):
    parameters = zstandard.ZstdCompressionParameters(write_checksum=True, **parameters)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return stream.compress(data) + stream.flush()


def lz(data):
    return lz4.frame.compress(data, content_checksum=True)


def sz(data):
    return snappy.StreamCompressor().add_chunk(data)


def raw(data):
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


write("plain.csv", TEXT)
write("gzip.csv.gz", gz(TEXT))
write("gzip-members.csv.gz", members(gz))
write("zstd.csv.zst", zst(TEXT))
write("zstd-frames.csv.zst", b"\x50\x2a\x4d\x18\x03\0\0\0abc" + members(zst))
write("zstd-unknown-size.csv.zst", zst_of_unknown_size(TEXT, window_log=23))
write("bzip2.csv.bz2", bz2.compress(TEXT))
write("bzip2-streams.csv.bz2", members(bz2.compress))
write("xz.csv.xz", lzma.compress(TEXT))
write("xz-streams.csv.xz", lzma.compress(TEXT[:3000]) + bytes(8) + lzma.compress(TEXT[3000:]))
write("lz4.csv.lz4", lz(TEXT))
write("lz4-frames.csv.lz4", members(lz))
write("snappy.csv.sz", sz(TEXT))
write("snappy-streams.csv.sz", sz(THIRDS[0]) + b"\xfe\x04\0\0\0\0\0\0" + sz(THIRDS[1]) + sz(THIRDS[2]))
write("zlib.csv.zz", zlib.compress(TEXT))
write("zlib-fast.csv.zz", zlib.compress(TEXT, 1))
write("deflate.csv.deflate", raw(TEXT))

DEFLATED, STORED = zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED
write("zip.csv.zip", archive(DEFLATED, [("plain.csv", TEXT)]))
write("zip-stored.csv.zip", archive(STORED, [("plain.csv", TEXT)]))
write("zip-streamed.csv.zip", archive(DEFLATED, [("plain.csv", TEXT)], seekable=False))
write("zip-64.csv.zip", archive(STORED, [("plain.csv", TEXT)], zip64=True))
write("zip-64-streamed.csv.zip", archive(DEFLATED, [("a", TEXT)], seekable=False, zip64=True))
write("zip-folder.csv.zip", archive(DEFLATED, [("in/", b""), ("in/plain.csv", TEXT), ("out/", b"")]))

REFUSED = HERE / "refused"
REFUSED.mkdir(exist_ok=True)
write("refused/several.zip", archive(DEFLATED, [("a.csv", TEXT), ("b.csv", TEXT)]))
write("refused/streamed-several.zip", archive(DEFLATED, [("a", TEXT), ("b", TEXT)], seekable=False))
write("refused/method.zip", archive(zipfile.ZIP_LZMA, [("a.csv", TEXT)]))
write("refused/stored-streamed.zip", archive(STORED, [("a.csv", TEXT)], seekable=False))
write("refused/empty.zip", archive(DEFLATED, []))
write("refused/window.zst", zst_of_unknown_size(TEXT, window_log=27))
write("refused/window.xz", lzma.compress(TEXT, preset=9))
encrypted = REFUSED / "encrypted.zip"
encrypted.unlink(missing_ok=True)
subprocess.run(["zip", "-q", "-j", "-P", "secret", encrypted, HERE / "plain.csv"], check=True)
