"""One list of parameters: defaults, checks, docstrings."""

import inspect
import math
from dataclasses import fields
from fractions import Fraction
from numbers import Integral

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold

from boostgrad import BoostGradClassifier, BoostGradRanker, BoostGradRegressor, BoostGradSurvival, losses
from boostgrad import params as parameters
from boostgrad.callbacks import Callback, EarlyStopping

FACES = [BoostGradRegressor, BoostGradClassifier]
LARGE = 2**31
FRACTION = (0.0, -1.0, math.inf, math.nan, "x", None, [1])
COUNT = (0, -1, 1.5, 2.0, True, "x", LARGE, math.nan, [1])

# Of every parameter: what is refused, and what is accepted.
CASES = {
    "learning_rate": (FRACTION, (1e-3, 1, np.float32(0.1), Fraction(1, 3))),
    "n_estimators": ((*COUNT, None), (1, np.int8(3))),
    "max_leaf_nodes": ((*COUNT, 1), (None, 2, np.int64(7))),
    "max_depth": (COUNT, (None, 1)),
    "min_samples_leaf": ((*COUNT, None), (1, np.uint8(3))),
    "min_child_weight": ((*FRACTION[1:], True), (0, 0.0, 3.5)),
    "min_split_gain": (FRACTION[1:], (0, 3.5)),
    "l1_regularization": (FRACTION[1:], (0, 3.5)),
    "l2_regularization": (FRACTION[1:], (0, 3.5)),
    "max_delta_step": (FRACTION[1:], (0, 3.5)),
    "grow_policy": (("oblivious", "", None, 1, b"leafwise"), ("leafwise", "symmetric", np.str_("leafwise").item())),
    "max_bins": ((1, 65536, 2.5, "x", None, True), (2, 255, 65535)),
    "categorical_features": (
        ("auto", "a", 3, [1.5], [True, 1], ["a", 0], [None], {"a": 1}, {0}),
        (
            None,
            "from_dtype",
            [],
            [0, 2],
            ("a", "b"),
            [True, False],
            np.array([True]),
            np.array([1, 2]),
            np.array(["a"]),
        ),
    ),
    "multi_strategy": (["vector", None, 1, True], ["auto", "one_output_per_tree", "multi_output_tree"]),
    "unknown_category": (("ignore", None, 1), ("missing", "rare", "error")),
    "target_statistics": (("yes", None, True), ("auto", "always", "never")),
    "date_parts": (("year", ["week"], ("year", "year"), 1, {"year"}), (None, (), ("year", "hour"), ["weekday"])),
    "early_stopping": (("on", None, 1, 0, 0.5), ("auto", True, False)),
    "validation_fraction": ((0, 0.0, 1, 1.0, -0.1, math.nan, "x", None, KFold), (0.5, KFold(3))),
    "n_iter_no_change": ((*COUNT, None), (1,)),
    "tol": (FRACTION[1:], (0, 1e-3)),
    "scoring": (
        (None, 1, "", KFold, [], (), {}, {"r2"}, ["r2", "r2"], ["r2", ""], ["r2", max], [["r2"]], {1: "r2"})
        + ({"": "r2"}, {"a": ""}, {"a": KFold}, {"a": ["r2"]}, {"loss": "r2"}),
        ("loss", "roc_auc", "ndcg@5", max, ["roc_auc"], ("loss", "r2"), {"a": "r2", "b": max, "loss": "loss"}),
    ),
    "callbacks": (
        (Callback(), [1], [Callback], iter([Callback()]), "x", lambda state: True),
        (None, [], (), [Callback()], (EarlyStopping(), Callback())),
    ),
    "n_jobs": ((0, 1.5, "all", True, LARGE, -LARGE), (None, 1, 3, -1, -2, np.int64(2))),
    "verbose": ((-1, 1.5, "x", None), (0, 1, 2, True, False)),
    "init": (("x", 1, {}, [0.0], LinearRegression), (None, "zero", LinearRegression())),
    "quantile": (
        (0, 1, 0.0, 1.0, "x", [], [0.5, 0.1], [0.5, 1], np.array([[0.1, 0.5]]), np.array([])),
        (0.01, 0.5, None, [0.1, 0.5], (0.1, 0.5), np.array([0.1, 0.5])),
    ),
    "class_weight": (("x", [1, 2], {0: -1}, {0: np.inf}, {0: "x"}), (None, "balanced", {}, {0: 1, "b": 0.0})),
    "random_state": (
        (-1, 2**32, 1.5, "x", True, np.random.RandomState),
        (None, 0, 2**32 - 1, np.int32(5), np.random.RandomState(0)),
    ),
}


def test_cases_cover_every_parameter():
    assert set(CASES) == set(parameters.ALL)


@pytest.mark.parametrize("face", FACES)
def test_defaults_are_those_of_the_list(face):
    signature = inspect.signature(face)
    given = {name: p.default for name, p in signature.parameters.items() if name != "loss"}
    own = of_face(face)
    assert given == {name: entry.default for name, entry in parameters.ALL.items() if name in own}
    others = {f.name for f in fields(parameters.TreeParams)} | {f.name for f in fields(parameters.BoostParams)}
    assert others <= own <= set(parameters.ALL)
    for name in given:
        assert type(given[name]) is type(parameters.ALL[name].default)
    assert next(iter(signature.parameters)) == "loss"
    assert all(p.kind is p.KEYWORD_ONLY for name, p in signature.parameters.items() if name != "loss")


def test_defaults_are_those_of_the_public_face():
    expected = {
        "learning_rate": 0.1, "n_estimators": 100, "max_leaf_nodes": 31, "max_depth": None, "min_samples_leaf": 20,
        "min_child_weight": 1e-3, "min_split_gain": 0.0, "l1_regularization": 0.0, "l2_regularization": 0.0,
        "max_delta_step": 0.0, "grow_policy": "leafwise", "max_bins": 255, "early_stopping": "auto",
        "categorical_features": "from_dtype",
        "validation_fraction": 0.1, "n_iter_no_change": 10, "tol": 1e-7, "callbacks": None, "n_jobs": None,
        "verbose": 0, "random_state": None,
    }  # fmt: skip
    assert {name: entry.default for name, entry in parameters.ALL.items() if name in expected} == expected
    assert BoostGradRegressor().loss == "squared_error" and BoostGradClassifier().loss == "log_loss"


@pytest.mark.parametrize("name", parameters.ALL)
def test_what_is_refused_and_what_is_accepted(name):
    refused, accepted = CASES[name]
    parameters.check("Model", name, parameters.ALL[name].default)
    for value in accepted:
        parameters.check("Model", name, value)
    for value in refused:
        with pytest.raises(ValueError) as caught:
            parameters.check("Model", name, value)
        message = str(caught.value)
        assert message.startswith(f"The {name!r} parameter of Model must be ")
        assert message.endswith(f". Got {value!r} instead.")


def of_face(face):
    return set(inspect.signature(face).parameters) - {"loss"}


def test_every_parameter_has_a_face():
    assert set().union(*map(of_face, FACES)) == set(parameters.ALL)


@pytest.mark.parametrize(("face", "name"), [(face, name) for face in FACES for name in sorted(of_face(face))])
def test_fit_refuses_before_it_looks_at_the_data(face, name):
    for value in CASES[name][0]:
        model = face(**{name: value})
        with pytest.raises(ValueError, match=f"The '{name}' parameter of {face.__name__} must be"):
            model.fit(None, None)
        assert not model.__sklearn_is_fitted__()


@pytest.mark.parametrize(
    "name, words",
    [
        ("max_leaf_nodes", "an integer in [2, 2147483647], or None"),
        ("learning_rate", "a number > 0"),
        ("tol", "a number >= 0"),
        ("grow_policy", "'leafwise' or 'depthwise' or 'symmetric'"),
        ("validation_fraction", "a number in (0, 1), or a scikit-learn splitter"),
        ("early_stopping", "'auto' or True or False"),
        ("callbacks", "None, or a list of boostgrad.callbacks.Callback"),
        ("random_state", "an integer in [0, 4294967295], or a RandomState, or None"),
    ],
)
def test_messages_say_what_is_accepted(name, words):
    with pytest.raises(ValueError) as caught:
        parameters.check("Model", name, object)
    assert f"must be {words}. Got" in str(caught.value)


def test_intervals():
    half_open = parameters.Number(Integral, 0, 5, low_open=True, high_open=True)
    assert [n for n in range(-1, 7) if half_open.accepts(n)] == [1, 2, 3, 4]
    assert str(half_open) == "an integer in (0, 5)"
    below = parameters.Number(Integral, -math.inf, -1)
    assert below.accepts(-(10**30)) and not below.accepts(0) and str(below) == "an integer <= -1"


@pytest.mark.parametrize(
    ("refused", "name"),
    [
        (lambda value: parameters.check("X", "init", value), "init"),
        (lambda value: BoostGradRegressor(value).fit([[0.0]], [0.0]), "loss"),
        (lambda value: BoostGradRegressor(value, quantile=0.5).fit([[0.0]], [0.0]), "loss"),
        (lambda value: BoostGradClassifier(value).fit([[0.0], [1.0]], [0, 1]), "loss"),
        (lambda value: BoostGradRanker(value).fit([[0.0]], [0.0]), "loss"),
        (lambda value: BoostGradSurvival(value).fit([[0.0]], [[1.0, 1]]), "loss"),
        (lambda value: BoostGradSurvival().fit([[0.0]], [[1.0, 1]]).predict_survival_function([[0.0]], value), "times"),
        (lambda value: losses.CallableLoss(value), "function"),
        (lambda value: losses.LambdaRank(value), "truncation"),
        (lambda value: losses.Tweedie(value), "power"),
    ],
)
@pytest.mark.parametrize("long", [np.full(400, "one"), ["one"] * 400, "one " * 400, {n: "one" for n in range(400)}])
def test_long_values_are_shown_in_a_line(refused, name, long):
    with pytest.raises(ValueError, match=name) as error:
        refused(long)
    shown = str(error.value).partition("Got ")[2] or str(error.value)
    assert "\n" not in shown and len(shown) < 300
    assert "one" in shown and " ... " in shown


def test_short_values_are_shown_as_they_are(seed):
    rng = np.random.default_rng(seed)
    for length in rng.integers(0, 400, 50):
        text = "".join(rng.choice(list("abc"), length))
        words = parameters.shown(text)
        assert words == repr(text) if len(repr(text)) <= parameters.MOST_SHOWN else len(words) <= parameters.MOST_SHOWN
        assert words.endswith(repr(text)[-50:])


@pytest.mark.parametrize("face", FACES)
def test_docstrings_list_every_parameter_and_attribute(face):
    lines = [line.strip() for line in inspect.getdoc(face).splitlines()]
    for name in ("loss", *of_face(face)):
        assert sum(line.startswith(f"{name} : ") for line in lines) == 1, name
    for name in ("ensemble_", "n_features_in_", "feature_names_in_", "n_iter_", "feature_importances_"):
        assert any(line.startswith(f"{name} : ") for line in lines), name
    assert any(line.startswith("train_score_, validation_score_ : ") for line in lines)
    assert "{" not in inspect.getdoc(face)
    assert "max_bins : an integer in [2, 65535], default=255" in lines


def test_public_methods_are_documented():
    for face in FACES:
        for name, member in inspect.getmembers(face):
            if not name.startswith("_") and name not in ("set_score_request",):
                assert inspect.getdoc(member), name


def test_dataclasses_are_frozen():
    with pytest.raises(AttributeError):
        parameters.TreeParams().max_depth = 3
    assert all(entry.metadata["doc"] for entry in parameters.ALL.values())
