"""Losses and vector leaves beside the models of other libraries, trained with equal settings.

Features have few values, so that every library has the same candidates for a split. What then still differs is said
at each test.
"""

import numpy as np
import pytest
from sklearn.tree import DecisionTreeRegressor

from boostgrad import BoostGradRegressor
from boostgrad.losses import Fair, RelativeError, RowsByLeaf, Tweedie

SHAPE = {"max_leaf_nodes": 8, "min_samples_leaf": 10, "early_stopping": False, "random_state": 0}


def table(n=2000, seed=0):
    """Features of 16 values each, and a positive size that two of them tell."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 16, (n, 4)).astype(float)
    return X, np.exp(np.sin(X[:, 0] / 3) + X[:, 1] / 16), rng


def of_lightgbm(X, y, objective, n_trees, rate, **parameters):
    lightgbm = pytest.importorskip("lightgbm")
    settings = {
        "objective": objective,
        "num_leaves": 8,
        "min_data_in_leaf": 10,
        "learning_rate": rate,
        "min_data_in_bin": 1,
        "verbose": -1,
    }
    return lightgbm.train(settings | parameters, lightgbm.Dataset(X, y), n_trees)


@pytest.mark.parametrize("power", [1.2, 1.5, 1.8])
def test_tweedie_follows_lightgbms_gradient(power):
    """LightGBM's hessian is the true one, ours the expected one. The same start, and under a penalty so large that
    hessians do not matter the same models, up to LightGBM's gradients in float32."""
    X, size, rng = table()
    y = np.where(rng.random(len(X)) < 0.3, 0.0, rng.gamma(2.0, size**0.3 / 2))
    flat = {"lambda_l2": 1e8, "min_data_in_leaf": 1, "min_sum_hessian_in_leaf": 0.0}
    theirs = of_lightgbm(X, y, "tweedie", 30, 1e4, tweedie_variance_power=power, num_leaves=4, **flat)
    ours = BoostGradRegressor(
        Tweedie(power),
        n_estimators=30,
        learning_rate=1e4,
        l2_regularization=1e8,
        **SHAPE | {"max_leaf_nodes": 4, "min_samples_leaf": 1},
    )
    a, b = ours.fit(X, y).predict(X), theirs.predict(X)
    assert np.ptp(np.log(b)) > 0.3
    np.testing.assert_allclose(a, b, rtol=0.02)  # of two splits about as good either may be chosen
    assert np.isclose(a, b, rtol=2e-3).mean() > 0.7


def test_fair_follows_lightgbms_gradient():
    """LightGBM's hessian is the true one, ours that of a parabola above the loss. Under a penalty so large that
    hessians do not matter the models are the same. Our penalty is in units of a hessian that is another one for each
    tree, so these are fitted one by one."""
    X, size, rng = table()
    y = 3 * size + rng.standard_t(2, len(X))
    y -= Fair(2.0).init_raw(y, None)[0]  # LightGBM starts from 0
    theirs = of_lightgbm(X, y, "fair", 30, 1e2, fair_c=2.0, boost_from_average=False, lambda_l2=1e6, num_leaves=4)
    shape = SHAPE | {"max_leaf_nodes": 4, "n_estimators": 1, "learning_rate": 1e2, "init": "zero"}
    a, b = np.zeros(len(y)), theirs.predict(X)
    for _ in range(30):
        unit = np.mean(np.sqrt(1 + np.abs(y - a) / 2.0)) ** -2
        ours = BoostGradRegressor(Fair(2.0), l2_regularization=1e6 / unit, **shape)
        a += ours.fit(X, y, offset=a).predict(X)
    assert np.ptp(b) > 2
    np.testing.assert_allclose(a, b, atol=2e-3)


def test_fair_is_as_good_as_lightgbms():
    """With no penalty, losses are compared, not models: our steps are shorter."""
    X, size, rng = table()
    y = 3 * size + rng.standard_t(2, len(X))
    loss, half = Fair(0.7), len(X) // 2
    theirs = of_lightgbm(X[:half], y[:half], "fair", 60, 0.2, fair_c=0.7)
    ours = BoostGradRegressor(loss, n_estimators=60, learning_rate=0.2, **SHAPE).fit(X[:half], y[:half])
    of_ours, of_theirs = (
        loss.mean(y[half:], p[None], None) for p in (ours.predict(X[half:]), theirs.predict(X[half:]))
    )
    constant = loss.mean(y[half:], np.full((1, half), loss.init_raw(y[:half], None)[0]), None)
    assert constant - of_ours > 0.97 * (constant - of_theirs)


def test_leaves_of_mape_are_about_lightgbms():
    """Leaves are weighted medians in both, ours where the weights reach one half, LightGBM's between two rows. Splits
    differ, since our hessians are the weights of the rows and LightGBM's are 1: of whole models losses are compared."""
    X, size, rng = table()
    y = 10 + 5 * size * np.exp(0.1 * rng.standard_normal(len(X)))
    one = of_lightgbm(X, y, "mape", 1, 1.0)
    leaf = one.predict(X, pred_leaf=True).ravel()
    loss, start = RelativeError(), np.zeros((1, len(y)))
    rows = RowsByLeaf(np.argsort(leaf, kind="stable").astype(np.uint32), np.cumsum([0, *np.bincount(leaf)]))
    values = loss.renew_leaves(y, start, None, 0, rows)
    np.testing.assert_allclose(values[leaf], one.predict(X), rtol=1e-2)

    half = len(y) // 2
    theirs = of_lightgbm(X[:half], y[:half], "mape", 40, 0.1).predict(X[half:])
    ours = BoostGradRegressor("mape", n_estimators=40, **SHAPE).fit(X[:half], y[:half]).predict(X[half:])
    of_ours, of_theirs = (loss.mean(y[half:], p[None], None) for p in (ours, theirs))
    assert of_ours < 1.03 * of_theirs


@pytest.mark.parametrize("n_targets", [2, 5])
@pytest.mark.parametrize("n_leaves", [2, 8, 20])
def test_a_vector_tree_is_scikit_learns(n_targets, n_leaves):
    """One tree of squared error for several targets, grown best first. scikit-learn does not weigh the targets, so
    they are given with equal variances; it knows no bins, so features have few values."""
    X, size, rng = table()
    directions = rng.standard_normal((3, n_targets))
    signal = np.column_stack([size, X[:, 2] > 7, X[:, 1] * X[:, 0] / 50]) @ directions
    y = signal + rng.normal(0, 0.3, signal.shape)
    y = (y - y.mean(axis=0)) / y.std(axis=0)
    theirs = DecisionTreeRegressor(max_leaf_nodes=n_leaves, min_samples_leaf=10, random_state=0).fit(X, y)
    settings = SHAPE | {"max_leaf_nodes": n_leaves, "multi_strategy": "multi_output_tree"}
    ours = BoostGradRegressor(n_estimators=1, learning_rate=1.0, **settings).fit(X, y)
    assert len(ours.ensemble_.trees) == 1
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-9, atol=1e-9)
