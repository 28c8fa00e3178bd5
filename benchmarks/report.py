"""JSON lines in; Markdown tables and, if asked, a bar plot out.

::

    python -m benchmarks.report runs.jsonl [--plot runs.png] [--goals] > runs.md
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics
from collections.abc import Callable, Iterable

OURS = "boostgrad"

#: Of each score: how it is called here, and how many decimals it gets.
SCORES = {
    "auc": ("AUC", 4),
    "logloss": ("log-loss", 4),
    "mlogloss": ("log-loss", 4),
    "accuracy": ("accuracy", 4),
    "rmse": ("RMSE", 4),
    "ndcg10": ("NDCG@10", 4),
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
    measure = record.get("measure", "fit")
    what = {"fit": "", "predict": "predicting ", "binning": "binning alone, "}[measure]
    n_rows = record["n_test" if measure == "predict" else "n_train"]
    trained = f", trained on {record['n_train']:,} rows" if measure == "predict" else ""
    return (
        f"{record['problem']}: {what}{n_rows:,} x {record['n_features']} {record['task']}{classes}{trained}; "
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


def is_ours(library: str) -> bool:
    """Whether it is boostgrad, on whatever instruction set."""
    return library.startswith(OURS)


def fastest_peer(libraries: dict[str, list[dict]]) -> float | None:
    """Median seconds of the fastest library that is not ours."""
    seconds = [median(records, "seconds") for name, records in libraries.items() if not is_ours(name)]
    return min((value for value in seconds if value is not None), default=None)


def number(value: float | None, decimals: int = 0) -> str:
    return "" if value is None else f"{value:,.{decimals}f}"


def significant(value: float | None) -> str:
    """Three significant digits without an exponent."""
    if value is None:
        return ""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def columns(measure: str, metrics: list[str], best: float | None) -> dict[str, Callable[[list[dict]], str]]:
    """What a table says of a library's runs, by the heads of its columns."""

    def spread(runs):
        seconds = [run["seconds"] for run in runs]
        return f"{significant(min(seconds))} to {significant(max(seconds))}"

    def field(key, text=significant):
        return lambda runs: text(median(runs, key))

    def score(metric):
        return lambda runs: number(median([run["score"] for run in runs], metric), SCORES[metric][1])

    of_fit = {"binning s": field("prepare_seconds")} if measure == "fit" else {}
    after_fit = {"predict s": field("predict_seconds")} if measure == "fit" else {}
    return {
        "version": lambda runs: f"{runs[-1]['version']}" + (f" ({runs[-1]['isa']})" if runs[-1].get("isa") else ""),
        f"{measure} s": field("seconds"),
        "min to max": spread,
        "ratio": lambda runs: number(median(runs, "seconds") / best, 2) if best else "",
        **of_fit,
        "CPU s": field("cpu_seconds"),
        "+MB": field("peak_mb", number),
        **{SCORES[metric][0]: score(metric) for metric in metrics},
        **after_fit,
        "one row us": field("one_row_us"),
        "prepared us": field("prepared_row_us"),
        "rows/s, 1 caller": field("rows_per_second_1"),
        "2 callers": field("rows_per_second_2"),
        "trees": field("n_trees", number),
        "leaves": field("n_leaves", number),
    }


def table(libraries: dict[str, list[dict]]) -> str:
    """One Markdown table: a row for each library, the fastest first, those that failed last; no empty columns."""
    good = {name: [r for r in records if "error" not in r] for name, records in libraries.items()}
    order = sorted(good, key=lambda name: (not good[name], median(good[name], "seconds") or 0.0))
    metrics = next((list(records[0].get("score", {})) for records in good.values() if records), [])
    measure = next(iter(libraries.values()))[0].get("measure", "fit")
    cells = {
        head: [cell(good[name]) if good[name] else "" for name in order]
        for head, cell in columns(measure, metrics, fastest_peer(good)).items()
    }
    cells = {head: texts for head, texts in cells.items() if any(texts) or head == f"{measure} s"}
    cells["runs"] = []
    for i, name in enumerate(order):
        failed = len(libraries[name]) - len(good[name])
        cells["runs"].append(f"{len(good[name])}" + (f" ({failed} failed)" if failed else ""))
        if not good[name]:
            cells[f"{measure} s"][i] = libraries[name][-1]["error"]
    head = ["library", *cells]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---|" * ("version" in cells)]
    lines[1] += "---:|" * (len(head) - 1 - ("version" in cells))
    for i, name in enumerate(order):
        label = f"**{name}**" if is_ours(name) else name
        lines.append("| " + " | ".join([label, *(texts[i] for texts in cells.values())]) + " |")
    return "\n".join(lines)


EXPLANATION = """\
Medians over runs. *fit s*: wall seconds from the raw array to the model, of which *binning s* where the library makes
that a step of its own. *ratio*: to the fastest peer. *CPU s*: all threads together. *+MB*: peak memory above the loaded
data, in a fit or in the first prediction. *predict s*: the whole held-out set. *one row us*: median microseconds for
one row by the call that predicts tables, *prepared us* by a way made for single rows. *callers*: Python threads that
predict 256 rows a call. Differences under 10% are noise."""


def markdown(records: list[dict]) -> str:
    """All tables."""
    parts = [f"### {name}\n\n{table(libraries)}" for name, libraries in group(records).items()]
    return "\n\n".join([*parts, EXPLANATION])


def plot(records: list[dict], path: str) -> None:
    """Seconds as bars, one panel for each title; whiskers from the fastest to the slowest run."""
    records = [record for record in records if "error" not in record]
    if not records:
        raise SystemExit("nothing succeeded: nothing to plot")
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
        colours = ["tab:orange" if is_ours(library) else "tab:blue" for library in order]
        bars = panel.barh(order, middle, xerr=(below, above), color=colours, ecolor="0.3", capsize=2)
        panel.bar_label(bars, labels=[significant(m) for m in middle], padding=6)
        problem, work, circumstances, _ = name.split("; ")
        panel.set_title(f"{problem}\n{work}; {circumstances}", fontsize=9, loc="left")
        panel.set_xlabel("seconds")
        panel.margins(x=0.15)
    figure.savefig(path, dpi=120)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description="Tables from JSON lines.")
    parser.add_argument("files", nargs="+", metavar="FILE.jsonl")
    parser.add_argument("--plot", metavar="FILE.png")
    parser.add_argument("--goals", action="store_true", help="of a file of the suite: goals first, then all tables")
    options = parser.parse_args(arguments)
    records = read(options.files)
    if options.goals:
        from benchmarks.suite import page  # which imports this module

        print(page(records))
    else:
        print(markdown(records))
    if options.plot:
        plot(records, options.plot)


if __name__ == "__main__":
    main()
