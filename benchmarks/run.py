"""How it is measured: each time in a process of its own, libraries taking turns, one JSON line for each process.

::

    python -m benchmarks.run --problem binary-1m --library boostgrad lightgbm --threads 2 --repeat 3 --out runs.jsonl

The parent makes a problem once and leaves its arrays in a temporary folder. A child loads them, imports one library,
and measures it as `measure` says. A library that is missing, fails or takes too long leaves a record with an
``error``.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

if not __package__:  # run as a file: find the siblings, then let installed packages go before this checkout
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])
    from benchmarks import libraries, measure, problems

    sys.path.append(sys.path.pop(0))
else:
    from benchmarks import libraries, measure, problems

ARRAYS = ("X_train", "y_train", "X_test", "y_test")

#: Those that only a ranking has.
GROUPS = ("groups_train", "groups_test")

#: Fields of a record that say what was asked, and where; the others say what came of it.
IDENTITY = (
    *("label", "library", "measure", "problem", "task", "work", "threads", "n_train", "n_test"),
    *("n_features", "seed", "busy", "repeat", "machine"),
)

#: Environment variables that OpenMP, BLAS and Rust thread pools read when they start.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


# -- the child: one measure --------------------------------------------------------------------------------------------


def child(folder: str) -> None:
    """Do what ``task.json`` in the folder says and write ``record.json`` beside it."""
    folder = pathlib.Path(folder)
    task = json.loads((folder / "task.json").read_text())
    names = ARRAYS + (GROUPS if task["task"] == "ranking" else ())
    arrays = {name: np.load(folder / f"{name}.npy") for name in names}
    problem = problems.Problem(task["problem"], task["task"], work=problems.Work(**task["work"]), **arrays)
    try:
        library = libraries.LIBRARIES[task["library"]]
        record = measure.MEASURES[task["measure"]](problem, library, task["threads"])
        if library.module == "boostgrad":
            record["isa"] = measure.boostgrad_isa()
    except Exception as error:
        record = {"error": f"{type(error).__name__}: {error}"}
    (folder / "record.json").write_text(json.dumps(record))


# -- the parent: who goes when -----------------------------------------------------------------------------------------


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
    """One measure in a fresh process; whatever happens there, a record comes back."""
    (folder / "task.json").write_text(json.dumps(task))
    (folder / "record.json").unlink(missing_ok=True)
    environment = os.environ | {name: str(task["threads"]) for name in THREAD_VARIABLES}
    isa = libraries.LIBRARIES[task["library"]].isa
    if isa is not None:
        environment["BOOSTGRAD_ISA"] = isa
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


def key(record: dict) -> str:
    """What makes two records repeats of one and the same: all that was asked, and where."""
    return json.dumps([record.get(name) for name in IDENTITY], sort_keys=True)


def run_problem(problem: problems.Problem, names: list[str], options: argparse.Namespace, done: set[str]):
    """Yield a record for each process: all libraries once, then all again, so that slow drift hits them alike.

    What has its `key` in ``done`` is left out.
    """
    task = {"measure": options.measure, "problem": problem.name, "task": problem.task}
    task |= {"work": dataclasses.asdict(problem.work), "threads": options.threads}
    setting = {"label": options.label, "n_train": len(problem.y_train), "n_test": len(problem.y_test)}
    setting |= {"n_features": problem.X_train.shape[1], "n_classes": problem.n_classes}
    setting |= {"seed": options.seed, "busy": options.busy, "machine": measure.machine()}
    turns = [{"library": name, **task, **setting, "repeat": i} for i in range(options.repeat) for name in names]
    turns = [record for record in turns if key(record) not in done]
    if not turns:
        return
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder, busy_core(options.busy):
        folder = pathlib.Path(folder)
        for name in ARRAYS + (GROUPS if problem.task == "ranking" else ()):
            np.save(folder / f"{name}.npy", getattr(problem, name))
        del problem
        for record in turns:
            record["time"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            yield record | run_one(folder, {**task, "library": record["library"]}, options.timeout)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description="Measure each library on each problem, each time in a fresh process; one JSON line each.",
        epilog="problems: " + ", ".join(problems.PROBLEMS) + "; libraries: " + ", ".join(libraries.LIBRARIES),
    )
    parser.add_argument("--problem", nargs="+", default=[], choices=problems.PROBLEMS, metavar="NAME")
    parser.add_argument("--parquet", nargs="+", default=[], metavar="PATH", help="files with a target column")
    parser.add_argument("--task", choices=("binary", "multiclass", "regression"), help="of the Parquet files")
    parser.add_argument(
        "--measure",
        choices=measure.MEASURES,
        default="fit",
        help="fit; predict: train on a few held-out rows and predict all the others; binning: alone",
    )
    parser.add_argument("--library", nargs="+", choices=libraries.LIBRARIES, metavar="NAME", help="default: all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of the problem's data, or of a file's split")
    parser.add_argument("--trees", type=int, help="boosting iterations")
    parser.add_argument("--leaves", type=int, help="leaves of a tree at most")
    parser.add_argument("--policy", choices=("leafwise", "depthwise", "symmetric"))
    parser.add_argument("--depth", type=int, help="greatest depth; without --leaves trees may be full")
    parser.add_argument("--bins", type=int)
    parser.add_argument(
        "--train-rows", type=int, default=100_000, help="rows that train where predictions are measured"
    )
    parser.add_argument("--busy", action="store_true", help="keep one core busy in another process")
    parser.add_argument("--timeout", type=float, default=1800.0, help="seconds for one process")
    parser.add_argument("--out", metavar="FILE", help="JSON lines are added to it; default: standard output")
    parser.add_argument("--resume", action="store_true", help="leave out what --out has already, failures included")
    parser.add_argument("--label", help="copied to each record")
    parser.add_argument("--child", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if not (options.problem or options.parquet or options.child):
        parser.error("name a --problem or a --parquet file")
    if options.resume and not options.out:
        parser.error("--resume needs --out")
    if options.library is None:
        options.library = [name for name, library in libraries.LIBRARIES.items() if library.isa is None]
        if options.measure == "binning":
            options.library = [name for name in options.library if libraries.LIBRARIES[name].bin]
    return options


def summary(record: dict) -> str:
    """A record in one line, to watch a run go by."""
    head = f"{record['problem']:<18} {record['library']:<20}"
    if "error" in record:
        return f"{head} {record['error']}"
    score = "  ".join(f"{name} {value:.5f}" for name, value in record.get("score", {}).items())
    return f"{head} {record['seconds']:8.3f} s  +{record['peak_mb']:.0f} MB  {score}"


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    if options.child:
        child(options.child)
        return
    with contextlib.ExitStack() as stack:
        done = set()
        if options.resume and pathlib.Path(options.out).exists():
            done = {key(json.loads(line)) for line in pathlib.Path(options.out).read_text().splitlines() if line}
        out = stack.enter_context(open(options.out, "a")) if options.out else sys.stdout
        for source in options.problem + options.parquet:
            if source in options.problem:
                problem = problems.make(source, options.seed)
            else:
                problem = problems.load_parquet(source, options.seed, options.task)
            work = problem.work.changed(options.trees, options.leaves, options.policy, options.depth, options.bins)
            problem = dataclasses.replace(problem, work=work)
            if options.measure == "predict":
                problem = problem.for_prediction(options.train_rows)
            for record in run_problem(problem, options.library, options, done):
                print(json.dumps(record), file=out, flush=True)
                print(summary(record), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
