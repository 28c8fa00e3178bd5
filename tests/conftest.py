"""What all tests share: which boostgrad is tested, and a random seed that is told when a test fails."""

import os
import pathlib
import random
import sys

import pytest

SEED = int(os.environ.get("BOOSTGRAD_TEST_SEED") or random.SystemRandom().randrange(2**31))

try:
    import boostgrad
    from boostgrad import native
except ImportError as error:
    pytest.exit(
        f"boostgrad cannot be imported ({error}). Install it and run `pytest` (not `python -m pytest`, which takes the "
        "source folder), or build in place: python setup.py build_ext --inplace",
        returncode=4,
    )

# Benchmarks are not installed; behind what is, so that the source folder of boostgrad is never in its way.
sys.path.append(str(pathlib.Path(__file__).parents[1]))


def pytest_report_header(config):
    where = os.path.dirname(boostgrad.__file__)
    return [
        f"boostgrad: {boostgrad.__version__} in {where} ({native.isa()}, {native.threading()})",
        f"random seed: BOOSTGRAD_TEST_SEED={SEED}",
    ]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed and "seed" in getattr(item, "fixturenames", ()):
        report.sections.append(("random seed", f"BOOSTGRAD_TEST_SEED={SEED}"))
    return report


@pytest.fixture
def seed() -> int:
    """A seed that differs from run to run; BOOSTGRAD_TEST_SEED sets it."""
    return SEED
