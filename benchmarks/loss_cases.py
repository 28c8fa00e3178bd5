"""What the comparison of losses trains on, and how a prediction is judged: a table, a loss, and held-out rows.

A Parquet file has its label in the column ``target``; ``qid`` (the query of each row), ``time`` and ``event``, and
``exposure`` are what their names say. The metadata of the file (key ``dataset``, JSON with ``task``), or else those
columns and the label, decide which losses suit it.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.problems import SPECIAL_COLUMNS

#: Levels of the losses "quantile" and "expectile", and of several quantiles.
LEVEL = 0.9
LEVELS = (0.1, 0.5, 0.9)

TWEEDIE_POWER = 1.5


@dataclass(frozen=True, eq=False)
class Case:
    """Rows of a table, of which some are held out.

    Attributes
    ----------
    table : str
    loss : str
    X : pandas.DataFrame
    y : ndarray
        Numbers, class numbers, relevances, or, for survival, times and whether the event was observed.
    train, test : ndarray of int64
        Rows; those of a query are neighbours.
    stop : ndarray of int64 or None
        Rows by which training stops, not among those to train on.
    exposure : ndarray or None
    groups : ndarray of int64 or None
    scale : float
        A typical size of a residual, for losses that have one.
    """

    table: str
    loss: str
    X: Any
    y: np.ndarray
    train: np.ndarray
    test: np.ndarray
    exposure: np.ndarray | None = None
    groups: np.ndarray | None = None
    scale: float = 1.0
    stop: np.ndarray | None = None

    def of(self, name: str, rows: np.ndarray) -> Any:
        """An attribute's part, None where there is nothing."""
        values = getattr(self, name)
        if values is None:
            return None
        return values.iloc[rows] if hasattr(values, "iloc") else values[rows]

    @property
    def n_classes(self) -> int:
        return int(self.y.max()) + 1

    def to_stop(self, seed: int) -> Case:
        """The same with a fifth of the training rows, or of their queries, to stop by instead."""
        train, stop = _held_out(self.train, self.groups, 0.2, seed)
        return replace(self, train=train, stop=stop)

    def score(self, prediction: Any) -> float:
        """The metric of the loss on the held-out rows."""
        return METRICS[self.loss].of(self, prediction)


@dataclass(frozen=True)
class Metric:
    """How a loss is judged.

    Attributes
    ----------
    name : str
    task : tuple of str
        Tasks that the loss suits.
    of : callable
        ``of(case, prediction)``
    larger : bool
        Whether more is better.
    suits : callable
        Whether the loss takes such targets.
    """

    name: str
    task: tuple[str, ...]
    of: Callable[[Case, Any], float]
    larger: bool = False
    suits: Callable[[np.ndarray], bool] = lambda y: True


# -- metrics -----------------------------------------------------------------------------------------------------------


def _mean(of_rows: Callable[[np.ndarray, np.ndarray, float], np.ndarray], case: Case, prediction: np.ndarray) -> float:
    """Of y, residual y - prediction, and the scale."""
    y = case.y[case.test]
    return float(np.mean(of_rows(y, y - prediction, case.scale)))


def pinball(d: np.ndarray, level: float) -> np.ndarray:
    return np.maximum(level * d, (level - 1) * d)


def _huber(y, d, scale):
    near = np.minimum(np.abs(d), scale)
    return near * (np.abs(d) - 0.5 * near)


def _fair(y, d, scale):
    return scale**2 * (np.abs(d) / scale - np.log1p(np.abs(d) / scale))


def _rmse(case, prediction):
    return float(np.sqrt(np.mean((case.y[case.test] - prediction) ** 2)))


def _rmsle(case, prediction):
    d = np.log1p(case.y[case.test]) - np.log1p(np.maximum(prediction, 0))
    return float(np.sqrt(np.mean(d**2)))


def _pinballs(case, prediction):
    y = case.y[case.test]
    return float(np.mean([pinball(y - prediction[:, k], level).mean() for k, level in enumerate(LEVELS)]))


def _deviance(power, case, prediction):
    from sklearn.metrics import mean_tweedie_deviance

    return float(mean_tweedie_deviance(case.y[case.test], np.maximum(prediction, 1e-12), power=power))


def _log_loss(case, prediction):
    from sklearn.metrics import log_loss

    prediction = np.clip(prediction, 1e-15, 1)
    prediction = prediction / prediction.sum(axis=1, keepdims=True)
    return float(log_loss(case.y[case.test], prediction, labels=np.arange(case.n_classes)))


def _label_log_loss(case, prediction):
    y, p = case.y[case.test], np.clip(prediction, 1e-15, 1 - 1e-15)
    return float(-np.mean(np.where(y == 1, np.log(p), np.log(1 - p))))


def _ndcg(case, prediction):
    from boostgrad.metrics import ndcg

    return float(ndcg(case.y[case.test].astype(float), np.asarray(prediction, float), case.groups[case.test], k=10))


def _map(case, prediction):
    from sklearn.metrics import average_precision_score

    groups, y = case.groups[case.test], case.y[case.test] > 0
    each = [groups == group for group in np.unique(groups)]
    return float(np.mean([average_precision_score(y[q], prediction[q]) for q in each if 0 < y[q].sum()]))


def _concordance(case, prediction):
    from boostgrad.metrics import concordance_index

    time, event = case.y[case.test].T
    bounds = np.column_stack([time, np.where(event > 0, time, np.inf)])
    return float(concordance_index(bounds, np.asarray(prediction, float)))


def _normal_nll(case, prediction):
    mean, deviation = prediction
    z = (case.y[case.test] - mean) / deviation
    return float(np.mean(0.5 * z**2 + np.log(deviation) + 0.5 * np.log(2 * np.pi)))


def normal_crps(case, prediction):
    """Continuous ranked probability score of normal distributions (Gneiting and Raftery 2007, eq. 21)."""
    from scipy.stats import norm

    mean, deviation = prediction
    z = (case.y[case.test] - mean) / deviation
    return float(np.mean(deviation * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))))


_COUNTS = ("poisson", "tweedie")
_LOSS = "mean loss"

METRICS: dict[str, Metric] = {
    "squared_error": Metric("RMSE", ("regression",), _rmse),
    "absolute_error": Metric("MAE", ("regression",), partial(_mean, lambda y, d, s: np.abs(d))),
    "huber": Metric(_LOSS, ("regression",), partial(_mean, _huber)),
    "fair": Metric(_LOSS, ("regression",), partial(_mean, _fair)),
    "log_cosh": Metric(_LOSS, ("regression",), partial(_mean, lambda y, d, s: np.logaddexp(d, -d) - np.log(2))),
    "quantile": Metric(f"pinball {LEVEL}", ("regression",), partial(_mean, lambda y, d, s: pinball(d, LEVEL))),
    "expectile": Metric(
        f"loss {LEVEL}", ("regression",), partial(_mean, lambda y, d, s: np.where(d > 0, LEVEL, 1 - LEVEL) * d**2)
    ),
    "mape": Metric("MAPE", ("regression",), partial(_mean, lambda y, d, s: np.abs(d) / np.maximum(np.abs(y), 1))),
    "squared_log_error": Metric("RMSLE", ("regression",), _rmsle, suits=lambda y: y.min() >= 0),
    "quantiles": Metric(f"mean pinball {LEVELS}", ("regression",), _pinballs),
    "normal_nll": Metric("NLL", ("regression",), _normal_nll),
    "log_loss": Metric("log loss", ("binary",), _log_loss),
    "multinomial": Metric("log loss", ("multiclass",), _log_loss),
    "multilabel": Metric("log loss", ("multilabel",), _label_log_loss),
    "multi_target": Metric("RMSE", ("multi_target",), _rmse),
    "poisson": Metric("deviance", _COUNTS, partial(_deviance, 1)),
    "tweedie": Metric(f"deviance {TWEEDIE_POWER}", _COUNTS, partial(_deviance, TWEEDIE_POWER)),
    "gamma": Metric("deviance", ("regression", "positive"), partial(_deviance, 2), suits=lambda y: y.min() > 0),
    "lambdarank": Metric("NDCG@10", ("ranking",), _ndcg, larger=True),
    "yetirank": Metric("NDCG@10", ("ranking",), _ndcg, larger=True),
    "xendcg": Metric("NDCG@10", ("ranking",), _ndcg, larger=True),
    "pairwise": Metric("NDCG@10", ("ranking",), _ndcg, larger=True),
    "rank_map": Metric("MAP", ("ranking",), _map, larger=True),
    "cox": Metric("C-index", ("survival",), _concordance, larger=True),
    "aft": Metric("C-index", ("survival",), _concordance, larger=True),
}


# -- tables ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Table:
    """A whole table; :meth:`case` holds rows out."""

    name: str
    task: str
    X: Any
    y: np.ndarray
    exposure: np.ndarray | None = None
    groups: np.ndarray | None = None

    def losses(self) -> list[str]:
        return [name for name, metric in METRICS.items() if self.task in metric.task and metric.suits(self.y)]

    def case(self, loss: str, seed: int, most_rows: int) -> Case:
        """A quarter of the rows, or of the queries, is held out at random."""
        rows = np.random.default_rng(seed).permutation(len(self.y))[:most_rows]
        if self.groups is not None:
            rows = np.argsort(self.groups, kind="stable")
        train, test = _held_out(rows, self.groups, 0.25, seed)
        scale = 1.0
        if self.task == "regression":
            scale = max(float(np.median(np.abs(self.y[train] - np.median(self.y[train])))), 1e-3)
        return Case(self.name, loss, self.X, self.y, train, test, self.exposure, self.groups, scale)


def _held_out(rows: np.ndarray, groups: np.ndarray | None, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows, and those held out at random, both in their order."""
    from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit

    if groups is None:
        train, test = next(ShuffleSplit(1, test_size=share, random_state=seed).split(rows))
    else:
        splitter = GroupShuffleSplit(1, test_size=share, random_state=seed)
        train, test = next(splitter.split(rows, groups=groups[rows]))
    return rows[np.sort(train)], rows[np.sort(test)]


def read(path: str) -> list[Table]:
    """The table of a Parquet file; of claim amounts also the positive ones by themselves."""
    import pyarrow.parquet as parquet

    table = parquet.read_table(path)
    known = json.loads((table.schema.metadata or {}).get(b"dataset", b"{}"))
    X = table.to_pandas()
    y = X["target"].to_numpy(np.float64)
    whole = (y == np.round(y)).all() and len(np.unique(y)) <= 50
    guess = ("binary" if len(np.unique(y)) == 2 else "multiclass") if whole else "regression"
    guess = "survival" if "event" in X else "ranking" if "qid" in X else "poisson" if "exposure" in X else guess
    task = known.get("task", guess)
    exposure = X["exposure"].to_numpy(np.float64) if "exposure" in X else None
    groups = X["qid"].to_numpy(np.int64) if task == "ranking" else None
    if task == "survival":
        y = X[["time", "event"]].to_numpy(np.float64)
        y[:, 0] = np.maximum(y[:, 0], 0.5)  # logarithms of times are taken
    X = X.drop(columns=[name for name in SPECIAL_COLUMNS if name in X])
    for name in X.columns:
        if X[name].dtype.kind in "iufb":
            X[name] = X[name].astype(np.float64)
    found = Table(pathlib.Path(path).stem, task, X, y, exposure, groups)
    if task != "tweedie":
        return [found]
    some = np.flatnonzero(y > 0)
    positive = Table(f"{found.name}, y > 0", "positive", X.iloc[some].reset_index(drop=True), y[some])
    return [found, positive]


def made_up() -> list[Table]:
    """Tables with several labels, and with several targets, a row: few files have them."""
    import pandas as pd

    rng = np.random.default_rng(0)
    X = rng.standard_normal((12_000, 12))
    hidden = np.tanh(X[:, :6] @ rng.standard_normal((6, 10))) + 0.5 * X[:, 6:7] * X[:, 7:8]
    effects = hidden @ rng.standard_normal((10, 6))
    labels = (effects + 2 * rng.logistic(size=effects.shape) > 1).astype(np.float64)
    frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
    targets = effects + 1.5 * rng.standard_normal(effects.shape)
    return [
        Table("made up, 6 labels", "multilabel", frame, labels),
        Table("made up, 6 targets", "multi_target", frame, targets),
    ]
