"""Losses: what is minimised, told to the grower as a gradient and a hessian a row."""

from boostgrad.losses.base import GradientPairs, Loss, RowsByLeaf, get_loss, register, registered_losses
from boostgrad.losses.own import AutodiffLoss, CallableLoss, UnnamedLoss
from boostgrad.losses.pointwise import BinaryLogLoss, MultilabelLogLoss, MultinomialLogLoss, SquaredError
from boostgrad.losses.regression import (
    AbsoluteError,
    CrossEntropy,
    Expectile,
    Fair,
    Focal,
    Gamma,
    Huber,
    LogCosh,
    Poisson,
    Quantile,
    RelativeError,
    SquaredLogError,
    Tweedie,
)

__all__ = [
    "AbsoluteError",
    "AutodiffLoss",
    "BinaryLogLoss",
    "CallableLoss",
    "CrossEntropy",
    "Expectile",
    "Fair",
    "Focal",
    "Gamma",
    "GradientPairs",
    "Huber",
    "LogCosh",
    "Loss",
    "MultilabelLogLoss",
    "MultinomialLogLoss",
    "Poisson",
    "Quantile",
    "RelativeError",
    "RowsByLeaf",
    "SquaredError",
    "SquaredLogError",
    "Tweedie",
    "UnnamedLoss",
    "get_loss",
    "register",
    "registered_losses",
]
