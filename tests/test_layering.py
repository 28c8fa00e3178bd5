"""Who may import whom, read from the import, cimport and #include lines of the sources; and what an import costs."""

import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

import boostgrad

PACKAGE = Path(__file__).resolve().parent.parent / "boostgrad"
if not (PACKAGE / "native.pyx").exists():
    pytest.skip("the sources are not here", allow_module_level=True)

WORDS = {"params", "runtime", "native", "features", "queries", "_queries", "_concordance", "_order"}
GROWING_ROOMS = (
    "records histogram sparse splitter partition leaves structs growth_queue level_sets grower sparse_grower growers "
    "vector single_records level_gains symmetric sparse_symmetric"
)
GROWING = {f"tree.{name}" for name in GROWING_ROOMS.split()}

# Room by room: the modules of ours that it may import; a name that ends in "." stands for all below it. The first
# pattern that fits counts.
ROOMS = {
    r"features|runtime|native": set(),
    r"params": {"features"},
    r"queries|_concordance|_order": {"native"},
    r"_queries": {"native", "queries"},
    r"metrics(\..*)?": WORDS | {"metrics."},
    r"conformal": set(),
    r"data\..*": WORDS | {"data."},
    r"losses(\..*)?": WORDS | {"losses", "losses."},
    r"tree\.model": {"features"},
    r"tree\.row_predictor": WORDS | {"tree.model"},
    r"tree\.predictor": WORDS | {"tree.model", "data.columns", "data.matrix", "data.binning", "data.views"},
    rf"tree\.({'|'.join(GROWING_ROOMS.split())})": WORDS | GROWING | {"tree.model", "data.matrix"},
    r"callbacks": WORDS,
    r"boosting": WORDS | {"callbacks", "data.matrix", "data.statistics", "losses", "losses.", "tree."},
    r"io\..*": {"features", "tree.model", "tree.predictor", "io."},
    r"inputs": WORDS | {"data."},
    r"dataset": WORDS | {"data.", "inputs"},
    r"estimators(\..*)?": WORDS
    | {
        "estimators.",
        "dataset",
        "inputs",
        "metrics",
        "metrics.",
        "conformal",
        "boosting",
        "callbacks",
        "data.",
        "losses",
        "losses.",
        "tree.",
        "io.",
    },
    r"cli": {"", "runtime", "native"},
    r"": {"dataset", "estimators"},
    r"(tree|data|io)": set(),
}
NOT_NUMPY = {
    "estimators.base": {"numpy", "sklearn"},
    "estimators.calibrated": {"numpy", "sklearn"},
    "estimators.classifier": {"numpy", "sklearn"},
    "estimators.fitted": {"numpy", "sklearn"},
    "estimators.initial": {"numpy", "sklearn"},
    "estimators.samples": {"numpy", "sklearn"},
    "estimators.regressor": {"numpy", "sklearn"},
    "inputs": {"numpy", "sklearn"},
    "": set(),
}  # all other rooms: numpy alone
OPTIONAL = {"pandas", "polars", "pyarrow", "narwhals", "matplotlib", "tqdm", "dask", "torch", "jax", "onnx"}

IMPORT = re.compile(r"^( *)(?:from +([\w.]+) +c?import +(.*)|c?import +(.+))$", re.MULTILINE)
SOURCES = sorted(p for suffix in ("py", "pyx", "pxd", "pxi") for p in PACKAGE.rglob(f"*.{suffix}"))


def room_of(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(path):
    """(indentation, module) of every import line; ``from package import module`` counts as the module."""
    text = re.sub(r'""".*?"""', "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for indent, module, names, plain in IMPORT.findall(text):
        if module:
            listed = [name.strip(" ()\\").split(" as ")[0] for name in names.split("#")[0].split(",")]
            for name in listed:
                inner = PACKAGE.parent.joinpath(*module.split("."), name)
                below = any(inner.with_suffix(s).exists() for s in (".py", ".pyx")) or (inner / "__init__.py").exists()
                yield len(indent), f"{module}.{name}" if module.startswith("boostgrad") and name and below else module
        else:
            for name in plain.split("#")[0].split(","):
                yield len(indent), name.strip().split(" as ")[0]


def test_import_lines_are_found():
    found = {module for _, module in imports(PACKAGE / "estimators" / "base.py")}
    assert {"numpy", "boostgrad.params", "boostgrad.data.binning", "boostgrad.losses"} <= found
    assert "boostgrad.native" in {module for _, module in imports(PACKAGE / "tree" / "grower.pyx")}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_rooms_import_what_they_may(path):
    room = room_of(path)
    allowed = next((rooms for pattern, rooms in ROOMS.items() if re.fullmatch(pattern, room)), None)
    assert allowed is not None, f"no rule for the room {room!r}: add one here"
    for _, module in imports(path):
        if module.split(".")[0] != "boostgrad":
            continue
        ours = module.removeprefix("boostgrad").removeprefix(".")
        fits = ours == room or ours in allowed or any(a.endswith(".") and ours.startswith(a) for a in allowed)
        assert fits, f"{room or '__init__'} must not import {module}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_only_numpy_is_imported_at_the_top(path):
    allowed = NOT_NUMPY.get(room_of(path), {"numpy"}) | {"boostgrad", "libc", "cython", "cpython"}
    for indent, module in imports(path):
        top = module.split(".")[0]
        if indent == 0 and top not in sys.stdlib_module_names:
            assert top in allowed, f"{room_of(path)} imports {top} when it is imported"
        assert indent > 0 or top not in OPTIONAL


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("kernels/*.[ch]")), ids=lambda path: path.name)
def test_kernels_include_libc_and_themselves(path):
    libc = {"math", "signal", "stdatomic", "stddef", "stdint", "stdlib", "string", "time"}
    system = {f"<{name}.h>" for name in libc | {"immintrin", "pthread", "omp"}}
    own = {f'"{header.name}"' for header in PACKAGE.glob("kernels/*.h")}
    included = re.findall(r"^\s*#\s*include\s+(\S+)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(included) <= system | own


def test_only_native_sees_the_kernels():
    for path in SOURCES:
        headers = re.findall(r'cdef extern from "(.*?)"', path.read_text(encoding="utf-8"))
        assert path.name == "native.pxd" or not set(headers) & {p.name for p in PACKAGE.glob("kernels/*")}


def test_parallel_regions_name_their_threads():
    """OpenMP and prange only behind the pool, which takes the number of threads as an argument."""
    for path in SOURCES + sorted(PACKAGE.glob("kernels/*.[ch]")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\bprange\b|cython\.parallel", text)
        for line in re.findall(r"^.*#pragma omp parallel.*$", text, flags=re.MULTILINE):
            assert "num_threads(" in line


# ---- what an import costs --------------------------------------------------------------------------------------------


def run(code):
    """What a new interpreter prints that imports the boostgrad under test, wherever it is."""
    tested = str(Path(boostgrad.__file__).parent.parent)
    path = os.pathsep.join([tested, *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-P", "-c", code]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_import_takes_little_longer_than_that_of_scikit_learn():
    """By processor time, and beside what scikit-learn itself takes: how busy the machine is does not matter."""
    clock = "import time; t0 = time.process_time(); import sklearn.base; t1 = time.process_time()"
    code = f"{clock}; import boostgrad; print((time.process_time() - t1) / (t1 - t0))"
    share = median(float(run(code)) for _ in range(5))
    assert share <= 0.15, f"import boostgrad takes {share:.2f} of what import sklearn.base takes, on top of it"


def test_import_loads_no_optional_library():
    base = set(run("import sys, sklearn.base; print(*sys.modules)").split())
    loaded = set(run("import sys, boostgrad; print(*sys.modules)").split()) - base
    assert not {module.split(".")[0] for module in loaded} & (OPTIONAL | {"lightgbm", "xgboost", "catboost"})
