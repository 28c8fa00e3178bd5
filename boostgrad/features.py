"""What a model knows of its features: words that tables, trees and files share."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = ("number", "category", "date", "duration", "statistic")

# Calendar parts that a date can be split into, in the order in which they are documented.
DATE_PARTS = ("year", "month", "day", "weekday", "hour", "dayofyear")


@dataclass(frozen=True)
class FeatureInfo:
    """One feature of a model: one column that trees split on.

    Attributes
    ----------
    kind : {"number", "category", "date", "duration", "statistic"}
        What the input column held. Dates and durations are numbers of seconds, dates since 1970 (UTC). A statistic is
        a number for each level of a column of categories.
    source : int
        Number of the input column.
    part : str or None
        The calendar part that this feature is (one of ``DATE_PARTS``), or which statistic; None: the feature that
        stands for the column itself. A column of categories has its levels there.
    levels : tuple of str, int, float or bool
        Of a category: its levels; the level numbers that trees see are positions in it.
    rare_levels : tuple
        Levels too rare to stand alone; they share the number ``len(levels)``.
    values : tuple of float
        Of a statistic: the number of each level, and at the end that of the rare ones where there are any. Levels that
        training has not seen have 0.
    """

    kind: str
    source: int
    part: str | None = None
    levels: tuple = ()
    rare_levels: tuple = ()
    values: tuple[float, ...] = ()

    @property
    def n_levels(self) -> int:
        """How many level numbers trees see; 0 where the feature is not a category."""
        return self.n_numbers if self.kind == "category" else 0

    @property
    def n_numbers(self) -> int:
        """How many numbers the levels have; at least 1."""
        return max(1, len(self.levels) + bool(self.rare_levels))


def numbers(n_features: int) -> tuple[FeatureInfo, ...]:
    """The features of a table of numbers: each is one input column."""
    return tuple(FeatureInfo("number", j) for j in range(n_features))
