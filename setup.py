"""Extensions only; everything else about the project is in pyproject.toml.

Switches, all environment variables of the build:

    BOOSTGRAD_DEBUG=1          no optimisation, debug symbols, Cython bounds checks
    BOOSTGRAD_SANITIZE=address,undefined   (any value of gcc's -fsanitize)
    BOOSTGRAD_COVERAGE=1       line tracing for coverage's Cython plug-in
    BOOSTGRAD_THREADS=pthreads|openmp|serial    default: pthreads, OpenMP on Windows, serial where neither compiles
"""

import os
import platform
import sys
import tempfile

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

MODULES = [
    "boostgrad.native",
    "boostgrad._queries",
    "boostgrad._concordance",
    "boostgrad._order",
    "boostgrad.data.views",
    "boostgrad.data.binning",
    "boostgrad.data.quantiles",
    "boostgrad.data.sparse",
    "boostgrad.data.ordered",
    "boostgrad.losses._loops",
    "boostgrad.losses._survival_loops",
    "boostgrad.losses._quantiles",
    "boostgrad.losses._optima",
    "boostgrad.tree.records",
    "boostgrad.tree.histogram",
    "boostgrad.tree.splitter",
    "boostgrad.tree.partition",
    "boostgrad.tree.leaves",
    "boostgrad.tree.single_records",
    "boostgrad.tree.sparse",
    "boostgrad.tree.growth_queue",
    "boostgrad.tree.level_sets",
    "boostgrad.tree.vector",
    "boostgrad.tree.grower",
    "boostgrad.tree.sparse_grower",
    "boostgrad.tree.level_gains",
    "boostgrad.tree.symmetric",
    "boostgrad.tree.sparse_symmetric",
    "boostgrad.tree.predictor",
    "boostgrad.tree.row_predictor",
]
KERNELS = ["pool", "dispatch", "isa_baseline", "isa_avx2", "isa_avx512"]

DEBUG = bool(os.environ.get("BOOSTGRAD_DEBUG"))
COVERAGE = bool(os.environ.get("BOOSTGRAD_COVERAGE"))
SANITIZE = os.environ.get("BOOSTGRAD_SANITIZE")
X86 = platform.machine().lower() in ("x86_64", "amd64")
# Contracted or reordered floating point would make the model depend on the instruction set.
NUMERICS = ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]


def flags() -> tuple[list[str], list[str]]:
    compile_args = ["-O0", "-g"] if DEBUG else ["-O3", "-g0"]
    compile_args += [*NUMERICS, "-std=gnu11", "-Wno-unused-function"]
    link_args = []
    if SANITIZE:
        compile_args += [f"-fsanitize={SANITIZE}", "-fno-omit-frame-pointer", "-g"]
        link_args += [f"-fsanitize={SANITIZE}"]
    return compile_args, link_args


class BuildExtensions(build_ext):
    """Finds out what the compiler can do before it compiles."""

    def compiles(self, source: str, args: list[str], link_args: list[str]) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "probe.c")
            with open(path, "w") as file:
                file.write(source)
            try:
                objects = self.compiler.compile([path], output_dir=folder, extra_postargs=args)
                self.compiler.link_executable(objects, os.path.join(folder, "probe"), extra_postargs=link_args)
            except Exception:  # whatever the compiler's wrapper raises, the answer is no
                return False
        return True

    def threads(self) -> tuple[list[str], list[str]]:
        wanted = os.environ.get("BOOSTGRAD_THREADS") or ("openmp" if sys.platform == "win32" else "pthreads")
        openmp = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
        posix = "#include <pthread.h>\nint main(void) { return pthread_self() == 0; }\n"
        if wanted == "pthreads" and self.compiles(posix, ["-pthread"], ["-pthread"]):
            return ["-pthread"], ["-pthread"]
        if wanted in ("pthreads", "openmp") and self.compiles(openmp, ["-fopenmp"], ["-fopenmp"]):
            return ["-fopenmp", "-DBOOSTGRAD_OPENMP"], ["-fopenmp"]
        return ["-DBOOSTGRAD_SERIAL"], []

    def build_extensions(self) -> None:
        compile_args, link_args = self.threads()
        if X86 and self.compiles('int main(void) { return !__builtin_cpu_supports("avx2"); }\n', [], []):
            compile_args.append("-DBOOSTGRAD_X86")
        for extension in self.extensions:
            extension.extra_compile_args += compile_args
            extension.extra_link_args += link_args
        super().build_extensions()


def extensions() -> list[Extension]:
    from Cython.Build import cythonize

    compile_args, link_args = flags()
    built = []
    for name in MODULES:
        sources = [name.replace(".", "/") + ".pyx"]
        if name == "boostgrad.native":  # the one module that links the kernels; the others cimport it
            sources += [f"boostgrad/kernels/{kernel}.c" for kernel in KERNELS]
        built.append(
            Extension(
                name,
                sources,
                include_dirs=["boostgrad/kernels"],
                depends=[f"boostgrad/kernels/{n}" for n in os.listdir("boostgrad/kernels") if n.endswith(".h")],
                extra_compile_args=list(compile_args),
                extra_link_args=list(link_args),
                define_macros=[("CYTHON_TRACE_NOGIL", "1")] if COVERAGE else [],
            )
        )
    directives = {
        "language_level": 3,
        "boundscheck": DEBUG,
        "wraparound": False,
        "initializedcheck": DEBUG,
        "cdivision": True,
        "embedsignature": True,
        "linetrace": COVERAGE,
        "freethreading_compatible": True,
    }
    return cythonize(built, compiler_directives=directives)


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExtensions})
