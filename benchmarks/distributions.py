"""Whole distributions beside NGBoost: NLL and CRPS of held-out rows, and CPU seconds of fits and of predictions.

::

    python -m benchmarks.distributions FILES --out rows8k.jsonl --page distributions.md
    python -m benchmarks.distributions FILES --views equal --seeds 0 --most-rows 30000 --out rows30k.jsonl

In an environment of its own, because NGBoost needs a scikit-learn older than 1.9; boostgrad takes 1.6. Views:

equal
    100 trees a parameter of 31 leaves with at least 20 rows, rate 0.1; boostgrad also has its 255 bins, and a penalty
    and a least sum of hessians of 1.
stopped
    The same, up to 300 trees, and training stops after 10 without a better NLL on a fifth of the training rows, the
    same rows for both.
steps
    As stopped, but boostgrad's rate is 0.2: NGBoost searches for the length of each step, and doubles many.
defaults
    What each library does if it is told nothing: NGBoost 500 trees of depth 3 at a rate of 0.01.

Each library gets the table as it takes it, made before the clock starts: boostgrad a frame with categories, NGBoost
numbers. Both run on one thread, in turns. Seconds are CPU time, means of the splits; predictions are timed after a
first call, in which boostgrad gets its trees ready.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import pathlib
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
from scipy.stats import t as student

from benchmarks.loss_cases import Case, Table, pinball, read
from benchmarks.loss_libraries import Work, as_codes
from benchmarks.loss_page import paired

#: NGBoost's names, and which tables the distributions suit.
DISTRIBUTIONS: dict[str, tuple[str, Callable[[Table], bool]]] = {
    "normal_nll": ("Normal", lambda table: table.task == "regression"),
    "lognormal_nll": ("LogNormal", lambda table: table.task == "regression" and table.y.min() > 0),
    "gamma_nll": ("Gamma", lambda table: table.task == "regression" and table.y.min() > 0),
    "poisson_nll": ("Poisson", lambda table: table.task == "poisson"),
}
VIEWS = {
    "equal": "Equal work",
    "stopped": "Stopped early, by the same rows",
    "steps": "Stopped early, with steps as long as NGBoost makes them",
    "defaults": "Defaults of each library",
}

STOPPED = ("stopped", "steps")

# What NGBoost's line search makes of many steps, in units of the rate.
SCALE = 2

# Quantiles by which a CRPS is computed.
N_LEVELS = 200

# From a table to predict to a frozen distribution of scipy.stats, and the number of iterations that are used.
Fitted = tuple[Callable[[Any], Any], int]


def boostgrad(case: Case, X: Any, view: str, work: Work) -> Fitted:
    from boostgrad import BoostGradRegressor

    told = {
        "n_estimators": work.trees,
        "max_leaf_nodes": work.leaves,
        "learning_rate": work.rate * (SCALE if view == "steps" else 1),
        "max_bins": work.bins,
        "min_samples_leaf": work.rows_in_leaf,
        "l2_regularization": work.l2,
        "min_child_weight": work.child_weight,
        "early_stopping": case.stop is not None,
        "n_iter_no_change": work.patience,
    }
    to_stop = {} if case.stop is None else {"X_val": X.iloc[case.stop], "y_val": case.y[case.stop]}
    model = BoostGradRegressor(case.loss, n_jobs=1, random_state=work.seed, **({} if view == "defaults" else told))
    model.fit(X.iloc[case.train], case.y[case.train], **to_stop)
    return model.predict_distribution, model.n_iter_


def ngboost(case: Case, X: Any, view: str, work: Work) -> Fitted:
    from ngboost import NGBRegressor, distns
    from sklearn.tree import DecisionTreeRegressor

    told = {}
    if view != "defaults":
        shape = {"max_leaf_nodes": work.leaves, "min_samples_leaf": work.rows_in_leaf}
        told = {
            "Base": DecisionTreeRegressor(**shape, random_state=work.seed),
            "n_estimators": work.trees,
            "learning_rate": work.rate,
        }
    to_stop = {}
    if case.stop is not None:
        told["early_stopping_rounds"] = work.patience
        to_stop = {"X_val": X[case.stop], "Y_val": case.y[case.stop]}
    model = NGBRegressor(getattr(distns, DISTRIBUTIONS[case.loss][0]), verbose=False, random_state=work.seed, **told)
    with contextlib.redirect_stdout(io.StringIO()):
        model.fit(X[case.train], case.y[case.train], **to_stop)
    best = model.n_estimators if case.stop is None else int(model.best_val_loss_itr)
    return lambda rows: model.pred_dist(rows, max_iter=best).dist, best


def numbers(X: Any) -> np.ndarray:
    """Categories by their codes, and a number for what is missing."""
    X = as_codes(X).to_numpy(np.float64)
    return np.where(np.isnan(X), -999.0, X)


LIBRARIES = {"boostgrad": (boostgrad, lambda X: X), "ngboost": (ngboost, numbers)}


def nll(frozen: Any, y: np.ndarray) -> float:
    return -float(np.mean(frozen.logpmf(y) if hasattr(frozen, "pmf") else frozen.logpdf(y)))


def crps(frozen: Any, y: np.ndarray) -> float:
    """Twice the pinball loss, on average of all levels (Gneiting and Raftery 2007, section 4.2)."""
    levels = (np.arange(N_LEVELS) + 0.5) / N_LEVELS
    return 2 * float(np.mean([pinball(y - frozen.ppf(level), level).mean() for level in levels]))


def measured(case: Case, library: str, view: str, work: Work) -> dict[str, Any]:
    """One fit and its predictions of the held-out rows."""
    fit, table_of = LIBRARIES[library]
    X = table_of(case.X)
    begin = time.process_time()
    predict, rounds = fit(case, X, view, work)
    fit_seconds = time.process_time() - begin
    test, y = X.iloc[case.test] if library == "boostgrad" else X[case.test], case.y[case.test]
    predict(test)
    begin = time.process_time()
    frozen = predict(test)
    predict_seconds = time.process_time() - begin
    return {
        "view": view,
        "loss": case.loss,
        "table": case.table,
        "library": library,
        "seed": work.seed,
        "n_train": len(case.train),
        "n_test": len(case.test),
        "rounds": rounds,
        "nll": nll(frozen, y),
        "crps": crps(frozen, y),
        "fit": fit_seconds,
        "predict": predict_seconds,
    }


def page(records: list[dict[str, Any]]) -> str:
    """For each view a table."""
    lines = [
        "*Ahead*: how much lower boostgrad's NLL (in nats) and CRPS (in percent) are, and the standard error over the "
        "splits, corrected for training sets that overlap (Nadeau and Bengio 2003); in bold outside the 95% interval "
        "of Student's t. *Times*: CPU seconds of NGBoost by those of boostgrad."
    ]
    for view, title in VIEWS.items():
        rows = [_row(of_row) for of_row in _rows(records, view)]
        if rows:
            heading = ["table", "distribution", "rows to fit", "rounds", "NLL", "ahead", "CRPS", "ahead", "fit, s"]
            heading += ["times", "predict, ms", "times"]
            lines += ["", f"### {title}", "", "Pairs are boostgrad / NGBoost.", "", f"| {' | '.join(heading)} |"]
            lines += ["|---|---|" + "---:|" * (len(heading) - 2), *rows]
            fits = [_times(of_row, "fit") for of_row in _rows(records, view)]
            lines += ["", f"Fits: {min(fits):.0f} to {max(fits):.0f} times, the median is {np.median(fits):.0f}."]
    return "\n".join(lines)


Row = dict[str, dict[int, dict[str, Any]]]  # by library and split


def _rows(records: list[dict[str, Any]], view: str) -> list[Row]:
    """Of each table, distribution and number of rows, the records of the splits that both libraries have."""
    found: dict[tuple[Any, ...], Row] = {}
    for r in records:
        if r["view"] == view:
            row = found.setdefault((r["n_train"], r["loss"], r["table"]), {library: {} for library in LIBRARIES})
            row[r["library"]][r["seed"]] = r
    rows = []
    for row in found.values():
        seeds = sorted(set.intersection(*map(set, row.values())))
        if seeds:
            rows.append({library: {seed: of_seeds[seed] for seed in seeds} for library, of_seeds in row.items()})
    return rows


def _mean(row: Row, library: str, what: str) -> float:
    return float(np.mean([r[what] for r in row[library].values()]))


def _times(row: Row, what: str) -> float:
    return _mean(row, "ngboost", what) / _mean(row, "boostgrad", what)


def _ahead(row: Row, what: str, unit: float, digits: int, sign: str) -> str:
    ours, theirs = ({seed: r[what] for seed, r in row[library].items()} for library in LIBRARIES)
    mean, error = (x / unit for x in paired(theirs, ours))
    text = f"{mean:+.{digits}f}{sign}" + ("" if np.isnan(error) else f" ± {error:.{digits}f}")
    return f"**{text}**" if abs(mean) > student.ppf(0.975, max(len(ours) - 1, 1)) * error else text


def _row(row: Row) -> str:
    first = next(iter(row["boostgrad"].values()))

    def pair(what: str, form: str, factor: float = 1.0) -> str:
        return " / ".join(format(factor * _mean(row, library, what), form) for library in LIBRARIES)

    cells = [
        first["table"],
        first["loss"].removesuffix("_nll"),
        f"{first['n_train']:,}",
        pair("rounds", ".0f"),
        pair("nll", ".3f"),
        _ahead(row, "nll", 1.0, 3, ""),
        pair("crps", ".4g"),
        _ahead(row, "crps", _mean(row, "ngboost", "crps") / 100, 1, "%"),
        pair("fit", ".3g"),
        f"{_times(row, 'fit'):.0f}",
        pair("predict", ".3g", 1e3),
        f"{_times(row, 'predict'):.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", metavar="FILE.parquet")
    parser.add_argument("--losses", nargs="+", choices=DISTRIBUTIONS, default=list(DISTRIBUTIONS))
    parser.add_argument("--views", nargs="+", choices=VIEWS, default=list(VIEWS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--most-rows", type=int, default=8_000, help="of a table, a quarter of them held out")
    parser.add_argument("--trees", type=int, nargs=2, default=[100, 300], help="of equal work, and to stop before")
    parser.add_argument("--out", metavar="FILE.jsonl", help="records are added; what is in it is not run again")
    parser.add_argument("--page", metavar="FILE.md")
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore")
    out = pathlib.Path(options.out) if options.out else None
    records = [json.loads(line) for line in out.read_text().splitlines()] if out and out.exists() else []
    done = {(r["view"], r["loss"], r["table"], r["library"], r["seed"]) for r in records}
    warm = set()
    for table in (read(path)[0] for path in options.paths):
        for loss in (loss for loss in options.losses if DISTRIBUTIONS[loss][1](table)):
            for view, seed in ((view, seed) for view in options.views for seed in options.seeds):
                case = table.case(loss, seed, options.most_rows)
                case = case.to_stop(seed) if view in STOPPED else case
                work = Work(trees=options.trees[view in STOPPED], threads=1, seed=seed)
                for library in LIBRARIES:
                    if (view, loss, table.name, library, seed) in done:
                        continue
                    if library not in warm:  # imports, and what is made once
                        measured(table.case(loss, seed, 300), library, "equal", Work(trees=2))
                        warm.add(library)
                    record = measured(case, library, view, work)
                    print(json.dumps(record), flush=True)
                    records.append(record)
                    if out:
                        with out.open("a", encoding="utf-8") as file:
                            file.write(json.dumps(record) + "\n")
    text = page(records)
    versions = ", ".join(f"{name} {version(name)}" for name in ("ngboost", "scikit-learn", "numpy", "scipy"))
    text += f"\n\nVersions: {versions}."
    print(text)
    if options.page:
        pathlib.Path(options.page).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
