"""JSON lines in; Markdown tables and, if asked, a bar plot out.

::

    python -m benchmarks.report runs.jsonl [--plot runs.png] > runs.md
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics
from collections.abc import Iterable

OURS = "boostgrad"

#: Of each score: how it is called here, and how many decimals it gets.
SCORES = {
    "auc": ("AUC", 4),
    "logloss": ("log-loss", 4),
    "mlogloss": ("log-loss", 4),
    "accuracy": ("accuracy", 4),
    "rmse": ("RMSE", 4),
}


def read(paths: Iterable[str]) -> list[dict]:
    """The records of all files."""
    lines = [line for path in paths for line in pathlib.Path(path).read_text().splitlines()]
    return [json.loads(line) for line in lines if line.strip()]


def group(records: list[dict]) -> dict[str, dict[str, list[dict]]]:
    """Records by title, then by library; what has one title did the same work on the same data and machine."""
    groups: dict[str, dict[str, list[dict]]] = {}
    for record in records:
        groups.setdefault(title(record), {}).setdefault(record["library"], []).append(record)
    return groups


def title(record: dict) -> str:
    """Problem, work and circumstances in one line."""
    work = record["work"]
    depth = "" if work["max_depth"] is None else f", depth {work['max_depth']}"
    classes = f", {record['n_classes']} classes" if record["task"] == "multiclass" else ""
    busy = ", one core kept busy" if record["busy"] else ""
    return (
        f"{record['problem']}: {record['n_train']:,} x {record['n_features']} {record['task']}{classes}; "
        f"{work['n_trees']} rounds of {work['max_leaves']} leaves, {work['policy']}{depth}, "
        f"rate {work['learning_rate']}, {work['max_bins']} bins; {threads(record)}, seed {record['seed']}{busy}; "
        f"{record['machine']['cpu']}, {record['machine']['cores']} cores"
    )


def threads(record: dict) -> str:
    """The number of threads, in words."""
    return "1 thread" if record["threads"] == 1 else f"{record['threads']} threads"


def median(records: list[dict], key: str) -> float | None:
    """Median of a field over repeats; None where the library does not have it."""
    values = [record[key] for record in records if record.get(key) is not None]
    return statistics.median(values) if values else None


def fastest_peer(libraries: dict[str, list[dict]]) -> float | None:
    """Median fit seconds of the fastest library that is not ours."""
    seconds = [median(records, "seconds") for name, records in libraries.items() if name != OURS]
    return min((value for value in seconds if value is not None), default=None)


def number(value: float | None, decimals: int = 0) -> str:
    return "" if value is None else f"{value:,.{decimals}f}"


def significant(value: float | None) -> str:
    """Three significant digits without an exponent."""
    if value is None:
        return ""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def table(libraries: dict[str, list[dict]]) -> str:
    """One Markdown table: a row for each library, the fastest first, those that failed last."""
    good = {name: [r for r in records if "error" not in r] for name, records in libraries.items()}
    order = sorted(good, key=lambda name: (not good[name], median(good[name], "seconds") or 0.0))
    metrics = next((list(records[0]["score"]) for records in good.values() if records), [])
    best = fastest_peer(good)
    head = ["library", "version", "fit s", "min to max", "ratio", "binning s", "CPU s", "+MB"]
    head += [SCORES[metric][0] for metric in metrics] + ["predict s", "one row us", "trees", "leaves", "runs"]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(head) - 2)]
    for name in order:
        runs = good[name]
        if not runs:
            lines.append(f"| {name} | | {libraries[name][-1]['error']} |" + " |" * (len(head) - 3))
            continue
        seconds = [run["seconds"] for run in runs]
        middle = statistics.median(seconds)
        label = f"**{name}**" if name == OURS else name
        isa = f" ({runs[-1]['isa']})" if runs[-1].get("isa") else ""
        cells = [label, f"{runs[-1]['version']}{isa}", significant(middle)]
        cells += [f"{significant(min(seconds))} to {significant(max(seconds))}"]
        cells += [number(middle / best, 2) if best else "", significant(median(runs, "prepare_seconds"))]
        cells += [significant(median(runs, "cpu_seconds")), number(median(runs, "peak_mb"))]
        cells += [number(median([run["score"] for run in runs], metric), SCORES[metric][1]) for metric in metrics]
        cells += [significant(median(runs, "predict_seconds")), significant(median(runs, "one_row_us"))]
        cells += [number(median(runs, "n_trees")), number(median(runs, "n_leaves"))]
        failed = len(libraries[name]) - len(runs)
        cells += [f"{len(runs)}" + (f" ({failed} failed)" if failed else "")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


EXPLANATION = """\
Medians over runs. *fit s*: wall seconds from the raw array to the model, of which *binning s* where the library makes
that a step of its own. *ratio*: to the fastest peer. *CPU s*: all threads together. *+MB*: peak memory above the loaded
data. *predict s*: the whole held-out set. *one row us*: median microseconds for one row. Differences under 10% are
noise."""


def markdown(records: list[dict]) -> str:
    """All tables."""
    parts = [f"### {name}\n\n{table(libraries)}" for name, libraries in group(records).items()]
    return "\n\n".join([*parts, EXPLANATION])


def plot(records: list[dict], path: str) -> None:
    """Fit seconds as bars, one panel for each title; whiskers from the fastest to the slowest run."""
    records = [record for record in records if "error" not in record]
    if not records:
        raise SystemExit("no fit succeeded: nothing to plot")
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    groups = group(records)
    heights = [1.1 + 0.3 * len(libraries) for libraries in groups.values()]
    size = {"figsize": (8, sum(heights)), "height_ratios": heights, "layout": "constrained"}
    figure, panels = plt.subplots(len(groups), 1, squeeze=False, **size)
    for panel, (name, libraries) in zip(panels[:, 0], groups.items(), strict=True):
        order = sorted(libraries, key=lambda library: -median(libraries[library], "seconds"))
        middle = [median(libraries[library], "seconds") for library in order]
        ends = [[run["seconds"] for run in libraries[library]] for library in order]
        below = [m - min(seconds) for m, seconds in zip(middle, ends, strict=True)]
        above = [max(seconds) - m for m, seconds in zip(middle, ends, strict=True)]
        colours = ["tab:orange" if library == OURS else "tab:blue" for library in order]
        bars = panel.barh(order, middle, xerr=(below, above), color=colours, ecolor="0.3", capsize=2)
        panel.bar_label(bars, labels=[significant(m) for m in middle], padding=6)
        problem, work, circumstances, _ = name.split("; ")
        panel.set_title(f"{problem}\n{work}; {circumstances}", fontsize=9, loc="left")
        panel.set_xlabel("seconds to fit")
        panel.margins(x=0.15)
    figure.savefig(path, dpi=120)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description="Tables from JSON lines.")
    parser.add_argument("files", nargs="+", metavar="FILE.jsonl")
    parser.add_argument("--plot", metavar="FILE.png")
    options = parser.parse_args(arguments)
    records = read(options.files)
    print(markdown(records))
    if options.plot:
        plot(records, options.plot)


if __name__ == "__main__":
    main()
