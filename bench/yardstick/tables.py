"""What a table's age costs: appending to it and summing it up, by ours and by delta-rs."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from .figures import OURS
from .measure import measure
from .places import CONTENDERS, say

DELTA_RS = "delta-rs"
# Ours reads the checkpoint before, and not every writer's is as easily read as its own.
OURS_AFTER = f"{OURS}, after delta-rs's"
HEADER = "id,customer,country,amount,ordered_on,note\n"
# The shortest table has this many: its creation, and one append.
VERSIONS_MIN = 2


@dataclass(frozen=True)
class Table:
    """How old a table is. Its objects are those that the ledger knows; each has one row."""

    versions: int = VERSIONS_MIN
    files: int = 1
    objects: int = 1

    @property
    def title(self) -> str:
        if self.objects > 1:
            return f"new, {self.objects:,} objects in the ledger"
        if self.versions == VERSIONS_MIN:
            return "new"
        return f"{self.versions:,} versions, {self.files:,} files"


def source(folder: Path, number: int) -> Path:
    """One more small CSV."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{number:09}.csv"
    path.write_text(HEADER + f"{number},Ada Lindqvist,SE,249.90,2026-01-03,by noon\n")
    return path


def make(setting, wanted: Table) -> Path:
    """A table that ours created, with a log made longer than it is: see contenders/long_table.py."""
    inbox, table = setting.scratch / "inbox", setting.scratch / "table"
    for number in range(wanted.objects):
        source(inbox, number)
    measure([setting.binary, "ingest", inbox, "--table", table])
    shutil.rmtree(inbox)
    if wanted.versions > VERSIONS_MIN:
        script = CONTENDERS / "long_table.py"
        measure([setting.python, script, table, wanted.versions, wanted.files])
    return table


def run(setting, wanted: Table, appends: int, peer_appends: int, checkpoints: int) -> dict:
    """Appends by each in turn, by the peer only in some rounds, where it takes long; then
    checkpoints by each, an append before each of them."""
    say(f"== making a table of {wanted.title}")
    table, inbox = make(setting, wanted), setting.scratch / "small"
    began = wanted.objects
    appenders = {OURS: lambda csv: [setting.binary, "ingest", csv, "--table", table]}
    summers = {OURS: [setting.binary, "maintain", table]}
    if setting.peers:
        script = CONTENDERS / "delta_append.py"
        appenders[DELTA_RS] = lambda csv: [setting.python, script, csv, table]
        summers[DELTA_RS] = [setting.python, CONTENDERS / "delta_checkpoint.py", table]
        summers[OURS_AFTER] = summers[OURS]

    runs = []

    def step(what: str, turn: int, name: str, command):
        measured = asdict(measure(command))
        del measured["stdout"]
        runs.append({"what": what, "round": turn, "contender": name, **measured})
        say(f"{wanted.title}, {what}, {name}: CPU {measured['cpu_seconds']:.3f} s, wall"
            f" {measured['wall_seconds']:.3f} s, {measured['peak_rss_bytes'] / 1e6:.0f} MB")

    for turn in range(appends):
        for name, command in appenders.items():
            if name != OURS and turn >= peer_appends:
                continue
            began += 1
            step("append", turn, name, command(source(inbox, began)))
    for turn in range(checkpoints):
        for name, command in summers.items():
            began += 1
            # So that there is something to sum up.
            measure(appenders[OURS](source(inbox, began)))
            step("checkpoint", turn, name, command)
    shutil.rmtree(table)
    shutil.rmtree(inbox)
    return {**asdict(wanted), "title": wanted.title, "runs": runs}
