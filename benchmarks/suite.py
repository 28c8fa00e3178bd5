"""Every row of the speed goals, by one command, and the page that sets what was measured beside them.

::

    python -m benchmarks.suite --out suite.jsonl --page suite.md            # an hour or two on two cores
    python -m benchmarks.suite --out quick.jsonl --page quick.md --quick    # tiny problems: does it all work?

What the file has already is not measured again, so an interrupted run goes on where it was; start a new file after a
change of code. ``--only`` names the jobs to run. The page alone: ``python -m benchmarks.report --goals suite.jsonl``.
"""

from __future__ import annotations

import argparse
import pathlib
import shlex
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import report, run

#: CatBoost needs two to four times the time of the fastest peer on larger data, and is left out there.
ALL = "boostgrad lightgbm lightgbm-quantized xgboost hgb hessboost bonsai"

#: What is run, by label, in the words of ``benchmarks.run``. The first problem meets all libraries; longer ones meet
#: those that were within 1.5 times the fastest when all were tried.
JOBS = {
    "31 leaves": f"--problem binary-1m --library {ALL}",
    "255 leaves": "--problem binary-1m --leaves 255 --library boostgrad lightgbm-quantized hessboost bonsai",
    "depth 8": "--problem binary-1m --policy depthwise --depth 8 --library boostgrad xgboost hessboost bonsai",
    "5M rows": "--problem regression-5m --library boostgrad lightgbm hgb bonsai",
    "10 classes": "--problem multiclass-200k --library boostgrad xgboost hessboost bonsai",
    "wide": "--problem regression-wide --library boostgrad hgb bonsai",
    "2k rows": f"--problem binary-2k --library {ALL} catboost",
    "569 rows": f"--problem breast-cancer --library {ALL} catboost",
    "1 thread": "--problem binary-1m --threads 1 --library boostgrad lightgbm bonsai",
    "ranking": "--problem ranking-200k --library boostgrad lightgbm xgboost hessboost",
    "busy": "--problem binary-1m --busy --library boostgrad bonsai",
    "binning": "--problem binary-1m --measure binning --library boostgrad lightgbm xgboost hgb bonsai",
    "predict 31": "--problem binary-1m --measure predict "
    "--library boostgrad lightgbm xgboost hessboost bonsai boostgrad-avx2 boostgrad-baseline",
    "predict 255": "--problem binary-1m --measure predict --trees 500 --leaves 255 "
    "--library boostgrad xgboost hessboost bonsai",
    "predict, 1 thread": "--problem binary-1m --measure predict --threads 1 --library boostgrad lightgbm hessboost",
}

#: Stands in for a problem in a quick run.
QUICK = {
    "binary-1m": "smoke-binary",
    "regression-5m": "smoke-regression",
    "multiclass-200k": "smoke-multiclass",
    "ranking-200k": "smoke-ranking",
    "regression-wide": "smoke-regression",
    "binary-2k": "smoke-binary",
}

Results = dict[str, dict[str, list[dict]]]  # by label and library, without failures
Figure = Callable[[Results, str], float | None]


# -- goals -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One row of the goals.

    Attributes
    ----------
    text : str
    job : str
        Label of the job whose scores stand beside the figures.
    goal : str
    met : callable
        (our figure, the best peer's) to whether the goal is met; the latter may be NaN.
    figure : callable or None
        (results, library) to the number; None: the job's median seconds.
    unit : str
    larger : bool
        Whether more is better.
    ours : str
        The library that stands for us.
    peers : tuple of str or None
        Who counts as a peer; None: all.
    """

    text: str
    job: str
    goal: str
    met: Callable[[float, float], bool]
    figure: Figure | None = None
    unit: str = "s"
    larger: bool = False
    ours: str = report.OURS
    peers: tuple[str, ...] | None = None


def field(job: str, key: str = "seconds") -> Figure:
    """A field's median."""
    return lambda results, library: report.median(results.get(job, {}).get(library, []), key)


def quotient(above: Figure, below: Figure) -> Figure:
    """One figure over another."""

    def figure(results, library):
        a, b = above(results, library), below(results, library)
        return None if a is None or not b else a / b

    return figure


def ratio(job: str, text: str, goal: float, **more) -> Row:
    """A row whose goal is a ratio to the fastest peer."""
    return Row(text, job, f"ratio <= {goal:.2f}", lambda ours, peer: ours <= goal * peer, **more)


TRAINING = (
    ratio("31 leaves", "1M x 28 binary, 100 trees, 31 leaves", 0.50),
    ratio("255 leaves", "the same, 255 leaves", 0.55),
    ratio("depth 8", "the same, depth-wise, depth 8", 0.50),
    ratio("5M rows", "5M x 10 regression, 31 leaves", 0.45),
    ratio("10 classes", "200k x 50, 10 classes, 50 rounds, 31 leaves", 0.50),
    ratio("wide", "20k x 2000 regression, 31 leaves", 0.60),
    ratio("ranking", "200k x 136, 2,000 queries, LambdaRank, 31 leaves", 0.60),
    ratio("2k rows", "2k x 20 binary, 300 trees", 0.50),
    ratio("569 rows", "569 x 30 binary, 100 trees", 0.50),
    Row(
        "memory above the input, 1M x 28 float32",
        "31 leaves",
        "<= 95 MB, and below every peer",
        lambda ours, peer: ours <= 95 and ours < peer,
        field("31 leaves", "peak_mb"),
        "MB",
    ),
    Row(
        "2 threads against 1, 1M x 28",
        "1 thread",
        ">= 1.8x",
        lambda ours, peer: ours >= 1.8,
        quotient(field("1 thread"), field("31 leaves")),
        "x",
        larger=True,
    ),
    Row(
        "1M x 28 with one core kept busy, to its own quiet time",
        "busy",
        "<= 1.5x",
        lambda ours, peer: ours <= 1.5,
        quotient(field("busy"), field("31 leaves")),
        "x",
    ),
    Row(
        "binning alone, 1M x 28",
        "binning",
        "<= 0.15 s or ratio <= 0.50",
        lambda ours, peer: ours <= 0.15 or ours <= 0.5 * peer,
    ),
)

PREDICTION = (
    ratio("predict 31", "1M x 28 rows, 100 trees of 31 leaves", 0.40),
    ratio("predict 255", "1M x 28 rows, 500 trees of 255 leaves", 0.50),
    Row(
        "one row, the public call",
        "predict, 1 thread",
        "<= 25 us",
        lambda ours, peer: ours <= 25,
        field("predict, 1 thread", "one_row_us"),
        "us",
    ),
    Row(
        "one row, prepared predictor",
        "predict, 1 thread",
        "<= 2 us",
        lambda ours, peer: ours <= 2,
        field("predict, 1 thread", "prepared_row_us"),
        "us",
    ),
    ratio("predict 31", "without AVX-512, beside LightGBM", 1.0, ours="boostgrad-avx2", peers=("lightgbm",)),
    ratio("predict 31", "without AVX2, beside LightGBM", 1.0, ours="boostgrad-baseline", peers=("lightgbm",)),
    Row(
        "memory during predict, as a share of X (the result is 0.14 of it)",
        "predict 31",
        "no copy of X: <= 0.5",
        lambda ours, peer: ours <= 0.5,
        quotient(field("predict 31", "peak_mb"), field("predict 31", "input_mb")),
        "",
    ),
    Row(
        "rows a second, two calling threads against one",
        "predict, 1 thread",
        "scales: >= 1.5x",
        lambda ours, peer: ours >= 1.5,
        quotient(field("predict, 1 thread", "rows_per_second_2"), field("predict, 1 thread", "rows_per_second_1")),
        "x",
        larger=True,
    ),
)


def collect(records: list[dict]) -> Results:
    """Records that did not fail, by label and library."""
    results: Results = {}
    for record in records:
        if "error" not in record:
            results.setdefault(record.get("label"), {}).setdefault(record["library"], []).append(record)
    return results


def score(results: Results, job: str, library: str | None) -> str:
    """The first of the scores, where there are any."""
    runs = results.get(job, {}).get(library, [])
    if not runs or not runs[0].get("score"):
        return ""
    metric = next(iter(runs[0]["score"]))
    name, decimals = report.SCORES[metric]
    return f"{name} {report.number(report.median([run['score'] for run in runs], metric), decimals)}"


def goal_line(row: Row, results: Results) -> str:
    """One row of the table."""
    figure = row.figure or field(row.job)
    libraries = row.peers or [name for name in results.get(row.job, {}) if not report.is_ours(name)]
    peers = {name: value for name in libraries if (value := figure(results, name)) is not None}
    ours = figure(results, row.ours)
    best = (max if row.larger else min)(peers, key=peers.__getitem__, default=None)
    peer = peers.get(best, float("nan"))
    cells = [row.text]
    cells += ["not measured" if ours is None else f"{report.significant(ours)} {row.unit}".strip()]
    cells += ["" if best is None else f"{best}: {report.significant(peer)} {row.unit}".strip()]
    cells += ["" if ours is None or best is None or not peer else f"{ours / peer:.2f}", row.goal]
    cells += ["" if ours is None else "yes" if row.met(ours, peer) else "**no**"]
    cells += [score(results, row.job, row.ours), score(results, row.job, best)]
    return "| " + " | ".join(cells) + " |"


def page(records: list[dict]) -> str:
    """Goals, then all tables."""
    results = collect(records)
    machines = sorted({f"{record['machine']['cpu']}, {record['machine']['cores']} cores" for record in records})
    repeats = {len(runs) for libraries in results.values() for runs in libraries.values()}
    head = [
        f"# Speed: boostgrad beside the best peer\n\n{'; '.join(machines)}; medians of "
        f"{' or '.join(map(str, sorted(repeats)))} runs, each in a fresh process, libraries taking turns; 2 threads "
        "where nothing else is said. Made by\n\n    python -m benchmarks.suite --out FILE.jsonl --page FILE.md"
    ]
    if any(record["problem"].startswith("smoke-") for record in records):
        head.append("**A trial with tiny problems: the figures mean nothing.**")
    columns = ["boostgrad", "best peer", "ratio", "goal", "met", "score, boostgrad", "peer"]
    for title, rows in (("Training", TRAINING), ("Prediction", PREDICTION)):
        lines = [f"| {' | '.join([title.lower(), *columns])} |", "|---|---:|---:|---:|---|---|---|---|"]
        head.append(f"## {title}\n\n" + "\n".join(lines + [goal_line(row, results) for row in rows]))
    return "\n\n".join([*head, "## All figures", report.markdown(records)])


# -- running -----------------------------------------------------------------------------------------------------------


def quick(arguments: list[str]) -> list[str]:
    """The same on a tiny problem, with few trees, once."""
    arguments = [QUICK.get(argument, argument) for argument in arguments]
    return [*arguments, "--trees", "5", "--train-rows", "500", "--repeat", "1", "--timeout", "120"]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suite", description="Every row of the speed goals.")
    parser.add_argument("--out", required=True, metavar="FILE.jsonl", help="what it has already is not repeated")
    parser.add_argument("--page", metavar="FILE.md")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="tiny problems, to see that all works")
    parser.add_argument("--only", nargs="+", choices=JOBS, default=list(JOBS), metavar="JOB", help=f"{list(JOBS)}")
    options = parser.parse_args(arguments)
    for label in options.only:
        job = ["--repeat", f"{options.repeat}", *shlex.split(JOBS[label])]
        run.main([*(quick(job) if options.quick else job), "--label", label, "--out", options.out, "--resume"])
    if options.page:
        pathlib.Path(options.page).write_text(page(report.read([options.out])) + "\n")


if __name__ == "__main__":
    main()
