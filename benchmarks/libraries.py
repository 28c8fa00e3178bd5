"""Who trains: boostgrad and its peers, one function each, and the table that makes their work equal.

A function takes ``(problem, work, n_threads)``, trains from the raw array (preparing the data is part of the job) and
returns a `Fitted`. Libraries are imported inside their function; one that is not installed is an ImportError there and
nowhere else. ``python -m benchmarks.libraries`` prints `SAME_WORK` as the table of the README.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.problems import Problem, Work

#: What each library calls the fields of `Work`; None: it has no such parameter, see `NOTES`.
SAME_WORK: dict[str, dict[str, str | None]] = {
    "boostgrad": {
        "n_trees": "n_estimators",
        "max_leaves": "max_leaf_nodes",
        "learning_rate": "learning_rate",
        "policy": "grow_policy",
        "max_depth": "max_depth",
        "max_bins": "max_bins",
        "l2": "l2_regularization",
        "min_samples_leaf": "min_samples_leaf",
        "min_child_weight": "min_child_weight",
    },
    "lightgbm": {
        "n_trees": "num_iterations",
        "max_leaves": "num_leaves",
        "learning_rate": "learning_rate",
        "policy": None,
        "max_depth": "max_depth",
        "max_bins": "max_bin",
        "l2": "lambda_l2",
        "min_samples_leaf": "min_data_in_leaf",
        "min_child_weight": "min_sum_hessian_in_leaf",
    },
    "xgboost": {
        "n_trees": "num_boost_round",
        "max_leaves": "max_leaves",
        "learning_rate": "eta",
        "policy": "grow_policy",
        "max_depth": "max_depth",
        "max_bins": "max_bin",
        "l2": "lambda",
        "min_samples_leaf": None,
        "min_child_weight": "min_child_weight",
    },
    "catboost": {
        "n_trees": "iterations",
        "max_leaves": "max_leaves",
        "learning_rate": "learning_rate",
        "policy": "grow_policy",
        "max_depth": "depth",
        "max_bins": "border_count",
        "l2": "l2_leaf_reg",
        "min_samples_leaf": "min_data_in_leaf",
        "min_child_weight": None,
    },
    "hgb": {
        "n_trees": "max_iter",
        "max_leaves": "max_leaf_nodes",
        "learning_rate": "learning_rate",
        "policy": None,
        "max_depth": "max_depth",
        "max_bins": "max_bins",
        "l2": "l2_regularization",
        "min_samples_leaf": "min_samples_leaf",
        "min_child_weight": None,
    },
    "hessboost": {
        "n_trees": "num_boost_round",
        "max_leaves": "max_leaves",
        "learning_rate": "eta",
        "policy": "grow_policy",
        "max_depth": "max_depth",
        "max_bins": "max_bin",
        "l2": "lambda",
        "min_samples_leaf": None,
        "min_child_weight": "min_child_weight",
    },
    "bonsai": {
        "n_trees": "booster.n_iters",
        "max_leaves": "tree.max_leaves",
        "learning_rate": "booster.learning_rate",
        "policy": "dispatch.grower_name",
        "max_depth": "tree.max_depth",
        "max_bins": "bin_mapper.max_bin",
        "l2": "tree.lambda_l2",
        "min_samples_leaf": "tree.min_data_in_leaf",
        "min_child_weight": "tree.min_child_hess",
    },
}

#: How a library says that depth is unbounded (where it cannot, the deepest it can).
NO_DEPTH = {"boostgrad": None, "lightgbm": -1, "xgboost": 0, "catboost": 16, "hgb": None, "hessboost": 0, "bonsai": 255}

#: Names of the growth policies where they are not boostgrad's.
POLICY = {
    "xgboost": {"leafwise": "lossguide", "depthwise": "depthwise"},
    "hessboost": {"leafwise": "lossguide", "depthwise": "depthwise"},
    "catboost": {"leafwise": "Lossguide", "depthwise": "Depthwise", "symmetric": "SymmetricTree"},
}

#: What the table cannot make equal.
NOTES = (
    "Policy: LightGBM and HGB grow leaf-wise only. For depth-wise work they get the same bounds on depth and leaves; "
    "with `max_leaves = 2 ** max_depth` (what `--depth` sets) the order of growth does not matter.",
    "Symmetric trees: boostgrad's and CatBoost's alone; CatBoost bounds their depth, and not the rows in a leaf.",
    "Depth: CatBoost stops at 16 where the others are unbounded. Depth-wise, CatBoost and bonsai bound depth only.",
    "Rows in a leaf: XGBoost and hessboost have no such bound. In regression, where a hessian is 1, they get "
    "`min_child_weight = min_samples_leaf`, which is the same; in classification they may grow smaller leaves. "
    "LightGBM estimates the rows of a leaf from its hessians.",
    "Sum of hessians: HGB has 1e-3 fixed, the value used here; CatBoost has no such bound.",
    "Bins: CatBoost counts borders, one less than bins. LightGBM, HGB, CatBoost and bonsai place them by a sample of "
    "about 200,000 rows; LightGBM keeps at least 3 rows in a bin (its default).",
    "Multiclass: one tree per class and iteration, except CatBoost, whose one tree has a vector in each leaf. Hessians "
    "differ by a constant factor between libraries, so steps, and log-losses at equal rounds, are not comparable.",
    "Ranking: LambdaRank for NDCG in each, with its own ways to choose and to weigh pairs: those with one of the first "
    "30 rows of a query (LightGBM, boostgrad) or 32 (XGBoost, hessboost).",
    "CatBoost: plain boosting, no bootstrap, no random score, L2 score, one Newton step a leaf: what the others do.",
    "Everything else is a library's default: no sampling of rows or columns and no early stopping anywhere.",
)


@dataclass(frozen=True)
class Fitted:
    """A trained model, in the words that the runner needs.

    Attributes
    ----------
    predict : callable
        Rows to predictions: the value; the probability of class 1; or the probabilities of all classes.
    size : callable
        () to (number of trees, number of leaves of all trees).
    prepared : float or None
        ``time.perf_counter()`` when the data stood binned and training began; None where that is one step.
    predict_row : callable or None
        One row, 1-D, to its prediction, where the library has a way of its own, or a prepared predictor, for that.
    """

    predict: Callable[[np.ndarray], np.ndarray]
    size: Callable[[], tuple[int, int]]
    prepared: float | None = None
    predict_row: Callable[[np.ndarray], np.ndarray] | None = None


def translate(library: str, work: Work, task: str) -> dict:
    """The parameters, by the library's own names, that ask it for this work."""
    values = {name: getattr(work, name) for name in SAME_WORK[library]}
    values["policy"] = POLICY.get(library, {}).get(work.policy, work.policy)
    if work.max_depth is None:
        values["max_depth"] = NO_DEPTH[library]
    if library == "catboost":
        values["max_bins"] -= 1
        if work.policy != "leafwise":
            del values["max_leaves"]
        if work.policy == "symmetric":
            del values["min_samples_leaf"]
    if SAME_WORK[library]["min_samples_leaf"] is None and task == "regression":
        values["min_child_weight"] = max(work.min_child_weight, work.min_samples_leaf)
    return {SAME_WORK[library][name]: value for name, value in values.items() if SAME_WORK[library][name] is not None}


def boostgrad(problem: Problem, work: Work, n_threads: int) -> Fitted:
    from boostgrad import BoostGradClassifier, BoostGradRanker, BoostGradRegressor

    estimators = {"regression": BoostGradRegressor, "ranking": BoostGradRanker}
    model = estimators.get(problem.task, BoostGradClassifier)(
        early_stopping=False, n_jobs=n_threads, random_state=0, **translate("boostgrad", work, problem.task)
    )
    groups = {"groups": problem.groups_train} if problem.task == "ranking" else {}
    model.fit(problem.X_train, problem.y_train, **groups)

    def size():
        trees = model.ensemble_.trees
        return len(trees), sum(tree.n_leaves for tree in trees)

    predict_row = model.predictor() if hasattr(model, "predictor") else None
    return Fitted(_scikit_learn_predict(model, problem.task), size, predict_row=predict_row)


def bin_boostgrad(problem: Problem, work: Work, n_threads: int):
    from boostgrad.data.binning import BinMapper
    from boostgrad.data.columns import as_columns

    columns = as_columns(problem.X_train)
    mapper = BinMapper.fit(columns, max_bins=work.max_bins, n_threads=n_threads)
    return mapper.transform(columns, n_threads=n_threads)


def lightgbm(problem: Problem, work: Work, n_threads: int, **extra) -> Fitted:
    import lightgbm as lgb

    objective = "lambdarank" if problem.task == "ranking" else problem.task
    params = dict(objective=objective, num_threads=n_threads, verbosity=-1, seed=0, **extra)
    params.update(translate("lightgbm", work, problem.task))
    if problem.task == "multiclass":
        params["num_class"] = problem.n_classes
    sizes = np.bincount(problem.groups_train - problem.groups_train[0]) if problem.task == "ranking" else None
    data = lgb.Dataset(problem.X_train, problem.y_train, group=sizes, params=params).construct()
    prepared = time.perf_counter()
    booster = lgb.train(params, data)

    def size():
        leaves = [tree["num_leaves"] for tree in booster.dump_model()["tree_info"]]
        return len(leaves), sum(leaves)

    return Fitted(lambda X: booster.predict(X, num_threads=n_threads), size, prepared)


def bin_lightgbm(problem: Problem, work: Work, n_threads: int):
    import lightgbm as lgb

    params = dict(num_threads=n_threads, verbosity=-1, seed=0, max_bin=work.max_bins)
    return lgb.Dataset(problem.X_train, problem.y_train, params=params).construct()


def lightgbm_quantized(problem: Problem, work: Work, n_threads: int) -> Fitted:
    return lightgbm(problem, work, n_threads, use_quantized_grad=True)


def xgboost(problem: Problem, work: Work, n_threads: int) -> Fitted:
    import xgboost as xgb

    params = translate("xgboost", work, problem.task)
    params.update(_xgboost_objective(problem), tree_method="hist", nthread=n_threads, seed=0)
    n_rounds = params.pop("num_boost_round")
    data = xgb.QuantileDMatrix(
        problem.X_train, problem.y_train, qid=problem.groups_train, max_bin=work.max_bins, nthread=n_threads
    )
    prepared = time.perf_counter()
    booster = xgb.train(params, data, n_rounds)

    def size():
        trees = booster.get_dump()
        return len(trees), sum(tree.count("leaf=") for tree in trees)

    return Fitted(booster.inplace_predict, size, prepared)


def bin_xgboost(problem: Problem, work: Work, n_threads: int):
    import xgboost as xgb

    return xgb.QuantileDMatrix(problem.X_train, problem.y_train, max_bin=work.max_bins, nthread=n_threads)


def catboost(problem: Problem, work: Work, n_threads: int) -> Fitted:
    from catboost import CatBoost, Pool

    params = translate("catboost", work, problem.task)
    params.update(
        loss_function={"binary": "Logloss", "multiclass": "MultiClass", "regression": "RMSE"}[problem.task],
        thread_count=n_threads,
        random_seed=0,
        boosting_type="Plain",
        bootstrap_type="No",
        random_strength=0,
        score_function="L2",
        leaf_estimation_method="Newton",
        leaf_estimation_iterations=1,
        allow_writing_files=False,
        verbose=False,
    )
    if problem.task != "multiclass":
        params["boost_from_average"] = True
    model = CatBoost(params).fit(Pool(problem.X_train, problem.y_train, thread_count=n_threads))
    kind = "RawFormulaVal" if problem.task == "regression" else "Probability"

    def predict(X):
        prediction = model.predict(X, prediction_type=kind, thread_count=n_threads)
        return prediction[:, 1] if problem.task == "binary" else prediction

    def size():
        leaves = model.get_tree_leaf_counts()
        return len(leaves), int(sum(leaves))

    return Fitted(predict, size)


def hgb(problem: Problem, work: Work, n_threads: int) -> Fitted:
    """scikit-learn has no thread parameter: it obeys OMP_NUM_THREADS, which the runner sets for the process."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    estimator = HistGradientBoostingRegressor if problem.task == "regression" else HistGradientBoostingClassifier
    model = estimator(early_stopping=False, random_state=0, **translate("hgb", work, problem.task))
    model.fit(problem.X_train, problem.y_train)

    def size():
        trees = [tree for iteration in model._predictors for tree in iteration]
        return len(trees), sum(tree.get_n_leaf_nodes() for tree in trees)

    return Fitted(_scikit_learn_predict(model, problem.task), size)


def bin_hgb(problem: Problem, work: Work, n_threads: int):
    """Its ``n_bins`` counts the one for missing values."""
    from sklearn.ensemble._hist_gradient_boosting.binning import _BinMapper

    mapper = _BinMapper(n_bins=work.max_bins + 1, random_state=0, n_threads=n_threads)
    return mapper.fit_transform(problem.X_train)


def hessboost(problem: Problem, work: Work, n_threads: int) -> Fitted:
    import hessboost as hess

    params = translate("hessboost", work, problem.task)
    params.update(_xgboost_objective(problem), tree_method="hist", nthread=n_threads, seed=0)
    n_rounds = params.pop("num_boost_round")
    data = hess.DMatrix(problem.X_train, label=problem.y_train, qid=problem.groups_train)
    booster = hess.train(params, data, n_rounds, verbose_eval=False)

    def size():
        trees = booster.model_info().trees
        return len(trees), sum(int(np.sum(tree.left < 0)) for tree in trees)

    return Fitted(booster.predict, size, predict_row=booster.predict_row)


def bonsai(problem: Problem, work: Work, n_threads: int) -> Fitted:
    import bonsai as bonsai_gbt

    params = translate("bonsai", work, problem.task)
    objective = {"binary": "logloss", "multiclass": "softmax", "regression": "mse"}[problem.task]
    params.update({"dispatch.objective_name": objective, "parallel.n_threads": n_threads})
    if problem.task == "multiclass":
        params["objective.n_classes"] = problem.n_classes
    max_bin = params.pop("bin_mapper.max_bin")
    data = bonsai_gbt.Dataset(problem.X_train, problem.y_train, max_bin=max_bin, n_threads=n_threads)
    prepared = time.perf_counter()
    model = bonsai_gbt.train(params, data)

    def size():
        text = model.dump()
        return text.count("tree "), text.count("leaf=")

    return Fitted(model.predict if problem.task == "regression" else model.predict_proba, size, prepared)


def bin_bonsai(problem: Problem, work: Work, n_threads: int):
    import bonsai as bonsai_gbt

    return bonsai_gbt.Dataset(problem.X_train, problem.y_train, max_bin=work.max_bins, n_threads=n_threads)


def _xgboost_objective(problem: Problem) -> dict:
    if problem.task == "multiclass":
        return {"objective": "multi:softprob", "num_class": problem.n_classes}
    if problem.task == "ranking":
        return {"objective": "rank:ndcg"}
    return {"objective": "binary:logistic" if problem.task == "binary" else "reg:squarederror"}


def _scikit_learn_predict(model, task: str) -> Callable[[np.ndarray], np.ndarray]:
    if task == "binary":
        return lambda X: model.predict_proba(X)[:, 1]
    return model.predict if task in ("regression", "ranking") else model.predict_proba


@dataclass(frozen=True)
class Library:
    """How to call a library, and where to read its version.

    Attributes
    ----------
    fit : callable
    module : str
        Imported before the clock starts.
    distribution : str
        Its name for pip.
    bin : callable or None
        Binning alone, where that can be called.
    isa : str or None
        An instruction set to force (boostgrad); one that forces is measured only where it is named.
    """

    fit: Callable[[Problem, Work, int], Fitted]
    module: str
    distribution: str
    bin: Callable[[Problem, Work, int], object] | None = None
    isa: str | None = None


LIBRARIES: dict[str, Library] = {
    "boostgrad": Library(boostgrad, "boostgrad", "boostgrad", bin_boostgrad),
    "lightgbm": Library(lightgbm, "lightgbm", "lightgbm", bin_lightgbm),
    "lightgbm-quantized": Library(lightgbm_quantized, "lightgbm", "lightgbm"),
    "xgboost": Library(xgboost, "xgboost", "xgboost", bin_xgboost),
    "catboost": Library(catboost, "catboost", "catboost"),
    "hgb": Library(hgb, "sklearn.ensemble", "scikit-learn", bin_hgb),
    "hessboost": Library(hessboost, "hessboost", "hessboost"),
    "bonsai": Library(bonsai, "bonsai", "bonsai-gbt", bin_bonsai),
    "boostgrad-avx2": Library(boostgrad, "boostgrad", "boostgrad", bin_boostgrad, isa="avx2"),
    "boostgrad-baseline": Library(boostgrad, "boostgrad", "boostgrad", bin_boostgrad, isa="baseline"),
}


def same_work_markdown() -> str:
    """`SAME_WORK`, `NO_DEPTH` and `NOTES` as Markdown."""
    libraries = list(SAME_WORK)
    lines = ["| work (default) | " + " | ".join(libraries) + " |", "|---|" + "---|" * len(libraries)]
    for field in SAME_WORK["boostgrad"]:
        cells = [f"`{SAME_WORK[name][field]}`" if SAME_WORK[name][field] else "-" for name in libraries]
        lines.append(f"| {field} ({getattr(Work(), field)}) | " + " | ".join(cells) + " |")
    lines.append("| unbounded depth | " + " | ".join(f"{NO_DEPTH[name]}" for name in libraries) + " |")
    return "\n".join(lines) + "\n\n" + "\n".join(f"- {note}" for note in NOTES)


if __name__ == "__main__":
    print(same_work_markdown())
