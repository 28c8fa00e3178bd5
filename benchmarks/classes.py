"""Hundreds of classes: one tree a round for all of them, a tree a class, and other libraries.

::

    python -m benchmarks.classes --page classes.md                       # 20,000 x 20, 300 classes: ten minutes
    python -m benchmarks.classes --classes 1000 --only "one tree, 31 leaves" "lightgbm"

Rows lie around the centres of their classes, of which each has 67. A round costs one library a hundred times what it
costs another, so each gets the rounds that fit a budget, and what is compared is the held-out log loss for the CPU
time. Every fit runs in a fresh process on one thread.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import pathlib
import time
from typing import Any

import numpy as np

from benchmarks.measure import PeakMemory

N_TEST = 5_000


def table(n_rows: int, n_columns: int, n_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Normal columns around the centre of the row's class; every class has a row among the first ``n_classes``."""
    rng = np.random.default_rng(seed)
    centre = rng.standard_normal((n_classes, n_columns))
    y = np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, n_rows - n_classes)])
    return (centre[y] + rng.standard_normal((n_rows, n_columns))).astype(np.float32), y


def boostgrad(strategy: str, leaves: int, rate: float) -> Any:
    def make(rounds):
        from boostgrad import BoostGradClassifier

        shape = {"max_leaf_nodes": leaves, "learning_rate": rate, "l2_regularization": 1.0}
        return BoostGradClassifier(
            n_estimators=rounds, early_stopping=False, n_jobs=1, random_state=0, multi_strategy=strategy, **shape
        )

    return make


def lightgbm(rounds):
    from lightgbm import LGBMClassifier

    return LGBMClassifier(n_estimators=rounds, num_leaves=31, reg_lambda=1.0, n_jobs=1, verbose=-1)


def xgboost(strategy: str) -> Any:
    def make(rounds):
        from xgboost import XGBClassifier

        shape = {"max_leaves": 31, "max_depth": 0, "grow_policy": "lossguide", "learning_rate": 0.1}
        return XGBClassifier(n_estimators=rounds, tree_method="hist", n_jobs=1, multi_strategy=strategy, **shape)

    return make


def catboost(rounds):
    from catboost import CatBoostClassifier

    return CatBoostClassifier(
        iterations=rounds,
        depth=6,
        learning_rate=0.1,
        l2_leaf_reg=1.0,
        thread_count=1,
        allow_writing_files=False,
        verbose=0,
    )


#: What is fitted, and with how many rounds.
CONTESTANTS = {
    "one tree, 31 leaves": (boostgrad("multi_output_tree", 31, 0.1), 100),
    "one tree, 31 leaves, rate 0.3": (boostgrad("multi_output_tree", 31, 0.3), 50),
    "one tree, 128 leaves, rate 0.3": (boostgrad("multi_output_tree", 128, 0.3), 50),
    "a tree a class, 31 leaves": (boostgrad("one_output_per_tree", 31, 0.1), 15),
    "a tree a class, 8 leaves": (boostgrad("one_output_per_tree", 8, 0.1), 30),
    "lightgbm": (lightgbm, 8),
    "xgboost": (xgboost("one_output_per_tree"), 5),
    "xgboost, one tree": (xgboost("multi_output_tree"), 3),
    "catboost": (catboost, 3),
}


def measured(name: str, rounds: int, shape: tuple[int, int, int]) -> dict[str, Any]:
    """One fit: CPU seconds, megabytes above the data, held-out log loss, CPU seconds to predict the held-out rows."""
    n_rows, n_columns, n_classes = shape
    X, y = table(n_rows + N_TEST, n_columns, n_classes)
    model = CONTESTANTS[name][0](rounds)
    memory = PeakMemory()
    begin = time.process_time()
    model.fit(X[:n_rows], y[:n_rows])
    seconds = time.process_time() - begin
    megabytes = memory.megabytes()
    begin = time.process_time()
    p = np.asarray(model.predict_proba(X[n_rows:]))
    predict_seconds = time.process_time() - begin
    of_class = p[np.arange(N_TEST), y[n_rows:]]
    loss, accuracy = -np.log(np.maximum(of_class, 1e-15)).mean(), (p.argmax(axis=1) == y[n_rows:]).mean()
    found = {"seconds": seconds, "megabytes": megabytes, "loss": loss, "accuracy": accuracy, "predict": predict_seconds}
    return {"name": name, "rounds": rounds} | {key: float(value) for key, value in found.items()}


def page(records: list[dict[str, Any]], shape: tuple[int, int, int]) -> str:
    """A table of what was measured."""
    lines = [
        "{:,} x {} rows, {:,} classes; one thread, rate 0.1 unless another is said".format(*shape),
        "",
        f"| | rounds | CPU s | s a round | MB | log loss | accuracy | predict {N_TEST:,} rows, s |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for r in records:
        lines.append(
            f"| {r['name']} | {r['rounds']} | {r['seconds']:.1f} | {r['seconds'] / r['rounds']:.3f} | "
            f"{r['megabytes']:.0f} | {r['loss']:.3f} | {r['accuracy']:.3f} | {r['predict']:.2f} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000, help="to train on")
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--classes", type=int, default=300)
    parser.add_argument("--rounds", type=int, help="the same for all, in place of what fits a budget")
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS), metavar="NAME")
    parser.add_argument("--page", metavar="FILE.md")
    options = parser.parse_args(arguments)
    shape, records = (options.rows, options.columns, options.classes), []
    for name in options.only:
        with multiprocessing.get_context("spawn").Pool(1) as fresh:
            rounds = options.rounds or CONTESTANTS[name][1]
            records.append(fresh.apply(measured, (name, rounds, shape)))
        print(json.dumps(records[-1]), flush=True)
    text = page(records, shape)
    print(text)
    if options.page:
        pathlib.Path(options.page).write_text(text + "\n")


if __name__ == "__main__":
    main()
