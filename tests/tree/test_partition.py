"""Which rows are in which leaf: what a grower adds to them must be what a walk of its tree finds."""

import numpy as np
import pytest
import reference

from boostgrad.params import TreeParams
from boostgrad.tree.grower import TreeGrower
from boostgrad.tree.predictor import add_binned


def grown_on(n, dtype, n_threads, missing=0.1, leaves=9):
    rng = np.random.default_rng(n)
    codes = rng.integers(1, 50, (n, 3))
    codes[rng.random(codes.shape) < missing] = 0
    matrix = reference.binned(codes, 60, dtype)
    params = TreeParams(max_leaf_nodes=leaves, min_samples_leaf=1)
    grower = TreeGrower(matrix, reference.edges_between(matrix), params, n_threads, 0)
    gradient = rng.standard_normal(n) + (codes[:, 1] > 20)
    grown = grower.grow(reference.gradient_pairs(gradient, 1.0), 0, 0)
    raw = rng.standard_normal(n)
    start = raw.copy()
    grower.add_leaf_values(raw[None])
    return codes, matrix, grown, start, raw


def leaves_by_masks(tree, code, codes):
    """Leaf of every row: the go-left rule applied split by split to all rows at once."""
    at = np.zeros(len(codes), dtype=int) if tree.n_splits else np.full(len(codes), -1)
    while (at >= 0).any():
        for s in np.unique(at[at >= 0]):
            here = at == s
            left = reference.goes_left(codes[here, tree.feature[s]], code[s], tree.missing_left[s])
            at[here] = np.where(left, tree.left[s], tree.right[s])
    return ~at


# a task takes 16,384 rows
@pytest.mark.parametrize("n", [1, 2, 100, 16_383, 16_384, 16_385, 32_768, 50_001])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_rows_are_where_the_tree_says(n, dtype, n_threads):
    codes, matrix, grown, start, raw = grown_on(n, dtype, n_threads)
    leaf = leaves_by_masks(grown.tree, grown.code, codes)
    np.testing.assert_array_equal(raw, start + grown.tree.leaf_value[leaf, 0])
    np.testing.assert_array_equal(np.bincount(leaf, minlength=grown.tree.n_leaves), grown.tree.statistics.leaf_count)
    again = start[None, :].copy()
    add_binned(grown, matrix, again, n_threads)
    np.testing.assert_array_equal(again[0], raw)


@pytest.mark.parametrize("n_threads", [2, 3, 5])
@pytest.mark.parametrize("leaves", [2, 200])
def test_any_number_of_threads(n_threads, leaves):
    _, _, one, _, raw_one = grown_on(50_001, np.uint8, 1, leaves=leaves)
    _, _, many, _, raw_many = grown_on(50_001, np.uint8, n_threads, leaves=leaves)
    assert raw_one.tobytes() == raw_many.tobytes()
    assert one.tree.leaf_value.tobytes() == many.tree.leaf_value.tobytes()


@pytest.mark.parametrize("missing", [0.0, 0.5, 0.97])
def test_missing_values(missing):
    codes, _, grown, start, raw = grown_on(20_000, np.uint8, 2, missing)
    leaf = leaves_by_masks(grown.tree, grown.code, codes)
    np.testing.assert_array_equal(raw, start + grown.tree.leaf_value[leaf, 0])
