"""boostgrad.io.native: what goes in comes out, and nothing else is ever let in."""

import copy
import hashlib
import io
import json
import os
import pickle
import stat
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from boostgrad.features import FeatureInfo
from boostgrad.io import native
from boostgrad.io.native import ModelFormatError, dump_bytes, load, load_bytes, save
from boostgrad.tree.model import CategorySets, Ensemble, Tree, TreeStatistics

SPLIT_COLUMNS = ("feature", "threshold", "missing_left", "left", "right")
STATISTICS = ("split_gain", "split_cover", "split_count", "leaf_cover", "leaf_count")
ARRAYS = {
    "classes_": np.array(["nein", "ja, 日本"]),
    "train_score_": np.array([0.5, -0.0, np.nan, np.inf]),
    "mask": np.array([[True, False], [False, True]]),
    "empty": np.empty((0, 3), np.float32),
    "scalar": np.array(7, np.uint16),
}


def make_tree(left, right, *, n_values=1, output=0, seed=0, sets=None):
    """A tree of these children; every other number in it is arbitrary, and differs from tree to tree."""
    rng = np.random.default_rng(seed)
    n_splits = len(left)
    n_leaves = n_splits + 1
    return Tree(
        feature=rng.integers(0, 3, n_splits).astype(np.int32),
        threshold=rng.normal(size=n_splits),
        missing_left=rng.integers(0, 2, n_splits).astype(np.uint8),
        left=np.array(left, np.int32),
        right=np.array(right, np.int32),
        leaf_value=rng.normal(size=(n_leaves, n_values)),
        output=output,
        statistics=TreeStatistics(
            split_gain=rng.random(n_splits),
            split_cover=rng.random(n_splits),
            split_count=rng.integers(1, 2**40, n_splits),
            leaf_cover=rng.random(n_leaves),
            leaf_count=rng.integers(1, 2**40, n_leaves),
        ),
        categories=None if sets is None else CategorySets.of(sets, n_splits),
    )


def stump(**options):
    return make_tree([-1], [-2], **options)


def single_leaf(**options):
    return make_tree([], [], **options)


def deeper(**options):
    """Splits 0 -> (1, 2), 2 -> (leaf, 3)."""
    return make_tree([1, -1, -3, -4], [2, -2, 3, -5], **options)


def categorical(seed=0):
    """Split 1 is numeric, the set of split 2 is empty; feature 2 is the numeric one."""
    words = {s: np.arange(1, n + 1, dtype=np.uint32) for s, n in ((0, 3), (2, 0), (3, 1))}
    tree = deeper(seed=seed, sets=words)
    tree.feature[:] = 0, 2, 1, 0
    tree.threshold[[0, 2, 3]] = np.nan
    return tree


def make_ensemble(trees, n_outputs=1, **changes):
    values = {
        "trees": trees,
        "base_score": np.linspace(-0.1, 1 / 3, n_outputs),
        "n_features": 3,
        "feature_names": None,
        "loss": "squared_error",
        "loss_parameters": {},
    }
    return Ensemble(**(values | changes))


ENSEMBLES = {
    "no trees": make_ensemble([]),
    "no features": make_ensemble([single_leaf()], n_features=0, feature_names=()),
    "single leaf": make_ensemble([single_leaf()]),
    "single leaves between": make_ensemble(
        [single_leaf(seed=1), deeper(seed=2), single_leaf(seed=3), single_leaf(seed=4), stump(seed=5)]
    ),
    "names": make_ensemble([stump()], feature_names=("größe", "年", 'a "b"\n\x00 \ud800')),
    "outputs": make_ensemble([f(output=k, seed=k) for k, f in enumerate((stump, single_leaf, deeper))], n_outputs=3),
    "vector leaves": make_ensemble(
        [deeper(n_values=3, seed=1), single_leaf(n_values=3, seed=2), stump(n_values=2, output=1, seed=3)], n_outputs=3
    ),
    "features": make_ensemble(
        [stump()],
        feature_names=("colour", "sold", "sold__year"),
        features=(
            FeatureInfo("category", 0, None, (False, -3, 2**70, 0.1, float("inf"), "größe", ""), ("\ud800", 7)),
            FeatureInfo("date", 1),
            FeatureInfo("date", 1, "year"),
        ),
    ),
    "categories": make_ensemble([single_leaf(), categorical(seed=1), categorical(seed=2)]),
    "categories of some": make_ensemble([categorical(seed=1), make_tree([], [], sets={})]),
    "loss parameters": make_ensemble([stump()], loss="quantile", loss_parameters={"b": 0.1, "a": [1, None, "x"]}),
}


@pytest.fixture(scope="module")
def small():
    return make_ensemble([deeper(seed=1), single_leaf(seed=2)])


def assert_same_array(actual, expected):
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    assert actual.tobytes() == expected.tobytes()
    assert actual.flags.c_contiguous
    assert actual.flags.writeable


def assert_same_ensemble(actual, expected):
    assert_same_array(actual.base_score, expected.base_score)
    for name in ("n_features", "feature_names", "features", "loss", "loss_parameters"):
        assert getattr(actual, name) == getattr(expected, name)
    assert len(actual.trees) == len(expected.trees)
    for mine, theirs in zip(actual.trees, expected.trees, strict=True):
        assert mine.output == theirs.output
        for name in (*SPLIT_COLUMNS, "leaf_value"):
            assert_same_array(getattr(mine, name), getattr(theirs, name))
        for name in STATISTICS:
            assert_same_array(getattr(mine.statistics, name), getattr(theirs.statistics, name))
        assert (mine.categories is None) == (theirs.categories is None)
        if mine.categories is not None:
            assert_same_array(mine.categories.n_words, theirs.categories.n_words)
            assert_same_array(mine.categories.bits, theirs.categories.bits)


def taken_apart(data):
    """Header and sections of a file, by the docstring of the module alone."""
    header_size, file_size = (int.from_bytes(data[i : i + 8], "little") for i in (12, 20))
    assert file_size == len(data)
    header = json.loads(data[28 : 28 + header_size].decode("utf-8"))
    begin = -(-(28 + header_size) // 64) * 64
    return header, data[begin:-32]


def put_together(header, sections, version=None):
    """A file with a right checksum, whatever is in it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    if version is None:
        given = header.get("format_version") if isinstance(header, dict) else None
        version = given if type(given) is int else 1
    padding = bytes(-(28 + len(text)) % 64)
    size = 28 + len(text) + len(padding) + len(sections) + 32
    numbers = version.to_bytes(4, "little") + len(text).to_bytes(8, "little") + size.to_bytes(8, "little")
    body = b"\x89BGRAD\r\n" + numbers + text + padding + sections
    return body + hashlib.sha256(body).digest()


def crafted(ensemble, **columns):
    """The file of an ensemble with these columns in place of its own, and a right checksum."""
    header, old = taken_apart(dump_bytes(ensemble))
    new = b""
    for entry in header["sections"]:
        name = entry["name"].removeprefix("ensemble/")
        dtype = np.dtype(entry["dtype"])
        array = np.frombuffer(old, dtype, int(np.prod(entry["shape"])), entry["offset"])
        array = np.array(columns.pop(name, array), dtype)
        entry |= {"shape": [len(array)], "offset": len(new)}
        new += array.tobytes()
    assert not columns
    return put_together(header, new)


# ---- round trip ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENSEMBLES)
def test_round_trip(name, tmp_path):
    ensemble = ENSEMBLES[name]
    estimator = {"class": "Any", "params": {"n": 3, "x": 0.1, "none": None, "inf": float("inf")}, "ü": [1, [2]]}
    save(tmp_path / "model", ensemble, estimator=estimator, arrays=ARRAYS)
    stored = load(tmp_path / "model")
    assert_same_ensemble(stored.ensemble, ensemble)
    assert stored.estimator == estimator
    assert stored.format_version == {"c": 2, "v": 3}.get(name[0], 2 if name == "features" else 1)
    assert sorted(stored.arrays) == sorted(ARRAYS)
    for key, array in ARRAYS.items():
        assert_same_array(stored.arrays[key], array)


def test_without_estimator(small):
    stored = load_bytes(memoryview(bytearray(dump_bytes(small))))
    assert_same_ensemble(stored.ensemble, small)
    assert stored.estimator == {}
    assert stored.arrays == {}


def test_special_numbers_survive(small):
    tree = stump()
    tree.threshold[:] = -np.inf
    tree.leaf_value[:, 0] = -0.0, 5e-324
    assert_same_ensemble(load_bytes(dump_bytes(make_ensemble([tree]))).ensemble, make_ensemble([tree]))


@pytest.mark.parametrize(
    "dtype", ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", ">i4", ">f8", "U3", ">U3"]
)
def test_array_dtypes(small, dtype):
    array = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    for layout in (array, np.asfortranarray(array), array[:, ::-1]):
        actual = load_bytes(dump_bytes(small, arrays={"a": layout})).arrays["a"]
        assert actual.dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(actual, layout)


def test_stored_trees_are_independent_of_the_data(small):
    data = bytearray(dump_bytes(small))
    ensemble = load_bytes(data).ensemble
    data[:] = bytes(len(data))
    assert_same_ensemble(ensemble, small)


# ---- layout ----------------------------------------------------------------------------------------------------------


def test_layout(small):
    data = dump_bytes(small, estimator={"a": 1}, arrays=ARRAYS)
    assert data[:12] == b"\x89BGRAD\r\n\x01\0\0\0"
    assert data[-32:] == hashlib.sha256(data[:-32]).digest()
    header, sections = taken_apart(data)
    assert header["format_version"] == 1
    assert header["boostgrad_version"] == native.LIBRARY_VERSION
    assert header["estimator"] == {"a": 1}
    assert header["ensemble"]["n_features"] == 3
    assert all(entry["offset"] % 64 == 0 for entry in header["sections"])
    threshold = next(entry for entry in header["sections"] if entry["name"] == "ensemble/threshold")
    assert (threshold["dtype"], threshold["shape"]) == ("<f8", [4])
    np.testing.assert_array_equal(np.frombuffer(sections, "<f8", 4, threshold["offset"]), small.trees[0].threshold)


def test_same_model_same_bytes(small):
    first = dump_bytes(small, estimator={"a": {"x": 1, "y": 2}, "b": 2}, arrays=ARRAYS)
    again = dump_bytes(
        copy.deepcopy(small), estimator={"b": 2, "a": {"y": 2, "x": 1}}, arrays=dict(reversed(ARRAYS.items()))
    )
    assert first == again
    stored = load_bytes(first)
    assert dump_bytes(stored.ensemble, estimator=stored.estimator, arrays=stored.arrays) == first


# ---- what cannot be written ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a", None], object),
        np.array([b"a"]),
        np.array([1j]),
        np.array(["2020-01-01"], "M8[D]"),
        np.array([("a", 1.0)], [("x", "U1"), ("y", "f8")]),
    ],
    ids=lambda array: array.dtype.kind,
)
def test_array_refused(small, array, tmp_path):
    with pytest.raises(TypeError, match="array 'classes_' has dtype"):
        save(tmp_path / "model", small, arrays={"classes_": array})
    assert os.listdir(tmp_path) == []


def test_estimator_refused(small):
    with pytest.raises(TypeError, match="estimator holds .* ndarray"):
        dump_bytes(small, estimator={"a": np.zeros(2)})
    with pytest.raises(TypeError, match="loss_parameters holds .* set"):
        dump_bytes(make_ensemble([], loss_parameters={"a": set()}))


def broken(tree=None, **changes):
    """An ensemble of one deeper tree with these columns."""
    base = tree or deeper()
    values = {name: getattr(base, name) for name in (*SPLIT_COLUMNS, "leaf_value", "output", "statistics")}
    return make_ensemble([Tree(**(values | changes))])


@pytest.mark.parametrize(
    ("ensemble", "message"),
    [
        (broken(left=np.array([0, -1, -3, -4], np.int32)), "left child"),
        (broken(threshold=np.zeros(3)), "tree 0: threshold has shape"),
        (broken(leaf_value=np.zeros(5)), "tree 0: leaf_value has 1 dimension"),
        (broken(output=1), "outputs are out of range"),
        (make_ensemble([], feature_names=("a",)), "feature name"),
        (make_ensemble([], feature_names=("a", "b", 3)), "feature name"),
        (make_ensemble([], loss=None), "'loss'"),
        (make_ensemble([], base_score=np.empty(0)), "base_score"),
    ],
)
def test_invalid_ensemble_is_not_written(ensemble, message):
    with pytest.raises(ValueError, match=message):
        dump_bytes(ensemble)


def test_lossy_column_is_not_written():
    with pytest.raises(TypeError, match="feature of the ensemble"):
        dump_bytes(broken(feature=np.zeros(4)))


# ---- truncated, altered, foreign -------------------------------------------------------------------------------------


def test_every_altered_byte_is_noticed(small):
    data = dump_bytes(small, estimator={"a": 1}, arrays={"classes_": np.array(["a", "b"])})
    for i in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            altered = bytearray(data)
            altered[i] ^= flip
            with pytest.raises(ModelFormatError):
                load_bytes(altered)


def test_every_truncation_is_noticed(small):
    data = dump_bytes(small)
    for n in range(len(data)):
        with pytest.raises(ModelFormatError, match="truncated" if n else "empty"):
            load_bytes(data[:n])


def test_appended_bytes_are_noticed(small):
    with pytest.raises(ModelFormatError, match="checksum does not match"):
        load_bytes(dump_bytes(small) + b"\0")


def zip_file():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", "b")
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [b"tree\nversion=v4\n" * 99, b"{}", b"\0" * 999, zip_file(), pickle.dumps({"a": 1}), b"\x89PNG\r\n\x1a\n"],
)
def test_foreign_file(data, tmp_path):
    path = tmp_path / "some file"
    path.write_bytes(data)
    with pytest.raises(ModelFormatError, match="some file': it is not a boostgrad model$"):
        load(path)


def test_empty_file(tmp_path):
    path = tmp_path / "model"
    path.touch()
    with pytest.raises(ModelFormatError, match="model': it is empty$"):
        load(path)


def test_altered_file_is_named(small, tmp_path):
    path = tmp_path / "my model"
    data = dump_bytes(small)
    path.write_bytes(data[:-40] + b"!" + data[-39:])
    with pytest.raises(ModelFormatError, match="cannot load a model from '.*my model': its checksum does not match"):
        load(str(path))


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing")


def test_reading_runs_no_pickle(small, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("unpickled")

    monkeypatch.setattr(pickle, "loads", refuse)
    monkeypatch.setattr(pickle, "load", refuse)
    load_bytes(dump_bytes(small, arrays=ARRAYS))


# ---- other versions --------------------------------------------------------------------------------------------------


def test_newer_version(small):
    header, sections = taken_apart(dump_bytes(small))
    with pytest.raises(ModelFormatError, match="the data: .* newer format version 7, this boostgrad reads up to 3$"):
        load_bytes(put_together(header | {"format_version": 7}, sections, version=7))
    with pytest.raises(ModelFormatError, match="newer format version 7"):
        load_bytes(b"\x89BGRAD\r\n\x07\0\0\0" + bytes(99))  # whatever follows the first 12 bytes


def test_unknown_header_keys_and_sections_are_skipped(small):
    header, sections = taken_apart(dump_bytes(small, arrays=ARRAYS))
    header["later"] = {"a": [1]}
    header["ensemble"]["later"] = 1
    header["sections"][0]["later"] = 1
    header["sections"].insert(3, {"name": "ensemble/categories", "dtype": "bits", "shape": "?", "offset": -1})
    header["sections"].insert(0, {"name": "feature", "dtype": "<i4", "shape": [0], "offset": 0})
    header["sections"].append({"name": "later/x", "dtype": "<f8", "shape": [9], "offset": len(sections)})
    stored = load_bytes(put_together(header, sections + bytes(72)))
    assert_same_ensemble(stored.ensemble, small)
    assert sorted(stored.arrays) == sorted(ARRAYS)


# ---- crafted files with a right checksum -----------------------------------------------------------------------------

GOOD_LEFT, GOOD_RIGHT = [1, -1, -3, -4], [2, -2, 3, -5]
HUGE = 2**63 - 1


def test_crafted_helper_is_honest(small):
    assert_same_ensemble(load_bytes(crafted(small, left=GOOD_LEFT, right=GOOD_RIGHT)).ensemble, small)


@pytest.mark.parametrize(
    "columns",
    [
        {"left": [0, -1, -3, -4]},  # its own child
        {"right": [2, -2, 2, -5]},
        {"right": [2, 0, 3, -5]},  # a cycle
        {"right": [2, -2, 3, 1]},
        {"left": [4, -1, -3, -4]},  # beyond the splits
        {"left": [2**31 - 1, -1, -3, -4]},
        {"right": [2, -2, 3, -6]},  # beyond the leaves, in the next tree
        {"right": [2, -2, 3, -(2**31)]},
        {"right": [2, -2, 3, -4]},  # one leaf twice
        {"left": [2, -1, -3, -4]},  # one split twice
        {"feature": [0, 0, 3, 0]},
        {"feature": [0, 0, -1, 0]},
        {"feature": [0, 0, 0]},
        {"missing_left": [0, 2, 0, 0]},
        {"output": [0, 1]},
        {"output": [-1, 0]},
        {"output": [0]},
        {"n_values": [1, 0]},
        {"n_values": [1, 2]},
        {"n_values": [2**31 - 1, 1]},
        {"n_values": [1]},
        {"split_offsets": []},
        {"split_offsets": [0]},
        {"split_offsets": [0, 3, 4]},
        {"split_offsets": [0, 4, 5]},
        {"split_offsets": [0, 5, 4]},
        {"split_offsets": [0, HUGE, 4]},
        {"split_offsets": [0, -HUGE, 4]},
        {"split_offsets": [1, 4, 4]},
        {"leaf_offsets": [0, 4, 6]},
        {"leaf_offsets": [0, HUGE, 6]},
        {"leaf_offsets": [0, 5]},
        {"leaf_value": [0.0] * 5},
        {"leaf_value": [0.0] * 7},
        {"leaf_cover": [0.0] * 5},
        {"leaf_count": [0] * 7},
        {"split_gain": []},
        {"base_score": []},
    ],
    ids=str,
)
def test_crafted_columns(small, columns):
    with pytest.raises(ModelFormatError, match="the ensemble is not valid"):
        load_bytes(crafted(small, **columns))


@pytest.mark.parametrize(
    "columns",
    [
        {"category_words": [3, -1, 0]},
        {"category_words": [3, -2, 0, 1]},
        {"category_words": [2, -1, 0, 1]},
        {"category_words": [4, -1, 0, 1]},
        {"category_words": [2**31 - 1, -1, 0, 1]},
        {"category_words": [-(2**31), -1, 0, 1]},
        {"category_words": [2049, -1, 0, 1], "category_bits": [0] * 2050},
        {"category_words": [3, -1, 0, -1], "category_bits": [0] * 3},  # feature 0 of both kinds
        {"category_bits": []},
        {"category_bits": [0] * 5},
    ],
    ids=lambda columns: str(columns)[:60],
)
def test_crafted_categories(columns):
    honest = make_ensemble([categorical()])
    assert_same_ensemble(load_bytes(crafted(honest, category_words=[3, -1, 0, 1])).ensemble, honest)
    with pytest.raises(ModelFormatError, match="the ensemble is not valid: (category|a feature has both)"):
        load_bytes(crafted(honest, **columns))


@pytest.mark.parametrize("name", ["category_words", "category_bits"])
@pytest.mark.parametrize(
    "change", [{"name": "x/y"}, {"dtype": "<f4"}, {"dtype": "<i8"}, {"shape": [1, 4]}, {"shape": []}]
)
def test_sections_of_categories(name, change):
    header, sections = taken_apart(dump_bytes(make_ensemble([categorical()])))
    next(entry for entry in header["sections"] if entry["name"] == f"ensemble/{name}").update(change)
    with pytest.raises(ModelFormatError):
        load_bytes(put_together(header, sections))


def test_sets_that_do_not_fit_are_not_written():
    tree = categorical()
    for sets in (
        CategorySets(tree.categories.n_words[:3], tree.categories.bits[:3]),
        CategorySets(tree.categories.n_words, tree.categories.bits[:3]),
    ):
        with pytest.raises(ValueError, match="tree 0: the sets of its categorical splits"):
            dump_bytes(make_ensemble([replace(tree, categories=sets)]))


def test_the_version_is_the_lowest_that_will_do(small):
    assert dump_bytes(small)[8] == 1
    assert dump_bytes(make_ensemble([categorical()]))[8] == 2
    header, sections = taken_apart(dump_bytes(make_ensemble([categorical()])))
    header["format_version"] = 1  # in which these sections mean nothing
    assert load_bytes(put_together(header, sections)).ensemble.trees[0].categories is None


def test_tree_of_shared_children_is_refused():
    """Both children the next split: without a cycle, but with 2**40 paths for whoever follows them all."""
    n = 40
    honest = make_ensemble([make_tree([*range(1, n), -1], [~i for i in range(1, n + 1)])])
    assert load_bytes(dump_bytes(honest)).ensemble.trees[0].n_leaves == n + 1
    with pytest.raises(ModelFormatError, match="child of no split, or of two"):
        load_bytes(crafted(honest, right=[*range(1, n), -2]))


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "|O"},
        {"dtype": "O"},
        {"dtype": "<U0"},
        {"dtype": "<U9999999"},
        {"dtype": "<f16"},
        {"dtype": "f8,f8"},
        {"dtype": ["<f8"]},
        {"dtype": None},
        {"shape": [-1]},
        {"shape": [2.0]},
        {"shape": [True]},
        {"shape": [2**62]},
        {"shape": [2**30, 2**30]},
        {"shape": [0, 2**39, 2**39]},
        {"shape": [1] * 99},
        {"shape": 2},
        {"offset": -64},
        {"offset": 10**30},
        {"offset": 0},  # on top of another section
        {"offset": 1.5},
        {"name": 3},
        {"name": "ensemble/feature"},
    ],
    ids=str,
)
def test_crafted_section(small, change):
    header, sections = taken_apart(dump_bytes(small, arrays={"a": np.zeros(2)}))
    header["sections"][-1] |= change
    with pytest.raises(ModelFormatError):
        load_bytes(put_together(header, sections))


@pytest.mark.parametrize(("array", "byte"), [(np.array([True]), 2), (np.array(["a"]), 255)])
def test_values_that_the_dtype_has_not(small, array, byte):
    header, sections = taken_apart(dump_bytes(small, arrays={"a": array}))
    with pytest.raises(ModelFormatError, match="arrays/a holds values"):
        load_bytes(put_together(header, sections[: -array.nbytes] + bytes([byte]) * array.nbytes))


@pytest.mark.parametrize("key", ["format_version", "ensemble", "estimator", "sections"])
@pytest.mark.parametrize("value", [None, 3, [3], "x"])
def test_crafted_header(small, key, value):
    header, sections = taken_apart(dump_bytes(small))
    header[key] = value
    with pytest.raises(ModelFormatError):
        load_bytes(put_together(header, sections))


@pytest.mark.parametrize(
    "change",
    [
        {"n_features": -1},
        {"n_features": 2},  # the tree splits on feature 2
        {"n_features": 10**30},
        {"n_features": 3.0},
        {"n_features": True},
        {"feature_names": ["a"]},
        {"feature_names": ["a", "b", None]},
        {"feature_names": "abc"},
        {"loss": None},
        {"loss_parameters": []},
    ],
    ids=str,
)
def test_crafted_scalars(change):
    tree = deeper()
    tree.feature[:] = 2
    header, sections = taken_apart(dump_bytes(make_ensemble([tree])))
    header["ensemble"] |= change
    with pytest.raises(ModelFormatError):
        load_bytes(put_together(header, sections))


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b"9" * 9999, b'{"a":"\\'])
def test_header_that_is_no_header(text):
    with pytest.raises(ModelFormatError, match="header is damaged"):
        load_bytes(put_together(text, b""))


@pytest.mark.parametrize("key", ["n_features", "feature_names", "loss", "loss_parameters"])
def test_missing_scalar(small, key):
    header, sections = taken_apart(dump_bytes(small))
    del header["ensemble"][key]
    with pytest.raises(ModelFormatError, match=f"'{key}' is missing"):
        load_bytes(put_together(header, sections))


def test_missing_section(small):
    for i in range(len(native._COLUMNS)):
        header, sections = taken_apart(dump_bytes(small))
        del header["sections"][i]
        with pytest.raises(ModelFormatError, match="is missing"):
            load_bytes(put_together(header, sections))


@pytest.mark.parametrize("size", [2**63, 10**6, 4000])
def test_header_larger_than_the_file(size):
    data = bytearray(put_together({}, b""))
    data[12:20] = size.to_bytes(8, "little")
    data[-32:] = hashlib.sha256(data[:-32]).digest()
    with pytest.raises(ModelFormatError, match="larger than the file"):
        load_bytes(data)


@pytest.mark.parametrize("sets", [False, True])
def test_random_damage_under_a_right_checksum(small, sets):
    """Whatever the bytes are, they are refused, or they load as trees that can be walked."""
    data = dump_bytes(make_ensemble([categorical()]) if sets else small, arrays={"classes_": np.array(["a", "b"])})
    rng = np.random.default_rng(0)
    for _ in range(3000):
        damaged = bytearray(data)
        for i in rng.integers(8, len(data) - 32, rng.integers(1, 4)):
            damaged[i] = rng.integers(0, 256)
        damaged[-32:] = hashlib.sha256(damaged[:-32]).digest()
        try:
            ensemble = load_bytes(damaged).ensemble
        except ModelFormatError:
            continue
        for tree in ensemble.trees:
            assert leaves_reached(tree) == list(range(tree.n_leaves))
            if tree.categories is not None:
                assert sum(len(words) for words in tree.categories.words().values()) == len(tree.categories.bits)


def leaves_reached(tree):
    pending, leaves, steps = [0 if tree.n_splits else ~0], [], 0
    while pending:
        steps += 1
        assert steps <= tree.n_splits + tree.n_leaves
        node = pending.pop()
        if node < 0:
            leaves.append(~node)
        else:
            pending += [tree.left[node], tree.right[node]]
    return sorted(leaves)


# ---- saving is all or nothing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["replace", "fsync"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_failed_save_leaves_the_old_file(small, tmp_path, monkeypatch, step, error):
    path = tmp_path / "model"
    path.write_bytes(b"old")

    def fail(*_):
        raise error("disk full")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(error, match="disk full"):
        save(path, small)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model"]


def test_save_replaces(small, tmp_path):
    path = tmp_path / "model"
    save(path, ENSEMBLES["names"])
    save(str(path), small)
    assert path.read_bytes() == dump_bytes(small)
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_permissions(small, tmp_path):
    plain, path = tmp_path / "plain", tmp_path / "model"
    plain.touch()
    save(path, small)
    assert path.stat().st_mode == plain.stat().st_mode
    path.chmod(0o640)
    save(path, small)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(os.name != "posix", reason="symbolic links")
def test_save_through_a_link(small, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "model")
    save(tmp_path / "link", small)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "model").read_bytes() == dump_bytes(small)


def test_save_where_no_file_can_be(small, tmp_path):
    with pytest.raises(OSError, match="not a regular file"):
        save(tmp_path, small)
    with pytest.raises(FileNotFoundError, match="folder does not exist"):
        save(tmp_path / "nowhere" / "model", small)


NUMBER = {"kind": "number", "source": 0}


@pytest.mark.parametrize(
    "features",
    [
        3,
        [],
        [NUMBER],
        [NUMBER, 3, 3],
        [NUMBER, NUMBER, NUMBER],
        [NUMBER, NUMBER | {"source": 1}, NUMBER | {"source": 3}],
        [NUMBER, NUMBER | {"source": 1}, NUMBER | {"source": True}],
        [NUMBER, NUMBER | {"source": 1}, NUMBER | {"source": 2, "kind": "sound"}],
        [NUMBER, NUMBER | {"source": 1}, NUMBER | {"source": 2, "levels": ["a"]}],
        [NUMBER, NUMBER | {"source": 1}, {"kind": "category", "source": 2, "levels": "ab"}],
        [NUMBER, NUMBER | {"source": 1}, {"kind": "category", "source": 2, "levels": [["a"]]}],
        [NUMBER, NUMBER | {"source": 1}, {"kind": "category", "source": 2, "levels": [float("nan")]}],
        [{"kind": "date", "source": -1, "part": "year"}, NUMBER, NUMBER | {"source": 1}],
        [{"kind": "date", "source": 0}, {"kind": "date", "source": 0, "part": "week"}, NUMBER | {"source": 1}],
        [NUMBER, {"kind": "number", "source": 0, "part": "year"}, NUMBER | {"source": 1}],
    ],
    ids=str,
)
def test_crafted_features(small, features):
    header, sections = taken_apart(dump_bytes(small))
    header["ensemble"]["features"] = features
    with pytest.raises(ModelFormatError):
        load_bytes(put_together(header, sections))


def test_features_of_numbers_are_not_written(small):
    header, _ = taken_apart(dump_bytes(small))
    assert "features" not in header["ensemble"]
    with pytest.raises(ValueError, match="not every feature is described"):
        dump_bytes(make_ensemble([], features=(FeatureInfo("date", 0),)))


def test_levels_that_a_file_cannot_hold():
    odd = make_ensemble([], n_features=1, features=(FeatureInfo("category", 0, None, ("a", (1, 2))),))
    with pytest.raises(TypeError, match=r"feature 0 has the level \(1, 2\) of the type tuple"):
        dump_bytes(odd)
    assert not native.holds_levels(odd) and native.holds_levels(ENSEMBLES["features"])
