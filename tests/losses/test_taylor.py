"""Derivatives in one pass, next to those of backpropagation."""

import numpy as np
import pytest

from boostgrad.losses import AutodiffLoss, autodiff, taylor

torch = pytest.importorskip("torch")
F = torch.nn.functional

# One function an operation, or a few; r is the raw prediction.
FOLLOWED = {
    "add": lambda y, r: torch.add(r, y, alpha=3) + (y + r) + (r + 2) + (2 + r) + torch.add(y, r),
    "sub": lambda y, r: torch.sub(r, y, alpha=3) * (y - r) * (r - 2) * (2 - r) * torch.sub(y, r),
    "mul": lambda y, r: r * r * y * 3 * (y * r) + torch.mul(2, r) + r.mul(y),
    "div": lambda y, r: (r / (y + 2) + y / (r * r + 1) + 3 / (r * r + 2) + r / 4 + (r / (r * r + 1))) ** 2,
    "rsub": lambda y, r: torch.rsub(r, y) ** 2,
    "neg": lambda y, r: -(r**3) + torch.neg(r) * r + (+r),
    "reciprocal": lambda y, r: torch.reciprocal(r * r + 1),
    "powers": lambda y, r: r**4 + r**3 + r**2 + r**1 + r**0 + torch.square(r) + r.pow(2),
    "real power": lambda y, r: (r * r + 1) ** 1.5 + (r * r + 1) ** -0.5 + torch.float_power(r, 2),
    "power of a number": lambda y, r: 1.7**r + torch.pow(0.5, r),
    "where": lambda y, r: torch.where(r > y, (r - y) ** 2, (y - r).exp()) + torch.where(y < 0, r, 2.0) * r,
    "where a constant": lambda y, r: torch.where((r - y).abs() < 1, 1.0, 3.0) * (r - y) ** 2,
    "where of a tensor": lambda y, r: torch.where(y > r, y, r) ** 2,
    "maximum": lambda y, r: torch.maximum(0.3 * (y - r), -0.7 * (y - r)) ** 2 + torch.maximum(r, y),
    "minimum": lambda y, r: torch.minimum(r * r, r.exp()) * torch.minimum(y, r),
    "clamp": lambda y, r: r.clamp(-0.5, 0.5) ** 2 + torch.clamp(r, min=0.2) * r + r.clip(max=y.new_tensor(1).item()),
    "abs": lambda y, r: abs(r - y) ** 3 + torch.abs(r) * r + r.abs(),
    "relu": lambda y, r: F.relu(r - y) ** 2 + torch.relu(r),
    "exp": lambda y, r: torch.exp(r) - y * r + torch.expm1(r * r / 9),
    "log": lambda y, r: torch.log(r * r + 1) + (r * r + 2).log() + torch.log1p(r * r),
    "sqrt": lambda y, r: torch.sqrt(1 + (r - y) ** 2),
    "sin and cos": lambda y, r: torch.sin(r) * r.cos(),
    "sinh and cosh": lambda y, r: torch.sinh(r) + torch.log(torch.cosh(r - y)),
    "tanh": lambda y, r: torch.tanh(r - y) * r,
    "sigmoid": lambda y, r: torch.sigmoid(3 * r) + F.sigmoid(r) * r,
    "softplus": lambda y, r: F.softplus(2 * (r - y)) - (r - y) + F.softplus(r, beta=3.0),
    "logsigmoid": lambda y, r: F.logsigmoid(r) * y,
    "logaddexp": lambda y, r: torch.logaddexp(r, y) + torch.logaddexp(y * y, 2 * r),
    "erf": lambda y, r: torch.erf(r) * r,
    "lgamma": lambda y, r: torch.lgamma(r * r + 1) + torch.lgamma(y * y + r.exp()),
    "same": lambda y, r: (r.clone() * r.contiguous()).double(),
    "constants": lambda y, r: r * torch.sign(r) + r * torch.zeros_like(r) + r * torch.floor(r) + (r * r > 1) * r * r,
    "detach": lambda y, r: r.detach() * r + r.exp().detach().mul_(2) * r.exp(),
    "linear": lambda y, r: 3.0 * r,
    "linear by rows": lambda y, r: r * y,
    "mse_loss": lambda y, r: F.mse_loss(r, y, reduction="none") + F.mse_loss(y, r, reduction="none"),
    "logits": lambda y, r: F.binary_cross_entropy_with_logits(r, y, reduction="none"),
    "single precision": lambda y, r: r * r * torch.tensor(0.1) + r * y.float(),
    "integers": lambda y, r: (y > 0).long() * r**2 + True * r,
    "deviance": lambda y, r: 2 * (torch.xlogy(y.abs(), y.abs()) - y.abs() * r + torch.exp(r)),
    "student": lambda y, r: 2.5 * torch.log1p((r - y) ** 2 / 4),
    "focal": lambda y, r: (
        torch.sigmoid(r) ** 2 * F.softplus(r) + (y > 0) * (1 - torch.sigmoid(r)) ** 2 * F.softplus(-r)
    ),
}


class Clipped(torch.autograd.Function):
    """The square, with a gradient of its own."""

    @staticmethod
    def forward(ctx, r):
        ctx.save_for_backward(r)
        return r**2

    @staticmethod
    def backward(ctx, slope):
        (r,) = ctx.saved_tensors
        return slope * (2 * r).clamp(-0.5, 0.5)


def in_place(y, r):
    r = r * 1.0
    r.mul_(3.0)
    return r**2


def without_gradients(y, r):
    with torch.no_grad():
        weight = torch.sigmoid(r)
    return weight * r**2


def by_kind(y, r):
    assert isinstance(r, torch.Tensor)
    return (r - y) ** 2


class Returned(torch.autograd.Function):
    """What it was given, with a gradient of its own: no operation is seen."""

    @staticmethod
    def forward(ctx, r):
        return r

    @staticmethod
    def backward(ctx, slope):
        return slope.clamp(-0.1, 0.1)


def constant_that_changes(y, r):
    t = y.abs()
    d = r - t
    t += 1
    return (d / t) ** 2


def buffer_that_is_used_again(y, r):
    buffer = torch.empty_like(y)
    torch.mul(y, 2, out=buffer)
    first = r - buffer
    torch.mul(y, 3, out=buffer)
    return first**2 + (r - buffer) ** 2


def weight_that_changes(y, r):
    weight = torch.ones_like(y)
    loss = (r - y) ** 2 + weight * r
    weight[y > 0] = 5
    return loss


def two_names(y, r):
    d = r - y
    e = d
    e -= 1
    return d**2


def by_method(y, r):
    return (y > 0).where(y > 0.5, r) ** 2 + (r - y) ** 2


def in_place_activation(y, r):
    d = r - y
    p = torch.nn.ReLU(inplace=True)(d)
    return 2 * p + d**2


factor = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)

# What only backpropagation can do, or what must not be followed because derivatives would be others.
OTHERS = {
    "a function of autograd": lambda y, r: Clipped.apply(r),
    "in place": in_place,
    "a constant that changes": constant_that_changes,
    "a buffer that is used again": buffer_that_is_used_again,
    "two names": two_names,
    "the method where": by_method,
    "an activation in place": in_place_activation,
    "a threshold": lambda y, r: F.softplus(r - y, threshold=0.5) + r**2,
    "without gradients": without_gradients,
    "isinstance": by_kind,
    "an unknown operation": lambda y, r: torch.special.erfcx(r),
    "huber_loss": lambda y, r: F.huber_loss(r, y, reduction="none"),
    "control flow": lambda y, r: (r - y) ** 2 if bool((r > -9).all()) and float(r[0]) < 9 else r,
    "parameters": lambda y, r: factor * r**2,
    "single precision at last": lambda y, r: ((r - y) ** 2).float(),
    "rows": lambda y, r: torch.stack([r, -r]).exp().sum(0),
    "a tensor of exponents": lambda y, r: torch.pow(r * r + 1, y),
}


@pytest.fixture(autouse=True)
def all_are_worth_probing(monkeypatch):
    monkeypatch.setattr(autodiff, "WORTH_PROBING", 0)


def backpropagated(function, y, raw):
    raw = torch.from_numpy(raw).requires_grad_()
    first = torch.autograd.grad(function(torch.from_numpy(y), raw).sum(), raw, create_graph=True)[0]
    second = torch.autograd.grad(first.sum(), raw, allow_unused=True)[0] if first.requires_grad else None
    return first.detach().numpy(), np.zeros(len(y)) if second is None else second.numpy()


def problem(seed=0, n=257):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(n), 1.5 * rng.standard_normal(n)


@pytest.mark.parametrize("name", FOLLOWED)
def test_derivatives_are_those_of_backpropagation(name):
    y, raw = problem()
    expected = backpropagated(FOLLOWED[name], y, raw)
    found = taylor.derivatives(FOLLOWED[name], torch.from_numpy(y), torch.from_numpy(raw), twice=True)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.broadcast_to(a, b.shape), b, rtol=1e-7, atol=1e-12)
    once, none = taylor.derivatives(FOLLOWED[name], torch.from_numpy(y), torch.from_numpy(raw), twice=False)
    np.testing.assert_array_equal(once, found[0])
    assert none is None


def test_every_rule_has_a_function_here():
    used, known = set(), dict(taylor.RULES)
    try:
        for name, rule in known.items():
            taylor.RULES[name] = lambda *args, _rule=rule, **kwargs: used.add(_rule) or _rule(*args, **kwargs)
        y, raw = (torch.from_numpy(part) for part in problem())
        for function in FOLLOWED.values():
            taylor.derivatives(function, y, raw, twice=True)
        for check in ("isnan", "isinf", "isfinite", "sgn", "ceil", "round", "ones_like", "ge", "le", "eq", "ne"):
            taylor.derivatives(lambda y, r, check=check: r * flat(check, r), y, raw, twice=True)
    finally:
        taylor.RULES.update(known)
    missing = {name for name, rule in known.items() if rule not in used} - {"full_like"}
    assert not missing


def flat(name, r):
    return getattr(torch, name)(r, 0) if name in ("ge", "le", "eq", "ne") else getattr(torch, name)(r)


@pytest.mark.parametrize(
    "name, ties", [("maximum", True), ("minimum", True), ("abs", True), ("relu", True), ("clamp", True)]
)
def test_corners_are_those_of_backpropagation(name, ties):
    y = np.array([0.0, 0.0, 1.0, -1.0, 0.5])
    raw = np.array([0.0, -0.0, 1.0, -1.0, 0.5])
    expected = backpropagated(FOLLOWED[name], y, raw)
    found = taylor.derivatives(FOLLOWED[name], torch.from_numpy(y), torch.from_numpy(raw), twice=True)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)


def test_what_is_the_same_for_all_rows_is_a_number_and_unused_values_are_not_computed():
    y, raw = (torch.from_numpy(part) for part in problem())

    class Counts(torch.utils._python_dispatch.TorchDispatchMode):
        n = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            Counts.n += function.__name__.partition(".")[0] not in ("detach", "expand", "alias")
            return function(*args, **(kwargs or {}))

    with Counts():
        gradient, hessian = taylor.derivatives(lambda y, r: (y - r) ** 2 / 2, y, raw, twice=True)
    assert hessian == 1.0 and isinstance(hessian, float) and Counts.n <= 4
    np.testing.assert_allclose(gradient, raw.numpy() - y.numpy(), rtol=1e-15)
    _, hessian = taylor.derivatives(lambda y, r: torch.where(y > r, 1.0, 2.0) * (y - r) ** 2, y, raw, twice=True)
    np.testing.assert_array_equal(hessian, np.where(y > raw, 2.0, 4.0))


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("n_threads", [1, 2])
def test_other_functions_are_backpropagated(name, n_threads):
    y, raw = problem()
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the function raises, too
        taylor.derivatives(OTHERS[name], torch.from_numpy(y), torch.from_numpy(raw), twice=True)
    loss = AutodiffLoss(OTHERS[name], hessian="exact")
    pairs = loss.pairs(len(y), weighted=True)
    loss.gradients(y, raw[None], np.ones(len(y)), pairs, n_threads)
    first, second = backpropagated(OTHERS[name], y, raw)
    np.testing.assert_allclose(pairs.pairs[0, :, 0], first, rtol=1e-12)
    np.testing.assert_allclose(pairs.pairs[0, :, 1], np.maximum(second, 0), rtol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_gradients_of_ones_own_are_those_of_backpropagation(scale):
    """Also where nothing is done that could be seen, and no row that is looked at tells."""
    y, raw = problem()
    others = np.arange(len(y)) != 1  # which is not among those that are looked at
    y[others] *= scale
    raw[others] *= scale
    loss = AutodiffLoss(lambda y, r: (Returned.apply(r) - y) ** 2, hessian="constant")
    pairs = loss.pairs(len(y), weighted=False)
    loss.gradients(y, raw[None], None, pairs)
    np.testing.assert_allclose(pairs.pairs[0, :, 0], np.clip(2 * (raw - y), -0.1, 0.1), rtol=1e-12)


def test_a_constant_that_changes_after_it_was_used_is_an_error_as_it_was():
    y, raw = problem()
    with pytest.raises(taylor.NotKnown):
        taylor.derivatives(weight_that_changes, torch.from_numpy(y), torch.from_numpy(raw), twice=True)


def test_blocks_that_cannot_be_followed_are_backpropagated(monkeypatch):
    """Whichever thread they come to."""
    monkeypatch.setattr("boostgrad.losses.autodiff.BLOCK_TORCH", 50)

    def sometimes(y, r):
        return torch.special.erfcx(-y) * r**2 if bool((y > 1.5).any()) else torch.exp(-y * y) * r**2

    y, raw = problem(n=1000)
    found = []
    for n_threads in (1, 2, 3):
        loss = AutodiffLoss(sometimes)
        pairs = loss.pairs(len(y), weighted=False)
        loss.gradients(y, raw[None], None, pairs, n_threads)
        found.append(pairs.pairs.tobytes())
    assert len(set(found)) == 1


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("hessian", ["auto", "exact", "gauss_newton", "constant"])
@pytest.mark.parametrize("name", ["where a constant", "exp", "linear by rows", "deviance", "abs"])
def test_losses_are_those_that_are_backpropagated(name, hessian, weighted, monkeypatch):
    """All that is made of the derivatives, with blocks and threads."""
    monkeypatch.setattr(autodiff, "BLOCK_TORCH", 100)
    y, raw = problem(n=1000)
    weight = np.random.default_rng(1).random(1000) if weighted else None
    found = []
    for least in (0, 10**9):
        monkeypatch.setattr(autodiff, "WORTH_PROBING", least)
        loss = AutodiffLoss(FOLLOWED[name], hessian=hessian)
        pairs = loss.pairs(1000, weighted)
        loss.gradients(y, raw[None], weight, pairs, n_threads=2)
        found.append(pairs)
    assert found[0].constant_hessian == found[1].constant_hessian
    np.testing.assert_allclose(found[0].pairs, found[1].pairs, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(found[0].largest, found[1].largest, rtol=1e-7)
