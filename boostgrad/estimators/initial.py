"""An estimator that boosting starts from: fitted, and its predictions as raw ones.

What the face predicts decides what the estimator is asked for: ``numbers``, ``classes`` or ``labels``, each with the
shape (n_predictions, n_rows). What raw predictions these are, the loss knows (``Loss.raw_of``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from boostgrad.data.containers import is_sparse, taken
from boostgrad.estimators.samples import Given, Samples
from boostgrad.inputs import LARGEST_INPUT, label_family
from boostgrad.losses import Loss, n_predictions
from boostgrad.losses.links import TINY, centred_log


def fitted_init(estimator: Any, given: Given, samples: Samples, loss: Loss) -> Any:
    """The estimator, if it is fitted; else a copy that is fitted to these samples of what was given; soft labels are
    those that ``class_weight`` made of them."""
    if _is_fitted(estimator):
        return estimator
    estimator = clone(estimator)
    more = {}
    if samples.weight is not None:
        if not has_fit_parameter(estimator, "sample_weight"):
            source = "fit was given" if given.sample_weight is not None else "class_weight makes"
            raise ValueError(f"init: {_name(estimator)} takes no sample_weight, which {source}.")
        more["sample_weight"] = samples.weight
    if samples.groups is not None and has_fit_parameter(estimator, "groups"):
        more["groups"] = samples.groups
    X = taken(given.X, samples.rows, "X")
    if samples.offset is not None:
        y = _without_offset(samples, loss, estimator)
    else:
        y = samples.y if loss.soft else _dense(taken(given.y, samples.rows, "y"))
    with _said_of(estimator):
        return estimator.fit(X, y, **more)


def _without_offset(samples: Samples, loss: Loss, estimator: Any) -> np.ndarray:
    """The target as it is beside the offset, which the estimator knows nothing of and must not explain again."""
    low, high = loss.prediction_range
    n_targets = 1 if samples.y.ndim == 1 else samples.y.shape[1]
    outputs = samples.offset[:: len(samples.offset) // n_targets].T  # the first of each target
    offset = outputs[:, 0] if samples.y.ndim == 1 else outputs
    if loss.target != "numbers" or loss.for_classes or high != np.inf or low not in (-np.inf, 0.0):
        raise ValueError(
            f"init: {_name(estimator)} cannot be fitted beside an offset with {loss!r}, because it would explain what "
            "the offset does again. Give one that is fitted, or its predictions with the offset."
        )
    return samples.y - offset if low == -np.inf else samples.y * np.exp(-offset)


def _is_fitted(estimator: Any) -> bool:
    """Estimators that can predict without having been fitted pass check_is_fitted before they are."""
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    if hasattr(estimator, "__sklearn_is_fitted__"):
        return True
    return any(name.endswith("_") and not name.startswith("__") for name in vars(estimator))


def in_range(prediction: np.ndarray, loss: Loss, fitted: dict[str, Any], training: Samples | None) -> np.ndarray:
    """Predictions moved into ``fitted["init_range_"]``, if there is one. It is found where the training samples are
    given, which some of the predictions are of: whatever an estimator predicts that does not know the range of the loss
    counts as no nearer to its end than a tenth of the mean target, or the 5% that are nearest to it.

    The logarithm of nearly 0 would be so far out that no tree could tell these rows from others."""
    low, high = loss.prediction_range
    if training is not None and (low, high) != (-np.inf, np.inf):
        targets = training.y.reshape(len(training), -1).T
        of_rows = prediction if training.rows is None else prediction[:, training.rows]
        ranges = []
        for k, predicted in enumerate(of_rows):
            y = targets[k if len(targets) == len(of_rows) else 0]
            y = y[~np.isnan(y)]
            lowest = low if low == -np.inf else low + _least(y - low, predicted - low)
            highest = high if high == np.inf else high - _least(high - y, high - predicted)
            ranges.append((lowest, highest))
        fitted["init_range_"] = np.array(ranges)
    if "init_range_" not in fitted:
        return prediction
    return np.clip(prediction, *fitted["init_range_"].T[:, :, None])


def _least(y: np.ndarray, predicted: np.ndarray) -> float:
    """The least distance from an end of the range that predictions may have."""
    inside = y[y > 0]
    least = min(0.1 * float(y.mean()), float(np.quantile(inside, 0.05))) if len(inside) else TINY
    return least if predicted.min() <= 0 else min(least, float(predicted.min()))


def raw_of(prediction: np.ndarray, loss: Loss, estimator: Any) -> np.ndarray:
    """What the estimator predicts as raw predictions of the loss, shape (n_outputs, n_rows)."""
    if len(prediction) > 1:
        counted(prediction, n_predictions(loss), loss, estimator)
    with _said_of(estimator):
        raw = np.ascontiguousarray(loss.raw_of(prediction))
    if len(raw) != loss.n_outputs:  # one prediction is enough for several where the loss says so
        counted(prediction, n_predictions(loss), loss, estimator)
    return raw


def counted(prediction: np.ndarray, wanted: int, loss: Loss, estimator: Any) -> np.ndarray:
    """The prediction, if it is of as many numbers a row as are wanted."""
    if len(prediction) != wanted:
        raise ValueError(f"init: {_name(estimator)} predicts {len(prediction)} number(s) a row, and {loss!r} {wanted}.")
    return prediction


def numbers(estimator: Any, X: Any) -> np.ndarray:
    """What it predicts of rows with one target or several."""
    with _said_of(estimator):
        found = estimator.predict(X)
    return _finite(found, estimator, X.shape[0] if hasattr(X, "shape") else len(X))


def classes(estimator: Any, X: Any, known: np.ndarray) -> np.ndarray:
    """Probabilities of the classes that the face knows: 0 for those that the estimator has not seen, as the rows that
    it was fitted to, without those that were set aside or have no weight, may lack some."""
    probability = _probabilities(estimator, X)
    given = estimator.classes_
    one_label = not isinstance(given, list) and np.ndim(given) == 1
    if not one_label or not _are_among(np.asarray(given), known):
        raise ValueError("init: the classes of the estimator are not those of y.")
    return _finite(over_classes(probability, given, known), estimator)


def over_classes(probability: np.ndarray, given: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Probabilities of some of the known classes as those of all, shape (n_rows, n_known); 0 for the others."""
    if np.array_equal(given, known):
        return probability
    found = np.zeros((len(probability), len(known)))
    found[:, np.searchsorted(known, given)] = probability
    return found


def _are_among(given: np.ndarray, known: np.ndarray) -> bool:
    if label_family(given) != label_family(known):  # of which numpy would make strings
        return np.array_equal(given, known)
    return bool(np.isin(given, known).all())


def labels(estimator: Any, X: Any, n_labels: int) -> np.ndarray:
    """Probability of each of several labels; an estimator says it of each, or of absence and presence of each."""
    found = _probabilities(estimator, X)
    if isinstance(found, list):
        found = np.column_stack([_presence(*label) for label in zip(found, estimator.classes_, strict=True)])
    n_found = np.shape(found)[1] if np.ndim(found) == 2 else 1
    if n_found != n_labels:
        raise ValueError(f"init: {_name(estimator)} has probabilities of {n_found} label(s), and y has {n_labels}.")
    return _finite(found, estimator)


def probabilities_as_raw(probability: np.ndarray, loss: Loss, estimator: Any) -> np.ndarray:
    """Probabilities of classes as raw predictions; of a loss of one's own that states no link, as those of softmax."""
    own = type(loss).raw_of is Loss.raw_of and type(loss).inverse_link is not Loss.inverse_link
    if own and loss.link == "identity" and loss.n_outputs > 1:
        return centred_log(probability)
    return raw_of(probability, loss, estimator)


def _dense(y: Any) -> Any:
    """A sparse target, which few estimators take, as an array, of one dimension where it has one column."""
    if not is_sparse(y):
        return y
    return y.toarray()[:, 0] if y.shape[1] == 1 else y.toarray()


def _probabilities(estimator: Any, X: Any) -> Any:
    if not hasattr(estimator, "predict_proba"):
        raise ValueError(f"init: {_name(estimator)} has no predict_proba, which a classifier starts from.")
    with _said_of(estimator):
        return estimator.predict_proba(X)


def _presence(probability: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Of one label, from the probabilities of 0 and 1, of which only one may have occurred."""
    if not np.isin(of, (0, 1)).all():
        raise ValueError("init: the classes of the estimator are not those of y.")
    at = np.flatnonzero(np.asarray(of) == 1)
    return probability[:, at[0]] if len(at) else np.zeros(len(probability))


def _finite(found: Any, estimator: Any, n_rows: int | None = None) -> np.ndarray:
    """By column, in float64."""
    with _said_of(estimator):
        found = np.asarray(found)
        if found.dtype.kind == "c":
            raise TypeError("it predicts complex numbers.")
        prediction = np.atleast_2d(found.astype(np.float64).T)
    if found.ndim not in (1, 2) or n_rows not in (None, len(found)):
        rows = "" if n_rows is None else f" for {n_rows} rows"
        raise ValueError(f"init: {_name(estimator)} predicts an array of shape {found.shape}{rows}.")
    bad = np.argwhere(~(np.abs(prediction.T) <= LARGEST_INPUT))
    if len(bad):
        row, column = bad[0]
        raise ValueError(f"init: {_name(estimator)} predicts {prediction[column, row]} for row {row}.")
    return prediction


def _name(estimator: Any) -> str:
    return type(estimator).__name__


@contextmanager
def _said_of(estimator: Any) -> Iterator[None]:
    """What goes wrong within is said to be of the estimator."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise ValueError(f"init: {_name(estimator)}: {error}") from error
