"""The door to the compiled kernels: which instruction set runs, and the one thread pool of the process.

The set is chosen when this module is first imported: the best that the processor has, or the one that the environment
variable ``BOOSTGRAD_ISA`` names (``baseline``, ``avx2``, ``avx512``). The model is the same bytes for all of them.
"""

import os
from contextvars import copy_context

cdef const bg_kernels *chosen = NULL


cdef const bg_kernels *kernels() noexcept nogil:
    return chosen


cdef void parallel_for(bg_task task, void *context, int64_t n_chunks, int n_threads) noexcept nogil:
    bg_parallel_for(task, context, n_chunks, n_threads)


cdef class Calls:
    """Those of :func:`call_each`."""

    cdef object function
    cdef list items, contexts, found
    cdef object error


cdef void call_one(void *context, int64_t number, int worker) noexcept with gil:
    cdef Calls calls = <Calls> context
    if calls.error is not None:
        return
    try:
        calls.found[number] = calls.contexts[number].run(calls.function, calls.items[number])
    except BaseException as error:  # Ctrl-C, too, which no error may hide
        if calls.error is None or isinstance(calls.error, Exception) and not isinstance(error, Exception):
            calls.error = error


def call_each(function, items, int n_threads) -> list:
    """``[function(item) for item in items]`` by threads of the pool, each of which takes the next item when it is
    through with one. What the caller set in context variables holds there, too. The first error is raised when all who
    are at work are through; no more items are begun then."""
    cdef Calls calls = Calls()
    cdef int64_t n_items
    calls.function = function
    calls.items = list(items)
    n_items = len(calls.items)
    calls.contexts = [copy_context() for _ in range(n_items)]  # a thread cannot enter one that another is in
    calls.found = [None] * n_items
    with nogil:
        parallel_for(call_one, <void *> calls, n_items, n_threads)
    if calls.error is not None:
        raise calls.error
    return calls.found


def isa() -> str:
    """Name of the instruction set that the kernels use."""
    return chosen.name.decode()


def available_isas() -> list[str]:
    """Names of the instruction sets that this build has and this processor can run, the best one first."""
    return [name for name in ("avx512", "avx2", "baseline") if bg_select(name.encode()) != NULL]


def use_isa(str name) -> None:
    """Switch to another instruction set, for tests and measurements; not while another thread fits or predicts.

    Raises
    ------
    ValueError
        If this build or this processor does not have it.
    """
    global chosen
    cdef bytes encoded = name.encode()
    cdef const bg_kernels *found = bg_select(encoded)
    if found == NULL:
        raise ValueError(f"instruction set {name!r} is not available here; choose one of {available_isas()}")
    chosen = found


def threading() -> str:
    """What carries the threads of this build: ``"pthreads"``, ``"openmp"`` or ``"serial"``."""
    return bg_threading().decode()


chosen = bg_select(NULL)
if os.environ.get("BOOSTGRAD_ISA"):
    try:
        use_isa(os.environ["BOOSTGRAD_ISA"])
    except ValueError as error:
        raise ImportError(f"environment variable BOOSTGRAD_ISA: {error}") from None
