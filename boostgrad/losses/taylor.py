"""First and second derivatives of a function of PyTorch's in one pass over it: numbers bring their derivatives along.

The loss of a row is a function of one number, its raw prediction r. Whatever is computed on the way is kept as a Taylor
polynomial of degree two in r, which takes the place of a tensor::

                   value            first       second     operations on arrays
    r              r                1           0
    d = y - r      y - r           -1           0          1
    d ** 2         (d ** 2)        -2 d         2          1
    d ** 2 / 2     (d ** 2 / 2)    -d           1          1

Derivatives that are the same for all rows are numbers, which cost nothing, and values that nobody asks for, here those
in brackets, are not computed. Backpropagation, twice, takes 16 operations for the same.

The operations known here work element by element. At any other, and where gradients are switched off on the way, as
within a ``torch.autograd.Function``, :class:`NotKnown` or an error of the function's says that this way is closed, and
``autodiff.py`` goes the other one.

References
----------
Griewank and Walther (2008), "Evaluating derivatives", chapter 13.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from numbers import Real
from typing import Any

import numpy as np

# A derivative, or a constant: a tensor, or a float where it is the same for all rows.
Part = Any


class NotKnown(Exception):
    """Of an operation, or of one of its arguments."""


def derivatives(
    function: Callable[[Any, Any], Any], y: Any, raw: Any, twice: bool
) -> tuple[np.ndarray, np.ndarray | float | None]:
    """First and second derivatives of the losses of rows, the second ones as a number where all are the same.

    Parameters
    ----------
    function : callable
        ``function(y, raw)``, the losses.
    y : torch.Tensor
    raw : torch.Tensor of float64, shape (n_rows,)
    twice : bool
        Whether second derivatives are wanted.

    Raises
    ------
    NotKnown
        If the function does what cannot be followed; it may also raise anything else because of what it was given.
    """
    run = Run(twice)
    found = function(y, Taylor(lambda: raw, 1.0, 0.0, raw.shape, run))
    if not isinstance(found, Taylor) or found.shape != raw.shape or run.has_changed():
        raise NotKnown
    for part in (found.first, found.second):
        if not isinstance(part, float) and (part.requires_grad or part.dtype != raw.dtype):
            raise NotKnown
    first = np.full(raw.shape, found.first) if isinstance(found.first, float) else _whole(found.first, raw.shape)
    second = found.second if isinstance(found.second, float) else _whole(found.second, raw.shape)
    return first, second if twice else None


def _whole(part: Any, shape: tuple[int, ...]) -> np.ndarray:
    return part.expand(shape).contiguous().numpy()


class Run:
    """One call of a function.

    Attributes
    ----------
    twice : bool
        Whether second derivatives are wanted; otherwise they are 0.
    constants : list of (torch.Tensor, int)
        What was used that does not depend on the raw prediction, and its version then: values that are computed later
        and derivatives are made of its memory, so that nobody may write to it in between.
    """

    def __init__(self, twice: bool):
        self.twice = twice
        self.constants: list[tuple[Any, int]] = []

    def constant(self, x: Any) -> Part:
        """What does not depend on the raw prediction, in double precision."""
        import torch

        if isinstance(x, torch.Tensor) and not x.is_complex():
            self.constants.append((x, x._version))
            return x.to(torch.float64)
        if isinstance(x, Real):
            return float(x)
        raise NotKnown

    def has_changed(self) -> bool:
        return any(tensor._version != version for tensor, version in self.constants)


class Taylor:
    """Of each row the value of what was computed, and its derivatives by the raw prediction.

    Attributes
    ----------
    first, second : torch.Tensor or float
    shape : tuple of int
    run : Run
    """

    __slots__ = ("_make", "_value", "first", "run", "second", "shape")

    def __init__(self, make: Callable[[], Any], first: Part, second: Part, shape: tuple[int, ...], run: Run):
        self._make, self._value = make, None
        self.first, self.second, self.shape, self.run = first, second, shape, run

    @property
    def value(self) -> Any:
        """A tensor, worked out when somebody first asks for it."""
        if self._value is None:
            self._value = self._make()
        return self._value

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        import torch

        if function is torch.Tensor.where:  # whose arguments come in another order
            raise NotKnown
        return _by_rule(function.__name__, *args, **(kwargs or {}))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in RULES:
            raise NotKnown(name)
        return partial(_by_rule, name, self)

    @property
    def dtype(self) -> Any:
        return self.value.dtype

    @property
    def device(self) -> Any:
        return self.value.device

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __bool__(self):
        raise NotKnown

    def __iadd__(self, other: Any):
        """Another name for this would have to change, too."""
        raise NotKnown

    __isub__ = __imul__ = __itruediv__ = __ifloordiv__ = __imod__ = __ipow__ = __iand__ = __ior__ = __ixor__ = __iadd__
    __hash__ = None  # type: ignore[assignment]
    __iter__ = __len__ = __float__ = __int__ = __index__ = __getitem__ = __setitem__ = __array__ = __iadd__


def _by_rule(name: str, *args: Any, **kwargs: Any) -> Any:
    import torch

    rule = RULES.get(name[2:-2] if name.startswith("__") else name)
    if rule is None or not torch.is_grad_enabled() or "out" in kwargs:
        raise NotKnown(name)
    return rule(*args, **kwargs)


# ---- numbers and tensors ---------------------------------------------------------------------------------------------


def _is(x: Part, number: float) -> bool:
    return isinstance(x, float) and x == number


def _plus(a: Part, b: Part) -> Part:
    return b if _is(a, 0) else a if _is(b, 0) else a + b


def _minus(a: Part, b: Part) -> Part:
    return a if _is(b, 0) else -b if _is(a, 0) else a - b


def _times(a: Part, b: Part) -> Part:
    if _is(a, 0) or _is(b, 0):
        return 0.0
    return b if _is(a, 1) else a if _is(b, 1) else a * b


def _shape(*of: Any) -> tuple[int, ...]:
    return np.broadcast_shapes(*(tuple(x.shape) for x in of if not isinstance(x, float)))


def _value(x: Any) -> Part:
    return x.value if isinstance(x, Taylor) else x


# ---- rules -----------------------------------------------------------------------------------------------------------

RULES: dict[str, Callable[..., Any]] = {}


def _rule(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def _chain(x: Taylor, make: Callable[[], Any], first: Part, second: Callable[[], Part]) -> Taylor:
    """f(x), of which ``first`` is f'(x) and ``second()`` f''(x)."""
    bent = 0.0
    if x.run.twice and not _is(x.first, 0):
        bent = _times(second(), _times(x.first, x.first))
    return Taylor(make, _times(first, x.first), _plus(bent, _times(first, x.second)), x.shape, x.run)


def _only(x: Any) -> Taylor:
    if not isinstance(x, Taylor):
        raise NotKnown
    return x


@_rule("add", "radd")
def _add(x: Any, y: Any, *, alpha: float = 1) -> Taylor:
    y = y if alpha == 1 else _multiply(y, alpha)
    if not isinstance(x, Taylor):
        x, y = y, x
    if isinstance(y, Taylor):
        shape, first, second = _shape(x, y), _plus(x.first, y.first), _plus(x.second, y.second)
        return Taylor(lambda: x.value + y.value, first, second, shape, x.run)
    y = x.run.constant(y)
    return Taylor(lambda: x.value + y, x.first, x.second, _shape(x, y), x.run)


@_rule("sub", "subtract")
def _subtract(x: Any, y: Any, *, alpha: float = 1) -> Taylor:
    y = y if alpha == 1 else _multiply(y, alpha)
    if not isinstance(y, Taylor):
        y = x.run.constant(y)
        return Taylor(lambda: x.value - y, x.first, x.second, _shape(x, y), x.run)
    if isinstance(x, Taylor):
        shape, first, second = _shape(x, y), _minus(x.first, y.first), _minus(x.second, y.second)
        return Taylor(lambda: x.value - y.value, first, second, shape, x.run)
    x = y.run.constant(x)
    return Taylor(lambda: x - y.value, _minus(0.0, y.first), _minus(0.0, y.second), _shape(x, y), y.run)


@_rule("rsub")
def _subtract_from(x: Any, y: Any, *, alpha: float = 1) -> Taylor:
    return _subtract(y, x, alpha=alpha)


@_rule("neg", "negative")
def _negate(x: Any) -> Taylor:
    x = _only(x)
    return Taylor(lambda: -x.value, _minus(0.0, x.first), _minus(0.0, x.second), x.shape, x.run)


@_rule("mul", "rmul", "multiply")
def _multiply(x: Any, y: Any) -> Any:
    if not isinstance(x, Taylor):
        x, y = y, x
    if not isinstance(x, Taylor):
        return x * y
    if not isinstance(y, Taylor):
        y = x.run.constant(y)
        return Taylor(lambda: x.value * y, _times(x.first, y), _times(x.second, y), _shape(x, y), x.run)
    first = _plus(_times(x.first, y.value), _times(x.value, y.first))
    second = _plus(_times(x.second, y.value), _times(x.value, y.second))
    if x.run.twice:
        second = _plus(second, _times(2.0, _times(x.first, y.first)))
    return Taylor(lambda: x.value * y.value, first, second, _shape(x, y), x.run)


@_rule("div", "divide", "true_divide", "truediv")
def _divide(x: Any, y: Any, *, rounding_mode: str | None = None) -> Taylor:
    if rounding_mode is not None:
        raise NotKnown
    if isinstance(y, Taylor):
        return _multiply(x, _reciprocal(y))
    y = x.run.constant(y)
    if _is(y, 0):
        raise NotKnown
    parts = (part if _is(part, 0) else part / y for part in (x.first, x.second))
    return Taylor(lambda: x.value / y, *parts, _shape(x, y), x.run)


@_rule("rdiv", "rtruediv")
def _divide_by(x: Any, y: Any) -> Taylor:
    return _divide(y, x)


@_rule("reciprocal")
def _reciprocal(x: Any) -> Taylor:
    inverse = 1.0 / _only(x).value
    first = -inverse * inverse
    return _chain(x, lambda: inverse, first, lambda: -2.0 * first * inverse)


@_rule("pow", "float_power")
def _power(x: Any, exponent: Any) -> Taylor:
    if not isinstance(x, Taylor):
        return _power_of(x, exponent)
    p = x.run.constant(exponent)
    if not isinstance(p, float):
        raise NotKnown

    def term(factor: Part, exponent: float) -> Part:  # numbers are multiplied first
        if _is(factor, 0) or exponent == 0:
            return factor
        return _times(factor, x.value if exponent == 1 else x.value**exponent)

    bent = 0.0
    if x.run.twice:
        of_first, of_second = _times(p * (p - 1), _times(x.first, x.first)), _times(p, x.second)
        bent = _plus(term(of_first, p - 2), term(of_second, p - 1))
    return Taylor(lambda: x.value**p, term(_times(p, x.first), p - 1), bent, x.shape, x.run)


@_rule("square")
def _square(x: Any) -> Taylor:
    return _power(x, 2)


@_rule("rpow")
def _power_of_second(x: Any, base: Any) -> Taylor:
    return _power_of(base, x)


def _power_of(base: Any, x: Any) -> Taylor:
    """A number to the power of x."""
    base = _only(x).run.constant(base)
    if not (isinstance(base, float) and base > 0):
        raise NotKnown
    value, slope = base**x.value, math.log(base)
    return _chain(x, lambda: value, slope * value, lambda: slope**2 * value)


@_rule("where")
def _where(condition: Any, x: Any, y: Any) -> Taylor:
    import torch

    if not isinstance(condition, torch.Tensor) or condition.dtype != torch.bool:
        raise NotKnown
    whole = _only(x if isinstance(x, Taylor) else y)
    whole.run.constant(condition)
    x, y = (part if isinstance(part, Taylor) else whole.run.constant(part) for part in (x, y))

    def choose(a: Part, b: Part) -> Part:
        if isinstance(a, float) and isinstance(b, float):
            if a == b:
                return a
            a = torch.full((), a, dtype=torch.float64)
        return torch.where(condition, a, b)

    parts = ((part.first, part.second) if isinstance(part, Taylor) else (0.0, 0.0) for part in (x, y))
    shape = _shape(condition, x, y)
    return Taylor(lambda: choose(_value(x), _value(y)), *map(choose, *parts), shape, whole.run)


def _larger(x: Any, y: Any, sign: float) -> Taylor:
    """Where two are equal, PyTorch takes the mean of their derivatives."""
    import torch

    run = _only(x if isinstance(x, Taylor) else y).run
    a, b = (part.value if isinstance(part, Taylor) else run.constant(part) for part in (x, y))
    if isinstance(a, float) or isinstance(b, float):
        raise NotKnown
    of_x = torch.where(a == b, 0.5, (a > b if sign > 0 else a < b).to(torch.float64))
    both = _add(_multiply(x, of_x), _multiply(y, 1.0 - of_x))
    make = partial(torch.maximum if sign > 0 else torch.minimum, a, b)
    return Taylor(make, both.first, both.second, both.shape, both.run)


@_rule("maximum")
def _maximum(x: Any, y: Any) -> Taylor:
    return _larger(x, y, 1.0)


@_rule("minimum")
def _minimum(x: Any, y: Any) -> Taylor:
    return _larger(x, y, -1.0)


@_rule("clamp", "clip")
def _clamp(x: Any, min: Any = None, max: Any = None) -> Taylor:
    value, lower, upper = _only(x).value, *(None if end is None else x.run.constant(end) for end in (min, max))
    if not all(end is None or isinstance(end, float) for end in (lower, upper)):
        raise NotKnown
    inside = value == value
    inside = inside if lower is None else inside & (value >= lower)
    inside = inside if upper is None else inside & (value <= upper)
    return _chain(x, lambda: value.clamp(lower, upper), inside.to(value.dtype), lambda: 0.0)


@_rule("abs", "absolute")
def _absolute(x: Any) -> Taylor:
    value = _only(x).value
    return _chain(x, value.abs, value.sgn(), lambda: 0.0)


@_rule("relu")
def _relu(x: Any, inplace: bool = False) -> Taylor:
    if inplace:
        raise NotKnown
    value = _only(x).value
    return _chain(x, value.relu, (value > 0).to(value.dtype), lambda: 0.0)


@_rule("exp")
def _exp(x: Any) -> Taylor:
    value = _only(x).value.exp()
    return _chain(x, lambda: value, value, lambda: value)


@_rule("expm1")
def _expm1(x: Any) -> Taylor:
    value = _only(x).value
    power = value.exp()
    return _chain(x, value.expm1, power, lambda: power)


@_rule("log")
def _log(x: Any) -> Taylor:
    value = _only(x).value
    inverse = 1.0 / value
    return _chain(x, value.log, inverse, lambda: -inverse * inverse)


@_rule("log1p")
def _log1p(x: Any) -> Taylor:
    value = _only(x).value
    inverse = 1.0 / (1.0 + value)
    return _chain(x, value.log1p, inverse, lambda: -inverse * inverse)


@_rule("sqrt")
def _sqrt(x: Any) -> Taylor:
    root = _only(x).value.sqrt()
    first = 0.5 / root
    return _chain(x, lambda: root, first, lambda: -0.5 * first / x.value)


@_rule("sin")
def _sin(x: Any) -> Taylor:
    value = _only(x).value
    return _chain(x, value.sin, value.cos(), lambda: -value.sin())


@_rule("cos")
def _cos(x: Any) -> Taylor:
    value = _only(x).value
    return _chain(x, value.cos, -value.sin(), lambda: -value.cos())


@_rule("sinh")
def _sinh(x: Any) -> Taylor:
    value = _only(x).value
    return _chain(x, value.sinh, value.cosh(), value.sinh)


@_rule("cosh")
def _cosh(x: Any) -> Taylor:
    value = _only(x).value
    return _chain(x, value.cosh, value.sinh(), value.cosh)


@_rule("tanh")
def _tanh(x: Any) -> Taylor:
    value = _only(x).value.tanh()
    first = 1.0 - value * value
    return _chain(x, lambda: value, first, lambda: -2.0 * value * first)


@_rule("sigmoid")
def _sigmoid(x: Any) -> Taylor:
    p, q = _only(x).value.sigmoid(), (-x.value).sigmoid()
    return _chain(x, lambda: p, p * q, lambda: p * q * (q - p))


@_rule("softplus")
def _softplus(x: Any, beta: Any = 1.0, threshold: Any = 20.0) -> Taylor:
    import torch

    if threshold != 20:
        raise NotKnown
    beta, value = float(beta), _only(x).value
    p = _times(beta, value).sigmoid()
    make = partial(torch.nn.functional.softplus, value, beta, threshold)
    return _chain(x, make, p, lambda: _times(beta, p * _times(-beta, value).sigmoid()))


@_rule("logsigmoid", "log_sigmoid")
def _log_sigmoid(x: Any) -> Taylor:
    return _negate(_softplus(_negate(x)))


@_rule("logaddexp")
def _log_add_exp(x: Any, y: Any) -> Taylor:
    return _add(y, _softplus(_subtract(x, y)))


@_rule("erf")
def _erf(x: Any) -> Taylor:
    value = _only(x).value
    first = (2.0 / math.sqrt(math.pi)) * (-value * value).exp()
    return _chain(x, value.erf, first, lambda: -2.0 * value * first)


@_rule("lgamma")
def _lgamma(x: Any) -> Taylor:
    value = _only(x).value
    return _chain(x, value.lgamma, value.digamma(), partial(value.polygamma, 1))


@_rule("clone", "contiguous", "double", "positive", "pos")
def _same(x: Any, **layout: Any) -> Any:
    return x


@_rule("detach")
def _detach(x: Any) -> Any:
    return _only(x).value.clone()  # which may be written to


def _refuse_options(reduction: str, others: dict[str, Any]) -> None:
    if reduction != "none" or any(value is not None for value in others.values()):
        raise NotKnown


@_rule("mse_loss")
def _squared_error(x: Any, y: Any, *, reduction: str = "mean", **others: Any) -> Taylor:
    _refuse_options(reduction, others)
    return _square(_subtract(x, y))


@_rule("binary_cross_entropy_with_logits")
def _log_loss(x: Any, y: Any, *, reduction: str = "mean", **others: Any) -> Taylor:
    _refuse_options(reduction, others)
    return _subtract(_softplus(x), _multiply(x, y))


def _flat(name: str) -> Callable[..., Any]:
    """What has no derivative, or one that is 0: a constant."""

    def rule(*args: Any, **kwargs: Any) -> Any:
        import torch

        values = [_value(arg) for arg in args]
        return getattr(torch, name)(*values, **kwargs)

    return rule


_COMPARISONS = ("gt", "ge", "lt", "le", "eq", "ne")
_MADE_LIKE = ("zeros_like", "ones_like", "full_like")
for _name in (*_COMPARISONS, *_MADE_LIKE, "isnan", "isinf", "isfinite", "sign", "sgn", "floor", "ceil", "round"):
    RULES[_name] = _flat(_name)

# The operators of Python.
_ARITHMETIC = ("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "pow", "rpow", "neg", "pos", "abs")
for _name in (*_ARITHMETIC, *_COMPARISONS):
    setattr(Taylor, f"__{_name}__", lambda *args, _name=_name: _by_rule(_name, *args))
