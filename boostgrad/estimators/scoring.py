"""What ``scoring`` means: two scores after each iteration, from the raw predictions that boosting has already.

::

    "loss"     ----------------->  Scores                                              the loop's own
    "roc_auc"  --face's metric-->  ByMetrics   f(raw)                                  a metric of boostgrad's
    any other  --get_scorer----->  ByScorers   scorer(stand-in, X, y, sample_weight)   the stand-in answers from raw

Several are :class:`Several` of these.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from boostgrad.boosting import Current, Rows, Scores
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


def named(scoring: Any) -> dict[str, Any]:
    """Each scoring that the parameter asks for, by its name."""
    if isinstance(scoring, dict):
        return scoring
    if isinstance(scoring, list | tuple):
        return {name: name for name in scoring}
    return {scoring if isinstance(scoring, str) else getattr(scoring, "__name__", "score"): scoring}


def is_several(scoring: Any) -> bool:
    return isinstance(scoring, list | tuple | dict)


def by_loss(scoring: Any) -> bool:
    return isinstance(scoring, str) and scoring == "loss"


def scores_of(face: Any, training: Scored, validation: Scored, known: Known, rows: tuple[Rows, Rows]) -> Scores:
    """What ``face.scoring`` means.

    Parameters
    ----------
    face : BoostGrad
    training, validation : Scored
    known : Known
    rows : tuple of two Rows
        The same rows as boosting has them.
    """
    scorings, metrics, scorers, parts = named(face.scoring), {}, {}, []
    for name, scoring in scorings.items():
        if by_loss(scoring):
            parts.append(Scores(*rows, known.loss, name, known.n_threads))
            continue
        bind = face._metric(scoring, known) if isinstance(scoring, str) else None
        if bind is None:
            scorers[name] = scoring
        else:
            metrics[name] = bind
    if metrics:
        parts.append(ByMetrics(metrics, training, validation, known.seed))
    if scorers:
        parts.append(ByScorers(scorers, face, training, validation, known))
    return Several(list(scorings), parts) if len(parts) > 1 else parts[0]


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
    """Raise if it is a metric rather than a scorer, or a name by which no scorer is known, neither to scikit-learn nor
    as one of our ``own`` metrics.

    Raises
    ------
    ValueError
    """
    if callable(scoring) and _is_metric(scoring):
        raise ValueError(
            f"The 'scoring' parameter of {owner} must be a scorer(estimator, X, y), which {scoring!r} is not: make one "
            "of a metric(y_true, y_pred) with sklearn.metrics.make_scorer."
        )
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


class ByMetrics(Scores):
    """Scores by metrics of raw predictions, bound to the targets of each part."""

    def __init__(self, binds: dict[str, Callable[[Scored], Metric]], training: Scored, validation: Scored, seed: int):
        self.training, self.validation = training.limited(MOST_BY_METRIC, seed), validation
        self.metrics: dict[str, tuple[Metric, Metric]] = {}
        for name, bind in binds.items():
            with _naming(name):
                self.metrics[name] = bind(self.training), bind(self.validation)

    def of(self, current: Current) -> dict[str, tuple[float, float]]:
        raw, validation_raw = self.training.of(current.raw), self.validation.of(current.validation_raw)
        scores = {}
        for name, (on_training, on_validation) in self.metrics.items():
            with _naming(name):
                scores[name] = on_training(raw), on_validation(validation_raw)
        return scores


class ByScorers(Scores):
    """Scores by scorers of scikit-learn's kind, which ask one stand-in for the estimator that is being fitted."""

    def __init__(self, scorers: dict[str, Any], face: Any, training: Scored, validation: Scored, known: Known):
        self.face, self.samples, self.loss = face, training.samples, known.loss
        self.held_out = validation.samples if face._completes_by_held_out(known.loss) else None
        self.stand_in = StandIn(
            face,
            ensemble_of([], np.zeros(known.loss.n_outputs), known.schema, known.loss),
            known.loss,
            {name: value for name, value in known.fitted.items() if name.endswith("_")},
        )
        self.parts = [(part, part.X()) for part in (training.limited(MOST_BY_SCORER, known.seed), validation)]
        self.scorers = [
            _Scorer.of(name, scoring, [(part, face._target_of(part, known.fitted)) for part, _ in self.parts])
            for name, scoring in scorers.items()
        ]

    def of(self, current: Current) -> dict[str, tuple[float, float]]:
        found: dict[str, Any] = {}
        unseen = None if self.held_out is None else (self.held_out, current.validation_raw)
        completed = self.face._completed(self.loss, self.samples, lambda: current.raw, found, unseen)
        self.stand_in.catch_up(current, completed, found)
        raws = [part.of(raw) for (part, _), raw in zip(self.parts, (current.raw, current.validation_raw), strict=True)]
        return {
            scorer.name: tuple(
                scorer(self.stand_in.answering(X, raw), X, k)
                for k, ((_, X), raw) in enumerate(zip(self.parts, raws, strict=True))
            )
            for scorer in self.scorers
        }


@dataclass(frozen=True, eq=False)
class _Scorer:
    """A scorer with what it takes beside an estimator and X: of each part of the rows, y and the rest."""

    name: str
    ask: Callable[..., Any]
    has_name: bool
    given: list[tuple[Any, dict[str, Any]]]

    @classmethod
    def of(cls, name: str, scoring: Any, parts: list[tuple[Scored, Any]]) -> _Scorer:
        ask, given = _scorer(scoring), []
        takes = _parameters(ask) if isinstance(scoring, str) else _parameters(ask) & _requested(ask)
        for part, y in parts:
            more = {"sample_weight": part.weight, "groups": part.samples.groups}
            given.append((y, {name: value for name, value in more.items() if name in takes and value is not None}))
        return cls(name, ask, isinstance(scoring, str), given)

    def __call__(self, model: Any, X: Any, part: int) -> float:
        y, more = self.given[part]
        with _naming(self.name) if self.has_name else nullcontext():  # errors of one's own code stay what they are
            score = self.ask(model, X, y, **more)
        try:
            return float(score)
        except (TypeError, ValueError):
            raise ValueError(f"scoring={self.name!r} must return a number. Got {score!r} instead.") from None


class Several(Scores):
    """The scores of several, in the order of the names."""

    def __init__(self, names: list[str], parts: list[Scores]):
        self.names, self.parts = names, parts

    def of(self, current: Current) -> dict[str, tuple[float, float]]:
        found: dict[str, tuple[float, float]] = {}
        for part in self.parts:
            found |= part.of(current)
        return {name: found[name] for name in self.names}


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


def _is_metric(function: Callable[..., Any]) -> bool:
    """Whether it takes targets and predictions rather than estimator, X and y, as far as that can be told."""
    try:
        signature = inspect.signature(function)
        signature.bind_partial(None, None, None)
    except TypeError:
        return True
    except ValueError:  # one that is written in C
        return False
    return next(iter(signature.parameters), "").startswith("y_")


def _requested(scorer: Callable[..., Any]) -> set[str]:
    """What it may be given: all, unless metadata routing is on, by which a scorer says what it wants."""
    from sklearn import get_config
    from sklearn.utils.metadata_routing import get_routing_for_object

    if not get_config()["enable_metadata_routing"] or not hasattr(scorer, "get_metadata_routing"):
        return {"sample_weight", "groups"}
    return {name for name, request in get_routing_for_object(scorer).score.requests.items() if request is True}


def _parameters(scorer: Callable[..., Any]) -> set[str]:
    """Names of what the scorer takes beside estimator, X and y; of one of make_scorer's, what its metric takes."""
    try:
        return set(inspect.signature(getattr(scorer, "_score_func", scorer)).parameters)
    except (TypeError, ValueError):  # one that is written in C
        return set()
