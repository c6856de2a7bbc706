"""The results in words: tables in Markdown."""

from .figures import METRICS, OURS, Spread, markdown, number, spreads, verdicts

# How much longer, and with how much more memory, ours may append to the oldest table than to a new one.
AGE_RATIO_MAX = 1.5
# How many of one writer's commits a second the most writers at once must reach together.
CROWD_RATIO_MIN = 0.8


def render(results: dict) -> str:
    """Everything that was measured."""
    parts = [machine(results["machine"])]
    parts += [feed(part) for part in results.get("feed", [])]
    if "tables" in results:
        parts += [ages(results["tables"], what) for what in ("append", "checkpoint")]
    if "writers" in results:
        parts.append(crowd(results["writers"], "local folder"))
    if "latency" in results:
        parts.append(crowd(results["latency"], "a store that takes 30 ms for each request"))
    return "\n\n".join(parts) + "\n"


def machine(found: dict) -> str:
    return (
        f"{found['cores']} cores, {found['system']}, load {found['load_before']:.1f} when it began and"
        f" {found['load_after']:.1f} when it ended; " + ", ".join(found["versions"])
    )


def feed(part: dict) -> str:
    runs = part["runs"]
    rounds = 1 + max(run["round"] for run in runs)
    title = (
        f"### lineitem at scale factor {part['scale_factor']}, {part['csv_bytes'] / 1e6:,.0f} MB,"
        f" {rounds} rounds"
    )
    by_metric = {metric: spreads(runs, metric.key) for metric in METRICS}
    header = ["", *(f"{metric.title}, {metric.unit}".rstrip(", ") for metric in METRICS)]
    rows = [
        [name, *(by_metric[metric][name].show(metric.per_unit) for metric in METRICS)]
        for name in by_metric[METRICS[0]]
    ]
    table = markdown(header, rows)
    judged = [
        [verdict.metric.title, verdict.best_peer,
         Spread(verdict.ratio, verdict.each.least, verdict.each.most).show(), verdict.bar,
         met(verdict.is_met)]
        for verdict in verdicts(runs)
    ]
    against = markdown(["ours against the best peer's", "the best peer", "ratio", "bar", ""], judged)
    return "\n\n".join([title, table, *([against] if judged else [])])


def met(is_met: bool) -> str:
    return "met" if is_met else "**missed**"


def ages(tables: list[dict], what: str) -> str:
    """One row for each table and contender; ours are compared with ours on the first table."""
    rows, first = [], None
    metrics = METRICS[:3]
    for table in tables:
        runs = [run for run in table["runs"] if run["what"] == what]
        by_metric = [spreads(runs, metric.key) for metric in metrics]
        for name in by_metric[0]:
            found = [spread[name] for spread in by_metric]
            judged = ""
            if name == OURS and first is None:
                first = found
            elif name == OURS and what == "append":
                cpu, wall, memory = (
                    now.median / then.median for now, then in zip(found, first))
                verdict = met(max(wall, memory) <= AGE_RATIO_MAX)
                judged = " / ".join(map(number, (cpu, wall, memory))) + f": {verdict}"
            shown = [spread.show(metric.per_unit) for spread, metric in zip(found, metrics)]
            rows.append([table["title"], name, *shown, judged])
    bar = f"CPU / wall / RSS × the first's; bar ≤ {AGE_RATIO_MAX} (wall, RSS)"
    bar = bar if what == "append" else ""
    header = [what, "", *(f"{metric.title}, {metric.unit}" for metric in metrics), bar]
    return f"### {what} against the age of the table\n\n" + markdown(header, rows)


def crowd(races: list[dict], where: str) -> str:
    """One row for each number of writers, one column for each contender."""
    rates = {(race["writers"], race["contender"]): race["commits_per_second"] for race in races}
    contenders = list(dict.fromkeys(race["contender"] for race in races))
    counts = list(dict.fromkeys(race["writers"] for race in races))
    again = {(race["writers"], race["contender"]): race["begun_again"] for race in races}

    def cell(count, name):
        begun = f" ({again[count, name]} begun again)" if again[count, name] else ""
        return number(rates[count, name]) + begun

    rows = [[count, *(cell(count, name) for name in contenders)] for count in counts]
    ratios = [rates[counts[-1], name] / rates[counts[0], name] for name in contenders]
    rows.append([
        f"{counts[-1]} : {counts[0]}, bar ≥ {CROWD_RATIO_MIN}",
        *(f"{number(ratio)}: {met(ratio >= CROWD_RATIO_MIN)}" for ratio in ratios),
    ])
    return f"### commits per second, {where}\n\n" + markdown(["writers", *contenders], rows)
