"""What is trained: deterministic synthetic problems, scikit-learn's breast cancer set, and any Parquet file.

Every problem is a function of its seed alone. Features are one C-ordered float32 array, because that is the one input
that all the libraries take; what a library does to it (copy, transpose, bin) is part of its measured fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

#: Columns of a Parquet file that are never features.
SPECIAL_COLUMNS = ("target", "qid", "time", "event", "exposure", "weight")


@dataclass(frozen=True)
class Work:
    """The work that every library is asked to do; ``libraries`` translates it.

    Attributes
    ----------
    n_trees : int
        Boosting iterations; a multiclass iteration grows one tree per class.
    max_leaves : int
        Leaves of a tree at most.
    learning_rate : float
    policy : {"leafwise", "depthwise", "symmetric"}
    max_depth : int or None
        None: only ``max_leaves`` bounds a tree.
    max_bins : int
        Bins for the values that are not missing.
    l2 : float
        Penalty on leaf values.
    min_samples_leaf : int
    min_child_weight : float
        Least sum of hessians in a leaf.
    """

    n_trees: int = 100
    max_leaves: int = 31
    learning_rate: float = 0.1
    policy: str = "leafwise"
    max_depth: int | None = None
    max_bins: int = 255
    l2: float = 1.0
    min_samples_leaf: int = 20
    min_child_weight: float = 1e-3

    def changed(self, n_trees=None, max_leaves=None, policy=None, max_depth=None, max_bins=None) -> Work:
        """This work with what is given changed.

        A depth without leaves means full trees of that depth; growth by levels without a depth gets the depth of a full
        tree of ``max_leaves``.
        """
        given = dict(n_trees=n_trees, max_leaves=max_leaves, policy=policy, max_depth=max_depth, max_bins=max_bins)
        work = replace(self, **{name: value for name, value in given.items() if value is not None})
        if max_depth is not None and max_leaves is None:
            work = replace(work, max_leaves=2**max_depth)
        if work.policy != "leafwise" and work.max_depth is None:
            work = replace(work, max_depth=int(np.ceil(np.log2(work.max_leaves))))
        return work


@dataclass(frozen=True, eq=False)
class Problem:
    """Data to train on, data to score on, and the work that is usual for it.

    Attributes
    ----------
    name : str
    task : {"binary", "multiclass", "regression", "ranking"}
    X_train, X_test : ndarray of float32, C-ordered
        NaN is missing.
    y_train, y_test : ndarray of float32
        Class numbers 0..K-1, or the value to predict, or the relevance.
    work : Work
    groups_train, groups_test : ndarray of int32 or None
        The query of each row, ascending, where the task is ranking.
    """

    name: str
    task: str
    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    work: Work
    groups_train: np.ndarray | None = None
    groups_test: np.ndarray | None = None

    @property
    def n_classes(self) -> int:
        """Number of classes; 0 for regression and ranking."""
        return 0 if self.task in ("regression", "ranking") else int(max(self.y_train.max(), self.y_test.max())) + 1

    def for_prediction(self, n_train: int) -> Problem:
        """The other way round: some of the held-out rows train, and the many that trained are predicted."""
        if self.task == "ranking":
            raise ValueError("predictions of a ranking are not measured")
        X, y = self.X_test[:n_train], self.y_test[:n_train]
        return replace(self, X_train=X, y_train=y, X_test=self.X_train, y_test=self.y_train)


# -- synthetic ---------------------------------------------------------------------------------------------------------


def _binary_label(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Label from 9 of the columns: slopes, bends, a step, and two products whose factors also count by themselves."""
    score = 0.8 * X[:, 0] - 0.6 * X[:, 1] + 0.5 * X[:, 2] * (X[:, 0] + 0.5) + 0.4 * X[:, 2]
    score += np.abs(X[:, 3]) - 0.8 + 0.7 * np.sin(2.0 * X[:, 4]) + 0.9 * (X[:, 5] > 0.5)
    score += 0.5 * X[:, 6] * X[:, 7] + 0.3 * X[:, 6] - 0.3 * X[:, 7] + 0.2 * X[:, 8] ** 2 - 0.5
    return (score + rng.logistic(size=len(X)) > 0).astype(np.float32)


def _skew(X: np.ndarray, rng: np.random.Generator) -> None:
    """Change ``X`` in place, given its label is made: heavy tails where the signal is, one dominant value elsewhere.

    Columns 0 to 8 pass through a monotone function at most (no tree can tell), so the label stays as learnable as it
    was; of the others one half is a signal column cut off at 0 for about 80% of the rows, the other half rare counts.
    """
    n_rows, n_columns = X.shape
    for j in range(9, n_columns):
        if j % 2:
            X[:, j] = np.maximum(X[:, j % 9] - 0.84, 0.0)
        else:
            X[:, j] = rng.poisson(0.2, size=n_rows)
    for j in range(0, 9, 2):
        X[:, j] = np.exp(2.0 * X[:, j])


def _binary(rng: np.random.Generator, n_rows: int, n_columns: int, skewed: bool = False):
    X = rng.standard_normal((n_rows, n_columns), dtype=np.float32)
    y = _binary_label(X, rng)
    if skewed:
        _skew(X, rng)
    return X, y


def _regression(rng: np.random.Generator, n_rows: int, n_columns: int):
    """Friedman's first function (five of the columns) with noise of standard deviation 1."""
    X = rng.random((n_rows, n_columns), dtype=np.float32)
    y = 10.0 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 20.0 * (X[:, 2] - 0.5) ** 2 + 10.0 * X[:, 3] + 5.0 * X[:, 4]
    return X, (y + rng.standard_normal(n_rows, dtype=np.float32)).astype(np.float32)


def _wide_regression(rng: np.random.Generator, n_rows: int, n_columns: int):
    """Forty columns count, each less than the one before, every second one through a bend."""
    X = rng.standard_normal((n_rows, n_columns), dtype=np.float32)
    columns = rng.choice(n_columns, size=min(40, n_columns), replace=False)
    y = rng.standard_normal(n_rows, dtype=np.float32)
    for rank, column in enumerate(columns):
        x = X[:, column]
        y += 2.0 * 0.9**rank * (np.abs(x) if rank % 2 else x)
    return X, y.astype(np.float32)


def _multiclass(rng: np.random.Generator, n_rows: int, n_columns: int, n_classes: int):
    """A class is drawn from the softmax of scores that are linear in 20 columns and in the squares of 10."""
    X = rng.standard_normal((n_rows, n_columns), dtype=np.float32)
    linear = rng.normal(0.0, 0.5, size=(min(20, n_columns), n_classes)).astype(np.float32)
    square = rng.normal(0.0, 0.5, size=(min(10, n_columns), n_classes)).astype(np.float32)
    score = X[:, : len(linear)] @ linear + X[:, : len(square)] ** 2 @ square
    score += rng.gumbel(size=score.shape).astype(np.float32)
    return X, score.argmax(axis=1).astype(np.float32)


def _ranking(rng: np.random.Generator, n_rows: int, n_columns: int):
    """Queries in pairs that have 200 rows together. A score has 12 of the columns, some as bends and products, and a
    part that all rows of a query share; where it lies among fixed quantiles is the relevance 0 .. 4."""
    X = rng.standard_normal((n_rows, n_columns), dtype=np.float32)
    half = rng.integers(20, 181, size=n_rows // 200)
    sizes = np.column_stack([half, 200 - half]).ravel()
    groups = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    score = X[:, 0] - 0.8 * X[:, 1] + 0.6 * X[:, 2] * X[:, 3] + 0.7 * np.abs(X[:, 4]) + 0.5 * np.sin(2.0 * X[:, 5])
    score += 0.5 * (X[:, 6] > 1.0) + X[:, 7:12] @ np.linspace(0.4, 0.1, 5, dtype=np.float32)
    score += rng.standard_normal(len(sizes), dtype=np.float32)[groups] + 1.5 * rng.standard_normal(n_rows)
    y = np.searchsorted(np.quantile(score, [0.55, 0.8, 0.95, 0.985]), score)
    X[:, 12::2] = np.maximum(X[:, 12::2], 0.0)  # counts and term frequencies: half of their values are 0
    return X, y.astype(np.float32), groups


# -- real --------------------------------------------------------------------------------------------------------------


def _breast_cancer(rng: np.random.Generator):
    from sklearn.datasets import load_breast_cancer

    X, y = load_breast_cancer(return_X_y=True)
    order = rng.permutation(len(y))
    return X[order].astype(np.float32), y[order].astype(np.float32)


def _parquet_task(metadata: dict[bytes, bytes], y: np.ndarray) -> str:
    """The task a file names under its metadata key ``dataset``, else what its target looks like."""
    import json

    named = json.loads(metadata.get(b"dataset", b"{}")).get("task")
    if named is not None:
        return named if named in ("binary", "multiclass") else "regression"
    values = np.unique(y)
    if len(values) <= 100 and np.array_equal(values, np.arange(len(values))):
        return "binary" if len(values) == 2 else "multiclass"
    return "regression"


def load_parquet(path: str, seed: int = 0, task: str | None = None, test_fraction: float = 0.25) -> Problem:
    """A Parquet file with a ``target`` column as a problem, split at random.

    Category and text columns become integer codes, their missing entries NaN: every library sees numbers only. Special
    columns (``SPECIAL_COLUMNS``) are dropped, so count and ranking data become plain regression.

    Parameters
    ----------
    path : str
    seed : int
        Of the split.
    task : {"binary", "multiclass", "regression"} or None
        None: the file's word for it, else a guess from the target.
    test_fraction : float
    """
    import pathlib

    import pandas as pd
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    frame = table.to_pandas()
    if "target" not in frame:
        raise ValueError(f"{path} has no column named target")
    features = [name for name in frame.columns if name not in SPECIAL_COLUMNS]
    X = np.empty((len(frame), len(features)), dtype=np.float32)
    for j, name in enumerate(features):
        column = frame[name]
        if not pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            codes = column.astype("category").cat.codes.to_numpy()
            X[:, j] = np.where(codes < 0, np.nan, codes)
        else:
            X[:, j] = column.to_numpy(dtype=np.float32, na_value=np.nan)
    y = frame["target"].to_numpy(dtype=np.float32)
    task = task or _parquet_task(table.schema.metadata or {}, y)
    order = np.random.default_rng(seed).permutation(len(y))
    return _split(pathlib.Path(path).stem, task, X[order], y[order], int(test_fraction * len(y)), Work())


# -- the registry ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """How a named problem is made: ``make(rng)`` gives X, y and, for a ranking, groups of all rows, the last ``n_test``
    of which are held out."""

    task: str
    make: Callable[[np.random.Generator], tuple[np.ndarray, ...]]
    n_test: int
    work: Work
    about: str


PROBLEMS: dict[str, Recipe] = {
    "binary-1m": Recipe(
        "binary", lambda rng: _binary(rng, 1_200_000, 28), 200_000, Work(), "1M x 28 float32, normal columns"
    ),
    "binary-1m-skewed": Recipe(
        "binary",
        lambda rng: _binary(rng, 1_200_000, 28, skewed=True),
        200_000,
        Work(),
        "the label of binary-1m; heavy tails, and 19 columns where one value dominates",
    ),
    "regression-5m": Recipe(
        "regression", lambda rng: _regression(rng, 5_200_000, 10), 200_000, Work(), "5M x 10, few columns, many rows"
    ),
    "multiclass-200k": Recipe(
        "multiclass",
        lambda rng: _multiclass(rng, 250_000, 50, 10),
        50_000,
        Work(n_trees=50),
        "200k x 50, 10 classes: 500 trees",
    ),
    "regression-wide": Recipe(
        "regression", lambda rng: _wide_regression(rng, 25_000, 2000), 5_000, Work(), "20k x 2000, 40 columns count"
    ),
    "binary-2k": Recipe(
        "binary", lambda rng: _binary(rng, 12_000, 20), 10_000, Work(n_trees=300), "2k x 20: all overhead"
    ),
    "ranking-200k": Recipe(
        "ranking",
        lambda rng: _ranking(rng, 250_000, 136),
        50_000,
        Work(),
        "200k x 136, 2,000 queries, relevance 0 to 4",
    ),
    "breast-cancer": Recipe("binary", _breast_cancer, 113, Work(), "real, 569 x 30, of which 456 rows train"),
    "smoke-binary": Recipe(
        "binary", lambda rng: _binary(rng, 5_000, 10), 1_000, Work(n_trees=20, max_leaves=15), "a quick look"
    ),
    "smoke-regression": Recipe(
        "regression", lambda rng: _regression(rng, 5_000, 10), 1_000, Work(n_trees=20, max_leaves=15), "a quick look"
    ),
    "smoke-ranking": Recipe(
        "ranking", lambda rng: _ranking(rng, 5_000, 15), 1_000, Work(n_trees=20, max_leaves=15), "a quick look"
    ),
    "smoke-multiclass": Recipe(
        "multiclass", lambda rng: _multiclass(rng, 5_000, 10, 4), 1_000, Work(n_trees=10, max_leaves=15), "a quick look"
    ),
}


def _split(
    name: str, task: str, X: np.ndarray, y: np.ndarray, n_test: int, work: Work, groups: np.ndarray | None = None
) -> Problem:
    n_train = len(y) - n_test
    of_groups = () if groups is None else (groups[:n_train], groups[n_train:])
    return Problem(name, task, X[:n_train], y[:n_train], X[n_train:], y[n_train:], work, *of_groups)


def make(name: str, seed: int = 0) -> Problem:
    """The problem of that name in the registry, with the data that belong to the seed."""
    recipe = PROBLEMS[name]
    X, y, *groups = recipe.make(np.random.default_rng(seed))
    return _split(name, recipe.task, np.ascontiguousarray(X), y, recipe.n_test, recipe.work, *groups)
