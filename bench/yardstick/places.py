"""What has to be there before anything is measured: the binary, the peers, the data."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BENCH = REPOSITORY / "bench"
CONTENDERS = BENCH / "contenders"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lakefeed"
DATA = Path(os.environ.get("LAKEFEED_TEST_DATA") or CACHE / "data")
VENV = Path(os.environ.get("LAKEFEED_BENCH_VENV") or CACHE / "bench-venv")


class Broken(Exception):
    """Something without which there are no figures; the message says what to do."""


def say(text: str):
    print(text, file=sys.stderr, flush=True)


def binary() -> Path:
    """The release binary: that of LAKEFEED_BIN, or one that is built."""
    given = os.environ.get("LAKEFEED_BIN")
    if given:
        if not os.access(given, os.X_OK):
            raise Broken(f"LAKEFEED_BIN is {given}, which is not a program")
        return Path(given).resolve()
    if not shutil.which("cargo"):
        raise Broken("cargo is missing: install Rust from https://rustup.rs")
    say("== building lakefeed")
    built = subprocess.run(
        ["cargo", "build", "--release", "--locked", "--bin", "lakefeed",
         "--message-format", "json-render-diagnostics"],
        cwd=REPOSITORY, stdout=subprocess.PIPE, encoding="utf-8",
    )
    if built.returncode:
        raise Broken("cargo could not build lakefeed")
    for message in map(json.loads, built.stdout.splitlines()):
        if message.get("executable") and message["target"]["name"] == "lakefeed":
            return Path(message["executable"])
    raise Broken("cargo built no binary called lakefeed")


def python() -> Path:
    """The interpreter of the peers: that of LAKEFEED_BENCH_PYTHON as it is, or one of an environment
    that is made once, and kept until the requirements change."""
    given = os.environ.get("LAKEFEED_BENCH_PYTHON")
    if given:
        return Path(given)
    interpreter = VENV / "bin" / "python"
    wanted, installed = BENCH / "requirements.txt", VENV / "requirements.txt"
    # The copy is written last, so that an environment whose making was interrupted is made again.
    if installed.is_file() and installed.read_bytes() == wanted.read_bytes():
        return interpreter
    say(f"== installing the peers in {VENV}")
    pip = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in ([sys.executable, "-m", "venv", "--clear", VENV], [*pip, "-r", wanted]):
        if subprocess.run(command, stdout=sys.stderr).returncode:
            raise Broken(f"could not make {VENV}: {' '.join(map(str, command))}")
    shutil.copy(wanted, installed)
    return interpreter


def lineitem(interpreter: Path, scale_factor: str) -> Path:
    """The CSV of TPC-H lineitem, made once and kept. At scale factor 1 it has 766 MB."""
    folder = DATA / f"tpch-{scale_factor}"
    if not folder.exists():
        say(f"== making lineitem at scale factor {scale_factor}")
        scratch = DATA / f"tpch-{scale_factor}.partial.{os.getpid()}"
        scratch.mkdir(parents=True)
        generator = interpreter.with_name("tpchgen-cli")
        command = [generator, "csv", "-s", scale_factor, "--tables=lineitem", "-o", scratch]
        if subprocess.run(command, stdout=sys.stderr).returncode:
            raise Broken("tpchgen-cli could not make the data")
        scratch.rename(folder)
    return folder / "lineitem.csv"
