"""Every parameter of the estimators, listed once: name, default, what is accepted, what it means.

The estimators take their defaults, their checks and the parameter section of their docstrings from here; the rooms
below take the frozen dataclasses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any

from boostgrad.features import DATE_PARTS

# Counts are kept in 32 bits in places.
LARGEST = 2**31 - 1

# Errors show values in no more characters.
MOST_SHOWN = 200


@dataclass(frozen=True)
class Number:
    """An integer or a real number in an interval."""

    kind: type
    low: float
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def accepts(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, self.kind):
            return False
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return bool(above and below)

    def __str__(self) -> str:
        noun = "an integer" if self.kind is Integral else "a number"
        if math.isinf(self.low):
            return f"{noun} <= {self.high:.12g}"
        if math.isinf(self.high):
            return f"{noun} {'>' if self.low_open else '>='} {self.low:.12g}"
        brackets = "(" if self.low_open else "[", ")" if self.high_open else "]"
        return f"{noun} in {brackets[0]}{self.low:.12g}, {self.high:.12g}{brackets[1]}"


@dataclass(frozen=True)
class Finite(Number):
    """A number in an interval that is not infinite either."""

    def accepts(self, value: Any) -> bool:
        return super().accepts(value) and not math.isinf(value)


@dataclass(frozen=True)
class OneOf:
    """One of a few values."""

    values: tuple

    def accepts(self, value: Any) -> bool:
        return any(value is v or (type(value) is type(v) and value == v) for v in self.values)

    def __str__(self) -> str:
        return " or ".join(repr(v) for v in self.values)


@dataclass(frozen=True)
class Having:
    """Anything with these methods."""

    what: str
    methods: tuple[str, ...]

    def accepts(self, value: Any) -> bool:
        return not isinstance(value, type) and all(callable(getattr(value, m, None)) for m in self.methods)

    def __str__(self) -> str:
        return self.what


class Callbacks:
    """A list or tuple of callbacks."""

    CALLBACK = Having("a callback", ("before_training", "after_iteration", "after_training"))

    def accepts(self, value: Any) -> bool:
        return isinstance(value, list | tuple) and all(self.CALLBACK.accepts(callback) for callback in value)

    def __str__(self) -> str:
        return "a list of boostgrad.callbacks.Callback"


class Scorer:
    """The name of a scorer, which the estimator looks up, or a scorer."""

    def accepts(self, value: Any) -> bool:
        return (isinstance(value, str) and value != "") or (callable(value) and not isinstance(value, type))

    def __str__(self) -> str:
        return "the name of a scikit-learn scorer, or a scorer(estimator, X, y)"


class SeveralScorers:
    """Names of scorers, each once, or scorers by names of one's own, of which "loss" is taken."""

    SCORER = Scorer()

    def accepts(self, value: Any) -> bool:
        if isinstance(value, list | tuple):
            return 0 < len(value) == len({name for name in value if isinstance(name, str) and name})
        return isinstance(value, dict) and bool(value) and all(map(self._is_named, value.items()))

    def _is_named(self, item: tuple[Any, Any]) -> bool:
        name, scorer = item
        taken = name == "loss" and not (isinstance(scorer, str) and scorer == "loss")
        return isinstance(name, str) and name != "" and not taken and self.SCORER.accepts(scorer)

    def __str__(self) -> str:
        return "a list of such names, each once, or a dict of names or scorers by names of one's own"


class ClassWeights:
    """A dict of weights."""

    WEIGHT = Finite(Real, 0)

    def accepts(self, value: Any) -> bool:
        return isinstance(value, dict) and all(self.WEIGHT.accepts(weight) for weight in value.values())

    def __str__(self) -> str:
        return "a dict of finite numbers >= 0 by label"


class Levels:
    """A list, tuple or array of levels."""

    LEVEL = Number(Real, 0, 1, low_open=True, high_open=True)

    def accepts(self, value: Any) -> bool:
        if getattr(value, "ndim", 0) == 1 and hasattr(value, "tolist"):
            value = value.tolist()
        if not isinstance(value, list | tuple) or not value or not all(self.LEVEL.accepts(v) for v in value):
            return False
        return all(a < b for a, b in zip(value, value[1:], strict=False))

    def __str__(self) -> str:
        return "a list of them in ascending order"


class ColumnChoice:
    """A mask, or numbers or names of columns."""

    def accepts(self, value: Any) -> bool:
        if isinstance(value, str | bytes | dict | set) or not hasattr(value, "__len__"):
            return False
        kinds = {self._kind(item) for item in value} if not hasattr(value, "ndim") or value.ndim == 1 else {None}
        return len(kinds) <= 1 and None not in kinds

    @staticmethod
    def _kind(item: Any) -> str | None:
        if isinstance(item, bool) or type(item).__name__ in ("bool_", "bool"):  # numpy's, which is not imported here
            return "bool"
        return "number" if isinstance(item, Integral) else "name" if isinstance(item, str) else None

    def __str__(self) -> str:
        return "a mask, numbers or names of columns"


class Several:
    """A list or tuple of a few words, each at most once."""

    def __init__(self, words: tuple[str, ...]):
        self.words = words

    def accepts(self, value: Any) -> bool:
        if not isinstance(value, list | tuple):
            return False
        return all(isinstance(v, str) and v in self.words for v in value) and len(set(value)) == len(value)

    def __str__(self) -> str:
        return f"a tuple of some of {', '.join(map(repr, self.words))}"


def parameter(default: Any, *accepted: Any, doc: str) -> Any:
    return field(default=default, metadata={"accepted": accepted, "doc": doc})


@dataclass(frozen=True)
class TreeParams:
    """What a tree grower is told."""

    max_leaf_nodes: int | None = parameter(
        31, Number(Integral, 2, LARGEST), OneOf((None,)), doc="Most leaves of a tree. None: no limit."
    )
    max_depth: int | None = parameter(
        None,
        Number(Integral, 1, LARGEST),
        OneOf((None,)),
        doc="Most splits between the root and a leaf. None: no limit.",
    )
    min_samples_leaf: int = parameter(
        20, Number(Integral, 1, LARGEST), doc="Fewest training rows in a leaf; counted, never estimated."
    )
    min_child_weight: float = parameter(
        1e-3, Finite(Real, 0), doc="Least sum of the hessians (times the sample weights) in a leaf."
    )
    min_split_gain: float = parameter(
        0.0,
        Finite(Real, 0),
        doc="Least gain of a split: score(left) + score(right) - score(parent) with score = T(G)^2 / (H + l2).",
    )
    l1_regularization: float = parameter(0.0, Finite(Real, 0), doc="L1 penalty on leaf values.")
    l2_regularization: float = parameter(0.0, Finite(Real, 0), doc="L2 penalty on leaf values.")
    max_delta_step: float = parameter(
        0.0, Finite(Real, 0), doc="Largest leaf value before shrinkage, in absolute terms. 0: no bound."
    )
    grow_policy: str = parameter(
        "leafwise",
        OneOf(("leafwise", "depthwise", "symmetric")),
        doc='"leafwise": the leaf with the largest gain is split next. "depthwise": level by level. "symmetric": all '
        "leaves of a level are split by one rule, the one that they gain most by together (oblivious trees), but for "
        "those that gain no more than min_split_gain by it or would have a child that is too small. Levels are bounded "
        "by max_depth; where max_leaf_nodes runs out, the leaves that gain most are split. With max_depth=6, "
        "max_leaf_nodes=64 trees have the shape of CatBoost's.",
    )
    learning_rate: float = parameter(0.1, Finite(Real, 0, low_open=True), doc="Shrinkage: leaf values times this.")


@dataclass(frozen=True)
class CategoryParams:
    """How splits of categorical features are kept from following noise; not parameters of the estimators.

    Attributes
    ----------
    few_levels : int
        A node with rows of at most so many levels is split without any of the following.
    min_rows : int
        A level with fewer rows in the node is pooled with others of its kind.
    noise : float
        Share of the variance of the gradients that counts as noise where the deviations of levels are shrunk.
    extra_l2 : float
        Added to ``l2_regularization`` where the gain is judged, not in leaf values.
    guided_noise : float
        ``noise`` times this for a feature whose levels have target statistics, too: what a level is like in general is
        known there, and sets are for what it is like beside other features.
    """

    few_levels: int = 4
    min_rows: int = 20
    noise: float = 0.2
    extra_l2: float = 10.0
    guided_noise: float = 5.0


@dataclass(frozen=True)
class BoostParams:
    """What the boosting loop is told."""

    n_estimators: int = parameter(
        100, Number(Integral, 1, LARGEST), doc="Boosting iterations; the upper bound where early stopping is on."
    )
    max_bins: int = parameter(255, Number(Integral, 2, 65535), doc="Most bins for the non-missing values of a feature.")
    categorical_features: Any = parameter(
        "from_dtype",
        OneOf(("from_dtype", None)),
        ColumnChoice(),
        doc='Columns that are categories. "from_dtype": those of text, of categorical, enum or dictionary types, and '
        "of bools (but for arrays of bools, whose columns are numbers). Text in columns that are no categories is read "
        "as numbers.",
    )
    unknown_category: str = parameter(
        "missing",
        OneOf(("missing", "rare", "error")),
        doc="What predictions make of a category that training has not seen: a missing value (but of target "
        "statistics one of which nothing is known); one of those that were so rare that they were pooled (where none "
        "was, a missing value); or an error.",
    )
    target_statistics: str = parameter(
        "auto",
        OneOf(("auto", "always", "never")),
        doc="Numeric features for the levels of categories: what is known of a level's target from other rows, without "
        "the row's own (ordered target statistics; Prokhorenkova et al. 2018), drawn afresh as boosting goes on. "
        '"auto": for columns of 300 levels or more, and for those of 32 or more with fewer than 400 training rows a '
        'level; beside splits on sets of levels, or in place of them below 30 rows a level. "always": for all '
        'categories. "never": for none. Of levels that training has not seen nothing is known, whatever '
        'unknown_category="missing" says.',
    )
    date_parts: Any = parameter(
        None,
        OneOf((None,)),
        Several(DATE_PARTS),
        doc="Features to make of each column of dates, beside the time in seconds since 1970; they are named "
        "<column>__<part>.",
    )
    early_stopping: bool | str = parameter(
        "auto",
        OneOf(("auto", True, False)),
        doc='Stop when the validation score no longer improves. "auto": above 10,000 rows that are not all of '
        "one group, or when X_val is given.",
    )
    validation_fraction: Any = parameter(
        0.1,
        Number(Real, 0, 1, low_open=True, high_open=True),
        Having("a scikit-learn splitter", ("split", "get_n_splits")),
        doc="Fraction of the rows (of the groups, where fit is given some) that is set aside for early stopping, or a "
        "scikit-learn splitter, whose first split is used. Ignored when X_val is given.",
    )
    n_iter_no_change: int = parameter(
        10, Number(Integral, 1, LARGEST), doc="Early stopping: iterations without improvement before it stops."
    )
    tol: float = parameter(
        1e-7,
        Finite(Real, 0),
        doc="Early stopping: an improvement counts where it is more than this share of what was gained so far, over "
        "the score before the first tree.",
    )
    scoring: Any = parameter(
        "loss",
        OneOf(("loss",)),
        Scorer(),
        SeveralScorers(),
        doc="What early stopping goes by, and what train_score_ and validation_score_ hold: the loss; the name of a "
        "scikit-learn scorer (sklearn.metrics.get_scorer_names()), for the ranker also 'ndcg', 'map' (mean average "
        "precision), 'ndcg@k' and 'map@k' (k a number), for survival analysis 'concordance_index'; or a callable "
        "scorer(estimator, X, y), which is given sample_weight and groups, too, where it has parameters of these "
        "names. The common names are computed from the raw predictions that boosting has, without scikit-learn. A "
        "scorer gets an estimator that answers predict, predict_proba and decision_function for this X from those, "
        "too. Several, as a list or a dict: early stopping and these attributes go by the first, all are in "
        "train_scores_ and validation_scores_.",
    )
    multi_strategy: str = parameter(
        "auto",
        OneOf(("auto", "one_output_per_tree", "multi_output_tree")),
        doc="What an iteration adds to a model of several outputs (classes, targets, quantiles, parameters of a "
        "distribution): a tree for each, or one tree whose leaves are vectors, which costs less the more outputs there "
        'are and shares its splits among them. "auto": one tree for the quantiles of a target, or the parameters of '
        "its distribution, and multi_output_tree above 30 outputs. Of hundreds of classes one tree wants a larger "
        "learning_rate (0.2 to 0.3), and more leaves where many conditions tell the outputs apart.",
    )
    init: Any = parameter(
        None,
        OneOf((None, "zero")),
        Having("a scikit-learn estimator (raw predictions are given to fit as offset)", ("fit", "predict")),
        doc="Estimator from whose predictions boosting starts, at fit and predict; a copy is fitted to the training "
        "rows, with y as it was given, unless it is fitted already; beside an offset with y less the offset, or "
        "divided by the exposure. It predicts what the model does: numbers, "
        'probabilities, scores of rows of a query, or for survival analysis logarithms of risks ("cox"; such as '
        'scikit-survival\'s CoxPHSurvivalAnalysis) or times ("aft"). One that is fitted should not have seen rows that '
        "early stopping or ``calibrate`` holds out: scores would be too good, and prediction intervals too narrow. "
        "None: a constant. "
        '"zero": raw predictions of 0.',
    )
    callbacks: Any = parameter(None, OneOf((None,)), Callbacks(), doc="Callbacks, called in their order.")
    n_jobs: int | None = parameter(
        None,
        Number(Integral, 1, LARGEST),
        Number(Integral, -LARGEST, -1),
        OneOf((None,)),
        doc="Threads. None: what the process may use; -1: all processors. The model does not depend on it.",
    )
    verbose: int = parameter(0, Number(Integral, 0), OneOf((True, False)), doc="1: a progress bar on stderr.")
    random_state: Any = parameter(
        None,
        Number(Integral, 0, 2**32 - 1),
        Having("a RandomState", ("randint", "uniform")),
        OneOf((None,)),
        doc="Seed of the validation split, of the orders of target statistics, of tied splits, and of how gradients "
        "are rounded where there are many rows.",
    )


@dataclass(frozen=True)
class RegressorParams:
    """What the regressor alone is told."""

    quantile: Any = parameter(
        None,
        Number(Real, 0, 1, low_open=True, high_open=True),
        Levels(),
        OneOf((None,)),
        doc='The level of the losses "quantile" and "expectile", which need it; None for all others. Several levels, '
        'for "quantile": one model predicts all of these quantiles, which never cross.',
    )


@dataclass(frozen=True)
class ClassifierParams:
    """What the classifier alone is told."""

    class_weight: Any = parameter(
        None,
        OneOf((None, "balanced")),
        ClassWeights(),
        doc="Weights of the classes, times those of the rows, for training and validation rows alike. A dict: by "
        'label, 1 for one that is not in it; labels that y has none of do not matter. "balanced": n_rows / '
        "(n_classes * rows of the class), rows counted with their weights.",
    )


ALL = {f.name: f for group in (TreeParams, BoostParams, RegressorParams, ClassifierParams) for f in fields(group)}


def shown(value: Any) -> str:
    """The value for an error: as Python shows it, in one line, and without the middle where that is long."""
    words = " ".join(repr(value).split())
    return words if len(words) <= MOST_SHOWN else f"{words[: MOST_SHOWN - 60]} ... {words[-50:]}"


def check(owner: str, name: str, value: Any) -> None:
    """Raise unless the parameter accepts the value.

    Raises
    ------
    ValueError
        If it does not; the message names the parameter, what is accepted and what was given. A value of a wrong type
        is a ValueError too, as in scikit-learn.
    """
    accepted = ALL[name].metadata["accepted"]
    if not any(choice.accepts(value) for choice in accepted):
        words = ", or ".join(str(choice) for choice in accepted)
        raise ValueError(f"The {name!r} parameter of {owner} must be {words}. Got {shown(value)} instead.")


def documented(names: list[str]) -> str:
    """The numpydoc parameter section for these names."""
    import textwrap

    lines = []
    for name in names:
        entry = ALL[name]
        words = " or ".join(str(choice) for choice in entry.metadata["accepted"])
        lines.append(f"{name} : {words}, default={entry.default!r}")
        lines += textwrap.wrap(entry.metadata["doc"], 110, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)
