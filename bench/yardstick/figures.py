"""Medians, spreads, ratios and bars. Nothing here measures anything."""

import statistics
from dataclasses import dataclass

OURS = "lakefeed"


@dataclass(frozen=True)
class Metric:
    """One quantity: how it is called, its unit, and how many of the measured units make one."""

    key: str
    title: str
    unit: str
    per_unit: float = 1
    # What ours may have of the best peer's, and at most; from the design's numbers to reach.
    ratio_max: float | None = None
    value_max: float | None = None


METRICS = (
    Metric("cpu_seconds", "CPU", "s", ratio_max=0.33),
    Metric("wall_seconds", "wall", "s", ratio_max=0.40),
    Metric("peak_rss_bytes", "peak RSS", "MB", 1e6, ratio_max=0.20, value_max=72e6),
    Metric("bytes", "written", "MB", 1e6, ratio_max=0.70),
    Metric("files", "files", ""),
    Metric("scan_cpu_seconds", "DuckDB's scan, CPU", "s", ratio_max=1.0),
)


@dataclass(frozen=True)
class Spread:
    """A median, and how far the values lie apart."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values) -> "Spread":
        values = list(values)
        return cls(statistics.median(values), min(values), max(values))

    def show(self, per_unit: float = 1) -> str:
        median, least, most = (
            number(value / per_unit) for value in (self.median, self.least, self.most))
        return median if least == most else f"{median} ({least}–{most})"


def number(value: float) -> str:
    """Three digits, or all of those before the point."""
    if value == int(value):
        return f"{value:,.0f}"
    for least, digits in ((100, 0), (10, 1), (1, 2)):
        if abs(value) >= least:
            return f"{value:,.{digits}f}"
    return f"{value:.3f}"


def spreads(runs: list[dict], key: str, by: str = "contender") -> dict[str, Spread]:
    """The spread of one quantity for each contender, in the order of the runs."""
    values: dict[str, list[float]] = {}
    for run in runs:
        if key in run:
            values.setdefault(run[by], []).append(run[key])
    return {name: Spread.of(of_name) for name, of_name in values.items()}


@dataclass(frozen=True)
class Verdict:
    """Ours against the best peer: `ratio` is that of the medians, `each` that of every round."""

    metric: Metric
    best_peer: str
    ours: float
    ratio: float
    each: Spread

    @property
    def is_met(self) -> bool:
        is_few = self.metric.value_max is None or self.ours <= self.metric.value_max
        return self.ratio <= self.metric.ratio_max and is_few

    @property
    def bar(self) -> str:
        limit = self.metric.value_max
        most = f", ≤ {number(limit / self.metric.per_unit)} {self.metric.unit}" if limit else ""
        return f"≤ {self.metric.ratio_max:.2f}{most}"


def verdicts(runs: list[dict]) -> list[Verdict]:
    """One for each quantity that has a bar; none without peers."""
    found = []
    for metric in METRICS:
        of_all = spreads(runs, metric.key)
        peers = {name: spread.median for name, spread in of_all.items() if name != OURS}
        if metric.ratio_max is None or OURS not in of_all or not peers:
            continue
        best = min(peers, key=peers.__getitem__)
        ours = of_all[OURS].median
        each = [ours_then / best_then for ours_then, best_then in zip(
            values(runs, OURS, metric.key), values(runs, best, metric.key))]
        found.append(Verdict(metric, best, ours, ours / peers[best], Spread.of(each)))
    return found


def values(runs: list[dict], contender: str, key: str) -> list[float]:
    """Those of one contender, round by round."""
    return [run[key] for run in runs if run["contender"] == contender]


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
