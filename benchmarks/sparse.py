"""A sparse table: time and held-out AUC of boostgrad next to LightGBM, in turns.

::

    python -m benchmarks.sparse --page sparse.md          # 100,000 x 20,000 in CSR, 0.2% stored: a minute for LightGBM

Stored entries are counts, of which some hundred columns matter, as words of a text do. Both libraries get the same
matrix, and the same trees, leaves, rate and bins; LightGBM keeps its defaults for the rest, bundling included.
"""

from __future__ import annotations

import argparse
import pathlib
import time
from statistics import median
from typing import Any

import numpy as np

THREADS = 2
WORK = {"n_estimators": 100, "learning_rate": 0.1}


def table(n_rows: int, n_columns: int, density: float, seed: int) -> tuple[Any, np.ndarray]:
    """Counts, and a label whose log odds are linear in the presence of 300 columns and in 50 products."""
    from scipy import sparse

    rng = np.random.default_rng(seed)
    n_stored = int(n_rows * n_columns * density)
    columns = (n_columns * rng.random(n_stored) ** 1.7).astype(np.int64)  # some words are frequent
    rows = rng.integers(0, n_rows, n_stored)
    X = sparse.csr_array((1.0 + rng.poisson(0.7, n_stored), (rows, columns)), shape=(n_rows, n_columns)).astype(
        np.float32
    )
    X.sum_duplicates()
    there = X.copy()
    there.data = np.ones_like(there.data)
    effect = np.zeros(n_columns)
    effect[:300] = rng.normal(0, 1, 300)
    odds = there @ effect
    for j, k in rng.integers(0, 100, (50, 2)):
        odds += rng.normal(0, 2) * (there[:, [j]].toarray() * there[:, [k]].toarray()).ravel()
    return X, (odds + rng.logistic(size=n_rows) > np.median(odds)).astype(int)


def boostgrad() -> Any:
    from boostgrad import BoostGradClassifier

    return BoostGradClassifier(**WORK, max_leaf_nodes=31, early_stopping=False, n_jobs=THREADS, random_state=0)


def lightgbm() -> Any:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(**WORK, num_leaves=31, n_jobs=THREADS, verbose=-1, random_state=0)


LIBRARIES = {f.__name__: f for f in (boostgrad, lightgbm)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000, help="to train on; a quarter more is held out")
    parser.add_argument("--columns", type=int, default=20_000)
    parser.add_argument("--density", type=float, default=0.002)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--page", metavar="FILE.md")
    options = parser.parse_args()
    from sklearn.metrics import roc_auc_score

    n = options.rows
    X, y = table(n + n // 4, options.columns, options.density, 0)
    seconds: dict[str, list[float]] = {name: [] for name in LIBRARIES}
    scores: dict[str, float] = {}
    for _ in range(options.repeat):
        for name, make in LIBRARIES.items():
            begin = time.perf_counter()
            model = make().fit(X[:n], y[:n])
            seconds[name].append(time.perf_counter() - begin)
            scores[name] = roc_auc_score(y[n:], model.predict_proba(X[n:])[:, 1])
            print(f"{name}  {seconds[name][-1]:.2f} s  AUC {scores[name]:.4f}", flush=True)
    fastest = median(seconds["lightgbm"])
    lines = [
        f"{n:,} x {options.columns:,}, {options.density:.1%} stored; medians of {options.repeat} fits",
        "",
        "| library | fit s | ratio | AUC |",
        "|---|---:|---:|---:|",
    ]
    for name, times in seconds.items():
        lines.append(f"| {name} | {median(times):.2f} | {median(times) / fastest:.2f} | {scores[name]:.4f} |")
    print("\n".join(lines))
    if options.page:
        pathlib.Path(options.page).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
