"""The results in words: tables in Markdown."""

from .figures import METRICS, markdown, spreads, verdicts


def render(results: dict) -> str:
    """Everything that was measured."""
    parts = [machine(results["machine"])]
    parts += [feed(part) for part in results.get("feed", [])]
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
        [verdict.metric.title, verdict.best_peer, verdict.each.__class__(
            verdict.ratio, verdict.each.least, verdict.each.most).show(), verdict.bar,
         "met" if verdict.is_met else "**missed**"]
        for verdict in verdicts(runs)
    ]
    against = markdown(["ours against the best peer's", "the best peer", "ratio", "bar", ""], judged)
    return "\n\n".join([title, table, *([against] if judged else [])])
