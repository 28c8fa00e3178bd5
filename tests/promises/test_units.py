"""What the target is measured in does not matter, to losses whose optimum is measured in the same."""

import numpy as np
import pytest

from boostgrad import BoostGradRegressor
from boostgrad.losses import Huber, RelativeError

rng = np.random.default_rng(3)
X = rng.random((1500, 4))
NOISE = rng.standard_normal((1500, 2))
Y = np.exp(1.0 + np.sin(6 * X[:, :1]) + X[:, 1:2] + 0.3 * NOISE)

LOSSES = {
    "squared_error": lambda unit: {},
    "absolute_error": lambda unit: {},
    "quantile": lambda unit: {"quantile": 0.8},
    "expectile": lambda unit: {"quantile": 0.8},
    "quantiles": lambda unit: {"loss": "quantile", "quantile": [0.1, 0.5, 0.9]},
    "huber": lambda unit: {"loss": Huber(unit)},
    "mape": lambda unit: {"loss": RelativeError(1e-3 * unit)},
    "gamma": lambda unit: {},
    "normal_nll": lambda unit: {},
    "lognormal_nll": lambda unit: {},
    "gamma_nll": lambda unit: {},
}
each_loss = pytest.mark.parametrize("loss", LOSSES)
UNITS = (2.0**-20, 1000.0, 3.28e12)


def predicted(loss, y, unit, **parameters):
    given = {"loss": loss, "n_estimators": 30, "random_state": 0} | LOSSES[loss](unit) | parameters
    return BoostGradRegressor(**given).fit(X, y).predict(X)


@each_loss
@pytest.mark.parametrize("strategy", ["one_output_per_tree", "multi_output_tree"])
@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_of_a_target(loss, strategy, unit):
    y = Y[:, 0]
    known = predicted(loss, y, 1.0, multi_strategy=strategy)
    assert np.corrcoef(np.log(np.abs(np.atleast_2d(known.T)[-1])), np.log(y))[0, 1] > 0.8
    accuracy = 0.01 if loss == "huber" else 1e-6  # its leaves are optima to a thousandth
    np.testing.assert_allclose(predicted(loss, unit * y, unit, multi_strategy=strategy) / unit, known, rtol=accuracy)


@each_loss
@pytest.mark.parametrize("unit", [2.0**-40, 2.0**40])
def test_early_stopping_has_no_unit(loss, unit):
    """Powers of two, so that scores in units differ by a factor or, of likelihoods, by a summand, and by no rounding
    that could decide between two trees."""
    given = {"n_estimators": 400, "learning_rate": 0.2, "early_stopping": True, "random_state": 0}
    known, found = (
        BoostGradRegressor(**{"loss": loss} | given | LOSSES[loss](u)).fit(X, u * Y[:, 0]) for u in (1.0, unit)
    )
    assert 5 < known.n_iter_ < 400
    assert found.n_iter_ == known.n_iter_
    np.testing.assert_allclose(found.predict(X) / unit, known.predict(X), rtol=1e-6)


@pytest.mark.parametrize("loss", ["normal_nll", "lognormal_nll", "gamma_nll", "mape"])
@pytest.mark.parametrize("strategy", ["one_output_per_tree", "multi_output_tree"])
@pytest.mark.parametrize("penalty", ["l2_regularization", "min_child_weight", "min_split_gain"])
def test_penalties_have_no_unit_where_hessians_have_one(loss, strategy, penalty):
    size = {"l2_regularization": 20.0, "min_child_weight": 120.0, "min_split_gain": 1.0}[penalty]
    given = {"multi_strategy": strategy, "n_estimators": 10}
    known = predicted(loss, Y[:, 0], 1.0, **given, **{penalty: size})
    found = predicted(loss, 1000.0 * Y[:, 0], 1000.0, **given, **{penalty: size}) / 1000.0
    np.testing.assert_allclose(found, known, rtol=1e-6)
    assert np.abs(predicted(loss, Y[:, 0], 1.0, **given) - known).max() > 1e-3 * known.std()  # it does something


@pytest.mark.parametrize("loss", ["huber", "fair", "log_cosh"])
@pytest.mark.parametrize("strategy", ["one_output_per_tree", "multi_output_tree"])
@pytest.mark.parametrize("zeros", [0.0, 0.4])
@pytest.mark.parametrize("unit", [1e-7, 1e7, 1e10])
def test_trees_grow_however_large_targets_are_beside_a_scale(loss, strategy, zeros, unit):
    """Of an odd number of rows one is the median, which a robust loss starts from; of zeros many are."""
    Z = np.where(X[:, 2] < zeros, 0.0, np.sin(6 * X[:, 0]) + X[:, 1])
    train, test = slice(0, 501), slice(501, None)
    targets = np.column_stack([Z, unit * Z])
    model = BoostGradRegressor(loss, multi_strategy=strategy, random_state=0).fit(X[train], targets[train])
    of_one, of_unit = 1 - np.var(targets[test] - model.predict(X[test]), axis=0) / np.var(targets[test], axis=0)
    assert of_one > 0.85
    assert of_unit > of_one - 0.05


@pytest.mark.parametrize("loss", ["huber", "fair", "log_cosh"])
@pytest.mark.parametrize("penalty", ["l2_regularization", "min_child_weight"])
def test_penalties_have_no_unit_far_above_a_scale(loss, penalty):
    """Where nearly all residuals are far above it, a robust loss is the absolute error in any unit."""
    given = {"n_estimators": 10, penalty: 300.0}
    known, found = (
        BoostGradRegressor(loss, random_state=0, **given).fit(X, unit * Y[:, 0]).predict(X) / unit
        for unit in (2.0**20, 2.0**30)
    )
    free = BoostGradRegressor(loss, random_state=0, n_estimators=10).fit(X, 2.0**20 * Y[:, 0]).predict(X) / 2.0**20
    assert np.std(found - known) < 0.15 * np.std(known)
    assert np.std(free - known) > 0.3 * np.std(known)  # it does something


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "gamma", "normal_nll", "gamma_nll"])
@pytest.mark.parametrize("strategy", ["auto", "one_output_per_tree", "multi_output_tree"])
def test_targets_of_units_that_differ(loss, strategy):
    units = np.array([2.0**-30, 2.0**30])
    known = predicted(loss, Y, 1.0, multi_strategy=strategy)
    np.testing.assert_allclose(predicted(loss, units * Y, 1.0, multi_strategy=strategy) / units, known, rtol=1e-6)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "gamma"])
def test_weights_are_repetition_for_targets_that_share_trees(loss):
    """Weights that go with the residuals: the unit of each target is that of the repeated rows."""
    times = 1 + (Y[:, 0] > np.median(Y[:, 0])) * 3
    again = np.repeat(np.arange(len(Y)), times)
    shared = {"loss": loss, "n_estimators": 30, "random_state": 0, "multi_strategy": "multi_output_tree"}
    shared |= {"min_samples_leaf": 1, "max_bins": 60, "max_leaf_nodes": 8}
    weighted = BoostGradRegressor(**shared).fit(X, Y, sample_weight=times).predict(X)
    repeated = BoostGradRegressor(**shared).fit(X[again], Y[again]).predict(X)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-6)
