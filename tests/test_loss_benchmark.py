"""The comparison of losses: rows to stop by, what libraries are told, and the words of the page."""

import numpy as np
import pytest

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

from benchmarks.loss_cases import Table, made_up, read
from benchmarks.loss_libraries import LIBRARIES, Missing, Work
from benchmarks.loss_page import page, paired
from benchmarks.losses import run


def table(tmp_path, **columns):
    import pandas as pd

    rng = np.random.default_rng(0)
    X = rng.random((400, 3))
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(target=np.sin(6 * X[:, 0]) + 0.1 * X[:, 1], **columns)
    frame.to_parquet(tmp_path / "some.parquet")
    return read(str(tmp_path / "some.parquet"))[0]


def test_rows_to_stop_by_are_of_the_training_rows(tmp_path):
    case = table(tmp_path).case("squared_error", 3, 300)
    stopped = case.to_stop(3)
    assert case.stop is None and len(case.test) == 75
    assert len(stopped.stop) == 45
    np.testing.assert_array_equal(np.sort(np.concatenate([stopped.train, stopped.stop])), np.sort(case.train))
    np.testing.assert_array_equal(stopped.test, case.test)


def test_queries_are_not_torn_apart():
    import pandas as pd

    groups = np.repeat(np.arange(40), 10)
    queries = Table("q", "ranking", pd.DataFrame({"a": np.arange(400.0)}), np.arange(400.0) % 3, groups=groups)
    case = queries.case("lambdarank", 0, 10).to_stop(0)
    parts = [set(groups[rows]) for rows in (case.train, case.stop, case.test)]
    assert sum(map(len, parts)) == 40 and set.union(*parts) == set(range(40))


def test_libraries_are_told_alike_unless_their_own_counts():
    assert Work().unless_own(a=1) == {"a": 1}
    assert Work(own=True).unless_own(a=1) == {}


@pytest.mark.parametrize("view", ["equal", "stopped", "own"])
def test_every_installed_library_takes_every_view(tmp_path, view):
    case = table(tmp_path).case("squared_error", 0, 400)
    if view == "stopped":
        case = case.to_stop(0)
    records = []
    for library in LIBRARIES:
        try:
            records.append(run(case, library, Work(trees=25, leaves=7, threads=1, own=view == "own")))
        except (Missing, ModuleNotFoundError):
            continue
    assert [r["view"] for r in records] == [view] * len(records)
    spread = case.y[case.test].std()
    assert all(0 < r["score"] < 0.5 * spread for r in records)
    assert "| some |" in page(records) and "squared_error: RMSE" in page(records)


def test_made_up_tables_train():
    for made in made_up():
        case = made.case(made.losses()[0], 0, 300).to_stop(0)
        assert np.isfinite(run(case, "boostgrad", Work(trees=3, threads=1))["score"])


def records_of(**scores):
    return [
        {"view": "equal", "loss": "squared_error", "table": "t", "library": name, "seed": seed, "score": score}
        | {"cpu_seconds": 1.0, "version": "1"}
        for name, of_seeds in scores.items()
        for seed, score in enumerate(of_seeds)
    ]


def test_the_page_says_who_is_ahead():
    near, far = [1.0, 1.01, 0.99, 1.0], [2.0, 2.01, 1.99, 2.01]
    assert "| ahead |" in page(records_of(boostgrad=near, lightgbm=far))
    assert "| behind |" in page(records_of(boostgrad=far, lightgbm=near))
    assert "| level |" in page(records_of(boostgrad=near, lightgbm=[1.02, 0.99, 1.0, 0.98]))
    assert "| one seed |" in page(records_of(boostgrad=[1.0], lightgbm=[2.0]))
    text = page(records_of(boostgrad=far, **{"catboost-symmetric": near, "catboost": [3.0, 3.1, 3.0, 2.9]}))
    assert "1 behind; with symmetric trees left out 1 ahead" in text
    text = page(records_of(boostgrad=far, **{"boostgrad-symmetric": near, "catboost-symmetric": far, "lightgbm": far}))
    assert "1 level; with symmetric trees left out 1 level; symmetric trees beside CatBoost's 1 ahead" in text
    assert "best shape, where several were grown, 1 ahead." in text and "| level | +50" in text


def test_means_are_of_the_splits_that_all_have():
    assert "| t | 1 | **2** |" in page(records_of(boostgrad=[1.0, 1.0, 7.0], lightgbm=[2.0, 2.0]))


def test_paired_differences_know_of_overlap():
    mean, error = paired({0: 1.0, 1: 2.0, 2: 4.0}, {0: 0.0, 1: 0.0, 2: 1.0, 3: 9.0})
    assert mean == 2.0
    assert error == pytest.approx(np.sqrt(1.0 * (1 / 3 + 1 / 3)))
