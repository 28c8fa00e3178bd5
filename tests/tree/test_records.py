"""Small integers in place of gradients: tables of 50,000 rows and more choose splits by numbers rounded at random.

What is rounded decides splits only: counts, covers and leaf values stay exact, and the gain of a chosen split is, by
the precise numbers, about the best there is.
"""

import numpy as np
import pytest
import reference

from boostgrad import BoostGradClassifier, native
from boostgrad.io.native import dump_bytes
from boostgrad.params import TreeParams
from boostgrad.tree.grower import TreeGrower

N = 60_000
PARAMS = TreeParams(max_leaf_nodes=8, min_samples_leaf=20, learning_rate=1.0)


def problem(seed=0, n_features=5, n_codes=40):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, n_codes, (N, n_features))
    gradient = rng.standard_normal(N) + 0.5 * (codes[:, 0] > 17) - (codes[:, 1] < 5) * (codes[:, 2] > 20)
    return codes, gradient, 0.2 + rng.random(N)


def grow(codes, gradient, hessian, params=PARAMS, n_threads=2):
    matrix = reference.binned(codes)
    grower = TreeGrower(matrix, reference.edges_between(matrix), params, n_threads, 0)
    return matrix, grower.grow(reference.gradient_pairs(gradient, hessian), 0, 0)


def gain_of(gradient, hessian, left):
    def score(rows):
        return gradient[rows].sum() ** 2 / hessian[rows].sum()

    return score(left) + score(~left) - score(slice(None))


def best_gain(codes, gradient, hessian):
    """Of all thresholds of all features, missing values (code 0) to the right or to the left."""
    best = 0.0
    for f in range(codes.shape[1]):
        for threshold in range(1, codes[:, f].max()):
            for missing_left in (False, True):
                left = (codes[:, f] <= threshold) & ((codes[:, f] > 0) | missing_left)
                best = max(best, gain_of(gradient, hessian, left))
    return best


@pytest.mark.parametrize("constant", [False, True])
def test_the_first_split_is_about_the_best(constant):
    codes, gradient, hessian = problem()
    hessian = np.ones(N) if constant else hessian
    _, grown = grow(codes, gradient, 1.0 if constant else hessian)
    tree = grown.tree
    left = reference.goes_left(codes[:, tree.feature[0]], grown.code[0], tree.missing_left[0])
    exact = gain_of(gradient, hessian, left)
    assert exact >= 0.999 * best_gain(codes, gradient, hessian)
    assert tree.statistics.split_gain[0] == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize("constant", [False, True])
def test_counts_covers_and_values_are_exact(constant):
    codes, gradient, hessian = problem(1)
    hessian = np.ones(N) if constant else hessian
    _, grown = grow(codes, gradient, 1.0 if constant else hessian)
    tree = grown.tree
    assert tree.statistics.leaf_count.sum() == N
    leaf = leaves_of(grown, codes)
    np.testing.assert_array_equal(np.bincount(leaf), tree.statistics.leaf_count)
    cover = np.bincount(leaf, hessian)
    np.testing.assert_allclose(tree.statistics.leaf_cover, cover, rtol=1e-12)
    np.testing.assert_allclose(tree.leaf_value[:, 0], -np.bincount(leaf, gradient) / cover, rtol=1e-9)


def leaves_of(grown, codes):
    """Rows walk down together, split by split."""
    tree = grown.tree
    at = np.zeros(len(codes), dtype=int)
    for s in range(tree.n_splits):  # parents are numbered before their children
        here = at == s
        left = reference.goes_left(codes[here, tree.feature[s]], grown.code[s], tree.missing_left[s])
        at[here] = np.where(left, tree.left[s], tree.right[s])
    return ~at


@pytest.mark.parametrize("kind", ["outlier", "rare positives", "negative hessian"])
def test_numbers_that_small_integers_cannot_hold_keep_their_precision(kind):
    """The precise sums give the gain to many digits; integers of 14 bits would not."""
    codes, gradient, hessian = problem(2)
    if kind == "outlier":
        gradient[7] = 1e7
    elif kind == "rare positives":
        p = 1e-5 * (1 + (codes[:, 0] > 17))
        gradient, hessian = p - (np.arange(N) == 12_345), p * (1 - p)
    else:
        hessian[5] = -0.1
    params = TreeParams(max_leaf_nodes=2, min_samples_leaf=20, min_child_weight=0.0, learning_rate=1.0)
    _, grown = grow(codes, gradient, hessian, params)
    tree = grown.tree
    left = reference.goes_left(codes[:, tree.feature[0]], grown.code[0], tree.missing_left[0])
    assert tree.statistics.split_gain[0] == pytest.approx(gain_of(gradient, hessian, left), rel=1e-5)
    assert gain_of(gradient, hessian, left) >= (1 - 1e-5) * best_gain(codes, gradient, hessian)


def test_rounding_is_unbiased():
    """All rows have the same gradient, a third of a step above a whole one: rounded to the nearest, every sum would be
    short by the same share."""
    codes = np.random.default_rng(0).integers(1, 4, (N, 1))
    top = 1.0 - 2.0**-30
    step = 2.0**-14
    gradient = np.full(N, (100 + 1 / 3) * step)
    gradient[codes[:, 0] == 3] *= -1
    gradient[0] = top * np.sign(gradient[0])
    params = TreeParams(max_leaf_nodes=2, min_samples_leaf=20, learning_rate=1.0)
    _, grown = grow(codes, gradient, np.ones(N) * 0.999, params)
    left = codes[:, 0] <= 2
    exact = gain_of(gradient, np.ones(N) * 0.999, left)
    to_nearest = exact * (100 / (100 + 1 / 3)) ** 2
    assert abs(grown.tree.statistics.split_gain[0] - exact) < 0.1 * abs(to_nearest - exact)


@pytest.mark.parametrize("n_features", [5, 61, 70])  # integers beside the codes, or by themselves, and tiles
def test_same_model_on_all_paths(n_features):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((55_000, n_features)).astype(np.float32)
    y = X[:, 0] + X[:, 1] * X[:, 2] + rng.standard_normal(len(X)) > 0
    before = native.isa()
    models = set()
    try:
        for isa in native.available_isas():
            native.use_isa(isa)
            for n_jobs in (1, 2, 3):
                model = BoostGradClassifier(n_estimators=3, early_stopping=False, random_state=0, n_jobs=n_jobs)
                models.add(dump_bytes(model.fit(X, y).ensemble_))
    finally:
        native.use_isa(before)
    assert len(models) == 1
