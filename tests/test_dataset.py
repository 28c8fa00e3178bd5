"""Datasets: what they take, what they refuse, and what they leave behind."""

import gc
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from boostgrad import BoostGradClassifier, BoostGradDataset, BoostGradRegressor
from boostgrad.data.matrix import BinnedMatrix, row_array
from boostgrad.data.sampling import SAMPLE_ROWS, RowSample, level_of, sample_rows
from boostgrad.io import native


def model_bytes(model):
    return native.dump_bytes(model.ensemble_)


def numbers(n=500, d=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    return X, X[:, 0] + rng.normal(size=n) / 10


def batches(X, y, size=100):
    return [(X[begin : begin + size], y[begin : begin + size]) for begin in range(0, len(X), size)]


def mapped(directory):
    """Files of the directory that are mapped into this process; None where that cannot be told."""
    if not os.path.exists("/proc/self/maps"):
        return None
    with open("/proc/self/maps") as maps:
        return sum(str(directory) in line for line in maps)


# ---- reuse -----------------------------------------------------------------------------------------------------------


def test_fits_with_other_tree_parameters_share_the_codes(monkeypatch):
    X, y = numbers()
    data = BoostGradDataset(X, y)
    codes = data.binned()
    monkeypatch.setattr("boostgrad.data.binning.BinMapper.fit", None)
    monkeypatch.setattr("boostgrad.data.binning.BinMapper.transform", None)
    models = [BoostGradRegressor(n_estimators=5, max_leaf_nodes=k, random_state=0).fit(data) for k in (4, 8, 8)]
    monkeypatch.undo()
    assert data.binned() is codes
    assert model_bytes(models[1]) == model_bytes(models[2]) != model_bytes(models[0])
    for model, k in zip(models, (4, 8, 8), strict=True):
        expected = BoostGradRegressor(n_estimators=5, max_leaf_nodes=k, random_state=0).fit(X, y)
        np.testing.assert_array_equal(model.predict(X), expected.predict(X))


def test_one_dataset_for_two_faces():
    X, y = numbers()
    data = BoostGradDataset(X, np.round(np.clip(y, -1, 1)))
    assert BoostGradClassifier(n_estimators=3).fit(data).classes_.tolist() == [-1, 0, 1]
    assert BoostGradRegressor(n_estimators=3).fit(data).n_iter_ == 3


def test_attributes():
    X, y = numbers()
    data = BoostGradDataset(X, y)
    assert (data.n_rows, data.n_features_in_, data.nbytes) == (500, 4, 2000)
    assert not hasattr(data, "feature_names_in_") and data.sample_weight is None and data.y is y
    assert repr(data) == "<BoostGradDataset of 500 rows and 4 columns, 2000 bytes in memory>"


# ---- parameters ------------------------------------------------------------------------------------------------------


def test_parameters_of_the_bins_must_not_contradict():
    X, y = numbers()
    data = BoostGradDataset(X, y, max_bins=20, categorical_features=None)
    assert BoostGradRegressor(n_estimators=2).fit(data).n_iter_ == 2  # defaults follow the dataset
    assert BoostGradRegressor(n_estimators=2, max_bins=20, categorical_features=None).fit(data).n_iter_ == 2
    with pytest.raises(ValueError, match="max_bins=30 of BoostGradRegressor contradicts max_bins=20"):
        BoostGradRegressor(max_bins=30).fit(data)
    with pytest.raises(ValueError, match=r"categorical_features=\[0\] of BoostGradRegressor contradicts"):
        BoostGradRegressor(categorical_features=[0]).fit(data)
    with pytest.raises(ValueError, match="date_parts"):
        BoostGradRegressor(date_parts=("year",)).fit(data)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"max_bins": 1}, "The 'max_bins' parameter of BoostGradDataset must be"),
        ({"n_jobs": 0}, "The 'n_jobs' parameter of BoostGradDataset must be"),
        ({"unknown_category": "no"}, "The 'unknown_category' parameter"),
        ({"cache_dir": "not/there"}, "cache_dir='not/there' is not a directory"),
        ({"reference": 3}, "reference must be a BoostGradDataset"),
    ],
)
def test_bad_parameters(options, message):
    X, y = numbers()
    with pytest.raises((ValueError, TypeError), match=message):
        BoostGradDataset(X, y, **options)
    with pytest.raises((ValueError, TypeError), match=message):
        BoostGradDataset.from_batches(batches(X, y), **options)


def test_target_and_weight_are_given_once():
    X, y = numbers()
    data = BoostGradDataset(X, y)
    with pytest.raises(ValueError, match="y must be given to the BoostGradDataset"):
        BoostGradRegressor().fit(data, y)
    with pytest.raises(ValueError, match="sample_weight_val must be given to the BoostGradDataset"):
        BoostGradRegressor().fit(X, y, X_val=data, sample_weight_val=np.ones(500))
    with pytest.raises(ValueError, match="requires y to be passed"):
        BoostGradRegressor().fit(BoostGradDataset(X))
    with pytest.raises(ValueError, match="init needs the data"):
        BoostGradRegressor(init=BoostGradRegressor()).fit(data)
    with pytest.raises(TypeError, match="holds bins and no data"):
        BoostGradRegressor(n_estimators=1).fit(data).predict(data)


def test_validation_data_needs_the_same_bins():
    X, y = numbers()
    data, other = BoostGradDataset(X, y), BoostGradDataset(X, y)
    for train in ((data,), (X, y)):
        with pytest.raises(ValueError, match="X_val has bins of its own; make it with"):
            BoostGradRegressor().fit(*train, X_val=other)
    with pytest.raises(ValueError, match="max_bins=9 is not that of the reference"):
        BoostGradDataset(X, y, reference=data, max_bins=9)
    with pytest.raises(ValueError, match="expecting 4 features"):
        BoostGradDataset(X[:, :3], y, reference=data)
    text = np.array([["a", "b"]] * 250, dtype=object).reshape(500, 1)
    data = BoostGradDataset(text, y)
    val = BoostGradDataset(text, y, reference=data)
    with pytest.raises(ValueError, match="unknown_category='error' of BoostGradRegressor contradicts"):
        BoostGradRegressor(unknown_category="error").fit(data, X_val=val)
    with pytest.raises(ValueError, match="'c' was not there"):
        BoostGradDataset([["c"]], [1], reference=data, unknown_category="error")


# ---- sources ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source, message",
    [
        ((n for n in []), "gone through twice, which a generator does not allow"),
        (np.zeros((3, 2)), "source is one table"),
        (7, "source must be an iterable of tables"),
        ([], "source has no rows"),
        ([(1, 2, 3, 4)], "batch 0: a batch must be a table"),
        ([np.zeros((3, 2)), (np.zeros((3, 2)), np.zeros(3))], "batch 1: either every batch must have a target"),
        ([np.zeros((3, 2)), np.zeros((3, 4))], "batch 1: there are 4 columns, but 2 in the batches before"),
        ([(np.zeros((3, 2)), np.zeros(4))], "batch 0: X has 3 rows, y has 4"),
        ([(np.zeros((3, 2)), np.zeros(3), [1, 1, -1])], "batch 0: Negative values .* row 2 is -1.0"),
        ([(np.zeros((3, 2)), np.zeros(3), [0, 0, 0])], "sample_weight is zero for all rows"),
        ([np.zeros((3, 2)), [["x", "a"]]], "batch 1: column 0 is a category here, but was a number before"),
        ([np.zeros((3, 2)), [[1.0, 2.0], [1.0, object()]]], "batch 1: column 1, row 1: could not convert"),
        ([np.zeros((3, 2)), [[1.0, 2j]]], "batch 1: "),
    ],
)
def test_bad_sources(source, message):
    with pytest.raises((ValueError, TypeError), match=message):
        BoostGradDataset.from_batches(source)


def test_batches_with_other_columns():
    pandas = pytest.importorskip("pandas")
    one = pandas.DataFrame({"a": [1.0, 2.0], "b": [1, 2], "y": [0.0, 1.0]})
    two = one.rename(columns={"b": "c"})
    with pytest.raises(ValueError, match=r"batch 1: the columns are not .* it has \['c'\] and it lacks \['b'\]"):
        BoostGradDataset.from_batches([one, two], y="y")
    with pytest.raises(ValueError, match=r"batch 1: there is no column 'y'; the columns are \['a', 'b'\]"):
        BoostGradDataset.from_batches([one, one[["a", "b"]]], y="y")
    with pytest.raises(TypeError, match="'y' names a column, but the columns of the table have no names"):
        BoostGradDataset.from_batches([one.to_numpy()], y="y")
    with pytest.raises(TypeError, match="y must be the name of a column"):
        BoostGradDataset.from_batches([one], y=np.zeros(2))
    with pytest.raises(ValueError, match="no column beside the target"):
        BoostGradDataset.from_batches([one[["y"]]], y="y")
    data = BoostGradDataset.from_batches([one, one[["y", "b", "a"]], one.iloc[:0]], y="y")  # another order is fine
    np.testing.assert_array_equal(data.binned().by_column, [[1, 2, 1, 2]] * 2)


def test_missing_in_some_batches():
    pandas = pytest.importorskip("pandas")
    gap = pandas.DataFrame({"text": [None, None], "day": [np.nan, np.nan], "x": [np.nan, np.nan]})
    full = pandas.DataFrame({"text": ["a", "b"], "day": pandas.to_datetime(["2024-01-01", None]), "x": [1, 2]})
    for order in ([gap, full, gap], [full, gap, gap], [gap, gap, full]):
        data = BoostGradDataset.from_batches(order, date_parts=["year"])
        assert [info.kind for info in data.schema.features] == ["category", "date", "date", "number"]
        codes = np.concatenate([[[0, 0]] * 4 if part is gap else [[1, 2], [1, 0], [1, 0], [1, 2]] for part in order], 1)
        np.testing.assert_array_equal(data.binned().by_column, codes)
    assert BoostGradDataset.from_batches([gap, gap]).schema.features[0].kind == "number"


def test_source_that_changes():
    X, y = numbers()
    for second in (batches(X, y)[:-1], batches(X, y) + batches(X, y)[:1]):
        sources = [batches(X, y), second]
        with pytest.raises(ValueError, match="source held 500 rows the first time, and another number the second"):
            BoostGradDataset.from_batches(lambda sources=sources: iter(sources.pop(0)))


def test_targets_of_any_kind():
    X, _ = numbers(6)
    for first, second, classes in (
        (["a", "b", "a"], ["c", "b", "b"], ["a", "b", "c"]),
        (np.array(["a", "bb", "a"]), np.array(["c", "bb", "bb"], dtype=object), ["a", "bb", "c"]),
        ([True, False, True], [False, False, True], [False, True]),
        (np.array([1, 2, 3], dtype=np.int8), [1, 2, 2], [1, 2, 3]),
    ):
        data = BoostGradDataset.from_batches([(X[:3], first), (X[3:], second)])
        assert BoostGradClassifier(n_estimators=1).fit(data).classes_.tolist() == classes
    data = BoostGradDataset.from_batches([(X[:3], ["a", "b", "a"]), (X[3:], [1, 2, 3])])
    with pytest.raises(ValueError, match="Labels in y must all be strings"):
        BoostGradClassifier().fit(data)


# ---- files -----------------------------------------------------------------------------------------------------------


def test_nothing_is_left_in_the_directory(tmp_path):
    X, y = numbers()
    data = BoostGradDataset(X, y, np.arange(500), cache_dir=tmp_path)
    assert str(tmp_path) in repr(data)
    assert mapped(tmp_path) in (3, None)  # codes, target and weights
    model = BoostGradRegressor(n_estimators=3).fit(data)
    assert os.listdir(tmp_path) == []
    del data, model
    gc.collect()
    assert not mapped(tmp_path)


def test_an_exception_leaves_no_file_behind(tmp_path):
    X, y = numbers()
    passes = []

    def source():
        passes.append(0)
        yield from batches(X, y)
        if len(passes) == 2:
            raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        BoostGradDataset.from_batches(source, cache_dir=tmp_path)
    gc.collect()
    assert os.listdir(tmp_path) == [] and len(passes) == 2
    assert not mapped(tmp_path)


def test_row_array(tmp_path):
    for directory in (None, str(tmp_path)):
        array = row_array((3, 5), np.float64, directory)
        array[:] = np.arange(5)
        assert array.shape == (3, 5) and array.dtype == np.float64 and array.sum() == 30
        assert row_array((2, 0), np.uint8, directory).shape == (2, 0)
    with pytest.raises(OSError):
        row_array(10, np.uint8, str(tmp_path / "nowhere"))


def test_rows_of_a_matrix(tmp_path):
    codes = np.random.default_rng(0).integers(0, 9, (3, 50)).astype(np.uint8)
    matrix = BinnedMatrix(codes, np.full(3, 9, np.uint32), directory=str(tmp_path))
    rows = np.arange(1, 50, 3)
    np.testing.assert_array_equal(matrix.take(rows).by_column, codes[:, rows])


# ---- samples of rows -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, SAMPLE_ROWS, SAMPLE_ROWS + 1, 2 * SAMPLE_ROWS + 1, 1_234_567])
def test_a_sample_is_one_row_of_each_stretch(n):
    rows = sample_rows(n)
    stretch = 2 ** level_of(n)
    assert len(rows) in (-(-n // stretch), -(-n // stretch) - 1) and rows[-1] < n
    np.testing.assert_array_equal(rows // stretch, np.arange(len(rows)))
    assert min(n, SAMPLE_ROWS / 2) <= len(rows) <= SAMPLE_ROWS


def test_rows_of_stretches_are_drawn_evenly():
    offsets = sample_rows(8 * SAMPLE_ROWS) % 8
    assert np.abs(np.bincount(offsets) / SAMPLE_ROWS - 1 / 8).max() < 0.005
    assert abs(np.corrcoef(offsets[1:], offsets[:-1])[0, 1]) < 0.01


@pytest.mark.parametrize("size", [1000, 70_001, 500_000])
def test_a_sample_of_batches_is_that_of_all_rows(size):
    n, sample = 900_000, RowSample()
    for begin in range(0, n, size):
        here = min(size, n - begin)
        positions = sample.next(here)
        values = {"row": (begin + positions).astype(float)} if begin else {}
        sample.add(values | {"other": np.zeros(len(positions))})
    rows = sample_rows(n).astype(float)
    rows[rows < size] = np.nan  # the first batch had no such column
    np.testing.assert_array_equal(sample.column("row"), rows)
    assert sample.column("third") is None and not sample.column("other").any()


# ---- memory ----------------------------------------------------------------------------------------------------------

LIMITED = """
import os, resource, sys, threading, time
import numpy as np
from boostgrad import BoostGradClassifier, BoostGradDataset
import sklearn.utils.multiclass, sklearn.model_selection

def status(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name + ":")) * 1024

n, d, size, directory, share = *map(int, sys.argv[1:4]), sys.argv[4] or None, float(sys.argv[5])
def batch(k):
    rng = np.random.default_rng(k)
    X = rng.standard_normal((size, d), dtype=np.float32)
    return X, (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(np.int8)

model = BoostGradClassifier(n_estimators=2, early_stopping=False, random_state=0, n_jobs=1)
small = BoostGradDataset(*batch(0), n_jobs=1)
model.fit(small)  # threads, modules and what else is made once
del small
source, options = (lambda: map(batch, range(n // size))), {}
if directory and os.path.exists(directory + "/data.parquet"):
    import pyarrow.dataset, pyarrow.parquet
    source, options = directory + "/data.parquet", {"y": "y"}
    pyarrow.parquet.ParquetFile(source).read_row_group(0, columns=["y"])
most = [before := status("RssAnon")]
def watch():
    while True:
        most[0] = max(most[0], status("RssAnon"))
        time.sleep(0.02)
threading.Thread(target=watch, daemon=True).start()
time.sleep(0.1)
limit = int(n * d * 4 * share)
hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
resource.setrlimit(resource.RLIMIT_DATA, (status("VmData") + limit, hard))
started = time.time()
data = BoostGradDataset.from_batches(source, cache_dir=directory, n_jobs=1, **options)
binned = time.time()
model.set_params(n_estimators=int(sys.argv[6])).fit(data)
resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
model.save(directory + "/model.bg") if directory else None
print(data.n_rows, model.ensemble_.trees[0].n_splits, f"limit {limit / 1e6:.0f} MB, RssAnon + "
      f"{(most[0] - before) / 1e6:.0f} MB, binned in {binned - started:.1f} s, trained in {time.time() - binned:.1f} s")
"""


def run_limited(n, d, size, directory, share, n_estimators):
    command = [sys.executable, "-P", "-c", LIMITED, *map(str, (n, d, size, directory, share, n_estimators))]
    environment = {
        **os.environ,
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and limits memory as Linux does")
def test_larger_than_memory(tmp_path):
    """With the data in a file, memory of a quarter of the raw float32 table is enough; in memory it is not."""
    done = run_limited(400_000, 60, 10_000, tmp_path, 0.25, 3)
    assert done.returncode == 0, done.stderr
    assert re.match(r"400000 30\b", done.stdout)
    refused = run_limited(400_000, 60, 10_000, "", 0.25, 3)
    assert refused.returncode != 0 and "MemoryError" in refused.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and limits memory as Linux does")
def test_parquet_larger_than_memory(tmp_path):
    """3M rows of 28 float32 columns, 336 MB, in 84 MB beyond the interpreter and its modules; the model is the same."""
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    n, d, size = 3_000_000, 28, 100_000
    X, y = np.empty((n, d), dtype=np.float32, order="F"), np.empty(n, dtype=np.int8)
    writer = None
    for k in range(n // size):
        rng = np.random.default_rng(k)
        part = slice(k * size, (k + 1) * size)
        X[part] = rng.standard_normal((size, d), dtype=np.float32)
        y[part] = X[part, 0] + X[part, 1] * X[part, 2] > 0
        table = pyarrow.table({f"x{j}": X[part, j] for j in range(d)} | {"y": y[part]})
        # Arrow's reader holds a page, and a dictionary if there is one, of each column: 1 MB each unless said otherwise
        options = {"use_dictionary": False, "data_page_size": 2**17}
        writer = writer or parquet.ParquetWriter(tmp_path / "data.parquet", table.schema, **options)
        writer.write_table(table)
    writer.close()
    done = run_limited(n, d, 20_000, tmp_path, 0.25, 10)
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    model = BoostGradClassifier(n_estimators=10, early_stopping=False, random_state=0)
    names = [f"x{j}" for j in range(d)]
    model.fit(pyarrow.table(dict(zip(names, X.T, strict=True))), y)
    assert model_bytes(model) == model_bytes(BoostGradClassifier.load(tmp_path / "model.bg"))
