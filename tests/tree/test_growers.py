"""Trees side by side are the trees that come one after the other."""

import threading

import numpy as np
import pytest

from boostgrad.params import TreeParams
from boostgrad.tree.growers import Growers
from tests import reference


def growers_for(matrix, n_trees, n_threads):
    return Growers(matrix, reference.edges_between(matrix), TreeParams(), n_trees, n_threads, 0)


@pytest.mark.parametrize(
    ("n_trees", "n_threads", "expected"),
    [(1, 1, 1), (1, 2, 1), (2, 2, 2), (3, 2, 1), (4, 2, 2), (5, 2, 2), (10, 2, 2), (10, 4, 4), (10, 8, 1), (9, 1, 1)],
)
def test_a_thread_has_a_grower_where_few_turns_are_wasted(n_trees, n_threads, expected):
    matrix = reference.binned(np.random.default_rng(0).integers(0, 5, (50, 2)))
    growers = growers_for(matrix, n_trees, n_threads)
    assert growers.idle.qsize() == expected
    assert (growers.pool is None) == (expected == 1)
    growers.close()
    assert not Growers.worth_it(10, 2, 2**30)  # a copy of the codes each is too much there


def test_results_come_in_order_and_errors_come_through():
    matrix = reference.binned(np.random.default_rng(0).integers(0, 5, (50, 2)))
    growers = growers_for(matrix, 8, 2)
    both = threading.Barrier(2, timeout=20)

    def grow(grower, output):
        both.wait()  # two at a time, or this breaks
        return grower, output

    results = growers.each(grow, range(8))
    assert [output for _, output in results] == list(range(8))
    assert len({id(grower) for grower, _ in results}) == 2

    def fail(grower, output):
        raise ValueError(f"output {output}")

    with pytest.raises(ValueError, match="output 0"):
        growers.each(fail, range(8))
    assert growers.idle.qsize() == 2
    growers.close()
    assert not any(thread.name.startswith("boostgrad") for thread in threading.enumerate())
