"""The benchmark of single kernels calls them through ctypes: what it believes of them must be what the header says."""

import pathlib

import pytest

from benchmarks import kernels_h
from boostgrad.native import isa

HEADER = pathlib.Path(__file__).parents[1] / "boostgrad" / "kernels" / "kernels.h"


@pytest.mark.skipif(not HEADER.exists(), reason="the sources are not here")
def test_the_mirror_is_that_of_the_header():
    text = HEADER.read_text()
    assert kernels_h.header_digest(text) == kernels_h.HEADER_DIGEST
    assert kernels_h.header_digest(text.replace("uint32_t n_codes", "uint64_t n_codes", 1)) != kernels_h.HEADER_DIGEST
    declared = kernels_h.fields_in_header(text)
    for name, mirror in kernels_h.MIRRORS.items():
        assert declared[name] == [field for field, *_ in mirror._fields_], name


def test_the_table_is_that_of_the_instruction_set():
    assert kernels_h.load_kernels(isa()).name == isa().encode()
