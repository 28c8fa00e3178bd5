"""The page of the comparison of losses: for each view a table a loss."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from scipy.stats import rankdata
from scipy.stats import t as student

from benchmarks.loss_cases import METRICS
from benchmarks.loss_libraries import LIBRARIES, PACKAGES

#: What records are made of, and the heading of their part of the page.
VIEWS = {"equal": "Equal work", "stopped": "Stopped early, by the same rows", "own": "Defaults of each library"}


def paired(ours: dict[int, float], theirs: dict[int, float]) -> tuple[float, float]:
    """Mean difference over the seeds, and its standard error where training sets overlap: the variance of the
    differences times 1/J + n_test / n_train (Nadeau and Bengio 2003), here with a quarter held out."""
    seeds = sorted(set(ours) & set(theirs))
    d = np.array([ours[seed] - theirs[seed] for seed in seeds])
    error = np.sqrt(d.var(ddof=1) * (1 / len(d) + 1 / 3)) if len(d) > 1 else np.nan
    return float(d.mean()), float(error)


def _tables(records: list[dict[str, Any]], value: str) -> dict[tuple[str, str], dict[str, dict[int, float]]]:
    """By loss and table, and by library, the values of the splits that all libraries have."""
    found: dict[tuple[str, str], dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for r in records:
        if value in r:
            found[r["loss"], r["table"]][r["library"]][r["seed"]] = r[value]
    for libraries in found.values():
        shared = set.intersection(*map(set, libraries.values()))
        for library, values in libraries.items():
            libraries[library] = {seed: values[seed] for seed in sorted(shared or values)}
    return found


def page(records: list[dict[str, Any]]) -> str:
    """What the columns mean, and the views that there are records of."""
    lines = [
        "*Beside the best other*: the difference to the library with the best mean metric, in percent of it, positive "
        "where boostgrad is better, and its standard error over the seeds, corrected for training sets that overlap "
        "(Nadeau and Bengio 2003). *Behind* or *ahead*: outside the 95% interval of Student's t, wide where splits "
        "are few."
    ]
    for view, title in VIEWS.items():
        of_view = [r for r in records if r["view"] == view]
        if of_view:
            lines += _view(of_view, title)
    versions = {PACKAGES.get(r["library"], r["library"]): r["version"] for r in records if r["version"]}
    return "\n".join(
        [*lines, "", "Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items()) + "."]
    )


def _view(records: list[dict[str, Any]], title: str) -> list[str]:
    """A table a loss: mean metrics, and boostgrad beside the best of the others."""
    lines: list[str] = []
    counts: dict[str, int] = defaultdict(int)
    same_trees: dict[str, int] = defaultdict(int)
    tables = _tables(records, "score")
    for loss, metric in METRICS.items():
        rows = {table: found for (of, table), found in tables.items() if of == loss}
        if not rows:
            continue
        names = [name for name in LIBRARIES if any(name in found for found in rows.values())]
        lines += ["", f"### {loss}: {metric.name}, {'higher' if metric.larger else 'lower'} is better", ""]
        lines += [
            f"| table | {' | '.join(names)} | beside the best other | |",
            "|---|" + "---:|" * len(names) + "---:|---|",
        ]
        ranks = defaultdict(list)
        for table, found in rows.items():
            line, word = _row(table, found, names, metric.larger)
            lines.append(line)
            counts[word] += 1
            leafwise = {name: scores for name, scores in found.items() if name != "catboost-symmetric"}
            same_trees[_row(table, leafwise, names, metric.larger)[1]] += 1
            sign = -1 if metric.larger else 1
            means = {name: sign * np.mean(list(found[name].values())) for name in names if name in found}
            for name, rank in zip(means, rankdata(list(means.values())), strict=True):
                ranks[name].append(rank)
        if len(rows) > 1:
            lines.append(
                f"| mean rank | {' | '.join(f'{np.mean(ranks[n]):.2f}' if n in ranks else '' for n in names)} | | |"
            )
    summary = f"Rows: {_counted(counts)}; with symmetric trees left out {_counted(same_trees)}."
    return ["", f"## {title}", "", summary, *lines, *_more(records)]


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{counts[word]} {word}" for word in ("ahead", "level", "behind") if counts[word])


def _row(table: str, found: dict[str, dict[int, float]], names: list[str], larger: bool) -> tuple[str, str]:
    cells = [f"{np.mean(list(found[name].values())):.5g}" if name in found else "" for name in names]
    others = {name: np.mean(list(found[name].values())) for name in found if name not in ("boostgrad", "constant")}
    if "boostgrad" not in found or not others:
        return f"| {table} | {' | '.join(cells)} | | |", ""
    best = (max if larger else min)(others, key=others.get)
    mean, error = paired(found["boostgrad"], found[best])
    unit = abs(others[best]) / 100 * (1 if larger else -1)
    mean, error = mean / unit, error / abs(unit)
    n_splits = len(set(found["boostgrad"]) & set(found[best]))
    sure = abs(mean) > student.ppf(0.975, max(n_splits - 1, 1)) * error
    word = "level" if not sure else "ahead" if mean > 0 else "behind"
    word, spread = ("one seed", "") if np.isnan(error) else (word, f" ± {error:.2f}")
    cells[names.index(best)] = f"**{cells[names.index(best)]}**"
    return f"| {table} | {' | '.join(cells)} | {mean:+.2f}%{spread} | {word} |", word


def _more(records: list[dict[str, Any]]) -> list[str]:
    """Tables of what a metric does not say."""
    lines: list[str] = []
    for value, title in (
        ("crossing", "Share of rows whose quantiles cross"),
        ("crps", "normal_nll: CRPS, lower is better"),
    ):
        tables = _tables(records, value)
        names = [name for name in LIBRARIES if any(name in found for found in tables.values())]
        if names:
            lines += ["", f"### {title}", "", f"| table | {' | '.join(names)} |", "|---|" + "---:|" * len(names)]
        for (_, table), found in tables.items():
            cells = [f"{np.mean(list(found[name].values())):.4g}" if name in found else "" for name in names]
            lines.append(f"| {table} | {' | '.join(cells)} |")
    of_distributions = [r for r in records if r["loss"] == "normal_nll"]
    tables = _tables(of_distributions, "cpu_seconds")
    names = [name for name in LIBRARIES if any(name in found for found in tables.values())]
    if names:
        lines += ["", "### normal_nll: median CPU seconds of a fit", "", f"| table | {' | '.join(names)} |"]
        lines += ["|---|" + "---:|" * len(names)]
    for (_, table), found in tables.items():
        cells = [f"{np.median(list(found[name].values())):.3g}" if name in found else "" for name in names]
        lines.append(f"| {table} | {' | '.join(cells)} |")
    return lines
