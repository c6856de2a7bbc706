"""Runs a command and writes its exit code and peak memory to a file.

Usage: measure.py RESULT_FILE COMMAND...

A process that does nothing else, because the peak that wait4 reports for a child includes that of
the process which started it: the child is counted from before its exec.
"""

import json
import os
import sys

if __name__ == "__main__":
    result, *command = sys.argv[1:]
    child = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    unit = 1 if sys.platform == "darwin" else 1024
    exit_code = os.waitstatus_to_exitcode(status)
    with open(result, "w", encoding="utf-8") as file:
        json.dump({"exit_code": exit_code, "peak_rss_bytes": usage.ru_maxrss * unit}, file)
    sys.exit(max(exit_code, 0))
