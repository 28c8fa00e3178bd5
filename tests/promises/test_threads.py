"""The same model, byte for byte, for any number of threads."""

import os
import threading
import time
from signal import SIGKILL

import numpy as np
import pytest

from boostgrad import BoostGradClassifier, BoostGradRegressor
from boostgrad.io.native import dump_bytes

# Rows enough that histograms, partitions and leaf sums are shared: more than two tasks of 16,384 rows.
N_ROWS = 40_000
THREADS = [1, 2, 3, 5]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N_ROWS, 8)).astype(np.float32)
    X[rng.random(X.shape) < 0.1] = np.nan
    X[:, 7] = np.round(X[:, 7])
    signal = np.nan_to_num(X[:, 0]) + np.nan_to_num(X[:, 1] * X[:, 2]) + 0.5 * rng.standard_normal(N_ROWS)
    return X, signal, rng.random(N_ROWS) * 3


def model_of(loss, X, signal, weight, **options):
    options = {"n_estimators": 4, "random_state": 0, "early_stopping": False} | options
    if loss == "regression":
        return BoostGradRegressor(**options).fit(X, signal, sample_weight=weight)
    if loss.endswith("_nll"):
        return BoostGradRegressor(loss, **options).fit(X, np.exp(signal), sample_weight=weight)
    y = np.digitize(signal, [0.0] if loss == "binary" else [-1.0, 1.0])
    return BoostGradClassifier(**options).fit(X, y, sample_weight=weight)


def assert_same(models, X):
    first = dump_bytes(models[0].ensemble_)
    raw = models[0]._raw(X).tobytes()
    for model in models[1:]:
        assert dump_bytes(model.ensemble_) == first
        assert model._raw(X).tobytes() == raw


@pytest.mark.parametrize("policy", ["leafwise", "depthwise", "symmetric"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", ["regression", "binary", "multiclass", "normal_nll", "gamma_nll"])
def test_models_are_the_same_bytes(data, loss, weighted, policy):
    X, signal, weight = data
    models = [
        model_of(loss, X, signal, weight if weighted else None, grow_policy=policy, n_jobs=n_jobs) for n_jobs in THREADS
    ]
    assert_same(models, X[:5000])


@pytest.mark.parametrize(
    "options",
    [
        {"max_bins": 1000},
        {"early_stopping": True, "validation_fraction": 0.3},
        {"max_leaf_nodes": 200, "min_samples_leaf": 1},
        {"l1_regularization": 1.0, "max_delta_step": 0.3, "min_child_weight": 3.0},
    ],
    ids=lambda o: "-".join(o),
)
def test_other_parameters(data, options):
    X, signal, _ = data
    assert_same([model_of("regression", X, signal, None, n_jobs=n, **options) for n in THREADS], X[:5000])


@pytest.mark.parametrize("policy", ["leafwise", "depthwise", "symmetric"])
@pytest.mark.parametrize("leaves", [4, 9, 31, 120])
@pytest.mark.parametrize(
    "loss", ["squared_error", "absolute_error", "mape", "poisson", "huber", "normal_nll", "gamma_nll"]
)
def test_small_tables(loss, leaves, policy):
    """Their nodes are worked out side by side, a thread each."""
    rng = np.random.default_rng(leaves)
    X = rng.standard_normal((1500, 6))
    X[:, 4] = rng.integers(0, 40, 1500)
    X[rng.random(X.shape) < 0.05] = np.nan
    y = np.exp(np.nan_to_num(X[:, 0]) + (np.nan_to_num(X[:, 4]) % 7 > 3)) + rng.random(1500)
    options = {"n_estimators": 6, "max_leaf_nodes": leaves, "min_samples_leaf": 3, "grow_policy": policy}
    models = [
        BoostGradRegressor(
            loss=loss, categorical_features=[4], random_state=0, early_stopping=False, n_jobs=n_jobs, **options
        ).fit(X, y)
        for n_jobs in THREADS
    ]
    assert_same(models, X)


@pytest.mark.parametrize("strategy", ["one_output_per_tree", "multi_output_tree"])
def test_several_outputs_of_small_tables(strategy):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((1200, 5))
    Y = np.stack([X[:, 0] * X[:, 1], X[:, 2] > 0, X[:, 3]], axis=1) + 0.1 * rng.standard_normal((1200, 3))
    options = {"n_estimators": 5, "multi_strategy": strategy, "random_state": 0, "early_stopping": False}
    assert_same([BoostGradRegressor(n_jobs=n_jobs, **options).fit(X, Y) for n_jobs in THREADS], X)


def test_many_features(data):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((3000, 300))  # histograms and scans are shared feature by feature
    assert_same([model_of("binary", X, X[:, 0] + X[:, 1], None, n_jobs=n) for n in THREADS], X)


def test_an_outlier_does_not_make_sums_depend_on_threads(data):
    X, signal, _ = data
    y = signal.copy()
    y[123] = 1e9
    assert_same([model_of("regression", X, y, None, n_jobs=n) for n in THREADS], X[:5000])


@pytest.mark.parametrize("loss", ["regression", "multiclass"])
def test_concurrent_fits(data, loss):
    X, signal, weight = data
    X, signal, weight = X[:20_000], signal[:20_000], weight[:20_000]
    alone = model_of(loss, X, signal, weight, n_jobs=1)
    models, errors = [alone], []

    def work(n_jobs):
        try:
            model = model_of(loss, X, signal, weight, n_jobs=n_jobs)
            model.predict(X)
            models.append(model)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n_jobs,), daemon=True) for n_jobs in (1, 2, 2, 3, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert not errors
    assert len(models) == 6
    assert_same(models, X[:2000])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fit_in_a_forked_child_after_a_fit(data):
    X, signal, _ = data
    expected = dump_bytes(model_of("regression", X, signal, None, n_jobs=2).ensemble_)  # threads are running now
    child = os.fork()
    if child == 0:
        status = 1
        try:
            same = dump_bytes(model_of("regression", X, signal, None, n_jobs=2).ensemble_) == expected
            status = 0 if same else 3
        finally:
            os._exit(status)
    deadline = time.monotonic() + 60
    done, status = os.waitpid(child, os.WNOHANG)
    while done == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
        done, status = os.waitpid(child, os.WNOHANG)
    if done == 0:
        os.kill(child, SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the child hung")
    assert os.waitstatus_to_exitcode(status) == 0
    assert dump_bytes(model_of("regression", X, signal, None, n_jobs=2).ensemble_) == expected
