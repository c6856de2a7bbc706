"""Runs one whole process, and measures it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .places import REPOSITORY, Broken

# A process of its own that starts the one to be measured: see there.
LAUNCHER = REPOSITORY / "tests" / "e2e" / "measure.py"
PROCESS_SECONDS_MAX = 1800
SAID_CHARACTERS_MAX = 2000


@dataclass
class Measured:
    """What one process took. `cpu_seconds` is user and system, with its children."""

    cpu_seconds: float
    wall_seconds: float
    peak_rss_bytes: int
    stdout: str = ""


def measure(command, environment=None) -> Measured:
    """Runs `command` to its end. One that fails has no figures: [`Broken`]."""
    # What the process before left to be written to the disk is not this one's burden.
    os.sync()
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "measured.json"
        launcher = [sys.executable, "-I", "-S", LAUNCHER, result]
        process = subprocess.Popen(
            [*map(str, launcher), *map(str, command)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            encoding="utf-8", errors="replace", start_new_session=True, env=environment,
        )
        try:
            said, _ = process.communicate(timeout=PROCESS_SECONDS_MAX)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        if process.returncode:
            shown = " ".join(map(str, command))
            raise Broken(f"{shown}\nended with {process.returncode}:\n{said[-SAID_CHARACTERS_MAX:]}")
        measured = json.loads(result.read_text())
    del measured["exit_code"]
    return Measured(**measured, stdout=said)
