"""Runs a command and writes what it took to a file: its exit code, time, and peak memory.

Usage: measure.py RESULT_FILE COMMAND...

A process that does nothing else, because the peak that wait4 reports for a child includes that of
the process which started it: the child is counted from before its exec. Processor time is that of
the command and of its children that have ended.
"""

import json
import os
import sys
import time

if __name__ == "__main__":
    result, *command = sys.argv[1:]
    began = time.monotonic()
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    wall_seconds = time.monotonic() - began
    unit = 1 if sys.platform == "darwin" else 1024
    exit_code = os.waitstatus_to_exitcode(status)
    measured = {
        "exit_code": exit_code,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "wall_seconds": wall_seconds,
        "peak_rss_bytes": usage.ru_maxrss * unit,
    }
    with open(result, "w", encoding="utf-8") as file:
        json.dump(measured, file)
    sys.exit(max(exit_code, 0))
