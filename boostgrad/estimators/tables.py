"""Tables with bins, as a fit sees them: of a frame, of a dataset, and of a dataset with target statistics beside it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from boostgrad.data.binning import BinMapper
from boostgrad.data.columns import Columns
from boostgrad.data.levels import ALL
from boostgrad.data.matrix import BinnedMatrix, SparseBinnedMatrix
from boostgrad.data.schema import TableSchema, statistic_of_number
from boostgrad.data.statistics import Redraws, TargetStatistics
from boostgrad.dataset import BoostGradDataset


@dataclass(frozen=True, eq=False)
class BinnedFrame:
    """A frame and its bins; what a BoostGradDataset is of a table that is not kept.

    Where categories have target statistics, training rows have those of the first drawing.
    """

    schema: TableSchema
    mapper: BinMapper
    columns: Columns
    n_threads: int
    statistics: TargetStatistics | None = None

    @property
    def n_rows(self) -> int:
        return self.columns.n_rows

    def binned(self, rows: np.ndarray | None) -> BinnedMatrix | SparseBinnedMatrix:
        """The codes of these rows; None: of all."""
        matrix = self.mapper.transform(self.columns, rows=rows, n_threads=self.n_threads)
        return matrix if self.statistics is None else self.statistics.guided(matrix)

    def redraws(self, matrix: BinnedMatrix) -> Redraws | None:
        """What draws target statistics afresh for the training rows, whose codes these are; None: nothing to draw."""
        return None if self.statistics is None else self.statistics.redraws(matrix, self.mapper, self.n_threads)


@dataclass(frozen=True, eq=False)
class GuidedDataset:
    """A dataset, and target statistics of its categories: what BinnedFrame is of the frame that it was made of.

    The codes of a dataset are there before there is a loss to make statistics by. They are copied, since statistics
    stand beside some columns and in place of others::

        dataset      f0  f1 (levels)  f2 (levels)                      codes
        statistics                                s1       s2          numbers of the rows that have a weight
        this         f0  f1           s1          s2                   codes, features in the order of the schema

    Attributes
    ----------
    dataset : BoostGradDataset
    schema : TableSchema
        With the statistics.
    mapper : BinMapper
        Of the features of the schema.
    columns : Columns
        Of the features of the schema; only the statistics can be read.
    statistics : TargetStatistics or None
        None: these are no training rows.
    """

    dataset: BoostGradDataset
    schema: TableSchema
    mapper: BinMapper
    columns: Columns
    n_threads: int
    statistics: TargetStatistics | None = None

    @classmethod
    def of(
        cls,
        dataset: BoostGradDataset,
        statistics: TargetStatistics,
        weight: np.ndarray | None,
        max_bins: int,
        n_threads: int,
    ) -> GuidedDataset:
        """The training data; ``weight`` is that of the rows that the statistics were made of."""
        schema = statistics.schema(dataset.whole_schema)
        columns = statistics.first(_statistics_alone(schema, dataset), n_threads)
        which = _made_here(schema)
        learned = BinMapper.fit(
            _only(columns, which), rows=statistics.rows, weight=weight, max_bins=max_bins, n_threads=n_threads
        )
        edges = dict(zip(which, learned.edges, strict=True))
        edges |= {j: dataset.mapper.edges[before] for j, before in _kept(dataset.schema, schema).items()}
        mapper = BinMapper([edges[j] for j in range(len(schema.features))], schema.n_levels)
        return cls(dataset, schema, mapper, columns, n_threads, statistics)

    def of_validation(self, dataset: BoostGradDataset) -> GuidedDataset:
        """Another dataset with the same bins, and the same statistics of its levels."""
        columns = _statistics_alone(self.schema, dataset)
        return GuidedDataset(dataset, self.schema, self.mapper, columns, self.n_threads)

    @property
    def n_rows(self) -> int:
        return self.dataset.n_rows

    def binned(self, rows: np.ndarray | None) -> BinnedMatrix:
        """The codes of these rows, which ascend and are not of weight 0; None: of all those."""
        positions = self.dataset.positions(rows)
        given = self.dataset.binned()
        n_rows = given.n_rows if positions is None else len(positions)
        codes = self.mapper.room(n_rows, self.dataset.directory)
        for feature, of_dataset in _kept(self.dataset.schema, self.schema).items():
            column = given.by_column[of_dataset]
            codes[feature] = column if positions is None else column[positions]
        which = _made_here(self.schema)
        statistics = BinMapper([self.mapper.edges[j] for j in which])
        made = _only(self.columns, which)
        codes[which] = statistics.transform(made, rows=positions, n_threads=self.n_threads).by_column
        matrix = self.mapper.matrix(codes, self.dataset.directory)
        return matrix if self.statistics is None else self.statistics.guided(matrix)

    redraws = BinnedFrame.redraws


def _made_here(schema: TableSchema) -> list[int]:
    return [j for j, info in enumerate(schema.features) if info.kind == "statistic"]


def _kept(before: TableSchema, schema: TableSchema) -> dict[int, int]:
    """The features that are no statistics, and which they were before there were some."""
    number_of = {(info.source, info.part): j for j, info in enumerate(before.features)}
    return {j: number_of[info.source, info.part] for j, info in enumerate(schema.features) if info.kind != "statistic"}


def _only(columns: Columns, which: list[int]) -> Columns:
    return Columns([columns.entry(j) for j in which], columns.n_rows, None)


def _statistics_alone(schema: TableSchema, dataset: BoostGradDataset) -> Columns:
    """The columns of the schema, of which only statistics can be read: what whole levels have."""
    levels = dataset.levels()
    of_source = {info.source: j for j, info in enumerate(dataset.whole_schema.features) if info.kind == "category"}

    def statistic(of_number: np.ndarray, j: int, rows: slice = ALL) -> np.ndarray:
        return of_number[levels.entry(j)(rows)]

    made = [
        partial(statistic, statistic_of_number(info.values), of_source[info.source])
        if info.kind == "statistic"
        else None
        for info in schema.features
    ]
    return Columns(made, levels.n_rows, schema.feature_names, schema.n_levels)
