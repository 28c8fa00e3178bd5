"""Models that earlier versions wrote must load for ever, and predict what they predicted then.

``fixtures/<name>.bg`` is a model file, ``fixtures/<name>.json`` beside it says what it must give for which rows. When
the format changes, run this file: it adds models of the new version and leaves the old ones alone.
"""

import datetime as dt
import json
from pathlib import Path

import numpy as np
import pytest

import boostgrad
from boostgrad import BoostGradClassifier, BoostGradRegressor
from boostgrad.boosting import Rows, train
from boostgrad.data.binning import BinMapper
from boostgrad.data.columns import Columns
from boostgrad.io import native
from boostgrad.losses import get_loss
from boostgrad.params import TreeParams
from boostgrad.tree.model import Ensemble
from boostgrad.tree.predictor import Predictor

FIXTURES = Path(__file__).parent / "fixtures"
FILES = sorted(path.stem for path in FIXTURES.glob("*.bg"))
CATEGORIES = "v2_categories"  # an ensemble alone
NAMES = [name for name in FILES if name != CATEGORIES]


def load(name):
    expected = json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))
    X = np.array(expected["X"], dtype=object if "dates" in expected else float)  # null is NaN
    for column in expected.get("dates", ()):
        X[:, column] = [None if day is None else dt.datetime.fromisoformat(day) for day in X[:, column]]
    return getattr(boostgrad, expected["class"]).load(FIXTURES / f"{name}.bg"), X, expected


def test_every_version_is_there():
    assert (
        sorted(
            [f"v{v}_{kind}" for v in (1, 2) for kind in ("binary", "multiclass", "regressor")]
            + [CATEGORIES, "v3_multiclass", "v4_binary", "v4_multiclass"]
        )
        == FILES
    )
    versions = {native.load(path).format_version for path in FIXTURES.glob("*.bg")}
    assert versions == set(range(1, native.FORMAT_VERSION + 1))
    assert sorted(path.stem for path in FIXTURES.glob("*.json")) == FILES


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("name", NAMES)
def test_predictions(name):
    model, X, expected = load(name)
    np.testing.assert_allclose(model._raw(X), expected["raw"], rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(model.apply(X), expected["leaves"])
    if expected["class"] == "BoostGradClassifier":
        assert model.predict(X).tolist() == expected["predict"]
        np.testing.assert_allclose(model.predict_proba(X), expected["predict_proba"], rtol=1e-12)
    else:
        np.testing.assert_allclose(model.predict(X), expected["predict"], rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_all_else_that_a_file_holds(name):
    model, _, expected = load(name)
    attributes = expected["attributes"]
    assert model.get_params() == {**model.get_params(), **expected["parameters"]}
    assert model.n_iter_ == attributes["n_iter_"] and model.n_features_in_ == attributes["n_features_in_"]
    names = getattr(model, "feature_names_in_", None)
    assert attributes["feature_names_in_"] == (None if names is None else names.tolist())
    if "classes_" in attributes:
        assert model.classes_.tolist() == attributes["classes_"]
    for score in ("feature_importances_", "train_score_", "validation_score_"):
        np.testing.assert_allclose(getattr(model, score), attributes[score], rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_loaded_can_be_stored_again(name, tmp_path):
    model, X, _ = load(name)
    model.save(tmp_path / "again.bg")
    again = type(model).load(tmp_path / "again.bg")
    assert native.dump_bytes(again.ensemble_) == native.dump_bytes(model.ensemble_)
    assert again.get_params() == model.get_params()


def test_categories():
    expected = json.loads((FIXTURES / f"{CATEGORIES}.json").read_text(encoding="utf-8"))
    ensemble = native.load(FIXTURES / f"{CATEGORIES}.bg").ensemble
    columns = category_columns(expected["levels"], expected["numbers"], expected["n_levels"])
    np.testing.assert_allclose(Predictor(ensemble).raw(columns), expected["raw"], rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(Predictor(ensemble).leaves(columns), expected["leaves"])
    assert native.load_bytes(native.dump_bytes(ensemble)).format_version == 2


@pytest.mark.parametrize("name", [name for name in NAMES if name[:2] in ("v2", "v4")])
def test_levels_and_their_sets(name):
    model, _, expected = load(name)
    assert [[info.kind, list(info.levels), len(info.rare_levels)] for info in model.ensemble_.features] == expected[
        "features"
    ]
    if name.startswith("v2"):
        assert any(tree.categories is not None for tree in model.ensemble_.trees)
    else:
        assert [len(info.values) for info in model.ensemble_.features] == expected["values"]


@pytest.mark.parametrize("name", FILES)
def test_nobody_changed_the_files(name):
    assert native.load(FIXTURES / f"{name}.bg").format_version == int(name[1:].partition("_")[0])
    assert (FIXTURES / f"{name}.bg").stat().st_size < 20_000


# ---- making them -----------------------------------------------------------------------------------------------------


def write(name, model, X):
    path = FIXTURES / f"{name}.bg"
    if path.exists():
        return  # it must stay as it is
    rows = X.to_numpy() if hasattr(X, "to_numpy") else X
    classifies = isinstance(model, BoostGradClassifier)
    names = getattr(model, "feature_names_in_", None)
    expected = {
        "class": type(model).__name__,
        "parameters": {k: v for k, v in model.get_params().items() if v != type(model)().get_params()[k]},
        "attributes": {
            "n_iter_": model.n_iter_,
            "n_features_in_": model.n_features_in_,
            "feature_names_in_": None if names is None else names.tolist(),
            **({"classes_": model.classes_.tolist()} if classifies else {}),
            **{
                name: getattr(model, name).tolist()
                for name in ("feature_importances_", "train_score_", "validation_score_")
            },
        },
        "X": [
            [None if x is None or x != x else x.isoformat() if hasattr(x, "isoformat") else x for x in r] for r in rows
        ],
        "raw": model._raw(X).tolist(),
        "leaves": model.apply(X).tolist(),
        "predict": model.predict(X).tolist(),
        **({"predict_proba": model.predict_proba(X).tolist()} if classifies else {}),
    }
    if name[:2] in ("v2", "v4"):
        expected["dates"] = [info.source for info in model.ensemble_.features if info.kind == "date" and not info.part]
        expected["features"] = [[f.kind, list(f.levels), len(f.rare_levels)] for f in model.ensemble_.features]
    if name.startswith("v4"):
        expected["values"] = [len(f.values) for f in model.ensemble_.features]
    model.save(path)
    path.with_suffix(".json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")


def category_columns(levels, numbers, n_levels):
    """A column of levels, and one of numbers where null is NaN."""
    arrays = [np.array(levels, dtype=np.int32), np.array(numbers, dtype=float)]
    return Columns(arrays, len(levels), ("where", "how much"), (n_levels, 0))


def write_categories(n_levels=40):
    path = FIXTURES / f"{CATEGORIES}.bg"
    if path.exists():
        return
    rng = np.random.default_rng(0)
    levels = rng.integers(-1, n_levels, 600)
    numbers = rng.normal(size=600).round(3)
    numbers[rng.random(600) < 0.1] = np.nan
    y = rng.normal(size=n_levels)[levels] + np.nan_to_num(numbers)
    columns = category_columns(levels, numbers, n_levels)
    mapper = BinMapper.fit(columns)
    loss, params = get_loss("squared_error"), TreeParams(max_leaf_nodes=6, min_samples_leaf=5)
    trained = train(Rows(mapper.transform(columns), y, None), mapper.edges, loss, params, 4)
    ensemble = Ensemble(trained.trees, trained.base_score, 2, columns.names, loss.name)
    levels, numbers = [-1, n_levels, 999, *range(20)], [*numbers[:22].tolist(), float("nan")]
    columns = category_columns(levels, numbers, n_levels)
    expected = {
        "n_levels": n_levels,
        "levels": levels,
        "numbers": [None if np.isnan(x) else x for x in numbers],
        "raw": Predictor(ensemble).raw(columns).tolist(),
        "leaves": Predictor(ensemble).leaves(columns).tolist(),
    }
    native.save(path, ensemble)
    path.with_suffix(".json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")


def write_numbers():
    """Version 1: what has no columns but those of numbers is written in it still."""
    import pandas as pd

    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3)).round(3)
    X[rng.random(X.shape) < 0.1] = np.nan
    X[:3, 0], X[3:6, 0] = np.inf, -np.inf
    score = np.nan_to_num(X[:, 1]) + np.sign(np.nan_to_num(X[:, 2], posinf=1.0)) * 0.5
    frame = pd.DataFrame(X, columns=["age", "l\u00e4nge", "x y"])
    small = {"n_estimators": 4, "max_leaf_nodes": 6, "random_state": 0}
    write("v1_regressor", BoostGradRegressor(**small, l2_regularization=0.5).fit(frame, score), frame[:12])
    write("v1_binary", BoostGradClassifier(**small, grow_policy="depthwise").fit(X, score > 0), X[:12])
    labels = np.array(["red", "gr\u00fcn", "blue"], dtype=object)[np.digitize(score, [-0.5, 0.5])]
    write("v1_multiclass", BoostGradClassifier(**small, early_stopping=True).fit(X, labels), X[:12])


def write_mixed():
    """Version 2: categories of text, numbers and bools, with and without rare levels; dates."""
    import pandas as pd

    rng = np.random.default_rng(1)
    n = 600
    places = np.array([f"Straße {i}" for i in range(60)], dtype=object)[(60 * rng.random(n) ** 2).astype(int)]
    places[:3], places[5::40] = ["once", "twice", "thrice"], None
    days = [dt.datetime(2024, 1, 1) + dt.timedelta(hours=int(h)) for h in rng.integers(0, 5000, n)]
    days[7::50] = [None] * len(days[7::50])
    frame = pd.DataFrame({"place": places, "how much": rng.normal(size=n).round(3), "open": rng.random(n) < 0.5})
    score = frame["how much"] + frame["open"] * 2 + [sum(map(ord, place or "")) % 5 for place in places]
    score += [0 if day is None else day.hour / 6 for day in days]
    small = {"n_estimators": 4, "max_leaf_nodes": 6, "random_state": 0}
    new = pd.DataFrame({"place": ["new", None, "once"], "how much": [0.0, np.nan, 1.0], "open": [True, False, True]})
    model = BoostGradRegressor(**small, date_parts=("hour",)).fit(frame.assign(day=days), score)
    new_days = [None, dt.datetime(2024, 5, 1, 23), dt.datetime(1969, 5, 1)]
    write("v2_regressor", model, pd.concat([frame.assign(day=days)[:12], new.assign(day=new_days)]).astype(object))
    model = BoostGradClassifier(**small, unknown_category="rare").fit(frame, score > score.median())
    write("v2_binary", model, pd.concat([frame[:12], new]).astype(object))
    numbers = np.column_stack([rng.integers(0, 30, n).astype(float), rng.normal(size=n).round(3)])
    numbers[3::50, 0] = np.nan
    labels = np.array(["red", "grün", "blue"])[np.nan_to_num(7 * numbers[:, 0] % 30 // 10).astype(int)]
    model = BoostGradClassifier(**small, categorical_features=[0], early_stopping=True).fit(numbers, labels)
    write("v2_multiclass", model, np.vstack([numbers[:12], [[99, 0], [-1, 0]]]))


def write_vectors():
    """Version 3: leaves that are vectors."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(300, 3)).round(3)
    X[rng.random(X.shape) < 0.1] = np.nan
    labels = np.array(["red", "gr\u00fcn", "blue"])[np.digitize(np.nan_to_num(X[:, 0] + X[:, 1]), [-0.5, 0.5])]
    small = {"n_estimators": 4, "max_leaf_nodes": 6, "random_state": 0}
    write("v3_multiclass", BoostGradClassifier(**small, multi_strategy="multi_output_tree").fit(X, labels), X[:12])


def write_statistics():
    """Version 4: statistics in place of a column's levels and beside them, of one output and of several."""
    import pandas as pd

    rng = np.random.default_rng(2)
    n = 900
    frame = pd.DataFrame({"many": [f"item {k}" for k in (200 * rng.random(n) ** 2).astype(int)]})
    frame["few"] = np.array(list("abcdef") + [None], dtype=object)[rng.integers(0, 7, n)]
    frame["how much"] = rng.normal(size=n).round(3)
    frame.loc[::50, "many"] = None
    score = frame["how much"] + [sum(map(ord, str(item))) % 7 for item in frame["many"]] + (frame["few"] == "b")
    small = {"n_estimators": 4, "max_leaf_nodes": 6, "random_state": 0, "target_statistics": "always"}
    new = pd.DataFrame({"many": ["new", None], "few": ["a", "new"], "how much": [0.0, np.nan]})
    new = pd.concat([frame[:12], new]).astype(object)
    write("v4_binary", BoostGradClassifier(**small).fit(frame, score > score.median()), new)
    labels = np.array(["red", "grün", "blue"])[np.digitize(score, [2.0, 5.0])]
    write("v4_multiclass", BoostGradClassifier(**small | {"n_estimators": 3}).fit(frame, labels), new)


if __name__ == "__main__":
    write_numbers()
    write_mixed()
    write_vectors()
    write_categories()
    write_statistics()
