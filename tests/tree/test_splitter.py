"""Best splits and leaf values, seen through the trees that are grown from them."""

from dataclasses import replace

import numpy as np
import pytest
import reference

from boostgrad.params import TreeParams
from boostgrad.tree.grower import TreeGrower

STUMP = TreeParams(max_leaf_nodes=2, min_samples_leaf=1, min_child_weight=0.0, learning_rate=1.0)


def grow(codes, gradient, hessian, params, n_codes=None, dtype=None, seed=0):
    matrix = reference.binned(codes, n_codes, dtype)
    grower = TreeGrower(matrix, reference.edges_between(matrix), params, 1, seed)
    return grower.grow(reference.gradient_pairs(gradient, hessian), 0, 0), matrix


def problem(seed, n=300, n_features=4, n_codes=12, missing=0.2):
    rng = np.random.default_rng(seed)
    codes = rng.integers(1, n_codes, (n, n_features))
    codes[rng.random(codes.shape) < missing] = 0
    gradient = reference.exact(rng.standard_normal(n) + 0.5 * (codes[:, 0] > n_codes // 2))
    hessian = reference.exact(rng.random(n) + 0.1)
    return codes, gradient, hessian


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("missing", [0.0, 0.2, 0.9])
@pytest.mark.parametrize("constant", [False, True])
def test_the_best_split_is_that_of_brute_force(seed, missing, constant):
    codes, gradient, hessian = problem(seed, missing=missing)
    h = 0.25 if constant else hessian
    grown, matrix = grow(codes, gradient, h, STUMP)
    hessians = np.broadcast_to(h, gradient.shape)
    best = reference.best_split(codes, gradient, hessians, matrix.n_codes, STUMP)
    assert grown.tree.n_splits == 1
    assert grown.tree.statistics.split_gain[0] == pytest.approx(best.gain, rel=1e-9)
    reference.assert_same_tree(grown, matrix, gradient, h, STUMP)


@pytest.mark.parametrize(
    "options",
    [
        {"min_samples_leaf": 60},
        {"min_samples_leaf": 150},
        {"min_child_weight": 40.0},
        {"l1_regularization": 5.0},
        {"l2_regularization": 7.0},
        {"max_delta_step": 0.05},
        {"l1_regularization": 3.0, "l2_regularization": 2.0, "max_delta_step": 0.1, "min_child_weight": 10.0},
    ],
    ids=lambda o: "-".join(o),
)
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_constraints(options, constant, seed):
    params = replace(STUMP, max_leaf_nodes=8, **options)
    codes, gradient, hessian = problem(seed)
    h = 0.5 if constant else hessian
    grown, matrix = grow(codes, gradient, h, params)
    tree = reference.assert_same_tree(grown, matrix, gradient, h, params)
    if tree.n_splits:
        statistics = grown.tree.statistics
        assert statistics.leaf_count.min() >= params.min_samples_leaf
        assert statistics.leaf_cover.min() >= params.min_child_weight
        if params.max_delta_step:
            assert np.abs(grown.tree.leaf_value).max() <= params.max_delta_step


@pytest.mark.parametrize("limit", range(1, 12))
def test_min_samples_leaf_is_exact(limit):
    # ten rows to the left of the one useful place, ten to the right
    codes = np.repeat([1, 2], 10)[:, None]
    gradient = np.repeat([1.0, -1.0], 10)
    for hessian in (1.0, np.linspace(0.5, 1.5, 20)):
        grown, _ = grow(codes, gradient, hessian, replace(STUMP, min_samples_leaf=limit))
        assert grown.tree.n_splits == (limit <= 10)


def test_min_child_weight_is_inclusive():
    codes, gradient = np.array([[1], [1], [2], [2]]), np.array([1.0, 1, -1, -1])
    for limit, n_splits in ((0.5, 1), (0.5000001, 0)):
        for hessian in (0.25, np.full(4, 0.25)):
            grown, _ = grow(codes, gradient, hessian, replace(STUMP, min_child_weight=limit))
            assert grown.tree.n_splits == n_splits


def test_min_split_gain_is_exclusive():
    codes, gradient = np.array([[1], [1], [2], [2]]), np.array([1.0, 1, -1, -1])
    # score 4 / 2 on either side, 0 for the node
    for limit, n_splits in ((3.999, 1), (4.0, 0)):
        grown, _ = grow(codes, gradient, 1.0, replace(STUMP, min_split_gain=limit))
        assert grown.tree.n_splits == n_splits


@pytest.mark.parametrize("limit", [0.0, 1.0, 4.0, 16.0, 1000.0])
def test_min_split_gain_ends_growth(limit):
    codes, gradient, hessian = problem(3)
    params = replace(STUMP, max_leaf_nodes=None, min_samples_leaf=5, min_split_gain=limit)
    grown, matrix = grow(codes, gradient, hessian, params)
    reference.assert_same_tree(grown, matrix, gradient, hessian, params)
    assert (grown.tree.statistics.split_gain > limit).all()


@pytest.mark.parametrize("sign", [-1, 1])
def test_missing_values_go_where_they_gain_most(sign):
    codes = np.array([0] * 6 + [1] * 10 + [2] * 10)[:, None]
    gradient = np.array([sign * 1.0] * 6 + [-1.0] * 10 + [1.0] * 10)
    for hessian in (1.0, np.ones(26)):
        grown, _ = grow(codes, gradient, hessian, STUMP)
        assert grown.tree.missing_left[0] == (sign < 0)
        assert grown.tree.statistics.leaf_count.tolist() == ([16, 10] if sign < 0 else [10, 16])


def test_only_missing_against_the_rest():
    codes = np.array([0] * 5 + [1, 2, 3] * 5)[:, None]
    gradient = np.array([3.0] * 5 + [-1.0] * 15)
    grown, matrix = grow(codes, gradient, 1.0, STUMP)
    assert grown.tree.threshold.tolist() == [np.inf] and grown.tree.missing_left.tolist() == [0]
    assert grown.code.tolist() == [3]
    assert grown.tree.statistics.leaf_count.tolist() == [15, 5]
    assert [reference.leaf_of(grown.tree, [x]) for x in (np.nan, np.inf, -np.inf, 2.0)] == [1, 0, 0, 0]


@pytest.mark.parametrize("n_left", [3, 5, 7])
def test_where_none_is_missing_they_follow_the_larger_child(n_left):
    codes = np.array([1] * n_left + [2] * (10 - n_left))[:, None]
    gradient = np.array([1.0] * n_left + [-1.0] * (10 - n_left))
    grown, _ = grow(codes, gradient, 1.0, STUMP)
    assert grown.tree.missing_left[0] == (n_left >= 5)


@pytest.mark.parametrize(
    ("codes", "gradient", "hessian"),
    [
        (np.ones((10, 1)), np.arange(10.0), 1.0),
        (np.zeros((10, 1)), np.arange(10.0), 1.0),
        (np.arange(10)[:, None] + 1, np.ones(10), 1.0),
        (np.arange(10)[:, None] + 1, np.zeros(10), 1.0),
        (np.arange(10)[:, None] + 1, np.arange(10.0), np.zeros(10)),
        (np.arange(1)[:, None] + 1, np.ones(1), 1.0),
    ],
    ids=["constant", "all missing", "equal gradients", "zero gradients", "zero hessians", "one row"],
)
def test_nothing_to_split(codes, gradient, hessian):
    grown, _ = grow(codes.astype(int), gradient, hessian, STUMP)
    assert grown.tree.n_splits == 0 and grown.tree.n_leaves == 1
    h = np.broadcast_to(hessian, gradient.shape).sum()
    assert grown.tree.leaf_value[0, 0] == pytest.approx(-gradient.sum() / h if h else 0.0, abs=1e-12)
    assert grown.tree.statistics.leaf_count.tolist() == [len(gradient)]


def test_rows_without_hessian_cannot_make_a_leaf():
    codes = np.repeat([1, 2], 10)[:, None]
    grown, _ = grow(codes, np.repeat([1.0, -1.0], 10), np.repeat([0.0, 1.0], 10), STUMP)
    assert grown.tree.n_splits == 0


def test_equal_gains_do_not_favour_the_first_feature():
    column = np.repeat([1, 2], 20)
    codes = np.repeat(column[:, None], 7, axis=1)
    gradient = np.repeat([1.0, -1.0], 20)
    matrix = reference.binned(codes)
    pairs = reference.gradient_pairs(gradient, 1.0)
    chosen = set()
    for seed in range(5):
        grower = TreeGrower(matrix, reference.edges_between(matrix), STUMP, 1, seed)
        chosen |= {int(grower.grow(pairs, 0, number).tree.feature[0]) for number in range(40)}
        again = TreeGrower(matrix, reference.edges_between(matrix), STUMP, 1, seed)
        assert [again.grow(pairs, 0, n).tree.feature[0] for n in range(5)] == [
            grower.grow(pairs, 0, n).tree.feature[0] for n in range(5)
        ]
    assert chosen == set(range(7))


@pytest.mark.parametrize("learning_rate", [1.0, 0.1, 0.3])
@pytest.mark.parametrize(("l1", "l2", "step"), [(0, 0, 0), (2.0, 0, 0), (0, 3.0, 0), (2.0, 3.0, 0.2), (1e6, 0, 0)])
def test_leaf_values(learning_rate, l1, l2, step):
    params = replace(
        STUMP, l1_regularization=l1, l2_regularization=l2, max_delta_step=step, learning_rate=learning_rate
    )
    codes, gradient, hessian = problem(1)
    grown, matrix = grow(codes, gradient, hessian, params)
    reference.assert_same_tree(grown, matrix, gradient, hessian, params)
    if l1 == 1e6:
        assert grown.tree.leaf_value.tolist() == [[0.0]]
