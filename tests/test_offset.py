"""Offsets: raw predictions that boosting starts from."""

import numpy as np
import pytest

from boostgrad import BoostGradClassifier, BoostGradRegressor
from boostgrad.losses import CallableLoss, Loss, get_loss


class Poisson(Loss):
    """exp(raw) - y raw: what a user writes."""

    name = "poisson_of_a_test"
    link = "log"

    def gradients(self, y, raw, weight, out, n_threads=1):
        mean, w = np.exp(raw[0]), 1.0 if weight is None else weight
        out.fill(0, gradient=w * (mean - y), hessian=w * mean)

    def values(self, y, raw):
        return np.exp(raw[0]) - y * raw[0]

    def inverse_link(self, raw):
        return np.exp(raw)


def table(n=600, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.random((n, 3))
    return X, np.sin(6 * X[:, 0]) + X[:, 1] + 0.1 * rng.standard_normal(n), rng.standard_normal(n)


PARAMETERS = {"n_estimators": 20, "random_state": 0}


@pytest.mark.parametrize("early", [False, True])
def test_an_offset_shifts_squared_error(early):
    X, y, offset = table()
    plain = BoostGradRegressor(early_stopping=early, **PARAMETERS).fit(X, y)
    moved = BoostGradRegressor(early_stopping=early, **PARAMETERS).fit(X, y + offset, offset=offset)
    np.testing.assert_allclose(moved.predict(X), plain.predict(X), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(moved.predict(X, offset=offset), plain.predict(X) + offset, rtol=1e-9, atol=1e-9)
    for a, b in zip(moved.staged_predict(X, offset=offset), plain.staged_predict(X), strict=True):
        np.testing.assert_allclose(a, b + offset, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(moved.train_score_, plain.train_score_, rtol=1e-9)
    np.testing.assert_allclose(moved.validation_score_, plain.validation_score_, rtol=1e-9)


def test_a_constant_offset_is_taken_back():
    X, y, _ = table()
    labels = np.digitize(y, [0.5, 1.2])
    for target, n in ((labels > 0, 1), (labels, 3)):
        plain = BoostGradClassifier(**PARAMETERS).fit(X, target)
        moved = BoostGradClassifier(**PARAMETERS).fit(X, target, offset=np.full((len(X), n), 0.7))
        given = np.full((len(X), n), 0.7)
        np.testing.assert_allclose(moved.predict_proba(X, given), plain.predict_proba(X), atol=1e-6)
        assert (moved.predict(X, given) == plain.predict(X)).all()
        np.testing.assert_allclose(moved.predict_log_proba(X, given), plain.predict_log_proba(X), atol=1e-5)
        for a, b in zip(moved.staged_predict_proba(X, given), plain.staged_predict_proba(X), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)


def test_an_offset_that_knows_all_leaves_nothing_to_learn():
    X, _, offset = table()
    y = np.random.default_rng(1).random(len(X)) < 1 / (1 + np.exp(-offset))
    model = BoostGradClassifier(n_estimators=1, random_state=0).fit(X, y, offset=offset)
    assert abs(model.ensemble_.base_score[0]) < 0.4  # the rest of the odds
    blind = BoostGradClassifier(n_estimators=1, random_state=0).fit(X, y)
    assert model.score(X, y) < np.mean(model.predict(X, offset) == y) > blind.score(X, y)


def test_exposure_is_a_rate():
    rng = np.random.default_rng(0)
    X, y, _ = table(4000)
    exposure = rng.random(4000) + 0.05
    counts = rng.poisson(np.exp(y) * exposure)
    model = BoostGradRegressor(loss=Poisson(), **PARAMETERS).fit(X, counts, exposure=exposure)
    as_offset = BoostGradRegressor(loss=Poisson(), **PARAMETERS).fit(X, counts, offset=np.log(exposure))
    np.testing.assert_array_equal(model.predict(X), as_offset.predict(X))
    np.testing.assert_allclose(model.predict(X, exposure=exposure), model.predict(X) * exposure, rtol=1e-12)
    both = BoostGradRegressor(loss=Poisson(), **PARAMETERS).fit(X, counts, offset=np.log(exposure / 2), exposure=2.0)
    np.testing.assert_allclose(both.predict(X), model.predict(X), rtol=1e-9)
    assert model.predict(X, exposure=exposure).sum() == pytest.approx(counts.sum(), rel=0.02)


@pytest.mark.parametrize("size", [1.0, 1e4])
@pytest.mark.parametrize("name", ["gamma_nll", "lognormal_nll", "gamma"])
@pytest.mark.parametrize("n_targets", [1, 2])
def test_exposed_amounts_are_those_of_a_unit(name, size, n_targets):
    """An amount that is as many times as large as its row was exposed is the amount of a unit."""
    X, y, _ = table()
    exposure = size * (np.random.default_rng(1).random(len(X)) + 0.05)
    y = np.exp(y) if n_targets == 1 else np.exp(np.column_stack([y, -y]))
    exposed = (y.T * exposure).T
    plain = BoostGradRegressor(name, early_stopping=True, **PARAMETERS).fit(X, y, exposure=np.ones(len(X)))
    model = BoostGradRegressor(name, early_stopping=True, **PARAMETERS).fit(X, exposed, exposure=exposure)
    np.testing.assert_allclose(model.predict(X), plain.predict(X), rtol=1e-5)
    np.testing.assert_allclose(model.predict(X, exposure=exposure), (plain.predict(X).T * exposure).T, rtol=1e-5)
    if name != "gamma":
        found, expected = model.predict_distribution(X, exposure=exposure), plain.predict_distribution(X)
        np.testing.assert_allclose(found.std(), (expected.std().T * exposure).T, rtol=1e-5)


@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize("name", ["poisson", "poisson_nll", "negative_binomial_nll"])
def test_exposed_counts_are_a_rate(name, n_targets):
    rng = np.random.default_rng(0)
    X, y, _ = table(3000)
    exposure = 100 * rng.random(3000) + 1
    rate = np.exp(y if n_targets == 1 else np.column_stack([y, 1 - y]))
    counts = rng.poisson((rate.T * exposure).T)
    model = BoostGradRegressor(name, **PARAMETERS).fit(X, counts, exposure=exposure)
    of_unit = model.predict(X)
    assert np.corrcoef(of_unit.ravel(), rate.ravel())[0, 1] > 0.9
    exposed = (of_unit.T * exposure).T
    np.testing.assert_allclose(model.predict(X, exposure=exposure), exposed, rtol=1e-9)
    np.testing.assert_allclose(exposed.sum(axis=0), counts.sum(axis=0), rtol=0.05)
    if name != "poisson":
        frozen = model.predict_distribution(X, exposure=exposure)
        np.testing.assert_allclose(frozen.mean(), exposed, rtol=1e-9)
    if name == "negative_binomial_nll":
        np.testing.assert_allclose(frozen.kwds["n"], model.predict_distribution(X).kwds["n"], rtol=1e-9)


def test_exposure_of_a_function_is_that_of_the_loss_it_predicts_for():
    def poisson(y, raw, sample_weight):
        return np.exp(raw) - y, np.exp(raw)

    X, y, _ = table()
    exposure = np.random.default_rng(0).random(len(X)) + 0.1
    counts = np.round(10 * exposure * np.exp(y))
    loss = CallableLoss(poisson, inverse_link=get_loss("poisson"))
    own = BoostGradRegressor(loss, **PARAMETERS).fit(X, counts, exposure=exposure)
    built_in = BoostGradRegressor("poisson", **PARAMETERS).fit(X, counts, exposure=exposure)
    np.testing.assert_allclose(own.predict(X, exposure=2), built_in.predict(X, exposure=2), rtol=1e-5)
    for loss in (CallableLoss(poisson), CallableLoss(poisson, inverse_link=np.exp)):
        with pytest.raises(ValueError, match=r"logarithmic link, which 'CallableLoss\(poisson\)' is not; use offset"):
            BoostGradRegressor(loss).fit(X, counts, exposure=exposure)


def test_exposure_and_offset_of_two_parameters():
    X, y, _ = table()
    y = np.exp(y)
    for bad in (np.zeros(len(X)), np.zeros((len(X), 3))):
        with pytest.raises(ValueError, match=r"offset must have 2 number\(s\) a row.*'gamma_nll'; it has [13]"):
            BoostGradRegressor("gamma_nll").fit(X, y, offset=bad, exposure=np.ones(len(X)))
    with pytest.raises(ValueError, match="exposure needs a loss with a logarithmic link, which 'normal_nll' is not"):
        BoostGradRegressor("normal_nll").fit(X, y, exposure=np.ones(len(X)))
    with pytest.raises(ValueError, match="exposure must have one number a row: it has shape"):
        BoostGradRegressor("gamma_nll").fit(X, y, exposure=np.ones((len(X), 2)))
    shift = np.column_stack([np.log(np.arange(len(X)) + 1), np.zeros(len(X))])
    model = BoostGradRegressor("gamma_nll", **PARAMETERS).fit(X, y, offset=shift)
    exposed = BoostGradRegressor("gamma_nll", **PARAMETERS).fit(X, y, exposure=np.arange(len(X)) + 1)
    np.testing.assert_allclose(model.predict(X), exposed.predict(X), rtol=1e-9)


def test_validation_rows_have_offsets_of_their_own():
    X, y, offset = table()
    a, b = np.arange(400), np.arange(400, 600)
    model = BoostGradRegressor(**PARAMETERS).fit(
        X[a], (y + offset)[a], offset=offset[a], X_val=X[b], y_val=(y + offset)[b], offset_val=offset[b]
    )
    plain = BoostGradRegressor(**PARAMETERS).fit(X[a], y[a], X_val=X[b], y_val=y[b])
    np.testing.assert_allclose(model.validation_score_, plain.validation_score_, rtol=1e-9)


def test_rows_of_weight_0_take_their_offsets_along():
    X, y, offset = table()
    weight = (np.arange(600) % 3 > 0).astype(float)
    kept = weight > 0
    model = BoostGradRegressor(**PARAMETERS).fit(X, y, weight, offset=offset)
    plain = BoostGradRegressor(**PARAMETERS).fit(X[kept], y[kept], offset=offset[kept])
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))


VALIDATION = {"X_val": np.zeros((5, 3)), "y_val": np.zeros(5)}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"offset": np.zeros(5)}, r"offset must have one number, or one row of numbers, for each of 600 rows"),
        ({"offset": np.full(600, np.nan)}, "Input offset contains NaN: row 0"),
        ({"offset": ["a"] * 600}, "offset must hold numbers"),
        ({"offset": np.zeros((600, 2))}, r"offset must have 1 number\(s\) a row.*'squared_error'; it has 2"),
        ({"exposure": np.ones(600)}, "exposure needs a loss with a logarithmic link, which 'squared_error' is not"),
        ({"offset_val": np.zeros(600)}, "offset_val needs X_val and y_val"),
        ({"exposure_val": np.zeros(600)}, "exposure_val needs X_val and y_val"),
        ({**VALIDATION, "offset": np.zeros(600), "offset_val": np.zeros(4)}, "offset_val must have one"),
        (
            {**VALIDATION, "offset_val": np.zeros(5)},
            "offset and offset_val must .*: offset_val is there, offset is not",
        ),
        ({**VALIDATION, "offset": np.zeros(600)}, "offset and offset_val must .*: offset is there, offset_val is not"),
        ({**VALIDATION, "exposure": np.ones(600)}, "exposure and exposure_val must be given together where X_val is"),
        ({**VALIDATION, "exposure_val": np.ones(5)}, "exposure and exposure_val must be given together where X_val is"),
    ],
)
def test_bad_offsets(more, message):
    X, y, _ = table()
    model = BoostGradRegressor(**PARAMETERS)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, **more)
    assert not hasattr(model, "ensemble_")


def test_bad_exposures_of_validation_rows():
    X, y, _ = table()
    given = {**VALIDATION, "exposure": np.ones(600)}
    with pytest.raises(ValueError, match="exposure_val must be positive"):
        BoostGradRegressor(loss=Poisson(), **PARAMETERS).fit(X, np.abs(y), exposure_val=np.zeros(5), **given)


def test_bad_offsets_of_predictions():
    X, y, offset = table()
    model = BoostGradRegressor(loss=Poisson(), **PARAMETERS).fit(X, np.round(np.abs(y)))
    with pytest.raises(ValueError, match="exposure must be positive: row 1 is -1.0"):
        model.predict(X[:2], exposure=[1.0, -1.0])
    with pytest.raises(ValueError, match="offset must have one number, or one row of numbers, for each of 2 rows"):
        model.predict(X[:2], offset=[1.0])
    with pytest.raises(ValueError, match="exposure needs a loss with a logarithmic link"):
        BoostGradRegressor(**PARAMETERS).fit(X, y).predict(X, exposure=np.ones(600))


@pytest.mark.parametrize("name", ["gamma_nll", "negative_binomial_nll"])
@pytest.mark.parametrize("size", [1e-3, 1.0, 500.0, 1e6])
@pytest.mark.parametrize("n_targets", [1, 2])
def test_an_exposure_of_1_changes_nothing(name, size, n_targets):
    """The constants of two parameters are sought, where one has no formula, and long steps led out of the world."""
    if name == "negative_binomial_nll" and size < 1:
        size = 0.3
    rng = np.random.default_rng(0)
    X, shape = rng.random((500, 2)), (500, n_targets)[:n_targets]
    y = rng.gamma(2.0, size / 2, shape) if name == "gamma_nll" else rng.negative_binomial(3, 3 / (3 + size), shape)
    model = BoostGradRegressor(name, **PARAMETERS)
    plain, exposed = model.fit(X, y).predict(X), model.fit(X, y, exposure=np.ones(500)).predict(X)
    np.testing.assert_allclose(exposed, plain, rtol=0.5)
    np.testing.assert_allclose(exposed.mean(axis=0), y.mean(axis=0), rtol=0.1)
    small = model.fit(X, y, exposure=np.full(500, 1e-6))
    np.testing.assert_allclose(1e-6 * small.predict(X), exposed, rtol=1e-6)


@pytest.mark.parametrize("name", ["poisson", "gamma", "tweedie", "poisson_nll"])
@pytest.mark.parametrize("offset", [-1000.0, -50.0, 36.0, 50.0, 300.0, 1000.0])
def test_large_constant_offsets_are_taken_back(name, offset):
    X, y, _ = table()
    y = np.round(np.exp(y)) + 1
    plain = BoostGradRegressor(name, **PARAMETERS).fit(X, y)
    if name == "poisson_nll" and offset == 1000.0:
        offset = 250.0  # whose exponential is that of no rate
    moved = BoostGradRegressor(name, **PARAMETERS).fit(X, y, offset=offset)
    np.testing.assert_allclose(moved.predict(X, offset=offset), plain.predict(X), rtol=1e-6)


@pytest.mark.parametrize(
    "values, message",
    [
        (["1", "2", "x"], "offset must hold numbers: row 2 is 'x'"),
        ([[1, "y"], [1, 2], [3, 4]], "offset must hold numbers: row 0, column 1, is 'y'"),
        ("text", "offset must hold numbers"),
    ],
)
def test_offsets_that_are_no_numbers(values, message):
    with pytest.raises(ValueError, match=message):
        BoostGradRegressor().fit(np.zeros((3, 1)), np.arange(3.0), offset=values)
