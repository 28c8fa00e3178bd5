"""The mathematics of conformal prediction, against enumeration."""

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from scipy import stats

from boostgrad import conformal
from boostgrad.conformal import ConformityScores

COVERAGES = [Fraction(k, 100) for k in (1, 7, 29, 50, 57, 58, 80, 90, 95, 99)] + [Fraction(9, 19), Fraction(1, 3)]


def of_rank(score, rank):
    """The score of that rank from 1, infinity beyond the last."""
    return np.inf if rank > len(score) else np.sort(score)[rank - 1]


# ---- thresholds ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [*range(1, 30), 99, 100, 127])
def test_threshold_has_the_rank_of_the_theorem(n, seed):
    score = np.random.default_rng(seed).normal(size=n)
    scores = ConformityScores.of(score)
    for coverage in COVERAGES:
        assert scores.threshold(float(coverage)) == of_rank(score, ceil((n + 1) * coverage))
    assert scores.largest_coverage == pytest.approx(n / (n + 1), abs=1e-15)
    assert scores.n_rows == n


@pytest.mark.parametrize("n", [4, 9, 20])
def test_each_of_exchangeable_rows_is_covered_as_often_as_promised(n, seed):
    """Of n + 1 rows each in turn is the new one, and the others calibrate."""
    score = np.random.default_rng(seed).normal(size=n + 1)
    for coverage in COVERAGES:
        covered = sum(
            score[new] <= ConformityScores.of(np.delete(score, new)).threshold(float(coverage)) for new in range(n + 1)
        )
        assert Fraction(covered, n + 1) == Fraction(min(ceil((n + 1) * coverage), n + 1), n + 1) >= coverage


def test_equal_scores():
    score = np.array([1.0, 2.0, 2.0, 2.0, 3.0])
    scores = ConformityScores.of(score)
    for coverage in COVERAGES:
        assert scores.threshold(float(coverage)) == of_rank(score, ceil(6 * coverage))
    assert ConformityScores.of(np.full(1000, 0.5)).score.tolist() == [0.5]


def test_many_scores_are_thinned_upwards_and_little(seed):
    rng = np.random.default_rng(seed)
    for weight in (None, rng.random(50_000) ** 3):
        score = rng.normal(size=50_000)
        scores, exact = ConformityScores.of(score, weight), np.sort(score)
        share = np.arange(1, 50_001) / 50_001
        if weight is not None:
            w = weight[np.argsort(score)]
            share = np.cumsum(w) / (w.sum() + (w**2).sum() / w.sum())
        assert len(scores.score) < 1100 and np.isin(scores.score, score).all()
        for coverage in (0.1, 0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 0.9999):
            least, found = np.searchsorted(share, coverage), np.searchsorted(exact, scores.threshold(coverage))
            assert share[least] <= share[found] <= share[least] + (1 - share[least]) / 100


def test_weights(seed):
    rng = np.random.default_rng(seed)
    for n in (1, 2, 5, 12, 40):
        score, weight = rng.normal(size=n), rng.integers(0, 4, n).astype(float)
        weight[0] = 1.0
        scores = ConformityScores.of(score, weight)
        new = (weight**2).sum() / weight.sum()
        assert scores.n_rows == (weight > 0).sum()
        for coverage in (0.2, 0.5, 0.77, 0.9):
            reached = [s for s in np.sort(score) if weight[score <= s].sum() >= coverage * (weight.sum() + new) - 1e-9]
            assert scores.threshold(coverage) == (reached[0] if reached else np.inf)
            assert ConformityScores.of(score, 1e6 * weight).threshold(coverage) == scores.threshold(coverage)
        same = ConformityScores.of(score, np.full(n, 0.3))
        np.testing.assert_array_equal(same.score, ConformityScores.of(score).score)
        np.testing.assert_allclose(same.share, ConformityScores.of(score).share, rtol=1e-12)


def test_no_rows():
    for scores in (ConformityScores.of(np.empty(0)), ConformityScores.of(np.ones(3), np.zeros(3))):
        assert scores.threshold(0.01) == np.inf and scores.largest_coverage == 0.0 and scores.n_rows == 0


def test_infinite_scores():
    scores = ConformityScores.of(np.array([1.0, 2.0, np.inf]))
    assert scores.threshold(0.5) == 2.0 and scores.threshold(0.75) == np.inf and scores.largest_coverage == 0.5


# ---- scores and what they are scores of ------------------------------------------------------------------------------


def inside(y, ends):
    return (ends[0] <= y) & (y <= ends[1])


def test_residuals(seed):
    rng = np.random.default_rng(seed)
    y, f, spread = rng.integers(-20, 20, 300) / 8, rng.integers(-20, 20, 300) / 8, 2.0 ** rng.integers(-2, 3, 300)
    score = conformal.residual_scores(y, f, spread)
    for t in (0.0, 0.25, 1.0, 3.0):
        np.testing.assert_array_equal(inside(y, conformal.residual_interval(f, spread, t)), score <= t)


def test_quantiles(seed):
    rng = np.random.default_rng(seed)
    y, low, high = rng.integers(-20, 20, 300) / 8, *np.sort(rng.integers(-20, 20, (2, 300)) / 8, axis=0)
    score = conformal.quantile_scores(y, low, high)
    for t in (0.0, 0.25, 1.0, 3.0):
        np.testing.assert_array_equal(inside(y, conformal.quantile_interval(low, high, t)), score <= t)
    lower, upper = conformal.quantile_interval(low, high, -0.5)
    assert (lower <= upper).all() and (inside(y, (lower, upper)) >= (score <= -0.5)).all()
    open_ = upper > lower
    np.testing.assert_array_equal(inside(y, (lower, upper))[open_], (score <= -0.5)[open_])


@pytest.mark.parametrize("name", ["norm", "poisson", "nbinom"])
def test_tails(name, seed):
    rng = np.random.default_rng(seed)
    m = np.exp(rng.normal(size=400))
    distribution = {
        "norm": stats.norm(loc=m, scale=m),
        "poisson": stats.poisson(mu=m),
        "nbinom": stats.nbinom(n=m, p=0.3),
    }[name]
    counts = name != "norm"
    y = distribution.rvs(random_state=rng)
    score = conformal.tail_scores(distribution.cdf(y), distribution.sf(y - counts))
    assert (score >= 0).all()
    for t in (0.1, 1.0, 3.0):
        np.testing.assert_array_equal(inside(y, conformal.tail_interval(distribution, t)), score <= t)
    for k in range(100):  # thresholds that are the score of a row: it is just inside
        assert inside(y, conformal.tail_interval(distribution, score[k]))[k]


def test_tails_far_out_are_told_apart():
    at_least = stats.norm.sf([9.0, 12.0, 20.0])
    score = conformal.tail_scores(1 - at_least, at_least)
    assert (np.diff(score) > 10).all()
    for z, t in zip([9.0, 12.0, 20.0], score, strict=True):
        np.testing.assert_allclose(conformal.tail_interval(stats.norm(), t), [-z, z], rtol=1e-8)


def test_sets(seed):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(3), 200)
    codes = rng.integers(0, 3, 200)
    score = conformal.class_scores(p, codes)
    for t in (0.2, 0.5, 0.9, np.array([0.1, 0.5, np.inf])):
        members = conformal.class_set(p, t)
        assert members.shape == (200, 3) and members.dtype == bool
        own = np.broadcast_to(t, 3)[codes]
        np.testing.assert_array_equal(members[np.arange(200), codes], score <= own)


def test_scores_of_each_class(seed):
    rng = np.random.default_rng(seed)
    score, codes, weight = rng.random(60), rng.choice([0, 2, 3], 60), rng.random(60)
    for w in (None, weight):
        several = conformal.by_class(score, codes, w, 5)
        assert [one.n_rows for one in several] == [60, *np.bincount(codes, minlength=5)]
        for k in range(5):
            expected = ConformityScores.of(score[codes == k], None if w is None else w[codes == k])
            np.testing.assert_array_equal(several[1 + k].score, expected.score)
            np.testing.assert_array_equal(several[1 + k].share, expected.share)


# ---- storing them, and asking for too much ---------------------------------------------------------------------------


def test_packed(seed):
    rng = np.random.default_rng(seed)
    several = [ConformityScores.of(rng.normal(size=n)) for n in (0, 3, 1000)]
    again = conformal.unpacked(conformal.packed(several))
    for one, other in zip(several, again, strict=True):
        assert one.n_rows == other.n_rows
        np.testing.assert_array_equal(one.score, other.score)
        np.testing.assert_array_equal(one.share, other.share)
    broken = conformal.packed(several) | {"conformity_kept": np.array([1, 2, 3])}
    with pytest.raises(ValueError, match="do not fit together"):
        conformal.unpacked(broken)


@pytest.mark.parametrize("coverage", [0, 1, 0.0, 1.0, -0.1, 90, np.nan, "0.9", None, True, [0.9]])
def test_coverage_refused(coverage):
    with pytest.raises(ValueError, match=r"coverage must be a number in \(0, 1\)"):
        conformal.check_coverage(coverage)


def test_too_few_rows():
    for n, coverage in ((8, 0.9), (98, 0.99), (18, 0.95)):
        few, enough = ConformityScores.of(np.arange(n) + 0.0), ConformityScores.of(np.arange(n + 1) + 0.0)
        with pytest.raises(ValueError, match=f"needs {n + 1} calibration rows or more .* the model has {n}"):
            conformal.check_finite_thresholds([few], coverage)
        conformal.check_finite_thresholds([enough], coverage)


@pytest.mark.parametrize("mean", [0.01, 3.0, 170.0, 1e6])
@pytest.mark.parametrize("tail", [1e-8, 1e-17, 1e-200])
def test_upper_ends_of_counts_far_out(mean, tail):
    """The least count with no more than the tail above it, also where 1 - tail is 1."""
    distribution = stats.poisson(mu=np.array([mean, mean]))
    threshold = -np.log(2 * tail)
    _, upper = conformal.tail_interval(distribution, threshold)
    assert (distribution.sf(upper) <= tail).all() and (distribution.sf(upper - 1) > tail * (1 - 1e-8)).all()
