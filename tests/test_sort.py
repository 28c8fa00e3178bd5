"""The sort of scores."""

import numpy as np
import pytest

from boostgrad._order import descending


@pytest.mark.parametrize("n_rows", [1, 2, 100, 511, 512, 513, 5000, 40_000])
def test_it_is_that_of_numpy(n_rows, seed):
    rng = np.random.default_rng(seed)
    wide = rng.normal(size=n_rows) * 10.0 ** rng.integers(-300, 300, n_rows)
    extremes = rng.choice([np.inf, -np.inf, 0.0, -0.0, 5e-324, -5e-324, 1.8e308, 1.0], n_rows)
    for score in (
        rng.normal(size=n_rows),
        np.round(wide, 1),
        wide,
        extremes,
        np.zeros(n_rows),
        np.arange(n_rows) * 1.0,
    ):
        order = descending(score)
        assert order.dtype == np.intp
        np.testing.assert_array_equal(order, np.argsort(-score, kind="stable"))
    assert (descending(rng.normal(size=(n_rows, 2))[:, 0]) >= 0).all()  # any layout
