"""Costs that add up over blocks, as arrays: the latency of a population is one look-up and a sum.

Latency by a look-up table and multiply-adds both have this form. A block that a table lacks is an
error that names it when the arrays are made; only a slot that the depth leaves out costs nothing.

What it means to keep a limit on a cost, and how messages show one, is said here too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fofa.errors import UserError
from fofa.latency import Lut
from fofa.space import (
    KERNELS,
    BlockKey,
    NetworkConfig,
    SearchSpace,
    SpaceKind,
    block_macs,
)
from fofa.space.blocks import Position
from fofa.space.encoding import ABSENT, CHOICES, NUM_CHOICES, NUM_CODES, NUM_SLOTS, Population
from fofa.space.network import MAX_DEPTH
from fofa.space.subnet import STAGE_KERNELS

ROUNDING = 1e-9
"""Relative difference that a sum of blocks may have from rounding alone; not held against a cost
that stands exactly at its limit."""


@dataclass(frozen=True, slots=True)
class CostTable:
    """Cost of an architecture: `fixed[resolution] + sum over slots of blocks[resolution, slot]`.

    Attributes:
        resolutions: in pixels, in the order of a population's resolution index.
        fixed: float64 (R,), what every network has: stem, first block, head, and the offset.
        blocks: float64 (R, 20, 10), by slot and block code; NaN for codes outside the space, 0
            for `ABSENT`.
    """

    resolutions: tuple[int, ...]
    fixed: np.ndarray
    blocks: np.ndarray

    def of(self, population: Population) -> np.ndarray:
        """Cost of each architecture, float64 (N,).

        The population's resolutions must be this table's, in the same order; a timed stand-in's
        differ by a factor, so only their number is compared.
        """
        if len(population.resolutions) != len(self.resolutions):
            raise ValueError(f"resolutions {population.resolutions} and {self.resolutions}")
        flat = self.blocks.reshape(len(self.resolutions), -1)
        columns = population.codes + _SLOT_START
        chosen = flat[population.resolution_index[:, None], columns]
        return chosen.sum(axis=1) + self.fixed[population.resolution_index]

    def cheapest(self) -> Population:
        """The architecture of least cost at each resolution (R rows)."""
        stages = self.blocks.reshape(len(self.resolutions), -1, MAX_DEPTH, NUM_CODES)
        codes = np.full((len(self.resolutions), NUM_SLOTS), ABSENT, dtype=np.uint8)
        cheapest = np.nanargmin(stages[..., :NUM_CHOICES], axis=-1).reshape(codes.shape)
        # Every block costs something, so the least depth, 2, is the cheapest.
        present = np.arange(NUM_SLOTS) % MAX_DEPTH < 2
        codes[:, present] = cheapest[:, present]
        return Population(codes, np.arange(len(self.resolutions)), self.resolutions)

    def largest(self) -> float:
        """Cost of the dearest architecture."""
        stages = self.blocks.reshape(len(self.resolutions), -1, NUM_CODES)[..., :NUM_CHOICES]
        return float((np.nanmax(stages, axis=-1).sum(axis=-1) + self.fixed).max())


def latency_costs(
    lut: Lut, resolutions: Sequence[int] | None = None, *, kind: SpaceKind | None = None
) -> CostTable:
    """The calibrated latencies (ms) of a look-up table.

    Args:
        resolutions: those to prepare; all of the table's by default.
        kind: prepare only this space's blocks; the table's own space by default.

    Raises:
        UserError: if the table lacks a block of the space or a resolution, naming it, or its
            calibration gives networks no time at all.
    """
    chosen = tuple(lut.space.resolutions if resolutions is None else resolutions)
    table = _additive(chosen, kind or lut.space.kind, lut.block_ms)
    scale, offset = np.ones(len(chosen)), np.zeros(len(chosen))
    for index, resolution in enumerate(chosen):
        if correction := lut.calibration.get(str(resolution)):
            scale[index], offset[index] = correction.scale, correction.offset_ms
    calibrated = CostTable(
        resolutions=chosen,
        fixed=table.fixed * scale + offset,
        blocks=table.blocks * scale[:, None, None],
    )
    if offset.min() < 0 and (least := calibrated.of(calibrated.cheapest())).min() <= 0:
        raise UserError(
            f"the table of {lut.device.requested} is wrong: its calibration gives a network at "
            f"{chosen[int(least.argmin())]} px {least.min():.4g} ms"
        )
    return calibrated


def macs_costs(
    config: NetworkConfig, resolutions: Sequence[int], *, kind: SpaceKind = "elastic"
) -> CostTable:
    """The multiply-adds of one image, as `fofa.space.macs` counts them."""
    space = SearchSpace(kind=kind, width_mult=config.width_mult, resolutions=tuple(resolutions))
    macs = {
        (resolution, block.key): float(block_macs(block))
        for resolution in space.resolutions
        for block in space.unique_blocks(resolution, config)
    }
    return _additive(tuple(resolutions), kind, lambda resolution, key: macs[resolution, key])


def affordable(cost: np.ndarray, limit: float) -> np.ndarray:
    """Which costs are within `limit`, bool (N,): at most the limit, but for rounding errors."""
    return cost <= limit + ROUNDING * abs(limit)


def unattainable(limit: float, unit: str, name: str, cost: float, label: str = "") -> str:
    """The message for a limit below the cheapest architecture."""
    cheapest = "fastest" if unit == "ms" else "smallest"
    return (
        f"no architecture is within {amount(limit, unit, label)}: "
        f"the {cheapest}, {name}, takes {amount(cost, unit)}"
    )


def amount(value: float, unit: str, label: str = "") -> str:
    """A cost as messages show it: with its unit and, where `label` is given, what it is on."""
    number = f"{value:,.0f}" if unit == "MACs" else f"{value:.6g}"
    return f"{number} {unit}{f' on {label}' if label else ''}"


def _additive(
    resolutions: tuple[int, ...], kind: SpaceKind, cost: Callable[[int, BlockKey], float]
) -> CostTable:
    """The arrays of a cost that is known block by block."""
    fixed = np.array([sum(cost(r, BlockKey(position)) for position in _FIXED) for r in resolutions])
    blocks = np.full((len(resolutions), NUM_SLOTS, NUM_CODES), np.nan)
    blocks[:, :, ABSENT] = 0.0
    for index, resolution in enumerate(resolutions):
        for stage, compound_kernel in enumerate(STAGE_KERNELS):
            kernels = (compound_kernel,) if kind == "compound" else KERNELS
            start = stage * MAX_DEPTH
            for code, choice in enumerate(CHOICES):
                if choice.kernel not in kernels:
                    continue
                key = BlockKey("stage", stage + 1, "first", choice.kernel, choice.expand)
                blocks[index, start, code] = cost(resolution, key)
                key = BlockKey("stage", stage + 1, "later", choice.kernel, choice.expand)
                blocks[index, start + 1 : start + MAX_DEPTH, code] = cost(resolution, key)
    return CostTable(resolutions, fixed, blocks)


_FIXED: tuple[Position, ...] = ("stem", "first", "head")
_SLOT_START = (np.arange(NUM_SLOTS) * NUM_CODES).astype(np.intp)
