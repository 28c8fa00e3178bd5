"""Single rows by the prepared predictor: the bits of predict and predict_proba."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from boostgrad import BoostGradClassifier, BoostGradRegressor


def problem(seed, n=600, n_features=7):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, n_features))
    X[rng.random(X.shape) < 0.15] = np.nan
    return X, np.nansum(X[:, :3], axis=1) + rng.standard_normal(n), rng


def fitted(task, X, signal, **options):
    options = dict(n_estimators=37, early_stopping=False, min_samples_leaf=3, random_state=0) | options
    if task == "regression":
        return BoostGradRegressor(**options).fit(X, signal)
    return BoostGradClassifier(**options).fit(X, signal > 0 if task == "binary" else np.digitize(signal, [-1, 1]))


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
@pytest.mark.parametrize(
    "options",
    [{}, {"max_leaf_nodes": 2}, {"n_estimators": 1}, {"grow_policy": "depthwise"}, {"grow_policy": "symmetric"}],
)
def test_same_bits_as_predict(task, options):
    X, signal, rng = problem(0)
    model = fitted(task, X, signal, **options)
    p = model.predictor()
    new = rng.standard_normal((200, X.shape[1]))
    new[rng.random(new.shape) < 0.2] = np.nan
    new[:20] = X[:20]
    new[20, 0], new[21, 1] = np.inf, -np.inf
    expected = model.predict(new) if task == "regression" else model.predict_proba(new)
    got = np.array([p(row) for row in new])
    assert got.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i4", "?", ">f8"])
def test_any_real_row(dtype):
    X, signal, rng = problem(1)
    model = fitted("binary", X, signal)
    rows = (3 * rng.standard_normal((50, X.shape[1]))).astype(dtype)
    p = model.predictor()
    for row in rows:
        assert p(row).tobytes() == model.predict_proba(row[None, :])[0].tobytes()
    strided = np.repeat(rows, 3, axis=1)[:, ::3]
    assert p(strided[7]).tobytes() == p(rows[7]).tobytes() == p(rows[7].tolist()).tobytes()


def test_many_features_and_trees():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 1500))
    model = fitted("regression", X, X[:, 1400] + X[:, 3], n_estimators=1100, max_leaf_nodes=3)
    p = model.predictor()
    assert [p(row) for row in X[:5]] == model.predict(X[:5]).tolist()


def test_a_constant_model():
    X, signal, _ = problem(2, n=30)
    model = fitted("regression", X, np.ones(30))
    assert model.predictor()(X[0]) == model.predict(X[:1])[0] == 1.0


@pytest.mark.parametrize("row", [np.zeros(6), np.zeros((1, 7)), 3.0, []])
def test_other_shapes_are_refused(row):
    X, signal, _ = problem(3)
    with pytest.raises(ValueError, match=r"row must have shape \(7,\)"):
        fitted("binary", X, signal).predictor()(row)


def test_columns_that_are_no_numbers_are_refused():
    X = np.array([["a", 1.0], ["b", 2.0], [None, 3.0]] * 20, dtype=object)
    model = BoostGradRegressor(n_estimators=2, early_stopping=False).fit(X, np.arange(60.0))
    with pytest.raises(ValueError, match="column 0 is a category"):
        model.predictor()


def test_it_outlives_the_next_fit_and_any_number_of_threads_may_call():
    X, signal, _ = problem(4)
    model = fitted("multiclass", X, signal)
    p, expected = model.predictor(), model.predict_proba(X)
    model.set_params(n_estimators=2).fit(X, signal > 0)
    with ThreadPoolExecutor(4) as threads:
        got = np.array(list(threads.map(p, X)))
    assert got.tobytes() == expected.tobytes()
