"""The same model and the same predictions on every instruction set that this machine has."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from boostgrad import BoostGradClassifier, BoostGradRegressor, native
from boostgrad.io.native import dump_bytes

# what is no loss is the squared error
TASKS = [
    "regression",
    "weighted",
    "binary",
    "multiclass",
    "wide codes",
    "outlier",
    "normal_nll",
    "gamma_nll",
    "quantile",
]


def digest(task: str) -> str:
    """Hash of the model and of its predictions for one task."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1500, 7)).astype(np.float32 if task != "weighted" else np.float64)
    X[rng.random(X.shape) < 0.1] = np.nan
    signal = np.nan_to_num(X[:, 0]) + np.nan_to_num(X[:, 1] * X[:, 2])
    weight = rng.random(1500) if task == "weighted" else None
    options = dict(n_estimators=8, random_state=0, n_jobs=1)
    if task in ("binary", "multiclass"):
        y = np.digitize(signal, [0] if task == "binary" else [-1, 0, 1])
        model = BoostGradClassifier(**options).fit(X, y)
        prediction = model.predict_proba(X)
    else:
        y = signal + 0.1 * rng.standard_normal(1500)
        if task == "outlier":
            y[700] = 1e12
        max_bins, leaves = (1000, 100) if task == "wide codes" else (255, 31)
        if task in ("normal_nll", "gamma_nll", "quantile"):  # of several outputs, with categories
            options |= {"loss": task, "quantile": [0.1, 0.5, 0.9] if task == "quantile" else None}
            X[:, 3], y = np.floor(10 * np.nan_to_num(X[:, 3])).clip(-20, 20), np.exp(y)
            options["categorical_features"] = [3]
        model = BoostGradRegressor(max_bins=max_bins, max_leaf_nodes=leaves, min_samples_leaf=2, **options)
        prediction = model.fit(X, y, sample_weight=weight).predict(X)
    what = dump_bytes(model.ensemble_) + prediction.tobytes() + model.apply(X).tobytes()
    return hashlib.sha256(what).hexdigest()


@pytest.fixture
def restored_isa():
    before = native.isa()
    yield before
    native.use_isa(before)


@pytest.mark.parametrize("task", TASKS)
def test_every_instruction_set_gives_the_same_bytes(task, restored_isa):
    found = {}
    for name in native.available_isas():
        native.use_isa(name)
        assert native.isa() == name
        found[name] = digest(task)
    assert "baseline" in found
    assert len(set(found.values())) == 1, found


def test_unknown_name(restored_isa):
    with pytest.raises(ValueError, match="instruction set 'sse9' is not available here; choose one of"):
        native.use_isa("sse9")
    assert native.isa() == restored_isa


def in_a_process(isa: str | None, script: str):
    environment = {k: v for k, v in os.environ.items() if k != "BOOSTGRAD_ISA"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    if isa is not None:
        environment["BOOSTGRAD_ISA"] = isa
    return subprocess.run(
        [sys.executable, "-P", "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("isa", native.available_isas())
def test_environment_variable(isa):
    script = (
        "import importlib.util as u, boostgrad.native as native\n"
        f"spec = u.spec_from_file_location('test_isa', {__file__!r})\n"
        "module = u.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        "print(native.isa(), module.digest('binary'))"
    )
    done = in_a_process(isa, script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [isa, digest("binary")]


def test_environment_variable_that_is_unknown():
    done = in_a_process("sse9", "import boostgrad.native")
    assert done.returncode != 0
    assert "ImportError: environment variable BOOSTGRAD_ISA: instruction set 'sse9' is not available" in done.stderr
    assert "baseline" in done.stderr


@pytest.mark.parametrize("empty", [None, ""])
def test_without_the_variable_the_best_one_runs(empty):
    done = in_a_process(empty, "import boostgrad.native as n; print(n.isa())")
    assert done.stdout.split() == [native.available_isas()[0]]
