"""What is measured of a library: a fit, predictions, or binning alone; each in a process of its own.

A measure is a function ``(problem, library, n_threads)`` that returns the fields of a record. In each of them
``seconds`` is what the measure is about, and ``peak_mb`` the memory that it took.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import importlib.metadata
import os
import pathlib
import platform
import resource
import sys
import threading
import time

import numpy as np

from benchmarks.libraries import Fitted, Library
from benchmarks.problems import Problem

# -- instruments -------------------------------------------------------------------------------------------------------


class PeakMemory:
    """Peak resident memory above what it was when this object was made, in MB.

    Linux can forget its high-water mark; elsewhere the process's maximum so far is what the fit has to exceed, so a
    fit that stays below it counts as 0.
    """

    def __init__(self):
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):  # what was freed must not hide what comes
            ctypes.CDLL(None).malloc_trim(0)
        try:
            pathlib.Path("/proc/self/clear_refs").write_text("5")
            self._start = self._status("VmRSS")
            self.method = "VmHWM"
        except OSError:
            self._start = self._max_rss()
            self.method = "ru_maxrss"

    def megabytes(self) -> float:
        now = self._status("VmHWM") if self.method == "VmHWM" else self._max_rss()
        return max(now - self._start, 0) / 1024.0

    @staticmethod
    def _status(key: str) -> int:
        for line in pathlib.Path("/proc/self/status").read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1])
        raise OSError(f"no {key} in /proc/self/status")

    @staticmethod
    def _max_rss() -> float:
        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return size / 1024.0 if sys.platform == "darwin" else size


def cpu_seconds() -> float:
    """User and system time of this process, all threads together."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def median_seconds(call, repeat: int = 3) -> float:
    """Median wall time of ``call()``."""
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def one_row_microseconds(call, rows: list[np.ndarray], limit: float = 3.0) -> float:
    """Median time of ``call(row)``, over other rows each time, after a few to warm up."""
    seconds = []
    deadline = time.perf_counter() + limit
    for row in rows:
        start = time.perf_counter()
        call(row)
        end = time.perf_counter()
        seconds.append(end - start)
        if end > deadline:
            break
    return 1e6 * float(np.median(seconds[min(20, len(seconds) // 2) :]))


def one_row(fitted: Fitted, X: np.ndarray, n_rows: int = 300) -> dict[str, float | None]:
    """One row by the call that predicts any table, and by the library's own way for single rows if it has one."""
    rows = [X[i % len(X)].copy() for i in range(n_rows)]
    prepared = None if fitted.predict_row is None else one_row_microseconds(fitted.predict_row, rows)
    public = one_row_microseconds(fitted.predict, [row[None, :] for row in rows])
    return {"one_row_us": public, "prepared_row_us": prepared}


def rows_per_second(predict, X: np.ndarray, n_threads: int, batch: int = 4096, seconds: float = 1.0) -> float:
    """Rows that so many Python threads predict together, each for itself, in batches of some milliseconds or less."""
    starts = range(0, max(len(X) - batch, 1), batch)
    counts = [0] * n_threads
    gate = threading.Barrier(n_threads + 1)

    def serve(number: int) -> None:
        gate.wait()
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            for start in starts[number::n_threads][:20]:
                counts[number] += len(predict(X[start : start + batch]))

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(n_threads)]
    for thread in threads:
        thread.start()
    gate.wait()
    begin = time.perf_counter()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - begin)


def ndcg(relevance: np.ndarray, score: np.ndarray, groups: np.ndarray, k: int = 10) -> float:
    """Mean NDCG@k of the queries that have a relevant row, by scikit-learn's definition with gains 2^relevance - 1."""
    from sklearn.metrics import ndcg_score

    values = []
    for rows in np.split(np.arange(len(groups)), np.flatnonzero(np.diff(groups)) + 1):
        gains = np.exp2(relevance[rows].astype(np.float64)) - 1
        if len(rows) > 1 and gains.any():
            values.append(ndcg_score([gains], [score[rows]], k=k))
    return float(np.mean(values))


def scores(task: str, y: np.ndarray, prediction: np.ndarray, groups: np.ndarray | None = None) -> dict[str, float]:
    """Held-out scores: AUC and log-loss, or log-loss and accuracy, or RMSE, or NDCG@10."""
    if task == "ranking":
        return {"ndcg10": ndcg(y, prediction.astype(np.float64), groups)}
    if task == "regression":
        return {"rmse": float(np.sqrt(np.mean((prediction.ravel() - y.astype(np.float64)) ** 2)))}
    from sklearn.metrics import log_loss, roc_auc_score

    prediction = prediction.astype(np.float64)
    if task == "binary":
        return {"auc": float(roc_auc_score(y, prediction)), "logloss": float(log_loss(y, prediction))}
    prediction /= prediction.sum(axis=1, keepdims=True)
    return {
        "mlogloss": float(log_loss(y, prediction, labels=np.arange(prediction.shape[1]))),
        "accuracy": float(np.mean(prediction.argmax(axis=1) == y)),
    }


def version(library: Library, module) -> str | None:
    """Version as pip knows it, or, in a checkout that is not installed, as the module says."""
    try:
        return importlib.metadata.version(library.distribution)
    except importlib.metadata.PackageNotFoundError:
        return getattr(module, "__version__", None)


def boostgrad_isa() -> str | None:
    """The instruction set that boostgrad's kernels run on, where it can say."""
    try:
        return importlib.import_module("boostgrad.native").isa()
    except Exception:
        return None


def machine() -> dict:
    """What the numbers depend on besides the libraries."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": model, "cores": cores, "system": platform.system(), "python": platform.python_version()}


# -- measures ----------------------------------------------------------------------------------------------------------


def imported(library: Library) -> dict:
    """Import the library, before any clock starts."""
    start = time.perf_counter()
    module = importlib.import_module(library.module)
    return {"import_seconds": time.perf_counter() - start, "version": version(library, module)}


def fit(problem: Problem, library: Library, n_threads: int) -> dict:
    """From the raw array to the model; then held-out scores, and a look at predictions."""
    record = imported(library)
    memory = PeakMemory()
    cpu, start = cpu_seconds(), time.perf_counter()
    fitted = library.fit(problem, problem.work, n_threads)
    end = time.perf_counter()
    record.update(
        seconds=end - start,
        prepare_seconds=None if fitted.prepared is None else fitted.prepared - start,
        train_seconds=None if fitted.prepared is None else end - fitted.prepared,
        cpu_seconds=cpu_seconds() - cpu,
        peak_mb=memory.megabytes(),
        peak_method=memory.method,
    )
    prediction = np.asarray(fitted.predict(problem.X_test))
    record.update(
        score=scores(problem.task, problem.y_test, prediction, problem.groups_test),
        predict_seconds=median_seconds(lambda: fitted.predict(problem.X_test)),
        predict_rows=len(problem.X_test),
        **one_row(fitted, problem.X_test),
    )
    record["n_trees"], record["n_leaves"] = (int(count) for count in fitted.size())
    return record


def predict(problem: Problem, library: Library, n_threads: int) -> dict:
    """All held-out rows at once, and one at a time; with one thread also batches, from one and two Python threads."""
    record = imported(library)
    start = time.perf_counter()
    fitted = library.fit(problem, problem.work, n_threads)
    record["fit_seconds"] = time.perf_counter() - start

    memory = PeakMemory()
    prediction = np.asarray(fitted.predict(problem.X_test))
    record.update(
        peak_mb=memory.megabytes(),
        peak_method=memory.method,
        input_mb=problem.X_test.nbytes / 2**20,
        output_mb=prediction.nbytes / 2**20,
    )
    cpu = cpu_seconds()
    record["seconds"] = median_seconds(lambda: fitted.predict(problem.X_test))
    record["cpu_seconds"] = (cpu_seconds() - cpu) / 3
    record.update(score=scores(problem.task, problem.y_test, prediction), **one_row(fitted, problem.X_test))
    if n_threads == 1:
        for callers in (1, 2):
            record[f"rows_per_second_{callers}"] = rows_per_second(fitted.predict, problem.X_test, callers)
    record["n_trees"], record["n_leaves"] = (int(count) for count in fitted.size())
    return record


def binning(problem: Problem, library: Library, n_threads: int) -> dict:
    """From the raw array to the library's binned form of it."""
    if library.bin is None:
        raise ValueError("its binning cannot be called by itself")
    record = imported(library)
    memory = PeakMemory()
    cpu, start = cpu_seconds(), time.perf_counter()
    binned = library.bin(problem, problem.work, n_threads)
    record.update(
        seconds=time.perf_counter() - start,
        cpu_seconds=cpu_seconds() - cpu,
        peak_mb=memory.megabytes(),
        peak_method=memory.method,
    )
    del binned
    return record


MEASURES = {"fit": fit, "predict": predict, "binning": binning}
