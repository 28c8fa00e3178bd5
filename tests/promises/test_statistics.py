"""Target statistics as a user of the estimators sees them: they help, and they do not leak."""

import pickle

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from boostgrad import BoostGradClassifier, BoostGradRegressor, native
from boostgrad.io import native as files

pd = pytest.importorskip("pandas")

OPTIONS = {"early_stopping": False, "random_state": 0}


def level_effects(n_levels=400, n_rows=4, seed=0):
    """(X, y) to train on and to score on: the same levels, whose means differ by as much as their rows do."""
    rng = np.random.default_rng(seed)
    effect = rng.normal(size=n_levels)
    levels = np.repeat(np.arange(n_levels), 2 * n_rows)
    y = effect[levels] + rng.normal(size=len(levels))
    X = pd.DataFrame({"level": [f"level {k}" for k in levels], "x": rng.normal(size=len(levels))})
    train = np.arange(len(levels)) % 2 == 0
    return X[train], y[train], X[~train], y[~train]


def dumped(model):
    return files.dump_bytes(model.ensemble_)


def targets(y):
    return (BoostGradRegressor, y), (BoostGradClassifier, y > 0), (BoostGradClassifier, np.digitize(y, [-1, 1]))


def test_levels_of_few_rows_are_learned():
    """With 4 rows a level, the best that can be done is an R2 of 0.4."""
    X, y, X_new, y_new = level_effects()
    scores = [
        BoostGradRegressor(**OPTIONS, target_statistics=choice).fit(X, y).score(X_new, y_new)
        for choice in ("auto", "never")
    ]
    assert scores[0] > 0.25 and scores[0] > scores[1] + 0.1


@pytest.mark.parametrize("n_levels", [50, 1000])
def test_noise_is_not_learned(n_levels):
    rng = np.random.default_rng(1)
    X = pd.DataFrame({"x": rng.normal(size=8000), "noise": rng.integers(0, n_levels, 8000).astype(str)})
    y = X["x"] + rng.logistic(size=8000) > 0
    for choice in ("auto", "always"):
        with_noise = BoostGradClassifier(**OPTIONS, n_estimators=40, target_statistics=choice).fit(X[:4000], y[:4000])
        without = BoostGradClassifier(**OPTIONS, n_estimators=40).fit(X[["x"]][:4000], y[:4000])
        auc = [
            roc_auc_score(y[rows], model.predict_proba(part[rows])[:, 1])
            for rows in (slice(4000), slice(4000, None))
            for model, part in ((with_noise, X), (without, X[["x"]]))
        ]
        assert abs(auc[2] - auc[3]) < 0.02  # held out
        assert auc[0] < auc[1] + 0.05  # on the training rows nothing is made up either
        assert with_noise.feature_importances_[1] < 0.4


def test_rows_set_aside_have_no_part_in_statistics():
    """Their scores are those of rows never seen."""
    X, y, X_new, y_new = level_effects(1000)
    inside = BoostGradRegressor(random_state=0, early_stopping=True, validation_fraction=0.5).fit(X, y)
    given = BoostGradRegressor(random_state=0, early_stopping=True).fit(X, y, X_val=X_new, y_val=y_new)
    loss = 0.5 * np.mean((given.predict(X_new) - y_new) ** 2)
    assert np.isclose(-given.validation_score_[-1], loss)
    assert inside.validation_score_[-1] < given.validation_score_[-1]  # fewer rows, and no target of its own


@pytest.mark.parametrize("choice", ["auto", "always"])
def test_files_pickles_and_threads(choice, tmp_path):
    X, y, X_new, _ = level_effects()
    X = X.assign(few=np.where(X["x"] > 0, "a", "b"))
    X.loc[::9, "level"] = None
    for face, target in targets(y):
        options = {**OPTIONS, "n_estimators": 25, "target_statistics": choice}
        model = face(**options, n_jobs=1).fit(X, target)
        rows = X[:99].assign(few="new")
        model.save(tmp_path / "model.bg")
        assert files.load(tmp_path / "model.bg").format_version == 4
        for other in (face.load(tmp_path / "model.bg"), pickle.loads(pickle.dumps(model))):
            np.testing.assert_array_equal(model._raw(rows), other._raw(rows))
            assert dumped(other) == dumped(model)
        for n_jobs in (2, 3, 5):
            assert dumped(face(**options, n_jobs=n_jobs).fit(X, target)) == dumped(model)
        assert model.feature_importances_.shape == (3,)
        np.testing.assert_allclose(list(model.staged_predict(rows))[-1], model.predict(rows))
        kinds = [(info.kind, info.source) for info in model.ensemble_.features]
        n_signals = model.ensemble_.n_outputs
        assert kinds.count(("statistic", 0)) == n_signals and ("category", 0) not in kinds
        assert kinds.count(("statistic", 2)) == (n_signals if choice == "always" else 0)


def test_instruction_sets():
    X, y, _, _ = level_effects()
    before, models = native.isa(), set()
    try:
        for isa in native.available_isas():
            native.use_isa(isa)
            models.add(dumped(BoostGradRegressor(**OPTIONS, n_estimators=30).fit(X, y)))
    finally:
        native.use_isa(before)
    assert len(models) == 1


def test_unknown_and_missing_levels():
    X, y, _, _ = level_effects(100, 20)
    X.loc[::10, "level"] = None
    y = np.where(X["level"].isna(), 5.0, y)
    new = pd.DataFrame({"level": ["new", None], "x": 0.0})
    model = BoostGradRegressor(**OPTIONS, target_statistics="always").fit(X, y)
    unknown, missing = model.predict(new)
    assert missing > 4 and abs(unknown - y[X["level"].notna()].mean()) < 0.6
    with pytest.raises(ValueError, match="column 'level', row 0: the category 'new' was not there"):
        model.set_params(unknown_category="error").predict(new)


def test_values_are_steps_of_the_levels():
    """Of squared error the mean of the level less that of all, pulled to 0; weights count."""
    X, y, _, _ = level_effects(50, 60)
    weight = np.random.default_rng(0).integers(0, 3, len(y))
    model = BoostGradRegressor(**OPTIONS, n_estimators=1).fit(X, y, weight)
    info = model.ensemble_.features[1]
    assert (info.kind, info.part) == ("statistic", "statistic")
    of_level = pd.DataFrame({"level": X["level"], "w": weight, "wy": weight * y}).groupby("level").sum()
    mean = np.average(y, weights=weight)
    of_level = of_level.loc[list(model.ensemble_.features[0].levels)]
    plain = of_level["wy"] - of_level["w"] * mean
    prior = (plain / np.array(info.values) - of_level["w"]).to_numpy()
    assert 0 < prior[0] < 30 and np.allclose(prior, prior[0])
    rows = np.repeat(np.arange(len(y)), weight)
    repeated = BoostGradRegressor(**OPTIONS, n_estimators=1).fit(X.iloc[rows], y[rows])
    assert np.corrcoef(repeated.ensemble_.features[1].values, info.values)[0, 1] > 0.99


def test_many_outputs():
    X, y, _, _ = level_effects(40, 60)
    labels = np.digitize(y, np.quantile(y, np.linspace(0, 1, 12)[1:-1]))
    model = BoostGradClassifier(**OPTIONS, n_estimators=3).fit(X, labels)
    assert model.ensemble_.n_outputs == 11
    assert [info.kind for info in model.ensemble_.features].count("statistic") == 8
