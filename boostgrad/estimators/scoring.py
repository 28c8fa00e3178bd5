"""What ``scoring`` means: two scores after each iteration, from the raw predictions that boosting has already.

::

    "roc_auc"  --face's metric-->  f(raw)                                   a metric of boostgrad's, straight from raw
    any other  --get_scorer----->  scorer(stand-in, X, y, sample_weight)    the stand-in answers from raw
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from boostgrad.boosting import Current, Scores
from boostgrad.data.containers import taken
from boostgrad.data.schema import TableSchema
from boostgrad.dataset import BoostGradDataset
from boostgrad.estimators.fitted import ensemble_of
from boostgrad.estimators.samples import Given, Samples
from boostgrad.estimators.stand_in import StandIn
from boostgrad.losses import Loss
from boostgrad.runtime import stream

# Of more training rows than these, some are scored: so many by metrics of boostgrad's, and by other scorers.
MOST_BY_METRIC, MOST_BY_SCORER = 50_000, 10_000

# What other libraries call a metric.
ELSEWHERE = {
    "acc": "accuracy",
    "auc": "roc_auc",
    "aucpr": "average_precision",
    "binary_logloss": "neg_log_loss",
    "brier": "neg_brier_score",
    "c_index": "concordance_index",
    "error": "accuracy",
    "l1": "neg_mean_absolute_error",
    "l2": "neg_mean_squared_error",
    "log_loss": "neg_log_loss",
    "logloss": "neg_log_loss",
    "mae": "neg_mean_absolute_error",
    "mean_average_precision": "map",
    "mape": "neg_mean_absolute_percentage_error",
    "mlogloss": "neg_log_loss",
    "mse": "neg_mean_squared_error",
    "multi_logloss": "neg_log_loss",
    "r2_score": "r2",
    "rmse": "neg_root_mean_squared_error",
}

# A score of raw predictions, shape (n_outputs, n_rows).
Metric = Callable[[np.ndarray], float]


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of the model before its first tree."""

    schema: TableSchema
    loss: Loss
    fitted: dict[str, Any]
    seed: int
    n_threads: int


@dataclass(frozen=True, eq=False)
class Scored:
    """Rows that are scored.

    Attributes
    ----------
    samples : Samples
    given : Given
        What they come from.
    at : ndarray of intp or None
        Where they are among the rows that boosting has. None: they are all of them.
    """

    samples: Samples
    given: Given
    at: np.ndarray | None = None

    @property
    def y(self) -> np.ndarray:
        return self.samples.y

    @property
    def weight(self) -> np.ndarray | None:
        return self.samples.weight

    def __len__(self) -> int:
        return len(self.samples)

    def of(self, raw: np.ndarray) -> np.ndarray:
        """Their columns of raw predictions."""
        return raw if self.at is None else np.ascontiguousarray(raw[:, self.at])

    def limited(self, most: int, seed: int) -> Scored:
        """At most so many of them: whole queries, where there are any, or else such that targets of all sizes, and all
        classes, are among them as often as they were."""
        if len(self) <= most:
            return self
        random, groups = stream(seed, "scored rows"), self.samples.groups
        if groups is None:
            y = self.y if self.y.ndim == 1 else self.y[:, 0]
            order = random.permutation(len(self))
            order = order[np.argsort(y[order], kind="stable")]
            at = order[np.linspace(0, len(order) - 1, most).astype(np.intp)]
        else:
            sizes = np.bincount(groups)
            drawn = random.permutation(len(sizes))
            n_drawn = max(1, int(np.searchsorted(np.cumsum(sizes[drawn]), most, side="right")))
            at = np.flatnonzero(np.isin(groups, drawn[:n_drawn]))
        at = np.sort(at)
        return replace(self, samples=self.samples.take(at), at=at)

    def X(self) -> Any:
        """Their rows of the table, in the container that it came in; a dataset has none to give."""
        X, rows = self.given.X, self.samples.rows
        if isinstance(X, BoostGradDataset):
            return np.empty((len(self), 0))
        if rows is None:
            return X
        return taken(X, rows, f"X{self.given.suffix}")


def by_loss(scoring: Any) -> bool:
    return isinstance(scoring, str) and scoring == "loss"


def scores_of(face: Any, training: Scored, validation: Scored, known: Known) -> Scores | None:
    """What ``face.scoring`` means; None: the loss.

    Parameters
    ----------
    face : BoostGrad
    training, validation : Scored
    known : Known
    """
    if by_loss(face.scoring):
        return None
    bind = face._metric(face.scoring, known) if isinstance(face.scoring, str) else None
    if bind is not None:
        return ByMetric(face.scoring, bind, training, validation, known.seed)
    return ByScorer(face, training, validation, known)


def check_defined(scoring: Any, scores: list[float]) -> None:
    """Raise if all of the scores that early stopping went by are NaN.

    Raises
    ------
    ValueError
    """
    if np.isnan(scores).all():
        raise ValueError(
            f"early_stopping: scoring={scoring!r} is not defined (NaN) for the validation rows, whatever the "
            "predictions; it may need more of them, or of other targets."
        )


# ---- names -----------------------------------------------------------------------------------------------------------


def is_own_metric(name: str, own: tuple[str, ...]) -> bool:
    """Whether it is one of these names, in which "@k" stands for "@" and a number."""
    return any(re.fullmatch(pattern.replace("@k", r"@[1-9]\d*"), name) for pattern in own)


def check_scoring(owner: str, scoring: Any, own: tuple[str, ...]) -> None:
    """Raise if it is a name by which no scorer is known, neither to scikit-learn nor as one of our ``own`` metrics.

    Raises
    ------
    ValueError
    """
    if not isinstance(scoring, str) or scoring == "loss" or is_own_metric(scoring, own):
        return
    from sklearn.metrics import get_scorer_names

    if scoring in get_scorer_names():
        return
    ours = "".join(f", {name!r}" for name in own)
    known = {*get_scorer_names(), *own}
    meant = ELSEWHERE.get(scoring.lower(), "")
    hint = f" Did you mean {meant!r}?" if meant in known else ""
    raise ValueError(
        f"The 'scoring' parameter of {owner} must be 'loss'{ours}, the name of a scikit-learn scorer (see "
        f"sklearn.metrics.get_scorer_names()), or a scorer(estimator, X, y). Got {scoring!r} instead.{hint}"
    )


# ---- scores ----------------------------------------------------------------------------------------------------------


class ByMetric(Scores):
    """Scores by a metric of raw predictions, bound to the targets of each part."""

    def __init__(self, name: str, bind: Callable[[Scored], Metric], training: Scored, validation: Scored, seed: int):
        self.name = name
        self.training, self.validation = training.limited(MOST_BY_METRIC, seed), validation
        with _naming(name):
            self.metrics = bind(self.training), bind(self.validation)

    def of(self, current: Current) -> tuple[float, float]:
        on_training, on_validation = self.metrics
        with _naming(self.name):
            return (
                on_training(self.training.of(current.raw)),
                on_validation(self.validation.of(current.validation_raw)),
            )


class ByScorer(Scores):
    """Scores by a scorer of scikit-learn's kind, which asks a stand-in for the estimator that is being fitted."""

    def __init__(self, face: Any, training: Scored, validation: Scored, known: Known):
        self.named = isinstance(face.scoring, str)
        self.name = face.scoring if self.named else getattr(face.scoring, "__name__", "score")
        self.scorer = _scorer(face.scoring)
        self.face, self.samples, self.loss = face, training.samples, known.loss
        self.held_out = validation.samples if face._completes_by_held_out(known.loss) else None
        self.stand_in = StandIn(
            face,
            ensemble_of([], np.zeros(known.loss.n_outputs), known.schema, known.loss),
            known.loss,
            {name: value for name, value in known.fitted.items() if name.endswith("_")},
        )
        takes = _parameters(self.scorer)
        self.parts = []
        for part in (training.limited(MOST_BY_SCORER, known.seed), validation):
            more = {"sample_weight": part.weight, "groups": part.samples.groups}
            more = {name: value for name, value in more.items() if name in takes and value is not None}
            self.parts.append((part, part.X(), face._target_of(part, known.fitted), more))

    def of(self, current: Current) -> tuple[float, float]:
        found: dict[str, Any] = {}
        unseen = None if self.held_out is None else (self.held_out, current.validation_raw)
        completed = self.face._completed(self.loss, self.samples, lambda: current.raw, found, unseen)
        self.stand_in.catch_up(current, completed, found)
        return tuple(
            self._score(part.of(raw), X, y, more)
            for (part, X, y, more), raw in zip(self.parts, (current.raw, current.validation_raw), strict=True)
        )

    def _score(self, raw: np.ndarray, X: Any, y: Any, more: dict[str, Any]) -> float:
        model = self.stand_in.answering(X, raw)
        if self.named:
            with _naming(self.name):
                score = self.scorer(model, X, y, **more)
        else:
            score = self.scorer(model, X, y, **more)
        try:
            return float(score)
        except (TypeError, ValueError):
            raise ValueError(f"scoring={self.name!r} must return a number. Got {score!r} instead.") from None


class _naming:
    """What goes wrong within is said with the name of the scorer."""

    def __init__(self, name: str):
        self.name = name

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if isinstance(error, ValueError | TypeError | AttributeError):
            raise ValueError(f"scoring={self.name!r} cannot score this model: {error}") from error


def _scorer(scoring: Any) -> Callable[..., Any]:
    if not isinstance(scoring, str):
        return scoring
    from sklearn.metrics import get_scorer

    return get_scorer(scoring)


def _parameters(scorer: Callable[..., Any]) -> set[str]:
    """Names of what the scorer takes beside estimator, X and y; of one of make_scorer's, what its metric takes."""
    try:
        return set(inspect.signature(getattr(scorer, "_score_func", scorer)).parameters)
    except (TypeError, ValueError):  # one that is written in C
        return set()
