"""Losses of functions that PyTorch or JAX differentiates."""

import contextlib
import contextvars
import pickle
import threading
import time

import numpy as np
import pytest
from sklearn.base import clone

from boostgrad import BoostGradRegressor
from boostgrad.losses import AutodiffLoss, autodiff, get_loss
from tests.losses.test_losses import derivatives

PARAMETERS = {"n_estimators": 20, "random_state": 0}
both = pytest.mark.parametrize("backend", ["torch", "jax"])


def table(n=600):
    rng = np.random.default_rng(0)
    X = rng.random((n, 4))
    return X, X[:, 0] + 0.2 * rng.standard_normal(n)


def library(backend):
    if backend == "torch":
        return pytest.importorskip("torch")
    return pytest.importorskip("jax").numpy


def not_too_flat(gradient, hessian, weight=None):
    """The hessian of "auto", of one output."""
    longest = 2 * np.abs(gradient).sum() / hessian.sum()
    weight = np.ones(gradient.shape[-1]) if weight is None else weight
    flat = hessian < 0.5 * weight * hessian.sum() / weight.sum()
    return np.where(flat, np.maximum(hessian, np.abs(gradient) / longest), hessian)


@pytest.mark.parametrize("backend", ["torch", "jax"])
@pytest.mark.parametrize("weighted", [False, True])
def test_automatic_derivatives_are_the_built_in_ones(backend, weighted):
    xp = library(backend)
    rng = np.random.default_rng(0)
    raw, y = rng.standard_normal((1, 300)), rng.poisson(2.0, 300).astype(float)
    weight = rng.random(300) + 0.1 if weighted else None
    own = AutodiffLoss(lambda y, raw: xp.exp(raw) - y * raw, backend, hessian="exact")
    gradient, hessian = derivatives(get_loss("poisson"), y, raw, weight)[:2]
    for a, b in zip(derivatives(own, y, raw, weight)[:2], (gradient, hessian), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)
    bounded = AutodiffLoss(own.function, backend)
    np.testing.assert_allclose(
        derivatives(bounded, y, raw, weight)[1], not_too_flat(gradient, hessian, weight), rtol=1e-9
    )
    np.testing.assert_allclose(own.values(y, raw), get_loss("poisson").values(y, raw), rtol=1e-12)


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_automatic_derivatives_of_several_outputs(backend):
    xp = library(backend)
    rng = np.random.default_rng(0)
    raw, y = rng.standard_normal((3, 300)), rng.integers(0, 3, 300).astype(float)

    def softmax(y, raw):
        of_class = [raw[k] * (y == k) for k in range(3)]
        return xp.log(xp.exp(raw).sum(0)) - (of_class[0] + of_class[1] + of_class[2])

    own, built_in = AutodiffLoss(softmax, backend, 3, hessian="exact"), get_loss("multinomial_log_loss", n_classes=3)
    for a, b in zip(derivatives(own, y, raw)[:2], derivatives(built_in, y, raw)[:2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    once, _, _ = derivatives(AutodiffLoss(softmax, backend, 3, hessian="gauss_newton"), y, raw)
    np.testing.assert_allclose(once, derivatives(built_in, y, raw)[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("backend", ["torch", "jax"])
@pytest.mark.parametrize("hessian", ["auto", "exact", "gauss_newton", "constant"])
def test_a_loss_that_is_not_convex_trains(backend, hessian):
    xp = library(backend)
    X, y = table()
    y = y + np.where(np.arange(len(y)) % 50 == 0, 30.0, 0.0)  # outliers, which Cauchy's loss leaves aside
    loss = AutodiffLoss(lambda y, raw: xp.log(1 + (raw - y) ** 2), backend, hessian=hessian, clip=5.0)
    _, curvature, _ = derivatives(loss, y, np.zeros((1, len(y))))
    assert (curvature >= 0).all()
    model = BoostGradRegressor(loss, early_stopping=True, max_delta_step=1.0, **PARAMETERS).fit(X, y)
    if hessian != "exact":  # which is 0 where the loss is concave
        assert model.validation_score_[-1] > model.validation_score_[0]


def test_bad_autodiff():
    with pytest.raises(ValueError, match="backend of AutodiffLoss must be 'torch' or 'jax'. Got 'numpy'"):
        AutodiffLoss(abs, "numpy")
    with pytest.raises(ValueError, match="hessian of AutodiffLoss must be"):
        AutodiffLoss(abs, hessian="none")


# ---- how it is done ----------------------------------------------------------------------------------------------


def cauchy(xp, several=False):
    """Of one output, or of two, whose hessian is not diagonal, for y of two columns."""
    if several:
        return lambda y, raw: xp.log(1 + (raw[0] - y[:, 0]) ** 2 + (raw[1] - y[:, 1]) ** 2) + raw[0] * raw[1] / 8
    return lambda y, raw: xp.log(1 + (raw - y) ** 2)


@both
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("hessian", ["exact", "gauss_newton"])
@pytest.mark.parametrize("n", [1, 64, 100, 301])
def test_blocks_are_the_whole(backend, several, hessian, n, monkeypatch):
    rng = np.random.default_rng(n)
    raw, y = rng.standard_normal((2 if several else 1, n)), rng.standard_normal((n, 2) if several else n)
    weight = rng.random(n)
    y.flags.writeable = False
    whole = AutodiffLoss(cauchy(library(backend), several), backend, len(raw), hessian=hessian)
    expected = derivatives(whole, y, raw, weight), whole.values(y, raw)
    monkeypatch.setattr(autodiff, f"BLOCK_{backend.upper()}", 64)
    found = derivatives(whole, y, raw, weight), whole.values(y, raw)
    for a, b in zip(found[0][:2], expected[0][:2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-12)
    pairs = whole.pairs(n, weighted=True)
    whole.gradients(y, raw, weight, pairs, n_threads=3)
    np.testing.assert_array_equal(pairs.pairs[:, :, 0], found[0][0])


@both
def test_a_likelihood_in_the_regressor(backend):
    xp = library(backend)
    X, y = table()

    def normal(y, raw):
        return raw[1] + 0.5 * xp.exp(-2 * raw[1]) * (raw[0] - y) ** 2

    built_in = BoostGradRegressor("normal_nll", **PARAMETERS).fit(X, y)
    for inverse_link in (None, get_loss("normal_nll")):
        loss = AutodiffLoss(normal, backend, 2, inverse_link=inverse_link)
        model = BoostGradRegressor(loss, max_delta_step=1.0, **PARAMETERS).fit(X, y)
        mean = model.predict(X)[:, 0] if inverse_link is None else model.predict(X)
        assert np.corrcoef(mean, built_in.predict(X))[0, 1] > 0.9
        assert model._loss.mean(y, model._raw(X), None) < model._loss.mean(
            y, np.repeat(model.ensemble_.base_score[:, None], len(y), axis=1), None
        )
    Y = np.column_stack([y, -y])
    model = BoostGradRegressor(AutodiffLoss(cauchy(xp, True), backend, 2), **PARAMETERS).fit(X, Y)
    assert model.predict(X).shape == Y.shape


@both
def test_a_piecewise_linear_loss_is_learned(backend):
    """As the built-in loss would be without renewing its leaves: with a hessian of 1."""
    xp = library(backend)
    X, y = table()
    loss = AutodiffLoss(lambda y, raw: xp.abs(raw - y), backend)
    pairs = loss.pairs(len(y), weighted=False)
    loss.gradients(y, np.zeros((1, len(y))), None, pairs)
    assert pairs.constant_hessian == 1.0
    model = BoostGradRegressor(loss, early_stopping=True, n_estimators=100, random_state=0).fit(X, y)
    assert np.abs(model.predict(X) - y).mean() < 0.7 * np.abs(np.median(y) - y).mean()
    weight = np.arange(len(y)) + 1.0
    np.testing.assert_array_equal(derivatives(loss, y, np.zeros((1, len(y))), weight)[1][0], weight)
    tiny = AutodiffLoss(lambda y, raw: 1e-9 * (raw - y) ** 2, backend)  # which is no zero
    np.testing.assert_array_equal(derivatives(tiny, y, np.zeros((1, len(y))), None)[1], autodiff.LEAST_HESSIAN)


@both
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("hessian", ["auto", "exact"])
def test_curvature_is_that_of_all_rows(backend, weighted, several, hessian, monkeypatch):
    """Of a loss that is linear in the first blocks, in all rows, or of one output alone, block by block and at once."""
    xp = library(backend)
    rng = np.random.default_rng(0)
    y, weight = np.sort(rng.uniform(-3, 3, 300)), rng.random(300) if weighted else None
    raw, first = np.zeros((2 if several else 1, 300)), float(y[0])

    def huber(distance):
        return xp.where(abs(distance) < 1.5, 0.5 * distance**2, 1.5 * (abs(distance) - 0.75))

    cases = {
        "linear at first": (lambda y, raw: huber(raw - y), (np.abs(y) < 1.5).astype(float)),
        "linear": (lambda y, raw: abs(raw - y), np.zeros(300)),
        "square at first": (lambda y, raw: huber(raw - y + first), (np.abs(y - first) < 1.5).astype(float)),
        "square": (lambda y, raw: 0.5 * (raw - y) ** 2, np.ones(300)),
    }
    least = autodiff.LEAST_HESSIAN if hessian == "auto" else 0.0
    for what, (function, expected) in cases.items():
        of_one = function
        if several:  # the second output is linear
            function = lambda y, raw, of_one=of_one: of_one(y, raw[0]) + abs(raw[1] - y)  # noqa: E731
        loss = AutodiffLoss(function, backend, len(raw), hessian=hessian)
        expected = np.array([np.maximum(expected, least), np.full(300, least)][: len(raw)])
        linear = (expected == least).all(axis=1)
        expected = expected * (weight if weighted else 1)
        if hessian == "auto":
            slope = derivatives(loss, y, raw, weight)[0]
            for k in range(len(raw)):
                ones = weight if weighted else 1.0
                expected[k] = ones if linear[k] else not_too_flat(slope[k], expected[k], weight)
        for size in (1_000, 64):
            monkeypatch.setattr(autodiff, f"BLOCK_{backend.upper()}", size)
            pairs = loss.pairs(300, weighted)
            loss.gradients(y, raw, weight, pairs)
            one = not weighted and expected[0, 0] > 0 and (expected == expected[0, 0]).all()
            assert pairs.constant_hessian == (expected[0, 0] if one else None), what
            np.testing.assert_allclose(derivatives(loss, y, raw, weight)[1], expected, rtol=1e-12)
            bound = pairs.largest[:, 1] >= (0.0 if one else (1 - 1e-12) * expected.max(axis=1))
            assert bound.all(), what


@both
def test_a_clip_is_none_of_the_hessian(backend):
    library(backend)
    y = np.array([1.0, 2.0, 30.0])
    loss = AutodiffLoss(half_square, backend, hessian="gauss_newton", clip=5.0)
    gradient, hessian, _ = derivatives(loss, y, np.zeros((1, 3)))
    np.testing.assert_array_equal(gradient[0], [-1, -2, -5])
    np.testing.assert_array_equal(hessian[0], y**2)


@both
def test_what_is_no_loss_of_rows_is_refused(backend):
    xp = library(backend)
    X, y = table()
    kind = "torch.Tensor" if backend == "torch" else "jax.Array"
    rows = rf"must return the loss of each row, a {kind} of shape \(600,\). Got"
    for function, words in (
        (lambda y, raw: ((raw - y) ** 2).mean(), r".*float64 of shape \(\)"),
        (lambda y, raw: (raw[:, None] - y[None, :]) ** 2, r".*float64 of shape \(600, 600\)"),
        (lambda y, raw: (raw - y) * (1 + 1j), r".*complex128 of shape \(600,\)"),
        (lambda y, raw: 3.0, " a float instead"),
        (lambda y, raw: None, " a NoneType instead"),
    ):
        loss = AutodiffLoss(function, backend)
        with pytest.raises(ValueError, match=rf"AutodiffLoss\(<lambda>, '{backend}'\) {rows}{words}"):
            BoostGradRegressor(loss).fit(X, y)
        with pytest.raises(ValueError, match="must return the loss of each row"):
            loss.values(y, np.zeros((1, len(y))))
    if backend == "torch":
        for function in (lambda y, raw: y + 1.0, lambda y, raw: (raw.detach() - y) ** 2, lambda y, raw: xp.sign(y)):
            with pytest.raises(ValueError, match="must depend on raw by operations of PyTorch"):
                BoostGradRegressor(AutodiffLoss(function)).fit(X, y)


def test_torch_is_left_as_it_was():
    """Derivatives are found whatever is switched off outside, without threads of PyTorch's."""
    torch = library("torch")
    X, y = table()
    seen = set()

    def half_square(y, raw):
        seen.add(torch.get_num_threads())
        return 0.5 * (raw - y) ** 2

    loss = AutodiffLoss(half_square)
    expected = BoostGradRegressor(loss, n_jobs=2, **PARAMETERS).fit(X, y).predict(X)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        for outside in (contextlib.nullcontext, torch.no_grad, torch.inference_mode):
            with outside():
                seen.clear()
                model = BoostGradRegressor(loss, n_jobs=2, **PARAMETERS).fit(X, y)
                assert torch.is_grad_enabled() == (outside is contextlib.nullcontext)
            np.testing.assert_array_equal(model.predict(X), expected)
            assert seen == {1} and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_each_thread_of_torch_has_a_block(n_threads, monkeypatch):
    """No more than there are threads are at work, and two are where there are two."""
    library("torch")
    monkeypatch.setattr(autodiff, "BLOCK_TORCH", 50)
    y, lock, at_once, most = np.arange(1000.0), threading.Lock(), 0, 0

    def half_square(y, raw):
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.02)
        with lock:
            at_once -= 1
        return 0.5 * (raw - y) ** 2

    gradient, _, _ = derivatives(AutodiffLoss(half_square), y, np.zeros((1, 1000)), n_threads=n_threads)
    np.testing.assert_array_equal(gradient[0], -y)
    assert min(n_threads, 2) <= most <= n_threads


def test_what_goes_wrong_in_a_thread_is_told(monkeypatch):
    library("torch")
    monkeypatch.setattr(autodiff, "BLOCK_TORCH", 50)

    def failing(y, raw):
        if y[0] == 500:
            raise ZeroDivisionError("block 10")
        return 0.5 * (raw - y) ** 2

    with pytest.raises(ZeroDivisionError, match="block 10"):
        derivatives(AutodiffLoss(failing), np.arange(1000.0), np.zeros((1, 1000)), n_threads=2)
    assert not any(thread.name.startswith("boostgrad") for thread in threading.enumerate())


def test_jax_compiles_once_a_shape(monkeypatch):
    jax = pytest.importorskip("jax")
    X, y = table()
    calls = []

    def half_square(y, raw):
        calls.append(raw.shape)
        return 0.5 * (raw - y) ** 2

    loss = AutodiffLoss(half_square, "jax")
    model = BoostGradRegressor(loss, **PARAMETERS).fit(X, y)
    assert calls == [(600,)]
    assert "_library" not in clone(model).loss.__dict__ and "_library" in loss.__dict__
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(loss)  # a local function
    monkeypatch.setattr(autodiff, "BLOCK_JAX", 256)
    calls.clear()
    np.testing.assert_allclose(BoostGradRegressor(loss, **PARAMETERS).fit(X, y).predict(X), model.predict(X))
    assert calls == [(200,)]

    def looks(y, raw):  # at its numbers, so that it cannot be compiled
        return 0.5 * (raw - y) ** 2 if float(y.sum()) > 1e9 or bool((raw == raw).all()) else jax.numpy.abs(raw)

    own = BoostGradRegressor(AutodiffLoss(looks, "jax"), **PARAMETERS).fit(X, y)
    np.testing.assert_allclose(own.predict(X), model.predict(X), rtol=1e-9)


def half_square(y, raw):
    return 0.5 * (raw - y) ** 2


@both
def test_a_loss_that_has_worked_is_pickled(backend):
    library(backend)
    X, y = table()
    model = BoostGradRegressor(AutodiffLoss(half_square, backend), **PARAMETERS).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_array_equal(again.fit(X, y).predict(X), model.predict(X))


@both
@pytest.mark.parametrize("size", [1.0, 10.0, 100.0])
def test_a_loss_that_is_straight_far_out_does_not_diverge(backend, size):
    """Newton's steps of leaves whose rows are all far out would be as long as one over nothing."""
    xp = library(backend)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4000, 4))
    y = size * (X[:, 0] + 0.3 * rng.standard_normal(4000))

    def huber(y, raw):
        distance = abs(raw - y)
        return xp.where(distance < 1, 0.5 * distance**2, distance - 0.5)

    scores = [
        BoostGradRegressor(loss, n_jobs=1).fit(X[:3000], y[:3000]) for loss in (AutodiffLoss(huber, backend), "huber")
    ]
    own, built_in = (model.score(X[3000:], y[3000:]) for model in scores)
    assert own > built_in - 0.03


def test_torch_keeps_its_threads_where_fits_overlap():
    torch = library("torch")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        outer = autodiff._Torch.at_work(1)
        with autodiff._Torch.at_work(1):
            outer.__enter__()
        assert torch.get_num_threads() == 3
        outer.__exit__(None, None, None)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_functions_see_the_context_of_the_fit(n_threads, monkeypatch):
    library("torch")
    monkeypatch.setattr(autodiff, "BLOCK_TORCH", 50)
    factor = contextvars.ContextVar("factor", default=1.0)
    factor.set(3.0)
    y = np.arange(200.0)
    loss = AutodiffLoss(lambda y, raw: 0.5 * (raw - factor.get() * y) ** 2)
    gradient, _, _ = derivatives(loss, y, np.zeros((1, 200)), n_threads=n_threads)
    np.testing.assert_array_equal(gradient[0], -3 * y)


def test_blocks_that_wait_are_not_begun_after_an_error(monkeypatch):
    library("torch")
    monkeypatch.setattr(autodiff, "BLOCK_TORCH", 50)
    calls = []

    def failing(y, raw):
        calls.append(y[0].item())
        time.sleep(0.05)
        raise ZeroDivisionError("at once")

    with pytest.raises(ZeroDivisionError, match="at once"):
        derivatives(AutodiffLoss(failing), np.arange(1000.0), np.zeros((1, 1000)), n_threads=2)
    assert len(calls) <= 4


@pytest.mark.parametrize("what", ["raw", "y", "y at once"])
def test_what_is_written_to_is_noticed(what):
    torch = library("torch")

    def writes(y, raw):
        if what == "y at once":
            y -= 1.0
        with torch.no_grad():
            (raw if what == "raw" else y).clamp_(-0.1, 0.1)
        return (y - raw) ** 2

    X, y = table()
    kept = y.copy()
    with pytest.raises(ValueError, match="AutodiffLoss.writes, 'torch'. must not write to y or raw"):
        BoostGradRegressor(AutodiffLoss(writes), **PARAMETERS).fit(X, y)
    if what == "y at once":
        np.testing.assert_array_equal(y, kept)


def test_a_function_of_jax_that_does_not_depend_on_raw_is_refused():
    library("jax")
    X, y = table()
    with pytest.raises(ValueError, match="must depend on raw by operations of JAX"):
        BoostGradRegressor(AutodiffLoss(lambda y, raw: y**2, "jax"), **PARAMETERS).fit(X, y)
    BoostGradRegressor(AutodiffLoss(lambda y, raw: raw, "jax"), n_estimators=1).fit(X, y)
