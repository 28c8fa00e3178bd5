"""Ordered target statistics against their slow twin, and the prior."""

import numpy as np
import pytest

from boostgrad.data import ordered
from boostgrad.data.binning import BinMapper
from boostgrad.data.columns import Columns
from boostgrad.data.ordered import OrderedStatistics, chunk_bounds
from boostgrad.data.statistics import PRIOR_ROWS, columns_with_statistics, prior_of
from tests import reference


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("constant", [False, True])
def test_ordered_statistics_are_exact(seed, constant, n_threads, monkeypatch):
    monkeypatch.setattr(ordered, "CHUNK_ROWS", 50)
    rng = np.random.default_rng(seed)
    n, n_levels = 3000, 40
    levels = np.minimum(rng.integers(-1, 60, n), n_levels - 3).astype(np.int32)  # one has many rows, two have none
    gradient, hessian = rng.normal(size=(2, n)), rng.random((2, n)) + 0.1
    prior = [1.5, 20.0]
    statistics = OrderedStatistics(levels, n_levels, gradient, 0.25 if constant else hessian, prior, seed)
    for number in (0, 7):
        found = statistics.values(number, n_threads)
        for k in range(2):
            h = np.full(n, 0.25) if constant else hessian[k]
            expected = reference.ordered_statistics(levels.tolist(), gradient[k], h, prior[k], seed, number)
            np.testing.assert_array_equal(found[k], expected)
        assert (np.isnan(found) == (levels < 0)).all()
        assert (found == 0).sum(axis=1).tolist() == [len(np.unique(levels[levels >= 0]))] * 2  # one row has none before


@pytest.mark.parametrize("max_bins", [20, 700])
def test_codes_are_those_of_the_values(max_bins):
    rng = np.random.default_rng(0)
    levels = rng.integers(-1, 30, 5000).astype(np.int32)
    statistics = OrderedStatistics(levels, 30, rng.normal(size=(2, 5000)), 1.0, [3.0, 3.0], 1)
    columns = Columns([*statistics.values(0), rng.normal(size=5000)], 5000, None)
    mapper = BinMapper.fit(columns, max_bins=max_bins)
    matrix = mapper.transform(columns)
    again = mapper.transform(Columns([*statistics.values(5), columns[2]], 5000, None))
    assert (matrix.by_column != again.by_column).any(axis=1).tolist() == [True, True, False]
    statistics.recode(5, matrix, mapper.table, np.array([0, 1]), 2)
    np.testing.assert_array_equal(matrix.by_column, again.by_column)


def test_orders_are_random():
    """Every row of a level is first about equally often, and orders differ from level to level."""
    levels = np.repeat(np.arange(2, dtype=np.int32), 5)
    statistics = OrderedStatistics(levels, 2, np.ones((1, 10)), 1.0, [1.0], 3)
    first = np.array([statistics.values(number)[0] == 0 for number in range(2000)])
    assert (abs(first.mean(axis=0) - 0.2) < 0.05).all()
    assert 0.1 < (first[:, :5] == first[:, 5:]).all(axis=1).mean() < 0.3


def test_chunks_cover_all_levels():
    begin = np.array([0, 0, 3, 60_000, 60_000, 60_001])
    assert chunk_bounds(begin).tolist() == [0, 3, 5]
    assert chunk_bounds(np.array([0])).tolist() == [0]
    assert OrderedStatistics(np.full(4, -1, np.int32), 1, np.ones((1, 4)), 1.0, [1.0], 0).values(0).shape == (1, 4)


def test_prior_is_the_ratio_of_variances(seed):
    rng = np.random.default_rng(seed)
    levels = np.repeat(np.arange(2000, dtype=np.int32), 10)
    effect = 0.5 * rng.normal(size=2000)
    gradient, one = effect[levels] + rng.normal(size=20_000), np.ones(20_000)
    assert 3.3 < prior_of(gradient, one, levels, 2000) < 4.9  # 1 / 0.25
    assert 3.3 < prior_of(gradient * 6, 2 * one, levels, 2000) / 2 < 4.9  # in units of the hessian
    weight = rng.integers(1, 3, 20_000).astype(float)
    assert prior_of(weight * rng.normal(size=20_000), weight, levels, 2000) > 50  # there is nothing to know
    assert prior_of(one, one, np.arange(20_000, dtype=np.int32), 20_000) == PRIOR_ROWS[0]  # nothing can be said
    assert prior_of(one[:5], one[:5], np.zeros(5, np.int32), 1) == PRIOR_ROWS[0]


def test_which_columns_have_statistics():
    columns = Columns([None] * 5, 1000, None, (0, 5, 40, 299, 300))
    assert columns_with_statistics(columns, 1000, "never") == []
    assert columns_with_statistics(columns, 1000, "always") == [1, 2, 3, 4]
    assert columns_with_statistics(columns, 1000, "auto") == [2, 3, 4]
    assert columns_with_statistics(columns, 10**6, "auto") == [4]
    assert columns_with_statistics(Columns([None], 1000, None), 1000, "always") == []
