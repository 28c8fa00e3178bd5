"""Leaves of robust losses: the step that is best for their rows, however large residuals are beside the scale."""

import numpy as np
import pytest
from scipy import optimize

from boostgrad import BoostGradRegressor, native
from boostgrad.losses import Fair, Huber, LogCosh, RowsByLeaf

ROBUST = [Fair(0.05), Fair(1.0), Huber(0.05), Huber(1.0), LogCosh()]


def leaves_of(sizes, rng):
    begin = np.concatenate([[0], np.cumsum(sizes)])
    return RowsByLeaf(np.sort(rng.permutation(begin[-1])).astype(np.uint32), begin.astype(np.int64))


def newton(loss, y, raw, weight, leaves, l1=0.0, l2=0.0):
    """What the grower puts into leaves, but for the learning rate."""
    pairs = loss.pairs(len(y), weighted=True)
    loss.gradients(y, raw, weight, pairs)
    g, h = np.array([pairs.pairs[0, rows].sum(axis=0) for rows in leaves]).T
    return -np.sign(g) * np.maximum(np.abs(g) - l1, 0) / (h + l2)


def total(loss, y, raw, weight, step, l1, l2):
    weight = np.ones(len(y)) if weight is None else weight
    return np.sum(weight * loss.values(y, raw + step)) + l1 * abs(step) + 0.5 * l2 * step**2


@pytest.mark.parametrize("loss", ROBUST, ids=repr)
@pytest.mark.parametrize("scale", [0.01, 1.0, 20.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.0, 4.0), (3.0, 1.0)])
def test_a_leaf_gets_the_optimum_of_its_rows(loss, scale, weighted, l1, l2, seed):
    rng = np.random.default_rng(seed)
    leaves = leaves_of([20, 150, 1024, 1500], rng)
    y = scale * (rng.standard_t(2, len(leaves.rows)) + rng.standard_normal())
    raw, weight = scale * rng.standard_normal((1, len(y))), rng.random(len(y)) if weighted else None
    first = newton(loss, y, raw, weight, leaves, l1, l2)
    steps = loss.refine_leaves(y, raw, weight, 0, leaves, first, (l1, l2))
    for rows, before, step in zip(leaves, first, steps, strict=True):
        given = (loss, y[rows], raw[:, rows], None if weight is None else weight[rows])
        best = optimize.minimize_scalar(
            lambda s: total(*given, s, l1, l2),  # noqa: B023
            bounds=(-20 * scale, 20 * scale),
            method="bounded",
            options={"xatol": 1e-9 * scale, "maxiter": 1000},
        ).x
        least, reached, at_first = (total(*given, s, l1, l2) for s in (best, step, before))
        assert reached <= at_first + 1e-12 * abs(at_first)
        assert reached - least <= (0.2 if l1 else 0.02) * (at_first - least) + 1e-4 * abs(least)


def test_newtons_step_alone_is_far_too_short():
    rng = np.random.default_rng(0)
    leaves = leaves_of([500], rng)
    y, raw = 20 * rng.standard_normal(500) + 10, np.zeros((1, 500))
    first = newton(Fair(0.1), y, raw, None, leaves)
    step = Fair(0.1).refine_leaves(y, raw, None, 0, leaves, first)
    assert first[0] < 0.4 * step[0]
    assert step[0] == pytest.approx(np.median(y), abs=0.3)


@pytest.mark.parametrize("loss", ROBUST, ids=repr)
def test_threads_and_instruction_sets_give_the_same_bits(loss, seed):
    rng = np.random.default_rng(seed)
    leaves = leaves_of(rng.integers(1, 3000, 20), rng)
    y, weight = rng.standard_t(2, len(leaves.rows)), rng.random(len(leaves.rows))
    raw, used = rng.standard_normal((1, len(y))), native.isa()
    found = []
    try:
        for isa in native.available_isas():
            native.use_isa(isa)
            for n_threads in (1, 2, 3, 5):
                first = np.zeros(leaves.n_leaves)
                found.append(loss.refine_leaves(y, raw, weight, 0, leaves, first, n_threads=n_threads).tobytes())
    finally:
        native.use_isa(used)
    assert len(set(found)) == 1


def test_a_leaf_without_weight_keeps_its_step():
    leaves = RowsByLeaf(np.arange(5, dtype=np.uint32), np.array([0, 2, 2, 5]))
    steps = Huber().refine_leaves(np.ones(5), np.zeros((1, 5)), np.zeros(5), 0, leaves, np.array([0.5, 0.0, -2.0]))
    np.testing.assert_array_equal(steps, [0.5, 0.0, -2.0])


def data(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.random((n, 4))
    return X, 30 * np.sin(6 * X[:, 0]) + 10 * X[:, 1] + 5 * rng.standard_t(2, n)


@pytest.mark.parametrize("bound", [0.0, 2.0])
def test_leaves_of_a_model_are_optimal(bound):
    X, y = data()
    loss = Fair(0.5)
    model = BoostGradRegressor(loss, n_estimators=5, early_stopping=False, max_delta_step=bound).fit(X, y)
    raw = np.full((1, len(y)), model.ensemble_.base_score[0])
    for leaf, tree in zip(model.apply(X).T, model.ensemble_.trees, strict=True):
        for number in range(tree.n_leaves):
            rows = leaf == number
            slope = np.sum(raw[0, rows] - y[rows] > -tree.leaf_value[number, 0] / 0.1) - 0.5 * rows.sum()
            if abs(tree.leaf_value[number, 0]) < 0.1 * bound or not bound:
                assert abs(slope) <= 0.1 * rows.sum() + 1  # near the median, as the scale is small
            else:
                assert abs(tree.leaf_value[number, 0]) == pytest.approx(0.1 * bound)
        raw[0] += tree.leaf_value[leaf, 0]
    np.testing.assert_allclose(model.predict(X), raw[0])


@pytest.mark.parametrize(("l1", "l2"), [(0.0, 50.0), (40.0, 0.0), (20.0, 20.0)])
@pytest.mark.parametrize("strategy", ["one_output_per_tree", "multi_output_tree"])
@pytest.mark.parametrize("weighted", [False, True])
def test_penalties_of_leaves_are_those_of_the_splits(l1, l2, strategy, weighted):
    """In units of a typical hessian; of the second target, whose unit is another one."""
    X, y = data()
    w = np.random.default_rng(1).integers(1, 4, len(y)).astype(float) if weighted else np.ones(len(y))
    loss, targets = LogCosh(), np.column_stack([y, 100 * y])
    given = {"n_estimators": 1, "learning_rate": 1.0, "max_leaf_nodes": 6, "multi_strategy": strategy}
    model = BoostGradRegressor(loss, l1_regularization=l1, l2_regularization=l2, **given)
    model.fit(X, targets, sample_weight=w if weighted else None)
    raw, tree = np.full((1, len(y)), model.ensemble_.base_score[1]), model.ensemble_.trees[-1]
    d = np.abs(raw[0] - targets[:, 1])
    unit = np.average(np.sqrt(d / np.tanh(d)), weights=w) ** -2
    leaves = model.apply(X).reshape(len(y), -1)[:, -1]
    for number, step in enumerate(tree.leaf_value[:, -1]):
        rows = leaves == number
        given = (loss, targets[rows, 1], raw[:, rows], w[rows])
        penalised = lambda s: total(*given, s, unit * l1, unit * l2)  # noqa: B023, E731
        least = optimize.minimize_scalar(penalised, bounds=(-1e4, 1e4), method="bounded", options={"xatol": 1e-6}).fun
        assert penalised(step) - least <= 0.02 * (penalised(0.0) - least)


@pytest.mark.parametrize("strategy", ["one_output_per_tree", "multi_output_tree"])
def test_several_targets(strategy):
    X, y = data()
    targets = np.column_stack([y, y])
    targets[::7, 1] = np.nan
    model = BoostGradRegressor("log_cosh", n_estimators=20, early_stopping=False, multi_strategy=strategy)
    found = model.fit(X, targets).predict(X)
    error = np.abs(found[:, 0] - y).mean()
    assert error < 0.6 * np.abs(y - np.median(y)).mean()
    if strategy == "one_output_per_tree":
        one = BoostGradRegressor("log_cosh", n_estimators=20, early_stopping=False).fit(X, y)
        np.testing.assert_allclose(found[:, 0], one.predict(X), rtol=1e-6, atol=1e-6)
