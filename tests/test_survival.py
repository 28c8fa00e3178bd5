"""BoostGradSurvival: what it accepts, keeps and promises."""

import pickle

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import boostgrad
from boostgrad import BoostGradDataset, BoostGradRegressor, BoostGradSurvival, io, native
from boostgrad.losses import AFT, AutodiffLoss, CallableLoss, Cox
from boostgrad.metrics import concordance_index


def times(n=600, seed=0):
    """Weibull times whose scale depends on two columns, and when each row was last seen."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4))
    time = rng.weibull(1.5, n) * np.exp(X[:, 0] - 0.5 * X[:, 1]) + 0.01
    end = rng.exponential(3.0, n) + 0.01
    return X, np.column_stack([np.minimum(time, end), time <= end])


X, y = times()
X_new, y_new = times(1000, seed=1)


def survival(**parameters):
    return BoostGradSurvival(**{"n_estimators": 30, "random_state": 0, "early_stopping": False, **parameters})


class AllObserved(BoostGradSurvival):
    """Takes the checks' plain targets for times of events that were all observed."""

    def fit(self, X, y, sample_weight=None):
        return super().fit(X, self._times(y), sample_weight)

    def score(self, X, y, sample_weight=None):
        return super().score(X, self._times(y), sample_weight)

    @staticmethod
    def _times(y):
        if y is None:
            return y
        try:
            plain = np.asarray(y).astype(float)
        except (TypeError, ValueError):
            raise ValueError("Unknown label type: y must hold numbers") from None
        plain = plain[:, 0] if plain.ndim == 2 and plain.shape[1] == 1 else plain
        return np.column_stack([plain - np.nanmin(plain) + 1, np.ones(len(plain))]) if plain.ndim == 1 else y


WHY = {
    "check_supervised_y_2d": "y has two columns here, not one that might as well be flat",
    "check_supervised_y_no_nan": "the message is about the two columns of y, not about the one of the check",
}


@parametrize_with_checks([AllObserved(n_estimators=5)], expected_failed_checks=lambda estimator: WHY)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


LOSSES = ["cox", "aft", Cox(), AFT("logistic", 0.8), AFT("extreme", 0.7)]


@pytest.mark.parametrize("loss", LOSSES, ids=["cox", "aft", "Cox", "logistic", "extreme"])
def test_it_learns_risks_and_survival_functions(loss):
    model = survival(loss=loss).fit(X, y)
    assert model.score(X_new, y_new) > 0.7
    grid = np.array([0.0, 0.1, 0.5, 1.0, 2.0, 4.0, 1e6])
    alive = model.predict_survival_function(X_new, grid)
    assert alive.shape == (len(X_new), len(grid)) and (alive[:, 0] == 1).all()
    assert (np.diff(alive, axis=1) <= 0).all() and (alive >= 0).all()
    np.testing.assert_allclose(np.exp(-model.predict_cumulative_hazard_function(X_new, grid)), alive, rtol=1e-12)
    # a higher risk means to die earlier, at every time
    order = np.argsort(model.predict(X_new))
    assert (np.diff(alive[order], axis=0) <= 1e-12).all()
    # calibrated on the whole: Kaplan and Meier's estimate
    first, n = y_new[:, 0], len(y_new)
    slack = 0.1 if model._loss.parameters().get("distribution") in ("normal", "logistic") else 0.05  # times are Weibull
    for t, mean in ((0.5, alive[:, 2].mean()), (1.0, alive[:, 3].mean())):
        events = np.unique(first[(y_new[:, 1] == 1) & (first <= t)])
        km = np.prod([1 - ((first == e) & (y_new[:, 1] == 1)).sum() / (first >= e).sum() for e in events])
        assert mean == pytest.approx(km, abs=slack)
    assert model.predict_survival_function(X_new[:3]).shape == (3, len(model.event_times_))
    np.testing.assert_array_equal(model.event_times_, np.unique(y[y[:, 1] == 1, 0]))
    assert boostgrad.BoostGradSurvival is BoostGradSurvival and n == 1000


def test_targets_of_all_shapes():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    time, event = y[:, 0], y[:, 1] == 1
    structured = np.array(list(zip(event, time, strict=True)), dtype=[("Status", bool), ("Survival", float)])
    named = {"event": event, "time": time}
    bounds = np.column_stack([time, np.where(event, time, np.inf)])
    for loss in ("cox", "aft"):
        expected = survival(loss=loss).fit(X, y).predict(X_new)
        targets = [structured, pandas.DataFrame(named), polars.DataFrame(named), y.tolist()]
        targets += [] if loss == "cox" else [bounds, pandas.DataFrame({"upper": bounds[:, 1], "lower": time})]
        for target in targets:
            np.testing.assert_array_equal(survival(loss=loss).fit(X, target).predict(X_new), expected)


@pytest.mark.parametrize("loss", ["cox", "aft"])
@pytest.mark.parametrize("event_name", ["Event", "status", "OBSERVED", "dead"])
@pytest.mark.parametrize("time_name", ["Time", "duration", "weeks"])
@pytest.mark.parametrize("of", [bool, float, np.int8])
def test_columns_are_known_by_name_or_type_in_any_order(loss, event_name, time_name, of):
    pandas, polars, arrow = (pytest.importorskip(name) for name in ("pandas", "polars", "pyarrow"))
    rows = slice(0, 80)
    time, event = y[rows, 0], y[rows, 1].astype(of)
    expected = survival(loss=loss, n_estimators=3).fit(X[rows], y[rows]).predict(X_new)

    def structured(columns):
        array = np.empty(len(time), dtype=[(name, values.dtype) for name, values in columns.items()])
        for name, values in columns.items():
            array[name] = values
        return array

    is_told = of is bool or event_name != "dead" or time_name != "weeks"
    for make in (pandas.DataFrame, polars.DataFrame, arrow.table, structured):
        for columns in ({event_name: event, time_name: time}, {time_name: time, event_name: event}):
            if not is_told and (make is structured or next(iter(columns)) == event_name):
                continue  # only the order can tell, and only in frames
            model = survival(loss=loss, n_estimators=3).fit(X[rows], make(columns))
            np.testing.assert_array_equal(model.predict(X_new), expected)


def test_what_says_whether_there_was_an_event_is_no_bound():
    pandas = pytest.importorskip("pandas")
    for names in (["event", "x"], ["x", "Status"], ["time", "x"]):
        with pytest.raises(ValueError, match="must be a bool, or 0 or 1: row 0 is 3 .*'lower' and 'upper'"):
            survival(loss="aft").fit(X, pandas.DataFrame(np.full((len(y), 2), 3.0), columns=names))
    bounds = pandas.DataFrame({"from": y[:, 0], "to": y[:, 0] + 1})
    unnamed = survival(loss="aft").fit(X, bounds.to_numpy()).predict(X_new)
    np.testing.assert_array_equal(survival(loss="aft").fit(X, bounds).predict(X_new), unnamed)
    missing = pandas.DataFrame({"event": pandas.array([True, None] * (len(y) // 2), "boolean"), "time": y[:, 0]})
    with pytest.raises(ValueError, match="'event' of row 1 is missing"):
        survival().fit(X, missing)


def test_intervals():
    """Times known to an interval of a grid only are nearly as good as times."""
    rng = np.random.default_rng(0)
    width = 0.3
    lower = np.where(y[:, 1] == 1, np.floor(y[:, 0] / width) * width, y[:, 0])
    upper = np.where(y[:, 1] == 1, lower + width, np.inf)
    model = survival(loss="aft").fit(X, np.column_stack([lower, upper]))
    exact = survival(loss="aft").fit(X, y)
    assert model.score(X_new, y_new) > exact.score(X_new, y_new) - 0.02
    assert model._loss.scale == pytest.approx(exact._loss.scale, rel=0.2)
    left = np.column_stack([np.where(rng.random(len(y)) < 0.5, 0, lower), upper])
    left[np.isinf(left[:, 1]), 0] = lower[np.isinf(left[:, 1])]
    assert survival(loss="aft").fit(X, left).score(X_new, y_new) > 0.65


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("loss", ["aft", AFT("logistic", 0.8)], ids=["aft", "logistic"])
def test_where_no_time_is_known_exactly_curves_are_at_the_bounds(loss, early_stopping, tmp_path):
    lower = np.floor(y[:, 0] / 0.3) * 0.3
    bounds = np.column_stack([lower, np.where(y[:, 1] == 1, lower + 0.3, np.inf)])
    bounds = bounds[~((bounds[:, 0] == 0) & np.isinf(bounds[:, 1]))]  # of which nothing is known
    rows = X[: len(bounds)]
    model = survival(loss=loss, early_stopping=early_stopping).fit(rows, bounds)
    known = np.unique(bounds[np.isfinite(bounds) & (bounds > 0)])
    if early_stopping:  # some of the bounds are held out
        assert np.isin(model.event_times_, known).all()
    else:
        np.testing.assert_array_equal(model.event_times_, known)
    alive = model.predict_survival_function(X_new)
    assert alive.shape == (len(X_new), len(model.event_times_)) and alive.shape[1] > 5
    np.testing.assert_array_equal(alive, model.predict_survival_function(X_new, model.event_times_))
    np.testing.assert_allclose(np.exp(-model.predict_cumulative_hazard_function(X_new)), alive, rtol=1e-12)
    model.save(tmp_path / "model")
    for other in (BoostGradSurvival.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.predict_survival_function(X_new), alive)
    bounds[0] = 0.75  # one time that was observed, and others are no times of events
    assert survival(loss=loss).fit(rows, bounds).event_times_.tolist() == [0.75]


@pytest.mark.parametrize("loss", ["cox", "aft"])
def test_threads_and_instruction_sets_change_no_byte(loss):
    one = survival(loss=loss, n_jobs=1).fit(X, y)
    used = native.isa()
    try:
        for isa in native.available_isas():
            native.use_isa(isa)
            for n_jobs in (1, 2, 3, 5):
                other = survival(loss=loss, n_jobs=n_jobs).fit(X, y)
                assert other.predict(X_new).tobytes() == one.predict(X_new).tobytes()
                assert other.baseline_hazard_.tobytes() == one.baseline_hazard_.tobytes()
    finally:
        native.use_isa(used)


@pytest.mark.parametrize("loss", LOSSES, ids=["cox", "aft", "Cox", "logistic", "extreme"])
def test_save_load_pickle_clone(tmp_path, loss):
    model = survival(loss=loss).fit(X, y)
    model.save(tmp_path / "model.bg")
    for other in (BoostGradSurvival.load(tmp_path / "model.bg"), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.predict(X_new), model.predict(X_new))
        np.testing.assert_array_equal(other.predict_survival_function(X_new), model.predict_survival_function(X_new))
        assert other._loss.parameters() == model._loss.parameters()
    np.testing.assert_array_equal(clone(model).fit(X, y).predict(X_new), model.predict(X_new))
    with pytest.raises(ValueError, match="holds a BoostGradSurvival"):
        BoostGradRegressor.load(tmp_path / "model.bg")


def test_early_stopping_offset_weights():
    model = survival(early_stopping=True, n_estimators=500).fit(X, y)
    assert model.n_iter_ < 500 and model.score(X_new, y_new) > 0.7
    model = survival(early_stopping="auto", n_estimators=500).fit(X, y, X_val=X_new, y_val=y_new)
    assert model.n_iter_ < 500
    start = X[:, 0]
    with_offset = survival().fit(X, y, offset=-start)
    np.testing.assert_allclose(with_offset.predict(X, offset=-start), with_offset.predict(X) - start)
    weight = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    kept = weight > 0
    np.testing.assert_array_equal(
        survival().fit(X, y, weight).predict(X_new), survival().fit(X[kept], y[kept], weight[kept]).predict(X_new)
    )
    assert list(survival().fit(X, y).staged_predict(X_new))[-1].tolist() == survival().fit(X, y).predict(X_new).tolist()
    assert (cross_val_score(survival(), X, y, cv=3) > 0.7).all()


@pytest.mark.parametrize("shift", [-2000.0, -800.0, 800.0, 1e5])
def test_offsets_far_from_0_cancel_out(shift, tmp_path):
    """Of the same offset for all rows nothing is left but in the baseline, which may leave the range of floats."""
    expected = survival().fit(X, y, offset=np.zeros(len(y)))
    model = survival().fit(X, y, offset=np.full(len(y), shift))
    model.save(tmp_path / "model")
    for other in (model, pickle.loads(pickle.dumps(model)), BoostGradSurvival.load(tmp_path / "model")):
        found = other.predict_survival_function(X_new, offset=np.full(len(X_new), shift))
        np.testing.assert_allclose(found, expected.predict_survival_function(X_new), rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(other.log_baseline_hazard_ + shift, expected.log_baseline_hazard_, rtol=1e-6)
        without = other.predict_survival_function(X_new, times=[0.0, 2.0])  # of all or nothing, but a number
        np.testing.assert_array_equal(without, np.column_stack([np.ones(1000), np.full(1000, shift > 0)]))


def test_files_of_earlier_versions_have_no_logarithms(tmp_path):
    model = survival().fit(X, y)
    stored = model._stored()
    del stored["arrays"]["log_baseline_hazard_"]
    stored["estimator"]["parameters"] = {}
    io.native.save(tmp_path / "model", **stored)
    loaded = BoostGradSurvival.load(tmp_path / "model")
    np.testing.assert_allclose(loaded.predict_survival_function(X_new), model.predict_survival_function(X_new))


def test_bad_input_names_what_and_where():
    def fit(target, **parameters):
        return survival(**parameters).fit(X, target)

    with pytest.raises(ValueError, match="must have two columns"):
        fit(y[:, 0])
    with pytest.raises(ValueError, match="must be a bool, or 0 or 1: row 4 is 2"):
        fit(np.column_stack([y[:, 0], np.where(np.arange(len(y)) == 4, 2, y[:, 1])]))
    with pytest.raises(ValueError, match="'time' of row 3 is missing"):
        fit(np.column_stack([np.where(np.arange(len(y)) == 3, np.nan, y[:, 0]), y[:, 1]]))
    with pytest.raises(ValueError, match=r"needs bounds 0 <= lower.*row 3 has \[-1.0"):
        fit(np.column_stack([np.where(np.arange(len(y)) == 3, -1, y[:, 0]), np.ones(len(y))]))
    with pytest.raises(ValueError, match="at least one event"):
        fit(np.column_stack([y[:, 0], np.zeros(len(y))]))
    with pytest.raises(ValueError, match="lower bound 5 of row 0 is above the upper one, 4"):
        fit(np.column_stack([np.full(len(y), 5.0), np.full(len(y), 4.0)]), loss="aft")
    with pytest.raises(ValueError, match="a bool field"):
        fit(np.zeros(len(y), dtype=[("a", float), ("b", float)]))
    with pytest.raises(ValueError, match="X has 600 rows, y has 599"):
        fit(y[1:])
    with pytest.raises(ValueError, match="requires y to be passed"):
        fit(None)
    with pytest.raises(ValueError, match="'loss' parameter of BoostGradSurvival must be one of"):
        fit(y, loss="squared_error")
    with pytest.raises(ValueError, match="times must not be negative or NaN: entry 1 is -1"):
        fit(y).predict_survival_function(X, [1, -1])
    for times in ("a", [1j], [[1], [1, 2]]):
        with pytest.raises(ValueError, match="times must be numbers"):
            fit(y).predict_survival_function(X, times)


def test_a_dataset_is_refused():
    with pytest.raises(ValueError, match="BoostGradSurvival needs X itself: .* a BoostGradDataset holds bins"):
        survival().fit(BoostGradDataset(X, y[:, 0]))
    with pytest.raises(ValueError, match="BoostGradSurvival requires y to be passed, but the target y is None"):
        survival().fit(X)


def test_as_good_as_xgboost():
    xgboost = pytest.importorskip("xgboost")
    signed = np.where(y[:, 1] == 1, y[:, 0], -y[:, 0])
    parameters = {"objective": "survival:cox", "max_depth": 5, "eta": 0.1, "nthread": 1}
    booster = xgboost.train(parameters, xgboost.DMatrix(X, signed), 30)
    theirs = booster.predict(xgboost.DMatrix(X_new))
    bounds = np.column_stack([y_new[:, 0], np.where(y_new[:, 1] == 1, y_new[:, 0], np.inf)])
    assert survival().fit(X, y).score(X_new, y_new) > concordance_index(bounds, theirs) - 0.01


def test_the_scale_of_failure_times_is_that_of_rows_that_were_held_out():
    rng = np.random.default_rng(0)
    X = rng.random((1200, 5))
    time = np.exp(2 * X[:, 0] + rng.standard_normal(1200))
    end = rng.exponential(20, 1200)
    y = np.column_stack([np.minimum(time, end), time <= end])
    settings = {"n_estimators": 60, "min_samples_leaf": 5, "random_state": 0}
    of_training = BoostGradSurvival("aft", early_stopping=False, **settings).fit(X, y)
    held_out = BoostGradSurvival("aft", early_stopping=True, validation_fraction=0.25, **settings).fit(X, y)
    given = BoostGradSurvival("aft", early_stopping=False, **settings).fit(
        X[:800], y[:800], X_val=X[800:], y_val=y[800:]
    )
    assert of_training._loss.scale < 0.6
    assert held_out._loss.scale == pytest.approx(1.0, abs=0.2)
    loss = given._loss
    bounds = np.column_stack([y[800:, 0], np.where(y[800:, 1] > 0, y[800:, 0], np.inf)])
    best = loss.with_best_scale(loss.prepare(bounds, None), given._raw(X[800:]), None)
    assert loss.scale == pytest.approx(best.scale, rel=1e-3)


def test_too_few_events_do_not_tell_a_scale():
    rng = np.random.default_rng(0)
    X, time = rng.random((300, 3)), rng.exponential(1.0, 300)
    y = np.column_stack([time, rng.random(300) < 0.2])
    few, none = (y[:60].copy() for _ in range(2))
    none[:, 1] = 0
    models = [
        BoostGradSurvival("aft", early_stopping=False, n_estimators=20, random_state=0).fit(X, y, X_val=X[:60], y_val=v)
        for v in (few, none)
    ]
    assert few[:, 1].sum() < 20
    assert models[0]._loss.scale == models[1]._loss.scale


# ---- boosting on top of another model --------------------------------------------------------------------------------


class Told(BaseEstimator):
    """Predicts a multiple of the first column, or its exponential."""

    def __init__(self, factor=1.0, times=False):
        self.factor, self.times = factor, times

    def fit(self, X, y):
        self.y_ = y
        return self

    def predict(self, X):
        raw = self.factor * np.asarray(X)[:, 0]
        return np.exp(raw) if self.times else raw


def structured(y):
    return np.array([(event == 1, time) for time, event in y], dtype=[("event", bool), ("time", float)])


@pytest.mark.parametrize("loss", ["cox", "aft", AFT("logistic", 0.5)], ids=str)
@pytest.mark.parametrize("early", [False, True])
def test_init_predicts_risks_or_times(loss, early):
    init = Told(-1.0) if loss == "cox" else Told(1.0, times=True)
    model = survival(loss=loss, init=init, early_stopping=early).fit(X, structured(y))
    assert model.init_.y_.dtype.names == ("event", "time") and len(model.init_.y_) == (540 if early else 600)
    start, start_new = init.factor * X[:, 0], init.factor * X_new[:, 0]
    plain = survival(loss=loss, early_stopping=early).fit(X, y, offset=start)
    np.testing.assert_allclose(model.predict(X_new), plain.predict(X_new, start_new), rtol=1e-9)
    curves = plain.predict_survival_function(X_new[:5], offset=start_new[:5])
    np.testing.assert_allclose(model.predict_survival_function(X_new[:5]), curves, rtol=1e-9)
    for ours, theirs in zip(model.staged_predict(X_new), plain.staged_predict(X_new, start_new), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X_new), model.predict(X_new))


@pytest.mark.parametrize("loss", ["cox", "aft"])
def test_init_may_be_a_model_of_the_same_kind(loss):
    first = survival(loss=loss, n_estimators=5).fit(X, y)
    second = survival(loss=loss, n_estimators=1, learning_rate=1e-9, init=first).fit(X, y)
    assert np.ptp(second.predict(X_new) - first.predict(X_new)) < 1e-6  # a constant and the beginning of a tree
    by_scorer = survival(loss=loss, init=first, scoring=lambda m, X, y: m.score(X, y)).fit(
        X, y, X_val=X_new, y_val=y_new
    )
    by_metric = survival(loss=loss, init=first, scoring="concordance_index").fit(X, y, X_val=X_new, y_val=y_new)
    np.testing.assert_allclose(by_scorer.validation_score_, by_metric.validation_score_)
    assert by_metric.validation_score_[0] == pytest.approx(first.score(X_new, y_new))


def test_init_of_scikit_survival():
    linear = pytest.importorskip("sksurv.linear_model")
    given = structured(y)
    model = survival(init=linear.CoxPHSurvivalAnalysis()).fit(X, given)
    expected = linear.CoxPHSurvivalAnalysis().fit(X, given)
    np.testing.assert_allclose(model.init_.coef_, expected.coef_)
    plain = survival().fit(X, given, offset=expected.predict(X))
    np.testing.assert_allclose(model.predict(X_new), plain.predict(X_new, expected.predict(X_new)), rtol=1e-6)
    assert model.score(X_new, structured(y_new)) >= survival().fit(X, y).score(X_new, y_new)
    times = survival(loss="aft", init=linear.IPCRidge()).fit(X, given)
    np.testing.assert_allclose(
        times._start(X, None, None, len(X))[0], np.log(linear.IPCRidge().fit(X, given).predict(X))
    )
    with pytest.raises(ValueError, match="init: CoxPHSurvivalAnalysis predicts -.* 'aft' starts from times"):
        survival(loss="aft", init=linear.CoxPHSurvivalAnalysis()).fit(X, given)
    with pytest.raises(ValueError, match="init: a model with loss 'cox' predicts risks"):
        survival(loss="aft", init=survival()).fit(X, given)
    with pytest.raises(ValueError, match="init: LinearRegression predicts 2 number.* a row"):
        survival(init=LinearRegression()).fit(X, y)
    with pytest.raises(ValueError, match="init: CoxPHSurvivalAnalysis takes no sample_weight"):
        survival(init=linear.CoxPHSurvivalAnalysis()).fit(X, given, np.arange(600) % 3)


def hazards(y, raw, sample_weight):
    """Cox's gradient and hessian; no two times are the same."""
    w = np.ones(len(raw)) if sample_weight is None else sample_weight
    time, event = y[:, 0], y[:, 0] == y[:, 1]
    at_risk = time >= time[event][:, None]  # (events, rows)
    of_row = w * np.exp(raw)
    share = at_risk * of_row / (at_risk @ of_row)[:, None]
    return w[event] @ share - w * event, w[event] @ (share - share**2)


FORMS = {
    "columns": lambda y: y,
    "bounds": lambda y: np.column_stack([y[:, 0], np.where(y[:, 1] == 1, y[:, 0], np.inf)]),
    "structured": lambda y: np.array([(bool(e), t) for t, e in y], dtype=[("event", bool), ("time", float)]),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_function_of_bounds_is_coxs_loss(form, weighted):
    """Whose link has its leaves, too."""
    weight = np.random.default_rng(2).random(len(y)) + 0.1 if weighted else None
    ours = survival().fit(X, y, weight)
    model = survival(loss=CallableLoss(hazards, inverse_link=Cox())).fit(X, FORMS[form](y), weight)
    np.testing.assert_allclose(model.predict(X_new), ours.predict(X_new), rtol=1e-5, atol=1e-6)
    assert model.ensemble_.base_score.tolist() == [0.0]
    assert model.score(X_new, y_new) == pytest.approx(ours.score(X_new, y_new), abs=1e-4)
    plain = survival(loss=hazards).fit(X, FORMS[form](y), weight)
    assert plain.score(X_new, y_new) > 0.7


def test_a_function_whose_gradients_do_not_depend_on_a_constant_starts_from_0():
    """Not from as far away as can be, where they add up to something: weights that are no part of the risk sets."""

    def weighted(y, raw, sample_weight):
        gradient, hessian = hazards(y, raw, None)
        return sample_weight * gradient, sample_weight * hessian

    weight = np.random.default_rng(2).random(len(y))
    assert survival(loss=weighted).fit(X, y, weight).ensemble_.base_score.tolist() == [0.0]


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_a_differentiated_likelihood_is_that_of_failure_times(backend):
    """Weibull's, of times that are observed or censored on the right."""
    library = pytest.importorskip(backend)
    xp = library if backend == "torch" else library.numpy

    def weibull(y, raw):
        z = xp.log(y[:, 0]) - raw
        return xp.exp(z) - xp.where(y[:, 0] == y[:, 1], z, 0 * z)

    ours = survival(loss=AFT("extreme", 1.0)).fit(X, y)
    model = survival(loss=AutodiffLoss(weibull, backend)).fit(X, y)
    np.testing.assert_allclose(model.predict(X_new), -ours.predict(X_new), rtol=1e-6, atol=1e-6)
    assert model.ensemble_.base_score[0] == pytest.approx(ours.ensemble_.base_score[0], rel=1e-9)


def test_early_stopping_by_a_score():
    stops = {"early_stopping": True, "n_estimators": 200, "n_iter_no_change": 5, "scoring": "concordance_index"}
    ours = survival(**stops).fit(X, y)
    own = survival(loss=CallableLoss(hazards, inverse_link=Cox()), **stops).fit(X, y)
    assert own.n_iter_ == ours.n_iter_ < 200
    np.testing.assert_allclose(own.validation_score_, ours.validation_score_, atol=1e-3)
    with pytest.raises(ValueError, match="need a loss with values"):
        survival(loss=hazards, early_stopping=True).fit(X, y)


def test_a_function_has_no_survival_function_and_no_name(tmp_path):
    model = survival(loss=hazards).fit(X, y)
    for ask in (model.predict_survival_function, model.predict_cumulative_hazard_function):
        with pytest.raises(ValueError, match="survival functions need loss 'cox' or 'aft'.*CallableLoss"):
            ask(X_new)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X_new), model.predict(X_new))
    with pytest.warns(UserWarning, match="no registered name"):
        model.save(tmp_path / "model")
    again = BoostGradSurvival.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(X_new), model.predict(X_new))
    with pytest.raises(ValueError, match="need loss 'cox' or 'aft'"):
        again.predict_survival_function(X_new)
    for loss in ("lambdarank", CallableLoss(hazards, 2)):
        with pytest.raises(ValueError, match="The 'loss' parameter of BoostGradSurvival must be one of .*a function"):
            survival(loss=loss).fit(X, y)


@pytest.mark.parametrize("side", ["left", "right"])
def test_failure_times_that_are_all_censored_on_one_side(side):
    rng = np.random.default_rng(0)
    X, time = rng.random((100, 2)), rng.random(100) + 0.1
    y = np.column_stack([time, np.full(100, np.inf)] if side == "right" else [np.zeros(100), time])
    bounds = np.rec.fromarrays(y.T, names="lower,upper")
    with pytest.raises(ValueError, match=f"needs some times that are not censored on the {side}"):
        BoostGradSurvival("aft").fit(X, bounds)


@pytest.mark.parametrize("loss", ["cox", "aft"])
def test_row_predictors_give_risks(loss):
    rng = np.random.default_rng(0)
    X = rng.random((200, 3))
    model = BoostGradSurvival(loss, n_estimators=5).fit(X, np.column_stack([np.exp(X[:, 0]), np.ones(200)]))
    predictor = model.predictor()
    np.testing.assert_array_equal([predictor(row) for row in X[:20]], model.predict(X[:20]))


def test_two_columns_of_bools_are_no_times():
    pd = pytest.importorskip("pandas")
    y = pd.DataFrame({"a": [True, False], "b": [True, True]})
    with pytest.raises(ValueError, match=r"must have a column of times; \['a', 'b'\] are both of bools"):
        BoostGradSurvival().fit(np.zeros((2, 1)), y)
