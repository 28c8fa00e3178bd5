"""Models with splits on sets of levels, as a user of the estimators sees them."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone

from boostgrad import BoostGradClassifier, BoostGradRegressor
from boostgrad.io import native

pd = pytest.importorskip("pandas")

N = 1500
OPTIONS = {"n_estimators": 12, "max_leaf_nodes": 8, "min_samples_leaf": 5, "random_state": 0}
OPTIONS["target_statistics"] = "never"


def table(n_levels=40, seed=0):
    """A column of text whose levels have effects without order, one of numbers, and what follows from both."""
    rng = np.random.default_rng(seed)
    n = max(N, 25 * n_levels)
    level = (n_levels * rng.random(n) ** 1.5).astype(int)
    effect = rng.permutation(n_levels) % 2 * 2.0
    frame = pd.DataFrame({"where": np.array([f"level {i:05}" for i in range(n_levels)], dtype=object)[level]})
    frame.loc[::17, "where"] = None
    frame["how much"] = rng.normal(size=n)
    y = np.where(frame["where"].isna(), 1.0, effect[level]) + 0.3 * frame["how much"] + 0.1 * rng.normal(size=n)
    return frame, y.to_numpy().copy()


def faces(**options):
    yield BoostGradRegressor(**OPTIONS, **options), lambda y: y
    yield BoostGradClassifier(**OPTIONS, **options), lambda y: y > 1
    yield BoostGradClassifier(**OPTIONS, **options), lambda y: np.digitize(y, [0.5, 1.5])


def same_predictions(model, other, X):
    np.testing.assert_array_equal(model.predict(X), other.predict(X))
    np.testing.assert_array_equal(model._raw(X), other._raw(X))
    np.testing.assert_array_equal(model.apply(X), other.apply(X))


@pytest.mark.parametrize("n_levels", [3, 40, 400])
def test_sets_are_learned_and_kept(n_levels, tmp_path):
    X, y = table(n_levels)
    for model, target in faces():
        model.fit(X, target(y))
        assert any(tree.categories is not None for tree in model.ensemble_.trees)
        assert model.score(X, target(y)) > (0.8 if n_levels <= 40 else 0.5)  # where levels have few rows
        model.save(tmp_path / "model.bg")
        assert native.load(tmp_path / "model.bg").format_version == 2
        for other in (type(model).load(tmp_path / "model.bg"), pickle.loads(pickle.dumps(model))):
            same_predictions(model, other, X)
            assert native.dump_bytes(other.ensemble_) == native.dump_bytes(model.ensemble_)
            np.testing.assert_array_equal(other.feature_importances_, model.feature_importances_)


def test_sets_need_no_order():
    X, y = table()
    declared = BoostGradRegressor(**OPTIONS).fit(X, y)
    as_numbers = X.assign(where=X["where"].astype("category").cat.codes.astype(float))
    assert declared.score(X, y) > BoostGradRegressor(**OPTIONS).fit(as_numbers, y).score(as_numbers, y) + 0.05


def test_what_is_asked_of_a_model():
    X, y = table()
    for model, target in faces():
        model.fit(X, target(y))
        importances = model.feature_importances_
        assert importances.shape == (2,) and importances[0] > importances[1] > 0 and np.isclose(importances.sum(), 1)
        np.testing.assert_array_equal(list(model.staged_predict(X))[-1], model.predict(X))
        leaves = model.apply(X)
        raw = np.repeat(model.ensemble_.base_score[:, None], N, axis=1)
        for t, tree in enumerate(model.ensemble_.trees):
            raw[tree.output] += tree.leaf_value[leaves.reshape(N, -1)[:, t], 0]
        np.testing.assert_allclose(raw, model._raw(X), rtol=1e-12)


def test_early_stopping():
    X, y = table(300)
    X_val, y_val = table(300, seed=1)
    for model, target in faces(early_stopping=True, n_iter_no_change=3):
        for options in ({}, {"X_val": X_val, "y_val": target(y_val)}):
            model.fit(X, target(y), **options)
            assert len(model.validation_score_) == model.n_iter_ + 1
            assert model.validation_score_[-1] > model.validation_score_[0]
        # what was predicted from codes is what is predicted from the table
        coded = np.searchsorted(model.classes_, target(y_val)) if hasattr(model, "classes_") else target(y_val)
        loss = model._loss.mean(coded.astype(float), model._raw(X_val), None)
        assert np.isclose(-loss, model.validation_score_[-1])


@pytest.mark.parametrize("many", [False, True])
def test_unseen_levels(many):
    """With few levels none is pooled; with many, those of one row are, and "rare" is their level."""
    X, y = table(200 if many else 40)
    if many:
        rows = np.arange(1, 121, 2)
        X.loc[rows, "where"] = [f"once {i}" for i in range(len(rows))]
        y[rows] = 10.0
    new = pd.DataFrame({"where": ["never seen", None, "once 3"], "how much": 0.25})
    for model, target in faces():
        model.fit(X, target(y))
        assert bool(model.ensemble_.features[0].rare_levels) == many
        unseen, missing, rare = model._raw(new).T
        np.testing.assert_array_equal(unseen, missing)
        assert (rare != missing).any() == many
        unseen, missing, rare = model.set_params(unknown_category="rare")._raw(new).T
        np.testing.assert_array_equal(unseen, rare)
        with pytest.raises(ValueError, match="column 'where', row 0: the category 'never seen' was not there"):
            model.set_params(unknown_category="error").predict(new)


def test_missing_levels_have_a_direction():
    X = pd.DataFrame({"a": pd.Series(["x", "y", None, "z"] * 50, dtype=object)})
    y = np.tile([0.0, 1.0, 1.0, 0.0], 50)
    model = BoostGradRegressor(n_estimators=1, learning_rate=1.0, max_leaf_nodes=2).fit(X, y)
    np.testing.assert_allclose(model.predict(X), y, atol=1e-12)
    np.testing.assert_allclose(model.predict(pd.DataFrame({"a": ["new"]})), [1.0])


def test_levels_of_more_than_a_byte():
    """Beside few codes and many bins of numbers; the same model on one thread and on several."""
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 600, 30_000)
    X = pd.DataFrame({"wide": [f"{i:04}" for i in levels], "flag": rng.random(30_000) < 0.5})
    X["fine"], X["coarse"] = rng.normal(size=(2, 30_000))
    y = rng.normal(size=600)[levels] + X["flag"] * X["fine"]
    for n_jobs, options in ((1, {}), (2, {}), (2, {"max_bins": 1000})):
        model = BoostGradRegressor(n_estimators=20, n_jobs=n_jobs, early_stopping=False, random_state=0, **options)
        assert model.fit(X, y).score(X, y) > 0.5
        if n_jobs == 1:
            one = model
        elif not options:
            assert native.dump_bytes(model.ensemble_) == native.dump_bytes(one.ensemble_)


def test_columns_without_any_level():
    X = pd.DataFrame({"a": pd.Series([None] * 60, dtype="string"), "b": np.arange(60.0)})
    model = BoostGradRegressor(n_estimators=3).fit(X, X["b"])
    assert model.ensemble_.features[0].kind == "category" and model.ensemble_.features[0].levels == ()
    assert np.isfinite(model.predict(X.assign(a="new"))).all()


def test_weights_and_repeated_rows():
    X, y = table(6)
    weight = np.random.default_rng(2).integers(0, 3, N)
    options = {"min_samples_leaf": 1, "min_child_weight": 20.0}
    weighted = BoostGradRegressor(**{**OPTIONS, **options}).fit(X, y, weight)
    rows = np.repeat(np.arange(N), weight)
    repeated = clone(weighted).fit(X.iloc[rows], y[rows])
    np.testing.assert_allclose(weighted.score(X, y), repeated.score(X, y), atol=0.02)


def test_more_levels_than_codes():
    """The least frequent ones are pooled; of equally frequent ones the last. Statistics need no codes."""
    X = np.repeat(np.arange(65_600), 2)[:, None]
    X[-2:] = 7  # four rows
    options = {"categorical_features": [0], "early_stopping": False, "n_estimators": 2}
    sets = BoostGradRegressor(**options, target_statistics="never").fit(X, X[:, 0])
    info = sets.ensemble_.features[0]
    assert info.levels == tuple(range(65_533)) and info.rare_levels == tuple(range(65_533, 65_599))
    assert np.isfinite(sets.predict([[3.0], [65_598.0], [-1.0]])).all()
    model = BoostGradRegressor(**options).fit(X, X[:, 0])
    info = model.ensemble_.features[0]
    assert info.kind == "statistic" and len(info.values) == len(info.levels) == 65_599
    assert np.isfinite(model.predict([[3.0], [65_598.0], [-1.0]])).all()
