"""Labels that are probabilities: `BoostGradClassifier(loss="cross_entropy")`."""

import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, make_scorer
from sklearn.model_selection import cross_val_score

from boostgrad import BoostGradClassifier, BoostGradDataset, BoostGradRegressor
from boostgrad.losses import BinaryLogLoss, MultilabelLogLoss

SMALL = {"n_estimators": 12, "max_leaf_nodes": 8, "early_stopping": False, "random_state": 0}


def table(n=400, n_labels=None, seed=0):
    """Features of few values, so that no bin depends on weights, and probabilities, of which some are 0 or 1."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 12, (n, 3)).astype(float)
    shape = n if n_labels is None else (n, n_labels)
    noise = 0.2 * rng.standard_normal(shape)
    level = X[:, 0] / 11 if n_labels is None else X[:, :n_labels] / 11
    return X, np.clip(level + noise, 0, 1), rng


def soft(**parameters):
    return BoostGradClassifier(**{"loss": "cross_entropy"} | SMALL | parameters)


def as_rows(X, y, weight=None):
    """Two rows for each soft label, of class 1 and of class 0, with the weights that make them the same."""
    weight = np.ones(len(y)) if weight is None else weight
    hard = np.repeat([1, 0], len(y))
    return np.vstack([X, X]), hard, np.concatenate([weight * y, weight * (1 - y)])


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 0.5, 1: 4.0}, {0: 0.0}])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_soft_label_is_two_weighted_rows(weighted, class_weight):
    X, y, rng = table()
    weight = rng.random(len(y)) + 0.1 if weighted else None
    settings = {"min_samples_leaf": 1, "class_weight": class_weight}
    model = soft(**settings).fit(X, y, weight)
    rows = BoostGradClassifier(**SMALL | settings)
    if class_weight == {0: 0.0}:  # nothing is left but rows of class 1
        assert (model.predict(X) == 1).all()
        return
    rows.fit(*as_rows(X, y, weight))
    np.testing.assert_allclose(model.decision_function(X), rows.decision_function(X), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(model.predict(X), rows.predict(X))


def test_hard_labels_give_the_model_of_log_loss():
    X, y, _ = table()
    hard = (y > 0.5).astype(int)
    model, plain = soft().fit(X, hard), BoostGradClassifier(**SMALL).fit(X, hard)
    np.testing.assert_array_equal(model.predict_proba(X), plain.predict_proba(X))
    assert np.isclose(model.score(X, hard), plain.score(X, hard), rtol=1e-12)


def test_it_predicts_what_the_regressor_does_as_probabilities_of_two_classes():
    X, y, _ = table()
    model, regressor = soft().fit(X, y), BoostGradRegressor("cross_entropy", **SMALL).fit(X, y)
    assert model.classes_.tolist() == [0, 1]
    p = model.predict_proba(X)
    np.testing.assert_allclose(p[:, 1], regressor.predict(X), rtol=1e-12)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    np.testing.assert_array_equal(model.predict(X), p[:, 1] > 0.5)
    raw = model.decision_function(X)
    np.testing.assert_allclose(p[:, 1], 1 / (1 + np.exp(-raw)), rtol=1e-12)
    *_, last = model.staged_predict_proba(X)
    np.testing.assert_allclose(last, p, rtol=1e-12)
    *_, last = model.staged_decision_function(X)
    np.testing.assert_allclose(last, raw, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(model.predictor()(X[0]), p[0])


def test_the_model_is_lightgbms():
    lightgbm = pytest.importorskip("lightgbm")
    X, y, _ = table(1500)
    settings = {
        "objective": "cross_entropy", "num_leaves": 8, "min_data_in_leaf": 10, "min_data_in_bin": 1, "verbose": -1
    }  # fmt: skip
    theirs = lightgbm.train(settings, lightgbm.Dataset(X, y), 12)
    ours = soft(min_samples_leaf=10).fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(X)[:, 1], theirs.predict(X), atol=1e-3)


@pytest.mark.parametrize(
    ("loss", "n_labels"), [("cross_entropy", None), ("cross_entropy", 3), (BinaryLogLoss(soft=True), None)]
)
def test_files_and_pickles_keep_it(loss, n_labels, tmp_path):
    X, y, _ = table(n_labels=n_labels)
    model = soft(loss=loss).fit(X, y)
    model.save(tmp_path / "model")
    for again in (BoostGradClassifier.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
        assert again.score(X, y) == model.score(X, y)
        np.testing.assert_array_equal(again.fit(X, y).predict_proba(X), model.predict_proba(X))


def test_a_file_without_soft_labels_says_nothing_of_them():
    assert BinaryLogLoss().parameters() == {}
    assert MultilabelLogLoss(2).parameters() == {"n_labels": 2}


@pytest.mark.parametrize("n_labels", [None, 3])
def test_score_is_the_expected_accuracy(n_labels):
    """Of labels drawn with the probabilities y; and of labels that are drawn it is the accuracy."""
    X, y, rng = table(300, n_labels)
    weight = rng.random(len(y))
    model = soft().fit(X, y)
    drawn = [
        accuracy_score((rng.random(y.shape) < y).astype(int), model.predict(X), sample_weight=weight)
        for _ in range(2000)
    ]
    assert abs(model.score(X, y, weight) - np.mean(drawn)) < 5 * np.std(drawn) / np.sqrt(len(drawn))
    hard = (rng.random(y.shape) < y).astype(int)
    assert np.isclose(model.score(X, hard, weight), accuracy_score(hard, model.predict(X), sample_weight=weight))


def test_several_soft_labels_are_a_model_each():
    X, y, _ = table(n_labels=3)
    model = soft().fit(X, y)
    for k in range(3):
        np.testing.assert_allclose(model.predict_proba(X)[:, k], soft().fit(X, y[:, k]).predict_proba(X)[:, 1])
    np.testing.assert_array_equal(soft().fit(X, sparse.csr_array(y)).predict_proba(X), model.predict_proba(X))
    vectors = soft(multi_strategy="multi_output_tree", n_estimators=60).fit(X, y)
    assert np.abs(vectors.predict_proba(X) - y).mean() < np.abs(y.mean(axis=0) - y).mean() / 1.3


@pytest.mark.parametrize("n_labels", [None, 3])
def test_early_stopping_looks_at_fractions(n_labels):
    X, y, rng = table(600, n_labels)
    weight = rng.random(len(y)) + 0.1
    more = {"n_estimators": 300, "n_iter_no_change": 5, "min_samples_leaf": 2, "learning_rate": 0.3}
    model = soft(**more | {"early_stopping": True}).fit(X[:400], y[:400], weight[:400])
    assert model.n_iter_ < 300
    assert "conformity_scores_" not in vars(model)
    model.fit(X[:400], y[:400], weight[:400], X_val=X[400:], y_val=y[400:], sample_weight_val=weight[400:])
    p = model.predict_proba(X[400:])
    p = p[:, 1] if n_labels is None else p
    loss = -(y[400:] * np.log(p) + (1 - y[400:]) * np.log1p(-p)).reshape(200, -1).sum(axis=1)
    assert np.isclose(-model.validation_score_[-1], np.average(loss, weights=weight[400:]), rtol=1e-9)


def test_scores_of_fractions_are_the_expected_ones():
    X, y, _ = table(600)
    given = {"X_val": X[400:], "y_val": y[400:]}
    model = soft(scoring=["loss", "neg_log_loss", "accuracy"]).fit(X[:400], y[:400], **given)
    scores = model.validation_scores_
    np.testing.assert_allclose(scores["loss"], scores["neg_log_loss"], rtol=1e-9)
    rows, hard, weight = as_rows(X[400:], y[400:])
    expected = -log_loss(hard, model.predict_proba(rows), sample_weight=weight)
    assert np.isclose(scores["neg_log_loss"][-1], expected, rtol=1e-9)
    assert np.isclose(scores["accuracy"][-1], model.score(X[400:], y[400:]))
    # class_weight changes labels and weights alike
    model = soft(scoring=["accuracy", "loss"], class_weight={1: 3}).fit(X[:400], y[:400], **given)
    expected = accuracy_score(hard, model.predict(rows), sample_weight=weight * np.where(hard == 1, 3, 1))
    assert np.isclose(model.validation_scores_["accuracy"][-1], expected)

    def squared(model, X, y):
        assert y.dtype == float
        return -np.mean((model.predict_proba(X)[:, 1] - y) ** 2)

    model = soft(scoring=squared).fit(X[:400], y[:400], **given)
    assert np.isclose(model.validation_score_[-1], squared(model, X[400:], y[400:]))
    assert cross_val_score(soft(), X, y, cv=3).min() > 0.6
    names = soft(scoring={"a": make_scorer(lambda y, p: -np.abs(y - p).mean())})
    assert len(names.fit(X[:400], y[:400], **given).validation_scores_["a"]) == 13


@pytest.mark.parametrize("n_labels", [None, 2])
@pytest.mark.parametrize("scoring", ["roc_auc", "neg_brier_score", "balanced_accuracy", "neg_mean_squared_error"])
def test_scores_of_labels_are_refused(scoring, n_labels):
    X, y, _ = table(n_labels=n_labels)
    with pytest.raises(ValueError, match=f"scoring='{scoring}' cannot score this model: it is for labels"):
        soft(scoring=scoring, early_stopping=True).fit(X, y)


def test_several_labels_have_no_log_loss_of_scikit_learn():
    X, y, _ = table(n_labels=2)
    with pytest.raises(ValueError, match="'loss' and 'accuracy'"):
        soft(scoring="neg_log_loss", early_stopping=True).fit(X, y)


@pytest.mark.parametrize("n_labels", [None, 2])
def test_sets_need_labels(n_labels):
    X, y, _ = table(n_labels=n_labels)
    model = soft().fit(X, y)
    with pytest.raises(ValueError, match="predict_set needs a model of"):
        model.predict_set(X)
    with pytest.raises(ValueError, match="calibrate needs a model of"):
        model.calibrate(X, y)


@pytest.mark.parametrize("n_labels", [None, 3])
def test_datasets_hold_soft_labels(n_labels):
    X, y, _ = table(n_labels=n_labels)
    model = soft().fit(BoostGradDataset(X, y))
    np.testing.assert_array_equal(model.predict_proba(X), soft().fit(X, y).predict_proba(X))


def test_offset_is_added():
    X, y, rng = table()
    offset = rng.standard_normal(len(y))
    model = soft().fit(X, y, offset=offset)
    regressor = BoostGradRegressor("cross_entropy", **SMALL).fit(X, y, offset=offset)
    np.testing.assert_allclose(model.predict_proba(X, offset)[:, 1], regressor.predict(X, offset), rtol=1e-9)
    assert model.score(X, y, offset=offset) > 0.6


@pytest.mark.parametrize("n_labels", [None, 3])
def test_init_predicts_probabilities_as_a_classifier_or_as_a_regressor(n_labels):
    X, y, rng = table(n_labels=n_labels)
    for init in (soft(n_estimators=3), LinearRegression()):
        init.fit(X, y)
        p = init.predict_proba(X) if hasattr(init, "predict_proba") else init.predict(X)
        p = np.clip(p[:, 1] if p.shape[1:] == (2,) else p, 1e-15, 1 - 1e-15)
        model = soft(init=init).fit(X, y)
        if isinstance(init, LinearRegression):  # which predicts more than 1
            p = np.clip(p, *model.init_range_.T[:, 0 if n_labels is None else slice(None)])
        plain = soft().fit(X, y, offset=np.log(p / (1 - p)))
        expected = plain.decision_function(X, offset=np.log(p / (1 - p)))
        np.testing.assert_allclose(model.decision_function(X), expected, rtol=1e-6, atol=1e-6)
    if n_labels is None:
        hard = LogisticRegression().fit(X, y > 0.5)
        with pytest.raises(ValueError, match="init: LogisticRegression: Unknown label type"):
            soft(init=LogisticRegression()).fit(X, y)
        hard.classes_ = np.array([0, 1])
        assert soft(init=hard).fit(X, y).score(X, y) > 0.6
        with pytest.raises(ValueError, match=r"predicts 2 number\(s\) a row"):
            soft(init=LinearRegression().fit(X, np.column_stack([y, y]))).fit(X, y)


def test_init_is_fitted_to_what_class_weight_makes_of_labels():
    X, y, _ = table()
    model = soft(init=LinearRegression(), class_weight={1: 5.0}).fit(X, y)
    rows, hard, weight = as_rows(X, y)
    plain = LinearRegression().fit(rows, hard, sample_weight=weight * np.where(hard == 1, 5.0, 1.0))
    np.testing.assert_allclose(model.init_.coef_, plain.coef_)


@pytest.mark.parametrize("bad", [-0.1, 1.5, np.nan, np.inf])
@pytest.mark.parametrize(("n_labels", "class_weight"), [(None, None), (2, None), (None, {1: 2.0})])
def test_what_is_no_probability_is_refused(bad, n_labels, class_weight):
    X, y, _ = table(n_labels=n_labels)
    y.reshape(len(y), -1)[7, -1] = bad
    message = r"row 7" if np.isfinite(bad) else "row 7|contains"
    with pytest.raises(ValueError, match=message):
        soft(class_weight=class_weight).fit(X, y)
    with pytest.raises(ValueError, match=message):
        soft(class_weight=class_weight).fit(X[50:], y[50:], X_val=X[:50], y_val=y[:50])
    model = soft().fit(X[50:], y[50:])
    with pytest.raises(ValueError, match=message):
        model.score(X, y)


def test_soft_labels_need_both_classes_and_their_loss():
    X, y, _ = table()
    for one in (np.zeros(len(y)), np.ones(len(y))):
        with pytest.raises(ValueError, match=f"all rows are of class {one[0]:g}"):
            soft().fit(X, one)
    assert soft().fit(X, np.full(len(y), 0.3)).predict_proba(X)[:, 1] == pytest.approx(0.3)
    with pytest.raises(ValueError, match="row 0 is 'a'"):
        soft().fit(X, np.full(len(y), "a"))
    with pytest.raises(ValueError, match="Unknown label type"):
        BoostGradClassifier(**SMALL).fit(X, y)
    with pytest.raises(ValueError, match="class_weight needs one label a row"):
        soft(class_weight="balanced").fit(X, np.column_stack([y, y]))
    with pytest.raises(ValueError, match="as many columns"):
        soft().fit(X, y).score(X, np.column_stack([y, y]))
