"""Metrics of classes, labels and ranks: scikit-learn's values, whatever the data."""

import itertools
import warnings

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import get_scorer

from boostgrad.metrics import average_precision, roc_auc
from boostgrad.metrics.classes import class_metric, label_metric, soft_metric

RATIOS = [
    f"{ratio}_{average}"
    for ratio in ("precision", "recall", "f1", "jaccard")
    for average in ("macro", "micro", "weighted")
]
SEVERAL = [
    "accuracy", "balanced_accuracy", "matthews_corrcoef", "neg_log_loss", "neg_brier_score", "average_precision",
    "roc_auc_ovr", "roc_auc_ovr_weighted", *RATIOS,
]  # fmt: skip
TWO = [*SEVERAL, "roc_auc", "precision", "recall", "f1", "jaccard"]
LABELS = ["accuracy", "roc_auc", "average_precision", *RATIOS]


class Answer(ClassifierMixin, BaseEstimator):
    """Answers from raw predictions, shape (n_outputs, n_rows)."""

    def __init__(self, raw=None, classes=None, several=False):
        self.raw, self.classes, self.several = raw, classes, several

    def fit(self, X, y):
        return self

    @property
    def classes_(self):
        return self.classes

    def decision_function(self, X):
        return self.raw[0] if len(self.raw) == 1 else self.raw.T

    def predict_proba(self, X):
        return probabilities(self.raw, self.several).T

    def predict(self, X):
        if self.several:
            return (self.raw > 0).T.astype(int)
        return self.classes[(self.raw[0] > 0).astype(int) if len(self.raw) == 1 else self.raw.argmax(axis=0)]

    def __sklearn_is_fitted__(self):
        return True


@np.errstate(over="ignore")
def probabilities(raw, several=False):
    if several or len(raw) == 1:
        p = 1 / (1 + np.exp(-raw))
        return p if several else np.concatenate([1 / (1 + np.exp(raw)), p])
    p = np.exp(raw - raw.max(axis=0))
    return p / p.sum(axis=0)


def data(seed, n_classes):
    """Codes of which every class has some, raw predictions with ties, and weights, some of them 0."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(8 * n_classes, 80 * n_classes))
    codes = rng.integers(0, n_classes, n)
    codes[: 2 * n_classes] = np.tile(np.arange(n_classes), 2)
    raw = rng.normal(size=(1 if n_classes == 2 else n_classes, n)) * 3
    raw += 1.5 * ((codes - 0.5) if n_classes == 2 else np.arange(n_classes)[:, None] == codes)
    if seed % 2:
        raw = np.round(raw)  # ties of scores, and of which is the largest
    weight = rng.integers(0, 4, n) * rng.choice([1.0, 0.37])
    weight[: 2 * n_classes] = 1.0
    return codes, raw, weight


def quietly(scorer, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        return scorer(*args, **kwargs)


@pytest.mark.parametrize("n_classes, name", [(2, name) for name in TWO] + [(4, name) for name in SEVERAL])
def test_values_of_classes_are_scikit_learns(n_classes, name):
    metric, scorer = class_metric(name, n_classes), get_scorer(name)
    for seed in range(8):
        codes, raw, weight = data(seed, n_classes)
        answer, X = Answer(raw, np.arange(n_classes)), codes[:, None]
        for w, more in ((None, {}), (weight, {"sample_weight": weight})):
            expected = quietly(scorer, answer, X, codes, **more)
            ours = metric(codes, raw, lambda raw=raw: probabilities(raw), w)
            assert ours == pytest.approx(expected, rel=1e-10, abs=1e-10), seed


@pytest.mark.parametrize("name", TWO)
def test_which_of_two_classes_is_the_positive_one(name):
    codes, raw, _ = data(0, 2)
    labels = np.array([1, 2])
    expected = get_scorer(name)(Answer(raw, labels), codes[:, None], labels[codes])
    assert class_metric(name, 2, positive=0)(codes, raw, lambda: probabilities(raw), None) == pytest.approx(expected)


@pytest.mark.parametrize("name", LABELS)
def test_values_of_labels_are_scikit_learns(name):
    metric, scorer = label_metric(name), get_scorer(name)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        codes = rng.integers(0, 2, (3, 50))
        codes[:, :2] = 0, 1
        raw, weight = np.round(rng.normal(size=(3, 50)) + codes, 1), rng.random(50)
        answer = Answer(raw, np.arange(3), several=True)
        for w, more in ((None, {}), (weight, {"sample_weight": weight})):
            expected = quietly(scorer, answer, codes.T, codes.T, **more)
            assert metric(codes, raw, None, w) == pytest.approx(expected, rel=1e-10, abs=1e-10)


def test_weights_are_repetition():
    for n_classes, names in ((2, TWO), (3, SEVERAL)):
        codes, raw, _ = data(1, n_classes)
        times = np.random.default_rng(0).integers(0, 4, len(codes))
        again, raw_again = codes.repeat(times), raw.repeat(times, axis=1)
        for name in names:
            metric = class_metric(name, n_classes)
            weighted = metric(codes, raw, lambda raw=raw: probabilities(raw), times.astype(float))
            assert weighted == pytest.approx(metric(again, raw_again, lambda r=raw_again: probabilities(r), None))


def test_data_without_a_class_have_metrics():
    """Which scikit-learn refuses: of rows that early stopping set aside, a rare class may be missing."""
    codes, raw, _ = data(0, 4)
    rows = codes != 2
    codes, raw = codes[rows], raw[:, rows]
    for name in SEVERAL:
        assert np.isfinite(class_metric(name, 4)(codes, raw, lambda: probabilities(raw), None)), name
    present = [0, 1, 3]
    each = [roc_auc(codes == k, probabilities(raw)[k]) for k in present]
    assert class_metric("roc_auc_ovr", 4)(codes, raw, lambda: probabilities(raw), None) == pytest.approx(np.mean(each))


def test_one_class_alone():
    one, score = np.zeros(5, dtype=bool), np.arange(5.0)
    assert np.isnan(roc_auc(one, score)) and np.isnan(roc_auc(~one, score)) and np.isnan(roc_auc(one, score, score))
    assert average_precision(one, score) == 0 and average_precision(~one, score) == 1
    assert np.isnan(class_metric("roc_auc_ovr", 3)(np.zeros(4, int), np.zeros((3, 4)), lambda: np.ones((3, 4)), None))
    assert np.isnan(label_metric("roc_auc")(np.zeros((2, 4)), np.zeros((2, 4)), None, None))


def test_order_of_rows_does_not_matter():
    rng = np.random.default_rng(0)
    positive, score = rng.random(500) < 0.3, np.round(rng.normal(size=500), 1)
    for metric in (roc_auc, average_precision):
        values = {metric(positive[order], score[order]) for order in (rng.permutation(500) for _ in range(20))}
        assert len(values) == 1


def test_certain_and_wrong_probabilities_are_clipped_as_in_scikit_learn():
    codes, raw = np.array([0, 1, 1]), np.array([[800.0, 800.0, -800.0]])
    expected = get_scorer("neg_log_loss")(Answer(raw, np.arange(2)), codes[:, None], codes)
    assert class_metric("neg_log_loss", 2)(codes, raw, lambda: probabilities(raw), None) == pytest.approx(expected)


@pytest.mark.parametrize(
    "n_classes, name", [(3, "f1"), (3, "roc_auc"), (2, "r2"), (3, "f1_samples"), (2, "roc_auc_ovo")]
)
def test_what_there_is_no_metric_for(n_classes, name):
    assert class_metric(name, n_classes) is None


def test_labels_have_no_metric_of_classes():
    for name in ("f1", "neg_log_loss", "balanced_accuracy", "f1_samples", "matthews_corrcoef"):
        assert label_metric(name) is None


@pytest.mark.parametrize("n_labels", [None, 3])
def test_metrics_of_soft_labels_are_means_over_all_labels_that_may_be(n_labels, seed):
    rng = np.random.default_rng(seed)
    y, raw = rng.random((n_labels or 1, 50)), rng.standard_normal((n_labels or 1, 50))
    weight = rng.random(50)
    p = 1 / (1 + np.exp(-raw))
    expected = {"accuracy": 0.0, "neg_log_loss": 0.0}
    for labels in itertools.product([0, 1], repeat=len(y)):  # the same ones in all rows; means are sums over rows
        codes = np.repeat(np.array(labels)[:, None], 50, axis=1)
        mass = weight * np.where(codes, y, 1 - y).prod(axis=0) / weight.sum()
        expected["accuracy"] += mass @ ((raw > 0) == codes).all(axis=0)
        expected["neg_log_loss"] += mass @ np.log(np.where(codes, p, 1 - p)).sum(axis=0)
    y = y if n_labels else y[0]
    found = soft_metric("accuracy", bool(n_labels))(y, raw, None, weight)
    assert np.isclose(found, expected["accuracy"], rtol=1e-12)
    if n_labels is None:
        probabilities = np.vstack([1 - p, p])
        found = soft_metric("neg_log_loss")(y, raw, lambda: probabilities, weight)
        assert np.isclose(found, expected["neg_log_loss"], rtol=1e-12)
    else:
        assert soft_metric("neg_log_loss", several=True) is None
    assert soft_metric("roc_auc") is None
