"""``scoring``: what is recorded, what early stopping goes by, and what a scorer gets to see."""

import copy
import pickle
import sys

import numpy as np
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.metrics import (
    accuracy_score,
    check_scoring,
    fbeta_score,
    get_scorer,
    get_scorer_names,
    make_scorer,
    mean_pinball_loss,
)
from sklearn.utils.validation import check_is_fitted

from boostgrad import BoostGradClassifier, BoostGradDataset, BoostGradRanker, BoostGradRegressor, BoostGradSurvival
from boostgrad.callbacks import Callback
from boostgrad.estimators import fitted, scoring
from boostgrad.estimators.samples import Given, Samples
from boostgrad.estimators.scoring import named
from boostgrad.io import native
from boostgrad.losses import CallableLoss, get_loss, registered_losses
from boostgrad.metrics import concordance_index, mean_average_precision, ndcg

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")

N_ROWS = 300
OF_NUMBERS = [name for name in get_scorer_names() if name in (
    "r2", "explained_variance", "d2_absolute_error_score") or name.startswith(("neg_m", "neg_root"))]  # fmt: skip
OF_CLASSES = sorted(set(get_scorer_names()) - set(OF_NUMBERS) - {"roc_auc"})
OF_CLASSES = [name for name in OF_CLASSES if "samples" not in name and "likelihood_ratio" not in name]
CLUSTERS = ("rand", "mutual", "homogeneity", "completeness", "v_measure", "fowlkes")
OF_CLASSES = [name for name in OF_CLASSES if not any(word in name for word in CLUSTERS)]


def problem(kind="numbers", seed=0, n_rows=N_ROWS):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 4))
    score = 2 * X[:, 0] + np.sin(3 * X[:, 1]) + X[:, 0] * X[:, 2] + 0.5 * rng.normal(size=n_rows)
    if kind == "numbers":
        return X, np.exp(score / 2) + 0.1
    return X, np.digitize(score, {"two": [0.0], "three": [-1.0, 1.0]}[kind])


X_val, _ = problem(seed=1, n_rows=120)
WEIGHT = np.random.default_rng(2).integers(0, 4, 120).astype(float)


def bytes_of(model):
    return native.dump_bytes(model.ensemble_)


# ---- names of scikit-learn -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_scores_of_numbers_are_scikit_learns(name):
    (X, y), y_val = problem(), problem(seed=1, n_rows=120)[1]
    model = BoostGradRegressor(loss="poisson", n_estimators=4, scoring=name, early_stopping=False, learning_rate=0.3)
    model.fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=WEIGHT)
    weight = {} if name == "neg_max_error" else {"sample_weight": WEIGHT}
    rows = WEIGHT > 0 if name == "neg_max_error" else slice(None)
    assert model.n_iter_ == 4 and len(model.train_score_) == len(model.validation_score_) == 5
    expected = get_scorer(name)(model, X_val[rows], y_val[rows], **weight)
    assert model.validation_score_[-1] == pytest.approx(expected, rel=1e-10)
    assert model.train_score_[-1] == pytest.approx(get_scorer(name)(model, X, y), rel=1e-10)
    assert model.train_score_[-1] > model.train_score_[0]
    one = clone(model).set_params(n_estimators=1).fit(X, y)
    assert model.train_score_[1] == pytest.approx(get_scorer(name)(one, X, y), rel=1e-10)


@pytest.mark.parametrize("kind, name", [(k, n) for k in ("two", "three") for n in (*OF_CLASSES, "roc_auc")])
def test_scores_of_classes_are_scikit_learns(kind, name):
    (X, y), y_val = problem(kind), problem(kind, seed=1, n_rows=120)[1]
    model = BoostGradClassifier(n_estimators=3, scoring=name, early_stopping=False, learning_rate=0.3)
    weight = {} if "ovo" in name and kind == "three" else {"sample_weight_val": WEIGHT}
    given = {"X_val": X_val, "y_val": y_val, **weight}
    try:
        get_scorer(name)(clone(model).set_params(scoring="loss").fit(X, y), X, y)
    except ValueError:  # scikit-learn's averages are of a kind of their own for more than two classes
        assert kind == "three" and name in ("roc_auc", "f1", "precision", "recall", "jaccard")
        with pytest.raises(ValueError, match=f"scoring='{name}' cannot score this model: "):
            model.fit(X, y, **given)
        assert not hasattr(model, "ensemble_")
        return
    model.fit(X, y, **given)
    weight = {"sample_weight": WEIGHT} if weight else {}
    expected = get_scorer(name)(model, X_val, y_val, **weight)
    assert model.validation_score_[-1] == pytest.approx(expected, rel=1e-10, abs=1e-12)
    assert model.train_score_[-1] == pytest.approx(get_scorer(name)(model, X, y), rel=1e-10, abs=1e-12)


NATIVE = {
    "numbers": OF_NUMBERS,
    "two": ["roc_auc", "average_precision", "neg_log_loss", "neg_brier_score", "accuracy", "balanced_accuracy", "f1",
            "matthews_corrcoef", "precision_macro"],
    "three": ["roc_auc_ovr", "roc_auc_ovr_weighted", "average_precision", "neg_log_loss", "neg_brier_score",
              "accuracy", "balanced_accuracy", "f1_macro", "f1_micro", "f1_weighted", "jaccard_weighted"],
}  # fmt: skip


@pytest.mark.parametrize("kind, name", [(kind, name) for kind, names in NATIVE.items() for name in names])
def test_common_names_need_neither_scikit_learn_nor_the_trees(kind, name, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("this was not to be called")

    monkeypatch.setattr(fitted, "Predictor", never)
    monkeypatch.setattr(scoring, "ByScorers", never)
    X, y = problem(kind)
    face = BoostGradRegressor if kind == "numbers" else BoostGradClassifier
    model = face(n_estimators=3, scoring=name, early_stopping=True, random_state=0, learning_rate=0.05)
    assert np.isfinite(
        model.set_params(**({"loss": "gamma"} if kind == "numbers" else {})).fit(X, y).train_score_
    ).all()


@pytest.mark.parametrize("labels", [["no", "yes"], [1, 2], [-1, 1], [False, True], [2.0, 3.0]])
@pytest.mark.parametrize("name", ["roc_auc", "average_precision", "f1", "neg_brier_score", "accuracy"])
def test_labels_of_any_kind(labels, name):
    X, codes = problem("two")
    y = np.array(labels)[codes]
    model = BoostGradClassifier(n_estimators=5, scoring=name, early_stopping=False, random_state=0)
    model.fit(X, y, X_val=X, y_val=y)
    if 1 in labels or name in ("roc_auc", "accuracy"):
        expected = get_scorer(name)(model, X, y)
    else:  # to which scikit-learn has no answer, or none before some version: the second class is the positive one
        as_codes = BoostGradClassifier(n_estimators=5, random_state=0).fit(X, codes)
        expected = get_scorer(name)(as_codes, X, codes)
    assert model.validation_score_[-1] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("name", ["accuracy", "roc_auc", "average_precision", "f1_macro", "f1_samples"])
def test_several_labels(name):
    X, y = problem("two")
    y = np.column_stack([y, X[:, 1] > 0, X[:, 2] > 1]).astype(int)
    model = BoostGradClassifier(n_estimators=5, scoring=name, early_stopping=False).fit(X, y, X_val=X, y_val=y)
    assert model.validation_score_[-1] == pytest.approx(get_scorer(name)(model, X, y), rel=1e-10)


def test_several_targets_with_missing_ones():
    X, y = problem()
    y = np.column_stack([y, -y, X[:, 1]])
    given = {"X_val": X[:100], "y_val": y[:100].copy()}
    for name in ("r2", "neg_root_mean_squared_error", "neg_mean_absolute_error"):
        model = BoostGradRegressor(n_estimators=5, scoring=name, early_stopping=False).fit(X, y, **given)
        assert model.validation_score_[-1] == pytest.approx(get_scorer(name)(model, X[:100], y[:100]), rel=1e-10)
    given["y_val"][::3, 1] = np.nan
    weight = np.random.default_rng(0).random(100)
    model = BoostGradRegressor(n_estimators=5, scoring="neg_mean_absolute_error", early_stopping=False)
    model.fit(X, y, **given, sample_weight_val=weight)
    error, there = np.abs(model.predict(X[:100]) - given["y_val"]), ~np.isnan(given["y_val"])
    each = [np.average(error[there[:, k], k], weights=weight[there[:, k]]) for k in range(3)]
    assert model.validation_score_[-1] == pytest.approx(-np.mean(each))


def test_names_that_nobody_knows():
    X, y = problem()
    with pytest.raises(ValueError, match="'scoring' parameter of BoostGradRegressor must be 'loss', the name.*'rmse'"):
        BoostGradRegressor(scoring="rmse").fit(X, y)
    with pytest.raises(ValueError, match="Got 'AUC' instead. Did you mean 'roc_auc'?"):
        BoostGradClassifier(scoring="AUC").fit(None, None)
    for name in ("ndcg@0", "ndcg@k", "ndcg@", "ndcg@1.5", "map@0", "mrr"):
        with pytest.raises(ValueError, match="must be 'loss', 'ndcg', 'ndcg@k', 'map', 'map@k', the name"):
            BoostGradRanker(scoring=name).fit(X, y)
    with pytest.raises(ValueError, match="BoostGradRegressor must be 'loss', the name of a .* Got 'ndcg' instead.$"):
        BoostGradRegressor(scoring="ndcg").fit(X, y)
    with pytest.raises(ValueError, match="Did you mean 'concordance_index'"):
        BoostGradSurvival(scoring="c_index").fit(X, y)


def test_scorers_that_do_not_fit_the_model_are_named():
    X, y = problem()
    model = BoostGradRegressor(n_estimators=5, early_stopping=True)
    with pytest.raises(ValueError, match="scoring='roc_auc' cannot score this model: "):
        clone(model).set_params(scoring="roc_auc").fit(X, y)
    with pytest.raises(ValueError, match="scoring='neg_log_loss' cannot score this model: .*predict_proba"):
        clone(model).set_params(scoring="neg_log_loss").fit(X, y)
    with pytest.raises(ValueError, match="'roc_auc' cannot score this model: it is for two classes, and y has 3; 'roc"):
        BoostGradClassifier(scoring="roc_auc", early_stopping=True).fit(*problem("three"))
    with pytest.raises(ValueError, match="scoring='neg_mean_gamma_deviance' cannot score.*the target is not"):
        clone(model).set_params(scoring="neg_mean_gamma_deviance").fit(X, y - 5)
    with pytest.raises(ValueError, match="scoring='r2' cannot score this model"):
        clone(model).set_params(scoring="r2", loss="quantile", quantile=[0.1, 0.9]).fit(X, y)
    with pytest.raises(ValueError, match="scoring='mine' must return a number. Got array"):

        def mine(model, X, y):
            return model.predict(X)

        clone(model).set_params(scoring=mine).fit(X, y)
    with pytest.raises(KeyError, match="mine alone"):  # as it is, since it is the user's

        def broken(model, X, y):
            raise KeyError("mine alone")

        clone(model).set_params(scoring=broken).fit(X, y)


# ---- early stopping --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, name",
    [
        ("two", "roc_auc"),
        ("two", "f1_macro"),
        ("three", "accuracy"),
        ("numbers", "r2"),
        ("numbers", "neg_median_absolute_error"),
    ],
)
def test_early_stopping_goes_by_the_score(kind, name):
    X, y = problem(kind)
    face = BoostGradRegressor if kind == "numbers" else BoostGradClassifier
    model = face(n_estimators=500, learning_rate=0.4, early_stopping=True, scoring=name, tol=0, random_state=0)
    model.fit(X, y)
    assert 1 <= model.n_iter_ < 500
    assert model.validation_score_.argmax() == model.n_iter_ or model.n_iter_ == 1
    assert len(model.validation_score_) == len(model.train_score_) == model.n_iter_ + 1
    full = clone(model).set_params(early_stopping=False, n_estimators=model.n_iter_).fit(X, y)
    assert len(full.validation_score_) == 0


def test_scoring_changes_no_tree():
    X, y = problem("two")
    plain = BoostGradClassifier(n_estimators=8, early_stopping=False, random_state=0).fit(X, y)
    for scorer in ("roc_auc", "top_k_accuracy", lambda model, X, y: model.score(X[:5], y[:5])):
        watched = clone(plain).set_params(scoring=scorer).fit(X, y, X_val=X, y_val=y)
        assert bytes_of(watched) == bytes_of(plain) and len(watched.validation_score_) == 9


def test_the_model_does_not_depend_on_the_threads():
    X, y = problem("three", n_rows=2000)
    of_threads = [
        BoostGradClassifier(n_jobs=n, scoring="roc_auc_ovr", early_stopping=True, random_state=0, n_estimators=40).fit(
            X, y
        )
        for n in (1, 2, 5)
    ]
    assert len({bytes_of(model) for model in of_threads}) == 1
    assert len({model.validation_score_.tobytes() for model in of_threads}) == 1


def test_weights_of_classes_weigh_scores():
    X, y = problem("two")
    model = BoostGradClassifier(class_weight={0: 3.0}, scoring="accuracy", early_stopping=False, n_estimators=3)
    model.fit(X, y, X_val=X, y_val=y)
    right = model.predict(X) == y
    assert model.validation_score_[-1] == pytest.approx(np.average(right, weights=np.where(y == 0, 3.0, 1.0)))


def test_offsets_are_in_the_predictions():
    X, y = problem()
    offset, offset_val = X[:, 0], X_val[:, 1]
    y_val = problem(seed=1, n_rows=120)[1]
    for scorer in ("r2", get_scorer("r2")):
        model = BoostGradRegressor(n_estimators=4, scoring=scorer, early_stopping=False)
        model.fit(X, y, X_val=X_val, y_val=y_val, offset=offset, offset_val=offset_val)
        residual = y_val - model.predict(X_val, offset=offset_val)
        assert model.validation_score_[-1] == pytest.approx(1 - np.mean(residual**2) / np.var(y_val))


def test_a_loss_without_values_can_stop_by_a_score():
    X, y = problem()

    def squared(y, raw, weight):
        return raw - y, np.ones(len(y))

    model = BoostGradRegressor(
        loss=CallableLoss(squared), early_stopping=True, scoring="r2", n_estimators=300, tol=1e-4
    )
    assert 1 < model.fit(X, y).n_iter_ < 300
    with pytest.raises(ValueError, match="a loss with values, which .* has not, or another scoring"):
        model.set_params(scoring="loss").fit(X, y)


def test_scores_that_are_not_defined():
    X, y = problem()

    def correlation(model, X, y):
        prediction = model.predict(X)
        return np.corrcoef(prediction, y)[0, 1] if np.ptp(prediction) > 0 else np.nan

    model = BoostGradRegressor(scoring=correlation, early_stopping=True, random_state=0, n_estimators=30).fit(X, y)
    assert np.isnan(model.validation_score_[0])  # constants have no correlation
    assert model.n_iter_ == np.nanargmax(model.validation_score_) > 1
    X, y = problem("two")
    kept = y == 1
    given = {"X_val": X[kept], "y_val": y[kept]}
    with pytest.raises(ValueError, match=r"scoring='roc_auc' is not defined \(NaN\) for the validation rows"):
        BoostGradClassifier(scoring="roc_auc").fit(X, y, **given)
    recorded = BoostGradClassifier(scoring="roc_auc", early_stopping=False, n_estimators=2).fit(X, y, **given)
    assert np.isnan(recorded.validation_score_).all() and np.isfinite(recorded.train_score_).all()


def test_progress_names_the_scorer(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    X, y = problem("two")
    BoostGradClassifier(n_estimators=10, verbose=1, scoring="roc_auc", early_stopping=True).fit(X, y)
    assert "validation roc_auc 0." in capsys.readouterr().err

    class Seen(Callback):
        def after_iteration(self, state):
            assert state.scoring == "top_k_accuracy" and state.validation_scores[-1] == 1.0

    BoostGradClassifier(n_estimators=2, scoring="top_k_accuracy", early_stopping=False, callbacks=[Seen()]).fit(
        X, y, X_val=X, y_val=y
    )


# ---- scorers of one's own --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "response", ["predict", "predict_proba", "decision_function", ("decision_function", "predict")]
)
@pytest.mark.parametrize("kind", ["two", "three"])
def test_made_scorers_of_all_responses(kind, response, monkeypatch):
    X, y = problem(kind)
    seen = []

    def metric(y, answer, sample_weight=None):
        seen.append(answer)
        return float(np.mean(answer == y)) if answer.dtype.kind == "i" else float(np.mean(answer**2))

    scorer = make_scorer(metric, response_method=response)
    model = BoostGradClassifier(n_estimators=3, scoring=scorer, early_stopping=False)
    model.fit(X, y, X_val=X_val, y_val=problem(kind, 1, 120)[1])
    assert len(seen) == 8  # training and validation rows, four times
    method = response if isinstance(response, str) else response[0]
    expected = getattr(model, method)(X_val)
    expected = expected[:, 1] if kind == "two" and method == "predict_proba" else expected
    np.testing.assert_allclose(seen[-1], expected, rtol=1e-10)


def test_made_scorers_take_weights_and_keep_their_sign():
    X, y = problem()
    weight = np.random.default_rng(0).integers(0, 3, N_ROWS).astype(float)
    scorer = make_scorer(mean_pinball_loss, greater_is_better=False, alpha=0.9)
    model = BoostGradRegressor(n_estimators=5, scoring=scorer, early_stopping=False)
    model.fit(X, y, X_val=X, y_val=y, sample_weight_val=weight)
    expected = -mean_pinball_loss(y, model.predict(X), alpha=0.9, sample_weight=weight)
    assert model.validation_score_[-1] == pytest.approx(expected)
    X, y = problem("two")
    model = BoostGradClassifier(n_estimators=5, scoring=make_scorer(fbeta_score, beta=2), early_stopping=False)
    model.fit(X, y, X_val=X, y_val=y)
    assert model.validation_score_[-1] == pytest.approx(fbeta_score(y, model.predict(X), beta=2))
    passed_on = check_scoring(BoostGradClassifier())
    model = BoostGradClassifier(n_estimators=5, scoring=passed_on, early_stopping=False).fit(X, y, X_val=X, y_val=y)
    assert model.validation_score_[-1] == model.score(X, y)


def test_a_plain_callable_gets_an_estimator_of_the_trees_so_far():
    X, y = problem("two")
    y = np.array(["no", "yes"])[y]
    asked = []

    def scorer(model, X, y):
        check_is_fitted(model)
        assert type(model) is BoostGradClassifier and is_classifier(model) and not is_regressor(model)
        assert model.classes_.tolist() == ["no", "yes"] and model.n_features_in_ == 4 and y.dtype.kind == "U"
        assert model.learning_rate == 0.3 and model.get_params()["scoring"] is scorer
        # another table, though equal: by the trees
        np.testing.assert_allclose(model.predict_proba(X.copy()), model.predict_proba(X), rtol=1e-12)
        np.testing.assert_allclose(model.decision_function(X[:7]), model.decision_function(X)[:7], rtol=1e-12)
        np.testing.assert_array_equal(model.predict(X), model.classes_[(model.decision_function(X) > 0).astype(int)])
        assert len(model.ensemble_.trees) == model.n_iter_ == len(list(model.staged_predict(X)))
        assert model.apply(X).shape == (len(X), model.n_iter_) and model.feature_importances_.shape == (4,)
        asked.append((len(X), model.n_iter_))
        return model.score(X, y)

    model = BoostGradClassifier(n_estimators=3, learning_rate=0.3, scoring=scorer, early_stopping=True, random_state=0)
    model.fit(X, y)
    assert asked == [(n, k) for k in range(4) for n in (270, 30)]
    native_model = clone(model).set_params(scoring="accuracy").fit(X, y)
    np.testing.assert_array_equal(model.validation_score_, native_model.validation_score_)
    assert bytes_of(model) == bytes_of(native_model)


def test_scorers_of_subclasses_and_refits():
    class Doubled(BoostGradRegressor):
        def predict(self, X, offset=None, exposure=None):
            return 2 * super().predict(X, offset, exposure)

    X, y = problem()
    model = Doubled(n_estimators=3, scoring=get_scorer("neg_mean_absolute_error"), early_stopping=False)
    model.__dict__["more"] = 1
    for rows in (200, 300):
        model.fit(X[:rows], y[:rows], X_val=X, y_val=y)
        assert model.validation_score_[-1] == pytest.approx(-np.abs(y - model.predict(X)).mean())
    assert "_raw" not in vars(model)


def test_a_scorer_can_do_no_harm():
    X, y = problem()

    def meddles(model, X, y):
        prediction = model.predict(X)
        prediction[:] = 0
        model._raw(X)[:] = 7
        y[:] = 0
        model.learning_rate = 9
        assert np.isfinite(model.predict(X)).all()
        return -float(np.mean(model.predict(X) ** 2))

    plain = BoostGradRegressor(n_estimators=5, early_stopping=False, random_state=0).fit(X, y)
    target = y.copy()
    model = clone(plain).set_params(scoring=meddles).fit(X, y, X_val=X, y_val=y)
    assert bytes_of(model) == bytes_of(plain) and model.learning_rate == 0.1
    np.testing.assert_array_equal(y, target)


def test_the_estimator_of_a_scorer_can_be_kept():
    X, y = problem("two")
    kept = []

    def checkpoint(model, X, y):
        kept.append((pickle.loads(pickle.dumps(model.set_params(scoring="loss"))), copy.deepcopy(model)))
        return 0.0

    model = BoostGradClassifier(n_estimators=3, scoring=checkpoint, early_stopping=False, random_state=0)
    model.fit(X, y, X_val=X, y_val=y)
    for pair in (kept[0], kept[-1]):
        for again in pair:
            assert again.predict_proba(X).shape == (N_ROWS, 2)
    for again in kept[-1]:
        np.testing.assert_array_equal(again.predict_proba(X[:9]), model.predict_proba(X[:9]))


def test_a_scorer_gets_rows_in_the_container_they_came_in():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    X, y = problem()
    table = {name: X[:, k] for k, name in enumerate("abcd")}
    kinds = []

    def scorer(model, X, y):
        kinds.append((type(X), X.shape[0]))
        return -float(np.mean((model.predict(X) - y) ** 2))

    pyarrow, narwhals = pytest.importorskip("pyarrow"), pytest.importorskip("narwhals")
    tables = [X, pandas.DataFrame(table), polars.DataFrame(table), pyarrow.table(table), sparse.csr_array(X)]
    tables += [narwhals.from_native(tables[2]), sparse.coo_array(X)]
    scores = []
    for data in tables:
        model = BoostGradRegressor(n_estimators=3, scoring=scorer, early_stopping=True, random_state=0).fit(data, y)
        scores.append(model.validation_score_)
        assert kinds[-1][1] == 30 and kinds[-2][1] == 270
        assert isinstance(data, kinds[-1][0]) or data is tables[-1]  # of which rows cannot be taken as it is
    for score in scores:
        np.testing.assert_array_equal(score, scores[0])
    kinds.clear()
    lists = BoostGradRegressor(n_estimators=3, scoring="neg_max_error", early_stopping=True, random_state=0)
    assert len(lists.fit(X.tolist(), y.tolist()).validation_score_)


def test_a_dataset_has_scores_but_no_rows_to_give():
    X, y = problem("three")
    of_table = BoostGradClassifier(n_estimators=4, scoring="roc_auc_ovo", early_stopping=False, random_state=0)
    of_table.fit(X, y, X_val=X, y_val=y)
    data = BoostGradDataset(X, y)
    for scorer in ("roc_auc_ovo", "neg_log_loss", lambda model, X, y: np.mean(model.predict(X) == y) + X.shape[1]):
        model = clone(of_table).set_params(scoring=scorer).fit(data, X_val=BoostGradDataset(X, y, reference=data))
        assert np.isfinite(model.validation_score_).all()
        if scorer == "roc_auc_ovo":
            np.testing.assert_array_equal(model.validation_score_, of_table.validation_score_)


def test_categories_and_target_statistics():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    level = rng.integers(0, 400, 3000)
    frame = pandas.DataFrame({"town": pandas.Categorical([f"t{k}" for k in level]), "x": rng.normal(size=3000)})
    y = (level % 7 + frame["x"] + rng.normal(size=3000) > 3).astype(int)
    given = {"X_val": frame[2000:], "y_val": y[2000:]}
    models = [
        BoostGradClassifier(n_estimators=5, scoring=s, early_stopping=False, random_state=0).fit(
            frame[:2000], y[:2000], **given
        )
        for s in ("roc_auc", get_scorer("roc_auc"), lambda model, X, y: get_scorer("roc_auc")(model, X.copy(), y))
    ]
    assert any(info.kind == "statistic" for info in models[0].ensemble_.features)
    for model in models:
        np.testing.assert_allclose(model.validation_score_, models[0].validation_score_, rtol=1e-12)
    assert models[0].validation_score_[-1] == pytest.approx(get_scorer("roc_auc")(models[0], frame[2000:], y[2000:]))


# ---- queries and times -----------------------------------------------------------------------------------------------


def queries(seed=0, n_queries=60):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_queries), rng.integers(1, 20, n_queries))
    X = rng.normal(size=(len(groups), 4))
    return X, np.clip(np.round(X[:, 0] + X[:, 1] + rng.normal(size=len(groups))), 0, 4), groups


@pytest.mark.parametrize("name, k", [("ndcg", None), ("ndcg@1", 1), ("ndcg@10", 10)])
def test_ndcg(name, k):
    (X, y, groups), (X_new, y_new, groups_new) = queries(), queries(1)
    weight = np.random.default_rng(0).random(groups_new.max() + 1)[groups_new]
    model = BoostGradRanker(scoring=name, n_estimators=400, random_state=0, n_iter_no_change=5)
    model.fit(X, y, groups=groups, X_val=X_new, y_val=y_new, groups_val=groups_new, sample_weight_val=weight)
    assert model.n_iter_ < 400 and model.validation_score_.argmax() == model.n_iter_
    expected = model.score(X_new, y_new, weight, groups=groups_new, k=k)
    assert model.validation_score_[-1] == pytest.approx(expected, rel=1e-12)
    assert model.train_score_[-1] == pytest.approx(model.score(X, y, groups=groups, k=k), rel=1e-12)


@pytest.mark.parametrize("name, k", [("map", None), ("map@5", 5)])
@pytest.mark.parametrize("loss", ["rank_map", "lambdarank"])
def test_average_precision_of_queries(name, k, loss):
    (X, y, groups), (X_new, y_new, groups_new) = queries(), queries(1)
    model = BoostGradRanker(loss, scoring=name, n_estimators=400, random_state=0, n_iter_no_change=5)
    model.fit(X, y, groups=groups, X_val=X_new, y_val=y_new, groups_val=groups_new)
    assert model.n_iter_ < 400 and model.validation_score_.argmax() == model.n_iter_
    expected = mean_average_precision(y_new, model.predict(X_new), groups_new, k=k)
    assert model.validation_score_[-1] == pytest.approx(expected, rel=1e-12)
    if (name, loss) == ("map", "rank_map"):
        by_loss = clone(model).set_params(scoring="loss")
        by_loss.fit(X, y, groups=groups, X_val=X_new, y_val=y_new, groups_val=groups_new)
        np.testing.assert_allclose(model.validation_score_, 1 + by_loss.validation_score_, rtol=1e-12)


def test_a_scorer_of_queries_gets_groups():
    X, y, groups = queries()
    labels = np.array([f"q{g:02}" for g in groups])

    def scorer(model, X, y, groups):
        return ndcg(y, model.predict(X), groups, k=5)

    for early_stopping in (True, False):
        given = {} if early_stopping else {"X_val": X, "y_val": y, "groups_val": labels}
        models = [
            BoostGradRanker(scoring=s, n_estimators=10, random_state=0, early_stopping=early_stopping)
            .fit(X, y, groups=labels, **given)
            for s in (scorer, "ndcg@5")
        ]  # fmt: skip
        np.testing.assert_allclose(models[0].validation_score_, models[1].validation_score_, rtol=1e-12)
    regression = BoostGradRanker(scoring="r2", n_estimators=3, early_stopping=True).fit(X, y, groups=groups)
    assert np.isfinite(regression.validation_score_).all()
    with pytest.raises(
        ValueError, match="scoring='ndcg' cannot score this model: NDCG takes no relevance as large as .*, that of row"
    ):
        BoostGradRanker(loss="pairwise", scoring="ndcg", early_stopping=True).fit(X, y * 1e3, groups=groups)


def times(seed=0, n_rows=400):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 3))
    time, end = rng.exponential(np.exp(-X[:, 0])), rng.exponential(2.0, n_rows)
    return X, np.column_stack([np.minimum(time, end) + 0.01, time <= end])


@pytest.mark.parametrize("loss", ["cox", "aft"])
def test_concordance(loss):
    (X, y), (X_new, y_new) = times(), times(1)
    weight = np.random.default_rng(0).random(400)
    model = BoostGradSurvival(loss=loss, scoring="concordance_index", n_estimators=300, random_state=0)
    model.fit(X, y, X_val=X_new, y_val=y_new, sample_weight_val=weight)
    assert model.n_iter_ < 300 and model.validation_score_.argmax() in (0, model.n_iter_)
    assert model.validation_score_[-1] == pytest.approx(model.score(X_new, y_new, weight), rel=1e-12)
    with pytest.raises(ValueError, match="scoring='concordance_index' is not defined"):
        model.fit(X, y, X_val=X_new[:1], y_val=y_new[:1])


@pytest.mark.parametrize("loss", ["cox", "aft"])
def test_a_scorer_of_times_may_ask_for_survival_functions(loss):
    (X, y), (X_new, y_new) = times(), times(1)
    structured = np.array([(bool(e), t) for t, e in y_new], dtype=[("event", bool), ("time", float)])
    grid = np.array([0.2, 0.5, 1.0])
    seen = []

    def scorer(model, X, y):
        if y.dtype.names is None:  # training rows
            return 0.0
        seen.append(model.predict_survival_function(X, grid))
        bounds = np.column_stack([y["time"], np.where(y["event"], y["time"], np.inf)])
        return concordance_index(bounds, -seen[-1][:, 1])

    model = BoostGradSurvival(loss=loss, scoring=scorer, n_estimators=5, random_state=0, early_stopping=False)
    model.fit(X, y, X_val=X_new, y_val=structured)
    np.testing.assert_allclose(seen[-1], model.predict_survival_function(X_new, grid), rtol=1e-9)
    assert len(seen) == 6 and model.validation_score_[-1] == pytest.approx(model.score(X_new, y_new))


# ---- several ---------------------------------------------------------------------------------------------------------


def spread(model, X, y):
    return -float(np.mean(np.abs(y - model.predict(X))))


SEVERAL = {
    "numbers": {"mse": "neg_mean_squared_error", "loss": "loss", "mine": spread, "max": "neg_max_error", "r2": "r2"},
    "two": {"auc": "roc_auc", "mine": spread, "again": spread, "d2": "d2_log_loss_score", "log": "neg_log_loss"},
    "three": {"loss": "loss", "accuracy": "accuracy", "top": "top_k_accuracy", "brier": "neg_brier_score"},
}


def recorded(kind, scoring, early_stopping=False, **parameters):
    (X, y), y_val = problem(kind), problem(kind, 1, 120)[1]
    face = BoostGradRegressor if kind == "numbers" else BoostGradClassifier
    options = {"n_estimators": 6, "random_state": 0, "learning_rate": 0.3, **parameters}
    model = face(scoring=scoring, early_stopping=early_stopping, **options)
    return model.fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=WEIGHT)


@pytest.mark.parametrize("kind", SEVERAL)
def test_each_of_several_scores_is_that_of_a_fit_with_it_alone(kind):
    model = recorded(kind, SEVERAL[kind])
    assert list(model.train_scores_) == list(model.validation_scores_) == list(SEVERAL[kind])
    for name, scoring_ in SEVERAL[kind].items():
        alone = recorded(kind, scoring_)
        assert bytes_of(alone) == bytes_of(model)
        np.testing.assert_array_equal(model.train_scores_[name], alone.train_score_)
        np.testing.assert_array_equal(model.validation_scores_[name], alone.validation_score_)
        assert not hasattr(alone, "train_scores_") and not hasattr(alone, "validation_scores_")
    first = next(iter(SEVERAL[kind]))
    np.testing.assert_array_equal(model.train_score_, model.train_scores_[first])
    np.testing.assert_array_equal(model.validation_score_, model.validation_scores_[first])


@pytest.mark.parametrize("names", [["loss", "roc_auc", "accuracy"], ("accuracy", "loss"), ["roc_auc"]])
def test_early_stopping_goes_by_the_first(names):
    several, alone = (
        recorded("two", s, early_stopping=True, n_estimators=200, n_iter_no_change=5) for s in (names, names[0])
    )
    assert 1 < several.n_iter_ < 200 and bytes_of(several) == bytes_of(alone)
    np.testing.assert_array_equal(several.validation_score_, alone.validation_score_)
    assert list(several.validation_scores_) == list(names)
    for scores in (several.train_scores_, several.validation_scores_):
        assert all(len(scores[name]) == several.n_iter_ + 1 for name in names)


def test_several_scores_ask_one_stand_in_once(monkeypatch):
    made, predicted = [], []
    stand_in, by_face = scoring.StandIn, BoostGradRegressor._completed
    monkeypatch.setattr(scoring, "StandIn", lambda *given: made.append(stand_in(*given)) or made[-1])
    monkeypatch.setattr(BoostGradRegressor, "_completed", lambda *given: predicted.append(1) or by_face(*given))
    recorded("numbers", {"a": spread, "b": spread, "c": spread})
    assert len(made) == 1 and len(predicted) == 7 + 1  # after 0, 1, ... iterations, and at the end


def test_callbacks_and_progress_see_several(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    seen = []

    class Seen(Callback):
        def after_iteration(self, state):
            assert state.scoring == "roc_auc" and list(state.scores) == ["roc_auc", "loss"]
            assert state.scores["roc_auc"] == (state.train_scores, state.validation_scores)
            seen.append(state.scores["loss"][1][-1])

    model = recorded("two", ["roc_auc", "loss"], callbacks=[Seen()], verbose=1)
    assert seen == list(model.validation_scores_["loss"][1:])
    assert f"validation roc_auc {model.validation_score_[-1]:.6g}, loss {-seen[-1]:.6g}" in capsys.readouterr().err


def test_several_scores_of_queries_and_times():
    X, y, groups = queries()
    names = ["map@3", "ndcg", "loss"]
    ranker = BoostGradRanker("rank_map", n_estimators=3, scoring=names).fit(
        X, y, groups=groups, X_val=X, y_val=y, groups_val=groups
    )
    np.testing.assert_array_equal(ranker.validation_scores_["ndcg"], ranker.train_scores_["ndcg"])
    X, y = times()
    survival = BoostGradSurvival(n_estimators=3, scoring=("concordance_index", "loss"), early_stopping=True).fit(X, y)
    assert survival.validation_scores_["loss"][-1] > survival.validation_scores_["loss"][0]


def test_wrong_names_among_several():
    X, y = problem("two")
    with pytest.raises(ValueError, match="Got 'auc' instead. Did you mean 'roc_auc'?"):
        BoostGradClassifier(scoring=["accuracy", "auc"]).fit(X, y)
    with pytest.raises(ValueError, match="Got 'auc' instead. Did you mean 'roc_auc'?"):
        BoostGradClassifier(scoring={"mine": spread, "a": "auc"}).fit(X, y)
    X, y = problem("three")
    with pytest.raises(ValueError, match="scoring='roc_auc' cannot score this model"):
        BoostGradClassifier(scoring=["accuracy", "roc_auc"], early_stopping=True).fit(X, y)
    own = CallableLoss(lambda y, raw, weight: (raw - y, np.ones(len(y))))
    with pytest.raises(ValueError, match="a loss with values, which .* has not"):
        BoostGradRegressor(own, scoring=["r2", "loss"]).fit(*problem())


@pytest.mark.parametrize("given", [["roc_auc", "loss"], ("roc_auc", "accuracy"), {"a b/c": "roc_auc", "mine": spread}])
def test_several_scores_are_kept(given, tmp_path):
    model = recorded("two", given)
    model.save(tmp_path / "model.bg")
    loaded = BoostGradClassifier.load(tmp_path / "model.bg")
    assert loaded.scoring == ("loss" if isinstance(given, dict) else list(given))
    for again in (loaded, pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        for attribute in ("train_scores_", "validation_scores_"):
            kept, scores = getattr(again, attribute), getattr(model, attribute)
            assert list(kept) == list(scores) == list(named(given))
            for name in scores:
                np.testing.assert_array_equal(kept[name], scores[name])
    assert clone(model).get_params()["scoring"] == model.get_params()["scoring"] == given
    assert native.dump_bytes(**model._stored())[:12] == native.dump_bytes(model.ensemble_)[:12]  # the format version
    without = clone(model).fit(*problem("two"))  # too few rows for early stopping, and none to validate with
    assert {name: scores.shape for name, scores in without.train_scores_.items()} == dict.fromkeys(named(given), (0,))
    assert not hasattr(without.set_params(scoring="loss").fit(*problem("two")), "train_scores_")


# ---- the metric of a loss --------------------------------------------------------------------------------------------

MADE_WITH = {
    "multinomial_log_loss": {"n_classes": 3},
    "multilabel_log_loss": {"n_labels": 3},
    "quantiles": {"quantiles": [0.2, 0.8]},
}
# They are made by a fit, from a loss of one output, or are what is left of one.
NOT_GIVEN = {"multi_output", "unnamed"}
NAMES = sorted(
    name
    for name, cls in registered_losses().items()
    if cls.__module__.startswith("boostgrad.") and name not in NOT_GIVEN
)


def suitable(loss):
    """A face that takes the loss, a table, and what else fit takes, the target first."""
    if loss.target == "queries":
        X, y, groups = queries()
        return BoostGradRanker(loss), X, {"y": y, "groups": groups}
    if loss.target == "times":
        X, y = times()
        return BoostGradSurvival(loss), X, {"y": y}
    X, y = problem()
    if loss.name == "multilabel_log_loss":
        return BoostGradClassifier(), X, {"y": np.digitize(y, [1.0])[:, None] + np.eye(3, dtype=int)[0] == 1}
    if loss.for_classes:
        kind = "two" if loss.n_outputs == 1 else "three"
        return BoostGradClassifier(loss), X, {"y": problem(kind)[1]}
    y = np.ceil(y)  # counts that are positive suit all losses but that of probabilities
    return BoostGradRegressor(loss), X, {"y": y / y.max() if loss.name == "cross_entropy" else y}


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_knows_the_metric_by_which_it_is_judged(name):
    loss = get_loss(name, **MADE_WITH.get(name, {}))
    model, X, given = suitable(loss)
    model.set_params(n_estimators=30, random_state=0, early_stopping=True, scoring=loss.metric or "loss")
    model.fit(X, **given)
    assert model._loss.name == name
    assert model.validation_score_[-1] > model.validation_score_[0]
    assert model.train_score_[-1] > model.train_score_[0]


# ---- limits, copies --------------------------------------------------------------------------------------------------


def scored(y, groups=None):
    samples = Samples(None, np.arange(len(y)), y, np.arange(len(y)) + 1.0, groups=groups)
    return scoring.Scored(samples, Given(None, None))


def test_of_many_training_rows_some_are_scored():
    rng = np.random.default_rng(0)
    y = (rng.random(20_000) < 0.01).astype(float)
    some = scored(y).limited(2000, seed=3)
    assert len(some) == len(some.at) == 2000 and (np.diff(some.at) > 0).all()
    assert abs(some.y.sum() - y.sum() / 10) <= 1  # as often as they were
    np.testing.assert_array_equal(some.y, y[some.at])
    np.testing.assert_array_equal(some.weight, some.at + 1.0)
    raw = rng.normal(size=(2, 20_000))
    np.testing.assert_array_equal(some.of(raw), raw[:, some.at])
    np.testing.assert_array_equal(scored(y).limited(2000, seed=3).at, some.at)
    assert (scored(y).limited(2000, seed=4).at != some.at).any()
    assert scored(y).limited(20_000, seed=3).at is None
    assert len(scored(np.column_stack([y, y])).limited(70, seed=0).at) == 70
    groups = rng.integers(0, 500, 20_000)
    of_queries = scored(y, groups).limited(2000, seed=0)
    assert 1800 < len(of_queries) <= 2000
    assert not set(groups[of_queries.at]) & set(np.delete(groups, of_queries.at))
    assert len(scored(y, np.zeros(20_000, int)).limited(2000, seed=0)) == 20_000  # a query stays whole


def test_limits_of_a_fit(monkeypatch):
    monkeypatch.setattr(scoring, "MOST_BY_METRIC", 100)
    monkeypatch.setattr(scoring, "MOST_BY_SCORER", 50)
    X, y = problem()
    sizes = []

    def scorer(model, X, y):
        sizes.append(len(X))
        return -float(np.mean((y - model.predict(X)) ** 2))

    by_metric, by_scorer = (
        BoostGradRegressor(n_estimators=3, scoring=s, early_stopping=False, random_state=0).fit(X, y, X_val=X, y_val=y)
        for s in ("neg_mean_squared_error", scorer)
    )
    assert sizes == [50, 300] * 4
    np.testing.assert_allclose(by_metric.validation_score_, by_scorer.validation_score_, rtol=1e-12)
    assert by_metric.train_score_[-1] != by_scorer.train_score_[-1]
    assert by_metric.train_score_[-1] == pytest.approx(by_metric.validation_score_[-1], rel=0.5)


def test_copies(tmp_path):
    X, y = problem("two")
    for scorer in ("roc_auc", get_scorer("f1")):
        model = BoostGradClassifier(n_estimators=4, scoring=scorer, early_stopping=True, random_state=0).fit(X, y)
        model.save(tmp_path / "model.bg")
        loaded = BoostGradClassifier.load(tmp_path / "model.bg")
        assert loaded.scoring == (scorer if isinstance(scorer, str) else "loss")
        for again in (loaded, pickle.loads(pickle.dumps(model))):
            np.testing.assert_array_equal(again.validation_score_, model.validation_score_)
            np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
        np.testing.assert_array_equal(clone(model).fit(X, y).validation_score_, model.validation_score_)
    assert type(pickle.loads(pickle.dumps(model)).scoring) is type(scorer)


@pytest.mark.parametrize("metric", [accuracy_score, lambda y, p: 1.0, lambda y_true, y_pred, sample_weight=None: 1.0])
def test_a_metric_is_no_scorer(metric):
    X, y = problem("two")
    with pytest.raises(ValueError, match="'scoring' parameter of BoostGradClassifier must be a scorer.*make_scorer"):
        BoostGradClassifier(scoring=metric).fit(X, y)
    made = BoostGradClassifier(scoring=make_scorer(metric), early_stopping=True, n_estimators=2).fit(X, y)
    assert np.isfinite(made.validation_score_).all()


@pytest.mark.parametrize("wants", [True, False, None])
def test_scorers_get_the_weights_that_they_request(wants):
    """As scikit-learn passes metadata on, where that is switched on."""
    rng = np.random.default_rng(0)
    X = rng.random((400, 3))
    y = (X[:, 0] + 0.5 * rng.standard_normal(400) > 0.5).astype(int)
    weight, options = np.where(y == 1, 9.0, 1.0), {"n_estimators": 5, "early_stopping": True, "random_state": 0}
    with config_context(enable_metadata_routing=True):
        scorer = make_scorer(accuracy_score)
        if wants is not None:
            scorer.set_score_request(sample_weight=wants)
        model = BoostGradClassifier(scoring=scorer, n_iter_no_change=99, **options)
        model.fit(X[:300], y[:300], weight[:300], X_val=X[300:], y_val=y[300:], sample_weight_val=weight[300:])
    passed = weight[300:] if wants else None
    expected = accuracy_score(y[300:], model.predict(X[300:]), sample_weight=passed)
    assert model.validation_score_[model.n_iter_] == pytest.approx(expected, rel=1e-12)
