"""Losses: what is minimised, told to the grower as a gradient and a hessian a row."""

from boostgrad.losses.base import GradientPairs, Loss, RowsByLeaf, get_loss, losses_of, register, registered_losses
from boostgrad.losses.own import AutodiffLoss, CallableLoss, UnnamedLoss
from boostgrad.losses.pointwise import BinaryLogLoss, MultilabelLogLoss, MultinomialLogLoss, SquaredError
from boostgrad.losses.ranking import CrossEntropyNDCG, LambdaRank, Pairwise, RankMAP
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
from boostgrad.losses.survival import AFT, Cox

__all__ = [
    "AFT",
    "AbsoluteError",
    "AutodiffLoss",
    "BinaryLogLoss",
    "CallableLoss",
    "Cox",
    "CrossEntropy",
    "CrossEntropyNDCG",
    "Expectile",
    "Fair",
    "Focal",
    "Gamma",
    "GradientPairs",
    "Huber",
    "LambdaRank",
    "LogCosh",
    "Loss",
    "MultilabelLogLoss",
    "MultinomialLogLoss",
    "Pairwise",
    "Poisson",
    "Quantile",
    "RankMAP",
    "RelativeError",
    "RowsByLeaf",
    "SquaredError",
    "SquaredLogError",
    "Tweedie",
    "UnnamedLoss",
    "get_loss",
    "losses_of",
    "register",
    "registered_losses",
]
