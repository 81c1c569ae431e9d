"""From times of single blocks and of a few whole networks to the values of a table.

A block alone is not a block in a network: its input does not come warm out of the caches, layouts
change at the borders of the graph, operators of neighbours are not fused. Whole networks of each
resolution tell by how much. With y the time of a network, m the times of its blocks alone:

    y = scale * sum(m_b * (1 + d_b)) + offset,    d_b ~ N(0, deviation^2)

`scale` and `offset` are what all networks share; `d` is what single blocks deviate by, which is
small, so that a handful of networks suffices for many blocks (ridge regression, in relative errors;
outlying networks are weighted down by Huber's rule). How small, the networks say themselves: of a
few values of `deviation` the one with the least leave-one-out error over all resolutions is taken.
The table's entries are m_b * (1 + d_b). How sure the fit is of a network's time is its posterior
variance; how far the table is off is said by other networks, which the fit never saw (`validate`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fofa.latency import Calibration
from fofa.space import BlockSpec
from profilers.measuring.statistics import MAD_TO_SIGMA, huber_weights

DEVIATIONS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
"""Candidates for the standard deviation of a block's value within networks from its own."""
OFFSET_DEVIATION = 0.1
"""Prior standard deviation of the offset, in mean network times."""
NETWORK_NOISE = 0.005
"""Relative error with which a network's time is known; also the least scale of Huber's rule."""
MAX_DEVIATION = 0.5
"""A block's value never leaves its own time by more than this share, whatever networks say."""
ITERATIONS = 10


@dataclass(frozen=True, slots=True)
class Timings:
    """What was measured at one resolution.

    Attributes:
        alone_ms: time of every unique block, run by itself.
        networks: blocks and time in ms of each calibration network.
    """

    alone_ms: Mapping[BlockSpec, float]
    networks: Sequence[tuple[Sequence[BlockSpec], float]]


@dataclass(frozen=True, slots=True)
class CalibratedBlocks:
    """Values of the blocks of one resolution, all positive, and the correction of their sum."""

    block_ms: dict[BlockSpec, float]
    calibration: Calibration
    posterior: Posterior


@dataclass(frozen=True, slots=True)
class Posterior:
    """What the fit does not know: the covariance of scale, offset and the blocks' deviations."""

    alone_ms: Mapping[BlockSpec, float]
    covariance: np.ndarray

    def deviations_ms(self, networks: Sequence[Sequence[BlockSpec]]) -> np.ndarray:
        """Standard deviation of each network's predicted time, (N,)."""
        parts = block_counts(self.alone_ms, networks) * np.array([*self.alone_ms.values()])
        design = np.column_stack([parts.sum(axis=1), np.ones(len(parts)), parts])
        variance = np.einsum("nf,fg,ng->n", design, self.covariance, design)
        return np.sqrt(np.maximum(variance, 0.0))


@dataclass(frozen=True, slots=True)
class _Fit:
    """Scale, offset (ms), deviation of each block, leave-one-out errors of the networks, and the
    covariance of the first three."""

    scale: float
    offset: float
    deviation: np.ndarray
    left_out: np.ndarray
    covariance: np.ndarray


def calibrate_blocks(timings: Mapping[int, Timings]) -> dict[int, CalibratedBlocks]:
    """Fit the model above to the networks of each resolution."""
    parts = {resolution: _parts(timing) for resolution, timing in timings.items()}
    candidates = [
        {resolution: _fit(*data, deviation) for resolution, data in parts.items()}
        for deviation in DEVIATIONS
    ]
    best = min(candidates, key=_left_out_error)
    return {
        resolution: CalibratedBlocks(
            block_ms={
                block: float(ms * (1 + deviation))
                for (block, ms), deviation in zip(
                    timings[resolution].alone_ms.items(), fit.deviation, strict=True
                )
            },
            calibration=Calibration(scale=fit.scale, offset_ms=fit.offset),
            posterior=Posterior(timings[resolution].alone_ms, fit.covariance),
        )
        for resolution, fit in best.items()
    }


def _left_out_error(fits: Mapping[int, _Fit]) -> float:
    """Mean size of the relative leave-one-out errors over all resolutions."""
    return float(np.mean(np.abs(np.concatenate([fit.left_out for fit in fits.values()]))))


def block_counts(
    blocks: Collection[BlockSpec], networks: Sequence[Sequence[BlockSpec]]
) -> np.ndarray:
    """How often each network has each block, (N, B)."""
    column = {block: index for index, block in enumerate(blocks)}
    counts = np.zeros((len(networks), len(column)))
    for row, members in enumerate(networks):
        for block, count in Counter(members).items():
            counts[row, column[block]] = count
    return counts


def _parts(timings: Timings) -> tuple[np.ndarray, np.ndarray]:
    """Time that each block contributes to each network if taken as alone (N, B), and the
    networks' times (N,)."""
    counts = block_counts(timings.alone_ms, [members for members, _ in timings.networks])
    alone = np.array(list(timings.alone_ms.values()))
    return counts * alone, np.array([ms for _, ms in timings.networks])


def _fit(parts: np.ndarray, times: np.ndarray, block_deviation: float) -> _Fit:
    """The fit with one prior; iterates Huber's weights."""
    num_networks, num_blocks = parts.shape
    plain_scale = float(np.median(times / parts.sum(axis=1)))
    relative = parts / times[:, None]
    # Unknowns: scale, offset, and plain_scale * d_b, linear in all of them. The scale is free.
    design = np.column_stack([relative.sum(axis=1), 1 / times, relative])
    prior = NETWORK_NOISE / np.array(
        [OFFSET_DEVIATION * times.mean(), *[block_deviation * plain_scale] * num_blocks]
    )
    penalty = np.diag(np.concatenate([[0.0], prior]) ** 2)
    weights = np.ones(num_networks)
    for _ in range(ITERATIONS):
        weighted = design * weights[:, None]
        inverse = np.linalg.pinv(design.T @ weighted + penalty, hermitian=True)
        solution = inverse @ weighted.sum(axis=0)
        residuals = design @ solution - 1
        leverage = weights * np.einsum("nf,fg,ng->n", design, inverse, design)
        weights = huber_weights(residuals, NETWORK_NOISE)
    left_out = residuals / np.maximum(1 - leverage, 1e-6)
    noise = max(NETWORK_NOISE, MAD_TO_SIGMA * float(np.median(np.abs(left_out))))
    scale = float(solution[0])
    if scale <= 0:
        # Times that have nothing to do with the blocks: no shape to be learned from them.
        off = parts.sum(axis=1) * plain_scale / times - 1
        unknown = np.zeros(num_blocks + 2)
        unknown[0] = plain_scale * float(np.sqrt(np.mean(off**2)))
        return _Fit(plain_scale, 0.0, np.zeros(num_blocks), off, np.diag(unknown**2))
    deviation = np.clip(solution[2:] / scale, -MAX_DEVIATION, MAX_DEVIATION)
    return _Fit(scale, float(solution[1]), deviation, left_out, noise**2 * inverse)
