"""The command ``boostgrad``: a demonstration on data that scikit-learn ships or generates.

Everything but argparse is imported where it is used, so that a typing error is answered at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

# What all libraries are told, so that they do the same work.
LEARNING_RATE = 0.1
MAX_LEAVES = 31
MAX_BINS = 255
MIN_SAMPLES_LEAF = 20
L2 = 1.0

# Trees at most; early stopping chooses how many.
MAX_TREES = 300
MAX_TREES_QUICK = 40

# A fit or a prediction is measured up to so many times while that takes less than so many seconds; the fastest counts.
REPEATS = 3
REPEAT_SECONDS = 1.0


class DemoError(Exception):
    """Something the user can put right."""


@dataclass(frozen=True)
class Problem:
    """What is learned, split into rows to train on, to stop by, and to score with."""

    name: str
    origin: str
    classes: int
    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Row:
    """One library's line of the table."""

    library: str
    scores: tuple[float, float] = (0.0, 0.0)
    fit_seconds: float = 0.0
    predict_seconds: float = 0.0
    problem: str = ""


# -- the libraries: each trains n_trees trees and returns what predicts the value, or the probability of class 1 -------


def fit_boostgrad(X, y, classify: bool, n_trees: int, n_threads: int, seed: int) -> Callable:
    from boostgrad import BoostGradClassifier, BoostGradRegressor

    estimator = BoostGradClassifier if classify else BoostGradRegressor
    model = estimator(early_stopping=False, **_parameters(n_trees, n_threads, seed)).fit(X, y)
    return (lambda rows: model.predict_proba(rows)[:, 1]) if classify else model.predict


def fit_hist_gradient_boosting(X, y, classify: bool, n_trees: int, n_threads: int, seed: int) -> Callable:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    estimator = HistGradientBoostingClassifier if classify else HistGradientBoostingRegressor
    model = estimator(
        max_iter=n_trees,
        learning_rate=LEARNING_RATE,
        max_leaf_nodes=MAX_LEAVES,
        max_bins=MAX_BINS,
        min_samples_leaf=MIN_SAMPLES_LEAF,
        l2_regularization=L2,
        early_stopping=False,
        random_state=seed,
    )
    with threadpool_limits(n_threads, user_api="openmp"):  # it has no thread parameter
        model.fit(X, y)

    def predict(rows):
        with threadpool_limits(n_threads, user_api="openmp"):
            return model.predict_proba(rows)[:, 1] if classify else model.predict(rows)

    return predict


def fit_lightgbm(X, y, classify: bool, n_trees: int, n_threads: int, seed: int) -> Callable:
    import lightgbm

    settings = {
        "objective": "binary" if classify else "regression",
        "learning_rate": LEARNING_RATE,
        "num_leaves": MAX_LEAVES,
        "max_bin": MAX_BINS,
        "min_data_in_leaf": MIN_SAMPLES_LEAF,
        "lambda_l2": L2,
        "num_threads": n_threads,
        "seed": seed % 2**31,
        "verbosity": -1,
    }
    booster = lightgbm.train(settings, lightgbm.Dataset(X, y, params=settings), n_trees)
    return lambda rows: booster.predict(rows, num_threads=n_threads)


def fit_xgboost(X, y, classify: bool, n_trees: int, n_threads: int, seed: int) -> Callable:
    import xgboost

    settings = {
        "objective": "binary:logistic" if classify else "reg:squarederror",
        "tree_method": "hist",
        "grow_policy": "lossguide",
        "learning_rate": LEARNING_RATE,
        "max_leaves": MAX_LEAVES,
        "max_depth": 0,
        "max_bin": MAX_BINS,
        "min_child_weight": 1e-3 if classify else MIN_SAMPLES_LEAF,  # in regression that counts rows, as above
        "reg_lambda": L2,
        "nthread": n_threads,
        "seed": seed % 2**31,
        "verbosity": 0,
    }
    data = xgboost.QuantileDMatrix(X, y, max_bin=MAX_BINS, nthread=n_threads)
    booster = xgboost.train(settings, data, n_trees)
    return booster.inplace_predict


def fit_catboost(X, y, classify: bool, n_trees: int, n_threads: int, seed: int) -> Callable:
    import catboost

    model = catboost.CatBoost(
        {
            "loss_function": "Logloss" if classify else "RMSE",
            "iterations": n_trees,
            "learning_rate": LEARNING_RATE,
            "grow_policy": "Lossguide",
            "max_leaves": MAX_LEAVES,
            "depth": 16,  # the deepest it can
            "border_count": MAX_BINS - 1,
            "min_data_in_leaf": MIN_SAMPLES_LEAF,
            "l2_leaf_reg": L2,
            "boosting_type": "Plain",
            "bootstrap_type": "No",
            "random_strength": 0,
            "score_function": "L2",
            "leaf_estimation_method": "Newton",
            "leaf_estimation_iterations": 1,
            "boost_from_average": True,
            "thread_count": n_threads,
            "random_seed": seed,
            "allow_writing_files": False,
            "verbose": False,
        }
    )
    model.fit(catboost.Pool(X, y, thread_count=n_threads))
    if classify:
        return lambda rows: model.predict(rows, prediction_type="Probability", thread_count=n_threads)[:, 1]
    return lambda rows: model.predict(rows, thread_count=n_threads)


LIBRARIES: dict[str, Callable] = {
    "boostgrad": fit_boostgrad,
    "HistGradientBoosting": fit_hist_gradient_boosting,
    "LightGBM": fit_lightgbm,
    "XGBoost": fit_xgboost,
    "CatBoost": fit_catboost,
}


def _parameters(n_trees: int, n_threads: int, seed: int) -> dict[str, Any]:
    return {
        "n_estimators": n_trees,
        "learning_rate": LEARNING_RATE,
        "max_leaf_nodes": MAX_LEAVES,
        "max_bins": MAX_BINS,
        "min_samples_leaf": MIN_SAMPLES_LEAF,
        "l2_regularization": L2,
        "n_jobs": n_threads,
        "random_state": seed,
    }


# -- the problems -----------------------------------------------------------------------------------------------------


def problems(seed: int, quick: bool) -> list[Problem]:
    """Two classifications and two regressions: of each one real and small, one generated and larger."""
    from sklearn.datasets import load_breast_cancer, load_diabetes, make_friedman1, make_hastie_10_2

    shipped, generated = "real, shipped with scikit-learn", "generated by scikit-learn"
    n = 2_000 if quick else 60_000
    hastie_X, hastie_y = make_hastie_10_2(n, random_state=seed)
    return [
        _split("breast cancer", shipped, 2, *load_breast_cancer(return_X_y=True), seed),
        _split("hastie", generated, 2, hastie_X, (hastie_y > 0).astype(int), seed),
        _split("diabetes", shipped, 0, *load_diabetes(return_X_y=True), seed),
        _split("friedman", generated, 0, *make_friedman1(n, 20, noise=1.0, random_state=seed), seed),
    ]


def _split(name: str, origin: str, classes: int, X, y, seed: int) -> Problem:
    from sklearn.model_selection import train_test_split

    X_rest, X_test, y_rest, y_test = train_test_split(
        X, y, test_size=0.2, random_state=seed, stratify=y if classes else None
    )
    X_train, X_val, y_train, y_val = train_test_split(
        X_rest, y_rest, test_size=0.25, random_state=seed, stratify=y_rest if classes else None
    )
    return Problem(name, origin, classes, (X_train, y_train), (X_val, y_val), (X_test, y_test))


# -- training, measuring, showing -------------------------------------------------------------------------------------


def train(problem: Problem, n_threads: int, seed: int, quick: bool):
    """The model that is saved: as many trees as the validation rows ask for."""
    from boostgrad import BoostGradClassifier, BoostGradRegressor

    estimator = BoostGradClassifier if problem.classes else BoostGradRegressor
    parameters = _parameters(MAX_TREES_QUICK if quick else MAX_TREES, n_threads, seed)
    X_val, y_val = problem.validation
    return estimator(early_stopping=True, verbose=1, **parameters).fit(*problem.train, X_val=X_val, y_val=y_val)


def measure(library: str, problem: Problem, n_trees: int, n_threads: int, seed: int) -> Row | None:
    """The library's line, or None where it is not installed."""
    import warnings

    fit = LIBRARIES[library]
    X, y = problem.train
    X_test, y_test = problem.test
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fit(X[:200], y[:200], bool(problem.classes), 2, n_threads, seed)(X[:10])  # imports, starts its threads
            predict, fit_seconds = _fastest(lambda: fit(X, y, bool(problem.classes), n_trees, n_threads, seed))
            prediction, predict_seconds = _fastest(lambda: predict(X_test))
        except ModuleNotFoundError:
            return None
        except Exception as error:  # a broken installation of a peer is no reason to end the demonstration
            if library == "boostgrad":
                raise
            words = str(error).strip().split("\n")[0]
            return Row(library, problem=f"failed: {type(error).__name__}: {words}"[:100])
    return Row(library, scores(problem, y_test, prediction), fit_seconds, predict_seconds)


def _fastest(call: Callable) -> tuple[Any, float]:
    from time import perf_counter

    seconds: list[float] = []
    while len(seconds) < REPEATS and sum(seconds) < REPEAT_SECONDS:
        begin = perf_counter()
        result = call()
        seconds.append(perf_counter() - begin)
    return result, min(seconds)


def scores(problem: Problem, y: np.ndarray, prediction: np.ndarray) -> tuple[float, float]:
    """What :func:`headings` names."""
    from sklearn.metrics import accuracy_score, log_loss, r2_score, root_mean_squared_error

    if problem.classes:
        return log_loss(y, prediction), accuracy_score(y, prediction > 0.5)
    return root_mean_squared_error(y, prediction), r2_score(y, prediction)


def headings(problem: Problem) -> tuple[str, str]:
    return ("log-loss", "accuracy") if problem.classes else ("RMSE", "R2")


def table(problem: Problem, rows: list[Row]) -> str:
    """The lines of all libraries, as text."""
    first, second = headings(problem)
    lines = [f"  {'':22}{first:>10}{second:>10}{'fit s':>10}{'predict s':>12}"]
    for row in rows:
        numbers = f"{row.scores[0]:10.4f}{row.scores[1]:10.4f}{row.fit_seconds:10.3f}{row.predict_seconds:12.5f}"
        lines.append(f"  {row.library:22}" + (row.problem or numbers))
    return "\n".join(lines)


def draw(path: str, curves: list[tuple[Problem, Any]]) -> bool:
    """Write the learning curves as a PNG; False where matplotlib is not installed."""
    import tempfile

    with tempfile.TemporaryDirectory(dir=os.path.dirname(path)) as folder:
        # A first import of matplotlib writes a cache of fonts into the home folder, unless it is told where else.
        told = os.environ.setdefault("MPLCONFIGDIR", folder)
        try:
            from matplotlib.figure import Figure
        except ImportError:
            return False
        else:
            figure = Figure(figsize=(10, 7), layout="constrained")
            for (problem, model), axes in zip(curves, figure.subplots(2, 2).flat, strict=True):
                axes.plot(-model.train_score_, label="training rows")
                axes.plot(-model.validation_score_, label="validation rows")
                axes.set_title(problem.name)
                axes.set_xlabel("trees")
                axes.set_ylabel("log-loss" if problem.classes else "half the squared error")
                axes.legend()
            figure.savefig(path, dpi=120)
            return True
        finally:
            if told == folder:
                del os.environ["MPLCONFIGDIR"]


def demo(out: str, n_threads: int | None, seed: int, quick: bool) -> None:
    """Train, compare, save; what is printed says what was done and where it is."""
    from time import perf_counter

    from boostgrad.runtime import effective_threads

    begin = perf_counter()
    out = os.path.abspath(out)
    try:
        os.makedirs(out, exist_ok=True)
    except OSError as error:
        raise DemoError(f"cannot make the folder {out}: {error.strerror}") from None
    if not os.access(out, os.W_OK | os.X_OK):
        raise DemoError(f"cannot write to the folder {out}")

    threads = effective_threads(n_threads)
    say(
        f"Learning rate {LEARNING_RATE}, at most {MAX_LEAVES} leaves and {MAX_BINS} bins, threads: {threads}. Three "
        "fifths of the\nrows train, one fifth tells when to stop, one fifth is held out and scored."
    )
    absent: set[str] = set()
    curves = []
    files = []
    for problem in problems(seed, quick):
        X, y = problem.train
        n_rows = len(y) + len(problem.validation[1]) + len(problem.test[1])
        kind = f"{problem.classes} classes" if problem.classes else "regression"
        say(f"\n{problem.name}: {n_rows:,} rows x {X.shape[1]} columns, {kind} ({problem.origin})")
        model = train(problem, threads, seed, quick)
        path = os.path.join(out, problem.name.replace(" ", "-") + ".boostgrad")
        try:
            model.save(path)
        except OSError as error:
            raise DemoError(f"cannot write {path}: {error.strerror}") from None
        files.append(f"{path}  ({type(model).__name__}.load reads it)")
        curves.append((problem, model))
        n_trees = model.n_iter_
        rows = []
        for library in LIBRARIES:
            if library not in absent:
                row = measure(library, problem, n_trees, threads, seed)
                if row is None:
                    absent.add(library)
                else:
                    rows.append(row)
        chosen = "Not stopped early:" if n_trees == model.n_estimators else "Early stopping chose"
        say(f"  {chosen} {n_trees} trees. {n_trees} trees each, on the same rows:")
        say(table(problem, rows))

    say(
        "\nSeconds are the fastest of up to three runs, from a numpy array to the model. On the small data sets they\n"
        "are mostly overhead, and differences in the scores mostly chance."
    )
    if absent:
        say(f"Not installed, so not in the tables: {', '.join(sorted(absent))}.")
    picture = os.path.join(out, "learning-curves.png")
    try:
        drawn = draw(picture, curves)
    except OSError as error:
        raise DemoError(f"cannot write {picture}: {error.strerror}") from None
    say("\nWritten:")
    for line in files + [picture] * drawn:
        say(f"  {line}")
    if not drawn:
        say("There is no picture of the learning curves, because matplotlib is not installed: install boostgrad[plot].")
    say(f"Done in {perf_counter() - begin:.0f} s.")


def say(text: str) -> None:
    print(text, flush=True)  # between the progress bars of stderr, in order


# -- the command line -------------------------------------------------------------------------------------------------


def _threads(text: str) -> int:
    return _whole(text, 1, 4096)


def _seed(text: str) -> int:
    return _whole(text, 0, 2**32 - 1)


def _whole(text: str, low: int, high: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"must be a whole number from {low} to {high}, not {text!r}")
    return number


class _Version(argparse.Action):
    """--version; the version is looked up only when asked for."""

    def __init__(self, option_strings, dest, **kwargs):
        super().__init__(option_strings, dest, nargs=0, help="show the version and exit")

    def __call__(self, parser, namespace, values, option_string=None):
        from boostgrad import __version__

        print(f"boostgrad {__version__}")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(prog="boostgrad", description="Gradient-boosted decision trees.")
    top.add_argument("--version", action=_Version)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    words = "train on data that comes with scikit-learn, next to other libraries"
    sub = commands.add_parser("demo", help=words, description=words.capitalize() + ".")
    sub.add_argument("--out", metavar="DIR", default="boostgrad-demo", help="for the files (default: ./boostgrad-demo)")
    sub.add_argument("--threads", metavar="N", type=_threads, help="default: what the process may use")
    sub.add_argument("--seed", metavar="S", type=_seed, default=0, help="of the data and the splits (default: 0)")
    sub.add_argument("--quick", action="store_true", help="few rows and few trees: seconds, but no times to go by")
    return top


def main(argv: list[str] | None = None) -> int:
    """Run the command and return the exit status."""
    arguments = parser().parse_args(argv)
    try:
        demo(arguments.out, arguments.threads, arguments.seed, arguments.quick)
    except DemoError as error:
        print(f"boostgrad: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nboostgrad: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
