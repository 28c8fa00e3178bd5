"""NDCG, average precision and the concordance index: scikit-learn's, scikit-survival's and the twin's values."""

import numpy as np
import pytest
import reference
from sklearn.metrics import average_precision_score, ndcg_score

from boostgrad.losses import RankMAP
from boostgrad.metrics import (
    NDCG,
    Concordance,
    MeanAveragePrecision,
    concordance_index,
    mean_average_precision,
    ndcg,
)

# ---- queries ---------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
groups = np.repeat(np.arange(60), RNG.integers(1, 30, 60))
y = RNG.integers(0, 5, len(groups)).astype(float)
y[groups == 3] = 0  # nothing is relevant


@pytest.mark.parametrize("k", [None, 1, 5, 10])
@pytest.mark.parametrize("gain", ["linear", "exponential"])
def test_ndcg_is_sklearns(k, gain):
    rng = np.random.default_rng(0)
    score = np.round(rng.standard_normal(len(y)), 1)  # with ties
    values = []
    for query in np.unique(groups):
        rows = groups == query
        gains = y[rows] if gain == "linear" else 2 ** y[rows] - 1
        if rows.sum() > 1 and gains.any():
            values.append(ndcg_score([gains], [score[rows]], k=k))
        else:
            values.append(1.0)
    assert ndcg(y, score, groups, k=k, gain=gain) == pytest.approx(np.mean(values), rel=1e-12)
    weight = rng.random(groups.max() + 1)
    assert ndcg(y, score, groups, k=k, gain=gain, sample_weight=weight[groups]) == pytest.approx(
        np.average(values, weights=weight)
    )
    assert ndcg(y, score, groups, k=k, gain=gain, n_threads=3) == ndcg(y, score, groups, k=k, gain=gain)


def test_ndcg_once_prepared():
    score = np.round(RNG.standard_normal((3, len(y))), 1)
    weight = RNG.random(60)[groups]
    prepared = NDCG(y, groups, k=5, sample_weight=weight)
    assert [prepared(s) for s in score] == [ndcg(y, s, groups, k=5, sample_weight=weight) for s in score]
    of_queries = prepared.of_queries(score[0], n_threads=2)
    assert of_queries.shape == (60,) and of_queries[3] == 1
    with pytest.raises(ValueError, match="no relevance as large as 5000"):
        NDCG(1000 * y + 1000, groups)
    assert 0 < ndcg(1000 * y, score[0], groups, gain="linear") < 1


def test_average_precision_is_sklearns(seed):
    rng = np.random.default_rng(seed)
    score = rng.standard_normal(len(y))  # of equal scores scikit-learn counts the best order, and we the worst one
    values = [
        average_precision_score(y[rows] > 0, score[rows]) if (y[rows] > 0).any() else 1.0
        for rows in (groups == query for query in np.unique(groups))
    ]
    mixed = rng.permutation(len(y))
    of = (y[mixed], score[mixed], groups[mixed])
    assert mean_average_precision(*of) == pytest.approx(np.mean(values), rel=1e-12)
    weight = rng.random(groups.max() + 1)
    expected = np.average(values, weights=weight)
    assert mean_average_precision(*of, sample_weight=weight[of[2]]) == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(MeanAveragePrecision(y, groups).of_queries(score), values, rtol=1e-12)


def test_average_precision_of_one_query_is_that_of_its_rows():
    score = RNG.standard_normal(len(y))
    assert mean_average_precision(y, score) == pytest.approx(average_precision_score(y > 0, score), rel=1e-12)


def test_average_precision_with_ties_is_what_the_loss_reports(seed):
    rng = np.random.default_rng(seed)
    score = np.round(rng.standard_normal(len(y)))
    mixed = rng.permutation(len(y))
    loss = RankMAP()
    target = loss.prepare(y[mixed], None, groups[mixed])
    found = mean_average_precision(y[mixed], score[mixed], groups[mixed])
    assert found == pytest.approx(1 - loss.mean(target, score[mixed][None], None), rel=1e-12)
    assert found < mean_average_precision(y, score + 1e-3 * y, groups)


@pytest.mark.parametrize("k", [1, 3, 1000])
def test_average_precision_of_the_first_rows(k, seed):
    rng = np.random.default_rng(seed)
    score = rng.standard_normal(len(y))
    values = []
    for query in np.unique(groups):
        relevant = y[groups == query][np.argsort(-score[groups == query])] > 0
        precision = np.cumsum(relevant) / np.arange(1, len(relevant) + 1)
        most = min(k, relevant.sum())
        values.append(precision[:k][relevant[:k]].sum() / most if most else 1.0)
    assert mean_average_precision(y, score, groups, k=k) == pytest.approx(np.mean(values), rel=1e-12)


# ---- times -----------------------------------------------------------------------------------------------------------


def test_concordance_is_that_of_the_twin():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        n = 40
        lower = np.ceil(rng.random(n) * 8)
        kind = rng.integers(0, 3, n)
        upper = np.where(kind == 0, lower, np.where(kind == 1, np.inf, lower + rng.integers(1, 3, n)))
        risk, weight = np.round(rng.standard_normal(n), 1), rng.random(n)
        expected = reference.concordance(lower, upper, risk, weight)
        assert concordance_index(np.column_stack([lower, upper]), risk, weight) == pytest.approx(expected)
    with pytest.raises(ValueError, match="is not defined"):
        concordance_index(np.array([[1.0, np.inf], [2.0, np.inf]]), np.arange(2.0))


def test_concordance_is_scikit_survivals():
    metrics = pytest.importorskip("sksurv.metrics")
    rng = np.random.default_rng(0)
    time, event, risk = np.ceil(rng.random(300) * 50), rng.random(300) < 0.6, np.round(rng.standard_normal(300), 1)
    ours = concordance_index(np.column_stack([time, np.where(event, time, np.inf)]), risk)
    assert ours == pytest.approx(metrics.concordance_index_censored(event, time, risk)[0], rel=1e-12)


def test_concordance_once_prepared():
    time, risk = RNG.random(100), np.round(RNG.standard_normal((3, 100)), 1)
    bounds, weight = np.column_stack([time, np.where(RNG.random(100) < 0.5, time, np.inf)]), RNG.random(100)
    prepared = Concordance(bounds, weight)
    assert [prepared(r) for r in risk] == [concordance_index(bounds, r, weight) for r in risk]
    assert prepared(-risk[0]) == pytest.approx(1 - prepared(risk[0]))
    assert np.isnan(Concordance(bounds[:1])(risk[0, :1]))
