"""Boosting that starts from another estimator."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor
from sklearn.neighbors import KNeighborsRegressor

from boostgrad import BoostGradClassifier, BoostGradRegressor

PARAMETERS = {"n_estimators": 20, "random_state": 0}


def table(n=800):
    rng = np.random.default_rng(0)
    X = rng.random((n, 3))
    return X, 10 * X[:, 0] + np.sin(6 * X[:, 1]) + 0.1 * rng.standard_normal(n)


@pytest.mark.parametrize("fitted", [False, True])
def test_an_init_is_an_offset(fitted):
    X, y = table()
    init = LinearRegression()
    if fitted:
        init.fit(X[:50], y[:50])
    model = BoostGradRegressor(init=init, **PARAMETERS).fit(X, y)
    assert (model.init_ is init) == fitted
    plain = BoostGradRegressor(**PARAMETERS).fit(X, y, offset=model.init_.predict(X))
    np.testing.assert_allclose(model.predict(X), plain.predict(X, offset=model.init_.predict(X)), rtol=1e-12)
    blind = BoostGradRegressor(**PARAMETERS).fit(X, y)
    assert model.score(X, y) > blind.score(X, y) + 0.01
    *_, last = model.staged_predict(X)
    np.testing.assert_allclose(last, model.predict(X), rtol=1e-12)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict(X), model.predict(X))
    outside = np.array([[3.0, 0.5, 0.5]])  # trees alone know nothing beyond their data
    assert model.predict(outside)[0] > 20 > blind.predict(outside)[0]


def test_rows_set_aside_are_not_fitted():
    X, y = table()
    model = BoostGradRegressor(init=KNeighborsRegressor(1), early_stopping=True, **PARAMETERS).fit(X, y)
    assert model.init_.n_samples_fit_ == 720
    assert model.validation_score_[0] < model.train_score_[0] == pytest.approx(0, abs=1e-12)
    frame = pd.DataFrame(X, columns=list("abc"))
    by_name = BoostGradRegressor(init=LinearRegression(), early_stopping=True, **PARAMETERS).fit(frame, pd.Series(y))
    plain = BoostGradRegressor(init=LinearRegression(), early_stopping=True, **PARAMETERS).fit(X, y)
    np.testing.assert_allclose(by_name.predict(frame), plain.predict(X), rtol=1e-12)
    given = BoostGradRegressor(init=LinearRegression(), **PARAMETERS).fit(
        X[:600], y[:600], X_val=X[600:], y_val=y[600:]
    )
    error = y[600:] - given.predict(X[600:])
    assert given.validation_score_[-1] == pytest.approx(-0.5 * np.mean(error**2))


def test_weights_are_passed_on():
    X, y = table()
    weight = np.random.default_rng(1).integers(0, 3, len(y))
    weighted = BoostGradRegressor(init=LinearRegression(), **PARAMETERS).fit(X, y, weight)
    expected = LinearRegression().fit(X, y, weight)
    np.testing.assert_allclose(weighted.init_.coef_, expected.coef_, rtol=1e-9)
    with pytest.raises(ValueError, match="init: KNeighborsRegressor takes no sample_weight"):
        BoostGradRegressor(init=KNeighborsRegressor()).fit(X, y, weight)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_classifiers(n_classes):
    X, y = table()
    labels = np.array(["a", "b", "c"])[np.digitize(y, [5.0, 8.0][: n_classes - 1])]
    model = BoostGradClassifier(init=LogisticRegression(), **PARAMETERS).fit(X, labels)
    start = np.log(model.init_.predict_proba(X))
    start = start[:, 1] - start[:, 0] if n_classes == 2 else start - start.mean(axis=1, keepdims=True)
    plain = BoostGradClassifier(**PARAMETERS).fit(X, labels, offset=start)
    np.testing.assert_allclose(model.predict_proba(X), plain.predict_proba(X, start), atol=1e-9)
    with pytest.raises(ValueError, match="init: LinearRegression has no predict_proba"):
        BoostGradClassifier(init=LinearRegression().fit(X, y)).fit(X, labels)
    with pytest.raises(ValueError, match="init: the classes of the estimator are not those of y"):
        BoostGradClassifier(init=LogisticRegression().fit(X, y > 5)).fit(X, labels)


def test_links():
    X, y = table()
    counts = np.random.default_rng(0).poisson(np.exp(y / 10))
    model = BoostGradRegressor("poisson", init=PoissonRegressor(), **PARAMETERS).fit(X, counts)
    start = np.log(model.init_.predict(X))
    plain = BoostGradRegressor("poisson", **PARAMETERS).fit(X, counts, offset=start)
    np.testing.assert_allclose(model.predict(X), plain.predict(X, offset=start), rtol=1e-9)


def test_files_and_row_predictors_refuse(tmp_path):
    X, y = table()
    model = BoostGradRegressor(init=LinearRegression(), **PARAMETERS).fit(X, y)
    with pytest.raises(ValueError, match="a file cannot hold the estimator that init started from"):
        model.save(tmp_path / "model")
    with pytest.raises(ValueError, match="knows nothing of init"):
        model.predictor()
    assert not hasattr(model.set_params(init=None).fit(X, y), "init_")
    model.save(tmp_path / "model")
