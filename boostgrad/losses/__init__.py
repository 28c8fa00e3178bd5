"""Losses: what is minimised, told to the grower as a gradient and a hessian a row."""

from boostgrad.losses.base import GradientPairs, Loss, get_loss, register, registered_losses
from boostgrad.losses.pointwise import BinaryLogLoss, MultinomialLogLoss, SquaredError
from boostgrad.losses.ranking import CrossEntropyNDCG, LambdaRank, Pairwise, RankMAP
from boostgrad.losses.survival import AFT, Cox

__all__ = [
    "AFT",
    "BinaryLogLoss",
    "Cox",
    "CrossEntropyNDCG",
    "GradientPairs",
    "LambdaRank",
    "Loss",
    "MultinomialLogLoss",
    "Pairwise",
    "RankMAP",
    "SquaredError",
    "get_loss",
    "register",
    "registered_losses",
]
