"""Boosting that starts from another estimator."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, sparse
from sklearn.base import BaseEstimator
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor
from sklearn.metrics import get_scorer
from sklearn.model_selection import PredefinedSplit
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier

from boostgrad import BoostGradClassifier, BoostGradDataset, BoostGradRanker, BoostGradRegressor, BoostGradSurvival
from boostgrad.estimators.regressor import _regression_losses
from boostgrad.losses import CallableLoss, DistributionLoss, Loss, Poisson, get_loss, registered_losses

PARAMETERS = {"n_estimators": 20, "random_state": 0}


def table(n=800):
    rng = np.random.default_rng(0)
    X = rng.random((n, 3))
    return X, 10 * X[:, 0] + np.sin(6 * X[:, 1]) + 0.1 * rng.standard_normal(n)


@pytest.mark.parametrize("fitted", [False, True])
def test_an_init_is_an_offset(fitted):
    X, y = table()
    init = LinearRegression()
    if fitted:
        init.fit(X[:50], y[:50])
    model = BoostGradRegressor(init=init, **PARAMETERS).fit(X, y)
    assert (model.init_ is init) == fitted
    plain = BoostGradRegressor(**PARAMETERS).fit(X, y, offset=model.init_.predict(X))
    np.testing.assert_allclose(model.predict(X), plain.predict(X, offset=model.init_.predict(X)), rtol=1e-12)
    blind = BoostGradRegressor(**PARAMETERS).fit(X, y)
    assert model.score(X, y) > blind.score(X, y) + 0.01
    *_, last = model.staged_predict(X)
    np.testing.assert_allclose(last, model.predict(X), rtol=1e-12)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict(X), model.predict(X))
    outside = np.array([[3.0, 0.5, 0.5]])  # trees alone know nothing beyond their data
    assert model.predict(outside)[0] > 20 > blind.predict(outside)[0]


def test_rows_set_aside_are_not_fitted():
    X, y = table()
    model = BoostGradRegressor(init=KNeighborsRegressor(1), early_stopping=True, **PARAMETERS).fit(X, y)
    assert model.init_.n_samples_fit_ == 720
    assert model.validation_score_[0] < model.train_score_[0] == pytest.approx(0, abs=1e-12)
    frame = pd.DataFrame(X, columns=list("abc"))
    by_name = BoostGradRegressor(init=LinearRegression(), early_stopping=True, **PARAMETERS).fit(frame, pd.Series(y))
    plain = BoostGradRegressor(init=LinearRegression(), early_stopping=True, **PARAMETERS).fit(X, y)
    np.testing.assert_allclose(by_name.predict(frame), plain.predict(X), rtol=1e-12)
    given = BoostGradRegressor(init=LinearRegression(), **PARAMETERS).fit(
        X[:600], y[:600], X_val=X[600:], y_val=y[600:]
    )
    error = y[600:] - given.predict(X[600:])
    assert given.validation_score_[-1] == pytest.approx(-0.5 * np.mean(error**2))


def test_weights_are_passed_on():
    X, y = table()
    weight = np.random.default_rng(1).integers(0, 3, len(y))
    weighted = BoostGradRegressor(init=LinearRegression(), **PARAMETERS).fit(X, y, weight)
    expected = LinearRegression().fit(X, y, weight)
    np.testing.assert_allclose(weighted.init_.coef_, expected.coef_, rtol=1e-9)
    with pytest.raises(ValueError, match="init: KNeighborsRegressor takes no sample_weight"):
        BoostGradRegressor(init=KNeighborsRegressor()).fit(X, y, weight)


class Softmax(Loss):
    """What a user writes who states no link."""

    n_outputs = 3

    def gradients(self, y, raw, weight, out, n_threads=1):
        p = self.inverse_link(raw)
        for k in range(3):
            out.fill(k, p[k] - (y == k), p[k] * (1 - p[k]))

    def values(self, y, raw):
        return -np.log(self.inverse_link(raw)[y.astype(int), np.arange(len(y))])

    def inverse_link(self, raw):
        e = np.exp(raw - raw.max(axis=0))
        return e / e.sum(axis=0)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_classifiers(n_classes):
    X, y = table()
    labels = np.array(["a", "b", "c"])[np.digitize(y, [5.0, 8.0][: n_classes - 1])]
    model = BoostGradClassifier(init=LogisticRegression(), **PARAMETERS).fit(X, labels)
    start = np.log(model.init_.predict_proba(X))
    start = start[:, 1] - start[:, 0] if n_classes == 2 else start - start.mean(axis=1, keepdims=True)
    plain = BoostGradClassifier(**PARAMETERS).fit(X, labels, offset=start)
    np.testing.assert_allclose(model.predict_proba(X), plain.predict_proba(X, start), atol=1e-9)
    with pytest.raises(ValueError, match="init: LinearRegression has no predict_proba"):
        BoostGradClassifier(init=LinearRegression().fit(X, y)).fit(X, labels)
    with pytest.raises(ValueError, match="init: the classes of the estimator are not those of y"):
        BoostGradClassifier(init=LogisticRegression().fit(X, y > 5)).fit(X, labels)


@pytest.mark.parametrize("without", ["early stopping", "weight", "class weight"])
@pytest.mark.parametrize("loss", ["log_loss", Softmax()], ids=["log_loss", "own"])
@pytest.mark.parametrize("names", [np.array([0, 1, 2]), np.array(["a", "b", "c"]), np.array(["a", "b", "c"], object)])
def test_classes_that_init_has_not_seen_have_probability_0(names, loss, without):
    X, y = table()
    codes = (y > 5).astype(int)
    codes[7] = 2
    more, weight = {}, None
    if without == "early stopping":
        more = {"early_stopping": True, "validation_fraction": PredefinedSplit(np.where(np.arange(800) < 80, 0, -1))}
    elif without == "weight":
        codes[700], weight = 2, np.where(np.arange(800) == 700, 0, 1)  # the split is that of the other rows
        more = {"early_stopping": True, "validation_fraction": PredefinedSplit(np.where(np.arange(799) < 80, 0, -1))}
    else:
        more = {"class_weight": {names.tolist()[2]: 0}}
    model = BoostGradClassifier(loss, init=LogisticRegression(), **PARAMETERS, **more).fit(X, names[codes], weight)
    assert model.init_.classes_.tolist() == names[:2].tolist() and model.classes_.tolist() == names.tolist()
    log_p = np.log(np.column_stack([model.init_.predict_proba(X), np.full(800, 1e-15)]))
    start = model._start(X, None, None, 800).T
    np.testing.assert_allclose(start, log_p - log_p.mean(axis=1, keepdims=True), rtol=1e-9)
    assert model.predict_proba(X)[:, 2].max() < 1e-12
    assert (model.predict(X) == names[codes]).mean() > 0.95


def test_classes_that_y_has_not_are_refused():
    X, y = table()
    three = LogisticRegression().fit(X, np.digitize(y, [5.0, 8.0]))
    for labels in (y > 5, (y > 5).astype(int) + 1, np.where(y > 5, "1", "0"), np.digitize(y, [2.0, 5.0, 8.0]) + 1):
        with pytest.raises(ValueError, match="init: the classes of the estimator are not those of y"):
            BoostGradClassifier(init=three).fit(X, labels)


def test_links():
    X, y = table()
    counts = np.random.default_rng(0).poisson(np.exp(y / 10))
    model = BoostGradRegressor("poisson", init=PoissonRegressor(), **PARAMETERS).fit(X, counts)
    start = np.log(model.init_.predict(X))
    plain = BoostGradRegressor("poisson", **PARAMETERS).fit(X, counts, offset=start)
    np.testing.assert_allclose(model.predict(X), plain.predict(X, offset=start), rtol=1e-9)


def test_files_and_row_predictors_refuse(tmp_path):
    X, y = table()
    model = BoostGradRegressor(init=LinearRegression(), **PARAMETERS).fit(X, y)
    with pytest.raises(ValueError, match="a file cannot hold the estimator that init started from"):
        model.save(tmp_path / "model")
    with pytest.raises(ValueError, match="knows nothing of init"):
        model.predictor()
    assert not hasattr(model.set_params(init=None).fit(X, y), "init_")
    model.save(tmp_path / "model")


# ---- all losses ------------------------------------------------------------------------------------------------------


class Known(BaseEstimator):
    """Predicts what it was told to, from the first columns of X."""

    def __init__(self, n_columns=None):
        self.n_columns = n_columns

    def fit(self, X, y):
        self.fitted_ = True
        return self

    def predict(self, X):
        X = np.asarray(X)
        return X[:, 0] if self.n_columns is None else X[:, : self.n_columns]


def shares(n=300, n_columns=3):
    """Of targets and predictions that every loss takes."""
    rng = np.random.default_rng(0)
    X = rng.uniform(0.1, 0.9, (n, n_columns))
    return X, np.clip(X[:, 0] + 0.05 * rng.standard_normal(n), 0.01, 0.99)


def target_for(loss, y):
    return np.ceil(5 * y) if loss.name in ("poisson_nll", "negative_binomial_nll") else y


def raw_by_search(loss, prediction):
    """The raw predictions of which a loss of one output makes these."""

    def beyond(raw, p):
        return loss.inverse_link(np.array([[raw]]))[0, 0] - p

    return np.array([optimize.brentq(beyond, -50, 50, (p,), xtol=1e-13) for p in prediction])


@pytest.mark.parametrize("name", _regression_losses())
def test_boosting_starts_from_what_init_predicts_whatever_the_loss(name):
    if not registered_losses()[name].__module__.startswith("boostgrad."):
        pytest.skip("a loss of another test")
    X, y = shares()
    quantile = 0.3 if name in ("quantile", "expectile") else None
    parameters = {"quantile": quantile, "learning_rate": 1e-9, "n_estimators": 1, "random_state": 0}
    loss = get_loss(name, **({} if quantile is None else {"quantile": quantile}))
    if isinstance(loss, DistributionLoss):
        is_log = name != "normal_nll"
        expected = np.column_stack([np.log(X[:, 0]) if is_log else X[:, 0], np.zeros(len(X))])[:, : loss.n_outputs]
    else:
        expected = raw_by_search(loss, X[:, 0])
    y = target_for(loss, y)
    model = BoostGradRegressor(name, init=Known(), **parameters).fit(X, y)
    plain = BoostGradRegressor(name, **parameters).fit(X, y, offset=expected)
    np.testing.assert_allclose(model.ensemble_.base_score, plain.ensemble_.base_score, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(model.predict(X), plain.predict(X, offset=expected), rtol=1e-6, atol=1e-8)
    if name != "poisson_nll" and name != "negative_binomial_nll":  # y is something else than predicted
        assert np.abs(model.predict(X) - X[:, 0]).mean() < 0.03  # but for the constant, which fits the noise


def test_the_spread_of_a_distribution_is_found_on_top_of_init():
    rng = np.random.default_rng(0)
    X = rng.random((4000, 2))
    y = 1000 + 500 * X[:, 0] + 20 * rng.standard_normal(4000)
    model = BoostGradRegressor("normal_nll", init=LinearRegression(), **PARAMETERS).fit(X, y)
    residual = y - model.init_.predict(X)
    np.testing.assert_allclose(model.ensemble_.base_score, [residual.mean(), np.log(residual.std())], atol=1e-6)
    y = np.exp(3 * X[:, 0] + 0.8 * rng.standard_normal(4000))
    means = Known().fit(X, y)
    X[:, 0] = np.exp(3 * X[:, 0] + 0.32)
    model = BoostGradRegressor("lognormal_nll", init=means, **PARAMETERS).fit(X, y)
    np.testing.assert_allclose(model.ensemble_.base_score, [-0.32, np.log(0.8)], atol=0.05)
    model.set_params(learning_rate=1e-9).fit(X, y)
    np.testing.assert_allclose(model.predict(X) / X[:, 0], 1, atol=0.05)  # means of distributions
    np.testing.assert_allclose(model.predict_distribution(X).mean(), model.predict(X))


def test_quantiles_start_from_one_prediction_or_from_one_each():
    X, y = table()
    model = BoostGradRegressor("quantile", quantile=[0.1, 0.5, 0.9], init=LinearRegression(), **PARAMETERS).fit(X, y)
    start = model.init_.predict(X)
    levels = np.quantile(y - start, [0.1, 0.5, 0.9])
    np.testing.assert_allclose(model.ensemble_.base_score, levels, atol=0.02)
    assert (np.diff(model.predict(X), axis=1) >= 0).all()
    expected = BoostGradRegressor("quantile", quantile=[0.1, 0.5, 0.9], **PARAMETERS).fit(
        X, y, offset=np.column_stack([start] * 3)
    )
    np.testing.assert_array_equal(model.ensemble_.base_score, expected.ensemble_.base_score)
    again = BoostGradRegressor("quantile", quantile=[0.1, 0.5, 0.9], init=model, **PARAMETERS).fit(X, y)
    assert np.abs(again.ensemble_.base_score).max() < 0.1
    with pytest.raises(ValueError, match=r"init: BoostGradRegressor predicts 3 number.* a row, and Quantiles.* 2\."):
        BoostGradRegressor("quantile", quantile=[0.1, 0.9], init=model).fit(X, y)


def squares(y, raw, weight):
    return raw - y, np.ones(len(y))


def poisson_by_hand(y, raw, weight):
    return np.exp(raw) - y, np.exp(raw)


def test_losses_of_functions_have_the_link_of_the_loss_they_name():
    X, y = table()
    y = np.abs(y)
    named = CallableLoss(poisson_by_hand, inverse_link=Poisson())
    model = BoostGradRegressor(named, init=PoissonRegressor(), **PARAMETERS).fit(X, y)
    start = np.log(model.init_.predict(X))
    plain = BoostGradRegressor(named, **PARAMETERS).fit(X, y, offset=start)
    np.testing.assert_allclose(model.predict(X), plain.predict(X, offset=start), rtol=1e-9)
    model = BoostGradRegressor(squares, init=LinearRegression(), **PARAMETERS).fit(X, y)
    expected = BoostGradRegressor(init=LinearRegression(), **PARAMETERS).fit(X, y)
    np.testing.assert_allclose(model.predict(X), expected.predict(X), rtol=1e-9)
    with pytest.raises(ValueError, match="init: .*inverse_link of .* is a function, of which.*give raw .* as offset"):
        BoostGradRegressor(CallableLoss(poisson_by_hand, inverse_link=np.exp), init=PoissonRegressor()).fit(X, y)


def test_a_classifiers_own_loss_starts_from_scores():
    X, y = table()
    labels = np.digitize(y, [5.0, 8.0])
    own = BoostGradClassifier(Softmax(), init=LogisticRegression(), **PARAMETERS).fit(X, labels)
    ours = BoostGradClassifier(init=LogisticRegression(), **PARAMETERS).fit(X, labels)
    np.testing.assert_allclose(own._start(X, None, None, len(X)), ours._start(X, None, None, len(X)), rtol=1e-12)


def test_several_targets():
    X, y = table()
    Y = np.column_stack([y, -y, X[:, 0] * X[:, 1]])
    model = BoostGradRegressor(init=LinearRegression(), **PARAMETERS).fit(X, Y)
    start = model.init_.predict(X)
    plain = BoostGradRegressor(**PARAMETERS).fit(X, Y, offset=start)
    np.testing.assert_allclose(model.predict(X), plain.predict(X, offset=start), rtol=1e-9)
    with pytest.raises(ValueError, match=r"init: LinearRegression predicts 2 number.* a row, and MultiOutput.* 3\."):
        BoostGradRegressor(init=LinearRegression().fit(X, Y[:, :2])).fit(X, Y)
    with pytest.raises(ValueError, match=r"init: LinearRegression predicts 1 number.* a row, and MultiOutput.* 3\."):
        BoostGradRegressor(init=LinearRegression().fit(X, y)).fit(X, Y)
    with pytest.raises(ValueError, match=r"init: LinearRegression predicts 3 number.* a row, and SquaredError.* 1\."):
        BoostGradRegressor(init=LinearRegression().fit(X, Y)).fit(X, y)
    Y[3, 1] = np.nan
    with pytest.raises(ValueError, match="init: LinearRegression: Input y contains NaN"):
        BoostGradRegressor(init=LinearRegression()).fit(X, Y)
    BoostGradRegressor(init=LinearRegression().fit(X[4:], Y[4:]), **PARAMETERS).fit(X, Y)


def test_predictions_that_are_no_numbers_are_refused():
    X, y = table()
    X[5, 0] = np.inf
    with pytest.raises(ValueError, match="^init: Known predicts inf for row 5"):
        BoostGradRegressor(init=Known()).fit(X, y)


# ---- zero ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize(
    ("face", "parameters"),
    [
        (BoostGradRegressor, {}),
        (BoostGradRegressor, {"loss": "poisson", "scoring": "r2"}),
        (BoostGradRegressor, {"loss": "normal_nll"}),
        (BoostGradRegressor, {"loss": "quantile", "quantile": [0.2, 0.8]}),
        (BoostGradClassifier, {}),
        (BoostGradRanker, {}),
        (BoostGradSurvival, {}),
        (BoostGradSurvival, {"loss": "aft"}),
    ],
)
def test_zero_is_no_constant(face, parameters, early, tmp_path):
    X, y = table()
    y = np.digitize(np.abs(y), [5.0, 8.0]) if face in (BoostGradClassifier, BoostGradRanker) else np.abs(y) + 0.1
    y = np.column_stack([y, np.ones(len(y))]) if face is BoostGradSurvival else y
    few = {"n_estimators": 3, "early_stopping": early, "random_state": 0}
    groups = {"groups": np.arange(len(y)) // 20}  # which early stopping does not tear apart
    model = face(init="zero", **few, **parameters).fit(X, y, **groups)
    assert (model.ensemble_.base_score == 0).all() and not hasattr(model, "init_")
    outset = face(init="zero", **{**few, "n_estimators": 1, "learning_rate": 1e-12}, **parameters).fit(X, y, **groups)
    np.testing.assert_allclose(outset._raw(X), 0, atol=1e-9)
    model.save(tmp_path / "model")
    again = face.load(tmp_path / "model")
    assert again.init == "zero" and (again.predict(X) == model.predict(X)).all()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))


def test_zero_is_as_in_scikit_learn():
    X, y = table()
    theirs = GradientBoostingRegressor(init="zero", n_estimators=1, max_leaf_nodes=4, min_samples_leaf=20).fit(X, y)
    ours = BoostGradRegressor(init="zero", n_estimators=1, max_leaf_nodes=4, max_bins=1000).fit(X, y)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-6)
    offset = BoostGradRegressor(init="zero", **PARAMETERS).fit(X, y, offset=np.full(len(y), 3.0))
    moved = BoostGradRegressor(init="zero", **PARAMETERS).fit(X, y - 3.0)
    np.testing.assert_allclose(offset.predict(X), moved.predict(X), atol=1e-9)
    dataset = BoostGradRegressor(init="zero", **PARAMETERS).fit(BoostGradDataset(X, y))
    np.testing.assert_array_equal(
        dataset.predict(X), BoostGradRegressor(init="zero", **PARAMETERS).fit(X, y).predict(X)
    )
    ours.predictor()


def test_zero_where_levels_have_statistics():
    rng = np.random.default_rng(0)
    level = rng.integers(0, 40, 800)
    frame = pd.DataFrame({"a": pd.Categorical(level), "b": rng.random(800)})
    y = 100 + level + rng.standard_normal(800)
    few = {**PARAMETERS, "target_statistics": "always"}
    of_level = {}
    for init in (None, "zero"):
        model = BoostGradRegressor(init=init, **few).fit(frame, y)
        (statistic,) = [info for info in model.ensemble_.features if info.kind == "statistic"]
        of_level[init] = np.array(statistic.values)[: len(statistic.levels)]
    np.testing.assert_allclose(of_level["zero"] / of_level["zero"].mean(), 1, atol=0.3)  # steps from 0, all of them up
    assert of_level["zero"].min() > 60 and of_level[None].min() < -10


def test_raw_scores_are_no_init():
    X, y = table()
    with pytest.raises(ValueError, match="The 'init' parameter .*raw predictions are given to fit as offset"):
        BoostGradRegressor(init=np.zeros(len(y))).fit(X, y)


# ---- several labels a row --------------------------------------------------------------------------------------------


def label_table(n_labels=3):
    X, y = table(400)
    cuts = np.quantile(y, np.linspace(0.2, 0.8, n_labels))
    return X, (y[:, None] > cuts).astype(int)


@pytest.mark.parametrize("n_labels", [2, 3])
@pytest.mark.parametrize(
    "init",
    [
        OneVsRestClassifier(LogisticRegression()),
        MLPClassifier(5, max_iter=20),
        RandomForestClassifier(5, max_depth=3, random_state=0),
        KNeighborsClassifier(20),
        MultiOutputClassifier(LogisticRegression()),
        ClassifierChain(LogisticRegression()),
        BoostGradClassifier(n_estimators=5),
    ],
    ids=lambda init: type(init).__name__,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_labels_start_from_their_own_log_odds(init, n_labels):
    X, Y = label_table(n_labels)
    model = BoostGradClassifier(init=init, **PARAMETERS).fit(X, Y)
    found = model.init_.predict_proba(X)
    p = np.column_stack([of_label[:, 1] for of_label in found]) if isinstance(found, list) else found
    p = np.clip(p, 1e-15, 1 - 1e-15)
    start = np.log(p / (1 - p))
    np.testing.assert_allclose(model._start(X, None, None, len(X)).T, start, rtol=1e-9)
    np.testing.assert_allclose(model.decision_function(X[:5]), model.decision_function(X)[:5])
    if 0.01 < p.min() and p.max() < 0.99:
        plain = BoostGradClassifier(**PARAMETERS).fit(X, Y, offset=start)
        np.testing.assert_allclose(model.predict_proba(X), plain.predict_proba(X, start), atol=1e-9)


@pytest.mark.parametrize("form", ["csr_matrix", "coo_array", "lil_matrix"])
@pytest.mark.parametrize("n_labels", [1, 3])
@pytest.mark.parametrize("init", [RandomForestClassifier(5, random_state=0), KNeighborsClassifier(20)])
def test_init_is_fitted_to_sparse_labels_as_to_dense_ones(init, n_labels, form):
    X, Y = label_table(n_labels)
    few = {"init": init, "early_stopping": True, **PARAMETERS}
    model = BoostGradClassifier(**few).fit(X, getattr(sparse, form)(Y))
    dense = BoostGradClassifier(**few).fit(X, Y if n_labels > 1 else Y[:, 0])
    np.testing.assert_array_equal(model.predict_proba(X), dense.predict_proba(X))


def test_labels_of_which_one_never_occurs():
    X, Y = label_table()
    Y[:, 1] = 0
    model = BoostGradClassifier(init=RandomForestClassifier(5, random_state=0), **PARAMETERS).fit(X, Y)
    assert model.predict_proba(X)[:, 1].max() < 1e-6
    with pytest.raises(ValueError, match=r"init: RandomForestClassifier has probabilities of 3 label.*, and y has 2"):
        BoostGradClassifier(init=model.init_).fit(X, Y[:, ::2])
    forest = RandomForestClassifier(5).fit(X, Y + 1)
    with pytest.raises(ValueError, match="init: the classes of the estimator are not those of y"):
        BoostGradClassifier(init=forest).fit(X, Y)
    with pytest.raises(ValueError, match="init: the classes of the estimator are not those of y"):
        BoostGradClassifier(init=forest).fit(X, Y[:, 0])


# ---- containers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made_by", [("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "table")], ids=str)
def test_columns_come_to_init_in_the_order_of_fit(made_by):
    container = getattr(pytest.importorskip(made_by[0]), made_by[1])
    X, _ = table()
    columns = {name: X[:, j] for j, name in enumerate("abc")}
    given, turned = container(columns), container({name: columns[name] for name in "cab"})
    model = BoostGradRegressor(init=Known(), **PARAMETERS).fit(given, X[:, 0], X_val=turned, y_val=X[:, 0])
    np.testing.assert_allclose(model.validation_score_, 0, atol=1e-12)
    np.testing.assert_array_equal(model.predict(turned), model.predict(given))
    for last in model.staged_predict(turned):
        np.testing.assert_allclose(last, X[:, 0], atol=1e-9)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        np.testing.assert_array_equal(model.predict(X), model.predict(given))


@pytest.mark.parametrize("form", ["coo", "csr", "csc", "lil", "dok", "bsr", "dia"])
@pytest.mark.parametrize("kind", ["matrix", "array"])
def test_sparse_tables_of_all_forms(form, kind):
    X, y = table(300)
    X[X < 0.3] = 0
    made = getattr(sparse, f"{form}_{kind}")(X)
    weight = np.arange(300) % 3 > 0
    for more in ({"early_stopping": True}, {"early_stopping": False}):
        model = BoostGradRegressor(init=LinearRegression(), **PARAMETERS, **more).fit(made, y, weight)
        dense = BoostGradRegressor(init=LinearRegression(), **PARAMETERS, **more).fit(X, y, weight)
        np.testing.assert_allclose(model.predict(made), dense.predict(X), rtol=1e-6)


# ---- what else there is ----------------------------------------------------------------------------------------------


class FittedOnce(Known):
    """One that was fitted elsewhere, and cannot be again."""

    def fit(self, X, y):
        raise AssertionError("fitted again")


def test_a_fitted_init_stays_fitted_where_folds_calibrate():
    X, y = table()
    X[:, 0] = y
    elsewhere = FittedOnce()
    elsewhere.fitted_ = True
    for init in (elsewhere, LinearRegression()):
        model = BoostGradRegressor(init=init, **PARAMETERS).fit(X, y).calibrate(X, y, cv=4)
        assert np.ptp(model.predict_interval(X, 0.9), axis=1).max() < 1e-6
        assert not hasattr(init, "coef_")


@pytest.mark.parametrize("scoring", ["r2", "neg_mean_absolute_error"])
def test_scores_know_of_init(scoring):
    X, y = table()
    given = {"X_val": X[600:], "y_val": y[600:]}
    by_metric = BoostGradRegressor(init=LinearRegression(), scoring=scoring, **PARAMETERS)
    by_scorer = BoostGradRegressor(init=LinearRegression(), scoring=get_scorer(scoring), **PARAMETERS)
    scores = [model.fit(X[:600], y[:600], **given).validation_score_ for model in (by_metric, by_scorer)]
    np.testing.assert_allclose(*scores, rtol=1e-9)
    assert scores[0][-1] == pytest.approx(get_scorer(scoring)(by_metric, X[600:], y[600:]))


@pytest.mark.parametrize(
    "loss", ["poisson", "gamma", "tweedie", "squared_log_error", "gamma_nll", "lognormal_nll", "cross_entropy"]
)
def test_predictions_outside_of_the_range_of_the_loss_are_moved_to_its_edge(loss):
    """A line does not know that counts are positive; the logarithm of nearly 0 would be far from all targets."""
    rng = np.random.default_rng(0)
    X = rng.random((1000, 3))
    mean = np.exp(4 * X[:, 0] - 2)
    y = rng.poisson(mean).astype(float) if loss == "poisson" else rng.gamma(2, mean / 2)
    if loss == "cross_entropy":
        y = np.clip(1.4 * X[:, 0] - 0.2, 0, 1)
    model = BoostGradRegressor(loss, init=LinearRegression(), random_state=0).fit(X, y)
    assert (model.init_.predict(X) <= 0).mean() > 0.1
    blind = BoostGradRegressor(loss, random_state=0).fit(X, y)
    assert model.predict(X).max() <= 1.2 * max(blind.predict(X).max(), y.max())
    assert np.mean((model.predict(X) - y) ** 2) < 1.3 * np.mean((blind.predict(X) - y) ** 2) + 1e-3
    low, high = model.init_range_[0]
    assert -1 < low < y.mean() and (high == np.inf or y.mean() < high < 1)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict(X), model.predict(X))
    np.testing.assert_array_equal(copy.init_range_, model.init_range_)


def test_predictions_within_the_range_stay_what_they_are():
    X, y = table()
    y = np.exp(y / 4)
    init = PoissonRegressor().fit(X, y)
    model = BoostGradRegressor("poisson", init=init, **PARAMETERS).fit(X, y)
    plain = BoostGradRegressor("poisson", **PARAMETERS).fit(X, y, offset=np.log(init.predict(X)))
    np.testing.assert_allclose(model.predict(X), plain.predict(X, offset=np.log(init.predict(X))), rtol=1e-12)
    assert model.init_range_[0, 0] <= init.predict(X).min()
    assert not hasattr(BoostGradRegressor(init=LinearRegression(), **PARAMETERS).fit(X, y), "init_range_")
    several = BoostGradRegressor("poisson", init=LinearRegression(), **PARAMETERS).fit(X, np.column_stack([y, 9 * y]))
    assert several.init_range_.shape == (2, 2) and several.init_range_[1, 0] > several.init_range_[0, 0]


def test_an_init_that_predicts_before_it_is_fitted_is_fitted():
    X, y = table(200)
    model = BoostGradRegressor(init=GaussianProcessRegressor(alpha=0.1), **PARAMETERS).fit(X, y)
    assert hasattr(model.init_, "X_train_") and model.init_ is not model.init
    again = BoostGradRegressor(init=model.init_, **PARAMETERS).fit(X, y)
    assert again.init_ is model.init_


@pytest.mark.parametrize("loss, with_exposure", [("squared_error", False), ("poisson", False), ("poisson", True)])
def test_an_init_does_not_explain_the_offset_again(loss, with_exposure):
    rng = np.random.default_rng(0)
    X = rng.random((2000, 3))
    offset, mean = 5 * X[:, 0], np.exp(X[:, 1])
    if loss == "squared_error":
        y, init = offset + mean, LinearRegression()
    else:
        y, init = rng.poisson(np.exp(offset) * mean), PoissonRegressor()
    start = {"exposure": np.exp(offset)} if with_exposure else {"offset": offset}
    found = BoostGradRegressor(loss, init=init, random_state=0).fit(X, y, **start).predict(X)
    assert np.mean(np.abs(found - mean)) < 0.2
    assert np.corrcoef(found, X[:, 0])[0, 1] < 0.2  # what only the offset knows


def test_an_init_that_cannot_be_fitted_beside_an_offset_is_refused():
    X, y = table(200)
    with pytest.raises(ValueError, match="init: LogisticRegression cannot be fitted beside an offset"):
        BoostGradClassifier(init=LogisticRegression(), **PARAMETERS).fit(X, y > 5, offset=y)
    fitted = LogisticRegression().fit(X, y > 5)
    BoostGradClassifier(init=fitted, **PARAMETERS).fit(X, y > 5, offset=y)


class Odd(LinearRegression):
    """Predicts what ``how`` makes of its predictions."""

    def __init__(self, how=None):
        super().__init__()
        self.how = how

    def predict(self, X):
        return self.how(super().predict(X))


@pytest.mark.parametrize(
    "how, message",
    [
        (lambda p: p + 1j, "init: Odd: it predicts complex numbers"),
        (lambda p: p[:5], r"init: Odd predicts an array of shape \(5,\) for 200 rows"),
        (lambda p: p[:, None, None], r"init: Odd predicts an array of shape \(200, 1, 1\) for 200 rows"),
        (lambda p: p * 0 + 1e300, r"init: Odd predicts 1e\+300 for row 0"),
    ],
)
def test_odd_predictions_are_refused(how, message):
    with pytest.raises(ValueError, match=message):
        BoostGradRegressor(init=Odd(how), **PARAMETERS).fit(*table(200))


def test_weights_of_classes_are_said_to_be_theirs():
    X, y = table(200)
    with pytest.raises(ValueError, match="KNeighborsClassifier takes no sample_weight, which class_weight makes"):
        BoostGradClassifier(init=KNeighborsClassifier(), class_weight="balanced").fit(X, y > 3)
