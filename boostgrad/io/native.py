"""boostgrad's own model file: an ``Ensemble``, what an estimator adds to it, and a checksum.

Reading a file runs no code from it. All numbers are little-endian::

    byte 0   magic         8 bytes  89 42 47 52 41 44 0D 0A    (\\x89 B G R A D \\r \\n)
    byte 8   format        uint32   format version, at most FORMAT_VERSION of the writer
    byte 12  header size   uint64   H
    byte 20  file size     uint64   F, checksum included
    byte 28  header        H bytes of UTF-8 JSON
             zeros         up to the next multiple of 64, which is D
    byte D   sections      raw arrays in C order, each at a multiple of 64, zeros between them
    byte F-32  checksum    SHA-256 of all bytes before it

The header is one JSON object::

    {"format_version": 1, 2 or 3, "boostgrad_version": "...",
     "ensemble":  {"n_features", "feature_names", "loss", "loss_parameters",
                   "features": [{"kind", "source", "part", "levels", "rare_levels"}, ...]},
     "estimator": {anything the caller wants back},
     "sections":  [{"name", "dtype", "shape", "offset"}, ...]}           offset counts from D, and ascends

Trees lie end to end in the sections ``ensemble/<column>``. Of T trees with S splits and L = S + T leaves together,
tree t owns the splits ``split_offsets[t] : split_offsets[t + 1]`` and the leaves alike::

    split_offsets  [0        | 2     | 2       | 5 ]    int64, T + 1      tree 1 is a single leaf
    leaf_offsets   [0        | 3     | 4       | 8 ]    int64, T + 1
    feature, ...   [s s      |       | s s s   ]        S of them, children numbered within their tree
    leaf_cover, .. [l l l    | l     | l l l l ]        L of them
    leaf_value     [v v v    | v     | v v v v ]        leaf by leaf, n_values[t] for each leaf of tree t
    output, n_values                                    T of them: value v of a leaf is for output + v
    base_score                                          one per output

``features`` is there only where they are not all plain columns of numbers. What a feature's object leaves out is null
or empty; levels are JSON strings, numbers and booleans.

The format version is 3 where leaves are vectors, else 2 where ``features`` is there or a split is categorical, else 1.
From 2 on two sections more are there; see ``CategorySets``::

    category_words [-1 2 |       | 0 -1 1  ]        int32, S: words of each split's set of levels, -1: numeric split
    category_bits  [ w w |       |      w  ]        uint32, the words end to end

Arrays of the estimator are the sections ``arrays/<name>``. Header keys and sections that a reader does not know are
skipped, so later versions may add some; FORMAT_VERSION grows only when an old reader would misread the file, and a
file has the lowest version that can say what is in it. The first 12 bytes keep their meaning for ever.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
import shutil
import struct
from dataclasses import dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from boostgrad.features import DATE_PARTS, KINDS, FeatureInfo, numbers
from boostgrad.tree.model import CategorySets, Ensemble, Tree, TreeStatistics

FORMAT_VERSION = 3

try:
    LIBRARY_VERSION = version("boostgrad")
except PackageNotFoundError:
    LIBRARY_VERSION = "0+unknown"

_MAGIC = b"\x89BGRAD\r\n"
_PRELUDE = struct.Struct("<8sIQQ")
_ALIGNMENT = 64
_DIGEST_SIZE = hashlib.sha256().digest_size
_DTYPES = frozenset("|b1 |i1 <i2 <i4 <i8 |u1 <u2 <u4 <u8 <f2 <f4 <f8".split())
_TEXT_DTYPE = re.compile("<U[1-9][0-9]{0,6}", re.ASCII)

# The columns of the trees: one entry per split, leaf or tree.
_SPLIT_COLUMNS = {"feature": "<i4", "threshold": "<f8", "missing_left": "|u1", "left": "<i4", "right": "<i4"}
_SPLIT_COLUMNS |= {"split_gain": "<f8", "split_cover": "<f8", "split_count": "<i8"}
_LEAF_COLUMNS = {"leaf_cover": "<f8", "leaf_count": "<i8"}
_TREE_COLUMNS = {"output": "<i4", "n_values": "<i4"}
_OTHER_COLUMNS = {"split_offsets": "<i8", "leaf_offsets": "<i8", "leaf_value": "<f8", "base_score": "<f8"}
_COLUMNS = _SPLIT_COLUMNS | _LEAF_COLUMNS | _TREE_COLUMNS | _OTHER_COLUMNS
_LEVEL_TYPES = (str, int, float, bool)
_CATEGORY_COLUMNS = {"category_words": "<i4", "category_bits": "<u4"}  # from version 2 on
_MAX_WORDS = 2**16 // 32  # of the set of one split
_STATISTICS = frozenset(column.name for column in fields(TreeStatistics))


class ModelFormatError(ValueError):
    """The data is no model that this version of boostgrad can read; the message says what is wrong with it."""


@dataclass(frozen=True, eq=False)
class StoredModel:
    """What a model file holds.

    Attributes
    ----------
    ensemble : Ensemble
    estimator : dict
        As it was given to ``save``, the way JSON holds it: tuples come back as lists, keys as strings.
    arrays : dict of str to ndarray
        The estimator's arrays; they are writable copies in native byte order.
    format_version : int
    """

    ensemble: Ensemble
    estimator: dict[str, Any]
    arrays: dict[str, np.ndarray]
    format_version: int


# ---- writing ---------------------------------------------------------------------------------------------------------


def dump_bytes(
    ensemble: Ensemble, *, estimator: dict[str, Any] | None = None, arrays: dict[str, np.ndarray] | None = None
) -> bytes:
    """The bytes of a model file; equal models give equal bytes.

    Parameters
    ----------
    ensemble : Ensemble
    estimator : dict, optional
        Anything that JSON can hold. NaN and infinities are written as Python's ``json`` writes them.
    arrays : dict of str to ndarray, optional
        Arrays of integers, floats up to 64 bits, bools or text (dtype ``U``).

    Raises
    ------
    TypeError
        An array, a parameter, a level of a category or a column of the trees is of a type that the file cannot hold.
    ValueError
        The ensemble contradicts itself, so ``load_bytes`` would refuse it.
    """
    names = ensemble.feature_names
    scalars = {
        "n_features": int(ensemble.n_features),
        "feature_names": None if names is None else list(names),
        "loss": ensemble.loss,
        "loss_parameters": ensemble.loss_parameters,
    }
    if ensemble.features != numbers(ensemble.n_features):
        scalars["features"] = [_described(info, j) for j, info in enumerate(ensemble.features)]
    # an old reader would take dates, and whatever else is not a plain number, for one
    categorical = any(tree.categories is not None and tree.categories.is_categorical.any() for tree in ensemble.trees)
    format_version = 2 if categorical or "features" in scalars else 1
    if any(np.ndim(tree.leaf_value) == 2 and tree.n_values > 1 for tree in ensemble.trees):
        format_version = 3  # an old reader would see the first value only
    columns = _concatenated(ensemble, format_version)
    _check_ensemble(scalars, columns)
    sections = {f"ensemble/{name}": column for name, column in columns.items()}
    for name, array in sorted((arrays or {}).items()):
        sections[f"arrays/{name}"] = _storable(name, array)

    entries, pieces, size = [], [], 0
    for name, array in sections.items():
        gap = -size % _ALIGNMENT
        entries.append({"name": name, "dtype": array.dtype.str, "shape": list(array.shape), "offset": size + gap})
        pieces += [bytes(gap), array.tobytes()]
        size += gap + array.nbytes
    header = {
        "format_version": format_version,
        "boostgrad_version": LIBRARY_VERSION,
        "ensemble": scalars,
        "estimator": estimator or {},
        "sections": entries,
    }
    for what, value in (("loss_parameters", ensemble.loss_parameters), ("estimator", header["estimator"])):
        try:
            json.dumps(value, sort_keys=True)
        except TypeError as error:
            raise TypeError(f"{what} holds what a model file cannot: {error}") from error
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    gap = -(_PRELUDE.size + len(text)) % _ALIGNMENT
    total = _PRELUDE.size + len(text) + gap + size + _DIGEST_SIZE
    prelude = _PRELUDE.pack(_MAGIC, format_version, len(text), total)
    body = b"".join([prelude, text, bytes(gap), *pieces])
    return body + hashlib.sha256(body).digest()


def save(
    path: str | os.PathLike[str],
    ensemble: Ensemble,
    *,
    estimator: dict[str, Any] | None = None,
    arrays: dict[str, np.ndarray] | None = None,
) -> None:
    """Write a model file: whole, or not at all. Until it is whole, a file already there stays as it was.

    Parameters
    ----------
    path : str or path-like
    ensemble, estimator, arrays
        As in ``dump_bytes``.
    """
    data = dump_bytes(ensemble, estimator=estimator, arrays=arrays)
    target = Path(os.path.realpath(os.fsdecode(path)))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot save a model as {str(target)!r}: its folder does not exist")
    if target.exists() and not target.is_file():
        raise OSError(f"cannot save a model as {str(target)!r}: that is not a regular file")
    temporary = target.with_name(f".boostgrad-{secrets.token_hex(8)}.tmp")
    with open(temporary, "xb") as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            file.close()
            if target.exists():
                shutil.copymode(target, temporary)
            os.replace(temporary, target)
        except BaseException:
            file.close()
            temporary.unlink(missing_ok=True)
            raise


def _concatenated(ensemble: Ensemble, format_version: int) -> dict[str, np.ndarray]:
    """The trees end to end, column by column."""
    trees = ensemble.trees
    dtypes = _columns_of(format_version)
    columns: dict[str, Any] = {name: [] for name in dtypes}
    for t, tree in enumerate(trees):
        if np.ndim(tree.leaf_value) != 2:
            raise ValueError(f"tree {t}: leaf_value has {np.ndim(tree.leaf_value)} dimensions, not 2")
        for name in (*_SPLIT_COLUMNS, *_LEAF_COLUMNS):
            part = np.asarray(getattr(tree.statistics if name in _STATISTICS else tree, name))
            expected = tree.n_splits if name in _SPLIT_COLUMNS else tree.n_leaves
            if part.shape != (expected,):
                raise ValueError(f"tree {t}: {name} has shape {part.shape}, not {(expected,)}")
            columns[name].append(part)
        columns["leaf_value"].append(np.ravel(tree.leaf_value))
        if "category_words" in dtypes:
            sets = tree.categories or CategorySets(np.full(tree.n_splits, -1, "<i4"), np.empty(0, "<u4"))
            if np.shape(sets.n_words) != (tree.n_splits,) or np.maximum(sets.n_words, 0).sum() != len(sets.bits):
                raise ValueError(f"tree {t}: the sets of its categorical splits do not fit together")
            columns["category_words"].append(np.asarray(sets.n_words))
            columns["category_bits"].append(np.asarray(sets.bits))
    columns["output"] = [np.array([tree.output for tree in trees], "<i4")]
    columns["n_values"] = [np.array([np.shape(tree.leaf_value)[1] for tree in trees], "<i4")]
    columns["split_offsets"] = [np.cumsum([0] + [tree.n_splits for tree in trees], dtype="<i8")]
    columns["leaf_offsets"] = [np.cumsum([0] + [tree.n_leaves for tree in trees], dtype="<i8")]
    columns["base_score"] = [np.asarray(ensemble.base_score)]
    for name, dtype in dtypes.items():
        try:
            columns[name] = np.concatenate([np.empty(0, dtype), *columns[name]], dtype=dtype, casting="safe")
        except TypeError as error:
            raise TypeError(f"{name} of the ensemble does not fit the dtype {dtype}: {error}") from error
    return columns


def holds_levels(ensemble: Ensemble) -> bool:
    """Whether a model file can hold the levels of the ensemble's categories."""
    return all(type(level) in _LEVEL_TYPES for info in ensemble.features for level in info.levels + info.rare_levels)


def _described(info: FeatureInfo, feature: int) -> dict[str, Any]:
    """The feature as JSON holds it."""
    for level in info.levels + info.rare_levels:
        if type(level) not in _LEVEL_TYPES:
            raise TypeError(
                f"feature {feature} has the level {level!r} of the type {type(level).__name__}; a model file holds "
                "levels that are strings, numbers or bools"
            )
    described = {"kind": info.kind, "source": info.source, "part": info.part}
    described |= {"levels": list(info.levels), "rare_levels": list(info.rare_levels)}
    return {name: value for name, value in described.items() if value not in (None, [])}


def _feature(described: Any) -> FeatureInfo:
    if type(described) is not dict:
        raise ValueError("a feature is not described by an object")
    info = FeatureInfo(
        kind=_field(described, "kind", str),
        source=_field(described, "source", int),
        part=_field({"part": None, **described}, "part", str, type(None)),
        levels=tuple(_field({"levels": [], **described}, "levels", list)),
        rare_levels=tuple(_field({"rare_levels": [], **described}, "rare_levels", list)),
    )
    if info.kind not in KINDS or (info.part is not None and (info.kind != "date" or info.part not in DATE_PARTS)):
        raise ValueError(f"a feature is of the unknown kind {info.kind!r}, {info.part!r}")
    levels = info.levels + info.rare_levels
    if not all(type(level) in _LEVEL_TYPES and level == level for level in levels) or (
        levels and info.kind != "category"
    ):
        raise ValueError("a feature has impossible levels")
    return info


def _features(scalars: dict[str, Any]) -> tuple[FeatureInfo, ...]:
    """The features in the order of the input columns, each of which is there as itself before its parts."""
    described = _field({"features": None, **scalars}, "features", list, type(None))
    if described is None:
        return numbers(scalars["n_features"])
    features = tuple(_feature(entry) for entry in described)
    if len(features) != scalars["n_features"]:
        raise ValueError("the ensemble is not valid: not every feature is described")
    source = -1
    for info in features:
        if info.source != source + (info.part is None) or source + (info.part is None) < 0:
            raise ValueError("the ensemble is not valid: its features are not in the order of the input columns")
        source = info.source
    return features


def _columns_of(format_version: int) -> dict[str, str]:
    """The columns that a file of this version has, and their dtypes."""
    return _COLUMNS | (_CATEGORY_COLUMNS if format_version >= 2 else {})


def _storable(name: str, array: Any) -> np.ndarray:
    """The array, little-endian and in C order, if a file can hold it."""
    array = np.asarray(array)
    little = array.astype(array.dtype.newbyteorder("<"), order="C") if array.dtype.kind in "biufU" else array
    if little.dtype.str not in _DTYPES and not _TEXT_DTYPE.fullmatch(little.dtype.str):
        raise TypeError(
            f"array {name!r} has dtype {array.dtype}; a model file holds integers, floats, bools and text (dtype 'U')"
        )
    return little


# ---- reading ---------------------------------------------------------------------------------------------------------


def load(path: str | os.PathLike[str]) -> StoredModel:
    """Read a model file.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    StoredModel

    Raises
    ------
    ModelFormatError
        As in ``load_bytes``. What the system says of a file that cannot be opened comes through as it is.
    """
    name = os.fsdecode(path)
    return load_bytes(Path(name).read_bytes(), source=repr(name))


def load_bytes(data: bytes | memoryview, source: str = "the data") -> StoredModel:
    """Read the bytes that ``dump_bytes`` made.

    Parameters
    ----------
    data : bytes-like
    source : str
        What error messages call it.

    Returns
    -------
    StoredModel

    Raises
    ------
    ModelFormatError
        The data is foreign, truncated or altered, of a newer format, or describes trees that cannot be walked.
    """
    try:
        return _parsed(memoryview(data).cast("B"))
    except ValueError as error:
        raise ModelFormatError(f"cannot load a model from {source}: {error}") from None


def _parsed(data: memoryview) -> StoredModel:
    start = bytes(data[: len(_MAGIC)])
    if not start or not _MAGIC.startswith(start):
        raise ValueError("it is empty" if not start else "it is not a boostgrad model")
    if len(data) < _PRELUDE.size:
        raise ValueError(f"it is truncated: it ends after {len(data)} bytes")
    _, format_version, header_size, file_size = _PRELUDE.unpack_from(data)
    if format_version > FORMAT_VERSION:
        raise ValueError(
            f"it is written in the newer format version {format_version}, this boostgrad reads up to {FORMAT_VERSION}"
        )
    if len(data) < file_size:
        raise ValueError(f"it is truncated: it ends after {len(data)} of {file_size} bytes")
    if len(data) > file_size or hashlib.sha256(data[:-_DIGEST_SIZE]).digest() != data[-_DIGEST_SIZE:]:
        raise ValueError("its checksum does not match: it was altered after it was written")

    header_end = _PRELUDE.size + header_size
    sections_begin = header_end + -header_end % _ALIGNMENT
    sections_end = file_size - _DIGEST_SIZE
    if sections_begin > sections_end:
        raise ValueError("its header is damaged: it is larger than the file")
    try:
        header = json.loads(bytes(data[_PRELUDE.size : header_end]).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its header is damaged: {error}") from None
    if type(header) is not dict or header.get("format_version") != format_version:
        raise ValueError("its header is damaged: it does not repeat the format version")
    dtypes = _columns_of(format_version)
    sections = _sections(_field(header, "sections", list), data[sections_begin:sections_end], dtypes)

    scalars = _field(header, "ensemble", dict)
    columns = {name: sections.pop(f"ensemble/{name}", None) for name in dtypes}
    for name, column in columns.items():
        if column is None or column.ndim != 1 or column.dtype != np.dtype(dtypes[name]).newbyteorder("="):
            raise ValueError(f"its section ensemble/{name} is missing or of the wrong type")
    _check_ensemble(scalars, columns)
    return StoredModel(
        ensemble=_assembled(scalars, columns),
        estimator=_field(header, "estimator", dict),
        arrays={name.removeprefix("arrays/"): array for name, array in sections.items()},
        format_version=format_version,
    )


def _field(mapping: dict[str, Any], key: str, *types: type) -> Any:
    value = mapping.get(key, ...)  # an absent key is not a null
    if type(value) not in types:
        raise ValueError(f"{key!r} is missing or of the wrong type")
    return value


def _sections(entries: list[Any], data: memoryview, columns: dict[str, str]) -> dict[str, np.ndarray]:
    """Copies of the sections that a file of this version may have, by name."""
    sections: dict[str, np.ndarray] = {}
    end = 0  # of the section before: as none overlap, they cannot take more memory than the file is long
    for entry in entries:
        if type(entry) is not dict:
            raise ValueError("its header is damaged: a section is not described by an object")
        name = _field(entry, "name", str)
        room, _, column = name.partition("/")
        if not name.startswith("arrays/") and (room != "ensemble" or column not in columns):
            continue
        dtype, shape, offset = _field(entry, "dtype", str), _field(entry, "shape", list), _field(entry, "offset", int)
        if dtype not in _DTYPES and not _TEXT_DTYPE.fullmatch(dtype):
            raise ValueError(f"its section {name} has the unknown dtype {dtype!r}")
        if len(shape) > 32 or not all(type(n) is int and 0 <= n < 2**40 for n in shape):
            raise ValueError(f"its section {name} has an impossible shape")
        item = np.dtype(dtype)
        size = math.prod(shape) * item.itemsize
        if math.prod(n or 1 for n in shape) * item.itemsize >= 2**62 or not end <= offset <= len(data) - size:
            raise ValueError(f"its section {name} does not lie within the file, after the section before")
        if name in sections:
            raise ValueError(f"its section {name} is there twice")
        end = offset + size
        raw = np.frombuffer(data[offset:end], np.uint8) if size else np.empty(0, np.uint8)
        bad_bool = item.kind == "b" and raw.max(initial=0) > 1
        bad_text = item.kind == "U" and raw.view("<u4").max(initial=0) > 0x10FFFF
        if bad_bool or bad_text:
            raise ValueError(f"its section {name} holds values that its dtype {dtype} has not")
        sections[name] = np.array(raw.view(item).reshape(shape), dtype=item.newbyteorder("="))
    return sections


def _check_ensemble(scalars: dict[str, Any], columns: dict[str, np.ndarray]) -> None:
    """Raise ValueError unless every tree is a tree, and every number that predictors index with is in range."""

    def require(condition: Any, what: str) -> None:
        if not np.all(condition):
            raise ValueError(f"the ensemble is not valid: {what}")

    n_features = _field(scalars, "n_features", int)
    names = _field(scalars, "feature_names", list, type(None))
    _field(scalars, "loss", str)
    _field(scalars, "loss_parameters", dict)
    require(0 <= n_features < 2**31, "n_features is out of range")
    if "features" in scalars:
        _features(scalars)
    require(names is None or len(names) == n_features, "there is not one feature name for each feature")
    require(names is None or all(isinstance(name, str) for name in names), "a feature name is not a string")

    # No arithmetic on a number before it is known to be in range: int64 would wrap round.
    split_begin, leaf_begin = columns["split_offsets"], columns["leaf_offsets"]
    n_outputs, n_trees = len(columns["base_score"]), len(split_begin) - 1
    n_splits, n_leaves = len(columns["feature"]), len(columns["leaf_cover"])
    require(n_outputs >= 1, "base_score is empty")
    require(n_trees >= 0 and len(leaf_begin) == n_trees + 1, "split_offsets and leaf_offsets differ in length")
    for per, length in ((_SPLIT_COLUMNS, n_splits), (_LEAF_COLUMNS, n_leaves), (_TREE_COLUMNS, n_trees)):
        for name in per:
            require(len(columns[name]) == length, f"{name} has a wrong length")
    require(split_begin[0] == 0 and split_begin[-1] == n_splits, "split_offsets do not span the splits")
    require(split_begin[1:] >= split_begin[:-1], "split_offsets do not ascend")
    require(n_leaves == n_splits + n_trees, "there are not as many leaves as splits and trees together")
    require(leaf_begin == split_begin + np.arange(n_trees + 1), "a tree does not have one leaf more than splits")

    output, n_values = columns["output"].astype(np.int64), columns["n_values"].astype(np.int64)
    require((output >= 0) & (n_values >= 1) & (output + n_values <= n_outputs), "a tree's outputs are out of range")
    require(len(columns["leaf_value"]) == np.sum(np.diff(leaf_begin) * n_values), "leaf_value has a wrong length")
    require((columns["feature"] >= 0) & (columns["feature"] < n_features), "a split's feature is out of range")
    require(columns["missing_left"] <= 1, "missing_left is neither 0 nor 1")

    if "category_words" in columns:
        n_words, bits = columns["category_words"].astype(np.int64), columns["category_bits"]
        require(len(n_words) == n_splits, "category_words has a wrong length")
        require((n_words >= -1) & (n_words <= _MAX_WORDS), "category_words is out of range")
        require(np.maximum(n_words, 0).sum() == len(bits), "category_bits has a wrong length")
        kinds = np.unique(np.stack([columns["feature"].astype(np.int64), n_words >= 0]), axis=1)
        require(np.diff(kinds[0]) > 0, "a feature has both numeric and categorical splits")
        if "features" in scalars:
            described = np.array([info.kind == "category" for info in _features(scalars)], dtype=bool)
            require(described[kinds[0]] == kinds[1], "a feature is not split as its kind is")

    # Number all nodes: the splits of all trees, then the leaves of all trees. A tree is a tree when every node but
    # the root is the child of exactly one split, and every split comes after its parent.
    splits_of = np.diff(split_begin)
    tree = np.repeat(np.arange(n_trees), splits_of)
    place = np.arange(n_splits) - split_begin[tree]
    is_child = np.zeros(n_splits + n_leaves, dtype=np.int64)
    for side in ("left", "right"):
        child = columns[side].astype(np.int64)
        inside = np.where(child >= 0, (child > place) & (child < splits_of[tree]), ~child <= splits_of[tree])
        require(inside, f"a {side} child is out of range or not after its parent")
        node = np.where(child >= 0, split_begin[tree] + child, n_splits + leaf_begin[tree] + ~child)
        is_child += np.bincount(node, minlength=len(is_child))
    is_child[np.where(splits_of > 0, split_begin[:-1], n_splits + leaf_begin[:-1])] += 1  # the roots
    require(is_child == 1, "a node is the child of no split, or of two")


def _assembled(scalars: dict[str, Any], columns: dict[str, np.ndarray]) -> Ensemble:
    """The ensemble of checked columns; its trees are views of them."""
    n_values = columns["n_values"].tolist()
    splits, leaves = columns["split_offsets"].tolist(), columns["leaf_offsets"].tolist()
    trees, value = [], 0
    n_words = columns.get("category_words", np.full(len(columns["feature"]), -1, dtype=np.int32))
    words = np.append(0, np.cumsum(np.maximum(n_words, 0), dtype=np.int64))
    for t, width in enumerate(n_values):
        of_tree = {name: columns[name][splits[t] : splits[t + 1]] for name in _SPLIT_COLUMNS}
        of_tree |= {name: columns[name][leaves[t] : leaves[t + 1]] for name in _LEAF_COLUMNS}
        statistics = TreeStatistics(**{name: of_tree.pop(name) for name in _STATISTICS})
        sets = None
        if (n_words[splits[t] : splits[t + 1]] >= 0).any():
            bits = columns["category_bits"][words[splits[t]] : words[splits[t + 1]]]
            sets = CategorySets(n_words[splits[t] : splits[t + 1]], bits)
        size = (leaves[t + 1] - leaves[t]) * width
        leaf_value = columns["leaf_value"][value : value + size].reshape(-1, width)
        value += size
        trees.append(
            Tree(
                **of_tree,
                leaf_value=leaf_value,
                output=int(columns["output"][t]),
                statistics=statistics,
                categories=sets,
            )
        )
    names = scalars["feature_names"]
    return Ensemble(
        trees=trees,
        base_score=columns["base_score"],
        n_features=scalars["n_features"],
        feature_names=None if names is None else tuple(names),
        loss=scalars["loss"],
        loss_parameters=scalars["loss_parameters"],
        features=_features(scalars),
    )
