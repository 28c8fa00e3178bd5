"""Tables with categories: held-out scores and times of boostgrad next to libraries that take categories, too.

::

    python -m benchmarks.categories                           # 500,000 made-up rows, columns of 10 to 20,000 levels
    python -m benchmarks.categories --seeds 0 1 2 A.parquet B.parquet --page ranks.md      # tables of one's own

A Parquet file has its label in the column ``target``; classes are whole numbers, or the metadata of the file names the
task (``benchmarks.problems``). A quarter of the rows is held out. All libraries get the same frame, categories as
pandas has them (CatBoost as text, missing values as a level), the same number of trees, leaves and learning rate, and
their defaults for the rest; one that refuses the frame has no rank there.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from scipy.stats import rankdata

THREADS = 2
LEAVES, RATE = 31, 0.1
LEVELS = (10, 50, 200, 1000, 5000, 20_000)


@dataclass(frozen=True)
class Task:
    """A frame, its label, and the rows to train on."""

    name: str
    kind: str  # "binary", "multiclass" or "regression"
    X: Any
    y: np.ndarray
    train: np.ndarray
    test: np.ndarray

    def score(self, prediction: np.ndarray) -> float:
        """Larger is better: AUC, minus log-loss, R2."""
        from sklearn.metrics import log_loss, r2_score, roc_auc_score

        y = self.y[self.test]
        if self.kind == "binary":
            return roc_auc_score(y, prediction[:, 1])
        if self.kind == "multiclass":
            return -log_loss(y, prediction, labels=np.unique(self.y))
        return r2_score(y, prediction)


def made_up(n_rows: int, seed: int) -> Task:
    """Six columns of numbers and six of levels, each of which has an effect of its own on the log odds."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    n = n_rows + n_rows // 5
    numbers = rng.standard_normal((n, 6)).astype(np.float32)
    X = pd.DataFrame({f"x{j}": numbers[:, j] for j in range(6)})
    odds = 0.7 * numbers[:, 0] - 0.5 * numbers[:, 1] + 0.5 * numbers[:, 2] * numbers[:, 0] + 0.4 * np.abs(numbers[:, 3])
    for n_levels in LEVELS:
        levels = (n_levels * rng.random(n) ** 1.5).astype(int)
        odds = odds + rng.normal(0, 0.7, n_levels)[levels]
        X[f"of {n_levels}"] = pd.Categorical.from_codes(levels, [f"level {k}" for k in range(n_levels)])
    y = (odds + rng.logistic(size=n) > 0).astype(int)
    return Task(f"made up, {n_rows} rows", "binary", X, y, np.arange(n_rows), np.arange(n_rows, n))


def read(path: str, seed: int, most_rows: int) -> Task:
    """A Parquet file, shuffled and cut."""
    import pyarrow.parquet as parquet

    table = parquet.read_table(path)
    known = json.loads((table.schema.metadata or {}).get(b"dataset", b"{}"))
    X = table.to_pandas()
    X = X.iloc[np.random.default_rng(seed).permutation(len(X))[:most_rows]].reset_index(drop=True)
    y = X.pop("target").to_numpy(np.float64)
    X = X.drop(columns=[name for name in ("qid", "time", "event", "exposure", "weight") if name in X])
    for name in X.select_dtypes("category"):
        X[name] = X[name].cat.remove_unused_categories()
    whole = (y == np.round(y)).all() and len(np.unique(y)) <= 50
    kind = known.get("task") or (("binary" if len(np.unique(y)) == 2 else "multiclass") if whole else "regression")
    kind = kind if kind in ("binary", "multiclass") else "regression"
    n = int(0.75 * len(y))
    return Task(
        pathlib.Path(path).stem,
        kind,
        X,
        y if kind == "regression" else y.astype(int),
        *np.split(np.arange(len(y)), [n]),
    )


def boostgrad(task: Task, n_trees: int, seed: int) -> Any:
    from boostgrad import BoostGradClassifier, BoostGradRegressor

    face = BoostGradRegressor if task.kind == "regression" else BoostGradClassifier
    return face(n_estimators=n_trees, early_stopping=False, n_jobs=THREADS, random_state=seed)


def lightgbm(task: Task, n_trees: int, seed: int) -> Any:
    from lightgbm import LGBMClassifier, LGBMRegressor

    face = LGBMRegressor if task.kind == "regression" else LGBMClassifier
    return face(
        n_estimators=n_trees, num_leaves=LEAVES, learning_rate=RATE, n_jobs=THREADS, verbose=-1, random_state=seed
    )


def xgboost(task: Task, n_trees: int, seed: int) -> Any:
    from xgboost import XGBClassifier, XGBRegressor

    face = XGBRegressor if task.kind == "regression" else XGBClassifier
    shape = {"max_leaves": LEAVES, "max_depth": 0, "grow_policy": "lossguide", "learning_rate": RATE}
    return face(n_estimators=n_trees, enable_categorical=True, n_jobs=THREADS, random_state=seed, **shape)


def hgb(task: Task, n_trees: int, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    face = HistGradientBoostingRegressor if task.kind == "regression" else HistGradientBoostingClassifier
    return face(max_iter=n_trees, early_stopping=False, categorical_features="from_dtype", random_state=seed)


def catboost(task: Task, n_trees: int, seed: int) -> Any:
    from catboost import CatBoostClassifier, CatBoostRegressor

    face = CatBoostRegressor if task.kind == "regression" else CatBoostClassifier
    more = {"cat_features": list(task.X.select_dtypes("category")), "allow_writing_files": False, "verbose": 0}
    return face(iterations=n_trees, learning_rate=RATE, thread_count=THREADS, random_seed=seed, **more)


LIBRARIES: dict[str, Callable[[Task, int, int], Any]] = {
    f.__name__: f for f in (boostgrad, lightgbm, xgboost, catboost, hgb)
}


def as_text(X: Any) -> Any:
    """Categories as CatBoost takes them."""
    X = X.copy()
    for name in X.select_dtypes("category"):
        X[name] = X[name].astype(object).where(X[name].notna(), "missing").astype(str)
    return X


def run(task: Task, library: str, n_trees: int, seed: int) -> dict[str, Any]:
    """One fit: its seconds, the preparation of the frame left out, and the held-out score."""
    X = as_text(task.X) if library == "catboost" else task.X
    X_train, X_test, y = X.iloc[task.train], X.iloc[task.test], task.y[task.train]
    model = LIBRARIES[library](task, n_trees, seed)
    begin = time.perf_counter()
    model.fit(X_train, y)
    seconds = time.perf_counter() - begin
    prediction = model.predict(X_test) if task.kind == "regression" else model.predict_proba(X_test)
    return {"task": task.name, "library": library, "seed": seed, "seconds": seconds, "score": task.score(prediction)}


def page(records: list[dict[str, Any]]) -> str:
    """Scores by task and library (means over seeds), median seconds, and mean ranks over tasks and seeds."""
    names = [name for name in LIBRARIES if any(r["library"] == name for r in records)]
    by_task = defaultdict(lambda: defaultdict(list))
    by_case = defaultdict(dict)
    for r in records:
        by_task[r["task"]][r["library"]].append(r)
        by_case[r["task"], r["seed"]].setdefault(r["library"], r["score"])
    lines = [f"| table | {' | '.join(names)} |", "|---|" + "---:|" * len(names)]
    for task, of_library in by_task.items():
        cells = []
        for name in names:
            found = of_library.get(name)
            if found is None:
                cells.append("refused")
                continue
            score, seconds = np.mean([r["score"] for r in found]), median(r["seconds"] for r in found)
            cells.append(f"{score:.4f} ({seconds:.1f} s)")
        lines.append(f"| {task} | {' | '.join(cells)} |")
    ranks = defaultdict(list)
    for scores in by_case.values():
        for name, rank in zip(scores, rankdata([-score for score in scores.values()]), strict=True):
            ranks[name].append(rank)
    lines.append(f"| mean rank | {' | '.join(f'{np.mean(ranks[name]):.2f}' for name in names)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", metavar="FILE.parquet")
    parser.add_argument("--rows", type=int, default=500_000, help="of the made-up table, to train on")
    parser.add_argument("--most-rows", type=int, default=200_000, help="of a file, held-out ones included")
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    parser.add_argument("--repeat", type=int, default=1, help="fits of each, in turns")
    parser.add_argument("--page", metavar="FILE.md")
    options = parser.parse_args()
    records = []
    for seed in options.seeds:
        paths = options.files or [None]
        for path in paths:
            task = made_up(options.rows, seed) if path is None else read(path, seed, options.most_rows)
            for _ in range(options.repeat):
                for library in options.libraries:
                    try:
                        record = run(task, library, options.trees, seed)
                    except Exception as error:  # whatever a library says of a frame that it does not take
                        print(
                            f"{task.name}  {library}  refused: {str(error).strip().splitlines()[0][:100]}", flush=True
                        )
                        continue
                    print(f"{task.name}  {library}  {record['score']:.5f}  {record['seconds']:.2f} s", flush=True)
                    records.append(record)
    text = page(records)
    print(text)
    if options.page:
        pathlib.Path(options.page).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
