"""Target statistics: numbers that stand for the levels of a category, made so that no row sees its own target.

A level's statistic is the step that the raw prediction would take for its rows, from where boosting begins: minus the
sum of their gradients over the prior plus the sum of their hessians. For squared error that is the level's mean target
less that of all, for a log loss the same in proportions, and for any other loss what that loss makes of a target; the
prior pulls it to 0. Training rows get ordered statistics (``boostgrad.data.ordered``), drawn afresh as boosting goes
on, all others those of the whole level::

    column     level numbers   --learn-->  values of the levels        for predictions, in the schema
                               --draw-->   a value, or a bin, a row    for training
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from boostgrad.data.columns import Columns
from boostgrad.data.matrix import BinnedMatrix
from boostgrad.data.ordered import OrderedStatistics
from boostgrad.data.schema import MAX_LEVELS, TableSchema
from boostgrad.features import FeatureInfo

# "auto": columns with fewer levels than this, or more training rows a level, have splits on sets of levels alone.
MIN_LEVELS = 32
MOST_ROWS = 400
# Columns with so many levels have statistics however many rows there are.
MANY_LEVELS = 300
# Columns with fewer rows a level have statistics alone: sets of their levels would follow noise.
SET_ROWS = 30
# The first drawing is for so many iterations; later ones are for a half of those before them, if that is more. Each
# takes a look at all trees so far, which is then a bounded number of looks at each.
FIRST_DRAWING = 10
# Most signals: of a loss with more outputs those with the largest gradients count.
MAX_SIGNALS = 8
# Bounds of the prior, in rows.
PRIOR_ROWS = (1.0, 1000.0)


def columns_with_statistics(columns: Columns, n_rows: int, choice: str) -> list[int]:
    """Which of these columns get statistics.

    Parameters
    ----------
    columns : Columns
        Of level numbers and numbers.
    n_rows : int
        Training rows.
    choice : {"auto", "always", "never"}
    """
    if choice == "never" or columns.n_levels is None:
        return []
    if choice == "always":
        return [j for j, n in enumerate(columns.n_levels) if n > 0]
    n_levels = np.array(columns.n_levels)
    few_rows = (n_levels >= MIN_LEVELS) & (n_rows < n_levels * MOST_ROWS)
    return np.flatnonzero((n_levels >= MANY_LEVELS) | few_rows).tolist()


def prior_of(gradient: np.ndarray, hessian: np.ndarray, levels: np.ndarray, n_levels: int) -> float:
    """How much hessian the prior of a column's statistics has, by empirical Bayes.

    The variance of a gradient (per hessian) within levels over the variance of the levels' true ratios, which is
    estimated by moments (DerSimonian and Laird 1986, eq. 8); within ``PRIOR_ROWS``, in rows of mean hessian.

    Parameters
    ----------
    gradient, hessian : ndarray of float64, shape (n_rows,)
    levels : ndarray of int32, shape (n_rows,)
        None is missing.
    n_levels : int
    """
    g = np.bincount(levels, gradient, n_levels)
    h = np.bincount(levels, hessian, n_levels)
    total_g, total_h, row = g.sum(), h.sum(), hessian.mean()
    some = h > 0
    g, h = g[some], h[some]
    freedom = len(gradient) - len(h)
    if total_h <= 0 or len(h) < 2 or freedom < 1:
        return max(row, 1e-300) * PRIOR_ROWS[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        squares = np.where(hessian > 0, gradient * gradient / hessian, 0.0).sum()
    within = max(squares - (g * g / h).sum(), 0.0) / freedom
    deviation = g - total_g / total_h * h
    excess = (deviation * deviation / h).sum() - (len(h) - 1) * within
    between = excess / (total_h - (h * h).sum() / total_h)
    low, high = PRIOR_ROWS[0] * row, PRIOR_ROWS[1] * row
    return float(np.clip(within / between, low, high)) if between > 0 else high


class TargetStatistics:
    """Statistics of the columns of one table.

    Parameters
    ----------
    columns : Columns
        As ``TableSchema.apply`` makes them.
    which : list of int
        Columns of level numbers.
    rows : ndarray of int64 or None
        The training rows; None: all.
    pairs : GradientPairs
        Of the training rows, at a constant prediction.
    seed : int
    """

    def __init__(self, columns, which, rows, pairs, seed):
        self.rows = rows
        self.n_rows = pairs.n_rows
        signals = _signals(pairs.pairs)
        gradient = pairs.pairs[signals, :, 0]
        constant = pairs.constant_hessian
        hessian = pairs.pairs[signals, :, 1] if constant is None else None
        self._drawn: dict[int, OrderedStatistics] = {}
        self._values: dict[int, list[tuple[float, ...]]] = {}
        for j in which:
            levels = columns[j] if rows is None else columns[j][rows]
            n_levels = columns.n_levels[j]
            there = np.flatnonzero(levels >= 0)
            known = levels[there]
            prior, values = [], []
            for k in range(len(signals)):
                g = gradient[k][there]
                h = np.full(len(there), float(constant)) if hessian is None else hessian[k][there]
                prior.append(prior_of(g, h, known, n_levels))
                step = -np.bincount(known, g, n_levels) / (prior[k] + np.bincount(known, h, n_levels))
                values.append(tuple((step + 0.0).tolist()))
            self._drawn[j] = OrderedStatistics(
                levels, n_levels, gradient, float(constant) if hessian is None else hessian, prior, seed + j
            )
            self._values[j] = values

    def schema(self, schema: TableSchema) -> TableSchema:
        """The schema with statistics beside, or in place of, the columns of levels."""
        features = []
        self._features: dict[int, list[int]] = {}  # of the statistics of each column
        self._beside: list[int] = []  # columns of levels that stay
        for j, info in enumerate(schema.features):
            values = self._values.get(j, [])
            parts: list[str | None] = [f"statistic{k}" for k in range(len(values))]
            if len(parts) == 1:
                parts = ["statistic"]
            if values and (self.n_rows < SET_ROWS * len(values[0]) or len(values[0]) > MAX_LEVELS):
                parts[0] = None
            else:
                if values:
                    self._beside.append(len(features))
                features.append(info)
            self._features[j] = list(range(len(features), len(features) + len(values)))
            for part, of_levels in zip(parts, values, strict=True):
                kept = (info.levels, info.rare_levels) if part is None else ((), ())
                features.append(FeatureInfo("statistic", info.source, part, *kept, of_levels))
        return TableSchema(tuple(features), schema.names)

    def first(self, columns: Columns, n_threads: int) -> Columns:
        """The columns by that schema, with the first drawing for the training rows."""
        made = [columns.entry(j) for j in range(columns.n_columns)]
        for j, drawn in self._drawn.items():
            ordered = drawn.values(0, n_threads)
            for k, feature in enumerate(self._features[j]):
                if self.rows is None:
                    made[feature] = ordered[k]
                else:
                    made[feature] = np.array(columns[feature], dtype=np.float64)
                    made[feature][self.rows] = ordered[k]
        return Columns(made, columns.n_rows, columns.names, columns.n_levels)

    def guided(self, matrix: BinnedMatrix) -> BinnedMatrix:
        """The binned training rows, with a mark at features of levels that have statistics beside them."""
        beside = np.zeros(matrix.n_features, dtype=bool)
        beside[self._beside] = True
        return replace(matrix, guided=beside)

    def redraws(self, matrix: BinnedMatrix, mapper, n_threads: int) -> Redraws:
        """What draws afresh for the binned training rows."""
        return Redraws(self, matrix, mapper, n_threads)


class Redraws:
    """Drawings for a binned table, as boosting asks for them.

    Attributes
    ----------
    features : ndarray of int64
        Which features they are.
    """

    def __init__(self, statistics, matrix, mapper, n_threads):
        self._parts = [
            (drawn, np.array(statistics._features[j], dtype=np.int64)) for j, drawn in statistics._drawn.items()
        ]
        self._matrix = matrix
        self._table = mapper.table
        self._n_threads = n_threads
        self._number = 0
        self._next = 1 + FIRST_DRAWING
        self.features = np.concatenate([features for _, features in self._parts])

    def before(self, iteration: int) -> bool:
        """Draw, where it is time to; whether codes changed."""
        if iteration < self._next:
            return False
        self._number += 1
        self._next = iteration + max(FIRST_DRAWING, iteration // 2)
        for drawn, features in self._parts:
            drawn.recode(self._number, self._matrix, self._table, features, self._n_threads)
        return True


def _signals(pairs: np.ndarray) -> np.ndarray:
    """Outputs that statistics are made of."""
    mass = np.abs(pairs[:, :, 0]).sum(axis=1)
    return np.sort(np.argsort(-mass, kind="stable")[:MAX_SIGNALS])
