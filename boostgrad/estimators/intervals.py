"""Which prediction intervals a loss allows: what its raw predictions say of a target, as scores and ends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from boostgrad import conformal
from boostgrad.conformal import ConformityScores
from boostgrad.losses import DistributionLoss, Expectile, Loss, MultiOutput, Quantile, Quantiles, UnnamedLoss


class Intervals:
    """Intervals about what a loss predicts; this base is for losses of one number, with their residuals.

    Arrays of raw predictions have shape (n_outputs, n_rows). A model may need scores of several kinds, each with
    thresholds of its own.
    """

    def __init__(self, loss: Loss):
        self.loss = loss

    def scores(self, y: np.ndarray, raw: np.ndarray) -> np.ndarray:
        """Conformity scores of rows with known targets, shape (n_kinds, n_rows); NaN where a target is missing."""
        return conformal.residual_scores(y, self._prediction(raw), self.loss.spread(raw))[None]

    def interval(self, raw: np.ndarray, calibrated: Sequence[ConformityScores], coverage: float) -> np.ndarray:
        """Lower and upper ends, shape (n_rows, 2), or (n_rows, n_targets, 2) for several targets.

        Raises
        ------
        ValueError
            If there are too few calibration rows for the coverage.
        """
        ends = self._ends(raw, calibrated, coverage)
        return np.stack([np.clip(end, *self.loss.bounds) for end in ends], axis=-1)

    def _ends(self, raw, calibrated, coverage):
        threshold = self._threshold(calibrated[0], coverage)
        return conformal.residual_interval(self._prediction(raw), self.loss.spread(raw), threshold)

    def _prediction(self, raw):
        return self.loss.inverse_link(raw)[0]

    @staticmethod
    def _threshold(scores: ConformityScores, coverage: float) -> float:
        conformal.check_finite_thresholds([scores], coverage)
        return scores.threshold(coverage)


class QuantileIntervals(Intervals):
    """Conformalised quantiles: the lowest with the highest, the next one with the last but one, and so on, are pairs;
    the pair that is meant to cover what is asked for, or nearest to it, is moved."""

    loss: Quantiles

    def scores(self, y, raw):
        ordered = self.loss.inverse_link(raw)
        return np.stack([conformal.quantile_scores(y, ordered[a], ordered[b]) for a, b in self._pairs()])

    def _pairs(self) -> list[tuple[int, int]]:
        n = self.loss.n_outputs
        return [(k, n - 1 - k) for k in range((n + 1) // 2)]

    def _ends(self, raw, calibrated, coverage):
        ordered, levels, pairs = self.loss.inverse_link(raw), self.loss.levels, self._pairs()
        nearest = min(range(len(pairs)), key=lambda p: abs(levels[pairs[p][1]] - levels[pairs[p][0]] - coverage))
        lower, upper = pairs[nearest]
        return conformal.quantile_interval(
            ordered[lower], ordered[upper], self._threshold(calibrated[nearest], coverage)
        )


class DistributionIntervals(Intervals):
    """Quantiles of the predicted distribution, whose levels are calibrated."""

    loss: DistributionLoss

    def scores(self, y, raw):
        return conformal.tail_scores(*self.loss.tails(y, raw))[None]

    def _ends(self, raw, calibrated, coverage):
        threshold = self._threshold(calibrated[0], coverage)
        return conformal.tail_interval(self.loss.distribution(raw), threshold)


class TargetIntervals(Intervals):
    """An interval for each of several targets, each calibrated by itself."""

    loss: MultiOutput

    def __init__(self, loss: MultiOutput):
        super().__init__(loss)
        self.each = intervals_of(loss.loss)

    def scores(self, y, raw):
        scores = []
        for k in range(self.loss.n_targets):
            present = ~np.isnan(y[:, k])
            of_target = np.full(len(y), np.nan)
            of_target[present] = self.each.scores(y[present, k], raw[self.loss.outputs(k)][:, present])[0]
            scores.append(of_target)
        return np.stack(scores)

    def interval(self, raw, calibrated, coverage):
        parts = []
        for k in range(self.loss.n_targets):
            try:
                parts.append(self.each.interval(raw[self.loss.outputs(k)], calibrated[k : k + 1], coverage))
            except ValueError as error:
                raise ValueError(f"target {k}: {error}") from None
        return np.stack(parts, axis=1)


def intervals_of(loss: Loss) -> Intervals:
    """The intervals of a loss.

    Raises
    ------
    ValueError
        If it is not known, or predicts one side of the target, so that no interval about that would be of use.
    """
    if isinstance(loss, UnnamedLoss):
        raise ValueError(
            "this model was loaded from a file that could not hold its loss, so it has no prediction intervals"
        )
    if isinstance(loss, MultiOutput):
        return TargetIntervals(loss)
    if isinstance(loss, Quantiles) and loss.n_outputs > 1:
        return QuantileIntervals(loss)
    if isinstance(loss, DistributionLoss):
        if type(loss).distribution is DistributionLoss.distribution:
            raise ValueError(f"{loss!r} has no method distribution, which prediction intervals need.")
        return DistributionIntervals(loss)
    if loss.n_outputs > 1 and not isinstance(loss, Quantiles):
        raise ValueError(
            f"{loss!r} has several raw predictions, and nothing says what they tell of a target: it has no prediction "
            "intervals."
        )
    level = loss.levels[0] if isinstance(loss, Quantiles) else getattr(loss, "parameter", 0.5)
    if isinstance(loss, Quantile | Quantiles | Expectile) and level != 0.5:
        raise ValueError(
            f"a model of {loss!r} predicts one side of the target and has no prediction intervals; fit several "
            "quantiles, such as loss='quantile', quantile=[0.05, 0.95]."
        )
    return Intervals(loss)


def has_intervals(loss: Loss) -> bool:
    try:
        intervals_of(loss)
    except ValueError:
        return False
    return True
