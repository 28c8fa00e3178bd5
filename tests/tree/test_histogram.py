"""Histograms are sums of integers: exact counts and covers, whatever the path that builds them.

The pool is not visible from Python; what it sums up is, in the statistics and gains of the trees.
"""

import numpy as np
import pytest
import reference

from boostgrad.params import TreeParams
from boostgrad.tree.grower import TreeGrower

PARAMS = TreeParams(max_leaf_nodes=6, min_samples_leaf=3, min_child_weight=0.0)


def assert_grows(codes, gradient, hessian, params=PARAMS, n_threads=1, n_codes=None, dtype=None):
    matrix = reference.binned(codes, n_codes, dtype)
    grower = TreeGrower(matrix, reference.edges_between(matrix), params, n_threads, 0)
    grown = grower.grow(reference.gradient_pairs(gradient, hessian), 0, 0)
    reference.assert_same_tree(grown, matrix, gradient, hessian, params)
    return grown


def problem(seed, n, n_features, n_codes=9, missing=0.1):
    rng = np.random.default_rng(seed)
    codes = rng.integers(1, n_codes, (n, n_features))
    codes[rng.random(codes.shape) < missing] = 0
    gradient = reference.exact(rng.standard_normal(n) + (codes[:, -1] > n_codes // 2))
    return codes, gradient, reference.exact(rng.random(n) + 0.1)


def test_the_reference_agrees_with_itself():
    codes, gradient, hessian = problem(0, 200, 1)
    for a, b in zip(
        reference.histogram(codes[:, 0], gradient, hessian, 10),
        reference._fast_histogram(codes[:, 0], gradient, hessian, 10),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("n_features", [1, 2, 3, 4, 5, 7, 8, 9, 31, 64, 65, 130, 300])
@pytest.mark.parametrize("constant", [False, True])
def test_any_number_of_features(n_features, constant):
    codes, gradient, hessian = problem(n_features, 400, n_features)
    assert_grows(codes, gradient, 1.0 if constant else hessian)


@pytest.mark.parametrize("n_codes", [2, 3, 5, 251, 252, 253, 256])
@pytest.mark.parametrize("constant", [False, True])
def test_any_number_of_codes(n_codes, constant):
    # 252 codes would make a stride of 4096 bytes
    codes, gradient, hessian = problem(n_codes, 600, 3, n_codes)
    assert_grows(codes, gradient, 1.0 if constant else hessian, n_codes=[n_codes, n_codes, n_codes])


@pytest.mark.parametrize("n_codes", [4, 257, 508, 1020, 5000, 65_536])
@pytest.mark.parametrize("constant", [False, True])
def test_wide_codes(n_codes, constant):
    codes, gradient, hessian = problem(n_codes, 800, 3, n_codes)
    codes[:2, 0] = 1, n_codes - 1
    assert_grows(codes, gradient, 1.0 if constant else hessian, n_codes=n_codes, dtype=np.uint16)


def test_features_with_different_numbers_of_codes():
    codes, gradient, hessian = problem(0, 700, 6, 200)
    codes %= np.array([200, 2, 150, 3, 17, 90])
    assert_grows(codes, gradient, hessian)
    assert_grows(codes, gradient, 1.0)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("n_features", [1, 2, 9, 31, 45, 80])
@pytest.mark.parametrize("n_wide", [1, 4, 30])
def test_byte_codes_beside_wide_ones(n_features, n_wide, n_threads):
    rng = np.random.default_rng(n_features + n_wide)
    n_codes = rng.integers(2, 257, n_features)
    n_codes[rng.permutation(n_features)[:n_wide]] = rng.choice([257, 300, 700, 5000], min(n_wide, n_features))
    codes, gradient, hessian = problem(1, 1200, n_features, 5000)
    codes %= n_codes
    for h in (hessian, 1.0):
        assert_grows(codes, gradient, h, TreeParams(max_leaf_nodes=4), n_threads, n_codes, np.uint16)


@pytest.mark.parametrize("n_threads", [1, 2, 3, 5])
@pytest.mark.parametrize(
    ("n", "n_features", "n_codes"),
    [
        (9_000, 6, 60),  # rows shared by threads, one tile
        (41_000, 1, 256),  # rows shared, one feature
        (20_000, 3, 1500),  # rows shared, wide codes
        (3_000, 150, 256),  # tiles shared, enough of them
        (300, 200, 30),  # few rows: tiles shared
    ],
)
@pytest.mark.parametrize("constant", [False, True])
def test_parallel_paths(n, n_features, n_codes, n_threads, constant):
    codes, gradient, hessian = problem(n, n, n_features, n_codes)
    params = TreeParams(max_leaf_nodes=4, min_samples_leaf=3)
    assert_grows(codes, gradient, 1.0 if constant else hessian, params, n_threads)


@pytest.mark.parametrize("skew", [0.5, 0.99])
def test_skewed_codes(skew):
    codes, gradient, hessian = problem(0, 3000, 5, 256)
    codes[np.random.default_rng(1).random(codes.shape) < skew] = 7
    assert_grows(codes, gradient, hessian)
    assert_grows(codes, gradient, 1.0)


def test_counts_are_exact_where_covers_are_not():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 40, (5000, 3))
    gradient, hessian = rng.standard_normal(5000), 10.0 ** rng.uniform(-12, 0, 5000)
    matrix = reference.binned(codes)
    grower = TreeGrower(matrix, reference.edges_between(matrix), TreeParams(min_child_weight=0.0), 1, 0)
    statistics = grower.grow(reference.gradient_pairs(gradient, hessian), 0, 0).tree.statistics
    assert statistics.leaf_count.sum() == 5000 == statistics.split_count[0]
    assert statistics.leaf_count.min() >= 20
    assert statistics.split_cover[0] == pytest.approx(hessian.astype(np.float32).astype(float).sum(), rel=1e-6)


def test_one_grower_changes_between_kinds_of_histogram():
    """Narrow ones, constant ones where an outlier leaves narrow ones no bits, narrow ones again."""
    n = 30_000
    codes, gradient, _ = problem(0, n, 4, 30)
    matrix = reference.binned(codes)
    params = TreeParams(max_leaf_nodes=5, min_samples_leaf=10)
    grower = TreeGrower(matrix, reference.edges_between(matrix), params, 2, 0)
    outlier = gradient.copy()
    outlier[n // 2 + 1] = 2.0**33
    for number, g in enumerate((gradient, outlier, gradient, outlier, 0.25 * gradient)):
        grown = grower.grow(reference.gradient_pairs(g, 1.0), 0, number)
        reference.assert_same_tree(grown, matrix, g, 1.0, params, rtol=1e-7)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("constant", [False, True])
def test_small_gradients_beside_an_outlier_still_count(place, constant):
    """The outlier is row 0 or row 1: the mean that decides on narrow histograms is that of a sample of the rows."""
    n = 100_000
    rng = np.random.default_rng(0)
    codes = np.column_stack([np.ones(n, dtype=int), rng.integers(1, 30, n), rng.integers(1, 30, n)])
    gradient = reference.exact(np.where(codes[:, 1] > 15, 1.0, -1.0) * (0.5 + rng.random(n)))
    codes[place, 0] = 2
    gradient[place] = 2.0**30
    hessian = 1.0 if constant else np.ones(n)
    params = TreeParams(max_leaf_nodes=3, min_samples_leaf=1)
    grown = assert_grows(codes, gradient, hessian, params)
    assert grown.tree.feature.tolist() == [0, 1] and grown.code.tolist() == [1, 15]


@pytest.mark.parametrize("scale", [1e-30, 1e-10, 1e10, 1e30])
@pytest.mark.parametrize("constant", [False, True])
def test_any_scale_of_gradients(scale, constant):
    codes, gradient, hessian = problem(0, 500, 3)
    scale = 2.0 ** np.round(np.log2(scale))
    hessian = 1.0 if constant else hessian
    matrix = reference.binned(codes)
    trees = []
    for factor in (1.0, scale):
        grower = TreeGrower(matrix, reference.edges_between(matrix), PARAMS, 1, 0)
        trees.append(grower.grow(reference.gradient_pairs(gradient * factor, hessian), 0, 0).tree)
    np.testing.assert_array_equal(trees[0].feature, trees[1].feature)
    np.testing.assert_array_equal(trees[0].threshold, trees[1].threshold)
    np.testing.assert_array_equal(trees[0].leaf_value * scale, trees[1].leaf_value)
    np.testing.assert_array_equal(trees[0].statistics.leaf_cover, trees[1].statistics.leaf_cover)


@pytest.mark.parametrize("constant", [False, True])
def test_more_open_leaves_than_histograms_are_kept(constant):
    """A histogram of this table takes 67 or 134 MB (of address space: only the codes that a feature has are touched),
    so that the pool holds no more than 15 or 7 of them."""
    rng = np.random.default_rng(0)
    n, n_features = 3000, 256
    codes = rng.integers(0, 4, (n, n_features))
    n_codes = np.full(n_features, 4)
    n_codes[0] = 65_536
    gradient = reference.exact(rng.standard_normal(n))
    hessian = 1.0 if constant else reference.exact(rng.random(n) + 0.1)
    params = TreeParams(max_leaf_nodes=31, min_samples_leaf=10)
    assert_grows(codes, gradient, hessian, params, n_codes=n_codes)
