"""The promise: a frame is never copied as a whole; what columns take beside their codes is gone column by column."""

import tracemalloc

import numpy as np
import pytest

from boostgrad import BoostGradDataset, BoostGradRegressor

pandas = pytest.importorskip("pandas")

N_ROWS = 600_000


@pytest.fixture(scope="module")
def frame():
    """Every kind of column that must be converted, and as many that need not."""
    rng = np.random.default_rng(0)
    text = np.array([f"city {k}" for k in range(200)], dtype=object)
    columns = {}
    for j in range(4):
        columns[f"float{j}"] = rng.normal(size=N_ROWS)
        columns[f"whole{j}"] = rng.integers(0, 1000, N_ROWS)
        columns[f"truth{j}"] = rng.random(N_ROWS) < 0.5
        columns[f"level{j}"] = pandas.Categorical.from_codes(rng.integers(0, 60, N_ROWS), [f"v{k}" for k in range(60)])
        columns[f"day{j}"] = pandas.Timestamp("2020-01-01") + pandas.to_timedelta(rng.integers(0, 10**8, N_ROWS), "s")
        columns[f"nullable{j}"] = pandas.array(rng.integers(0, 50, N_ROWS), dtype="Int64")
        columns[f"nullable{j}"][::9] = pandas.NA
    columns["text"] = text[rng.integers(0, 200, N_ROWS)]
    return pandas.DataFrame(columns)


def peak_of(work):
    """Bytes that arrays and objects take while this is done, beyond those before; Arrow's own memory is not counted."""
    tracemalloc.start()
    try:
        result = work()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


def test_a_frame_takes_little_beside_its_codes(frame):
    size = frame.memory_usage(deep=True).sum()
    y = np.arange(float(N_ROWS))
    peak, data = peak_of(lambda: BoostGradDataset(frame, y, n_jobs=1))
    assert data.nbytes < size / 4
    assert peak < data.nbytes + size / 20


def test_a_prediction_takes_little_beside_its_frame(frame):
    model = BoostGradRegressor(n_estimators=3, random_state=0, n_jobs=1).fit(frame[:20_000], np.arange(20_000.0))
    peak, prediction = peak_of(lambda: model.predict(frame))
    assert peak < 2 * prediction.nbytes + frame.memory_usage(deep=True).sum() / 50
    for begin in (0, 65_536, 599_000):  # blocks of rows begin at the second
        rows = slice(begin, begin + 1000)
        np.testing.assert_array_equal(prediction[rows], model.predict(frame[rows]))
        np.testing.assert_array_equal(model.apply(frame[: begin + 1000])[rows], model.apply(frame[rows]))
