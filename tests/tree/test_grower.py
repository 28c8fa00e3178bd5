"""Whole trees, against trees grown in plain numpy."""

from dataclasses import replace

import numpy as np
import pytest
import reference

from boostgrad.params import TreeParams
from boostgrad.tree.growers import grower_for

PARAMS = TreeParams(min_samples_leaf=1, min_child_weight=0.0)
POLICIES = ["leafwise", "depthwise", "symmetric"]


def problem(seed=0, n=800, n_features=5, n_codes=40, missing=0.1):
    rng = np.random.default_rng(seed)
    codes = rng.integers(1, n_codes, (n, n_features))
    codes[rng.random(codes.shape) < missing] = 0
    signal = (codes[:, 0] > n_codes / 3) + (codes[:, 1 % n_features] > n_codes / 2) * (codes[:, -1] < n_codes / 4)
    return codes, reference.exact(rng.standard_normal(n) + signal), reference.exact(rng.random(n) + 0.05)


def assert_grows(codes, gradient, hessian, params, n_threads=1, seed=0, **options):
    matrix = reference.binned(codes, **options)
    grower = grower_for(matrix, reference.edges_between(matrix), params, n_threads, seed)
    grown = grower.grow(reference.gradient_pairs(gradient, hessian), 0, 0)
    reference.assert_same_tree(grown, matrix, gradient, hessian, params)
    return grown


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kind", ["wide", "narrow", "outlier"])
@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_whole_trees(policy, dtype, kind, missing, seed):
    codes, gradient, hessian = problem(seed, missing=missing)
    if kind == "outlier":
        gradient[17] = 2.0**30
    assert_grows(
        codes,
        gradient,
        hessian if kind == "wide" else 1.0,
        replace(PARAMS, grow_policy=policy, max_leaf_nodes=20),
        seed=seed,
        dtype=dtype,
    )


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("max_leaf_nodes", [2, 3, 31, 64, 65, 300, None])
@pytest.mark.parametrize("n_threads", [1, 2, 4])  # several: nodes side by side, some of which are worked out in vain
def test_max_leaf_nodes(policy, max_leaf_nodes, n_threads):
    if policy == "symmetric" and max_leaf_nodes in (300, None):
        pytest.skip("hundreds of levels, slow to check by brute force")
    codes, gradient, hessian = problem(1, n=700)
    params = replace(PARAMS, grow_policy=policy, max_leaf_nodes=max_leaf_nodes)
    for h in (hessian, 1.0):
        grown = assert_grows(codes, gradient, h, params, n_threads)
        if max_leaf_nodes:
            assert grown.tree.n_leaves == max_leaf_nodes
        else:
            assert grown.tree.n_leaves > 300


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("max_depth", [1, 2, 3, 6, 20])
@pytest.mark.parametrize("max_leaf_nodes", [None, 12])
def test_max_depth(policy, max_depth, max_leaf_nodes):
    codes, gradient, hessian = problem(2, n=500)
    params = replace(PARAMS, grow_policy=policy, max_depth=max_depth, max_leaf_nodes=max_leaf_nodes)
    tree = assert_grows(codes, gradient, hessian, params).tree
    depth = np.zeros(tree.n_splits, dtype=int)
    for s in range(tree.n_splits):
        for child in (tree.left[s], tree.right[s]):
            if child >= 0:
                depth[child] = depth[s] + 1
    assert depth.max() + 1 <= max_depth
    if max_leaf_nodes is None and max_depth <= 3 and policy != "symmetric":
        assert tree.n_leaves == 2**max_depth
    if policy == "depthwise":
        assert (np.diff(depth) >= 0).all()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    "options",
    [
        {"min_samples_leaf": 37},
        {"min_child_weight": 25.0},
        {"min_split_gain": 3.0},
        {"l1_regularization": 4.0},
        {"l2_regularization": 10.0},
        {"max_delta_step": 0.2},
        {"min_samples_leaf": 5, "min_child_weight": 4.0, "l1_regularization": 1.0, "max_delta_step": 0.5},
    ],
    ids=lambda o: "-".join(o),
)
def test_constraints(policy, options):
    codes, gradient, hessian = problem(3)
    params = replace(PARAMS, grow_policy=policy, max_leaf_nodes=25, **options)
    for h in (hessian, 0.5):
        assert assert_grows(codes, gradient, h, params).tree.n_leaves > 2


def test_leafwise_and_depthwise_differ_in_order_only():
    """Without a limit of leaves both make the same splits."""
    codes, gradient, hessian = problem(4)
    trees = [
        assert_grows(codes, gradient, hessian, replace(PARAMS, min_samples_leaf=20, max_leaf_nodes=None, grow_policy=p))
        for p in ("leafwise", "depthwise")
    ]
    a, b = (sorted(zip(g.tree.feature, g.code, g.tree.statistics.split_count, strict=True)) for g in trees)
    assert a == b
    np.testing.assert_array_equal(trees[0].tree.leaf_value, trees[1].tree.leaf_value)


def test_leafwise_gains_are_taken_greedily():
    codes, gradient, hessian = problem(5)
    tree = assert_grows(codes, gradient, hessian, replace(PARAMS, max_leaf_nodes=15)).tree
    parent = np.full(tree.n_splits, -1)
    for s in range(tree.n_splits):
        for child in (tree.left[s], tree.right[s]):
            if child >= 0:
                parent[child] = s
    for s in range(1, tree.n_splits):  # a split that comes later, but was open earlier, gains no more
        assert parent[s] < s
        later = np.flatnonzero(parent < s)
        later = later[later > s]
        assert (tree.statistics.split_gain[later] <= tree.statistics.split_gain[s]).all()


@pytest.mark.parametrize("n_rows", [1, 2, 3, 5, 17])
def test_few_rows(n_rows):
    codes, gradient, hessian = problem(6, n=n_rows)
    for policy in POLICIES:
        assert_grows(codes, gradient, hessian, replace(PARAMS, grow_policy=policy, max_leaf_nodes=None))


@pytest.mark.parametrize("seed", range(3))
def test_inexact_gradients_agree_to_rounding(seed):
    rng = np.random.default_rng(seed)
    codes, gradient, hessian = problem(seed, n=2000)
    gradient = (gradient + 0.1 * rng.standard_normal(2000)).astype(np.float32).astype(float)
    hessian = (hessian + 0.01 * rng.random(2000)).astype(np.float32).astype(float)
    matrix = reference.binned(codes)
    for h in (hessian, 1.0):
        grower = grower_for(matrix, reference.edges_between(matrix), PARAMS, 1, 0)
        grown = grower.grow(reference.gradient_pairs(gradient, h), 0, 0)
        reference.assert_same_tree(grown, matrix, gradient, h, PARAMS, rtol=1e-7)


def test_a_grower_starts_every_tree_afresh():
    codes, gradient, hessian = problem(7)
    matrix = reference.binned(codes)
    params = replace(PARAMS, max_leaf_nodes=40)
    reused = grower_for(matrix, reference.edges_between(matrix), params, 1, 0)
    rng = np.random.default_rng(0)
    for number in range(6):
        g = reference.exact(gradient * rng.random() + rng.standard_normal(len(gradient)))
        pairs = reference.gradient_pairs(g, hessian)
        fresh = grower_for(matrix, reference.edges_between(matrix), params, 1, 0)
        a, b = reused.grow(pairs, 0, number).tree, fresh.grow(pairs, 0, number).tree
        for name in ("feature", "threshold", "missing_left", "left", "right", "leaf_value"):
            assert getattr(a, name).tobytes() == getattr(b, name).tobytes()


def test_outputs_are_grown_from_their_own_pairs():
    codes, gradient, hessian = problem(8)
    matrix = reference.binned(codes)
    from boostgrad.losses import GradientPairs

    pairs = GradientPairs.empty(3, len(gradient), None)
    gradients = [gradient, -2 * gradient, reference.exact(gradient**2)]
    for output, g in enumerate(gradients):
        pairs.fill(output, g, hessian)
    grower = grower_for(matrix, reference.edges_between(matrix), PARAMS, 1, 0)
    for output, g in enumerate(gradients):
        grown = grower.grow(pairs, output, output)
        assert grown.tree.output == output
        expected, _ = reference.grow(codes, matrix.n_codes, g, hessian, PARAMS, like=grown)
        np.testing.assert_array_equal(grown.tree.feature, expected.feature)
        np.testing.assert_allclose(grown.tree.leaf_value, expected.leaf_value, rtol=1e-9)


@pytest.mark.parametrize("n_threads", [2, 3, 5])
@pytest.mark.parametrize("policy", POLICIES)
def test_parallel_scan_and_growth(n_threads, policy):
    codes, gradient, hessian = problem(9, n=3000, n_features=60, n_codes=250)  # above PARALLEL_CODES
    params = replace(PARAMS, grow_policy=policy, max_leaf_nodes=8)
    one = assert_grows(codes, gradient, hessian, params).tree
    many = assert_grows(codes, gradient, hessian, params, n_threads).tree
    for name in ("feature", "threshold", "missing_left", "left", "right", "leaf_value"):
        assert getattr(one, name).tobytes() == getattr(many, name).tobytes()


@pytest.mark.parametrize("policy", ["leafwise", "symmetric"])
@pytest.mark.parametrize("max_leaf_nodes", range(3, 16))
def test_rows_of_leaves_are_in_order(max_leaf_nodes, policy):
    """Also those of nodes whose split another thread had worked out before leaves ran out."""
    codes, gradient, hessian = problem(4, n=900, n_features=3)
    matrix = reference.binned(codes)
    params = replace(PARAMS, max_leaf_nodes=max_leaf_nodes, grow_policy=policy)
    found = []
    for n_threads in (1, 2, 5):
        grower = grower_for(matrix, reference.edges_between(matrix), params, n_threads, 0)
        grower.grow(reference.gradient_pairs(gradient, hessian), 0, 0)
        rows, begin = grower.rows_by_leaf()
        assert len(begin) == max_leaf_nodes + 1
        assert all((np.diff(leaf.astype(int)) > 0).all() for leaf in np.split(rows, begin[1:-1]))
        found.append((rows.tobytes(), begin.tobytes()))
    assert len(set(found)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_many_random_trees(seed):
    rng = np.random.default_rng(1000 + seed)
    codes, gradient, hessian = problem(
        seed, int(rng.integers(20, 3000)), int(rng.integers(1, 30)), int(rng.integers(2, 300)) + 1, rng.random() * 0.5
    )
    params = TreeParams(
        max_leaf_nodes=int(rng.integers(2, 200)),
        max_depth=None if rng.random() < 0.5 else int(rng.integers(1, 12)),
        min_samples_leaf=int(rng.integers(1, 30)),
        min_child_weight=float(rng.random() * 5),
        min_split_gain=float(rng.random()),
        l1_regularization=float(rng.random() * (rng.random() < 0.5)),
        l2_regularization=float(rng.random()),
        max_delta_step=float(rng.random() * (rng.random() < 0.5)),
        grow_policy=POLICIES[seed % 3],
    )
    for h in (hessian, 1.0):
        assert_grows(codes, gradient, h, params, n_threads=1 + seed % 3, seed=seed)
