"""From times of single blocks and of a few whole networks to the values of a table.

A block alone is not a block in a network: its input does not come warm out of the caches, layouts
change at the borders of the graph, operators of neighbours are not fused. Whole networks of each
resolution tell by how much. With y the time of a network, m the times of its blocks alone:

    y = scale * sum(m_b * (1 + d_b)) + offset,    d_b ~ N(0, 5%),    offset ~ N(0, 10% of mean y)

`scale` and `offset` are what all networks share; `d` is what single blocks deviate by, which is
small, so that a handful of networks suffices for many blocks (ridge regression, in relative errors;
outlying networks are weighted down by Huber's rule). The table's entries are m_b * (1 + d_b).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fofa.latency import Calibration
from fofa.space import BlockSpec
from profilers.statistics import huber_weights

BLOCK_DEVIATION = 0.05
"""Prior standard deviation of a block's value within networks from `scale` times its own."""
OFFSET_DEVIATION = 0.1
"""Prior standard deviation of the offset, in mean network times."""
NETWORK_NOISE = 0.005
"""Relative error with which a network's time is known; also the least scale of Huber's rule."""
MAX_DEVIATION = 0.5
"""A block's value never leaves this share of its own time, whatever the networks say."""
ITERATIONS = 20


@dataclass(frozen=True, slots=True)
class CalibratedBlocks:
    """Values of the blocks of one resolution, and the correction of their sum.

    Attributes:
        block_ms: by block; positive.
        calibration: scale and offset.
    """

    block_ms: dict[BlockSpec, float]
    calibration: Calibration


def calibrate(
    alone_ms: Mapping[BlockSpec, float], networks: Sequence[tuple[Sequence[BlockSpec], float]]
) -> CalibratedBlocks:
    """Fit the model above to the networks of one resolution.

    Args:
        alone_ms: time of every unique block, measured by itself.
        networks: blocks and measured time in ms of each calibration network.
    """
    blocks = list(alone_ms)
    column = {block: index for index, block in enumerate(blocks)}
    alone = np.array([alone_ms[block] for block in blocks])
    times = np.array([ms for _, ms in networks])
    counts = np.zeros((len(networks), len(blocks)))
    for row, (members, _) in enumerate(networks):
        for block, count in Counter(members).items():
            counts[row, column[block]] = count
    scale, offset, deviation = _fit(counts * alone, times)
    values = alone * (1 + deviation)
    return CalibratedBlocks(
        block_ms={block: float(value) for block, value in zip(blocks, values, strict=True)},
        calibration=Calibration(scale=scale, offset_ms=offset),
    )


def _fit(parts: np.ndarray, times: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Scale, offset and the blocks' deviations.

    Args:
        parts: time that each block contributes to each network if taken as alone, (N, B).
        times: of the networks, (N,).
    """
    relative = parts / times[:, None]
    weights = np.ones(len(times))
    scale = float(np.median(times / parts.sum(axis=1)))
    offset, deviation = 0.0, np.zeros(parts.shape[1])
    for _ in range(ITERATIONS):
        # Unknowns: scale, offset, and scale * d_b, linear in all of them.
        design = np.column_stack([relative.sum(axis=1), 1 / times, relative])
        prior = np.zeros((design.shape[1] - 1, design.shape[1]))
        prior[0, 1] = NETWORK_NOISE / (OFFSET_DEVIATION * times.mean())
        prior[np.arange(1, len(prior)), np.arange(2, design.shape[1])] = NETWORK_NOISE / (
            BLOCK_DEVIATION * scale
        )
        root = np.sqrt(weights)
        left = np.vstack([design * root[:, None], prior])
        right = np.concatenate([root, np.zeros(len(prior))])
        solution = np.linalg.lstsq(left, right, rcond=None)[0]
        previous, scale, offset = scale, float(solution[0]), float(solution[1])
        if scale <= 0:
            # Networks whose times have nothing to do with their blocks: no correction of shape.
            ratio = float(np.median(times / parts.sum(axis=1)))
            return ratio, 0.0, np.zeros(parts.shape[1])
        deviation = np.clip(solution[2:] / scale, -MAX_DEVIATION, MAX_DEVIATION)
        weights = huber_weights(design @ solution - 1, NETWORK_NOISE)
        if abs(scale / previous - 1) < 1e-9:
            break
    return scale, offset, deviation
