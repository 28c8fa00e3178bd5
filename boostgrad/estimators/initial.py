"""An estimator that boosting starts from: fitted, and its predictions as raw ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from boostgrad.losses import Loss

# Probabilities and means stay this far from where their logarithms end.
TINY = 1e-15


def fitted_init(estimator: Any, X: Any, y: Any, rows: np.ndarray | None, weight: np.ndarray | None) -> Any:
    """The estimator, if it is fitted; else a copy that is fitted to these rows of a table.

    Parameters
    ----------
    estimator : estimator
    X, y : as they were given to fit
    rows : ndarray of intp or None
        None: all.
    weight : ndarray of float64 or None
        Of those rows.
    """
    try:
        check_is_fitted(estimator)
        return estimator
    except NotFittedError:
        estimator = clone(estimator)
    if rows is not None:
        X, y = _safe_indexing(X, rows), _safe_indexing(y, rows)
    if weight is None:
        return estimator.fit(X, y)
    if not has_fit_parameter(estimator, "sample_weight"):
        raise ValueError(f"init: {type(estimator).__name__} takes no sample_weight, which fit was given.")
    return estimator.fit(X, y, sample_weight=weight)


def raw_of_init(estimator: Any, X: Any, loss: Loss, classes: np.ndarray | None) -> np.ndarray:
    """Its predictions as raw ones of the loss, shape (n_outputs, n_rows)."""
    if classes is None:
        found = np.asarray(estimator.predict(X), dtype=np.float64)
        return np.ascontiguousarray(np.atleast_2d(_linked(found.T, loss)))
    if not hasattr(estimator, "predict_proba"):
        raise ValueError(f"init: {type(estimator).__name__} has no predict_proba, which a classifier starts from.")
    if np.shape(estimator.classes_) != classes.shape or not (np.asarray(estimator.classes_) == classes).all():
        raise ValueError("init: the classes of the estimator are not those of y.")
    log_p = np.log(np.clip(estimator.predict_proba(X), TINY, 1.0).T)
    if loss.n_outputs == 1:
        return np.ascontiguousarray(log_p[1:] - log_p[:1])
    return np.ascontiguousarray(log_p - log_p.mean(axis=0))


def _linked(prediction: np.ndarray, loss: Loss) -> np.ndarray:
    if loss.link == "log":
        return np.log(np.maximum(prediction, TINY))
    if loss.link == "log1p":
        return np.log1p(np.maximum(prediction, TINY - 1))
    if loss.link == "logit":
        p = np.clip(prediction, TINY, 1 - TINY)
        return np.log(p / (1 - p))
    if loss.link == "identity":
        return prediction
    raise ValueError(f"init: the link {loss.link!r} of loss {loss.name!r} has no inverse that is known; use offset.")
