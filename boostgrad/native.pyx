"""The door to the compiled kernels: which instruction set runs, and the one thread pool of the process.

The set is chosen when this module is first imported: the best that the processor has, or the one that the environment
variable ``BOOSTGRAD_ISA`` names (``baseline``, ``avx2``, ``avx512``). The model is the same bytes for all of them.
"""

import os

cdef const bg_kernels *chosen = NULL


cdef const bg_kernels *kernels() noexcept nogil:
    return chosen


cdef void parallel_for(bg_task task, void *context, int64_t n_chunks, int n_threads) noexcept nogil:
    bg_parallel_for(task, context, n_chunks, n_threads)


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
