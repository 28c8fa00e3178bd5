"""Losses: what is minimised, told to the grower as a gradient and a hessian a row."""

from boostgrad.losses.base import GradientPairs, Loss, RowsByLeaf, get_loss, losses_of, register, registered_losses
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
    "RowsByLeaf",
    "SquaredError",
    "get_loss",
    "losses_of",
    "register",
    "registered_losses",
]
