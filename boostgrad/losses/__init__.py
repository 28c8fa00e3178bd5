"""Losses: what is minimised, told to the grower as a gradient and a hessian a row."""

from boostgrad.losses.base import GradientPairs, Loss, RowsByLeaf, get_loss, register, registered_losses
from boostgrad.losses.pointwise import BinaryLogLoss, MultinomialLogLoss, SquaredError

__all__ = [
    "BinaryLogLoss",
    "GradientPairs",
    "Loss",
    "MultinomialLogLoss",
    "RowsByLeaf",
    "SquaredError",
    "get_loss",
    "register",
    "registered_losses",
]
