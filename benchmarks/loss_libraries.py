"""Who trains on the cases of the comparison of losses, one function a library, and the work that all of them are told.

A function takes ``(case, work)`` and returns what predicts rows of the case's table. All libraries get the same rows,
categories as pandas has them (CatBoost as text, scikit-learn as codes where there are too many levels, NGBoost always).
Exposure is a logarithmic offset, beside the best constant where a library does not add one; scikit-learn gets rates and
weights. Rows to stop by, where there are any, are scored by the loss itself, and by NDCG@10 where queries are ranked.

What cannot be made equal:

- XGBoost does not count rows; where hessians are 1 its least sum of hessians is set to the number of rows.
- CatBoost has no least sum of hessians, scikit-learn's is 1e-3; NGBoost has neither that nor a penalty.
- A hessian is not the same number in all libraries where the loss is not convex or has a kink, for softmax, and for
  expectiles, so neither are a penalty of 1 and a sum of 1. Huber's and Fair's shrink where residuals are large.
- CatBoost scores splits by gradients and row counts alone (its cosine), and goes by the loss in how it finds values of
  leaves (``leaf_estimation_method`` and ``_iterations`` are its own); XGBoost and LightGBM bound or shorten steps for
  Poisson (their ``max_delta_step`` of 0.7).
- Of "lambdarank" and "yetirank" every library has one alone: LightGBM and XGBoost are compared by the former in both
  rows, CatBoost by the latter.
- CatBoost has ordered statistics of categories, which are a penalty of their own.
- scikit-learn keeps the trees in which its patience ran out; all others drop them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.loss_cases import LEVEL, LEVELS, METRICS, TWEEDIE_POWER, Case


@dataclass(frozen=True)
class Work:
    """What all libraries are told alike.

    Attributes
    ----------
    trees, leaves, bins, rows_in_leaf, threads, seed : int
    rate : float
    l2 : float
        Penalty on leaf values.
    child_weight : float
        Least sum of hessians in a leaf.
    patience : int
        Iterations without a better score before training stops, where a case has rows for that.
    own : bool
        Penalties, least sums of hessians, sampling and noise are left to each library's defaults.
    """

    trees: int = 100
    leaves: int = 31
    rate: float = 0.1
    bins: int = 255
    rows_in_leaf: int = 20
    threads: int = 2
    seed: int = 0
    l2: float = 1.0
    child_weight: float = 1.0
    patience: int = 10
    own: bool = False

    def unless_own(self, **settings: Any) -> dict[str, Any]:
        """The settings, or none of them where a library's own count."""
        return {} if self.own else settings


class Missing(Exception):
    """The library has no such loss."""


Fitted = Callable[[Any], Any]  # from the rows to predict to what the metric takes


def _log_start(case: Case) -> np.ndarray | None:
    """For libraries that start from 0 beside an offset: the best constant and the logarithm of the exposure."""
    if case.exposure is None:
        return None
    return np.log(case.exposure * (case.y[case.train].sum() / case.exposure[case.train].sum()))


# -- boostgrad ---------------------------------------------------------------------------------------------------------


def boostgrad(case: Case, work: Work, **options: Any) -> Fitted:
    from boostgrad import BoostGradClassifier, BoostGradRanker, BoostGradRegressor, BoostGradSurvival, losses

    stop = case.stop
    shape = {
        "n_estimators": work.trees,
        "max_leaf_nodes": work.leaves,
        "learning_rate": work.rate,
        "max_bins": work.bins,
        "min_samples_leaf": work.rows_in_leaf,
        "n_jobs": work.threads,
        "random_state": work.seed,
        "early_stopping": stop is not None,
        "n_iter_no_change": work.patience,
    } | work.unless_own(l2_regularization=work.l2, min_child_weight=work.child_weight)
    shape |= options
    X, y = case.of("X", case.train), case.y[case.train]
    to_stop = {} if stop is None else {"X_val": case.of("X", stop), "y_val": case.y[stop]}
    loss = case.loss
    if METRICS[loss].task == ("ranking",):
        to_stop |= {} if stop is None else {"groups_val": case.groups[stop]}
        ranker = BoostGradRanker(loss, scoring="loss" if stop is None else "ndcg@10", **shape)
        ranker.fit(X, y, groups=case.groups[case.train], **to_stop)
        return lambda rows: ranker.predict(case.of("X", rows))
    if METRICS[loss].task == ("survival",):
        survival = BoostGradSurvival(loss, **shape).fit(X, y, **to_stop)
        return lambda rows: survival.predict(case.of("X", rows))
    if loss in ("log_loss", "multinomial", "multilabel"):
        classifier = BoostGradClassifier(**shape).fit(X, y, **to_stop)
        return lambda rows: np.asarray(classifier.predict_proba(case.of("X", rows)))
    chosen = {
        "huber": losses.Huber(case.scale),
        "fair": losses.Fair(case.scale),
        "tweedie": losses.Tweedie(TWEEDIE_POWER),
        "quantile": losses.Quantile(LEVEL),
        "expectile": losses.Expectile(LEVEL),
        "quantiles": losses.Quantiles(LEVELS),
        "multi_target": "squared_error",
    }.get(loss, loss)
    model = BoostGradRegressor(chosen, **shape)
    if case.exposure is not None:
        to_stop |= {"exposure": case.exposure[case.train]}
        to_stop |= {} if stop is None else {"exposure_val": case.exposure[stop]}
    model.fit(X, y, **to_stop)
    if loss == "normal_nll":

        def distribution(rows):
            found = model.predict_distribution(case.of("X", rows))
            return found.mean(), found.std()

        return distribution
    return lambda rows: model.predict(
        case.of("X", rows), **({} if case.exposure is None else {"exposure": case.exposure[rows]})
    )


def boostgrad_symmetric(case: Case, work: Work, **options: Any) -> Fitted:
    return boostgrad(case, work, grow_policy="symmetric", max_depth=6, max_leaf_nodes=64, **options)


def boostgrad_vector(case: Case, work: Work, grow: Callable[..., Fitted] = boostgrad) -> Fitted:
    if case.loss not in ("multinomial", "multilabel", "multi_target"):  # others have one output, or it is the default
        raise Missing
    return grow(case, work, multi_strategy="multi_output_tree")


def boostgrad_vector_symmetric(case: Case, work: Work) -> Fitted:
    return boostgrad_vector(case, work, boostgrad_symmetric)


# -- LightGBM ----------------------------------------------------------------------------------------------------------

LIGHTGBM = {
    "squared_error": "regression",
    "absolute_error": "regression_l1",
    "huber": "huber",
    "fair": "fair",
    "quantile": "quantile",
    "quantiles": "quantile",
    "mape": "mape",
    "poisson": "poisson",
    "gamma": "gamma",
    "tweedie": "tweedie",
    "log_loss": "binary",
    "multinomial": "multiclass",
    "multilabel": "binary",
    "multi_target": "regression",
    "lambdarank": "lambdarank",
    "yetirank": "lambdarank",
    "xendcg": "rank_xendcg",
}


def lightgbm(case: Case, work: Work) -> Fitted:
    import lightgbm as lgb

    if case.loss not in LIGHTGBM:
        raise Missing
    settings = {
        "objective": LIGHTGBM[case.loss],
        "num_leaves": work.leaves,
        "learning_rate": work.rate,
        "max_bin": work.bins,
        "min_data_in_leaf": work.rows_in_leaf,
        "num_threads": work.threads,
        "seed": work.seed,
        "verbose": -1,
        "eval_at": 10,
    } | work.unless_own(lambda_l2=work.l2, min_sum_hessian_in_leaf=work.child_weight)
    own = {
        "huber": {"alpha": case.scale},
        "fair": {"fair_c": case.scale},
        "quantile": {"alpha": LEVEL},
        "tweedie": {"tweedie_variance_power": TWEEDIE_POWER},
        "multinomial": {"num_class": case.n_classes},
    }
    settings |= own.get(case.loss, {})
    start = _log_start(case)

    def data(rows, column, reference=None):
        sizes = None if case.groups is None else np.unique(case.groups[rows], return_counts=True)[1]
        init = None if start is None else start[rows]
        y = case.y[rows] if column is None else case.y[rows, column]
        return lgb.Dataset(case.of("X", rows), y, group=sizes, init_score=init, reference=reference)

    def fit(column=None, **more):
        train = data(case.train, column)
        if case.stop is None:
            return lgb.train(settings | more, train, work.trees)
        stopping = lgb.early_stopping(work.patience, first_metric_only=True, verbose=False)
        stop = data(case.stop, column, reference=train)
        return lgb.train(settings | more, train, work.trees, valid_sets=[stop], callbacks=[stopping])

    if case.loss == "quantiles":
        models = [fit(alpha=level) for level in LEVELS]
        return lambda rows: np.column_stack([model.predict(case.of("X", rows)) for model in models])
    if case.y.ndim == 2:
        models = [fit(column) for column in range(case.y.shape[1])]
        return lambda rows: np.column_stack([model.predict(case.of("X", rows)) for model in models])
    model = fit()

    def predict(rows):
        found = model.predict(case.of("X", rows))
        if start is not None:
            return np.exp(np.log(found) + start[rows])
        return np.column_stack([1 - found, found]) if case.loss == "log_loss" else found

    return predict


# -- XGBoost -----------------------------------------------------------------------------------------------------------

XGBOOST = {
    "squared_error": "reg:squarederror",
    "absolute_error": "reg:absoluteerror",
    "quantile": "reg:quantileerror",
    "quantiles": "reg:quantileerror",
    "squared_log_error": "reg:squaredlogerror",
    "poisson": "count:poisson",
    "gamma": "reg:gamma",
    "tweedie": "reg:tweedie",
    "log_loss": "binary:logistic",
    "multinomial": "multi:softprob",
    "multilabel": "binary:logistic",
    "multi_target": "reg:squarederror",
    "lambdarank": "rank:ndcg",
    "yetirank": "rank:ndcg",
    "pairwise": "rank:pairwise",
    "rank_map": "rank:map",
    "cox": "survival:cox",
    "aft": "survival:aft",
}
_HESSIAN_OF_1 = ("squared_error", "absolute_error", "quantile", "quantiles", "multi_target")


def xgboost(case: Case, work: Work) -> Fitted:
    import xgboost as xgb

    if case.loss not in XGBOOST:
        raise Missing
    settings = {
        "objective": XGBOOST[case.loss],
        "max_leaves": work.leaves,
        "max_depth": 0,
        "grow_policy": "lossguide",
        "learning_rate": work.rate,
        "max_bin": work.bins,
        "nthread": work.threads,
        "seed": work.seed,
        "verbosity": 0,
    } | work.unless_own(reg_lambda=work.l2, min_child_weight=work.child_weight)
    if case.stop is not None and case.groups is not None:
        settings["eval_metric"] = "ndcg@10"
    if case.loss in _HESSIAN_OF_1:
        settings["min_child_weight"] = work.rows_in_leaf
    own = {
        "quantile": {"quantile_alpha": LEVEL},
        "quantiles": {"quantile_alpha": np.array(LEVELS)},
        "tweedie": {"tweedie_variance_power": TWEEDIE_POWER},
        "multinomial": {"num_class": case.n_classes},
    }
    settings |= own.get(case.loss, {})
    start = _log_start(case)

    def matrix(rows, with_label):
        qid = None if case.groups is None else case.groups[rows]
        data = xgb.DMatrix(case.of("X", rows), enable_categorical=True, qid=qid)
        if start is not None:
            data.set_base_margin(start[rows])
        if with_label and METRICS[case.loss].task == ("survival",):
            time, event = case.y[rows].T
            if case.loss == "cox":
                data.set_label(np.where(event > 0, time, -time))
            else:
                data.set_float_info("label_lower_bound", time)
                data.set_float_info("label_upper_bound", np.where(event > 0, time, np.inf))
        elif with_label:
            y = case.y[rows]
            data.set_label((y > 0).astype(float) if case.loss == "rank_map" else y)
        return data

    train = matrix(case.train, True)
    if case.stop is None:
        model = xgb.train(settings, train, num_boost_round=work.trees)
    else:
        stopping = xgb.callback.EarlyStopping(work.patience, save_best=True)
        evals = [(matrix(case.stop, True), "stop")]
        model = xgb.train(
            settings, train, num_boost_round=work.trees, evals=evals, callbacks=[stopping], verbose_eval=False
        )

    def predict(rows):
        found = model.predict(matrix(rows, False))
        if case.loss == "log_loss":
            return np.column_stack([1 - found.astype(float), found.astype(float)])
        return -found if case.loss == "aft" else found.astype(np.float64)

    return predict


# -- CatBoost ----------------------------------------------------------------------------------------------------------

CATBOOST = {
    "squared_error": "RMSE",
    "absolute_error": "MAE",
    "huber": "Huber:delta={scale}",
    "log_cosh": "LogCosh",
    "quantile": f"Quantile:alpha={LEVEL}",
    "quantiles": f"MultiQuantile:alpha={','.join(map(str, LEVELS))}",
    "expectile": f"Expectile:alpha={LEVEL}",
    "mape": "MAPE",
    "normal_nll": "RMSEWithUncertainty",
    "poisson": "Poisson",
    "tweedie": f"Tweedie:variance_power={TWEEDIE_POWER}",
    "log_loss": "Logloss",
    "multinomial": "MultiClass",
    "multilabel": "MultiLogloss",
    "multi_target": "MultiRMSE",
    "lambdarank": "YetiRank",
    "yetirank": "YetiRank",
    "xendcg": "QuerySoftMax",
    "pairwise": "PairLogit",
    "cox": "Cox",
    "aft": "SurvivalAft:dist=Normal;scale=1.0",
}
_LOG_LINKS = ("poisson", "tweedie")


def catboost(case: Case, work: Work, symmetric: bool = False) -> Fitted:
    from catboost import CatBoost, Pool

    if case.loss not in CATBOOST:
        raise Missing
    categories = list(case.X.select_dtypes("category"))
    settings = {
        "loss_function": CATBOOST[case.loss].format(scale=case.scale),
        "iterations": work.trees,
        "learning_rate": work.rate,
        "border_count": work.bins - 1,
        "thread_count": work.threads,
        "random_seed": work.seed,
        "allow_writing_files": False,
        "verbose": 0,
    } | work.unless_own(l2_leaf_reg=work.l2, bootstrap_type="No", random_strength=0, boosting_type="Plain")
    if case.stop is not None:
        settings |= {"od_type": "Iter", "od_wait": work.patience, "use_best_model": True}
        settings |= {} if case.groups is None else {"eval_metric": "NDCG:top=10"}
    if symmetric:
        settings["depth"] = 6
    else:
        leafwise = {"grow_policy": "Lossguide", "max_leaves": work.leaves, "depth": 16}
        settings |= leafwise | {"min_data_in_leaf": work.rows_in_leaf}
    start = _log_start(case)

    def pool(rows, with_label):
        X = case.of("X", rows).copy()
        for name in categories:
            X[name] = X[name].astype(object).where(X[name].notna(), "missing").astype(str)
        y = case.y[rows] if with_label else None
        if with_label and case.loss == "cox":
            y = np.where(y[:, 1] > 0, y[:, 0], -y[:, 0])
        elif with_label and case.loss == "aft":
            y = np.column_stack([y[:, 0], np.where(y[:, 1] > 0, y[:, 0], -1)])
        return Pool(
            X,
            y,
            cat_features=categories,
            baseline=None if start is None else start[rows],
            group_id=None if case.groups is None else case.groups[rows],
        )

    model = CatBoost(settings).fit(
        pool(case.train, True), eval_set=None if case.stop is None else pool(case.stop, True)
    )

    def predict(rows):
        if case.loss in ("log_loss", "multinomial", "multilabel"):
            return model.predict(pool(rows, False), prediction_type="Probability")
        found = model.predict(pool(rows, False), prediction_type="RawFormulaVal")
        if case.loss == "normal_nll":
            return found[:, 0], np.exp(found[:, 1])
        if case.loss == "aft":
            return -found
        return np.exp(found) if case.loss in _LOG_LINKS else found

    return predict


def catboost_symmetric(case: Case, work: Work) -> Fitted:
    return catboost(case, work, symmetric=True)


# -- scikit-learn, NGBoost, and no model at all ------------------------------------------------------------------------

HGB = ("squared_error", "absolute_error", "quantile", "quantiles", "poisson", "gamma", "log_loss", "multinomial")


def hgb(case: Case, work: Work) -> Fitted:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    if case.loss not in HGB:
        raise Missing
    X, y, stop = as_codes(case.X, more_than=254), case.y[case.train], case.stop
    shape = {
        "max_iter": work.trees,
        "max_leaf_nodes": work.leaves,
        "learning_rate": work.rate,
        "max_bins": work.bins,
        "min_samples_leaf": work.rows_in_leaf,
        "random_state": work.seed,
        "early_stopping": stop is not None,
        "n_iter_no_change": work.patience,
        "categorical_features": "from_dtype",
    } | work.unless_own(l2_regularization=work.l2)
    if case.loss in ("log_loss", "multinomial"):
        to_stop = {} if stop is None else {"X_val": X.iloc[stop], "y_val": case.y[stop]}
        classifier = HistGradientBoostingClassifier(**shape).fit(X.iloc[case.train], y, **to_stop)

        def probabilities(rows):
            found = np.zeros((len(rows), case.n_classes))
            found[:, classifier.classes_.astype(int)] = classifier.predict_proba(X.iloc[rows])
            return found

        return probabilities

    def given(rows):
        exposure = case.of("exposure", rows)
        return (case.y[rows], None) if exposure is None else (case.y[rows] / exposure, exposure)

    def fit(**more):
        to_stop = {}
        if stop is not None:
            to_stop = dict(zip(("X_val", "y_val", "sample_weight_val"), (X.iloc[stop], *given(stop)), strict=True))
        return HistGradientBoostingRegressor(**shape, **more).fit(X.iloc[case.train], *given(case.train), **to_stop)

    if case.loss == "quantiles":
        models = [fit(loss="quantile", quantile=level) for level in LEVELS]
        return lambda rows: np.column_stack([model.predict(X.iloc[rows]) for model in models])
    model = fit(loss="quantile", quantile=LEVEL) if case.loss == "quantile" else fit(loss=case.loss)
    return lambda rows: model.predict(X.iloc[rows]) * (1.0 if case.exposure is None else case.exposure[rows])


def ngboost(case: Case, work: Work) -> Fitted:
    """The same number of trees of as many leaves, at the same rate."""
    from ngboost import NGBRegressor
    from sklearn.tree import DecisionTreeRegressor

    if case.loss != "normal_nll":
        raise Missing
    tree = DecisionTreeRegressor(max_leaf_nodes=work.leaves, min_samples_leaf=work.rows_in_leaf, random_state=work.seed)
    model = NGBRegressor(Base=tree, n_estimators=work.trees, learning_rate=work.rate, verbose=False)
    return _ngboost(case, work, model)


def ngboost_default(case: Case, work: Work) -> Fitted:
    """NGBoost as it comes: 500 trees of depth 3, rate 0.01."""
    from ngboost import NGBRegressor

    if case.loss != "normal_nll":
        raise Missing
    return _ngboost(case, work, NGBRegressor(verbose=False, random_state=work.seed))


def _ngboost(case: Case, work: Work, model: Any) -> Fitted:
    X = as_codes(case.X).to_numpy(np.float64)
    X = np.where(np.isnan(X), -999.0, X)
    to_stop = {}
    if case.stop is not None:
        model.early_stopping_rounds = work.patience
        to_stop = {"X_val": X[case.stop], "Y_val": case.y[case.stop]}
    model.fit(X[case.train], case.y[case.train], **to_stop)
    trees = None if case.stop is None else model.best_val_loss_itr

    def predict(rows):
        found = model.pred_dist(X[rows], max_iter=trees)
        return found.loc, found.scale

    return predict


def constant(case: Case, work: Work) -> Fitted:
    """The mean, or the mean rate: what trees must beat, which for claim amounts is not said."""
    if case.loss not in ("poisson", "gamma", "tweedie"):
        raise Missing
    exposure = np.ones(len(case.y)) if case.exposure is None else case.exposure
    rate = case.y[case.train].sum() / exposure[case.train].sum()
    return lambda rows: rate * exposure[rows]


def as_codes(X: Any, more_than: int = 0) -> Any:
    """Categories of more levels as numbers."""
    X = X.copy()
    for name in X.select_dtypes("category"):
        if len(X[name].cat.categories) > more_than:
            codes = X[name].cat.codes.astype(np.float64)
            X[name] = codes.where(codes >= 0, np.nan)
    return X


LIBRARIES: dict[str, Callable[[Case, Work], Fitted]] = {
    "boostgrad": boostgrad,
    "boostgrad-symmetric": boostgrad_symmetric,
    "boostgrad-vector": boostgrad_vector,
    "boostgrad-vector-symmetric": boostgrad_vector_symmetric,
    "lightgbm": lightgbm,
    "xgboost": xgboost,
    "catboost": catboost,
    "catboost-symmetric": catboost_symmetric,
    "hgb": hgb,
    "ngboost": ngboost,
    "ngboost-default": ngboost_default,
    "constant": constant,
}
PACKAGES = {
    "boostgrad-symmetric": "boostgrad",
    "boostgrad-vector": "boostgrad",
    "boostgrad-vector-symmetric": "boostgrad",
    "hgb": "scikit-learn",
    "catboost-symmetric": "catboost",
    "ngboost-default": "ngboost",
}
