"""Threads and random streams."""

import os

import joblib
import numpy as np
import pytest

from boostgrad.runtime import MOST_THREADS, effective_threads, seed_of, stream


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("LOKY_MAX_CPU_COUNT", raising=False)


@pytest.fixture
def eight(monkeypatch):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 8)


def test_a_positive_number_is_taken_as_it_is(eight, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert effective_threads(1) == 1 and effective_threads(100) == 100 and effective_threads(np.int64(3)) == 3
    assert effective_threads(10**9) == MOST_THREADS
    assert type(effective_threads(np.int64(3))) is int


@pytest.mark.parametrize("n_jobs, expected", [(-1, 8), (-2, 7), (-8, 1), (-9, 1), (-(10**9), 1)])
def test_negative_numbers_count_from_all_processors(eight, monkeypatch, n_jobs, expected):
    assert effective_threads(n_jobs) == expected
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert effective_threads(n_jobs) == expected


@pytest.mark.parametrize(
    "text, expected",
    [("3", 3), ("100", 8), ("3,2", 3), (" 4 ", 4), ("", 8), ("0", 8), ("-1", 8), ("many", 8), ("\u00b2", 8)],
)
def test_none_listens_to_the_environment(eight, monkeypatch, text, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert effective_threads(None) == expected


def test_none_takes_what_the_process_may_use(eight):
    assert effective_threads(None) == 8


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no processor affinity on this system")
def test_none_respects_affinity():
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert effective_threads(None) == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_workers_of_joblib_get_few_threads():
    counts = joblib.Parallel(n_jobs=2, backend="loky")(joblib.delayed(effective_threads)(None) for _ in range(4))
    assert max(counts) <= max(1, joblib.cpu_count() // 2)


def test_streams_are_independent_and_repeat():
    one, again, other, elsewhere = stream(7, "bins"), stream(7, "bins"), stream(7, "rows"), stream(8, "bins")
    numbers = one.random(1000)
    np.testing.assert_array_equal(numbers, again.random(1000))
    for stranger in (other, elsewhere):
        assert abs(np.corrcoef(numbers, stranger.random(1000))[0, 1]) < 0.15


def test_a_stream_does_not_move_when_another_is_drawn_from():
    expected = stream(1, "a").random(5)
    stream(1, "b").random(100)
    np.testing.assert_array_equal(stream(1, "a").random(5), expected)


def test_a_stream_never_changes_between_versions():
    assert stream(0, "bins").integers(0, 1000, 5).tolist() == [275, 745, 984, 945, 853]


def test_seeds():
    assert seed_of(5) == 5 and seed_of(np.int64(5)) == 5 and type(seed_of(np.int64(5))) is int
    assert seed_of(2**32 - 1) == 2**32 - 1
    assert seed_of(np.random.RandomState(0)) == seed_of(np.random.RandomState(0))
    source = np.random.RandomState(0)
    assert seed_of(source) != seed_of(source)
    state = np.random.get_state()
    try:
        np.random.seed(3)
        first = seed_of(None)
        np.random.seed(3)
        assert seed_of(None) == first and 0 <= first < 2**31
    finally:
        np.random.set_state(state)
