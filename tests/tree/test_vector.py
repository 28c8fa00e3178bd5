"""Trees with vector leaves, against sums over their own rows, and against trees of one output."""

from dataclasses import replace

import numpy as np
import pytest

from boostgrad import native
from boostgrad.data.columns import Columns
from boostgrad.losses import GradientPairs
from boostgrad.params import CategoryParams, TreeParams
from boostgrad.tree.grower import TreeGrower
from boostgrad.tree.model import Ensemble
from boostgrad.tree.predictor import Predictor, add_binned
from boostgrad.tree.row_predictor import RowPredictor
from boostgrad.tree.vector import MOST_FIELDS
from tests import reference

PARAMS = TreeParams(min_samples_leaf=3, min_child_weight=0.0, max_leaf_nodes=12)


def pairs_of(gradient, hessian):
    """gradient: (n_outputs, n_rows); hessian: the same, or one number."""
    constant = None if np.ndim(hessian) else float(hessian)
    pairs = GradientPairs.empty(len(gradient), gradient.shape[1], constant)
    for k in range(len(gradient)):
        pairs.fill(k, gradient[k], None if constant is not None else hessian[k])
    return pairs


def problem(n_outputs, seed=0, n=700, n_features=4, n_codes=20, missing=0.1):
    rng = np.random.default_rng(seed)
    codes = rng.integers(1, n_codes, (n, n_features))
    codes[rng.random(codes.shape) < missing] = 0
    which = codes[:, rng.integers(0, n_features, n_outputs)] > rng.integers(3, n_codes - 3, n_outputs)
    gradient = reference.exact(rng.standard_normal((n_outputs, n)) + 2.0 * which.T)
    return codes, gradient, reference.exact(rng.random((n_outputs, n)) + 0.25)


def rows_of_nodes(tree, codes, code, left_codes=None):
    """Row numbers of each split and each leaf."""
    splits, leaves = {0: np.arange(len(codes))}, {}
    if tree.n_splits == 0:
        return {}, {0: splits[0]}
    for s in range(tree.n_splits):
        column = codes[splits[s], tree.feature[s]]
        sets = None if left_codes is None else left_codes.get(s)
        left = reference.goes_left(column, code[s], tree.missing_left[s], sets)
        for child, rows in ((tree.left[s], splits[s][left]), (tree.right[s], splits[s][~left])):
            (splits if child >= 0 else leaves)[child if child >= 0 else ~child] = rows
    return splits, leaves


def vector_score(gradient, hessian, params):
    """gradient: (n_outputs, n_rows) of a node, hessian: (n_rows,)."""
    curvature = hessian.sum() + params.l2_regularization
    return np.sum(gradient.sum(axis=1) ** 2) / curvature if curvature > 0 else 0.0


def best_score(codes, gradient, hessian, params):
    """Of all splits of a node on numbers, by brute force; 0 where none is admissible."""
    best = 0.0
    for column in codes.T:
        for t in np.unique(column[column > 0]):
            for missing_left in (False, True) if (column == 0).any() else (False,):
                left = reference.goes_left(column, t, missing_left)
                if min(left.sum(), (~left).sum()) < params.min_samples_leaf:
                    continue
                if min(hessian[left].sum(), hessian[~left].sum()) < max(params.min_child_weight, 1e-300):
                    continue
                both = (vector_score(gradient[:, side], hessian[side], params) for side in (left, ~left))
                best = max(best, sum(both))
    return best


def assert_leaves(tree, leaves, gradient, hessian, params):
    hessian = np.broadcast_to(hessian, gradient.shape)
    for leaf, rows in leaves.items():
        step = reference.leaf_step(gradient[:, rows].sum(axis=1), hessian[:, rows].sum(axis=1), params)
        np.testing.assert_allclose(tree.leaf_value[leaf], params.learning_rate * step, rtol=1e-10, atol=1e-12)
        assert tree.statistics.leaf_count[leaf] == len(rows)
        np.testing.assert_allclose(tree.statistics.leaf_cover[leaf], hessian[:, rows].sum(axis=1).mean(), rtol=1e-10)


@pytest.mark.parametrize("policy", ["leafwise", "depthwise"])
@pytest.mark.parametrize("n_outputs", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_split_is_the_best_one(policy, n_outputs, dtype):
    """With a constant hessian the fields are the gradients, so splits are exact."""
    params = replace(PARAMS, grow_policy=policy, l2_regularization=0.5)
    codes, gradient, _ = problem(n_outputs, seed=n_outputs)
    matrix = reference.binned(codes, dtype=dtype)
    grown = TreeGrower(matrix, reference.edges_between(matrix), params, 1, 0, None, n_outputs).grow(
        pairs_of(gradient, 1.0), 0, 0
    )
    tree, ones = grown.tree, np.ones(len(codes))
    assert tree.n_leaves == params.max_leaf_nodes and tree.leaf_value.shape == (12, n_outputs) and tree.output == 0
    splits, leaves = rows_of_nodes(tree, codes, grown.code)
    gains = []
    for s, rows in splits.items():
        whole = vector_score(gradient[:, rows], ones[rows], params)
        gains.append(best_score(codes[rows], gradient[:, rows], ones[rows], params) - whole)
        np.testing.assert_allclose(tree.statistics.split_gain[s], gains[-1], rtol=1e-9)
        assert tree.statistics.split_count[s] == len(rows)
    assert_leaves(tree, leaves, gradient, 1.0, params)
    if policy == "leafwise":  # once a leaf was there, only better ones were split
        for leaf, rows in leaves.items():
            parent = int(np.flatnonzero((tree.left == ~leaf) | (tree.right == ~leaf))[0])
            gain = best_score(codes[rows], gradient[:, rows], ones[rows], params)
            gain -= vector_score(gradient[:, rows], ones[rows], params)
            assert gain <= min(gains[parent + 1 :], default=np.inf) * (1 + 1e-9)


def test_hessians_of_the_rows_share_one():
    codes, gradient, hessian = problem(3, seed=1)
    hessian[1] *= 16.0
    matrix = reference.binned(codes)
    grown = TreeGrower(matrix, reference.edges_between(matrix), PARAMS, 1, 0, None, 3).grow(
        pairs_of(gradient, hessian), 0, 0
    )
    share = hessian.sum(axis=1) / hessian.sum(axis=1).mean()
    shared, scaled = (hessian / share[:, None]).mean(axis=0), gradient / np.sqrt(share)[:, None]
    splits, leaves = rows_of_nodes(grown.tree, codes, grown.code)
    for s, rows in splits.items():
        best = best_score(codes[rows], scaled[:, rows], shared[rows], PARAMS)
        best -= vector_score(scaled[:, rows], shared[rows], PARAMS)
        assert grown.tree.statistics.split_gain[s] == pytest.approx(best, rel=1e-3)  # fields are rounded
        assert grown.tree.statistics.split_cover[s] == pytest.approx(shared[rows].sum(), rel=1e-6)
    assert_leaves(grown.tree, leaves, gradient, hessian, PARAMS)


@pytest.mark.parametrize("n_outputs", [2, 4, 6])
@pytest.mark.parametrize("constant", [False, True])
def test_equal_outputs_give_the_tree_of_one(n_outputs, constant):
    codes, gradient, hessian = (a[0] if i else a for i, a in enumerate(problem(1, seed=5)))
    hessian = 1.0 if constant else hessian
    matrix = reference.binned(codes)
    edges = reference.edges_between(matrix)
    one = TreeGrower(matrix, edges, PARAMS, 1, 0).grow(reference.gradient_pairs(gradient, hessian), 0, 0).tree
    many = np.repeat(gradient[None], n_outputs, axis=0)
    many = pairs_of(many, hessian if constant else np.repeat(hessian[None], n_outputs, axis=0))
    tree = TreeGrower(matrix, edges, PARAMS, 1, 0, None, n_outputs).grow(many, 0, 0).tree
    for name in ("feature", "threshold", "missing_left", "left", "right"):
        np.testing.assert_array_equal(getattr(tree, name), getattr(one, name))
    np.testing.assert_array_equal(tree.leaf_value, np.repeat(one.leaf_value, n_outputs, axis=1))
    np.testing.assert_allclose(tree.statistics.split_gain, n_outputs * one.statistics.split_gain, rtol=1e-9)


def test_many_outputs_are_sketched_by_the_stream_of_the_seed():
    K = MOST_FIELDS + 20
    codes, gradient, hessian = problem(K, seed=2)
    matrix = reference.binned(codes)
    edges, pairs = reference.edges_between(matrix), pairs_of(gradient, hessian)
    trees = [TreeGrower(matrix, edges, PARAMS, 1, s, None, K).grow(pairs, 0, n) for s, n in ((0, 0), (0, 0), (1, 0))]
    assert trees[0].tree.leaf_value.tobytes() == trees[1].tree.leaf_value.tobytes()
    assert trees[0].tree.leaf_value.tobytes() != trees[2].tree.leaf_value.tobytes()
    for grown in trees:
        _, leaves = rows_of_nodes(grown.tree, codes, grown.code)
        assert_leaves(grown.tree, leaves, gradient, hessian, PARAMS)  # whatever chose the splits


def test_an_output_without_hessian_changes_nothing():
    """Targets that are missing in all rows."""
    codes, gradient, hessian = problem(3, seed=3)
    gradient[2], hessian[2] = 0.0, 0.0
    matrix = reference.binned(codes)
    edges = reference.edges_between(matrix)
    with_it = TreeGrower(matrix, edges, PARAMS, 1, 0, None, 3).grow(pairs_of(gradient, hessian), 0, 0).tree
    without = TreeGrower(matrix, edges, PARAMS, 1, 0, None, 2).grow(pairs_of(gradient[:2], hessian[:2]), 0, 0).tree
    np.testing.assert_array_equal(with_it.feature, without.feature)
    np.testing.assert_array_equal(with_it.leaf_value[:, :2], without.leaf_value)
    assert not with_it.leaf_value[:, 2].any()


@pytest.mark.parametrize("size", [1e-90, 1e-3, 1e59])
def test_numbers_of_any_size(size):
    codes, gradient, hessian = problem(3, seed=4, n=300)
    gradient[0, 7] = 1e6
    matrix = reference.binned(codes)
    grown = TreeGrower(matrix, reference.edges_between(matrix), PARAMS, 1, 0, None, 3).grow(
        pairs_of(gradient * size, hessian * size), 0, 0
    )
    splits, leaves = rows_of_nodes(grown.tree, codes, grown.code)
    assert len(splits) > 3 and np.isfinite(grown.tree.leaf_value).all()
    assert_leaves(grown.tree, leaves, gradient * size, hessian * size, PARAMS)


@pytest.mark.parametrize("n_outputs", [2, 5, 6])
def test_sets_of_levels(n_outputs):
    """The gain of a categorical split is that of its set, and what a tree of equal outputs finds is what one finds."""
    codes, gradient, hessian = problem(n_outputs, seed=6, n_codes=12)
    effect = np.random.default_rng(7).standard_normal((n_outputs, 12))
    gradient = reference.exact(gradient + 2 * effect[:, codes[:, 1]])
    categorical = np.array([False, True, False, True])
    matrix = reference.binned(codes, categorical=categorical)
    edges = reference.edges_between(matrix)
    grown = TreeGrower(matrix, edges, PARAMS, 1, 0, CategoryParams(), n_outputs).grow(pairs_of(gradient, 1.0), 0, 0)
    tree, ones = grown.tree, np.ones(len(codes))
    sets = {
        s: {1 + 32 * w + b for w, word in enumerate(words) for b in range(32) if int(word) >> b & 1}
        for s, words in tree.categories.words().items()
    }
    splits, leaves = rows_of_nodes(tree, codes, grown.code, sets)
    assert any(tree.feature[s] == 1 for s in sets)
    for s, rows in splits.items():
        left = reference.goes_left(codes[rows, tree.feature[s]], grown.code[s], tree.missing_left[s], sets.get(s))
        both = sum(vector_score(gradient[:, rows[side]], ones[rows[side]], PARAMS) for side in (left, ~left))
        gain = both - vector_score(gradient[:, rows], ones[rows], PARAMS)
        np.testing.assert_allclose(tree.statistics.split_gain[s], gain, rtol=1e-9)
    assert_leaves(tree, leaves, gradient, 1.0, PARAMS)


@pytest.mark.parametrize("n_outputs", [2, 5, 40])
def test_threads_and_instruction_sets_do_not_matter(n_outputs):
    rng = np.random.default_rng(8)
    codes = rng.integers(0, 60, (30_000, 6))
    categorical = [False] * 5 + [True]
    gradient = rng.standard_normal((n_outputs, len(codes))) + (codes[:, 0] > 20) + 0.1 * (codes[:, 5] % 7)
    pairs = pairs_of(gradient, rng.random((n_outputs, len(codes))))
    matrix = reference.binned(codes, categorical=categorical)
    edges, used = reference.edges_between(matrix), native.isa()
    found = set()
    try:
        for isa in native.available_isas():
            native.use_isa(isa)
            for n_threads in (1, 2, 3, 5):
                grower = TreeGrower(matrix, edges, TreeParams(), n_threads, 3, None, n_outputs)
                tree = grower.grow(pairs, 0, 0).tree
                raw = np.zeros((n_outputs, len(codes)))
                grower.add_leaf_values(raw)
                found.add((tree.feature.tobytes(), tree.threshold.tobytes(), tree.statistics.split_gain.tobytes(),
                           tree.leaf_value.tobytes(), raw.tobytes()))  # fmt: skip
    finally:
        native.use_isa(used)
    assert len(found) == 1


@pytest.mark.parametrize("max_leaf_nodes", [2, 31, 300])
def test_all_ways_of_predicting_agree(max_leaf_nodes):
    codes, gradient, hessian = problem(3, seed=9, n=1500)
    params = replace(PARAMS, max_leaf_nodes=max_leaf_nodes, min_samples_leaf=1)
    matrix = reference.binned(codes)
    grower = TreeGrower(matrix, reference.edges_between(matrix), params, 2, 0, None, 3)
    raws, trees = np.zeros((2, 3, len(codes))), []
    for number in range(3):
        grown = grower.grow(pairs_of(gradient * (number + 1), hessian), 0, number)
        grower.add_leaf_values(raws[0])
        add_binned([grown], matrix, raws[1], 2)
        trees.append(grown.tree)
    ensemble = Ensemble(trees, np.zeros(3), codes.shape[1], None, "any")
    assert ensemble.n_iterations == 3 and ensemble.trees_per_iteration == 1 and len(ensemble.first(2).trees) == 2
    values = reference.values_of(codes)
    np.testing.assert_array_equal(raws[0], raws[1])
    np.testing.assert_array_equal(raws[0], Predictor(ensemble).raw(Columns(list(values.T), len(values), None)))
    one = RowPredictor(ensemble, lambda raw: raw, False)
    for row in range(0, len(codes), 97):
        np.testing.assert_array_equal(one(values[row]), raws[0][:, row])
