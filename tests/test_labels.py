"""Weights of classes, several labels a row, and the focal loss."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.model_selection import cross_val_score
from sklearn.utils.class_weight import compute_sample_weight

from boostgrad import BoostGradClassifier, BoostGradDataset
from boostgrad.losses import Focal

PARAMETERS = {"n_estimators": 15, "random_state": 0}


def table(n=600, n_classes=3):
    rng = np.random.default_rng(0)
    X = rng.random((n, 4))
    y = np.digitize(X[:, 0] + 0.2 * rng.standard_normal(n), [0.6, 0.9][: n_classes - 1])
    return X, np.array(["a", "b", "c"])[y]


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("chosen", ["balanced", {"a": 0.5, "b": 3}])
@pytest.mark.parametrize("early", [False, True])
def test_class_weight_is_a_sample_weight(n_classes, chosen, early):
    X, y = table(n_classes=n_classes)
    weight = compute_sample_weight(chosen if chosen == "balanced" else {"a": 0.5, "b": 3, "c": 1}, y)
    model = BoostGradClassifier(class_weight=chosen, early_stopping=early, **PARAMETERS).fit(X, y)
    plain = BoostGradClassifier(early_stopping=early, **PARAMETERS).fit(X, y, weight)
    np.testing.assert_allclose(model.predict_proba(X), plain.predict_proba(X), atol=1e-9)
    given = np.random.default_rng(1).random(len(y))
    if chosen != "balanced":
        model.fit(X, y, given)
        np.testing.assert_allclose(model.predict_proba(X), plain.fit(X, y, given * weight).predict_proba(X), atol=1e-9)


def test_class_weight_counts_for_validation_rows_too():
    X, y = table()
    weight = compute_sample_weight({"a": 0.5, "b": 3, "c": 1}, y)
    model = BoostGradClassifier(class_weight={"a": 0.5, "b": 3}, **PARAMETERS)
    model.fit(X[:400], y[:400], X_val=X[400:], y_val=y[400:])
    plain = BoostGradClassifier(**PARAMETERS)
    plain.fit(X[:400], y[:400], weight[:400], X_val=X[400:], y_val=y[400:], sample_weight_val=weight[400:])
    np.testing.assert_allclose(model.validation_score_, plain.validation_score_, rtol=1e-12)
    assert model.class_weight == {"a": 0.5, "b": 3}


@pytest.mark.parametrize(
    ("chosen", "n_held_out"), [("balanced", 40), ({0: 1, 1: 1}, 40), ({1: 50}, 80), ({0: 0.0, 1: 1.0}, 20)]
)
def test_weights_of_held_out_rows_may_all_come_out_as_1(chosen, n_held_out):
    """Prediction sets are made of the weights that fit was given: those of the classes are divided out again."""
    X, y = np.random.default_rng(0).random((400, 3)), np.tile([0, 1], 200)
    given = {"X_val": X[:80], "y_val": np.zeros(80, int)} if chosen == {1: 50} else {}
    model = BoostGradClassifier(class_weight=chosen, early_stopping=True, **PARAMETERS).fit(X, y, **given)
    scores = model.conformity_scores_[0]
    assert scores.n_rows == n_held_out
    # of rows of equal weight each has the same share of what is below the threshold
    np.testing.assert_allclose(scores.share * (n_held_out + 1), np.round(scores.share * (n_held_out + 1)), atol=1e-9)


def test_class_weights_of_labels_that_a_fold_lacks():
    X, y = table()
    y[:2] = "rare"
    model = BoostGradClassifier(class_weight={"rare": 50.0, "a": 2.0}, **PARAMETERS)
    folds = [(np.arange(2, 400), np.arange(400, 600)), (np.arange(300), np.arange(300, 600))]
    assert np.isfinite(cross_val_score(model, X, y, cv=folds, error_score="raise")).all()
    with_both = model.fit(X, y).calibrate(X, y, cv=folds)
    assert with_both.conformity_scores_[0].n_rows
    without = BoostGradClassifier(class_weight={"a": 2.0}, **PARAMETERS).fit(X[2:], y[2:])
    np.testing.assert_array_equal(model.fit(X[2:], y[2:]).predict_proba(X), without.predict_proba(X))


def test_bad_class_weights():
    X, y = table()
    with pytest.raises(ValueError, match="class_weight: the labels in y are strings. Got a weight of 1"):
        BoostGradClassifier(class_weight={1: 1.0}).fit(X, y)
    with pytest.raises(ValueError, match="class_weight: the labels in y are no strings. Got a weight of '1'"):
        BoostGradClassifier(class_weight={"1": 1.0}).fit(X, y == "a")
    with pytest.raises(ValueError, match="class_weight is zero for all rows"):
        BoostGradClassifier(class_weight=dict.fromkeys("abc", 0.0)).fit(X, y)
    with pytest.raises(ValueError, match="class_weight needs one label a row"):
        BoostGradClassifier(class_weight="balanced").fit(X, np.eye(3)[np.arange(600) % 3])


@pytest.mark.parametrize("weighted", [False, True])
def test_labels_are_models_of_their_own(weighted, tmp_path):
    X, y = table()
    labels = np.column_stack([y == "a", y != "c", X[:, 1] > 0.3])
    weight = np.random.default_rng(1).random(600) if weighted else None
    model = BoostGradClassifier(**PARAMETERS).fit(X, labels, weight)
    found = model.predict_proba(X)
    assert found.shape == (600, 3) and model.classes_.tolist() == [0, 1, 2]
    for k in range(3):
        alone = BoostGradClassifier(**PARAMETERS).fit(X, labels[:, k], weight)
        # equal gains are decided by the number of the tree
        np.testing.assert_allclose(found[:, k], alone.predict_proba(X)[:, 1], atol=1e-9 if weighted else 0.1)
    np.testing.assert_array_equal(model.predict(X), (found > 0.5).astype(int))
    assert np.mean(model.predict(X) == labels) > 0.9
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(BoostGradClassifier.load(tmp_path / "model").predict_proba(X), found)
    stopped = BoostGradClassifier(early_stopping=True, **PARAMETERS).fit(X, labels, weight)
    assert stopped.validation_score_[-1] > stopped.validation_score_[0]
    given = BoostGradClassifier(**PARAMETERS).fit(X, labels, X_val=X[:50], y_val=labels[:50])
    assert len(given.validation_score_) == given.n_iter_ + 1


@pytest.mark.parametrize("form", ["csr_matrix", "csc_array", "coo_matrix", "lil_matrix", "csr_array"])
@pytest.mark.parametrize("dtype", [np.int64, bool, np.float64])
def test_sparse_labels(form, dtype):
    X, y = table()
    labels = np.column_stack([y == "a", y != "c", X[:, 1] > 0.3]).astype(dtype)
    given = getattr(sparse, form)(labels)
    models = [
        BoostGradClassifier(early_stopping=True, **PARAMETERS).fit(X, labels).fit(X, of, X_val=X[:50], y_val=of_val)
        for of, of_val in ((labels, labels[:50]), (given, sparse.csr_matrix(labels[:50])))
    ]
    np.testing.assert_array_equal(*[model.predict_proba(X) for model in models])
    np.testing.assert_array_equal(*[model.validation_score_ for model in models])
    assert models[1].score(X, given.tocsr()) == models[0].score(X, labels)
    of_dataset = BoostGradClassifier(early_stopping=False, **PARAMETERS).fit(BoostGradDataset(X, given))
    plain = BoostGradClassifier(early_stopping=False, **PARAMETERS).fit(X, labels)
    np.testing.assert_array_equal(of_dataset.predict_proba(X), plain.predict_proba(X))
    one = BoostGradClassifier(**PARAMETERS).fit(X, given.tocsr()[:, [0]])
    assert one.predict(X).shape == (600,) and one.classes_.dtype == dtype
    wrong = labels.astype(np.float64)
    wrong[7, 1] = 2
    with pytest.raises(ValueError, match="must hold 0 and 1, a column a label: row 7, column 1 is .*2"):
        BoostGradClassifier().fit(X, getattr(sparse, form)(wrong))
    with pytest.raises(ValueError, match="X has 600 rows, y has 2"):
        BoostGradClassifier().fit(X, given.tocsr()[:2])


@pytest.mark.parametrize("dtype", ["Int64", "boolean", "Float64", "int8[pyarrow]"])
def test_labels_of_nullable_frames_are_scored_as_they_are_fitted(dtype):
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    X, y = table()
    labels = np.column_stack([y == "a", X[:, 1] > 0.3]).astype(int)
    frame = pd.DataFrame(labels).astype(dtype)
    model = BoostGradClassifier(**PARAMETERS).fit(X, frame)
    weight = np.arange(600.0)
    assert model.score(X, frame) == (model.predict(X) == labels).all(axis=1).mean() > 0.8
    assert model.score(X, frame, weight) == model.score(X, labels, weight) != model.score(X, labels)
    of_one = BoostGradClassifier(**PARAMETERS).fit(X, frame[0])
    assert of_one.score(X, frame[0]) == (of_one.predict(X) == labels[:, 0]).mean() > 0.8


def test_bad_labels():
    X, y = table()
    with pytest.raises(ValueError, match="y_val must have as many columns as y"):
        BoostGradClassifier().fit(X, np.zeros((600, 2)), X_val=X, y_val=np.zeros((600, 3)))
    with pytest.raises(ValueError, match="y_val must have as many columns as y"):
        BoostGradClassifier().fit(X, y, X_val=X, y_val=np.zeros((600, 3)))
    with pytest.raises(ValueError, match="must be 'log_loss' where y has two dimensions"):
        BoostGradClassifier(loss="focal").fit(X, np.zeros((600, 2)))
    with pytest.raises(ValueError, match="X has 600 rows, y has 2"):
        BoostGradClassifier().fit(X, np.zeros((2, 2)))


def test_focal_by_name():
    X, y = table(n_classes=2)
    model = BoostGradClassifier("focal", **PARAMETERS).fit(X, y)
    same = BoostGradClassifier(Focal(2.0), **PARAMETERS).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), same.predict_proba(X))
    assert model.score(X, y) > 0.8
    with pytest.raises(ValueError, match="'focal' for two classes"):
        BoostGradClassifier("focal").fit(*table(n_classes=3))
