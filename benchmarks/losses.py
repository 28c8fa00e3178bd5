"""Every loss that another library has, too: held-out metrics of boostgrad and of those libraries at equal work.

::

    python -m benchmarks.losses A.parquet B.parquet --seeds 0 1 2 3 4 --out losses.jsonl --page losses.md
    python -m benchmarks.losses FOLDER --losses lambdarank cox --out ranks.jsonl --page ranks.md
    python -m benchmarks.losses A.parquet --view stopped --trees 300 --out losses.jsonl --page losses.md
    python -m benchmarks.losses A.parquet --view own --out losses.jsonl --page losses.md
    python -m benchmarks.losses A.parquet --losses normal_nll --libraries ngboost --out losses.jsonl  # in its own venv

Files are as ``benchmarks.loss_cases`` says. Views:

equal
    The same number of trees and leaves, bins, learning rate, least number of rows and least sum of hessians in a leaf,
    and penalty on leaf values; no sampling of rows, no noise. What cannot be made equal ``benchmarks.loss_libraries``
    lists.
stopped
    The same, and training stops by the same inner rows for all, after the same number of iterations without a better
    score.
own
    The same number of trees, leaves, bins, rows in a leaf and rate; all else is left to each library's defaults.

``catboost`` grows the same leaf-wise trees as all others, ``catboost-symmetric`` its own of depth 6, with up to 64
leaves, and ``boostgrad-symmetric`` trees of that shape; ``boostgrad-vector`` one tree for all classes, labels or
targets, as CatBoost does, and ``boostgrad-vector-symmetric`` a symmetric one.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import pathlib
import time
import warnings
from typing import Any

import numpy as np

from benchmarks.loss_cases import METRICS, Case, made_up, normal_crps, read
from benchmarks.loss_libraries import LIBRARIES, PACKAGES, Missing, Work
from benchmarks.loss_page import VIEWS, page


def run(case: Case, library: str, work: Work) -> dict[str, Any]:
    """One fit: its CPU seconds, of all threads, and the metric on the held-out rows."""
    begin = time.process_time()
    fitted = LIBRARIES[library](case, work)
    seconds = time.process_time() - begin
    prediction = fitted(case.test)
    record = {
        "loss": case.loss,
        "table": case.table,
        "library": library,
        "seed": work.seed,
        "view": "own" if work.own else "equal" if case.stop is None else "stopped",
        "trees": work.trees,
        "n_train": len(case.train),
        "score": case.score(prediction),
        "cpu_seconds": seconds,
        "version": _version(library),
    }
    if case.loss == "quantiles":
        record["crossing"] = float(np.mean((np.diff(prediction, axis=1) < 0).any(axis=1)))
    if case.loss == "normal_nll":
        record["crps"] = normal_crps(case, prediction)
    return record


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(PACKAGES.get(library, library))
    except importlib.metadata.PackageNotFoundError:
        return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", metavar="FILE.parquet or FOLDER")
    parser.add_argument("--losses", nargs="+", choices=METRICS, default=list(METRICS))
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--most-rows", type=int, default=30_000, help="of a table, held-out ones included")
    parser.add_argument("--view", choices=VIEWS, default="equal")
    parser.add_argument("--trees", type=int, default=100, help="at most, where training stops by inner rows")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--made-up", action="store_true", help="also made-up tables, of several labels and targets")
    parser.add_argument("--out", metavar="FILE.jsonl", help="records are added; what is in it is not run again")
    parser.add_argument("--page", metavar="FILE.md")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    out = pathlib.Path(options.out) if options.out else None
    records = [json.loads(line) for line in out.read_text().splitlines()] if out and out.exists() else []
    done = {(r["view"], r["loss"], r["table"], r["library"], r["seed"]) for r in records}
    files = [f for p in map(pathlib.Path, options.paths) for f in (sorted(p.glob("*.parquet")) if p.is_dir() else [p])]
    sources = [*([made_up] if options.made_up else []), *((lambda f=f: read(str(f))) for f in files)]
    for table in (table for source in sources for table in source()):
        for loss in (loss for loss in table.losses() if loss in options.losses):
            for seed in options.seeds:
                case = table.case(loss, seed, options.most_rows)
                if options.view == "stopped":
                    case = case.to_stop(seed)
                work = Work(trees=options.trees, threads=options.threads, seed=seed, own=options.view == "own")
                for library in options.libraries:
                    if (options.view, loss, table.name, library, seed) in done:
                        continue
                    try:
                        record = run(case, library, work)
                    except (Missing, ModuleNotFoundError):
                        continue
                    except Exception as error:  # whatever a library says of a table that it does not take
                        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
                        print(f"{loss}  {table.name}  {library}  refused: {words[:100]}", flush=True)
                        continue
                    print(
                        f"{loss}  {table.name}  {library}  {record['score']:.5f}  {record['cpu_seconds']:.2f} s",
                        flush=True,
                    )
                    records.append(record)
                    if out:
                        with out.open("a", encoding="utf-8") as file:
                            file.write(json.dumps(record) + "\n")
    text = page(records)
    if options.page:
        pathlib.Path(options.page).write_text(text + "\n", encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
