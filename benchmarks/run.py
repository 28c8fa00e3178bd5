"""How it is measured: each fit in a process of its own, libraries taking turns, one JSON line for each fit.

::

    python -m benchmarks.run --problem binary-1m --library boostgrad lightgbm --threads 2 --repeat 3 --out runs.jsonl

The parent makes a problem once and leaves its arrays in a temporary folder. A child loads them, imports one library,
marks its memory, starts the clock and fits. A library that is missing, fails or takes too long leaves a record with
an ``error``.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import gc
import importlib
import importlib.metadata
import json
import os
import pathlib
import platform
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

if not __package__:  # run as a file: find the siblings, then let installed packages go before this checkout
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])
    from benchmarks import libraries, problems

    sys.path.append(sys.path.pop(0))
else:
    from benchmarks import libraries, problems

ARRAYS = ("X_train", "y_train", "X_test", "y_test")

#: Environment variables that OpenMP, BLAS and Rust thread pools read when they start.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


# -- the child: one fit ------------------------------------------------------------------------------------------------


class PeakMemory:
    """Peak resident memory above what it was when this object was made, in MB.

    Linux can forget its high-water mark; elsewhere the process's maximum so far is what the fit has to exceed, so a
    fit that stays below it counts as 0.
    """

    def __init__(self):
        gc.collect()
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


def one_row_microseconds(fitted: libraries.Fitted, X: np.ndarray, n_rows: int = 300, limit: float = 3.0) -> float:
    """Median time to predict one row, over other rows each time, after a few to warm up."""
    rows = [X[i % len(X)].copy() for i in range(n_rows)]
    call = fitted.predict_row
    if call is None:
        call, rows = fitted.predict, [row[None, :] for row in rows]
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


def scores(task: str, y: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """Held-out scores: AUC and log-loss, or log-loss and accuracy, or RMSE."""
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


def version(library: libraries.Library, module) -> str | None:
    """Version as pip knows it, or, in a checkout that is not installed, as the module says."""
    try:
        return importlib.metadata.version(library.distribution)
    except importlib.metadata.PackageNotFoundError:
        return getattr(module, "__version__", None)


def measure(problem: problems.Problem, library: libraries.Library, n_threads: int) -> dict:
    """Fit once and measure all that a record says of a fit."""
    start = time.perf_counter()
    module = importlib.import_module(library.module)
    record = {"import_seconds": time.perf_counter() - start, "version": version(library, module)}

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
        score=scores(problem.task, problem.y_test, prediction),
        predict_seconds=median_seconds(lambda: fitted.predict(problem.X_test)),
        predict_rows=len(problem.X_test),
        one_row_us=one_row_microseconds(fitted, problem.X_test),
    )
    record["n_trees"], record["n_leaves"] = (int(count) for count in fitted.size())
    return record


def boostgrad_isa() -> str | None:
    """The instruction set that boostgrad's kernels run on, where it can say."""
    try:
        return importlib.import_module("boostgrad.native").isa()
    except Exception:
        return None


def child(folder: str) -> None:
    """Do what ``task.json`` in the folder says and write ``record.json`` beside it."""
    folder = pathlib.Path(folder)
    task = json.loads((folder / "task.json").read_text())
    arrays = {name: np.load(folder / f"{name}.npy") for name in ARRAYS}
    problem = problems.Problem(task["problem"], task["task"], work=problems.Work(**task["work"]), **arrays)
    try:
        record = measure(problem, libraries.LIBRARIES[task["library"]], task["threads"])
        if task["library"] == "boostgrad":
            record["isa"] = boostgrad_isa()
    except Exception as error:
        record = {"error": f"{type(error).__name__}: {error}"}
    (folder / "record.json").write_text(json.dumps(record))


# -- the parent: who goes when -----------------------------------------------------------------------------------------


def machine() -> dict:
    """What the numbers depend on besides the libraries."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": model, "cores": cores, "system": platform.system(), "python": platform.python_version()}


@contextlib.contextmanager
def busy_core(wanted: bool):
    """Keep one core busy from another process while the block runs."""
    if not wanted:
        yield
        return
    code = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(1_000_000))"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def run_one(folder: pathlib.Path, task: dict, timeout: float) -> dict:
    """One fit in a fresh process; whatever happens there, a record comes back."""
    (folder / "task.json").write_text(json.dumps(task))
    (folder / "record.json").unlink(missing_ok=True)
    environment = os.environ | {name: str(task["threads"]) for name in THREAD_VARIABLES}
    command = [sys.executable, str(pathlib.Path(__file__).resolve()), "--child", str(folder)]
    try:
        done = subprocess.run(command, env=environment, timeout=timeout, capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        return {"error": f"took more than {timeout:g} s"}
    try:
        return json.loads((folder / "record.json").read_text())
    except (OSError, ValueError):
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"error": f"the process ended with status {done.returncode}: {last}"}


def run_problem(problem: problems.Problem, names: list[str], options: argparse.Namespace):
    """Yield a record for each fit: all libraries once, then all again, so that slow drift hits them alike."""
    work = dataclasses.asdict(problem.work)
    setting = {"n_train": len(problem.y_train), "n_features": problem.X_train.shape[1], "n_classes": problem.n_classes}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        folder = pathlib.Path(folder)
        for name in ARRAYS:
            np.save(folder / f"{name}.npy", getattr(problem, name))
        task = {"problem": problem.name, "task": problem.task, "work": work, "threads": options.threads}
        setting.update(seed=options.seed, busy=options.busy)
        del problem
        for repeat in range(options.repeat):
            for name in names:
                now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
                record = {"library": name, **task, **setting, "repeat": repeat, "time": now, "machine": machine()}
                yield record | run_one(folder, {**task, "library": name}, options.timeout)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description="Fit each library on each problem, each time in a fresh process; one JSON line for each fit.",
        epilog="problems: " + ", ".join(problems.PROBLEMS) + "; libraries: " + ", ".join(libraries.LIBRARIES),
    )
    parser.add_argument("--problem", nargs="+", default=[], choices=problems.PROBLEMS, metavar="NAME")
    parser.add_argument("--parquet", nargs="+", default=[], metavar="PATH", help="files with a target column")
    parser.add_argument("--task", choices=("binary", "multiclass", "regression"), help="of the Parquet files")
    parser.add_argument(
        "--library", nargs="+", default=list(libraries.LIBRARIES), choices=libraries.LIBRARIES, metavar="NAME"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of the problem's data, or of a file's split")
    parser.add_argument("--trees", type=int, help="boosting iterations")
    parser.add_argument("--leaves", type=int, help="leaves of a tree at most")
    parser.add_argument("--policy", choices=("leafwise", "depthwise"))
    parser.add_argument("--depth", type=int, help="greatest depth; without --leaves trees may be full")
    parser.add_argument("--bins", type=int)
    parser.add_argument("--busy", action="store_true", help="keep one core busy in another process")
    parser.add_argument("--timeout", type=float, default=1800.0, help="seconds for one process")
    parser.add_argument("--out", metavar="FILE", help="JSON lines are added to it; default: standard output")
    parser.add_argument("--child", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if not (options.problem or options.parquet or options.child):
        parser.error("name a --problem or a --parquet file")
    return options


def summary(record: dict) -> str:
    """A record in one line, to watch a run go by."""
    head = f"{record['problem']:<18} {record['library']:<20}"
    if "error" in record:
        return f"{head} {record['error']}"
    score = "  ".join(f"{name} {value:.5f}" for name, value in record["score"].items())
    return f"{head} {record['seconds']:8.3f} s  +{record['peak_mb']:.0f} MB  {score}"


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    if options.child:
        child(options.child)
        return
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(open(options.out, "a")) if options.out else sys.stdout
        stack.enter_context(busy_core(options.busy))
        for source in options.problem + options.parquet:
            if source in options.problem:
                problem = problems.make(source, options.seed)
            else:
                problem = problems.load_parquet(source, options.seed, options.task)
            work = problem.work.changed(options.trees, options.leaves, options.policy, options.depth, options.bins)
            for record in run_problem(dataclasses.replace(problem, work=work), options.library, options):
                print(json.dumps(record), file=out, flush=True)
                print(summary(record), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
