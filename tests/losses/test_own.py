"""Losses of one's own, of functions of whole arrays."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from boostgrad import BoostGradClassifier, BoostGradRanker, BoostGradRegressor, BoostGradSurvival
from boostgrad.losses import AutodiffLoss, CallableLoss, GradientPairs, Loss, UnnamedLoss, get_loss
from tests.losses.test_losses import derivatives

PARAMETERS = {"n_estimators": 20, "random_state": 0}


def table(n=600, n_classes=2):
    rng = np.random.default_rng(0)
    X = rng.random((n, 4))
    y = X[:, 0] + 0.2 * rng.standard_normal(n)
    return X, y, np.digitize(y, [0.4, 0.7][: n_classes - 1])


def half_square(y, raw, sample_weight):
    w = 1.0 if sample_weight is None else sample_weight
    return w * (raw - y), w * np.ones_like(raw)


def log_loss(y, raw, sample_weight):
    w = 1.0 if sample_weight is None else sample_weight
    if raw.ndim == 1:
        p = 1 / (1 + np.exp(-raw))
        return w * (p - y), w * p * (1 - p)
    p = np.exp(raw - raw.max(axis=0))
    p /= p.sum(axis=0)
    return w * (p - (y == np.arange(len(raw))[:, None])), w * p * (1 - p)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_function_is_the_built_in_loss(weighted):
    X, y, _ = table()
    weight = np.random.default_rng(1).random(len(y)) if weighted else None
    own = BoostGradRegressor(half_square, **PARAMETERS).fit(X, y, weight)
    built_in = BoostGradRegressor(**PARAMETERS).fit(X, y, weight)
    np.testing.assert_allclose(own.predict(X), built_in.predict(X), rtol=1e-6, atol=1e-6)
    constant = BoostGradRegressor(CallableLoss(half_square, constant_hessian=1.0), **PARAMETERS).fit(X, y, weight)
    np.testing.assert_allclose(constant.predict(X), built_in.predict(X), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scalar", [False, True])
@pytest.mark.parametrize("size", [1.0, 0.25])
def test_one_hessian_of_all_rows_is_noticed(scalar, size):
    """The trees are those of a loss that states it, bit by bit."""
    X, y, _ = table()

    def sized(y, raw, sample_weight):
        return size * (raw - y), size if scalar else np.full_like(raw, size)

    own = BoostGradRegressor(sized, **PARAMETERS).fit(X, y)
    stated = BoostGradRegressor(CallableLoss(sized, constant_hessian=size), **PARAMETERS).fit(X, y)
    np.testing.assert_array_equal(own.predict(X), stated.predict(X))
    if size == 1.0:
        loss = CallableLoss(sized, value=lambda y, raw: 0.5 * (raw - y) ** 2)
        own = BoostGradRegressor(loss, init=BoostGradRegressor(n_estimators=2, random_state=0), **PARAMETERS).fit(X, y)
        start = BoostGradRegressor(init=BoostGradRegressor(n_estimators=2, random_state=0), **PARAMETERS).fit(X, y)
        for a, b in zip(own.ensemble_.trees[1:], start.ensemble_.trees[1:], strict=True):
            np.testing.assert_allclose(a.leaf_value, b.leaf_value, rtol=1e-9, atol=1e-12)
            np.testing.assert_array_equal(a.threshold, b.threshold)


@pytest.mark.parametrize("other", [0.0, -1.0, 2.0])
def test_hessians_may_be_one_number_in_some_iterations_alone(other):
    """What is not one positive number for all rows is stored row by row, before and after."""
    loss = CallableLoss(half_square)
    y = np.arange(6.0)
    pairs = loss.pairs(6, weighted=False)
    loss.gradients(y, np.zeros((1, 6)), None, pairs)
    assert pairs.constant_hessian == 1.0 and pairs.pairs.shape == (1, 6, 1)
    np.testing.assert_array_equal(pairs.pairs[0, :, 0], -y)
    hessian = np.full((1, 6), other)
    if other > 0:
        hessian[0, 5] = 3.0
    pairs.largest[:] = 0
    pairs.fill_all(2 * np.ones((1, 6)), hessian)
    assert pairs.constant_hessian is None and pairs.pairs.shape == (1, 6, 2)
    np.testing.assert_array_equal(pairs.pairs[0, :, 0], 2.0)
    np.testing.assert_array_equal(pairs.pairs[0, :, 1], hessian[0])
    np.testing.assert_array_equal(pairs.largest, [[2.0, np.abs(hessian).max()]])
    loss.gradients(y, np.zeros((1, 6)), None, pairs)
    assert pairs.constant_hessian == 1.0 and not np.isnan(pairs.pairs).any()
    of_others = GradientPairs.empty(1, 6, None)  # whose layout is not this loss's to change
    loss.gradients(y, np.zeros((1, 6)), None, of_others)
    np.testing.assert_array_equal(of_others.pairs[0], np.column_stack([-y, np.ones(6)]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("lane", [0, 1])
def test_what_is_not_finite_is_found_behind_other_rows(bad, lane):
    def broken(y, raw, sample_weight):
        pair = [raw - y, np.ones_like(raw)]
        pair[lane][20_000] = bad
        return pair

    X, y, _ = table(n=40_000)
    words = f"the {('gradient', 'hessian')[lane]} of loss 'CallableLoss' is {bad} at training row 20000"
    with pytest.raises(ValueError, match=words):
        BoostGradRegressor(broken, init=BoostGradRegressor(n_estimators=1), n_jobs=2).fit(X, y)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_function_of_classes_is_the_log_loss(n_classes):
    X, _, y = table(n_classes=n_classes)
    own = BoostGradClassifier(log_loss, **PARAMETERS).fit(X, y)
    built_in = BoostGradClassifier(**PARAMETERS).fit(X, y)
    np.testing.assert_allclose(own.predict_proba(X), built_in.predict_proba(X), atol=1e-5)
    np.testing.assert_array_equal(own.predict(X), own.classes_[own.predict_proba(X).argmax(axis=1)])


@pytest.mark.parametrize("start", [None, "estimator"])
@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_a_loss_of_classes_without_a_link_is_the_function(n_classes, start, tmp_path):
    """Its probabilities are those of the log loss wherever they are given, and the user's object stays as it is."""
    X, _, y = table(n_classes=n_classes)
    y = np.where(X[:, 1] > 0.8, 3, y) if n_classes == 4 else y
    init = LogisticRegression() if start else None
    loss = CallableLoss(log_loss, 1 if n_classes == 2 else n_classes)
    before = dict(vars(loss))
    model = BoostGradClassifier(loss, init=init, **PARAMETERS).fit(X, y)
    expected = BoostGradClassifier(log_loss, init=init, **PARAMETERS).fit(X, y)
    probability = model.predict_proba(X)
    np.testing.assert_allclose(probability.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_array_equal(probability, expected.predict_proba(X))
    for stage, of_function in zip(model.staged_predict_proba(X), expected.staged_predict_proba(X), strict=True):
        np.testing.assert_array_equal(stage, of_function)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), probability)
    assert model.loss is loss and model.get_params()["loss"] is loss and vars(loss) == before
    copied = clone(model)
    assert copied.loss.inverse is None
    np.testing.assert_array_equal(copied.fit(X, y).predict_proba(X), probability)
    if start is None:
        np.testing.assert_array_equal(model.predictor()(X[3]), probability[3])
        with pytest.warns(UserWarning, match="no registered name"):
            model.save(tmp_path / "model")
        again = BoostGradClassifier.load(tmp_path / "model")
        np.testing.assert_array_equal(again.decision_function(X), model.decision_function(X))


def test_scores_of_a_loss_of_classes_without_a_link():
    X, _, y = table(n_classes=3)
    settings = {"early_stopping": True, "scoring": "neg_log_loss", **PARAMETERS}
    own = BoostGradClassifier(CallableLoss(log_loss, 3), **settings).fit(X, y)
    built_in = BoostGradClassifier(**settings).fit(X, y)
    np.testing.assert_allclose(own.validation_score_, built_in.validation_score_, rtol=1e-4)


@pytest.mark.parametrize(
    ("n_classes", "link", "remedy"),
    [
        (2, lambda raw: 1 / (1 + np.exp(-raw)), r"BinaryLogLoss\(\)"),
        (3, lambda raw: 1 / (1 + np.exp(-raw[:2])), r"MultinomialLogLoss\(n_classes=3\)"),
    ],
)
def test_a_link_that_leaves_out_a_class_is_refused(n_classes, link, remedy):
    X, _, y = table(n_classes=n_classes)
    n_outputs = 1 if n_classes == 2 else n_classes
    words = rf"probabilities a row.*Leave its inverse_link out, or give it as boostgrad\.losses\.{remedy}"
    with pytest.raises(ValueError, match=words):
        BoostGradClassifier(CallableLoss(log_loss, n_outputs, inverse_link=link), **PARAMETERS).fit(X, y)
    with pytest.raises(ValueError, match=r"must have \d output\(s\).*does not\.$"):
        BoostGradClassifier(CallableLoss(log_loss, 5), **PARAMETERS).fit(X, y)


def test_early_stopping_needs_values():
    X, y, _ = table()
    for model, more in (
        (BoostGradRegressor(half_square, early_stopping=True), {}),
        (BoostGradRegressor(half_square), {"X_val": X, "y_val": y}),
    ):
        with pytest.raises(ValueError, match=r"need a loss with values, which CallableLoss\(half_square\) has not"):
            model.fit(X, y, **more)
    large = np.tile(X, (20, 1)), np.tile(y, 20)  # "auto" does without
    assert BoostGradRegressor(half_square, n_estimators=3).fit(*large).n_iter_ == 3
    loss = CallableLoss(half_square, value=lambda y, raw: 0.5 * (raw - y) ** 2)
    own = BoostGradRegressor(loss, early_stopping=True, **PARAMETERS).fit(X, y)
    built_in = BoostGradRegressor(early_stopping=True, **PARAMETERS).fit(X, y)
    np.testing.assert_allclose(own.validation_score_, built_in.validation_score_, rtol=1e-6)


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda y, raw, w: raw - y, "must return a gradient and a hessian. Got ndarray"),
        (lambda y, raw, w: (raw[:3], raw), r"shape \(600,\). Got the shapes \(3,\) and \(600,\)"),
        (lambda y, raw, w: (raw - y, raw[:2]), r"Got the shapes \(600,\) and \(2,\)"),
    ],
)
def test_what_is_no_derivative_is_refused(returned, words):
    X, y, _ = table()
    with pytest.raises(ValueError, match=words):
        BoostGradRegressor(returned).fit(X, y)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"function": 3}, "function of {} must be a function. Got 3"),
        ({"n_outputs": 0}, "n_outputs of {} must be an integer >= 1. Got 0"),
        ({"n_outputs": 1.5}, "n_outputs of {} must be an integer >= 1. Got 1.5"),
        ({"n_outputs": True}, "n_outputs of {} must be an integer >= 1. Got True"),
        ({"clip": -1}, "clip of {} must be a number > 0 or None. Got -1"),
        ({"clip": "a"}, "clip of {} must be a number > 0 or None. Got 'a'"),
        ({"inverse_link": 1}, "inverse_link of {} must be a function, a boostgrad.losses.Loss or None. Got 1"),
        ({"value": 1.0}, "value of {} must be a function or None. Got 1.0"),
        ({"constant_hessian": 0}, "constant_hessian of {} must be a number > 0 or None. Got 0"),
    ],
)
def test_bad_arguments(more, words):
    with pytest.raises(ValueError, match=words.format("CallableLoss")):
        CallableLoss(**{"function": half_square, **more})
    if not {"value", "constant_hessian"} & set(more):
        with pytest.raises(ValueError, match=words.format("AutodiffLoss")):
            AutodiffLoss(**{"function": half_square, **more})


@pytest.mark.parametrize("lane", ["gradient", "hessian"])
@pytest.mark.parametrize("kind", [complex, str, "datetime64[s]"])
def test_what_is_no_real_number_is_refused(lane, kind):
    X, y, _ = table()

    def bad(y, raw, sample_weight):
        return tuple(
            np.ones(len(y)).astype(int).astype(kind if what == lane else int) for what in ("gradient", "hessian")
        )

    with pytest.raises(TypeError, match=rf"the {lane} of CallableLoss\(bad\) must hold real numbers. Got "):
        BoostGradRegressor(bad).fit(X, y)


@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize("shape", ["scalar", "column", "short"])
def test_values_are_of_rows(n_targets, shape):
    X, y, _ = table()
    of = {"scalar": lambda v: v.mean(), "column": lambda v: v[None], "short": lambda v: v[1:]}[shape]
    loss = CallableLoss(half_square, value=lambda y, raw: of((raw - y) ** 2))
    y = y if n_targets == 1 else np.column_stack([y, y])
    with pytest.raises(
        ValueError, match=r"the values of CallableLoss\(half_square\) must be the loss of each row, of sh"
    ):
        BoostGradRegressor(loss, early_stopping=True).fit(X, y)


# ---- the constant to start from --------------------------------------------------------------------------------


def test_a_loss_without_a_gradient_at_0_starts_from_y():
    """Gamma's and Poisson's with the mean itself for a raw prediction, whose optimum is the mean of y."""
    rng = np.random.default_rng(0)
    X, y = rng.random((400, 2)), rng.gamma(2.0, 3.0, 400)

    def gamma(y, raw, sample_weight):
        return 1 / raw - y / raw**2, 1 / raw**2

    def poisson(y, raw, sample_weight):
        return 1 - y / raw, 1 / raw

    for own, target in ((gamma, y), (poisson, np.round(y))):
        for offset in (None, np.zeros(400)):
            with np.errstate(all="ignore"):
                model = BoostGradRegressor(own, n_estimators=1, learning_rate=1e-12).fit(X, target, offset=offset)
            assert model.ensemble_.base_score[0] == pytest.approx(target.mean(), rel=1e-9)


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("far", [0.0, 1e3])
def test_no_constant_is_asked_for_twice(n_outputs, far):
    """A pass over all rows each, and the first tree comes after a few."""
    asked = []

    def exponential(y, raw, sample_weight):
        asked.append(tuple(np.atleast_2d(raw)[:, 0]))
        if far and np.any(raw == 0):
            return np.full_like(raw, np.nan), np.ones_like(raw)
        return np.exp(raw - far) - y, np.exp(raw - far)

    y = np.random.default_rng(0).poisson(2.0, 200) + far
    value = lambda y, raw: (np.exp(raw - far) - y * raw).reshape(-1, len(y)).sum(0)  # noqa: E731
    CallableLoss(exponential, n_outputs, value=value).init_raw(y, None)
    assert len(asked) == len(set(asked)) > 3


def test_a_loss_without_a_constant_says_so():
    X, y, _ = table()

    def broken(y, raw, sample_weight):
        return np.where(np.arange(len(y)) == 7, np.nan, raw - y), np.ones_like(raw)

    words = "gradient of loss 'CallableLoss' is nan at training row 7.*override init_raw, or pass .* as offset"
    for n_outputs in (1, 2):
        with pytest.raises(ValueError, match=words):
            BoostGradRegressor(CallableLoss(broken, n_outputs)).fit(X, y)


@pytest.mark.parametrize("slope", [1.0, -1e-3])
def test_a_loss_without_a_least_value_starts_from_0(slope):
    X, y, _ = table()
    model = BoostGradRegressor(lambda y, raw, sample_weight: (np.full_like(raw, slope), 1.0), n_estimators=1).fit(X, y)
    assert model.ensemble_.base_score.tolist() == [0.0]


@pytest.mark.parametrize("n_targets", [1, 2])
def test_groups_are_those_of_fit(n_targets):
    """Of all targets, numbered from 0 among the rows that are left; without any all rows are of one."""
    X, y, _ = table()
    seen = []

    def half_square_of(y, raw, sample_weight, groups):
        seen.append(groups)
        return half_square(y, raw, sample_weight)

    y = np.column_stack([y] * n_targets) if n_targets > 1 else y
    groups = np.repeat(["d", "c", "b", "a"], 150)
    weight = (groups != "b").astype(float)
    model = BoostGradRegressor(half_square_of, **PARAMETERS).fit(X, y, weight, groups=groups)
    assert all(np.array_equal(found, np.repeat([2, 1, 0], 150)) for found in seen) and seen
    assert model.ensemble_.base_score.tolist() == [0.0] * n_targets
    seen.clear()
    model.fit(X, y)
    assert all(np.array_equal(found, np.zeros(600)) for found in seen)


def test_links_and_clips():
    X, y, _ = table()
    counts = np.exp(y)

    def poisson(y, raw, sample_weight):
        return np.exp(raw) - y, np.exp(raw)

    own = BoostGradRegressor(CallableLoss(poisson, inverse_link=np.exp), **PARAMETERS).fit(X, counts)
    built_in = BoostGradRegressor("poisson", **PARAMETERS).fit(X, counts)
    np.testing.assert_allclose(own.predict(X), built_in.predict(X), rtol=1e-5)
    weight = np.random.default_rng(0).random(len(y)) + 0.5
    for w in (None, weight):
        loss = CallableLoss(half_square, clip=0.1)
        gradient, _, _ = derivatives(loss, y, np.zeros((1, len(y))), w)
        bound = 0.1 if w is None else 0.1 * w
        np.testing.assert_allclose(gradient[0], np.clip(-y * (1 if w is None else w), -bound, bound))


# ---- several raw predictions a row --------------------------------------------------------------------------------


def both_half_squares(y, raw, sample_weight):
    """Of two columns of y; the second counts ten times."""
    w = 1.0 if sample_weight is None else sample_weight
    factor = np.array([[1.0], [10.0]])
    return w * factor * (raw - y.T), w * factor * np.ones_like(raw)


def normal(y, raw, sample_weight):
    w = 1.0 if sample_weight is None else sample_weight
    precision = np.exp(-2 * raw[1])
    d = raw[0] - y
    gradient = np.stack([precision * d, 1 - precision * d * d])
    hessian = np.stack([precision, np.maximum(2.0, np.abs(gradient[1]))])
    by_root = np.stack([np.exp(raw[1]), np.ones_like(d)])  # rows weigh by 1 / s in the trees of the mean
    return w * by_root * gradient, w * by_root * hessian


def normal_value(y, raw):
    return raw[1] + 0.5 * np.exp(-2 * raw[1]) * (raw[0] - y) ** 2


@pytest.mark.parametrize("strategy", ["one_output_per_tree", "multi_output_tree"])
def test_a_function_of_several_raw_predictions_gets_all_of_y(strategy, tmp_path):
    X, y, _ = table()
    Y = np.column_stack([y, y**2])
    loss = CallableLoss(both_half_squares, n_outputs=2)
    model = BoostGradRegressor(loss, multi_strategy=strategy, min_child_weight=0, **PARAMETERS).fit(X, Y)
    assert model.predict(X).shape == Y.shape and model.score(X, Y) > 0.5
    *_, last = model.staged_predict(X)
    np.testing.assert_allclose(last, model.predict(X), rtol=1e-12)
    np.testing.assert_array_equal(model.predictor()(X[0]), model.predict(X[:1])[0])
    if strategy == "one_output_per_tree":
        each = BoostGradRegressor(multi_strategy=strategy, **PARAMETERS).fit(X, Y)
        np.testing.assert_allclose(model.predict(X), each.predict(X), rtol=1e-6)
    with pytest.raises(ValueError, match="has no prediction intervals"):
        model.calibrate(X, Y)
    with pytest.warns(UserWarning, match="no registered name"):
        model.save(tmp_path / "model")
    np.testing.assert_array_equal(BoostGradRegressor.load(tmp_path / "model").predict(X), model.predict(X))


@pytest.mark.parametrize("inverse", ["none", "function", "one number", "loss"])
def test_a_likelihood_of_ones_own(inverse):
    X, y, _ = table()
    links = {
        "none": None,
        "function": lambda raw: np.stack([raw[0], np.exp(raw[1]), raw[0] + np.exp(raw[1])]),
        "one number": lambda raw: raw[0],
        "loss": get_loss("normal_nll"),
    }
    loss = CallableLoss(normal, 2, value=normal_value, inverse_link=links[inverse])
    settings = PARAMETERS | {"early_stopping": True, "multi_strategy": "one_output_per_tree"}
    model = BoostGradRegressor(loss, **settings).fit(X, y)
    built_in = BoostGradRegressor("normal_nll", **settings).fit(X, y)
    frozen = built_in.predict_distribution(X)
    mean, deviation = frozen.mean(), frozen.std()
    expected = {
        "none": np.column_stack([mean, np.log(deviation)]),
        "function": np.column_stack([mean, deviation, mean + deviation]),
        "one number": mean,
        "loss": mean,
    }[inverse]
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(model.predictor()(X[3]), model.predict(X[3:4])[0])
    by_default = BoostGradRegressor(loss, **PARAMETERS).fit(X, y)  # a loss knows which outputs belong together
    assert len(by_default.ensemble_.trees) == (1 if inverse == "loss" else 2) * by_default.n_iter_
    if expected.ndim == 1:
        scored = BoostGradRegressor(loss, early_stopping=True, scoring="r2", **PARAMETERS).fit(X, y)
        assert scored.validation_score_[-1] > 0.3
    else:
        with pytest.raises(ValueError, match="scoring='r2' cannot score this model"):
            BoostGradRegressor(loss, early_stopping=True, scoring="r2", **PARAMETERS).fit(X, y)


def test_functions_may_read_their_arrays_alone():
    X, y, weight = table()
    kept = y.copy()

    def moves_y(y, raw, sample_weight):
        y -= raw
        return -y, 1.0

    def moves_raw(y, raw, sample_weight):
        raw -= y
        return raw, 1.0

    for function in (moves_y, moves_raw):
        with pytest.raises(ValueError, match="read-only"):
            BoostGradRegressor(function, **PARAMETERS).fit(X, y)
    np.testing.assert_array_equal(y, kept)
    assert y.flags.writeable


@pytest.mark.parametrize("hessian", [0.0, -1.0])
def test_hessians_without_a_curve_are_an_error(hessian):
    X, y, _ = table()
    loss = CallableLoss(lambda y, raw, w: (raw - y, np.full(len(y), hessian)))
    with pytest.raises(ValueError, match="hessians of loss 'CallableLoss' are 0 or negative for all rows"):
        BoostGradRegressor(loss, **PARAMETERS).fit(X, y)
    nothing = CallableLoss(lambda y, raw, w: (np.zeros(len(y)), np.zeros(len(y))))  # to be learned
    assert (BoostGradRegressor(nothing, **PARAMETERS).fit(X, y).predict(X) == 0).all()


def test_a_link_of_the_wrong_shape_is_named():
    X, y, _ = table()
    loss = CallableLoss(normal, 2, inverse_link=lambda raw: raw[:, :1])
    with pytest.raises(ValueError, match=r"inverse_link of CallableLoss\(normal\) must return a number, or a column"):
        BoostGradRegressor(loss, **PARAMETERS).fit(X, y).predict(X)


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [half_square, CallableLoss(half_square)], ids=["function", "instance"])
def test_a_file_says_that_the_loss_is_unnamed(own, tmp_path):
    X, y, _ = table()
    model = BoostGradRegressor(own, **PARAMETERS).fit(X, y)
    with pytest.warns(UserWarning, match="loss CallableLoss has no registered name.*holds 'unnamed' in its place"):
        model.save(tmp_path / "model")
    again = BoostGradRegressor.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(X), model._raw(X)[0])
    assert isinstance(again.loss, UnnamedLoss) and again.ensemble_.loss == "unnamed"
    with pytest.raises(ValueError, match=r"could not hold its loss, CallableLoss\(half_square\)"):
        again.fit(X, y)
    again.save(tmp_path / "again")  # it has a name now: unnamed
    np.testing.assert_array_equal(BoostGradRegressor.load(tmp_path / "again").predict(X), again.predict(X))
    copy = pickle.loads(pickle.dumps(model))
    assert copy._loss.function is half_square


def test_an_unnamed_classifier_has_no_probabilities(tmp_path):
    X, _, y = table()
    model = BoostGradClassifier(log_loss, **PARAMETERS).fit(X, y)
    with pytest.warns(UserWarning, match="no registered name"):
        model.save(tmp_path / "model")
    again = BoostGradClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(again.decision_function(X), model.decision_function(X))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    with pytest.raises(ValueError, match="it has no probabilities"):
        again.predict_proba(X)


@pytest.mark.parametrize("face", ["regressor", "two classes", "three classes", "ranker", "survival"])
def test_an_unnamed_loss_must_be_given_again_to_train(face, tmp_path):
    X, y, classes = table(n_classes=3 if face == "three classes" else 2)
    model, target = {
        "regressor": (BoostGradRegressor(half_square), y),
        "ranker": (BoostGradRanker(half_square), y - y.min()),
        "survival": (BoostGradSurvival(lambda y, raw, w: (raw - y[:, 0], 1.0)), np.column_stack([y + 1, y + 1])),
    }.get(face, (BoostGradClassifier(log_loss), classes))
    groups = {"groups": np.arange(len(y)) // 10} if face == "ranker" else {}
    model.set_params(early_stopping=False, **PARAMETERS).fit(X, target, **groups)
    with pytest.warns(UserWarning, match="no registered name"):
        model.save(tmp_path / "model")
    again = type(model).load(tmp_path / "model")
    for early_stopping in (False, True):
        again.set_params(early_stopping=early_stopping)
        with pytest.raises(ValueError, match="could not hold its loss, CallableLoss.*must be given again to train"):
            again.fit(X, target, **groups)


def test_own_losses_are_losses():
    assert all(issubclass(kind, Loss) for kind in (CallableLoss, AutodiffLoss, UnnamedLoss))


def shares(raw):
    return np.clip(raw, 0, 1)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_classes_are_those_of_the_link(n_classes):
    """The most probable one, whatever raw predictions look like."""
    X, y, _ = table()
    y = np.digitize(y, np.quantile(y, np.arange(1, n_classes) / n_classes))
    if n_classes == 2:
        loss = CallableLoss(
            lambda y, raw, w: (raw - y, 1.0), inverse_link=lambda raw: np.array([1 - shares(raw), shares(raw)])
        )
    else:
        loss = CallableLoss(
            lambda y, raw, w: (raw + (y == np.arange(4)[:, None]), np.ones_like(raw)),
            n_outputs=4,
            inverse_link=lambda raw: np.exp(-raw) / np.exp(-raw).sum(axis=0),
        )
    model = BoostGradClassifier(loss=loss, early_stopping=True, n_iter_no_change=99, scoring="accuracy", **PARAMETERS)
    model.fit(X, y, X_val=X, y_val=y)
    np.testing.assert_array_equal(model.predict(X), model.predict_proba(X).argmax(axis=1))
    assert model.score(X, y) > 1.3 / n_classes
    assert model.validation_score_[model.n_iter_] == model.score(X, y)
    *_, last = model.staged_predict(X)
    np.testing.assert_array_equal(last, model.predict(X))


def test_probabilities_that_do_not_sum_to_1_are_refused():
    X, y, _ = table()
    loss = CallableLoss(lambda y, raw, w: (raw - y, 1.0), inverse_link=lambda raw: np.array([0.5 + 0 * raw] * 2) / 1.1)
    with pytest.raises(ValueError, match="predict 2 probabilities a row for 2 classes"):
        BoostGradClassifier(loss=loss).fit(X, y > 0)


@pytest.mark.parametrize("hessian", [1.0, 0.0, None])
def test_a_constant_hessian_is_times_the_weights(hessian):
    X, y, _ = table()
    weight = np.random.default_rng(1).random(len(y))
    loss = CallableLoss(lambda y, raw, w: ((raw - y) * (1 if w is None else w), hessian), constant_hessian=1.0)
    own = BoostGradRegressor(loss, **PARAMETERS).fit(X, y, 100 * weight)
    built_in = BoostGradRegressor(**PARAMETERS).fit(X, y, 100 * weight)
    np.testing.assert_allclose(own.predict(X), built_in.predict(X), rtol=1e-9)


def test_raw_predictions_cannot_be_written_to():
    X, y, _ = table()

    class Writes(type(get_loss("squared_error"))):
        where = "values"

        def values(self, y, raw):
            return self.written("values", raw) or super().values(y, raw)

        def gradients(self, y, raw, weight, out, n_threads=1):
            self.written("gradients", raw)
            super().gradients(y, raw, weight, out, n_threads)

        def inverse_link(self, raw):
            return self.written("inverse_link", raw) or super().inverse_link(raw)

        def written(self, here, raw):
            if here == self.where:
                raw -= 1.0

    for where in ("values", "gradients", "inverse_link"):
        loss = Writes()
        loss.where = where
        scoring = "r2" if where == "inverse_link" else "loss"
        with pytest.raises(ValueError, match="read-only"):
            BoostGradRegressor(loss, early_stopping=True, scoring=scoring, **PARAMETERS).fit(X, y)
    link = CallableLoss(lambda y, raw, w: (raw - y, 1.0), inverse_link=lambda raw: np.exp(raw, out=raw))
    with pytest.raises(ValueError, match="read-only"):
        BoostGradRegressor(link, early_stopping=True, scoring="r2", **PARAMETERS).fit(X, y)


@pytest.mark.parametrize("method", ["renew_leaves", "refine_leaves", "damp"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, "short", "text"])
def test_steps_of_leaves_must_be_finite(method, bad):
    X, y, _ = table()

    class Bad(type(get_loss("squared_error"))):
        smooth = method != "renew_leaves"
        refined = method == "refine_leaves"
        damped = method == "damp"

    def give(self, *args, **kwargs):
        n = len(args[0]) if method == "damp" else args[4].n_leaves
        return {"short": np.zeros(1), "text": ["a"] * n}.get(bad, np.full(n, bad if isinstance(bad, float) else 0.0))

    setattr(Bad, method, give)
    kind = TypeError if bad == "text" else ValueError
    with pytest.raises(kind, match=method):
        BoostGradRegressor(Bad(), n_estimators=1).fit(X, y)


def test_leaves_without_a_finite_value_are_an_error():
    X, y, _ = table()
    loss = CallableLoss(lambda y, raw, w: ((raw - y) * 1e300, np.full(len(y), 1e-300)))
    with pytest.raises(ValueError, match="a leaf of loss 'CallableLoss' has no finite value in iteration 1"):
        BoostGradRegressor(loss, n_estimators=1, min_child_weight=0, init="zero").fit(X, y)


def test_values_that_are_nan_are_said_to_be():
    X, y, _ = table()
    loss = CallableLoss(half_square, value=lambda y, raw: np.where(np.arange(len(y)) == 3, np.nan, 1))
    with pytest.raises(ValueError, match=r"the value of CallableLoss\(half_square\) is NaN in row 3 of those"):
        BoostGradRegressor(loss, early_stopping=True).fit(X, y)
    with pytest.raises(ValueError, match=r"CallableLoss\(<lambda>\) must return .* Got None for one of them"):
        BoostGradRegressor(lambda y, raw, w: (raw - y, None)).fit(X, y)
