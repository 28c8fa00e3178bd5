"""Every loss that another library has, too: held-out metrics of boostgrad and of those libraries at equal work.

::

    python -m benchmarks.losses A.parquet B.parquet --seeds 0 1 2 3 4 --out losses.jsonl --page losses.md
    python -m benchmarks.losses FOLDER --losses lambdarank cox --out ranks.jsonl --page ranks.md
    python -m benchmarks.losses A.parquet --losses normal_nll --libraries ngboost --out losses.jsonl  # in its own venv

Files are as ``benchmarks.loss_cases`` says. All libraries get the same rows, categories as pandas has them (CatBoost as
text, scikit-learn as codes where there are too many levels, NGBoost always), the same number of trees, leaves, bins,
the same learning rate and least number of rows in a leaf, and their defaults for the rest: these comparisons are of
defaults, too. XGBoost does not count rows; where hessians are 1 its least sum of hessians is set to the number of rows.
``catboost`` grows the same leaf-wise trees as all others, ``catboost-symmetric`` its own of depth 6. Exposure is a
logarithmic offset, beside the best constant where a library does not add one; scikit-learn gets rates and weights.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import pathlib
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from benchmarks.loss_cases import LEVEL, LEVELS, METRICS, TWEEDIE_POWER, Case, made_up, normal_crps, read


@dataclass(frozen=True)
class Work:
    """What all libraries are told alike."""

    trees: int = 100
    leaves: int = 31
    rate: float = 0.1
    bins: int = 255
    rows_in_leaf: int = 20
    threads: int = 2
    seed: int = 0


class Missing(Exception):
    """The library has no such loss."""


Fitted = Callable[[Any], Any]  # from the rows to predict to what the metric takes


def _log_start(case: Case) -> np.ndarray | None:
    """For libraries that start from 0 beside an offset: the best constant and the logarithm of the exposure."""
    if case.exposure is None:
        return None
    return np.log(case.exposure * (case.y[case.train].sum() / case.exposure[case.train].sum()))


# -- boostgrad ---------------------------------------------------------------------------------------------------------


def boostgrad(case: Case, work: Work) -> Fitted:
    from boostgrad import BoostGradClassifier, BoostGradRanker, BoostGradRegressor, BoostGradSurvival, losses

    shape = {
        "n_estimators": work.trees,
        "max_leaf_nodes": work.leaves,
        "learning_rate": work.rate,
        "max_bins": work.bins,
        "min_samples_leaf": work.rows_in_leaf,
        "n_jobs": work.threads,
        "random_state": work.seed,
        "early_stopping": False,
    }
    X, y = case.of("X", case.train), case.y[case.train]
    loss = case.loss
    if METRICS[loss].task == ("ranking",):
        ranker = BoostGradRanker(loss, **shape).fit(X, y, groups=case.groups[case.train])
        return lambda rows: ranker.predict(case.of("X", rows))
    if METRICS[loss].task == ("survival",):
        survival = BoostGradSurvival(loss, **shape).fit(X, y)
        return lambda rows: survival.predict(case.of("X", rows))
    if loss in ("log_loss", "multinomial", "multilabel"):
        classifier = BoostGradClassifier(**shape).fit(X, y)
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
    model.fit(X, y, **({} if case.exposure is None else {"exposure": case.exposure[case.train]}))
    if loss == "normal_nll":

        def distribution(rows):
            found = model.predict_distribution(case.of("X", rows))
            return found.mean(), found.std()

        return distribution
    return lambda rows: model.predict(
        case.of("X", rows), **({} if case.exposure is None else {"exposure": case.exposure[rows]})
    )


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
    "xendcg": "rank_xendcg",
}


def lightgbm(case: Case, work: Work) -> Fitted:
    import lightgbm as lgb

    if case.loss not in LIGHTGBM:
        raise Missing
    X, y = case.of("X", case.train), case.y[case.train]
    settings = {
        "objective": LIGHTGBM[case.loss],
        "num_leaves": work.leaves,
        "learning_rate": work.rate,
        "max_bin": work.bins,
        "min_data_in_leaf": work.rows_in_leaf,
        "num_threads": work.threads,
        "seed": work.seed,
        "verbose": -1,
    }
    own = {
        "huber": {"alpha": case.scale},
        "fair": {"fair_c": case.scale},
        "quantile": {"alpha": LEVEL},
        "tweedie": {"tweedie_variance_power": TWEEDIE_POWER},
        "multinomial": {"num_class": case.n_classes},
    }
    settings |= own.get(case.loss, {})
    start = _log_start(case)
    sizes = None if case.groups is None else np.unique(case.groups[case.train], return_counts=True)[1]

    def fit(y, **more):
        init = None if start is None else start[case.train]
        return lgb.train(settings | more, lgb.Dataset(X, y, group=sizes, init_score=init), work.trees)

    if case.loss == "quantiles":
        models = [fit(y, alpha=level) for level in LEVELS]
        return lambda rows: np.column_stack([model.predict(case.of("X", rows)) for model in models])
    if y.ndim == 2:
        models = [fit(column) for column in y.T]
        return lambda rows: np.column_stack([model.predict(case.of("X", rows)) for model in models])
    model = fit(y)

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
    }
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

    model = xgb.train(settings, matrix(case.train, True), work.trees)

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
    }
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

    model = CatBoost(settings).fit(pool(case.train, True))

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
    X, y = as_codes(case.X, more_than=254), case.y[case.train]
    shape = {
        "max_iter": work.trees,
        "max_leaf_nodes": work.leaves,
        "learning_rate": work.rate,
        "max_bins": work.bins,
        "min_samples_leaf": work.rows_in_leaf,
        "random_state": work.seed,
        "early_stopping": False,
        "categorical_features": "from_dtype",
    }
    if case.loss in ("log_loss", "multinomial"):
        classifier = HistGradientBoostingClassifier(**shape).fit(X.iloc[case.train], y)

        def probabilities(rows):
            found = np.zeros((len(rows), case.n_classes))
            found[:, classifier.classes_.astype(int)] = classifier.predict_proba(X.iloc[rows])
            return found

        return probabilities
    exposure = None if case.exposure is None else case.exposure[case.train]

    def fit(**more):
        given = (y, None) if exposure is None else (y / exposure, exposure)
        return HistGradientBoostingRegressor(**shape, **more).fit(X.iloc[case.train], *given)

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
    return _ngboost(case, NGBRegressor(Base=tree, n_estimators=work.trees, learning_rate=work.rate, verbose=False))


def ngboost_default(case: Case, work: Work) -> Fitted:
    """NGBoost as it comes: 500 trees of depth 3, rate 0.01."""
    from ngboost import NGBRegressor

    if case.loss != "normal_nll":
        raise Missing
    return _ngboost(case, NGBRegressor(verbose=False, random_state=work.seed))


def _ngboost(case: Case, model: Any) -> Fitted:
    X = as_codes(case.X).to_numpy(np.float64)
    X = np.where(np.isnan(X), -999.0, X)
    model.fit(X[case.train], case.y[case.train])

    def predict(rows):
        found = model.pred_dist(X[rows])
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
    f.__name__.replace("_", "-"): f
    for f in (boostgrad, lightgbm, xgboost, catboost, catboost_symmetric, hgb, ngboost, ngboost_default, constant)
}
PACKAGES = {"hgb": "scikit-learn", "catboost-symmetric": "catboost", "ngboost-default": "ngboost"}


# -- running -----------------------------------------------------------------------------------------------------------


def run(case: Case, library: str, work: Work) -> dict[str, Any]:
    """One fit: its seconds, and the metric on the held-out rows."""
    begin = time.perf_counter()
    fitted = LIBRARIES[library](case, work)
    seconds = time.perf_counter() - begin
    prediction = fitted(case.test)
    record = {
        "loss": case.loss,
        "table": case.table,
        "library": library,
        "seed": work.seed,
        "trees": work.trees,
        "n_train": len(case.train),
        "score": case.score(prediction),
        "seconds": seconds,
        "version": _version(library),
    }
    if case.loss == "quantiles":
        record["crossing"] = float(np.mean((np.diff(prediction, axis=1) < 0).any(axis=1)))
    if case.loss == "normal_nll":
        record["crps"] = normal_crps(case, prediction)
    return record


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(PACKAGES.get(library, library))
    except importlib.metadata.PackageNotFoundError:
        return ""


# -- the page ----------------------------------------------------------------------------------------------------------


def paired(ours: dict[int, float], theirs: dict[int, float]) -> tuple[float, float]:
    """Mean difference over the seeds, and its standard error where training sets overlap: the variance of the
    differences times 1/J + n_test / n_train (Nadeau and Bengio 2003), here with a quarter held out."""
    seeds = sorted(set(ours) & set(theirs))
    d = np.array([ours[seed] - theirs[seed] for seed in seeds])
    error = np.sqrt(d.var(ddof=1) * (1 / len(d) + 1 / 3)) if len(d) > 1 else np.nan
    return float(d.mean()), float(error)


def _tables(records: list[dict[str, Any]], value: str) -> dict[tuple[str, str], dict[str, dict[int, float]]]:
    found: dict[tuple[str, str], dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for r in records:
        if value in r:
            found[r["loss"], r["table"]][r["library"]][r["seed"]] = r[value]
    return found


def page(records: list[dict[str, Any]]) -> str:
    """A table a loss: mean metrics, and boostgrad beside the best of the others."""
    lines: list[str] = []
    counts: dict[str, int] = defaultdict(int)
    tables = _tables(records, "score")
    for loss, metric in METRICS.items():
        rows = {table: found for (of, table), found in tables.items() if of == loss}
        if not rows:
            continue
        names = [name for name in LIBRARIES if any(name in found for found in rows.values())]
        lines += ["", f"## {loss}: {metric.name}, {'higher' if metric.larger else 'lower'} is better", ""]
        lines += [
            f"| table | {' | '.join(names)} | beside the best other | |",
            "|---|" + "---:|" * len(names) + "---:|---|",
        ]
        ranks = defaultdict(list)
        for table, found in rows.items():
            line, word = _row(table, found, names, metric.larger)
            lines.append(line)
            counts[word] += 1
            sign = -1 if metric.larger else 1
            means = {name: sign * np.mean(list(found[name].values())) for name in names if name in found}
            for name, rank in zip(means, rankdata(list(means.values())), strict=True):
                ranks[name].append(rank)
        if len(rows) > 1:
            lines.append(
                f"| mean rank | {' | '.join(f'{np.mean(ranks[n]):.2f}' if n in ranks else '' for n in names)} | | |"
            )
    words = ", ".join(f"{counts[word]} {word}" for word in ("ahead", "level", "behind") if counts[word])
    summary = (
        "*Beside the best other*: the difference to the library with the best mean metric, in percent of it, positive "
        "where boostgrad is better, and its standard error over the seeds, corrected for training sets that overlap "
        f"(Nadeau and Bengio 2003). *Behind* or *ahead*: more than two standard errors. Rows: {words}."
    )
    return "\n".join([summary, *lines, *_more(records)])


def _row(table: str, found: dict[str, dict[int, float]], names: list[str], larger: bool) -> tuple[str, str]:
    cells = [f"{np.mean(list(found[name].values())):.5g}" if name in found else "" for name in names]
    others = {name: np.mean(list(found[name].values())) for name in found if name not in ("boostgrad", "constant")}
    if "boostgrad" not in found or not others:
        return f"| {table} | {' | '.join(cells)} | | |", ""
    best = (max if larger else min)(others, key=others.get)
    mean, error = paired(found["boostgrad"], found[best])
    unit = abs(others[best]) / 100 * (1 if larger else -1)
    mean, error = mean / unit, error / abs(unit)
    word = "level" if not abs(mean) > 2 * error else "ahead" if mean > 0 else "behind"
    word, spread = ("one seed", "") if np.isnan(error) else (word, f" ± {error:.2f}")
    cells[names.index(best)] = f"**{cells[names.index(best)]}**"
    return f"| {table} | {' | '.join(cells)} | {mean:+.2f}%{spread} | {word} |", word


def _more(records: list[dict[str, Any]]) -> list[str]:
    """Tables of what a metric does not say."""
    lines: list[str] = []
    for value, title in (
        ("crossing", "Share of rows whose quantiles cross"),
        ("crps", "normal_nll: CRPS, lower is better"),
    ):
        tables = _tables(records, value)
        names = [name for name in LIBRARIES if any(name in found for found in tables.values())]
        if names:
            lines += ["", f"## {title}", "", f"| table | {' | '.join(names)} |", "|---|" + "---:|" * len(names)]
        for (_, table), found in tables.items():
            cells = [f"{np.mean(list(found[name].values())):.4g}" if name in found else "" for name in names]
            lines.append(f"| {table} | {' | '.join(cells)} |")
    of_distributions = [r for r in records if r["loss"] == "normal_nll"]
    tables = _tables(of_distributions, "seconds")
    names = [name for name in LIBRARIES if any(name in found for found in tables.values())]
    if names:
        lines += ["", "## normal_nll: median seconds of a fit", "", f"| table | {' | '.join(names)} |"]
        lines += ["|---|" + "---:|" * len(names)]
    for (_, table), found in tables.items():
        cells = [f"{np.median(list(found[name].values())):.3g}" if name in found else "" for name in names]
        lines.append(f"| {table} | {' | '.join(cells)} |")
    versions = {PACKAGES.get(r["library"], r["library"]): r["version"] for r in records if r["version"]}
    return [*lines, "", "Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items()) + "."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", metavar="FILE.parquet or FOLDER")
    parser.add_argument("--losses", nargs="+", choices=METRICS, default=list(METRICS))
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--most-rows", type=int, default=30_000, help="of a table, held-out ones included")
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--made-up", action="store_true", help="also made-up tables, of several labels and targets")
    parser.add_argument("--out", metavar="FILE.jsonl", help="records are added; what is in it is not run again")
    parser.add_argument("--page", metavar="FILE.md")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    out = pathlib.Path(options.out) if options.out else None
    records = [json.loads(line) for line in out.read_text().splitlines()] if out and out.exists() else []
    done = {(r["loss"], r["table"], r["library"], r["seed"]) for r in records}
    files = [f for p in map(pathlib.Path, options.paths) for f in (sorted(p.glob("*.parquet")) if p.is_dir() else [p])]
    sources = [*([made_up] if options.made_up else []), *((lambda f=f: read(str(f))) for f in files)]
    for table in (table for source in sources for table in source()):
        for loss in (loss for loss in table.losses() if loss in options.losses):
            for seed in options.seeds:
                case = table.case(loss, seed, options.most_rows)
                for library in options.libraries:
                    if (loss, table.name, library, seed) in done:
                        continue
                    try:
                        record = run(case, library, Work(trees=options.trees, threads=options.threads, seed=seed))
                    except (Missing, ModuleNotFoundError):
                        continue
                    except Exception as error:  # whatever a library says of a table that it does not take
                        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
                        print(f"{loss}  {table.name}  {library}  refused: {words[:100]}", flush=True)
                        continue
                    print(
                        f"{loss}  {table.name}  {library}  {record['score']:.5f}  {record['seconds']:.2f} s", flush=True
                    )
                    records.append(record)
                    if out:
                        with out.open("a", encoding="utf-8") as file:
                            file.write(json.dumps(record) + "\n")
    text = page(records)
    if options.page:
        pathlib.Path(options.page).write_text(text + "\n", encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
