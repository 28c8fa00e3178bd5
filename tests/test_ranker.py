"""BoostGradRanker: what it accepts, keeps and promises."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GroupKFold, cross_validate
from sklearn.utils.estimator_checks import parametrize_with_checks

import boostgrad
from boostgrad import BoostGradDataset, BoostGradRanker, BoostGradRegressor, native
from boostgrad.losses import AutodiffLoss, CallableLoss, LambdaRank, Pairwise
from boostgrad.metrics import ndcg


def queries(n_queries=60, seed=0):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 30, n_queries)
    groups = np.repeat(np.arange(n_queries), sizes)
    X = rng.standard_normal((len(groups), 6))
    raw = (
        2 * X[:, 0] - X[:, 1] + X[:, 2] * X[:, 3] + rng.standard_normal(len(groups)) + 3 * rng.random(n_queries)[groups]
    )
    return X, np.clip(np.round(raw), 0, 4), groups


X, y, groups = queries()
X_new, y_new, groups_new = queries(200, seed=1)


def ranker(**parameters):
    return BoostGradRanker(**{"n_estimators": 30, "random_state": 0, "early_stopping": False, **parameters})


NOT_HERE = "a weight multiplies a row's gradient, but a row that is there twice makes twice as many pairs"


def expected_failures(estimator):
    """Without groups all rows are one query."""
    return dict.fromkeys(
        ("check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data"), NOT_HERE
    )


@parametrize_with_checks([BoostGradRanker(n_estimators=5)], expected_failed_checks=expected_failures)
def test_scikit_learn_checks(estimator, check):
    try:
        check(estimator)
    except ValueError as error:
        if "relevance of at least 0" not in str(error) and "relevance of at most 31" not in str(error):
            raise
        pytest.xfail(f"the check's y is no relevance: {error}")


@pytest.mark.parametrize("loss", ["lambdarank", "xendcg", "rank_map", "pairwise", LambdaRank(truncation=5)])
def test_it_learns_an_order(loss):
    model = ranker(loss=loss).fit(X, y, groups=groups)
    assert model.score(X_new, y_new, groups=groups_new) > 0.8
    shuffled = np.random.default_rng(0).permutation(len(y_new))
    assert model.score(X_new[shuffled], y_new[shuffled], groups=groups_new[shuffled]) == pytest.approx(
        model.score(X_new, y_new, groups=groups_new), abs=1e-12
    )
    assert boostgrad.BoostGradRanker is BoostGradRanker


def test_groups_may_be_in_any_order_and_of_any_labels():
    model = ranker(n_jobs=1).fit(X, y, groups=groups)
    named = ranker(n_jobs=1).fit(X, y, groups=np.array([f"q{g:03}" for g in groups]))
    np.testing.assert_array_equal(named.predict(X_new), model.predict(X_new))
    order = np.random.default_rng(0).permutation(len(y))
    shuffled = ranker(n_jobs=1).fit(X[order], y[order], groups=groups[order])
    assert shuffled.score(X_new, y_new, groups=groups_new) == pytest.approx(
        model.score(X_new, y_new, groups=groups_new), abs=0.02
    )


@pytest.mark.parametrize("loss", ["lambdarank", "xendcg", "rank_map", "pairwise"])
def test_threads_and_instruction_sets_change_no_byte(loss):
    one = ranker(loss=loss, n_jobs=1).fit(X, y, groups=groups)
    used = native.isa()
    try:
        for isa in native.available_isas():
            native.use_isa(isa)
            for n_jobs in (1, 2, 3, 5):
                other = ranker(loss=loss, n_jobs=n_jobs).fit(X, y, groups=groups)
                assert other.predict(X_new).tobytes() == one.predict(X_new).tobytes()
    finally:
        native.use_isa(used)


def test_save_load_pickle_clone(tmp_path):
    for loss in ("lambdarank", LambdaRank(truncation=7, label_gain=[0, 1, 2, 4, 9])):
        model = ranker(loss=loss).fit(X, y, groups=groups)
        model.save(tmp_path / "model.bg")
        loaded = BoostGradRanker.load(tmp_path / "model.bg")
        again = pickle.loads(pickle.dumps(model))
        for other in (loaded, again):
            np.testing.assert_array_equal(other.predict(X_new), model.predict(X_new))
            assert other._loss.parameters() == model._loss.parameters()
        np.testing.assert_array_equal(clone(model).fit(X, y, groups=groups).predict(X_new), model.predict(X_new))
    with pytest.raises(ValueError, match="holds a BoostGradRanker"):
        BoostGradRegressor.load(tmp_path / "model.bg")


def test_early_stopping_splits_by_query():
    seen = []

    class Splitter(GroupKFold):
        def split(self, X, y=None, groups=None):
            for kept, held_out in super().split(X, y, groups):
                seen.append((set(groups[kept]), set(groups[held_out])))
                yield kept, held_out

    model = ranker(early_stopping=True, validation_fraction=Splitter(3)).fit(X, y, groups=groups)
    assert not seen[0][0] & seen[0][1]
    assert len(model.validation_score_) == model.n_iter_ + 1 and (model.validation_score_ <= 0).all()
    model = ranker(early_stopping=True, n_estimators=300).fit(X, y, groups=groups)
    assert model.n_iter_ < 300
    given = ranker(n_estimators=300, early_stopping="auto").fit(
        X, y, groups=groups, X_val=X_new, y_val=y_new, groups_val=groups_new
    )
    held_out = ndcg(y_new, given.predict(X_new), groups_new, k=30)
    assert given.validation_score_[-1] == pytest.approx(held_out - 1, abs=1e-6)


def test_a_dataset_has_the_target():
    data = BoostGradDataset(X, y)
    expected = ranker().fit(X, y, groups=groups).predict(X_new)
    np.testing.assert_array_equal(ranker().fit(data, groups=groups).predict(X_new), expected)


def test_offset_and_weights():
    start = 10.0 * X[:, 0]
    model = ranker().fit(X, y, groups=groups, offset=start)
    np.testing.assert_allclose(model.predict(X, offset=start), model.predict(X) + start)
    weight = np.random.default_rng(0).integers(0, 3, groups.max() + 1)[groups].astype(float)
    some = ranker().fit(X, y, weight, groups=groups)
    kept = weight > 0
    np.testing.assert_array_equal(
        some.predict(X_new), ranker().fit(X[kept], y[kept], weight[kept], groups=groups[kept]).predict(X_new)
    )
    assert model.predictor()(X[3]) == pytest.approx(model.predict(X[3:4])[0])
    assert list(some.staged_predict(X_new))[-1].tolist() == some.predict(X_new).tolist()


def test_metadata_routing():
    import sklearn

    with sklearn.config_context(enable_metadata_routing=True):
        model = ranker().set_fit_request(groups=True).set_score_request(groups=True)
        scores = cross_validate(model, X, y, cv=GroupKFold(3), params={"groups": groups})["test_score"]
    assert (scores > 0.75).all()


def test_bad_input_names_what_and_where():
    with pytest.raises(ValueError, match="at least 0; row 3 has -1"):
        ranker().fit(X, np.where(np.arange(len(y)) == 3, -1, y), groups=groups)
    with pytest.raises(ValueError, match="groups must have one value for each of"):
        ranker().fit(X, y, groups=groups[:-1])
    with pytest.raises(ValueError, match="row 2 is nan"):
        ranker().fit(X, np.where(np.arange(len(y)) == 2, np.nan, y), groups=groups)
    with pytest.raises(ValueError, match="'loss' parameter of BoostGradRanker must be one of"):
        ranker(loss="squared_error").fit(X, y, groups=groups)
    with pytest.raises(ValueError, match="'loss' parameter of BoostGradRegressor must"):
        BoostGradRegressor(loss="lambdarank").fit(X, y)
    with pytest.raises(ValueError, match="'loss' parameter of BoostGradRegressor must predict"):
        BoostGradRegressor(loss=LambdaRank()).fit(X, y)
    with pytest.raises(ValueError, match="groups_val needs X_val"):
        ranker().fit(X, y, groups=groups, groups_val=groups)
    for more in ({"groups": groups}, {"groups_val": groups}):
        with pytest.raises(ValueError, match="groups and groups_val must be given together"):
            ranker().fit(X, y, X_val=X, y_val=y, **more)
    for more in ({}, {"groups": np.ones(len(y))}):
        with pytest.raises(ValueError, match="sets whole groups aside, and there is only one: .* groups"):
            ranker(early_stopping=True).fit(X, y, **more)
    with pytest.raises(ValueError, match="Labels in groups must all be strings, or none of them"):
        ranker().fit(X[:200], y[:200], groups=["1"] * 100 + [1] * 100)
    with pytest.raises(NotFittedError):
        ranker().predict(X)
    model = ranker().fit(X, y, groups=groups)
    with pytest.raises(ValueError, match="k must be an integer >= 1"):
        model.score(X, y, groups=groups, k=0)


def test_nothing_to_learn():
    for relevance, ids in ((np.ones(len(y)), groups), (y, np.arange(len(y)))):  # all equal; queries of one row
        model = ranker().fit(X, relevance, groups=ids)
        assert not model.predict(X).any()
        assert model.score(X, relevance, groups=ids) == 1


# ---- other libraries -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["lambdarank", "xendcg"])
def test_as_good_as_lightgbm(loss):
    lightgbm = pytest.importorskip("lightgbm")
    objective = {"lambdarank": "lambdarank", "xendcg": "rank_xendcg"}[loss]
    data = lightgbm.Dataset(X, y, group=np.bincount(groups))
    booster = lightgbm.train(
        {"objective": objective, "num_leaves": 15, "verbosity": -1, "seed": 0, "num_threads": 1}, data, 30
    )
    ours = ranker(loss=loss, max_leaf_nodes=15).fit(X, y, groups=groups).predict(X_new)
    assert ndcg(y_new, ours, groups_new, k=10) > ndcg(y_new, booster.predict(X_new), groups_new, k=10) - 0.02


def test_lambdarank_gradients_are_lightgbms():
    """Without truncation and normalisation both compute the same first trees: compare their first step's leaf sums."""
    lightgbm = pytest.importorskip("lightgbm")
    rows = groups < 20
    parameters = {"objective": "lambdarank", "lambdarank_truncation_level": 1000, "lambdarank_norm": False}
    parameters |= {"num_leaves": 2, "min_data_in_leaf": 5, "min_data_in_bin": 1, "verbosity": -1, "learning_rate": 1.0}
    # LightGBM breaks ties by the order of the rows, so the rows of a query are given in ascending relevance
    order = np.lexsort((y[rows], groups[rows]))
    A, b, g = X[rows][order], y[rows][order], groups[rows][order]
    booster = lightgbm.train(parameters, lightgbm.Dataset(A, b, group=np.bincount(g)), 1)
    loss = LambdaRank(truncation=None, normalise=False)
    ours = ranker(loss=loss, n_estimators=1, max_leaf_nodes=2, min_samples_leaf=5, learning_rate=1.0)
    prediction = ours.fit(A, b, groups=g).predict(A)
    theirs = booster.predict(A)
    np.testing.assert_allclose(prediction, theirs, rtol=1e-3, atol=1e-4)


# ---- boosting on top of another model --------------------------------------------------------------------------------


def test_init_predicts_scores():
    model = ranker(init=LinearRegression()).fit(X, y, groups=groups)
    np.testing.assert_allclose(model.init_.coef_, LinearRegression().fit(X, y).coef_)
    start, start_new = model.init_.predict(X), model.init_.predict(X_new)
    plain = ranker().fit(X, y, groups=groups, offset=start)
    np.testing.assert_allclose(model.predict(X_new), plain.predict(X_new, start_new), rtol=1e-9)
    for ours, theirs in zip(model.staged_predict(X_new), plain.staged_predict(X_new, start_new), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X_new), model.predict(X_new))
    both = {"groups_val": groups_new, "X_val": X_new, "y_val": y_new}
    by_metric = ranker(init=LinearRegression(), scoring="ndcg").fit(X, y, groups=groups, **both)
    by_scorer = ranker(init=LinearRegression(), scoring=lambda m, X, y, groups: m.score(X, y, groups=groups))
    by_scorer.fit(X, y, groups=groups, **both)
    np.testing.assert_allclose(by_metric.validation_score_, by_scorer.validation_score_, rtol=1e-9)
    start_score = ndcg(y_new, by_metric.init_.predict(X_new), groups_new)
    assert by_metric.validation_score_[0] == pytest.approx(start_score)
    with pytest.raises(ValueError, match="init: LinearRegression predicts 2 number.* a row"):
        ranker(init=LinearRegression().fit(X, np.column_stack([y, y]))).fit(X, y, groups=groups)


def test_init_may_be_a_ranker():
    first = ranker(n_estimators=10).fit(X, y, groups=groups)
    second = ranker(n_estimators=10, init=first).fit(X, y, groups=groups)
    assert second.init_ is first
    whole = ranker(n_estimators=20).fit(X, y, groups=groups)
    np.testing.assert_allclose(second.score(X, y, groups=groups), whole.score(X, y, groups=groups), atol=0.02)
    unfitted = ranker(n_estimators=10, init=ranker(n_estimators=10)).fit(X, y, groups=groups)
    np.testing.assert_array_equal(unfitted.predict(X), second.predict(X))  # it is told of the queries, too


def pairwise(y, raw, sample_weight, groups):
    """RankNet, all pairs of all rows at once."""
    better = (groups[:, None] == groups) & (y[:, None] > y)
    wrong = better / (1 + np.exp(raw[:, None] - raw))
    bent = wrong * (1 - wrong)
    w = (1.0 if sample_weight is None else sample_weight) / np.bincount(groups)[groups]
    return w * (wrong.sum(axis=0) - wrong.sum(axis=1)), w * (bent.sum(axis=0) + bent.sum(axis=1))


def pairwise_loss(y, raw, groups):
    """Of each row: that of its query times queries a row, so that the mean over rows is that over queries."""
    better = (groups[:, None] == groups) & (y[:, None] > y)
    of_row = (better * np.logaddexp(0, raw - raw[:, None])).sum(axis=1)
    return of_row / np.bincount(groups)[groups] * len(groups) / (groups.max() + 1)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
def test_a_function_of_queries_is_the_built_in_loss(grouped, weighted):
    order = np.random.default_rng(2).permutation(len(y))
    some = order[:300]
    given = {"groups": np.array([f"q{g}" for g in groups[some]]) if grouped else None}
    weight = np.random.default_rng(3).random(300) + 0.1 if weighted else None
    ours = ranker(loss="pairwise").fit(X[some], y[some], weight, **given)
    expected = ours.predict(X_new)
    for loss in (pairwise, CallableLoss(pairwise, value=pairwise_loss)):
        model = ranker(loss=loss).fit(X[some], y[some], weight, **given)
        np.testing.assert_allclose(model.predict(X_new), expected, rtol=1e-6, atol=1e-6)
        assert model.ensemble_.base_score.tolist() == [0.0]
        assert model.score(X_new, y_new, groups=groups_new) == pytest.approx(
            ours.score(X_new, y_new, groups=groups_new), rel=1e-6
        )


def test_early_stopping_by_a_function_of_queries():
    """Queries are numbered afresh in each part of the rows."""
    given = {"groups": groups + 100}
    stops = {"early_stopping": True, "n_estimators": 200, "n_iter_no_change": 5}
    ours = ranker(loss="pairwise", **stops).fit(X, y, **given)
    own = ranker(loss=CallableLoss(pairwise, value=pairwise_loss), **stops).fit(X, y, **given)
    assert own.n_iter_ == ours.n_iter_ < 200
    np.testing.assert_allclose(own.validation_score_, ours.validation_score_, rtol=1e-6)
    named = ranker(loss=pairwise, scoring="ndcg", **stops).fit(X, y, **given)
    ours = ranker(loss=Pairwise(), scoring="ndcg", **stops).fit(X, y, **given)
    np.testing.assert_allclose(named.validation_score_, ours.validation_score_, rtol=1e-6)
    with pytest.raises(ValueError, match="need a loss with values"):
        ranker(loss=pairwise, **stops).fit(X, y, **given)


def test_functions_of_rows_start_from_their_best_constant():
    def half_square(relevance, raw, sample_weight):
        return raw - relevance, 1.0

    regressor = BoostGradRegressor(n_estimators=30, random_state=0, early_stopping=False).fit(X, y)
    model = ranker(loss=half_square).fit(X, y, groups=groups)
    np.testing.assert_allclose(model.predict(X_new), regressor.predict(X_new), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_a_differentiated_loss_ranks_rows(backend):
    pytest.importorskip(backend)
    half_square = AutodiffLoss(lambda y, raw: 0.5 * (raw - y) ** 2, backend)
    regressor = BoostGradRegressor(n_estimators=30, random_state=0, early_stopping=False).fit(X, y)
    model = ranker(loss=half_square).fit(X, y, groups=groups)
    np.testing.assert_allclose(model.predict(X_new), regressor.predict(X_new), rtol=1e-6, atol=1e-6)


def test_a_function_of_queries_in_files_and_pickles(tmp_path):
    model = ranker(loss=pairwise).fit(X, y, groups=groups)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X_new), model.predict(X_new))
    with pytest.warns(UserWarning, match="no registered name"):
        model.save(tmp_path / "model")
    again = BoostGradRanker.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(X_new), model.predict(X_new))
    with pytest.raises(ValueError, match=r"could not hold its loss, CallableLoss\(pairwise\)"):
        again.fit(X, y, groups=groups)


def test_losses_that_are_not_for_queries():
    for loss in ("cox", CallableLoss(pairwise, 2), CallableLoss, 3):
        with pytest.raises(ValueError, match="The 'loss' parameter of BoostGradRanker must be one of .*a function"):
            ranker(loss=loss).fit(X, y, groups=groups)
