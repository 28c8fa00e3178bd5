"""Python functions on the threads of the pool."""

import contextvars
import threading
import time

import pytest

from boostgrad import native


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_results_are_in_the_order_of_the_items(n_threads):
    assert native.call_each(lambda x: x * x, range(200), n_threads) == [x * x for x in range(200)]
    assert native.call_each(lambda x: x, iter(()), n_threads) == []


@pytest.mark.skipif(native.threading() == "serial", reason="a build without threads")
def test_each_thread_has_an_item():
    both = threading.Barrier(2, timeout=60)
    found = native.call_each(lambda x: (both.wait(), threading.get_ident()), range(2), 2)
    assert {number for number, _ in found} == {0, 1}
    assert len({thread for _, thread in found}) == 2 and threading.get_ident() in {thread for _, thread in found}


@pytest.mark.parametrize("n_threads", [1, 2])
def test_what_a_thread_calls_may_call_others(n_threads):
    def row(x):
        return native.call_each(lambda y: 10 * x + y, range(10), n_threads)

    assert native.call_each(row, range(10), n_threads) == [[10 * x + y for y in range(10)] for x in range(10)]


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("error", [ValueError, IndexError, KeyboardInterrupt, StopIteration])
def test_the_first_error_comes_through_and_nothing_is_begun_after_it(n_threads, error):
    begun = []

    def fail(x):
        begun.append(x)
        if x == 3:
            raise error("at item 3")

    with pytest.raises(error, match="at item 3"):
        native.call_each(fail, range(1000), n_threads)
    assert len(begun) < 1000 and (n_threads > 1 or begun == [0, 1, 2, 3])
    assert native.call_each(lambda x: x, range(5), n_threads) == list(range(5))


@pytest.mark.parametrize("n_threads", [1, 2])
def test_context_variables_of_the_caller_hold(n_threads):
    variable = contextvars.ContextVar("variable", default=0)
    variable.set(7)

    def own(x):
        before = variable.get()
        variable.set(x)  # for this call alone
        return before

    assert native.call_each(own, range(20), n_threads) == [7] * 20 and variable.get() == 7


@pytest.mark.skipif(native.threading() == "serial", reason="a build without threads")
@pytest.mark.parametrize("second, expected", [(KeyError, ValueError), (KeyboardInterrupt, KeyboardInterrupt)])
def test_a_later_error_hides_none_but_an_interrupt_is_never_hidden(second, expected):
    both, failed = threading.Barrier(2, timeout=60), threading.Event()

    def fail(x):
        both.wait()
        if x == 0:
            try:
                raise ValueError("first")
            finally:
                failed.set()
        failed.wait(60)
        time.sleep(0.1)
        raise second("second")

    with pytest.raises(expected):
        native.call_each(fail, [0, 1], 2)
