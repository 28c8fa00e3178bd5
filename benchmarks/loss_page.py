"""The page of the comparison of losses: for each view a table a loss."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from scipy.stats import rankdata
from scipy.stats import t as student

from benchmarks.loss_cases import METRICS
from benchmarks.loss_libraries import LIBRARIES, PACKAGES

#: Libraries that grow symmetric trees, and what is not another one's.
SYMMETRIC, OURS_SYMMETRIC = "catboost-symmetric", "boostgrad-symmetric"
OURS = ("boostgrad", OURS_SYMMETRIC, "boostgrad-vector", "boostgrad-vector-symmetric")

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
        "*Beside the best other*: the difference of `boostgrad` to the library with the best mean metric, in percent "
        "of it, positive where boostgrad is better, and its standard error over the seeds, corrected for training sets "
        "that overlap (Nadeau and Bengio 2003). *Behind* or *ahead*: outside the 95% interval of Student's t, wide "
        "where splits are few. *Symmetric*: the same of `boostgrad-symmetric` and `catboost-symmetric`. *Best "
        "shape*: of whichever boostgrad has the best mean, as the best of the others is chosen."
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
    counts: dict[str, dict[str, int]] = {
        kind: defaultdict(int) for kind in ("all", "same trees", "symmetric", "best shape")
    }
    tables = _tables(records, "score")
    for loss, metric in METRICS.items():
        rows = {table: found for (of, table), found in tables.items() if of == loss}
        if not rows:
            continue
        names = [name for name in LIBRARIES if any(name in found for found in rows.values())]
        with_symmetric = {SYMMETRIC, OURS_SYMMETRIC} <= set(names)
        heading = [*names, "beside the best other", "", *(["symmetric", ""] if with_symmetric else [])]
        lines += ["", f"### {loss}: {metric.name}, {'higher' if metric.larger else 'lower'} is better", ""]
        lines += [f"| table | {' | '.join(heading)} |"]
        lines += ["|---|" + "---:|" * (len(names) + 1) + "---|" + ("---:|---|" if with_symmetric else "")]
        ranks = defaultdict(list)
        for table, found in rows.items():
            best = _best(_others(found), metric.larger)
            cells = [f"{np.mean(list(found[name].values())):.5g}" if name in found else "" for name in names]
            if best:
                cells[names.index(best)] = f"**{cells[names.index(best)]}**"
            compared = [_beside(found, "boostgrad", best, metric.larger)]
            if with_symmetric:
                compared.append(_beside(found, OURS_SYMMETRIC, SYMMETRIC, metric.larger))
                counts["symmetric"][compared[1][1]] += 1
            if OURS_SYMMETRIC in found:
                chosen = _best({name: found[name] for name in OURS if name in found}, metric.larger)
                counts["best shape"][_beside(found, chosen, best, metric.larger)[1]] += 1
            lines.append(f"| {' | '.join([table, *cells, *(part for pair in compared for part in pair)])} |")
            counts["all"][compared[0][1]] += 1
            same_trees = {name: scores for name, scores in found.items() if not name.endswith("symmetric")}
            best_same = _best(_others(same_trees), metric.larger)
            counts["same trees"][_beside(found, "boostgrad", best_same, metric.larger)[1]] += 1
            sign = -1 if metric.larger else 1
            means = {name: sign * np.mean(list(found[name].values())) for name in names if name in found}
            for name, rank in zip(means, rankdata(list(means.values())), strict=True):
                ranks[name].append(rank)
        if len(rows) > 1:
            cells = [f"{np.mean(ranks[n]):.2f}" if n in ranks else "" for n in names]
            lines.append(f"| mean rank | {' | '.join(cells)} | | |" + (" | |" if with_symmetric else ""))
    summary = f"Rows: {_counted(counts['all'])}; with symmetric trees left out {_counted(counts['same trees'])}"
    if counts["symmetric"]:
        summary += f"; symmetric trees beside CatBoost's {_counted(counts['symmetric'])}"
    if counts["best shape"]:
        summary += f"; best shape, where several were grown, {_counted(counts['best shape'])}"
    summary += "."
    return ["", f"## {title}", "", summary, *lines, *_more(records)]


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{counts[word]} {word}" for word in ("ahead", "level", "behind") if counts[word])


def _others(found: dict[str, dict[int, float]]) -> dict[str, dict[int, float]]:
    return {name: scores for name, scores in found.items() if name not in (*OURS, "constant")}


def _best(found: dict[str, dict[int, float]], larger: bool) -> str:
    """The library with the best mean; "" where there is none."""
    means = {name: np.mean(list(scores.values())) for name, scores in found.items()}
    return (max if larger else min)(means, key=means.get) if means else ""


def _beside(found: dict[str, dict[int, float]], ours: str, theirs: str, larger: bool) -> tuple[str, str]:
    """The difference in percent with its standard error, and a word for it."""
    if ours not in found or theirs not in found:
        return "", ""
    mean, error = paired(found[ours], found[theirs])
    unit = abs(np.mean(list(found[theirs].values()))) / 100 * (1 if larger else -1)
    mean, error = mean / unit, error / abs(unit)
    n_splits = len(set(found[ours]) & set(found[theirs]))
    if np.isnan(error):
        return f"{mean:+.2f}%", "one seed"
    sure = abs(mean) > student.ppf(0.975, max(n_splits - 1, 1)) * error
    return f"{mean:+.2f}% ± {error:.2f}", "level" if not sure else "ahead" if mean > 0 else "behind"


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
