"""The promise: a model trained on a dataset, however its rows came, is the model of the same rows in memory, byte for
byte."""

import numpy as np
import pytest

from boostgrad import BoostGradClassifier, BoostGradDataset, BoostGradRegressor
from boostgrad.data import sampling
from boostgrad.io import native

pandas = pytest.importorskip("pandas")

SIZES = [1, 37, 256, 999, 5000]


def model_bytes(model):
    return native.dump_bytes(model.ensemble_)


def frame(n=1000, seed=0):
    """Numbers, missing values, text whose levels come late, categories, bools and dates."""
    rng = np.random.default_rng(seed)
    text = rng.choice(["lo", "mid", "high"], n).astype(object)
    text[int(0.9 * n) :] = rng.choice(["late", "last"], n - int(0.9 * n))
    text[rng.random(n) < 0.1] = None
    x = rng.normal(size=n)
    x[rng.random(n) < 0.2] = np.nan
    X = pandas.DataFrame(
        {
            "x": x,
            "whole": rng.integers(0, 50, n),
            "text": text,
            "many": pandas.Categorical([f"level {k}" for k in rng.geometric(0.02, n)]),
            "truth": rng.random(n) < 0.3,
            "day": pandas.Timestamp("2024-02-27") + pandas.to_timedelta(rng.integers(0, 1000, n), "h"),
        }
    )
    y = np.nan_to_num(x) + X["whole"] / 50 + (X["text"] == "late") + 0.3 * X["truth"] + rng.normal(size=n) / 10
    weight = rng.integers(0, 4, n) / 2.0
    return X, y.to_numpy(), weight


def pieces(table, size):
    for begin in range(0, len(table), size):
        yield table[begin : begin + size]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("statistics", ["never", "auto", "always"])
def test_batches_of_any_size_give_the_model_of_the_frame(size, weighted, statistics, tmp_path):
    X, y, weight = frame()
    columns = {"y": y, "w": weight} if weighted else {"y": y}
    model = BoostGradRegressor(
        target_statistics=statistics, n_estimators=15, random_state=0, date_parts=["weekday", "month"], n_jobs=2
    )
    expected = model_bytes(model.fit(X, y, weight if weighted else None))
    data = BoostGradDataset.from_batches(
        lambda: pieces(X.assign(**columns), size),
        y="y",
        sample_weight="w" if weighted else None,
        date_parts=["weekday", "month"],
        cache_dir=tmp_path if size == 256 else None,
    )
    assert model_bytes(model.fit(data)) == expected
    assert data.n_rows == len(X) and list(data.feature_names_in_) == list(X.columns)


@pytest.mark.parametrize("weighted", [False, True])
def test_long_tables_are_sampled_alike(weighted, monkeypatch):
    X, y, weight = frame(20_000)
    X = X[["x", "whole", "text"]]
    weight = weight if weighted else None
    monkeypatch.setattr(sampling, "SAMPLE_ROWS", 3000)
    monkeypatch.setattr("boostgrad.data.binning.SAMPLE_ROWS", 3000)
    model = BoostGradRegressor(
        target_statistics="always", n_estimators=3, early_stopping=False, random_state=0, max_bins=100
    )
    expected = model_bytes(model.fit(X, y, weight))
    for size in (700, 2999, 3001, 20_000):
        table = list(zip(*(pieces(part, size) for part in (X, y, weight) if part is not None), strict=True))
        assert model_bytes(model.fit(BoostGradDataset.from_batches(table, max_bins=100))) == expected
    assert model_bytes(model.fit(BoostGradDataset(X, y, weight, max_bins=100))) == expected


def test_containers_and_files(tmp_path):
    polars, pyarrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    dataset, parquet = pytest.importorskip("pyarrow.dataset"), pytest.importorskip("pyarrow.parquet")
    X, y, _ = frame()
    X = X.assign(many=X["many"].astype(object))
    labels = np.where(y > 0.5, "big", "small")
    model = BoostGradClassifier(n_estimators=5, random_state=0)
    expected = model_bytes(model.fit(X, labels))
    whole = X.assign(label=labels)
    table = pyarrow.Table.from_pandas(whole)
    folder = tmp_path / "folder"
    folder.mkdir()
    for k, begin in enumerate(range(0, 1000, 400)):
        parquet.write_table(table.slice(begin, 400), folder / f"part{k}.parquet", row_group_size=150)
    files = sorted(folder.iterdir())
    of_polars = polars.from_pandas(whole)
    sources = {
        "polars": lambda: pieces(of_polars, 300),
        "arrow": lambda: pieces(table, 300),
        "record batches": table.to_batches(max_chunksize=200),
        "folder": folder,
        "str": str(folder),
        "files": files,
        "pyarrow dataset": dataset.dataset(files, format="parquet"),
        "in memory": dataset.dataset(table),
    }
    for name, source in sources.items():
        data = BoostGradDataset.from_batches(source, y="label", batch_size=130, cache_dir=tmp_path)
        assert model_bytes(model.fit(data)) == expected, name
    one = tmp_path / "one.parquet"
    parquet.write_table(table, one)
    assert model_bytes(model.fit(BoostGradDataset.from_batches(one, y="label"))) == expected
    assert model_bytes(model.fit(BoostGradDataset(of_polars, y="label"))) == expected


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("problem", ["squared_error", "binary", "multiclass", "wide", "many bins", "large"])
def test_table_in_a_file_gives_the_model_of_the_table_in_memory(problem, cached, tmp_path):
    """Rows are laid out in another way for a table in a file; "large": integers beside the rows, in memory."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(60_000 if problem == "large" else 2000, 70 if problem == "wide" else 6)).astype(np.float32)
    y = X[:, 0] + X[:, 1] * X[:, 2] + rng.normal(size=len(X)) / 4
    model = BoostGradRegressor(n_estimators=6, random_state=0, early_stopping=False, n_jobs=2)
    if problem not in ("squared_error", "wide", "many bins"):
        model = BoostGradClassifier(n_estimators=6, random_state=0, early_stopping=False, n_jobs=2)
        y = np.digitize(y, [0] if problem != "multiclass" else [-1, 1])
    model.max_bins = 1000 if problem == "many bins" else 255
    data = BoostGradDataset(X, y, max_bins=model.max_bins, cache_dir=tmp_path if cached else None)
    assert model_bytes(model.fit(data)) == model_bytes(model.fit(X, y))


@pytest.mark.parametrize("unknown_category", ["missing", "rare"])
@pytest.mark.parametrize("statistics", ["never", "always"])
def test_validation_data_as_dataset_or_frame(statistics, unknown_category):
    X, y, weight = frame(1500)
    train, val = slice(0, 1000), slice(1000, 1500)
    X = X.assign(many=X["many"].astype(str))
    model = BoostGradRegressor(
        target_statistics=statistics,
        unknown_category=unknown_category,
        n_estimators=60,
        random_state=0,
        learning_rate=0.5,
        n_iter_no_change=3,
    )
    expected = model.fit(X[train], y[train], X_val=X[val], y_val=y[val], sample_weight_val=weight[val] + 1)
    scores, expected = expected.validation_score_, model_bytes(expected)
    assert model.n_iter_ < 60
    data = BoostGradDataset(X[train], y[train])
    validation = BoostGradDataset.from_batches(
        [(X[1000:1200], y[1000:1200], weight[1000:1200] + 1), (X[1200:], y[1200:], weight[1200:] + 1)],
        reference=data,
        unknown_category=unknown_category,
    )
    assert model_bytes(model.fit(data, X_val=validation)) == expected
    np.testing.assert_array_equal(model.validation_score_, scores)
    assert model_bytes(model.fit(data, X_val=X[val], y_val=y[val], sample_weight_val=weight[val] + 1)) == expected


@pytest.mark.parametrize("cached", [False, True])
def test_sparse_table(cached, tmp_path):
    sparse = pytest.importorskip("scipy.sparse")
    X = sparse.random(800, 30, 0.1, format="csr", random_state=0)
    y = np.asarray(X.sum(axis=1)).ravel()
    weight = np.random.default_rng(0).integers(0, 3, 800)
    model = BoostGradRegressor(target_statistics="never", n_estimators=5, random_state=0)
    data = BoostGradDataset(X, y, weight, cache_dir=tmp_path if cached else None)
    assert model_bytes(model.fit(data)) == model_bytes(model.fit(X, y, weight))


def test_rows_set_aside_by_number():
    """Without X_val a dataset is split into the same rows as a frame; with few distinct values, bins are the same."""
    rng = np.random.default_rng(3)
    X, y = rng.integers(0, 20, (3000, 4)).astype(float), rng.normal(size=3000)
    weight = rng.integers(0, 3, 3000)
    model = BoostGradRegressor(target_statistics="never", n_estimators=20, random_state=0, early_stopping=True)
    expected = model.fit(X, y, weight)
    scores, expected = expected.validation_score_, model_bytes(expected)
    assert model_bytes(model.fit(BoostGradDataset(X, y, weight))) == expected
    np.testing.assert_array_equal(model.validation_score_, scores)
    sparse = pytest.importorskip("scipy.sparse")
    assert model_bytes(model.fit(BoostGradDataset(sparse.csr_array(X), y, weight))) == expected


@pytest.mark.parametrize("cached", [False, True])
def test_statistics_of_several_classes_and_of_rows_set_aside(cached, tmp_path):
    """Levels stand beside their statistics, or give way to them; rows of weight 0 and rows set aside have no part."""
    rng = np.random.default_rng(5)
    n = 8000
    some, many, x = rng.integers(0, 40, n), rng.permutation(n) % 400, rng.integers(0, 20, n)
    X = pandas.DataFrame({"x": x, "some": pandas.Categorical(some.astype(str)), "many": many.astype(str)})
    y = (some + many // 10 + x) // 40
    weight = (rng.random(n) < 0.9).astype(float)
    model = BoostGradClassifier(n_estimators=25, random_state=0, early_stopping=True, n_jobs=2).fit(X, y, weight)
    assert [info.kind for info in model.ensemble_.features] == ["number", "category", *["statistic"] * 6]
    expected = model_bytes(model)
    data = BoostGradDataset(X, y, weight, cache_dir=tmp_path if cached else None)
    codes = np.array(data.binned().by_column)
    assert model_bytes(model.fit(data)) == expected
    np.testing.assert_array_equal(data.binned().by_column, codes)


def test_one_dataset_for_fits_with_statistics_and_without():
    X, y, _ = frame()
    data = BoostGradDataset(X, y)
    found = {}
    for choice in ("auto", "never", "always", "auto"):
        model = BoostGradRegressor(n_estimators=3, target_statistics=choice, random_state=0)
        found[choice] = model_bytes(model.fit(data))
        assert found[choice] == model_bytes(model.fit(X, y))
    assert len(set(found.values())) == 3


@pytest.mark.parametrize("statistics", ["never", "auto"])
@pytest.mark.parametrize("cached", [False, True])
def test_more_levels_than_there_are_codes(statistics, cached, tmp_path):
    """Codes are of the most frequent levels, statistics of all: a dataset keeps both."""
    rng = np.random.default_rng(8)
    n = 150_000
    X = pandas.DataFrame({"x": rng.integers(0, 30, n), "street": np.concatenate([np.arange(n // 2)] * 2)})
    y = X["x"] / 30 + (X["street"] % 7 == 0) + rng.normal(size=n) / 5
    val = pandas.DataFrame({"x": [1, 2, 3, 4], "street": [0.0, np.nan, 1e6, 7]})
    model = BoostGradRegressor(
        target_statistics=statistics, categorical_features=["street"], n_estimators=3, random_state=0, n_jobs=2
    )
    expected = model.fit(X, y, X_val=val, y_val=np.arange(4.0))
    scores, expected = expected.validation_score_, model_bytes(expected)
    data = BoostGradDataset.from_batches(
        lambda: zip(pieces(X, 40_000), pieces(y, 40_000), strict=True),
        categorical_features=["street"],
        cache_dir=tmp_path if cached else None,
    )
    assert model_bytes(model.fit(data, X_val=BoostGradDataset(val, np.arange(4.0), reference=data))) == expected
    np.testing.assert_array_equal(model.validation_score_, scores)
