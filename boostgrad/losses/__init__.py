"""Losses: what is minimised, told to the grower as a gradient and a hessian a row."""

from boostgrad.losses.base import GradientPairs, Loss, RowsByLeaf, get_loss, register, registered_losses
from boostgrad.losses.distributions import (
    DistributionLoss,
    GammaNLL,
    LogNormalNLL,
    NegativeBinomialNLL,
    NormalNLL,
    PoissonNLL,
)
from boostgrad.losses.multi import MultiOutput
from boostgrad.losses.pointwise import BinaryLogLoss, MultinomialLogLoss, SquaredError

__all__ = [
    "BinaryLogLoss",
    "DistributionLoss",
    "GammaNLL",
    "GradientPairs",
    "LogNormalNLL",
    "Loss",
    "MultiOutput",
    "MultinomialLogLoss",
    "NegativeBinomialNLL",
    "NormalNLL",
    "PoissonNLL",
    "RowsByLeaf",
    "SquaredError",
    "get_loss",
    "register",
    "registered_losses",
]
