"""Threads and random streams: what every room may ask for and none may decide by itself."""

from __future__ import annotations

import os
import zlib
from numbers import Integral

import numpy as np

# No call uses more threads than this, whatever is asked for: each of them needs memory of its own.
MOST_THREADS = 1024


def effective_threads(n_jobs: int | None) -> int:
    """How many threads a call may use.

    Parameters
    ----------
    n_jobs : int or None
        A positive number is taken as it is, up to ``MOST_THREADS``. None: the processors that the process may use
        (affinity, cgroup quota), fewer where ``OMP_NUM_THREADS`` or a surrounding joblib worker says so. -1: as None
        without looking at those; -2: one fewer, and so on.

    Returns
    -------
    int
        At least 1.
    """
    if n_jobs is not None and n_jobs > 0:
        return min(int(n_jobs), MOST_THREADS)
    import joblib

    processors = joblib.cpu_count()
    if n_jobs is not None:
        return max(1, processors + 1 + int(n_jobs))
    limits = [processors]
    for variable in ("OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT"):
        text = os.environ.get(variable, "").split(",")[0].strip()
        if text.isdecimal() and int(text) > 0:
            limits.append(int(text))
    return min(limits)


def seed_of(random_state) -> int:
    """A seed for :func:`stream` from what scikit-learn calls a ``random_state``."""
    from sklearn.utils import check_random_state

    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(0, 2**31 - 1))


def stream(seed: int, name: str) -> np.random.Generator:
    """The random stream of that name: a new name never moves the numbers of the others."""
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))
