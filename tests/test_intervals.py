"""Prediction intervals and prediction sets of the estimators: coverage, where it comes from, what is kept of it."""

import pickle
from contextlib import nullcontext
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GroupKFold, RepeatedKFold, ShuffleSplit, TimeSeriesSplit

from boostgrad import BoostGradClassifier, BoostGradDataset, BoostGradRanker, BoostGradRegressor, BoostGradSurvival
from boostgrad.conformal import ConformityScores
from boostgrad.losses import (
    CallableLoss,
    DistributionLoss,
    Expectile,
    MultinomialLogLoss,
    NormalNLL,
    registered_losses,
)
from boostgrad.native import available_isas, isa, use_isa

SMALL = {"n_estimators": 15, "max_leaf_nodes": 6, "learning_rate": 0.3, "random_state": 0, "n_jobs": 1}
QUANTILES = {"loss": "quantile", "quantile": [0.05, 0.5, 0.95]}


def numbers(n, seed):
    """Noise that differs from row to row."""
    rng = np.random.default_rng(seed)
    X = rng.random((n, 3))
    return X, 2 * X[:, 0] + (0.1 + X[:, 1]) * rng.standard_normal(n)


def counts(n, seed):
    rng = np.random.default_rng(seed)
    X = rng.random((n, 3))
    return X, rng.poisson(np.exp(2 * X[:, 0])).astype(float)


def classes(n, seed, n_classes=3):
    rng = np.random.default_rng(seed)
    X = rng.random((n, 3))
    score = X[:, 0] + 0.3 * rng.standard_normal(n)
    return X, np.digitize(score, [0.7] if n_classes == 2 else [0.3, 0.9])


def covered(y, interval):
    return (interval[..., 0] <= y) & (y <= interval[..., 1])


def holds(model, X, y, *args, **options):
    return model.predict_set(X, *args, **options)[np.arange(len(y)), np.searchsorted(model.classes_, y)]


def same_scores(one, other, rtol=0.0):
    for a, b in zip(one.conformity_scores_, other.conformity_scores_, strict=True):
        assert a.n_rows == b.n_rows
        np.testing.assert_allclose(a.score, b.score, rtol=rtol, atol=rtol)
        np.testing.assert_allclose(a.share, b.share, rtol=rtol, atol=1e-12)


# ---- coverage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coverage", [0.5, 0.9])
@pytest.mark.parametrize(
    "options, problem",
    [
        ({}, numbers),
        (QUANTILES, numbers),
        ({"loss": "normal_nll"}, numbers),
        ({"loss": "poisson"}, counts),
        ({"loss": "negative_binomial_nll"}, counts),
    ],
    ids=["residuals", "quantiles", "normal", "poisson", "counts"],
)
def test_coverage_of_intervals_is_what_the_theorem_says(options, problem, coverage, seed):
    """20 calibration rows, so that a rank too low or too high by one would be seen: coverage changes by 0.048."""
    n, times, new = 20, 1500, 5
    model = BoostGradRegressor(**SMALL, **options).fit(*problem(500, seed))
    X, y = problem(times * (n + new), seed + 1)
    hits = []
    for rows in np.split(np.arange(len(y)), times):
        model.calibrate(X[rows[:n]], y[rows[:n]])
        hits.append(covered(y[rows[n:]], model.predict_interval(X[rows[n:]], coverage)).mean())
    expected = np.ceil((n + 1) * coverage) / (n + 1)
    error = np.std(hits) / np.sqrt(times)
    assert np.mean(hits) > expected - 4.5 * error
    if problem is numbers:  # of counts many have equal scores, and more are covered
        assert np.mean(hits) < expected + 4.5 * error


@pytest.mark.parametrize("n_classes, class_conditional", [(2, False), (3, False), (3, True)])
def test_coverage_of_sets_is_what_the_theorem_says(n_classes, class_conditional, seed):
    """Boosted trees give few different probabilities, so that more than enough may be covered."""
    n, times, new = 60, 800, 10
    model = BoostGradClassifier(**SMALL).fit(*classes(3000, seed, n_classes))
    X, y = classes(times * (n + new), seed + 1, n_classes)
    hits, of_class = [], []
    for rows in np.split(np.arange(len(y)), times):
        model.calibrate(X[rows[:n]], y[rows[:n]])
        hits.append(holds(model, X[rows[n:]], y[rows[n:]], 0.8, class_conditional=class_conditional))
        of_class.append(y[rows[n:]])
    hits, of_class = np.concatenate(hits), np.concatenate(of_class)
    parts = [of_class == k for k in range(n_classes)] if class_conditional else [slice(None)]
    for part in parts:
        error = 0.5 / np.sqrt(times)  # rows of a calibration depend on each other
        assert 0.8 - 4.5 * error * 0.5 < hits[part].mean() < 0.9


@pytest.mark.parametrize("options", [{}, QUANTILES])
def test_rows_that_stopped_the_training_calibrate_it_well_enough(options, seed):
    """They chose the number of trees, which no theorem allows; over many seeds it is not seen."""
    settings = SMALL | options | {"n_estimators": 60, "early_stopping": True, "validation_fraction": 0.25}
    found = []
    for k in range(40):
        X, y = numbers(2400, seed + k)
        model = BoostGradRegressor(**settings).fit(X[:1200], y[:1200])
        assert model.conformity_scores_[0].n_rows == 300
        found.append(covered(y[1200:], model.predict_interval(X[1200:])).mean())
    assert abs(np.mean(found) - 0.9) < 4.5 * 0.022 / np.sqrt(40)  # sd of one: that of Beta(271, 30), and of 1200 rows


def test_folds(seed):
    found = {"numbers": [], "classes": []}
    for k in range(30):
        X, y = numbers(1300, seed + k)
        model = BoostGradRegressor(**SMALL).fit(X[:300], y[:300]).calibrate(X[:300], y[:300], cv=5)
        found["numbers"].append(covered(y[300:], model.predict_interval(X[300:])).mean())
        X, y = classes(1300, seed + k)
        model = BoostGradClassifier(**SMALL).fit(X[:300], y[:300]).calibrate(X[:300], y[:300], cv=5)
        found["classes"].append(holds(model, X[300:], y[300:]).mean())
    for of_kind in found.values():
        assert -4.5 * 0.02 / np.sqrt(30) < np.mean(of_kind) - 0.9 < 0.03


def test_weights_say_which_rows_are_to_be_covered(seed):
    """Rows for calibration are drawn evenly, new ones with a probability that grows with the noise."""
    rng = np.random.default_rng(seed)
    model = BoostGradRegressor(**SMALL).fit(*numbers(500, seed))
    X, y = numbers(40_000, seed + 1)
    T, t = numbers(40_000, seed + 2)
    new = rng.random(40_000) < T[:, 1] ** 3
    model.calibrate(X, y)
    assert covered(t[new], model.predict_interval(T[new])).mean() < 0.85
    model.calibrate(X, y, sample_weight=X[:, 1] ** 3)
    assert abs(covered(t[new], model.predict_interval(T[new])).mean() - 0.9) < 0.02


def test_quantiles_follow_the_noise(seed):
    X, y = numbers(4000, seed)
    widths = {}
    quiet, noisy = (np.column_stack([X[:500, 0], np.full(500, x), X[:500, 2]]) for x in (0.05, 0.95))
    for name, options in (("residuals", {}), ("quantiles", QUANTILES), ("normal", {"loss": "normal_nll"})):
        model = BoostGradRegressor(**SMALL | options | {"early_stopping": True}).fit(X, y)
        low, high = (np.ptp(model.predict_interval(rows), axis=1).mean() for rows in (quiet, noisy))
        widths[name] = high / low
    assert widths["residuals"] == pytest.approx(1) and min(widths["quantiles"], widths["normal"]) > 2


# ---- where scores come from ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize(
    "options, problem",
    [({}, numbers), (QUANTILES, numbers), ({"loss": "gamma_nll"}, counts), ({"loss": "tweedie"}, counts)],
)
def test_held_out_rows_give_what_calibrating_with_them_gives(options, problem, early_stopping, seed):
    X, y = problem(1000, seed)
    y = y + (options.get("loss") == "gamma_nll")
    weight = np.random.default_rng(seed).integers(0, 3, 1000)
    given = {"X_val": X[700:], "y_val": y[700:], "sample_weight_val": weight[700:]}
    settings = SMALL | options | {"n_estimators": 40, "early_stopping": early_stopping, "n_iter_no_change": 3}
    model = BoostGradRegressor(**settings).fit(X[:700], y[:700], weight[:700], **given)
    again = BoostGradRegressor(**settings).fit(X[:700], y[:700], weight[:700], **given)
    same_scores(model, again.calibrate(X[700:], y[700:], weight[700:]), rtol=1e-9)
    assert (model.n_iter_ < 40) == early_stopping


def test_a_model_that_never_improves_is_calibrated_as_it_is(seed):
    X, y = numbers(300, seed)
    settings = SMALL | {"learning_rate": 50.0, "n_iter_no_change": 2, "early_stopping": True}
    model = BoostGradRegressor(**settings).fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:])
    assert model.n_iter_ == 1
    scores = model.conformity_scores_
    model.calibrate(X[200:], y[200:])
    np.testing.assert_allclose(scores[0].score, model.conformity_scores_[0].score, rtol=1e-12)


def test_offset_exposure_and_init(seed):
    X, y = counts(1200, seed)
    rng = np.random.default_rng(seed)
    offset, exposure = rng.normal(size=1200) * 0.1, 0.5 + rng.random(1200)
    a, b = slice(0, 800), slice(800, 1200)
    model = BoostGradRegressor("poisson", **SMALL)
    model.fit(
        X[a], y[a], offset=offset[a], exposure=exposure[a], X_val=X[b], y_val=y[b], offset_val=offset[b],
        exposure_val=exposure[b],
    )  # fmt: skip
    first = model.predict_interval(X[b], offset=offset[b], exposure=exposure[b])
    assert 0.85 < covered(y[b], first).mean() < 0.96
    model.calibrate(X[b], y[b], offset=offset[b], exposure=exposure[b])
    np.testing.assert_allclose(
        first, model.predict_interval(X[b], offset=offset[b], exposure=exposure[b]), rtol=1e-9, atol=1e-12
    )
    model.calibrate(X, y, offset=offset, exposure=exposure, cv=3)
    assert 0.8 < covered(y[b], model.predict_interval(X[b], offset=offset[b], exposure=exposure[b])).mean() < 1
    X, y = numbers(800, seed)
    started = BoostGradRegressor(**SMALL, init=LinearRegression()).fit(X[:500], y[:500], X_val=X[500:], y_val=y[500:])
    scores = started.conformity_scores_
    np.testing.assert_allclose(
        scores[0].score, started.calibrate(X[500:], y[500:]).conformity_scores_[0].score, rtol=1e-9
    )
    assert 0.8 < covered(y, started.calibrate(X, y, cv=3).predict_interval(X)).mean() < 1


def test_class_weights_do_not_count(seed):
    X, y = classes(1200, seed, 2)
    weight = 0.5 + np.random.default_rng(seed).random(1200)
    for given in (None, weight):
        parts = {"sample_weight": None, "sample_weight_val": None}
        if given is not None:
            parts = {"sample_weight": given[:800], "sample_weight_val": given[800:]}
        model = BoostGradClassifier(**SMALL, class_weight={0: 1.0, 1: 20.0})
        model.fit(X[:800], y[:800], X_val=X[800:], y_val=y[800:], **parts)
        again = pickle.loads(pickle.dumps(model))
        same_scores(model, again.calibrate(X[800:], y[800:], parts["sample_weight_val"]), rtol=1e-9)
        assert holds(model, X[800:], y[800:]).mean() > 0.87


def test_datasets_that_hold_rows_out(seed):
    X, y = numbers(2000, seed)
    settings = SMALL | {"early_stopping": True}
    data = BoostGradDataset(X[:1500], y[:1500])
    validation = BoostGradDataset(X[1500:], y[1500:], reference=data)
    model = BoostGradRegressor(**settings).fit(data, X_val=validation)
    same_scores(model, BoostGradRegressor(**settings).fit(X[:1500], y[:1500], X_val=X[1500:], y_val=y[1500:]))
    assert BoostGradRegressor(**settings).fit(data).conformity_scores_[0].n_rows == 150
    with pytest.raises(TypeError, match="BoostGradDataset"):
        model.calibrate(data, y[:1500], cv=5)
    with pytest.raises(ValueError, match="cv holds no pairs of rows"):
        model.calibrate(X, y, cv=[])


def test_folds_by_hand(seed):
    X, y = numbers(200, seed)
    weight = np.random.default_rng(seed).random(200)
    model = BoostGradRegressor(**SMALL, early_stopping=True, validation_fraction=0.3).fit(X, y)
    splitter = TimeSeriesSplit(3)  # the first rows are in no test fold
    residuals, rows = [], []
    for train, test in splitter.split(X):
        fold = BoostGradRegressor(**SMALL | {"n_estimators": model.n_iter_}, early_stopping=False)
        fold.fit(X[train], y[train], weight[train])
        residuals.append(np.abs(y[test] - fold.predict(X[test])))
        rows.append(test)
    model.calibrate(X, y, weight, cv=splitter)
    score, w = np.concatenate(residuals), weight[np.concatenate(rows)]
    expected = ConformityScores.of(score, w)
    np.testing.assert_allclose(model.conformity_scores_[0].score, expected.score, rtol=1e-12)
    np.testing.assert_allclose(model.conformity_scores_[0].share, expected.share, rtol=1e-12)
    same_scores(model, pickle.loads(pickle.dumps(model)).calibrate(X, y, weight, cv=list(splitter.split(X))))
    splitter = ShuffleSplit(4, test_size=0.5, random_state=0)  # some rows are in several test folds
    several = model.calibrate(X, y, cv=splitter).conformity_scores_
    assert several[0].n_rows == len(np.unique(np.concatenate([test for _, test in splitter.split(X)]))) < 200


@pytest.mark.parametrize("container", ["list", "pandas", "polars", "arrow", "csr", "coo"])
def test_folds_of_any_table(container, seed):
    X, y = numbers(150, seed)
    expected = BoostGradRegressor(**SMALL).fit(X, y).calibrate(X, y, cv=3)
    if container == "list":
        table, target = X.tolist(), y.tolist()
    elif container in ("csr", "coo"):
        table, target = getattr(sparse, f"{container}_array")(X), y
    else:
        library = pytest.importorskip({"arrow": "pyarrow"}.get(container, container))
        columns = {f"x{j}": X[:, j] for j in range(3)}
        table = library.table(columns) if container == "arrow" else library.DataFrame(columns)
        target = library.array(y) if container == "arrow" else library.Series(y)
    same_scores(expected, BoostGradRegressor(**SMALL).fit(table, target).calibrate(table, target, cv=3), rtol=1e-9)


def test_a_fold_without_a_class(seed):
    X, y = classes(120, seed)
    y = np.where(y == 1, 5, y)
    y[0] = 9  # once: wherever it is tested, it is unknown
    model = BoostGradClassifier(**SMALL).fit(X, y).calibrate(X, y, cv=4)
    assert model.conformity_scores_[-1].score.tolist() == [1.0]
    assert model.predict_set(X, class_conditional=True)[:, -1].all()  # nothing is known of it: it is always in
    assert model.predict_set(X).shape == (120, 4) and 0.85 < holds(model, X, y).mean()


# ---- several targets -------------------------------------------------------------------------------------------------


def test_several_targets(seed):
    X, y = numbers(1500, seed)
    Y = np.column_stack([y, 100 * X[:, 0] + X[:, 2], -y])
    Y[::7, 1] = np.nan
    model = BoostGradRegressor(**SMALL).fit(X[:700], Y[:700], X_val=X[700:], y_val=Y[700:])
    interval = model.predict_interval(X[700:], 0.8)
    assert interval.shape == (800, 3, 2)
    rates = [covered(Y[700:, k], interval[:, k])[~np.isnan(Y[700:, k])].mean() for k in range(3)]
    np.testing.assert_allclose(rates, 0.8, atol=0.01)
    assert [scores.n_rows for scores in model.conformity_scores_] == [800, (~np.isnan(Y[700:, 1])).sum(), 800]
    same_scores(model, pickle.loads(pickle.dumps(model)).calibrate(X[700:], Y[700:]), rtol=1e-9)
    assert model.calibrate(X, Y, cv=3).predict_interval(X).shape == (1500, 3, 2)
    with pytest.raises(ValueError, match="y must have as many columns as y in fit"):
        model.calibrate(X, Y[:, :2])


# ---- which pair, and where intervals end -----------------------------------------------------------------------------


def test_the_pair_of_quantiles_that_is_meant_to_cover_it(seed):
    X, y = numbers(1000, seed)
    model = BoostGradRegressor(loss="quantile", quantile=[0.05, 0.25, 0.5, 0.75, 0.95], **SMALL)
    model.fit(X[:600], y[:600], X_val=X[600:], y_val=y[600:])
    quantiles = model.predict(X)
    for coverage, (low, high), kind in ((0.9, (0, 4), 0), (0.8, (0, 4), 0), (0.5, (1, 3), 1), (0.1, (2, 2), 2)):
        t = model.conformity_scores_[kind].threshold(coverage)
        middle = (quantiles[:, low] + quantiles[:, high]) / 2
        interval = model.predict_interval(X, coverage)
        np.testing.assert_allclose(interval[:, 0], np.minimum(quantiles[:, low] - t, middle))
        np.testing.assert_allclose(interval[:, 1], np.maximum(quantiles[:, high] + t, middle))


@pytest.mark.parametrize("loss", ["poisson", "gamma", "tweedie", "squared_log_error", "cross_entropy", "mape"])
def test_intervals_end_where_targets_do(loss, seed):
    X, y = counts(1500, seed)
    y = np.minimum(y / 5, 1) if loss == "cross_entropy" else y + (loss == "gamma")
    model = BoostGradRegressor(loss, **SMALL).fit(X[:800], y[:800], X_val=X[800:], y_val=y[800:])
    interval = model.predict_interval(X, 0.95)
    low, high = model._loss.bounds
    assert (interval >= low).all() and (interval <= high).all() and (interval[:, 0] <= interval[:, 1]).all()
    assert 0.93 < covered(y[800:], interval[800:]).mean()
    width = np.ptp(interval, axis=1)
    if loss in ("poisson", "gamma", "tweedie"):
        upper = interval[:, 1] - model.predict(X)
        power = {"poisson": 1.0, "gamma": 2.0, "tweedie": 1.5}[loss]
        np.testing.assert_allclose(
            upper / model.predict(X) ** (power / 2), upper[0] / model.predict(X)[0] ** (power / 2)
        )
    else:
        assert np.isfinite(width).all()


@pytest.mark.parametrize(
    "name", [name for name, loss in registered_losses().items() if issubclass(loss, DistributionLoss)]
)
def test_tails_are_those_of_the_distribution(name, seed):
    rng = np.random.default_rng(seed)
    loss = registered_losses()[name]()
    raw = rng.normal(size=(loss.n_outputs, 500))
    y = loss.distribution(raw).rvs(random_state=rng)
    for found, expected in zip(loss.tails(y, raw), DistributionLoss.tails(loss, y, raw), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-14)


def test_losses_of_ones_own(tmp_path, seed):
    X, y = numbers(900, seed)
    loss = CallableLoss(
        lambda y, raw, w: (raw - y, 1.0), value=lambda y, raw: (raw - y) ** 2, inverse_link=lambda raw: raw
    )
    model = BoostGradRegressor(loss, **SMALL).fit(X[:600], y[:600], X_val=X[600:], y_val=y[600:])
    assert 0.85 < covered(y[600:], model.predict_interval(X[600:])).mean() < 0.95
    with pytest.warns(UserWarning, match="no registered name"):
        model.save(tmp_path / "model.bg")
    loaded = BoostGradRegressor.load(tmp_path / "model.bg")
    for call in (lambda: loaded.predict_interval(X), lambda: loaded.calibrate(X, y)):
        with pytest.raises(ValueError, match="could not hold its loss"):
            call()


def test_a_distribution_that_is_not_told(seed):
    class Own(NormalNLL):
        distribution = DistributionLoss.distribution

    X, y = numbers(300, seed)
    model = BoostGradRegressor(Own(), **SMALL, early_stopping=True).fit(X, y)
    with pytest.raises(ValueError, match="no method distribution"):
        model.predict_interval(X)


# ---- what is kept ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("face, problem", [(BoostGradRegressor, numbers), (BoostGradClassifier, classes)])
def test_files_and_pickles(face, problem, tmp_path, seed):
    X, y = problem(800, seed)
    predict = "predict_interval" if face is BoostGradRegressor else "predict_set"
    model = face(**SMALL, early_stopping=True).fit(X, y)
    stopped = model.conformity_scores_
    for calibrate in (lambda: None, lambda: model.calibrate(X, y, cv=3)):
        calibrate()
        expected = getattr(model, predict)(X, 0.7)
        model.save(tmp_path / "model.bg")
        for again in (face.load(tmp_path / "model.bg"), pickle.loads(pickle.dumps(model))):
            same_scores(model, again)
            np.testing.assert_array_equal(getattr(again, predict)(X, 0.7), expected)
            again.save(tmp_path / "again.bg")
            assert (tmp_path / "again.bg").read_bytes() == (tmp_path / "model.bg").read_bytes()
    assert model.conformity_scores_[0].n_rows == 800 and stopped[0].n_rows == 80
    model.set_params(early_stopping=False).fit(X, y)
    assert not hasattr(model, "conformity_scores_")


def test_a_file_grows_by_little(tmp_path, seed):
    X, y = numbers(60_000, seed)
    model = BoostGradRegressor(**SMALL, early_stopping=True, validation_fraction=0.5).fit(X, y)
    model.save(tmp_path / "with.bg")
    del model.conformity_scores_
    model.save(tmp_path / "without.bg")
    assert (tmp_path / "with.bg").stat().st_size - (tmp_path / "without.bg").stat().st_size < 17_000


@pytest.mark.parametrize("face, problem", [(BoostGradRegressor, numbers), (BoostGradClassifier, classes)])
def test_bytes_do_not_depend_on_threads_or_instructions(face, problem, tmp_path, seed):
    X, y = problem(20_000, seed)
    options = QUANTILES if face is BoostGradRegressor else {}
    was, found = isa(), set()
    try:
        for n_jobs, name in [*product([1, 2, 3, 5], [was]), *product([2], available_isas())]:
            use_isa(name)
            face(**SMALL | options | {"n_estimators": 4, "n_jobs": n_jobs, "early_stopping": True}).fit(
                X, y
            ).set_params(n_jobs=1).save(tmp_path / "model.bg")
            found.add((tmp_path / "model.bg").read_bytes())
    finally:
        use_isa(was)
    assert len(found) == 1


def test_models_without_scores_say_what_to_do():
    X, y = numbers(100, 0)
    for model in (
        BoostGradRegressor(**SMALL).fit(X, y),
        BoostGradRegressor.load(Path(__file__).parent / "io" / "fixtures" / "v1_regressor.bg"),
    ):
        with pytest.raises(ValueError, match=r"early_stopping=True .* calibrate\(X, y, cv=5\)"):
            model.predict_interval(X)
    with pytest.raises(ValueError, match="predict_set needs rows that the model was not trained on"):
        BoostGradClassifier(**SMALL).fit(X, y > 1).predict_set(X)


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_coverage_and_rows():
    X, y = numbers(200, 0)
    model = BoostGradRegressor(**SMALL).fit(X, y).calibrate(X[:30], y[:30])
    for coverage in (0, 1, 90, "a", None, True):
        with pytest.raises(ValueError, match="coverage must be"):
            model.predict_interval(X, coverage)
    with pytest.raises(ValueError, match="coverage=0.99 needs 99 calibration rows or more .* has 30"):
        model.predict_interval(X, 0.99)
    assert model.predict_interval(X, np.float32(0.9)).shape == (200, 2)
    classifier = BoostGradClassifier(**SMALL).fit(X, y > 1).calibrate(X[:30], y[:30] > 1)
    with pytest.raises(ValueError, match="needs 99 calibration rows"):
        classifier.predict_set(X, 0.99)
    assert classifier.predict_set(X, 0.99, class_conditional=True).all()


@pytest.mark.parametrize("options", [{"loss": "quantile", "quantile": 0.9}, {"loss": Expectile(0.9)}])
def test_one_sided_losses(options):
    X, y = numbers(200, 0)
    model = BoostGradRegressor(**SMALL, **options).fit(X[:100], y[:100], X_val=X[100:], y_val=y[100:])
    assert not hasattr(model, "conformity_scores_")
    for call in (lambda: model.predict_interval(X), lambda: model.calibrate(X, y)):
        with pytest.raises(ValueError, match=r"quantile=\[0.05, 0.95\]"):
            call()
    median = BoostGradRegressor(loss="quantile", quantile=0.5, **SMALL).fit(X, y)
    assert median.calibrate(X, y, cv=3).predict_interval(X).shape == (200, 2)


def test_calibrate_refuses_and_leaves_the_model_as_it_was():
    X, y = numbers(200, 0)
    model = BoostGradRegressor("poisson", **SMALL).fit(X, np.abs(y)).calibrate(X, np.abs(y))
    before = model.conformity_scores_
    bad = [
        ((X, y), {}, "not negative"),
        ((X, np.abs(y)[:5]), {}, "inconsistent numbers of samples"),
        ((X, np.abs(y), -np.ones(200)), {}, "Negative values in data passed to `sample_weight`"),
        ((X[:, :2], np.abs(y)), {}, "features"),
        ((X, np.abs(y)), {"cv": 1}, "cv must be None, a number of folds"),
        ((X, np.abs(y)), {"cv": 201}, "cv must be None, a number of folds"),
        ((X, np.abs(y)), {"cv": "five"}, "cv must be None, a number of folds"),
        ((X, np.abs(y)), {"cv": 3, "offset": np.zeros(5)}, "offset must have one number"),
        ((X, np.abs(y)), {"exposure": np.zeros(200)}, "exposure must be positive"),
        ((X, np.abs(y)), {"cv": GroupKFold(3)}, "groups"),
    ]
    for given, options, message in bad:
        with pytest.raises(ValueError, match=message):
            model.calibrate(*given, **options)
        assert model.conformity_scores_ is before
    classifier = BoostGradClassifier(**SMALL).fit(X, y > 1)
    with pytest.raises(ValueError, match="y, row 3: label 7 does not occur in y of fit"):
        BoostGradClassifier(**SMALL).fit(X, (y > 1) + 1).calibrate(X, np.r_[1, 1, 2, 7, np.ones(196, int)])
    with pytest.raises(ValueError, match="Labels in y are strings"):
        classifier.calibrate(X, np.where(y > 1, "a", "b"))


def test_where_there_are_none():
    X, y = numbers(100, 0)
    labels = BoostGradClassifier(**SMALL, early_stopping=True).fit(X, np.column_stack([y > 1, y > 0]).astype(int))
    assert not hasattr(labels, "conformity_scores_")
    for call in (lambda: labels.predict_set(X), lambda: labels.calibrate(X, y > 1)):
        with pytest.raises(ValueError, match="one label a row"):
            call()
    for face in (BoostGradRanker, BoostGradSurvival):
        assert not {"calibrate", "predict_interval", "predict_set"} & set(dir(face))
    for method in (BoostGradRegressor().predict_interval, BoostGradClassifier().predict_set):
        with pytest.raises(NotFittedError):
            method(X)
    for model in (BoostGradRegressor(), BoostGradClassifier()):
        with pytest.raises(NotFittedError):
            model.calibrate(X, y)


def test_counts_that_vary_more_than_their_distribution_says():
    """The upper ends are so far out that 1 - tail is 1."""
    rng = np.random.default_rng(0)
    X = rng.random((2000, 3))
    y = np.where(rng.random(2000) < 0.85, rng.poisson(np.exp(X[:, 0])), rng.poisson(30 * np.exp(X[:, 0])))
    model = BoostGradRegressor("poisson_nll", early_stopping=True, random_state=0).fit(X, y)
    interval = model.predict_interval(X, 0.95)
    assert np.isfinite(interval).all() and (interval == np.floor(interval)).all()
    assert 0.91 < ((interval[:, 0] <= y) & (y <= interval[:, 1])).mean() < 0.99
    wild = rng.poisson(1e4 * rng.gamma(4, 0.25, 2000))
    model = BoostGradRegressor("poisson_nll", early_stopping=True, random_state=0).fit(X, wild)
    with pytest.raises(ValueError, match="coverage=0.9 cannot be had, .* are ruled out by what the model predicts"):
        model.predict_interval(X[:2], 0.9)


def test_the_target_without_enough_rows_is_named():
    X, y = numbers(500, 0)
    y = np.column_stack([y, np.where(np.arange(500) < 490, np.nan, y)])
    model = BoostGradRegressor(early_stopping=True, **SMALL).fit(X, y)
    with pytest.raises(ValueError, match=r"target 1: coverage=0.95 needs 19 calibration rows"):
        model.predict_interval(X[:2], 0.95)


def test_an_init_that_knows_the_rows_is_warned_of():
    X, y = numbers(300, 0)
    known = BoostGradRegressor(init=LinearRegression().fit(X, y), **SMALL).fit(X, y)
    with pytest.warns(UserWarning, match="init was fitted before") as caught:
        known.calibrate(X, y, cv=3)
    assert caught[0].filename == __file__
    BoostGradRegressor(init=LinearRegression(), **SMALL).fit(X, y).calibrate(X, y, cv=3)


@pytest.mark.parametrize("fixed", ["offset", "init", "loss"])
def test_a_fold_without_a_class_that_something_else_has(fixed):
    X, y = classes(200, 0)
    y = np.where(np.arange(200) == 0, "rare", np.array(["a", "b", "b"])[y])
    init = LogisticRegression().fit(X, y) if fixed == "init" else None
    loss = MultinomialLogLoss(3) if fixed == "loss" else "log_loss"
    given = {"offset": np.zeros((200, 3))} if fixed == "offset" else {}
    model = BoostGradClassifier(init=init, loss=loss, **SMALL).fit(X, y, **given)
    with pytest.warns() if fixed == "init" else nullcontext():  # noqa: PT031
        with pytest.raises(ValueError, match=f"cv: class 'rare' does not occur .* of fold ., but {fixed} is one of"):
            model.calibrate(X, y, cv=4, **given)
    assert not hasattr(model, "conformity_scores_")


def test_folds_as_masks():
    X, y = numbers(200, 0)
    even = np.arange(200) % 2 == 0
    by_mask = BoostGradRegressor(**SMALL).fit(X, y).calibrate(X, y, cv=[(even, ~even), (~even, even)])
    rows = np.flatnonzero(even), np.flatnonzero(~even)
    by_number = BoostGradRegressor(**SMALL).fit(X, y).calibrate(X, y, cv=[rows, rows[::-1]])
    np.testing.assert_array_equal(by_mask.predict_interval(X), by_number.predict_interval(X))
    assert by_mask.conformity_scores_[0].n_rows == 200
    small = [tuple(part.astype(np.uint8) for part in pair) for pair in (rows, rows[::-1])]
    by_small = BoostGradRegressor(**SMALL).fit(X, y).calibrate(X, y, cv=small)
    np.testing.assert_array_equal(by_small.predict_interval(X), by_mask.predict_interval(X))


@pytest.mark.parametrize(
    "pair, message",
    [
        ((1, 2, 3), r"cv, pair 0, must be rows to train on and rows to test with. Got \(1, 2, 3\)"),
        (5, "cv, pair 0, must be rows to train on and rows to test with. Got 5"),
        (([0, 1], []), "cv, pair 0: the rows to test with must be numbers of some of the 50 rows"),
        (([0.5], [1]), "cv, pair 0: the rows to train on must be"),
        (([0, 1], [50]), "cv, pair 0: the rows to test with must be"),
        ((np.ones(5, bool), [1]), "cv, pair 0: the rows to train on must be"),
    ],
)
def test_pairs_that_are_none(pair, message):
    X, y = numbers(50, 0)
    with pytest.raises(ValueError, match=message):
        BoostGradRegressor(**SMALL).fit(X, y).calibrate(X, y, cv=[pair])


def test_rows_in_several_folds_count_once():
    X, y = numbers(20, 0)
    model = BoostGradRegressor(**SMALL).fit(X, y).calibrate(X, y, cv=RepeatedKFold(n_splits=4, n_repeats=20))
    assert model.conformity_scores_[0].n_rows == 20
    with pytest.raises(ValueError, match="needs 99 calibration rows"):
        model.predict_interval(X, 0.99)


def test_class_conditional_is_a_bool():
    X, y = classes(100, 0)
    model = BoostGradClassifier(**SMALL).fit(X, y).calibrate(X, y)
    with pytest.raises(ValueError, match="class_conditional must be True or False. Got 'no' instead"):
        model.predict_set(X, class_conditional="no")
