"""Nanoseconds of each kernel, next to its numpy twin and to what a core can do at best.

::

    python -m benchmarks.kernels [--isa avx2] [--repeat 7] [--rows 1000000] [--json FILE] > kernels.md

One thread. A kernel's result is compared with its twin's before it is timed, so that a wrong call fails instead of
being fast. The twins are those of ``tests/reference.py`` where that has one; where the file is not there, those kernels
are not compared, and have no figure of a twin. Times are those of the fastest repeat; what is short is called many
times, and as many calls that have nothing to do are subtracted.

Kernels are called without Cython in between, through `kernels_h`.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import json
import pathlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from benchmarks.kernels_h import (
    COMPACT_GRADIENT,
    COMPACT_HESSIAN,
    COMPACT_ROWS,
    KINDS,
    PREDICT_BLOCK,
    SUMMED,
    Kernels,
    Node,
    Packing,
    ScanResult,
    ScanRule,
    ScanScratch,
    Tree,
    Unsplit,
    load_kernels,
)
from benchmarks.measure import boostgrad_isa, machine

# -- what is measured --------------------------------------------------------------------------------------------------

#: Nanoseconds that are known to be possible on one core of a Zen 4, and how they are known.
KNOWN = {
    "histogram": ("0.5 to 0.65", "floor: two cycles an update, for two loads, an add and a store, whatever the record"),
    "partition": ("2.3", "a prototype: 0.65 s for 100 trees x 2.8M rows visited, by a column of the one feature"),
    "scan": ("2.3", "a prototype: 0.10 s for 100 trees x 61 nodes x 28 features x 255 bins"),
    "search": ("2.5", "the fastest peer: 0.07 s of wall time for 1M x 28 values, edges included"),
    "binary": ("1.9", "a prototype: 0.19 s for 100 iterations of 1M rows"),
    "planes": ("1.0", "QuickScorer masks of trees of 31 leaves, 64 rows in AVX-512 registers, codes given"),
    "walk": ("8 to 9", "node by node, 16 rows interleaved; one row at a time: 29 to 31"),
}

N_FEATURES = 28
STRIDE = 260  # records from one feature's histogram to the next, as the engine has it: never a multiple of 4096 bytes
ROW_BYTES = 32
CHECKED_ROWS = 2500  # and half of them again: no more than compact records can hold


@dataclass(frozen=True)
class Case:
    """One line of the table, to be measured before its generator goes on: kernels see addresses, not references.

    Attributes
    ----------
    name, unit : str
    work : callable
        What is timed.
    count : float
        Units of one ``work()``.
    twin : callable or None
        The same in numpy.
    twin_count : float
        Units of one ``twin()``.
    idle : callable or None
        As many calls of the kernel, with nothing to do; its time is subtracted.
    before : callable or None
        Called before each ``work()``, outside the clock.
    known : str or None
        Key of `KNOWN`.
    """

    name: str
    unit: str
    work: Callable[[], object]
    count: float
    twin: Callable[[], object] | None
    twin_count: float = 1.0
    idle: Callable[[], object] | None = None
    before: Callable[[], object] | None = None
    known: str | None = None


def load_twins():
    """``tests/reference.py`` as a module, or None where it is not beside these files."""
    path = pathlib.Path(__file__).resolve().parents[1] / "tests" / "reference.py"
    if not path.exists():
        return None
    spec = importlib.util.spec_from_file_location("reference", path)
    module = sys.modules["reference"] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError:  # it is of another version
        return None
    return module


def address(array: np.ndarray) -> int:
    """Of the first element; the caller keeps the array alive."""
    assert array.flags.c_contiguous
    return array.ctypes.data


def repeated(times: int, function, *arguments) -> Callable[[], None]:
    """So many calls, for what is too short for the clock."""

    def call():
        for _ in range(times):
            function(*arguments)

    return call


def padded(array: np.ndarray) -> np.ndarray:
    """The array, readable for 64 elements past its end."""
    room = np.zeros(array.size + 64, dtype=array.dtype)
    room[: array.size] = array.ravel()
    return room[: array.size].reshape(array.shape)


def histograms(k: Kernels, reference, n_rows: int) -> Iterator[Case]:
    """Six kinds, each over all rows, and over half and an eighth of them by index.

    Gradients and hessians are small integers (over a scale where a kernel takes doubles), so every sum is exact. Of
    "compact" the counts overflow, harmlessly, where more rows are timed than are checked.
    """
    rng = np.random.default_rng(0)
    codes = rng.integers(1, 256, size=(n_rows, N_FEATURES), dtype=np.uint8)
    gradient = rng.integers(-1000, 1001, size=n_rows)
    hessian = rng.integers(0, 501, size=n_rows)
    scale = 1024.0
    packing = Packing(scale, scale, 22)
    pairs = {
        "wide": np.column_stack([gradient, hessian]) / scale,
        "constant": gradient / scale,
        "narrow": gradient / scale,
    }
    head = {"single": gradient, "paired": gradient << 16 | hessian, "compact": gradient << 16 | hessian}
    checked = np.arange(min(CHECKED_ROWS, n_rows))
    half, eighth = (np.flatnonzero(rng.random(n_rows) < p).astype(np.uint32) for p in (0.5, 0.125))
    other_data = np.zeros(16_000_000)

    def flush():
        other_data.__iadd__(1.0)

    for number, kind in enumerate(KINDS[:6]):  # records of one gradient
        kernel = k.histogram[number][0]
        table = np.zeros((n_rows, ROW_BYTES), dtype=np.uint8)
        table[:, 4:] = codes
        if kind in head:
            table[:, :4] = head[kind].astype(np.int32)[:, None].view(np.uint8)
        wide = kind in ("wide", "constant", "paired")
        numbers = (pairs[kind] if kind in pairs else table).view()
        room = np.zeros((2, N_FEATURES, STRIDE), dtype=np.int64)  # a kernel of the wrong kind must not leave it
        hist = room.reshape(-1)[: room.size if wide else room.size // 2].reshape(N_FEATURES, STRIDE, -1)
        common = (packing, N_FEATURES, STRIDE, address(hist))

        def run(rows, n, kernel=kernel, table=table, numbers=numbers, common=common):
            kernel(address(table) + 4, ROW_BYTES, address(numbers), numbers.strides[0], rows, 0, n, *common)

        weight = np.ones_like(hessian) if kind == "constant" else hessian

        def twin(rows=checked, weight=weight):
            columns = (codes[rows, f] for f in range(N_FEATURES))
            return np.array([reference._fast_histogram(c, gradient[rows], weight[rows], STRIDE) for c in columns])

        if reference:
            index = checked[::2].astype(np.uint32)
            run(None, len(checked))
            run(address(index), len(index))
            total = twin() + twin(index)
            g, h, count = total.astype(np.int64).transpose(1, 0, 2)
            if wide:
                expected = np.stack([g, (h << packing.count_bits) + count], axis=2)
            elif kind == "compact":
                expected = ((g << COMPACT_GRADIENT) + (h << COMPACT_HESSIAN) + count)[:, :, None]
            else:
                expected = ((g << packing.count_bits) + count)[:, :, None]
            np.testing.assert_array_equal(hist, expected, err_msg=f"histogram of kind {kind}")
        updates = len(checked) * N_FEATURES
        for where, rows, before in (
            ("all rows", None, None),
            ("half, by index", half, None),
            ("1/8, by index, cold", eighth, flush),
            ("1/8, by index, warm", eighth, None),
        ):
            n = n_rows if rows is None else len(rows)
            yield Case(
                f"histogram {kind}, {where}",
                "update",
                lambda rows=rows, n=n, run=run: run(None if rows is None else address(rows), n),
                n * N_FEATURES,
                twin if reference else None,
                updates,
                before=before,
                known="histogram",
            )


def records(k: Kernels, reference, n_rows: int) -> Iterator[Case]:
    """What makes small integers of gradients, and sums of histograms."""
    rng = np.random.default_rng(1)
    pairs = np.column_stack([rng.normal(size=n_rows), rng.random(n_rows)])
    table = np.zeros((n_rows, ROW_BYTES), dtype=np.uint8)
    packing, seed = Packing(2.0**11, 2.0**13, 22), 12345

    def numbers():
        return table[:, :4].copy().view(np.int32)[:, 0]

    def twin():
        x = np.arange(n_rows, dtype=np.uint32) ^ np.uint32(seed)
        for multiplier, shift in ((0x85EBCA6B, 16), (0xC2B2AE35, 13)):
            x = (x ^ (x >> np.uint32(shift))) * np.uint32(multiplier)
        x ^= x >> np.uint32(16)
        g = pairs[:, 0] * packing.gradient_scale + (x & np.uint32(0xFFFF)) / 65536
        h = pairs[:, 1] * packing.hessian_scale + (x >> np.uint32(16)) / 65536
        return (np.floor(g).astype(np.int32) << 16) | (np.floor(h).astype(np.int32) & 0xFFFF)

    def quantize():
        return k.quantize_pairs(address(pairs), 0, n_rows, seed, packing, address(table), ROW_BYTES)

    assert quantize() == 0
    np.testing.assert_array_equal(numbers(), twin(), err_msg="quantize_pairs")
    yield Case("quantize pairs", "row", quantize, n_rows, twin, n_rows)

    gradients, single = pairs[:, 0].copy(), Packing(2.0**26, 1.0, 22)

    def round_all():
        k.quantize_gradients(address(gradients), 0, n_rows, single, address(table), ROW_BYTES)

    def rint():
        return np.rint(gradients * single.gradient_scale).astype(np.int32)

    round_all()
    np.testing.assert_array_equal(numbers(), rint(), err_msg="quantize_gradients")
    yield Case("quantize gradients", "row", round_all, n_rows, rint, n_rows)

    n = N_FEATURES * STRIDE
    g, h, count = rng.integers(-(2**24), 2**24, n), rng.integers(0, 2**24, n), rng.integers(0, COMPACT_ROWS, n)
    packed = (g << COMPACT_GRADIENT) + (h << COMPACT_HESSIAN) + count
    compact, to = packed.copy(), np.ones((n, 2), dtype=np.int64)

    def unpack_twin():
        hessians = (packed >> COMPACT_HESSIAN) & (2 ** (COMPACT_GRADIENT - COMPACT_HESSIAN) - 1)
        low = (hessians << packing.count_bits) + (packed & (2**COMPACT_HESSIAN - 1))
        return np.column_stack([packed >> COMPACT_GRADIENT, low])

    wide = np.column_stack([g, (h << packing.count_bits) + count])
    np.testing.assert_array_equal(unpack_twin(), wide, err_msg="unpack_compact's twin")
    for fresh, before in ((0, 1), (1, 0)):
        compact[:], to[:] = packed, 1
        k.unpack_compact(address(compact), n, packing.count_bits, fresh, address(to))
        np.testing.assert_array_equal(to - before, wide, err_msg="unpack_compact")
        assert not compact.any()
    again = (100, k.unpack_compact, address(compact))
    work, idle = (repeated(*again, size, packing.count_bits, 0, address(to)) for size in (n, 0))
    yield Case("unpack compact", "record", work, 100 * n, repeated(10, unpack_twin), 10 * n, idle)

    one, two = packed.copy(), g.copy()
    for name, ufunc in (("add", np.add), ("subtract", np.subtract)):
        kernel, before = getattr(k, name), one.copy()
        kernel(address(one), address(two), n)
        np.testing.assert_array_equal(one, ufunc(before, two), err_msg=name)
        work, idle = (repeated(100, kernel, address(one), address(two), size) for size in (n, 0))
        yield Case(name, "number", work, 100 * n, repeated(100, ufunc, one, two, one), 100 * n, idle)


def scans(k: Kernels, reference, n_rows: int) -> Iterator[Case]:
    """Best split of a feature whose 255 bins all have rows, none missing, and its gains at all places, as a level adds
    them up. The twins begin with the rows."""
    rng = np.random.default_rng(2)
    n_codes, n, scale, count_bits, calls = 256, 20_000, 1024.0, 22, 1000
    codes = rng.integers(1, n_codes, size=n)
    gradient = np.rint(scale * (rng.normal(size=n) + (codes > 100))).astype(np.int64)
    for kind in ("wide", "narrow"):
        wide = kind == "wide"
        hessian = rng.integers(1, 500, size=n) if wide else np.ones(n, dtype=np.int64)
        hessian_scale = scale if wide else 1.0
        g, h, count = (np.zeros(n_codes, dtype=np.int64) for _ in range(3))
        for sums, values in ((g, gradient), (h, hessian), (count, 1)):
            np.add.at(sums, codes, values)
        if wide:
            hist = np.column_stack([g, (h << count_bits) + count])
        else:
            hist = (g << count_bits) + count
        total = np.ascontiguousarray(hist.sum(axis=0))
        rule = ScanRule(1 / scale, 1 / hessian_scale, 0, 1.0, 0, 1e-3, 20, count_bits, wide, 1)
        room = np.zeros((3, n_codes + 8), dtype=np.int64)
        scratch, result = ScanScratch(*(address(line) for line in room)), ScanResult()
        rest = [ctypes.byref(thing) for thing in (rule, scratch, result)]
        work = repeated(calls, k.scan, address(hist), n_codes, address(total), *rest)
        idle = repeated(calls, k.scan, address(hist), 1, address(total), *rest)
        twin = None
        if reference:
            params = SimpleNamespace(
                l1_regularization=0.0,
                l2_regularization=1.0,
                max_delta_step=0.0,
                min_samples_leaf=20,
                min_child_weight=1e-3,
                min_split_gain=0.0,
            )
            sums = (codes[:, None], gradient / scale, hessian / hessian_scale, [n_codes], params)

            def twin(sums=sums):
                return reference.best_split(*sums)

            k.scan(address(hist), n_codes, address(total), *rest)
            best = twin()
            assert (best.code, -1) == (result.code, result.missing_left), f"scan, {kind}"
            np.testing.assert_allclose(result.gain, best.score, rtol=1e-12, err_msg=f"scan, {kind}")
        bins = n_codes - 1
        yield Case(f"split scan, {kind}", "bin", work, calls * bins, twin, bins, idle, known="scan")

        whole = [values.sum() / scale_of for values, scale_of in ((gradient, scale), (hessian, hessian_scale))]
        unsplit = Unsplit(whole[0] ** 2 / (whole[1] + 1.0), 0.0, 1e-12)
        gains = np.zeros(n_codes)
        to_add = [ctypes.byref(rule), ctypes.byref(unsplit), ctypes.byref(scratch), address(gains), None]
        work = repeated(calls, k.add_gains, address(hist), n_codes, address(total), *to_add)
        idle = repeated(calls, k.add_gains, address(hist), 1, address(total), *to_add)
        twin = None
        if reference:

            def twin(sums=(codes, gradient / scale, hessian / hessian_scale, n_codes, params)):
                return reference.place_gains(*sums)

            k.add_gains(address(hist), n_codes, address(total), *to_add)
            np.testing.assert_allclose(gains[:bins], twin()[0], rtol=1e-9, err_msg=f"gains, {kind}")
        yield Case(f"gains of a node of a level, {kind}", "bin", work, calls * bins, twin, bins, idle)


def partitions(k: Kernels, reference, n_rows: int) -> Iterator[Case]:
    """A node's rows by one column: all rows without an index, and half of them by index."""
    rng = np.random.default_rng(3)
    column = padded(rng.integers(0, 256, size=n_rows, dtype=np.uint8))
    half = np.flatnonzero(rng.random(n_rows) < 0.5).astype(np.uint32)
    to = np.zeros(n_rows, dtype=np.uint32)
    for where, rows in (("from the root", None), ("half, by index", half)):
        numbers = np.arange(n_rows, dtype=np.uint32) if rows is None else rows
        arguments = (address(column), 128, 1, None if rows is None else address(rows), 0, len(numbers), address(to))

        def work(arguments=arguments):
            return k.partition_u8(*arguments)

        twin = None
        if reference:

            def twin(numbers=numbers):
                left = reference.goes_left(column[numbers], 128, False)
                return numbers[left], numbers[~left][::-1]

            left, right = twin()
            assert work() == len(left), "partition"
            np.testing.assert_array_equal(to[: len(numbers)], np.concatenate([left, right]), err_msg="partition")
        yield Case(f"partition, {where}", "row", work, len(numbers), twin, len(numbers), known="partition")


def searches(k: Kernels, reference, n_rows: int) -> Iterator[Case]:
    """Values to codes by 255 edges."""
    values = np.random.default_rng(4).standard_normal(n_rows, dtype=np.float32)
    values[:: max(n_rows // 10, 1)] = np.nan
    edges = np.unique(np.nanquantile(values[:100_000], np.linspace(0, 1, 257)[1:-1]).astype(np.float32))[:255]
    codes = np.zeros(n_rows, dtype=np.uint16)
    for kind, dtype in (("f32", np.float32), ("f64", np.float64)):
        x, table = values.astype(dtype), np.full(256, np.inf, dtype=dtype)
        table[: len(edges)] = edges
        kernel = getattr(k, f"search_{kind}")

        def work(kernel=kernel, x=x, table=table):
            kernel(address(x), n_rows, address(table), len(table), address(codes))

        twin = None
        if reference:

            def twin(x=x):
                return reference.codes_of(x, edges)

            work()
            np.testing.assert_array_equal(codes, twin(), err_msg=f"search_{kind}")
        yield Case(f"search {kind}, {len(edges)} edges", "value", work, n_rows, twin, n_rows, known="search")


def losses(k: Kernels, reference, n_rows: int) -> Iterator[Case]:
    """Gradients and hessians, without weights."""
    rng = np.random.default_rng(5)
    raw, y = rng.normal(size=n_rows), rng.integers(0, 2, size=n_rows).astype(float)
    largest = np.zeros(2)

    def squared_error():
        return (raw - y)[:, None]

    def binary_log_loss():
        p = 1 / (1 + np.exp(-raw))
        return np.column_stack([p - y, p * (1 - p)])

    for twin, width, known in ((squared_error, 1, None), (binary_log_loss, 2, "binary")):
        name, pairs = twin.__name__, np.zeros((n_rows, width))
        kernel, arguments = getattr(k, name), (address(y), address(raw), None, n_rows, address(pairs), address(largest))
        kernel(*arguments)
        np.testing.assert_allclose(pairs, twin(), rtol=1e-9, atol=1e-13, err_msg=name)
        work = repeated(1, kernel, *arguments)
        yield Case(name.replace("_", " "), "row", work, n_rows, twin, n_rows, known=known)
        del pairs

    def sum_of_squares():
        return 0.5 * np.sum((raw - y) ** 2)

    def sum_of_log_losses():
        return np.sum(np.maximum(raw, 0) + np.log1p(np.exp(-np.abs(raw))) - y * raw)

    for name, twin in (("squared_error", sum_of_squares), ("binary_log_loss", sum_of_log_losses)):
        kernel, parameter = k.sum_of_losses[SUMMED.index(name)], np.zeros(1)
        arguments = (address(y), address(raw), None, n_rows, n_rows, 1, address(parameter))
        np.testing.assert_allclose(kernel(*arguments), twin(), rtol=1e-12, err_msg=f"sum of {name}")
        work = repeated(1, kernel, *arguments)
        yield Case(f"sum of {name.replace('_', ' ')}", "row", work, n_rows, twin, n_rows)

    levels, three = np.array([0.1, 0.5, 0.9]), rng.normal(size=(3, n_rows))

    def sum_of_quantiles():
        above = y - np.sort(three, axis=0)
        return np.sum(np.maximum(levels[:, None] * above, (levels[:, None] - 1) * above)) / 3

    arguments = (address(y), address(three), None, n_rows, n_rows, 3, address(levels))
    kernel = k.sum_of_losses[SUMMED.index("quantiles")]
    np.testing.assert_allclose(kernel(*arguments), sum_of_quantiles(), rtol=1e-12, err_msg="sum of quantiles")
    yield Case("sum of 3 quantiles", "row", repeated(1, kernel, *arguments), n_rows, sum_of_quantiles, n_rows)

    n, n_classes = max(n_rows // 10, 1), 10
    raws, label = rng.normal(size=(n_classes, n)), rng.integers(0, n_classes, size=n).astype(float)
    pairs = np.zeros((n_classes, n, 2))

    def softmax():
        e = np.exp(raws - raws.max(axis=0))
        p = e / e.sum(axis=0)
        return np.stack([p - (np.arange(n_classes)[:, None] == label), p * (1 - p)], axis=2)

    arguments = (address(label), address(raws), None, n, n, n_classes, address(pairs), address(largest))
    k.multinomial_log_loss(*arguments)
    np.testing.assert_allclose(pairs, softmax(), rtol=1e-9, atol=1e-13, err_msg="multinomial_log_loss")
    yield Case(
        "multinomial log loss, 10 classes", "row", repeated(1, k.multinomial_log_loss, *arguments), n, softmax, n
    )

    raws, largest = rng.normal(size=(2, n)), np.zeros(4)
    for name, y in (("normal_nll", rng.normal(size=n)), ("gamma_nll", rng.exponential(size=n))):
        kernel, pairs, twin = getattr(k, name), np.zeros((2, n, 2)), None
        if reference:

            def twin(name=name, y=y):
                slopes, informations = getattr(reference, name.replace("_nll", "_derivatives"))(y, raws)
                return np.stack([np.stack(slopes), np.stack(informations)], axis=2)

        arguments = (address(y), address(raws), None, n, n, 2, address(pairs), address(largest))
        kernel(*arguments)
        if twin:
            expected = twin()
            expected[1, :, 1] = np.maximum(expected[1, :, 1], np.abs(expected[1, :, 0]))
            np.testing.assert_allclose(pairs, expected, rtol=1e-9, atol=1e-12, err_msg=name)
        yield Case(name.replace("_nll", " likelihood"), "row", repeated(1, kernel, *arguments), n, twin, n)

    kept, bounds = rng.exponential(size=(n, 2)), np.zeros(2)
    pairs = kept.copy()
    k.weigh_by_root(address(pairs), None, n, 2.0, address(bounds))
    by_root = kept / np.sqrt(2.0 * kept[:, 1:])
    np.testing.assert_allclose(pairs, by_root, rtol=1e-14, err_msg="weigh_by_root")
    work = repeated(1, k.weigh_by_root, address(pairs), None, n, 2.0, address(bounds))
    yield Case("weigh by root", "row", work, n, lambda: kept / np.sqrt(2.0 * kept[:, 1:]), n)

    x = raw.copy()
    k.exponential(address(x), n_rows)
    np.testing.assert_allclose(x, np.exp(raw), rtol=1e-15, err_msg="exponential")
    work = repeated(1, k.exponential, address(x), n_rows)
    yield Case("exponential", "value", work, n_rows, lambda: np.exp(raw), n_rows, before=lambda: np.copyto(x, raw))


def random_tree(rng: np.random.Generator, n_leaves: int) -> np.ndarray:
    """Splits of a random tree in the layout of `Node`, parents first, leaves numbered from left to right.

    It is deeper than trees usually are, which only walking minds.
    """
    nodes = np.zeros(n_leaves - 1, dtype=np.dtype(Node))
    n_made = 0

    def grow(first: int, leaves: int) -> int:
        nonlocal n_made
        if leaves == 1:
            return ~first
        number, n_left = n_made, int(rng.integers(1, leaves))
        n_made += 1
        left = grow(first, n_left)
        right = grow(first + n_left, leaves - n_left)
        slot, shift = rng.integers(N_FEATURES), rng.integers(2)
        nodes[number] = (slot, rng.integers(1, 255) - shift, shift, (right, left), first, first + n_left)
        return number

    grow(0, n_leaves)
    return nodes


def predictions(k: Kernels, reference, n_rows: int) -> Iterator[Case]:
    """A block of 256 rows of codes through random trees; the twin takes a few of the trees."""
    rng = np.random.default_rng(6)
    codes = padded(rng.integers(0, 256, size=(N_FEATURES, PREDICT_BLOCK), dtype=np.uint8))
    raw = np.zeros(PREDICT_BLOCK)
    for n_leaves, in_planes, n_trees, name, known in (
        (31, 1, 200, "predict in planes, 31 leaves", "planes"),
        (255, 1, 40, "predict in planes, 255 leaves", None),
        (31, 0, 200, "predict by walking, 31 leaves", "walk"),
    ):
        nodes = [random_tree(rng, n_leaves) for _ in range(n_trees)]
        values = rng.normal(size=(n_trees, n_leaves))
        trees = (Tree * n_trees)(
            *(
                Tree(address(nodes[t]), address(values[t]), n_leaves - 1, n_leaves, 0, 1, in_planes)
                for t in range(n_trees)
            )
        )
        rest = (address(codes), PREDICT_BLOCK, PREDICT_BLOCK, address(raw), PREDICT_BLOCK)
        twin, few = None, 5
        if reference:
            model = SimpleNamespace(base_score=[0.0], trees=[])
            for tree, value in zip(nodes[:few], values[:few], strict=True):
                child = tree["child"]
                model.trees.append(
                    SimpleNamespace(
                        n_splits=n_leaves - 1,
                        feature=tree["slot"],
                        threshold=tree["code"] + tree["shift"] + 0.5,
                        missing_left=1 - tree["shift"],
                        left=child[:, 1],
                        right=child[:, 0],
                        leaf_value=value[:, None],
                        output=0,
                        categories=None,
                    )
                )
            X = reference.values_of(codes.T)

            def twin(model=model, X=X):
                return reference.predict(model, X)[0]

            raw[:] = 0
            k.predict_u8(trees, few, *rest)
            np.testing.assert_array_equal(raw, twin(), err_msg=name)
        work, idle = (repeated(20, k.predict_u8, trees, count, *rest) for count in (n_trees, 0))
        yield Case(
            name,
            "row and tree",
            work,
            20 * n_trees * PREDICT_BLOCK,
            twin,
            few * PREDICT_BLOCK,
            idle,
            known=known,
        )


FAMILIES = (histograms, records, scans, partitions, searches, losses, predictions)

# -- the table ---------------------------------------------------------------------------------------------------------


def fastest(call: Callable[[], object], repeat: int, before: Callable[[], object] | None = None) -> float:
    """Seconds of the fastest of so many calls."""
    seconds = []
    for _ in range(repeat):
        if before:
            before()
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def measure(case: Case, repeat: int) -> dict:
    """Nanoseconds of the kernel and of its twin, and what is known to be possible."""
    seconds = fastest(case.work, repeat, case.before) - (fastest(case.idle, repeat) if case.idle else 0.0)
    twin = None if case.twin is None else 1e9 * fastest(case.twin, min(repeat, 2)) / case.twin_count
    known, source = KNOWN.get(case.known, (None, None))
    return {
        "kernel": case.name,
        "unit": case.unit,
        "ns": 1e9 * seconds / case.count,
        "twin_ns": twin,
        "known_ns": known,
        "source": source,
    }


def markdown(lines: list[dict]) -> str:
    """The table, and under it where the last column is from."""
    sources = list(dict.fromkeys(line["source"] for line in lines if line["source"]))
    rows = ["| kernel | ns per | ns | numpy twin, ns | known to be possible, ns |", "|---|---|---:|---:|---:|"]
    for line in lines:
        twin = "" if line["twin_ns"] is None else f"{line['twin_ns']:,.2f}"
        known = f"{line['known_ns']} [{sources.index(line['source']) + 1}]" if line["source"] else ""
        rows.append(f"| {line['kernel']} | {line['unit']} | {line['ns']:.2f} | {twin} | {known} |")
    notes = [f"{number}. {source}." for number, source in enumerate(sources, 1)]
    return "\n".join([*rows, "", "The last column was measured on one core of a Zen 4:", "", *notes])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description="Nanoseconds of each kernel.")
    parser.add_argument("--isa", help="default: the one that boostgrad has chosen")
    parser.add_argument("--repeat", type=int, default=7, help="the fastest of so many counts")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args(arguments)
    isa = options.isa or boostgrad_isa()
    kernels, reference = load_kernels(isa), load_twins()
    if reference is None:
        print("no tests/reference.py for this boostgrad: most results are not compared", file=sys.stderr)
    lines = []
    for family in FAMILIES:
        for case in family(kernels, reference, options.rows):
            lines.append(measure(case, options.repeat))
            print(f"{case.name:<40} {lines[-1]['ns']:8.2f} ns per {case.unit}", file=sys.stderr)
    where = machine()
    print(f"Kernels for {isa}, 1 thread, {options.rows:,} rows; {where['cpu']}, {where['cores']} cores\n")
    print(markdown(lines))
    if options.json:
        record = {"isa": isa, "rows": options.rows, "machine": where, "kernels": lines}
        pathlib.Path(options.json).write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
