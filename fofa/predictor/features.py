"""What the predictor sees of an architecture: one-hot numbers, in the layout of OFA's predictor.

For each of the 20 block slots a one-hot kernel (3, 5, 7), then for each slot a one-hot expand ratio
(3, 4, 6), both all zero where the depth leaves the block out; then a one-hot resolution.
"""

from __future__ import annotations

import numpy as np

from fofa.errors import UserError
from fofa.space.encoding import CHOICES, NUM_CODES, NUM_SLOTS, Population
from fofa.space.subnet import EXPANDS, KERNELS

KERNEL_FEATURES = NUM_SLOTS * len(KERNELS)
BLOCK_FEATURES = KERNEL_FEATURES + NUM_SLOTS * len(EXPANDS)
"""Number of features that describe the subnet (120); those of the resolution follow."""


def features(population: Population, resolutions: tuple[int, ...]) -> np.ndarray:
    """Features of each architecture, float32 (N, 120 + number of resolutions).

    Args:
        resolutions: those the predictor has a feature for, in its order.

    Raises:
        UserError: if the population uses another resolution.
    """
    num = len(population)
    out = np.zeros((num, BLOCK_FEATURES + len(resolutions)), dtype=np.float32)
    kernels = _KERNEL_ONE_HOT[population.codes]
    expands = _EXPAND_ONE_HOT[population.codes]
    out[:, :KERNEL_FEATURES] = kernels.reshape(num, KERNEL_FEATURES)
    out[:, KERNEL_FEATURES:BLOCK_FEATURES] = expands.reshape(num, BLOCK_FEATURES - KERNEL_FEATURES)
    columns = resolution_columns(population.resolutions, resolutions)
    out[np.arange(num), BLOCK_FEATURES + columns[population.resolution_index]] = 1.0
    return out


def resolution_columns(wanted: tuple[int, ...], known: tuple[int, ...]) -> np.ndarray:
    """Index in `known` of each resolution in `wanted`, intp (len(wanted),).

    Raises:
        UserError: naming the resolutions that are not known.
    """
    unknown = [resolution for resolution in wanted if resolution not in known]
    if unknown:
        raise UserError(f"the predictor has no resolution {unknown}, only {list(known)}")
    return np.array([known.index(resolution) for resolution in wanted], dtype=np.intp)


def _one_hot(values: tuple[int, ...], of_choice: list[int]) -> np.ndarray:
    """One-hot vector for every block code (NUM_CODES, len(values)); zeros for an absent block."""
    table = np.zeros((NUM_CODES, len(values)), dtype=np.float32)
    for code, value in enumerate(of_choice):
        table[code, values.index(value)] = 1.0
    return table


_KERNEL_ONE_HOT = _one_hot(KERNELS, [choice.kernel for choice in CHOICES])
_EXPAND_ONE_HOT = _one_hot(EXPANDS, [choice.expand for choice in CHOICES])
