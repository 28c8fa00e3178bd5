"""Trees from columns of stored entries, against trees from dense histograms and trees grown in plain numpy."""

from dataclasses import replace

import numpy as np
import pytest
import reference

from boostgrad.data.matrix import SparseBinnedMatrix
from boostgrad.losses import GradientPairs
from boostgrad.params import TreeParams
from boostgrad.tree.growers import KINDS, grower_for
from boostgrad.tree.predictor import add_binned

PARAMS = TreeParams(min_samples_leaf=1, min_child_weight=0.0)
POLICIES = ["leafwise", "depthwise", "symmetric"]


def problem(seed=0, n=900, n_features=6, n_codes=30, density=0.2, missing=0.1):
    """Codes of which most are the feature's default one, which is its first, a middle or its last bin."""
    rng = np.random.default_rng(seed)
    default = np.array([(1, n_codes // 2, n_codes - 1)[f % 3] for f in range(n_features)], dtype=np.uint16)
    codes = np.where(rng.random((n, n_features)) < density, rng.integers(1, n_codes, (n, n_features)), default)
    codes[rng.random(codes.shape) < missing * density] = 0
    signal = (codes[:, 0] > 1) * (codes[:, 1] > n_codes / 2) + (codes[:, 2] < n_codes / 2)
    gradient = reference.exact(rng.standard_normal(n) + 2 * signal)
    return codes, default, gradient, reference.exact(rng.random(n) + 0.05)


def sparse_of(codes, default, n_codes):
    """The SparseBinnedMatrix of dense codes, shape (n_rows, n_features)."""
    stored = codes != default
    features, rows = np.nonzero(stored.T)
    by_row, by_row_features = np.nonzero(stored)
    n_rows, n_features = codes.shape
    return SparseBinnedMatrix(
        n_rows=n_rows,
        n_codes=n_codes,
        default_code=default,
        column_begin=np.searchsorted(features, np.arange(n_features + 1)).astype(np.int64),
        rows=rows.astype(np.uint32),
        codes=codes[rows, features].astype(np.uint16),
        row_begin=np.searchsorted(by_row, np.arange(n_rows + 1)).astype(np.int64),
        row_features=by_row_features.astype(np.uint32),
        row_codes=codes[by_row, by_row_features].astype(np.uint16),
    )


def pairs_of(gradient, hessian):
    """Of one output, or of several: arrays of shape (n_outputs, n_rows) then, or one hessian for all."""
    if gradient.ndim == 1:
        return reference.gradient_pairs(gradient, hessian)
    pairs = GradientPairs.empty(*gradient.shape, None if np.ndim(hessian) else hessian)
    for k in range(len(gradient)):
        pairs.fill(k, gradient[k], hessian[k] if np.ndim(hessian) else None)
    return pairs


def assert_grows(codes, default, gradient, hessian, params, n_threads=1, n_trees=2, against_numpy=False):
    dense = reference.binned(codes)
    matrix = sparse_of(codes, default, dense.n_codes)
    edges = reference.edges_between(dense)
    n_outputs = 1 if gradient.ndim == 1 else len(gradient)
    growers = [grower_for(m, edges, params, n_threads, 3, n_values=n_outputs) for m in (matrix, dense)]
    symmetric = params.grow_policy == "symmetric"
    assert [type(grower) for grower in growers] == [KINDS[sparse, symmetric] for sparse in (True, False)]
    for number in range(n_trees):
        pairs = pairs_of(gradient if number == 0 else gradient[..., ::-1].copy(), hessian)
        ours, theirs = (grower.grow(pairs, 0, number) for grower in growers)
        for name in ("feature", "threshold", "missing_left", "left", "right", "leaf_value"):
            assert getattr(ours.tree, name).tobytes() == getattr(theirs.tree, name).tobytes(), name
        for name in ("split_gain", "split_cover", "split_count", "leaf_cover", "leaf_count"):
            assert getattr(ours.tree.statistics, name).tobytes() == getattr(theirs.tree.statistics, name).tobytes(), (
                name
            )
        np.testing.assert_array_equal(ours.code, theirs.code)
        raws = np.zeros((3, n_outputs, len(codes)))
        add_binned([ours], matrix, raws[0], n_threads)
        add_binned([ours], dense, raws[1], 1)
        growers[0].add_leaf_values(raws[2])
        assert raws[0].tobytes() == raws[1].tobytes() == raws[2].tobytes()
    if against_numpy:
        grown = grower_for(matrix, edges, params, n_threads, 3).grow(reference.gradient_pairs(gradient, hessian), 0, 0)
        reference.assert_same_tree(grown, dense, gradient, hessian, params)
    return ours.tree


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", ["wide", "narrow", "outlier", "negative hessians", "zero hessians"])
@pytest.mark.parametrize("seed", range(3))
def test_whole_trees(policy, kind, seed):
    codes, default, gradient, hessian = problem(seed)
    if kind == "outlier":
        gradient[17] = 2.0**30
    if kind == "negative hessians":
        hessian = hessian - 0.125
    if kind == "zero hessians":
        hessian[::3] = 0
    hessian = 1.0 if kind == "narrow" else hessian
    params = replace(PARAMS, grow_policy=policy, max_leaf_nodes=20)
    assert_grows(codes, default, gradient, hessian, params, against_numpy=kind in ("wide", "narrow"))


@pytest.mark.parametrize(
    "setting",
    [
        {"min_samples_leaf": 20},
        {"min_samples_leaf": 200},
        {"min_samples_leaf": 901},
        {"min_child_weight": 30.0},
        {"l2_regularization": 10.0},
        {"l1_regularization": 3.0, "l2_regularization": 0.5},
        {"max_delta_step": 0.1},
        {"min_split_gain": 20.0},
        {"max_leaf_nodes": None, "max_depth": 4},
        {"max_leaf_nodes": None},
        {"max_leaf_nodes": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("density", [0.02, 0.3, 0.9])
def test_parameters(setting, density):
    codes, default, gradient, hessian = problem(1, n_features=20, density=density)
    assert_grows(codes, default, gradient, hessian, replace(PARAMS, **setting))
    assert_grows(codes, default, gradient, 1.0, replace(PARAMS, **setting))


@pytest.mark.parametrize("n", [3000, 60_000])  # small integers are used above 50,000 rows
@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_many_features(n, n_threads):
    codes, default, gradient, hessian = problem(2, n=n, n_features=200, density=0.03)
    for h in (hessian, 1.0):
        tree = assert_grows(codes, default, gradient, h, replace(PARAMS, min_samples_leaf=5), n_threads, n_trees=3)
        assert tree.n_leaves == 31


@pytest.mark.parametrize("seed", range(20))
def test_what_is_not_scanned_cannot_win(seed):
    """Random shapes, with small leaves that touch few features, and with weights that leave little to bounds."""
    rng = np.random.default_rng(seed)
    n, n_features = int(rng.integers(300, 3000)), int(rng.integers(20, 300))
    codes, default, gradient, hessian = problem(seed, n, n_features, int(rng.integers(3, 40)), rng.choice([0.01, 0.05]))
    setting = {
        "min_samples_leaf": int(rng.choice([1, 3, 20])),
        "l2_regularization": float(rng.choice([0.0, 1.0, 30.0])),
        "min_child_weight": float(rng.choice([0.0, 1.0])),
        "grow_policy": str(rng.choice(POLICIES)),
        "max_leaf_nodes": int(rng.choice([10, 31, 200])),
    }
    hessian *= 2.0 ** rng.integers(-10, 3, n)
    hessian[rng.random(n) < 0.1] = 0.0
    for h in (hessian, 1.0):
        assert_grows(codes, default, gradient, h, replace(PARAMS, **setting), int(rng.integers(1, 4)))


def test_wide_codes():
    codes, default, gradient, hessian = problem(3, n_codes=700, density=0.5)
    assert_grows(codes, default, gradient, hessian, replace(PARAMS, max_leaf_nodes=100))


def test_features_that_are_the_same_share_the_wins():
    """Ties are decided as in a dense table: by a rank that does not depend on what was scanned."""
    codes, default, gradient, hessian = problem(4, n_features=3)
    codes, default = np.tile(codes, 10), np.tile(default, 10)
    tree = assert_grows(codes, default, gradient, hessian, replace(PARAMS, max_leaf_nodes=60))
    assert len(np.unique(tree.feature)) > 6


def test_nothing_stored():
    codes, default = np.ones((50, 4), int), np.ones(4, np.uint16)
    gradient = reference.exact(np.random.default_rng(0).standard_normal(50))
    assert assert_grows(codes, default, gradient, 1.0, PARAMS).n_leaves == 1


# ---- several outputs -------------------------------------------------------------------------------------------------


def several(n_outputs, seed, **shape):
    codes, default, gradient, hessian = problem(seed, **shape)
    rng = np.random.default_rng(seed + 100)
    signs = rng.choice([-1.0, 0.5, 1.0], (n_outputs, 1))
    gradient = reference.exact(signs * gradient + rng.standard_normal((n_outputs, len(codes))))
    return codes, default, gradient, reference.exact(hessian * rng.random((n_outputs, len(codes))))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", ["own", "constant", "outlier", "negative hessians", "zero hessians"])
@pytest.mark.parametrize("n_outputs", [2, 3, 6, 40])
def test_whole_trees_with_vector_leaves(policy, kind, n_outputs):
    codes, default, gradient, hessian = several(n_outputs, n_outputs)
    if kind == "outlier":
        gradient[1, 17] = 2.0**30
    if kind == "negative hessians":
        hessian = hessian - 0.125
    if kind == "zero hessians":
        hessian[:, ::3] = 0
    params = replace(PARAMS, grow_policy=policy, max_leaf_nodes=20)
    tree = assert_grows(codes, default, gradient, 1.0 if kind == "constant" else hessian, params)
    assert tree.n_leaves > 1 and tree.n_values == n_outputs


@pytest.mark.parametrize("seed", range(12))
def test_what_is_not_scanned_cannot_win_for_several_outputs(seed):
    rng = np.random.default_rng(seed)
    shape = {"n": int(rng.integers(300, 3000)), "n_features": int(rng.integers(20, 300))}
    shape |= {"n_codes": int(rng.integers(3, 40)), "density": float(rng.choice([0.01, 0.05]))}
    codes, default, gradient, hessian = several(int(rng.choice([2, 4, 9])), seed, **shape)
    setting = {
        "min_samples_leaf": int(rng.choice([1, 3, 20])),
        "l2_regularization": float(rng.choice([0.0, 1.0, 30.0])),
        "l1_regularization": float(rng.choice([0.0, 1.0])),  # counts in leaf values only
        "min_child_weight": float(rng.choice([0.0, 1.0])),
        "grow_policy": str(rng.choice(POLICIES)),
        "max_leaf_nodes": int(rng.choice([10, 31, 200])),
    }
    hessian *= 2.0 ** rng.integers(-10, 3, hessian.shape[1])
    hessian[:, rng.random(hessian.shape[1]) < 0.1] = 0.0
    for h in (hessian, 1.0):
        assert_grows(codes, default, gradient, h, replace(PARAMS, **setting), int(rng.integers(1, 4)))
