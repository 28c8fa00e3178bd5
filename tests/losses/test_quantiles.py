"""Several quantiles in one model."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import d2_pinball_score, r2_score
from sklearn.model_selection import cross_val_score

from boostgrad import BoostGradRegressor
from boostgrad.losses import Quantiles

LEVELS = [0.05, 0.25, 0.5, 0.75, 0.95]


def problem(n=1500, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.random((n, 3))
    return X, X[:, 0] + (0.1 + X[:, 1]) * rng.standard_normal(n)


@pytest.mark.parametrize("strategy", ["one_output_per_tree", "multi_output_tree"])
def test_no_quantiles_cross_and_none_is_worse_for_it(strategy, tmp_path):
    X, y = problem()
    small = {"loss": "quantile", "n_estimators": 60, "max_leaf_nodes": 8, "random_state": 0}
    model = BoostGradRegressor(quantile=LEVELS, multi_strategy=strategy, **small).fit(X, y)
    far = np.random.default_rng(1).normal(scale=1e3, size=(5000, 3))
    for rows in (X, far):
        assert (np.diff(model.predict(rows), axis=1) >= 0).all()
    prediction = model.predict(X)
    assert prediction.shape == (1500, 5)
    np.testing.assert_allclose((y[:, None] < prediction).mean(axis=0), LEVELS, atol=0.04)
    np.testing.assert_array_equal(model.predictor()(X[0]), prediction[0])
    model.save(tmp_path / "model.bg")
    for again in (BoostGradRegressor.load(tmp_path / "model.bg"), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(again.predict(X), prediction)
    loss = Quantiles(LEVELS)
    if strategy == "one_output_per_tree":  # as good as a model a level; ties of splits differ
        alone = [BoostGradRegressor(quantile=q, **small).fit(X, y)._raw(X)[0] for q in LEVELS]
        separate = sum(each.values(y, raw[None]) for each, raw in zip(loss.each, alone, strict=True)) / 5
        assert loss.values(y, prediction.T).mean() <= 1.02 * separate.mean()


def test_order_lowers_the_loss():
    rng = np.random.default_rng(2)
    loss, raw, y = Quantiles(LEVELS), rng.normal(size=(5, 400)), rng.normal(size=400)
    crossed = sum(each.values(y, raw[k : k + 1]) for k, each in enumerate(loss.each)) / 5
    assert (loss.values(y, raw) <= crossed + 1e-12).all()


def test_errors():
    X, y = problem(100)
    for quantile, loss, target in (([0.5, 0.1], "quantile", y), ([0.1, 0.5], "expectile", y)):
        with pytest.raises(ValueError, match="'quantile' parameter"):
            BoostGradRegressor(loss=loss, quantile=quantile).fit(X, target)
    with pytest.raises(ValueError, match="one target only"):
        BoostGradRegressor(loss="quantile", quantile=[0.1, 0.5]).fit(X, np.column_stack([y, y]))
    with pytest.raises(ValueError, match="ascending"):
        Quantiles([0.5, 0.5])
    assert BoostGradRegressor(loss="quantile", quantile=[0.5], n_estimators=2).fit(X, y).predict(X).shape == (100, 1)
    for several in (np.array(LEVELS), LEVELS):
        model = BoostGradRegressor(loss="quantile", quantile=several, n_estimators=2, random_state=0)
        assert not model.__sklearn_tags__().target_tags.multi_output
        np.testing.assert_array_equal(
            clone(model).fit(X, y).predict(X), model.set_params(quantile=tuple(LEVELS)).fit(X, y).predict(X)
        )
    assert BoostGradRegressor(loss="quantile", quantile=0.5).__sklearn_tags__().target_tags.multi_output


@pytest.mark.parametrize("weighted", [False, True])
def test_the_score_is_that_of_pinball_losses(weighted):
    X, y = problem(400)
    weight = np.random.default_rng(1).random(len(X)) if weighted else None
    model = BoostGradRegressor("quantile", quantile=LEVELS, n_estimators=20, random_state=0).fit(X, y, weight)
    each = zip(LEVELS, model.predict(X).T, strict=True)
    expected = [d2_pinball_score(y, of, alpha=level, sample_weight=weight) for level, of in each]
    assert model.score(X, y, weight) == pytest.approx(np.mean(expected)) and model.score(X, y, weight) > 0
    constant = BoostGradRegressor("quantile", quantile=LEVELS, n_estimators=1, learning_rate=1e-9).fit(X, y, weight)
    assert constant.score(X, y, weight) == pytest.approx(0.0, abs=1e-2)
    assert (cross_val_score(model, X, y, cv=3) > 0).all()
    one = BoostGradRegressor("quantile", quantile=0.5, n_estimators=20, random_state=0).fit(X, y)
    assert one.score(X, y) == pytest.approx(r2_score(y, one.predict(X)))
