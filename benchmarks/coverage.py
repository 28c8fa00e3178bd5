"""Prediction intervals and prediction sets: what they cover of held-out rows, and how wide or large they are.

::

    python -m benchmarks.coverage                                                  # made-up noise that differs by row
    python -m benchmarks.coverage --seeds 0 1 2 3 4 A.parquet B.parquet --page coverage.md       # tables of one's own
    python -m benchmarks.coverage --few 50 100 400          # few rows that stop the training, in a case hard for them

A Parquet file is read as by ``benchmarks.categories``: a label in the column ``target``, and a quarter of the rows held
out. A table of classes has sets, others intervals. "early" is calibrated with the tenth of the training rows that
early stopping holds out, and that chose the number of trees; "apart" with another tenth, which nothing has seen, while
early stopping holds out a tenth of the rest; "folds" with all training rows by five-fold cross-fitting. The first says
the same as the second, if to calibrate with rows that stopped the training does no harm.

Widths are in standard deviations of the target. The score is the interval score of Gneiting and Raftery (2007), width
plus 2 / (1 - coverage) times what a target is outside, in the same units: lower is better, and it is not low by
intervals that are narrow only because they cover too little.
"""

from __future__ import annotations

import argparse
import pathlib
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.categories import THREADS, Task, read

TREES = 300


@dataclass(frozen=True)
class Parts:
    """Rows to fit, to calibrate apart, and to test with."""

    X: Any
    y: np.ndarray
    fit: np.ndarray
    calibrate: np.ndarray
    test: np.ndarray

    @classmethod
    def of(cls, task: Task) -> Parts:
        n = int(0.9 * len(task.train))
        return cls(task.X, task.y, task.train[:n], task.train[n:], task.test)

    def taken(self, rows: np.ndarray) -> tuple[Any, np.ndarray]:
        return self.X.iloc[rows], self.y[rows]

    @property
    def train(self) -> np.ndarray:
        return np.concatenate([self.fit, self.calibrate])


def made_up(n_rows: int, seed: int) -> Task:
    """Noise whose size depends on a column."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    X = pd.DataFrame({f"x{j}": rng.random(n_rows) for j in range(6)})
    y = np.sin(6 * X["x0"]) + X["x1"] * X["x2"] + (0.1 + X["x3"]) * rng.standard_normal(n_rows)
    return Task("made up", "regression", X, y.to_numpy(), *np.split(np.arange(n_rows), [int(0.75 * n_rows)]))


# ---- models ----------------------------------------------------------------------------------------------------------


def regressor(seed: int, coverage: float, kind: str, **more: Any) -> Any:
    from boostgrad import BoostGradRegressor

    tails = [(1 - coverage) / 2, (1 + coverage) / 2]
    of_kind = {"residuals": {}, "quantiles": {"loss": "quantile", "quantile": tails}, "normal": {"loss": "normal_nll"}}
    return BoostGradRegressor(n_estimators=TREES, n_jobs=THREADS, random_state=seed, **of_kind[kind], **more)


def early(kind: str) -> Callable[[Parts, int, float], np.ndarray]:
    def interval(parts: Parts, seed: int, coverage: float) -> np.ndarray:
        model = regressor(seed, coverage, kind, early_stopping=True).fit(*parts.taken(parts.train))
        return model.predict_interval(parts.X.iloc[parts.test], coverage)

    return interval


def apart(kind: str) -> Callable[[Parts, int, float], np.ndarray]:
    def interval(parts: Parts, seed: int, coverage: float) -> np.ndarray:
        model = regressor(seed, coverage, kind, early_stopping=True).fit(*parts.taken(parts.fit))
        return model.calibrate(*parts.taken(parts.calibrate)).predict_interval(parts.X.iloc[parts.test], coverage)

    return interval


def folds(kind: str) -> Callable[[Parts, int, float], np.ndarray]:
    def interval(parts: Parts, seed: int, coverage: float) -> np.ndarray:
        model = regressor(seed, coverage, kind, early_stopping=True).fit(*parts.taken(parts.train))
        return model.calibrate(*parts.taken(parts.train), cv=5).predict_interval(parts.X.iloc[parts.test], coverage)

    return interval


def quantiles_as_they_are(parts: Parts, seed: int, coverage: float) -> np.ndarray:
    model = regressor(seed, coverage, "quantiles", early_stopping=True).fit(*parts.taken(parts.train))
    return model.predict(parts.X.iloc[parts.test])


def hgb_at(levels: tuple[float, ...], parts: Parts, rows: np.ndarray, seed: int) -> list[Any]:
    from sklearn.ensemble import HistGradientBoostingRegressor as HGB

    shared = {"max_iter": TREES, "early_stopping": True, "categorical_features": "from_dtype", "random_state": seed}
    return [HGB(loss="quantile", quantile=level, **shared).fit(*parts.taken(rows)) for level in levels]


def hgb_as_it_is(parts: Parts, seed: int, coverage: float) -> np.ndarray:
    models = hgb_at(((1 - coverage) / 2, (1 + coverage) / 2), parts, parts.train, seed)
    return np.sort(np.stack([model.predict(parts.X.iloc[parts.test]) for model in models], axis=1), axis=1)


def mapie(parts: Parts, seed: int, coverage: float) -> np.ndarray:
    """Conformalised quantiles of HistGradientBoosting, which MAPIE wants with the median; columns of numbers only."""
    from mapie.regression import ConformalizedQuantileRegressor

    models = hgb_at(((1 - coverage) / 2, (1 + coverage) / 2, 0.5), parts, parts.fit, seed)
    model = ConformalizedQuantileRegressor(models, confidence_level=coverage, prefit=True)
    model.conformalize(*parts.taken(parts.calibrate))
    return model.predict_interval(parts.X.iloc[parts.test], symmetric_correction=True)[1][:, :, 0]


INTERVALS: dict[str, Callable[[Parts, int, float], np.ndarray]] = {
    "residuals, early": early("residuals"),
    "residuals, apart": apart("residuals"),
    "residuals, folds": folds("residuals"),
    "quantiles, early": early("quantiles"),
    "quantiles, apart": apart("quantiles"),
    "normal, early": early("normal"),
    "normal, apart": apart("normal"),
    "quantiles as they are": quantiles_as_they_are,
    "HGB quantiles as they are": hgb_as_it_is,
    "HGB quantiles, MAPIE": mapie,
}


def sets_of(where: str, class_conditional: bool) -> Callable[[Parts, int, float], tuple[np.ndarray, np.ndarray]]:
    def sets(parts: Parts, seed: int, coverage: float) -> tuple[np.ndarray, np.ndarray]:
        from boostgrad import BoostGradClassifier

        model = BoostGradClassifier(n_estimators=TREES, n_jobs=THREADS, random_state=seed, early_stopping=True)
        model.fit(*parts.taken(parts.fit if where == "apart" else parts.train))
        if where == "apart":
            model.calibrate(*parts.taken(parts.calibrate))
        X = parts.X.iloc[parts.test]
        return model.predict_set(X, coverage, class_conditional=class_conditional), model.classes_

    return sets


SETS = {
    "early": sets_of("early", False),
    "apart": sets_of("apart", False),
    "early, by class": sets_of("early", True),
    "apart, by class": sets_of("apart", True),
}


# ---- what is measured ------------------------------------------------------------------------------------------------


def of_intervals(y: np.ndarray, interval: np.ndarray, coverage: float) -> dict[str, float]:
    below, above = interval[:, 0] - y, y - interval[:, 1]
    outside = np.maximum(np.maximum(below, above), 0.0)
    width = interval[:, 1] - interval[:, 0]
    unit = np.std(y)
    score = width + 2 / (1 - coverage) * outside
    return {"coverage": np.mean(outside == 0), "width": np.mean(width) / unit, "score": np.mean(score) / unit}


def of_sets(y: np.ndarray, members: np.ndarray, classes: np.ndarray) -> dict[str, float]:
    """The least coverage of a class is that of those with 50 test rows or more."""
    held = members[np.arange(len(y)), np.searchsorted(classes, y)]
    of_class = [held[y == label].mean() for label in classes if np.sum(y == label) >= 50]
    return {
        "coverage": held.mean(),
        "size": members.sum(axis=1).mean(),
        "empty": np.mean(~members.any(axis=1)),
        "least of a class": min(of_class),
    }


def run(task: Task, method: str, seed: int, coverage: float) -> dict[str, Any]:
    parts = Parts.of(task)
    y = task.y[parts.test]
    begin = time.perf_counter()
    if task.kind == "regression":
        found = of_intervals(y, INTERVALS[method](parts, seed, coverage), coverage)
    else:
        found = of_sets(y, *SETS[method](parts, seed, coverage))
    seconds = time.perf_counter() - begin
    rows = {"calibration": len(parts.calibrate), "test": len(parts.test)}
    return {"task": task.name, "kind": task.kind, "method": method, "seed": seed, "seconds": seconds, **rows, **found}


def tables(records: list[dict[str, Any]], coverage: float) -> str:
    """For each table and method, means over the seeds; of the coverage the least and the largest, too."""
    lines = []
    for kinds, columns in ((("regression",), ["width", "score"]), (("binary", "multiclass"), None)):
        columns = columns or ["size", "empty", "least of a class"]
        cases = defaultdict(list)
        for r in records:
            if r["kind"] in kinds:
                cases[r["task"], r["method"]].append(r)
        if not cases:
            continue
        lines += ["", f"| table | calibrated | coverage | least to largest | {' | '.join(columns)} |"]
        lines.append("|---|---|---:|---:|" + "---:|" * len(columns))
        by_method = defaultdict(list)
        for (task, method), found in cases.items():
            covered = [r["coverage"] for r in found]
            means = [f"{np.mean([r[column] for r in found]):.3f}" for column in columns]
            span = f"{min(covered):.3f} to {max(covered):.3f}"
            lines.append(f"| {task} | {method} | {np.mean(covered):.4f} | {span} | {' | '.join(means)} |")
            by_method[method].append(np.mean(covered))
        lines += ["", "| calibrated | mean over tables | farthest mean of a table from nominal |", "|---|---:|---:|"]
        for method, of_tables in by_method.items():
            farthest = max(of_tables, key=lambda c: abs(c - coverage))
            lines.append(f"| {method} | {np.mean(of_tables):.4f} | {farthest:.4f} |")
    sampling = {}
    for r in records:
        sampling[r["task"]] = np.sqrt(coverage * (1 - coverage) * (1 / r["calibration"] + 1 / r["test"]))
    lines += ["", "Standard deviation of the coverage of one seed that calibration and test rows alone make:"]
    lines.append(", ".join(f"{task} {error:.4f}" for task, error in sampling.items()) + ".")
    return "\n".join(lines).strip()


def few(n: int, coverage: float, times: int = 600) -> str:
    """So many rows stop the training of a target that is nearly all noise, in long steps, and calibrate it; beside so
    many others: means over made-up tables, with their standard errors."""
    from boostgrad import BoostGradRegressor

    sizes = np.cumsum([500, n, n])
    found = []
    for seed in range(times):
        rng = np.random.default_rng(seed)
        X = rng.random((sizes[-1] + 4000, 5))
        y = X[:, 0] + rng.standard_normal(len(X))
        (X_fit, X_val, X_cal, X_test), (y_fit, y_val, y_cal, y_test) = np.split(X, sizes), np.split(y, sizes)
        model = BoostGradRegressor(
            n_estimators=200, learning_rate=0.3, max_leaf_nodes=8, n_iter_no_change=20, n_jobs=1, random_state=0
        )
        model.fit(X_fit, y_fit, X_val=X_val, y_val=y_val)
        early = of_intervals(y_test, model.predict_interval(X_test, coverage), coverage)["coverage"]
        model.calibrate(X_cal, y_cal)
        found.append([early, of_intervals(y_test, model.predict_interval(X_test, coverage), coverage)["coverage"]])
    means, errors = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(times)
    theorem = np.ceil((n + 1) * coverage) / (n + 1)
    cells = [f"{mean:.4f} +- {error:.4f}" for mean, error in zip(means, errors, strict=True)]
    return f"| {n} | {cells[0]} | {cells[1]} | {theorem:.4f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", metavar="FILE.parquet")
    parser.add_argument("--coverage", type=float, default=0.9)
    parser.add_argument("--rows", type=int, default=20_000, help="of the made-up table, held-out ones included")
    parser.add_argument("--most-rows", type=int, default=40_000, help="of a file, held-out ones included")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--methods", nargs="+", choices=[*INTERVALS, *SETS], default=[*INTERVALS, *SETS])
    parser.add_argument("--few", type=int, nargs="+", metavar="ROWS", help="that, and nothing else")
    parser.add_argument("--page", metavar="FILE.md")
    options = parser.parse_args()
    if options.few:
        print("| rows | early | apart | the theorem |\n|---:|---:|---:|---:|")
        for n in options.few:
            print(few(n, options.coverage), flush=True)
        return
    records = []
    for path in options.files or [None]:
        for seed in options.seeds:
            task = made_up(options.rows, seed) if path is None else read(path, seed, options.most_rows)
            for method in INTERVALS if task.kind == "regression" else SETS:
                if method not in options.methods:
                    continue
                try:
                    record = run(task, method, seed, options.coverage)
                except Exception as error:  # a library is not there, or refuses the frame
                    print(f"{task.name}  {method}  refused: {str(error).splitlines()[0][:100]}", flush=True)
                    continue
                print(f"{task.name}  {method}  {record['coverage']:.4f}  {record['seconds']:.1f} s", flush=True)
                records.append(record)
    text = tables(records, options.coverage)
    print(text)
    if options.page:
        pathlib.Path(options.page).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
