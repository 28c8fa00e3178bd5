"""``boostgrad/kernels/kernels.h`` in ctypes: the structures, and the table of functions of an instruction set.

`load_kernels` refuses a table that is laid out in another way than the structures here, and, in a checkout, a header
whose declarations have changed since they were last compared with this file; that arguments are right is for its
callers to test, by results.
"""

from __future__ import annotations

import ctypes
import hashlib
import pathlib
import re
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_double, c_int, c_int32, c_int64, c_size_t, c_void_p
from ctypes import c_uint16 as c_u16
from ctypes import c_uint32 as c_u32


class Packing(Structure):
    _fields_ = [("gradient_scale", c_double), ("hessian_scale", c_double), ("count_bits", c_int)]


class ScanRule(Structure):
    _fields_ = [
        *((name, c_double) for name in ("inverse_gradient_scale", "inverse_hessian_scale")),
        *((name, c_double) for name in ("l1", "l2", "max_delta_step", "min_child_weight")),
        ("min_samples_leaf", c_int64),
        *((name, c_int) for name in ("count_bits", "wide", "plain")),
    ]


class ScanResult(Structure):
    _fields_ = [("gain", c_double), ("left", c_int64 * 2), ("code", c_u32), ("missing_left", c_int)]


class ScanScratch(Structure):
    _fields_ = [(name, c_void_p) for name in ("gradient", "sums", "gain_bits")]


class Unsplit(Structure):
    _fields_ = [(name, c_double) for name in ("score", "least_gain", "rounding")]


class Node(Structure):
    _fields_ = [
        ("slot", c_u32),
        *((name, c_u16) for name in ("code", "shift")),
        ("child", c_int32 * 2),
        *((name, c_u16) for name in ("first_left", "end_left")),
    ]


class Tree(Structure):
    _fields_ = [
        *((name, c_void_p) for name in ("nodes", "values")),
        *((name, c_int32) for name in ("n_splits", "n_leaves", "output", "n_values", "in_planes")),
    ]


KINDS = ("wide", "constant", "narrow", "single", "paired", "compact", "vector2", "vector4")
COMPACT_HESSIAN, COMPACT_GRADIENT, COMPACT_ROWS = 12, 37, 4064
PREDICT_BLOCK = 256
N_POINTWISE_LOSSES = 11
SUMMED = (
    *("squared_error", "absolute_error", "quantile", "huber", "expectile", "poisson", "gamma", "tweedie"),
    *("binary_log_loss", "multinomial_log_loss", "quantiles", "normal_nll", "gamma_nll"),
)

_HISTOGRAM = CFUNCTYPE(
    None, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p, c_size_t, c_size_t, Packing, c_int, c_size_t, c_void_p
)
_SUM = CFUNCTYPE(None, c_void_p, c_void_p, c_size_t)
_SEARCH = CFUNCTYPE(None, c_void_p, c_size_t, c_void_p, c_u32, c_void_p)
_SPARSE = CFUNCTYPE(None, c_void_p, c_void_p, c_size_t, c_void_p, c_void_p, c_void_p)
_PARTITION = CFUNCTYPE(c_size_t, c_void_p, c_u32, c_u32, c_void_p, c_size_t, c_size_t, c_void_p)
_TABLE_PARTITION = CFUNCTYPE(c_size_t, c_void_p, c_void_p, c_void_p, c_size_t, c_size_t, c_void_p)
_SIDES = CFUNCTYPE(None, c_void_p, c_size_t, c_void_p, c_size_t, c_size_t, c_void_p, c_size_t)
_POINTWISE = CFUNCTYPE(None, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_void_p)
_OUTPUTS = CFUNCTYPE(None, c_void_p, c_void_p, c_void_p, c_size_t, c_size_t, c_int, c_void_p, c_void_p)
_PARAMETRIC = CFUNCTYPE(None, c_void_p, c_void_p, c_void_p, c_size_t, c_double, c_int, c_void_p, c_void_p)
_SUM_OF_LOSSES = CFUNCTYPE(c_double, c_void_p, c_void_p, c_void_p, c_size_t, c_size_t, c_int, c_void_p)
_PREDICT = CFUNCTYPE(None, c_void_p, c_size_t, c_void_p, c_size_t, c_size_t, c_void_p, c_size_t)
_LEAVES = CFUNCTYPE(None, c_void_p, c_void_p, c_size_t, c_size_t, c_void_p, c_size_t)


class Kernels(Structure):
    _fields_ = [
        ("name", c_char_p),
        ("histogram", _HISTOGRAM * 2 * len(KINDS)),
        ("unpack_compact", CFUNCTYPE(None, c_void_p, c_size_t, c_int, c_int, c_void_p)),
        (
            "quantize_pairs",
            CFUNCTYPE(c_int, c_void_p, c_size_t, c_size_t, c_u32, Packing, c_void_p, c_size_t),
        ),
        ("quantize_gradients", CFUNCTYPE(None, c_void_p, c_size_t, c_size_t, Packing, c_void_p, c_size_t)),
        *((name, _SUM) for name in ("add", "subtract")),
        ("lay_records", CFUNCTYPE(None, c_int, c_void_p, c_size_t, Packing, c_size_t, c_size_t, c_void_p)),
        *((name, _SPARSE) for name in ("sparse_wide", "sparse_narrow", "sparse_vector")),
        (
            "sparse_part",
            CFUNCTYPE(c_size_t, c_void_p, c_void_p, c_size_t, c_void_p, c_u32, c_void_p, c_void_p, c_void_p, c_void_p),
        ),
        ("scan", CFUNCTYPE(None, c_void_p, c_u32, c_void_p, c_void_p, c_void_p, c_void_p)),
        *((name, _PARTITION) for name in ("partition_u8", "partition_u16")),
        *((name, _SEARCH) for name in ("search_f32", "search_f64")),
        *((name, _POINTWISE) for name in ("squared_error", "binary_log_loss")),
        *((name, _OUTPUTS) for name in ("multinomial_log_loss", "normal_nll", "gamma_nll")),
        ("softmax_sums", CFUNCTYPE(None, c_void_p, c_size_t, c_size_t, c_int, c_void_p, c_void_p)),
        ("softmax", CFUNCTYPE(None, c_void_p, c_size_t, c_size_t, c_int, c_void_p)),
        ("pointwise", _PARAMETRIC * N_POINTWISE_LOSSES),
        ("sum_of_losses", _SUM_OF_LOSSES * len(SUMMED)),
        ("weigh_by_root", CFUNCTYPE(None, c_void_p, c_void_p, c_size_t, c_double, c_void_p)),
        ("exponential", CFUNCTYPE(None, c_void_p, c_size_t)),
        ("rank_query", CFUNCTYPE(None, c_void_p, c_size_t, c_void_p, c_void_p)),
        ("value_query", CFUNCTYPE(c_double, c_void_p, c_size_t, c_void_p)),
        *((name, _PREDICT) for name in ("predict_u8", "predict_u16")),
        *((name, _LEAVES) for name in ("leaves_u8", "leaves_u16")),
        ("scan_categories", CFUNCTYPE(None, c_void_p, c_u32, *7 * (c_void_p,))),
        *((name, _TABLE_PARTITION) for name in ("partition_table_u8", "partition_table_u16")),
        *((name, _SIDES) for name in ("sides_u8", "sides_u16")),
        (
            "sketch_fields",
            CFUNCTYPE(
                None, c_void_p, c_size_t, c_int, c_int, c_void_p, c_int, c_double, c_size_t, c_size_t, *2 * (c_void_p,)
            ),
        ),
        (
            "lay_vectors",
            CFUNCTYPE(
                None, c_void_p, c_size_t, *2 * (c_int,), c_void_p, *2 * (c_int,), c_u32, *2 * (c_size_t,), c_void_p
            ),
        ),
        ("vector_score", CFUNCTYPE(c_double, c_void_p, c_void_p)),
        ("scan_vector", CFUNCTYPE(None, c_void_p, c_u32, *4 * (c_void_p,))),
        ("project_vectors", CFUNCTYPE(c_double, c_void_p, c_u32, *4 * (c_void_p,))),
        ("add_gains", CFUNCTYPE(None, c_void_p, c_u32, *6 * (c_void_p,))),
        ("add_category_gains", CFUNCTYPE(None, c_void_p, c_u32, *8 * (c_void_p,))),
        ("add_vector_gains", CFUNCTYPE(None, c_void_p, c_u32, *6 * (c_void_p,))),
        ("order_categories", CFUNCTYPE(None, c_void_p, c_u32, *4 * (c_void_p,))),
    ]


#: Of the declarations that this file mirrors: a call with other arguments than a kernel takes ends the process.
HEADER_DIGEST = "68f5a984b409c7e9"

MIRRORS = {
    "bg_packing": Packing,
    "bg_scan_rule": ScanRule,
    "bg_scan_result": ScanResult,
    "bg_scan_scratch": ScanScratch,
    "bg_unsplit": Unsplit,
    "bg_node": Node,
    "bg_tree": Tree,
    "bg_kernels": Kernels,
}


def fields_in_header(text: str) -> dict[str, list[str]]:
    """Names of the fields of each structure of a C header, in order."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    found = {}
    for body, name in re.findall(r"typedef struct \{(.*?)\} (\w+);", text, flags=re.S):
        found[name] = []
        for declaration in body.split(";")[:-1]:
            function = re.search(r"\(\*(\w+)\)", declaration)
            names = [function[1]] if function else re.findall(r"(\w+)(?:\[\w+\])*\s*(?:,|$)", declaration.strip())
            found[name] += names
    return found


def header_digest(text: str) -> str:
    """Of all that is no comment or space."""
    return hashlib.sha256("".join(re.sub(r"/\*.*?\*/", "", text, flags=re.S).split()).encode()).hexdigest()[:16]


def load_kernels(isa: str) -> Kernels:
    """The table of that instruction set, after a check that it is laid out as the structures here say."""
    from boostgrad import native

    header = pathlib.Path(native.__file__).parent / "kernels" / "kernels.h"
    if header.exists():  # a checkout
        text = header.read_text()
        declared = fields_in_header(text)
        for name, mirror in MIRRORS.items():
            ours = [field for field, *_ in mirror._fields_]
            if declared.get(name) != ours:
                raise SystemExit(f"{name} of kernels.h has the fields {declared.get(name)}, its mirror {ours}")
        if header_digest(text) != HEADER_DIGEST:
            raise SystemExit(
                f"kernels.h has changed: compare its declarations with this file's, then set HEADER_DIGEST to "
                f"{header_digest(text)!r}"
            )
    library = ctypes.CDLL(native.__file__)
    library.bg_select.restype, library.bg_select.argtypes = POINTER(Kernels), [c_char_p]
    found = library.bg_select(isa.encode())
    if not found:
        raise SystemExit(f"no instruction set {isa!r} here; choose one of {', '.join(native.available_isas())}")
    if found.contents.name != isa.encode():
        raise SystemExit("the table of kernels is not laid out as expected: its first field is not its name")
    return found.contents
