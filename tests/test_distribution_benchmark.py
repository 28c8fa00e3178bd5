"""The comparison of distributions: what is measured, and what the page makes of it."""

import numpy as np
import pytest

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

from scipy.stats import norm, poisson

from benchmarks.distributions import DISTRIBUTIONS, LIBRARIES, STOPPED, VIEWS, crps, main, measured, nll, page
from benchmarks.loss_cases import Case, Table, normal_crps
from benchmarks.loss_libraries import Work


def table(loss, rng):
    import pandas as pd

    X = pd.DataFrame(rng.random((400, 3)), columns=["a", "b", "c"])
    X["d"] = pd.Categorical(np.array(["x", "y"])[rng.integers(0, 2, 400)])
    mean = np.exp(np.sin(6 * X["a"]))
    y = rng.poisson(mean) if loss == "poisson_nll" else rng.gamma(10.0, mean / 10)
    return Table("some", "poisson" if loss == "poisson_nll" else "regression", X, y.astype(np.float64))


def test_crps_is_that_of_the_formula():
    rng = np.random.default_rng(0)
    mean, deviation, y = rng.standard_normal(500), rng.random(500) + 0.1, 2 * rng.standard_normal(500)
    rows = np.arange(500)
    case = Case("t", "normal_nll", None, y, rows, rows)
    assert crps(norm(mean, deviation), y) == pytest.approx(normal_crps(case, (mean, deviation)), rel=1e-3)
    y = rng.poisson(3.0, 500).astype(float)
    k = np.arange(60)
    sums = ((poisson.cdf(k, 3.0) - (y[:, None] <= k)) ** 2).sum(axis=1)  # the definition
    assert crps(poisson(np.full(500, 3.0)), y) == pytest.approx(sums.mean(), rel=2e-3)


@pytest.mark.parametrize("loss", DISTRIBUTIONS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_both_libraries_take_every_view(loss, library):
    pytest.importorskip(library)
    whole = table(loss, np.random.default_rng(1))
    assert DISTRIBUTIONS[loss][1](whole)
    constant = whole.y.mean()
    for view in VIEWS:
        case = whole.case(loss, 0, 400)
        case = case.to_stop(0) if view in STOPPED else case
        record = measured(case, library, view, Work(trees=40, leaves=4, threads=1))
        y = case.y[case.test]
        assert record["view"] == view and record["rounds"] > 0 and record["n_test"] == 100
        assert record["crps"] < np.abs(y - constant).mean() and np.isfinite(record["nll"])
    assert nll(norm(0.0, 1.0), np.zeros(3)) == pytest.approx(0.5 * np.log(2 * np.pi))


def records(ours, theirs, **more):
    shared = {"view": "equal", "loss": "normal_nll", "table": "t", "n_train": 6000, "rounds": 100, "predict": 0.1}
    return [
        shared | {"library": library, "seed": seed, "nll": value, "crps": value, "fit": fit} | more
        for library, values, fit in (("boostgrad", ours, 0.5), ("ngboost", theirs, 20.0))
        for seed, value in enumerate(values)
    ]


def test_the_page_says_who_is_ahead_and_how_many_times_faster():
    text = page(records([1.0, 1.01, 1.0], [2.0, 2.01, 2.01]))
    assert "| t | normal | 6,000 | 100 / 100 | 1.003 / 2.007 | **+1.003 ± 0.005** |" in text
    assert "| 0.5 / 20 | 40 | 100 / 100 | 1 |" in text and "Fits: 40 to 40 times" in text
    assert "| -0.003 ± " in page(records([1.0, 1.01, 1.0], [1.0, 1.0, 1.0]))
    assert "| 1.000 / 1.100 | +0.100 |" in page(records([1.0, 7.0], [1.1]))  # the splits that both have


def test_the_command_runs_without_tables(capsys):
    pytest.importorskip("ngboost")
    main([])
    assert "Versions: ngboost" in capsys.readouterr().out
