"""A sparse table gives the model of the dense one, byte for byte, and is never made dense."""

import gc
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from scipy import sparse

from boostgrad import BoostGradClassifier, BoostGradRegressor, native
from boostgrad.io.native import dump_bytes

N_ROWS = 1500
CASES = {
    "regression": {},
    "binary": {},
    "multiclass": {},
    "depthwise": {"grow_policy": "depthwise", "max_depth": 5},
    "symmetric": {"grow_policy": "symmetric", "max_depth": 6, "max_leaf_nodes": 64},
    "symmetric vector leaves": {"grow_policy": "symmetric", "multi_strategy": "multi_output_tree"},
    "weighted": {"l2_regularization": 1.0},
    "penalties": {"l1_regularization": 0.5, "max_delta_step": 0.4},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 2},
    "few bins": {"max_bins": 5},
    "many bins": {"max_bins": 1000, "max_leaf_nodes": 80, "min_samples_leaf": 1},
    "whole numbers": {"min_samples_leaf": 3},
    "vector leaves": {"multi_strategy": "multi_output_tree"},
    "vector leaves, two targets": {"multi_strategy": "multi_output_tree", "l1_regularization": 0.5},
    "vector leaves, many classes": {"n_estimators": 4, "min_samples_leaf": 5, "early_stopping": True},
}
N_CLASSES = {"multiclass": 3, "vector leaves": 4, "symmetric vector leaves": 3, "vector leaves, many classes": 35}


def problem(case, n=N_ROWS):
    rng = np.random.default_rng(0)
    X = sparse.random(n, 40, 0.08, format="csr", random_state=0, data_rvs=rng.standard_normal)
    if case == "whole numbers":
        X.data = np.ceil(3 * X.data)
    signal = X @ rng.standard_normal(40) + 0.3 * rng.standard_normal(n)
    X.data[rng.random(X.nnz) < 0.05] = np.nan
    X.data[:6] = np.inf, -np.inf, 0.0, -0.0, 1e-310, 1e300
    X = X.tolil()
    X[:, 5] = 0
    X[11] = 0
    weight = rng.random(n) * 3 * (rng.random(n) < 0.9) if case in ("weighted", "early stopping") else None
    return X.tocsr(), signal, weight


def model_of(case, X, signal, weight, **more):
    options = {"n_estimators": 8, "random_state": 0, "early_stopping": False} | CASES[case] | more
    if case in N_CLASSES or case in ("binary", "depthwise", "weighted"):
        n_classes = N_CLASSES.get(case, 2)
        y = np.digitize(signal, np.quantile(signal, np.arange(1, n_classes) / n_classes))
        return BoostGradClassifier(**options).fit(X, y, weight)
    y = np.column_stack([signal, signal**2]) if "two targets" in case else signal
    return BoostGradRegressor(**options).fit(X, y, weight)


def outputs(model, X):
    stages = list(model.staged_predict(X))
    return [model._raw(X), model.predict(X), model.apply(X), stages[0], stages[-1]]


def assert_same(ours, theirs, sparse_tables, dense):
    assert dump_bytes(ours.ensemble_) == dump_bytes(theirs.ensemble_)
    assert ours.validation_score_.tobytes() == theirs.validation_score_.tobytes()
    expected = [o.tobytes() for o in outputs(theirs, dense)]
    for X in sparse_tables:
        assert [o.tobytes() for o in outputs(ours, X)] == expected


@pytest.mark.parametrize("case", CASES)
def test_the_model_of_the_dense_table(case):
    X, signal, weight = problem(case)
    dense = X.toarray()
    theirs = model_of(case, dense, signal, weight)
    assert sum(tree.n_splits for tree in theirs.ensemble_.trees) > 0
    forms = [X, X.tocsc(), X.tocoo(), sparse.csr_array(X), sparse.csc_array(X), sparse.coo_array(X)]
    for n_jobs, form in zip((1, 2, 3, 5, 1, 2), forms, strict=True):
        ours = model_of(case, form, signal, weight, n_jobs=n_jobs)
        assert_same(ours, theirs, [form], dense)
    assert_same(ours, theirs, forms, dense)


@pytest.fixture
def isa_back():
    before = native.isa()
    yield
    native.use_isa(before)


@pytest.mark.parametrize("case", ["regression", "binary", "weighted", "vector leaves"])
def test_every_instruction_set(case, isa_back):
    X, signal, weight = problem(case)
    models = []
    for isa in native.available_isas():
        native.use_isa(isa)
        models.append(dump_bytes(model_of(case, X, signal, weight).ensemble_))
    assert len(set(models)) == 1


@pytest.mark.parametrize("case", ["regression", "binary", "depthwise", "weighted", "vector leaves"])
def test_enough_rows_for_small_integers(case):
    X, signal, weight = problem(case, 55_000)
    ours = model_of(case, X, signal, weight, n_jobs=2, min_samples_leaf=20)
    theirs = model_of(case, X.toarray(), signal, weight, n_jobs=1, min_samples_leaf=20)
    assert dump_bytes(ours.ensemble_) == dump_bytes(theirs.ensemble_)


def test_validation_data_in_another_form():
    X, signal, _ = problem("regression")
    models = []
    for train, held_out in ((X, X.tocsc()), (X, X.toarray()), (X.toarray(), X)):
        model = BoostGradRegressor(n_estimators=20, n_iter_no_change=2, random_state=0)
        model.fit(train[:1000], signal[:1000], X_val=held_out[1000:], y_val=signal[1000:])
        models.append((dump_bytes(model.ensemble_), model.validation_score_.tobytes()))
    assert len(set(models)) == 1


def test_one_row():
    X, signal, _ = problem("regression")
    model = model_of("regression", X, signal, None)
    expected = model.predict(X.toarray())
    for row in (0, 11, 700):  # row 11 is empty
        assert model.predict(X[[row]])[0] == expected[row]
        assert model.predict(X[[row]].tocoo())[0] == expected[row]


def test_int64_indices_at_predict():
    X, signal, _ = problem("regression")
    model = model_of("regression", X, signal, None)
    wide = X.copy()
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    np.testing.assert_array_equal(model.predict(wide), model.predict(X))


def test_duplicates_at_predict_are_summed():
    X, signal, _ = problem("regression")
    model = model_of("regression", X, signal, None)
    twice = sparse.coo_matrix((np.tile([0.5, 0.25], 20), (np.zeros(40, int), np.arange(40) // 2)), shape=(1, 40))
    np.testing.assert_array_equal(model.predict(twice), model.predict(twice.toarray()))


def test_a_dense_model_predicts_sparse_tables_after_loading(tmp_path):
    X, signal, _ = problem("regression")
    model = model_of("regression", X.toarray(), signal, None)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(BoostGradRegressor.load(tmp_path / "model").predict(X), model.predict(X.toarray()))


def test_the_number_of_columns_is_checked():
    X, signal, _ = problem("regression")
    model = model_of("regression", X, signal, None)
    with pytest.raises(ValueError, match="39 features, but BoostGradRegressor is expecting 40 features"):
        model.predict(X[:, :39])


# ---- memory ----------------------------------------------------------------------------------------------------------

WIDE = (60_000, 5_000)  # 300 MB, were a cell one byte


def wide_problem():
    X = sparse.random(*WIDE, 0.001, format="csr", random_state=np.random.default_rng(0))
    return X, np.asarray(X[:, :500].sum(axis=1)).ravel() > 0.2


def test_memory_of_fit_and_predict_is_that_of_the_entries():
    X, y = wide_problem()
    gc.collect()
    tracemalloc.start()
    try:
        model = BoostGradClassifier(n_estimators=3, early_stopping=False, n_jobs=2).fit(X, y)
        assert tracemalloc.get_traced_memory()[1] < 40_000_000
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        model.predict_proba(X)
        assert tracemalloc.get_traced_memory()[1] - before < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_resident_memory():
    """Memory that C allocates, too."""
    code = f"""
import numpy as np
from scipy import sparse
from boostgrad import BoostGradClassifier

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024

rng = np.random.default_rng(0)
rows, columns = rng.integers(0, {WIDE[0]}, 300_000), rng.integers(0, {WIDE[1]}, 300_000)
X = sparse.csr_matrix((rng.random(300_000), (rows, columns)), shape={WIDE})
y = np.asarray(X[:, :500].sum(axis=1)).ravel() > 0.2
BoostGradClassifier(n_estimators=1, n_jobs=2).fit(X[:100, :5], y[:100])
before = peak()
BoostGradClassifier(n_estimators=5, early_stopping=False, n_jobs=2).fit(X, y).predict_proba(X)
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60
