"""Metrics of classes and of labels, by the names of scikit-learn's scorers; the higher, the better.

A metric of classes is bound to how many there are, and then a function ``f(codes, raw, probabilities, weight)``:

- codes, intp, shape (n_rows,): the class of each row, from 0;
- raw, shape (1, n_rows) for two classes, else (n_classes, n_rows): the largest is the class that is predicted;
- probabilities, a function without arguments that returns shape (n_classes, n_rows);
- weight, shape (n_rows,), or None.

Where several labels may be true of a row, codes are of 0 and 1, and codes and raw of shape (n_labels, n_rows).

A class that no row is of, and that is not predicted, counts in no average over classes: data that lack a rare class
have metrics, too, which scikit-learn refuses in places.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from boostgrad.metrics.numbers import mean
from boostgrad.metrics.ranks import average_precision, roc_auc

Metric = Callable[[np.ndarray, np.ndarray, Callable[[], np.ndarray], np.ndarray | None], float]

# Probabilities count as no nearer to 0 and 1, as in scikit-learn.
LEAST = np.finfo(np.float64).eps


# ---- of the class that is predicted ----------------------------------------------------------------------------------


class Counts:
    """Weight of the rows of each class: that are of it, that are predicted to be, and both::

    classes, or the labels of a row     [  0   1   2  ]
    true                                [ 10  20   5  ]
    predicted                           [ 12  18   5  ]
    hit                                 [  9  16   1  ]
    """

    def __init__(self, true: np.ndarray, predicted: np.ndarray, hit: np.ndarray, total: float):
        self.true, self.predicted, self.hit, self.total = true, predicted, hit, total

    @classmethod
    def of_classes(cls, codes: np.ndarray, predicted: np.ndarray, n_classes: int, weight: np.ndarray | None) -> Counts:
        table = np.bincount(codes * n_classes + predicted, weights=weight, minlength=n_classes * n_classes)
        table = table.reshape(n_classes, n_classes).astype(np.float64)
        return cls(table.sum(axis=1), table.sum(axis=0), np.diag(table).copy(), float(table.sum()))

    @classmethod
    def of_labels(cls, codes: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None) -> Counts:
        w = 1.0 if weight is None else weight
        true, predicted = codes != 0, predicted != 0
        sums = [np.sum(part * w, axis=1, dtype=np.float64) for part in (true, predicted, true & predicted)]
        return cls(*sums, float(codes.shape[1] if weight is None else weight.sum()))

    @property
    def there(self) -> np.ndarray:
        """Classes that rows are of, or are predicted to be."""
        return self.true + self.predicted > 0


def _accuracy(counts: Counts) -> float:
    return float(counts.hit.sum() / counts.total)


def _balanced_accuracy(counts: Counts) -> float:
    there = counts.true > 0
    return float(np.mean(counts.hit[there] / counts.true[there]))


def _matthews_corrcoef(counts: Counts) -> float:
    covariance = counts.hit.sum() * counts.total - counts.true @ counts.predicted
    of_true, of_predicted = (counts.total**2 - part @ part for part in (counts.true, counts.predicted))
    return 0.0 if of_true * of_predicted == 0 else float(covariance / np.sqrt(of_predicted * of_true))


# What is divided by what: hits, twice where the divisor counts them twice.
_RATIOS: dict[str, Callable[[Counts], tuple[np.ndarray, np.ndarray]]] = {
    "precision": lambda counts: (counts.hit, counts.predicted),
    "recall": lambda counts: (counts.hit, counts.true),
    "f1": lambda counts: (2 * counts.hit, counts.true + counts.predicted),
    "jaccard": lambda counts: (counts.hit, counts.true + counts.predicted - counts.hit),
}


def _ratio(hits: np.ndarray, of: np.ndarray) -> np.ndarray:
    """0 where there is nothing to divide by."""
    return np.divide(hits, of, out=np.zeros_like(hits), where=of > 0)


def _averaged(name: str, average: str, positive: int, all_count: bool) -> Callable[[Counts], float]:
    """A ratio of one class or averaged over the classes; ``all_count``: over those, too, that are nowhere."""

    def score(counts: Counts) -> float:
        hits, of = _RATIOS[name](counts)
        if average == "binary":
            return float(_ratio(hits, of)[positive])
        if average == "micro":
            return float(_ratio(hits.sum(keepdims=True), of.sum(keepdims=True))[0])
        if average == "weighted":
            total = counts.true.sum()
            return float(_ratio(hits, of) @ counts.true / total) if total > 0 else 0.0
        return float(np.mean(_ratio(hits, of) if all_count else _ratio(hits, of)[counts.there]))

    return score


def _of_counts(name: str, positive: int, several: bool) -> Callable[[Counts], float] | None:
    """The metric of counts, if the name is that of one."""
    ratio, _, average = name.partition("_")
    if ratio in _RATIOS and average in ("", "macro", "micro", "weighted") and (average or positive >= 0):
        return _averaged(ratio, average or "binary", positive, several)
    if several:
        return None
    plain = {
        "accuracy": _accuracy,
        "balanced_accuracy": _balanced_accuracy,
        "matthews_corrcoef": _matthews_corrcoef,
    }
    return plain.get(name)


# ---- of probabilities and scores -------------------------------------------------------------------------------------


def _log_loss(codes, raw, probabilities, weight) -> float:
    of_class = probabilities()[codes, np.arange(len(codes))]
    return mean(np.log(np.clip(of_class, LEAST, 1 - LEAST)), weight)


def _brier_score(codes, raw, probabilities, weight) -> float:
    """Of two classes half of it, as in scikit-learn: the square of the difference for one of them."""
    p = probabilities()
    if len(p) == 2:
        return -mean((p[1] - codes) ** 2, weight)
    of_class = p[codes, np.arange(len(codes))]
    return -mean(np.sum(p**2, axis=0) + (1 - 2 * of_class), weight)


def _one_against_others(metric: Callable[..., float], weighted: bool, of_raw: bool) -> Metric:
    """The mean over the classes of a metric of one and all others."""

    def score(codes, raw, probabilities, weight) -> float:
        scores = raw if of_raw else probabilities()
        mass = np.bincount(codes, weights=weight, minlength=len(scores))
        there = np.flatnonzero(mass)
        if len(there) < 2:
            return float("nan")
        each = [metric(codes == k, scores[k], weight) for k in there]
        return float(np.average(each, weights=mass[there] if weighted else None))

    return score


def _of_second(metric: Callable[..., float], positive: int = 1, of_raw: bool = True) -> Metric:
    """A metric of two classes, one of which is the positive one."""

    def score(codes, raw, probabilities, weight) -> float:
        scores = (raw[0] if positive else -raw[0]) if of_raw else probabilities()[positive]
        return metric(codes == positive, scores, weight)

    return score


def class_metric(name: str, n_classes: int, positive: int = 1) -> Metric | None:
    """The metric of that name for classes.

    Parameters
    ----------
    name : str
        Of a scorer of scikit-learn.
    n_classes : int
    positive : int, default=1
        Of two classes: the one that metrics of one class are about.

    Returns
    -------
    callable or None
        As the module's docstring has it. None: there is none of that name for so many classes.
    """
    binary = n_classes == 2
    of_counts = _of_counts(name, positive if binary else -1, several=False)
    if of_counts is not None:

        def score(codes, raw, probabilities, weight) -> float:
            predicted = (raw[0] > 0).astype(np.intp) if binary else raw.argmax(axis=0)
            return of_counts(Counts.of_classes(codes, predicted, n_classes, weight))

        return score
    if name in ("neg_log_loss", "neg_brier_score"):
        return _log_loss if name == "neg_log_loss" else _brier_score
    if name == "average_precision":
        return (
            _of_second(average_precision, positive) if binary else _one_against_others(average_precision, False, True)
        )
    if name in ("roc_auc_ovr", "roc_auc_ovr_weighted"):
        if binary:
            return _of_second(roc_auc, of_raw=False)
        return _one_against_others(roc_auc, name.endswith("weighted"), of_raw=False)
    return _of_second(roc_auc) if binary and name == "roc_auc" else None


# ---- soft labels -----------------------------------------------------------------------------------------------------


def _expected_accuracy(y, raw, probabilities, weight) -> float:
    return mean(np.where(raw > 0, y, 1 - y).prod(axis=0), weight)


def _cross_entropy(y, raw, probabilities, weight) -> float:
    log_q, log_p = np.log(np.clip(probabilities(), LEAST, 1 - LEAST))
    return mean(y * log_p + (1 - y) * log_q, weight)


def soft_metric(name: str, several: bool = False) -> Metric | None:
    """What is to be expected of the metric of that name if labels are drawn with the probabilities of a target, which
    it gets in place of codes: those of the second of two classes or, where there are several labels a row, of each.
    None: there is none."""
    if name == "accuracy":
        return _expected_accuracy
    return _cross_entropy if name == "neg_log_loss" and not several else None


# ---- several labels a row --------------------------------------------------------------------------------------------


def _all_labels_right(codes, raw, probabilities, weight) -> float:
    return mean(((raw > 0) == (codes != 0)).all(axis=0).astype(np.float64), weight)


def label_metric(name: str) -> Metric | None:
    """The metric of that name where several labels may be true of a row; None: there is none."""
    of_counts = _of_counts(name, -1, several=True)
    if of_counts is not None:
        return lambda codes, raw, probabilities, weight: of_counts(Counts.of_labels(codes, raw > 0, weight))
    if name == "accuracy":
        return _all_labels_right
    if name not in ("roc_auc", "average_precision"):
        return None
    metric = roc_auc if name == "roc_auc" else average_precision

    def score(codes, raw, probabilities, weight) -> float:
        each = np.array([metric(codes[k] != 0, raw[k], weight) for k in range(len(codes))])
        return float(np.mean(each[~np.isnan(each)])) if not np.isnan(each).all() else float("nan")

    return score
