"""Costs that add up over blocks, as arrays: the latency of a population is one look-up and a sum.

Latency by a look-up table and multiply-adds both have this form. A block that a table lacks is an
error that names it when the arrays are made; only a slot that the depth leaves out costs nothing.

What it means to keep a limit on a cost, and how messages show one, is said here too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fofa.errors import UserError
from fofa.latency import Lut
from fofa.space import (
    MOBILENETV3,
    BlockKey,
    Family,
    NetworkConfig,
    SearchSpace,
    SpaceKind,
    block_macs,
)
from fofa.space.blocks import Position
from fofa.space.encoding import ABSENT, Population, encoding_of

FIXED: tuple[Position, ...] = ("stem", "first", "head")
"""Blocks that every network has."""
ROUNDING = 1e-9
"""Relative difference that a sum of blocks may have from rounding alone; not held against a cost
that stands exactly at its limit."""


@dataclass(frozen=True, slots=True)
class CostTable:
    """Cost of an architecture: `fixed[resolution] + sum over slots of blocks[resolution, slot]`.

    Attributes:
        resolutions: in pixels, in the order of a population's resolution index.
        fixed: float64 (R,), what every network has: stem, first block, head, and the offset.
        blocks: float64 (R, slots, codes), by slot and block code; NaN for codes outside the space,
            0 for `ABSENT`.
    """

    resolutions: tuple[int, ...]
    fixed: np.ndarray
    blocks: np.ndarray
    family: Family = MOBILENETV3

    def of(self, population: Population) -> np.ndarray:
        """Cost of each architecture, float64 (N,).

        The population's resolutions must be this table's, in the same order; a timed stand-in's
        differ by a factor, so only their number is compared.
        """
        return self.parts(population).sum(axis=1) + self.fixed[population.resolution_index]

    def parts(self, population: Population) -> np.ndarray:
        """Cost of the block in each slot of each architecture, float64 (N, slots)."""
        if len(population.resolutions) != len(self.resolutions):
            raise ValueError(f"resolutions {population.resolutions} and {self.resolutions}")
        if population.family != self.family:
            raise ValueError(f"architectures of {population.family} and costs of {self.family}")
        _, num_slots, num_codes = self.blocks.shape
        flat = self.blocks.reshape(len(self.resolutions), -1)
        columns = population.codes + np.arange(0, num_slots * num_codes, num_codes)
        chosen: np.ndarray = flat[population.resolution_index[:, None], columns]
        return chosen

    def cheapest(self) -> Population:
        """The architecture of least cost at each resolution (R rows)."""
        costs = np.where(np.isnan(self.blocks[..., 1:]), np.inf, self.blocks[..., 1:])
        codes = (costs.argmin(axis=-1) + 1).astype(np.uint8)
        # Every block costs something, so the least depth is the cheapest.
        least = np.array([stage.depths[0] for stage in self.family.stages])
        depths = np.broadcast_to(least, (len(codes), len(least)))
        codes = encoding_of(self.family).cut(codes, depths)
        return Population(codes, np.arange(len(codes)), self.resolutions, self.family)

    def largest(self) -> float:
        """Cost of the dearest architecture."""
        # A slot that no subnet uses has no costs but that of an absent block, which is 0.
        dearest = np.nanmax(self.blocks, axis=-1)
        return float((dearest.sum(axis=-1) + self.fixed).max())


def latency_costs(
    lut: Lut,
    resolutions: Sequence[int] | None = None,
    *,
    kind: SpaceKind | None = None,
    level: float | None = None,
) -> CostTable:
    """The calibrated latencies (ms) of a look-up table, or what bounds them.

    Args:
        resolutions: those to prepare; all of the table's by default.
        kind: prepare only this space's blocks; the table's own space by default.
        level: give what this share (0 to 1) of networks stay below (`Lut.bound`).

    Raises:
        UserError: if the table lacks a block of the space or a resolution, naming it, or its
            calibration gives networks no time at all.
    """
    chosen = tuple(lut.space.resolutions if resolutions is None else resolutions)
    space = replace(lut.search_space, kind=kind or lut.space.kind)
    table = additive_costs(space, chosen, lut.block_ms)
    scale, offset = np.ones(len(chosen)), np.zeros(len(chosen))
    for index, resolution in enumerate(chosen):
        if correction := lut.calibration.get(str(resolution)):
            scale[index], offset[index] = correction.scale, correction.offset_ms
    calibrated = CostTable(
        resolutions=chosen,
        fixed=table.fixed * scale + offset,
        blocks=table.blocks * scale[:, None, None],
        family=table.family,
    )
    if offset.min() < 0 and (least := calibrated.of(calibrated.cheapest())).min() <= 0:
        raise UserError(
            f"the table of {lut.device.requested} is wrong: its calibration gives a network at "
            f"{chosen[int(least.argmin())]} px {least.min():.4g} ms"
        )
    if level is None:
        return calibrated
    bound, deviations = lut.bound(level), deviation_costs(lut, chosen, kind=space.kind)
    return replace(
        calibrated,
        fixed=bound.factor * calibrated.fixed + bound.deviations * deviations.fixed,
        blocks=bound.factor * calibrated.blocks + bound.deviations * deviations.blocks,
    )


def deviation_costs(lut: Lut, resolutions: Sequence[int], *, kind: SpaceKind) -> CostTable:
    """The standard deviations (ms) of the latencies' errors; 0 where the table has none."""
    space = replace(lut.search_space, kind=kind)
    return additive_costs(space, tuple(resolutions), lut.block_deviation_ms)


def energy_costs(lut: Lut, resolutions: Sequence[int], *, kind: SpaceKind) -> CostTable:
    """The energies (mJ of one image) of a look-up table.

    Raises:
        UserError: if it has none.
    """
    space, offsets = replace(lut.search_space, kind=kind), lut.known_energy.offset_mj
    table = additive_costs(space, tuple(resolutions), lut.block_mj)
    return replace(table, fixed=table.fixed + [offsets[str(size)] for size in resolutions])


def macs_costs(
    config: NetworkConfig, resolutions: Sequence[int], *, kind: SpaceKind = "elastic"
) -> CostTable:
    """The multiply-adds of one image, as `fofa.space.macs` counts them."""
    space = SearchSpace(
        family=config.family,
        kind=kind,
        width_mult=config.width_mult,
        resolutions=tuple(resolutions),
    )
    macs = {
        (resolution, block.key): float(block_macs(block))
        for resolution in space.resolutions
        for block in space.unique_blocks(resolution, config)
    }
    return additive_costs(space, tuple(resolutions), lambda resolution, key: macs[resolution, key])


def affordable(cost: np.ndarray, limit: float) -> np.ndarray:
    """Which costs are within `limit`, bool (N,): at most the limit, but for rounding errors."""
    return cost <= limit + ROUNDING * abs(limit)


def ranks(cost: np.ndarray) -> np.ndarray:
    """The place of each cost in ascending order, intp (N,): equal but for rounding errors, equal.

    A sum depends on the order of its terms; networks of the same blocks would otherwise beat each
    other by the last digit.
    """
    order = np.argsort(cost)
    rises = np.diff(cost[order]) > ROUNDING * np.abs(cost[order][1:])
    places = np.empty(len(cost), dtype=np.intp)
    places[order] = np.concatenate(([0], np.cumsum(rises)))
    return places


class NothingWithinError(UserError):
    """No architecture keeps the limits."""


def unattainable(
    limit: float, unit: str, name: str, cost: float, label: str = ""
) -> NothingWithinError:
    """The error for a limit below the cheapest architecture."""
    cheapest = {"ms": "fastest", "mJ": "most frugal"}.get(unit, "smallest")
    return NothingWithinError(
        f"no architecture is within {amount(limit, unit, label)}: "
        f"the {cheapest}, {name}, takes {amount(cost, unit)}"
    )


def amount(value: float, unit: str, label: str = "") -> str:
    """A cost as messages show it: with its unit and, where `label` is given, what it is on."""
    number = f"{value:.6g}" if unit in ("ms", "mJ") else f"{value:,.0f}"
    return f"{number} {unit}{f' on {label}' if label else ''}"


def additive_costs(
    space: SearchSpace, resolutions: tuple[int, ...], cost: Callable[[int, BlockKey], float]
) -> CostTable:
    """The arrays of a cost that is known block by block."""
    encoding = encoding_of(space.family)
    fixed = np.array([sum(cost(r, BlockKey(position)) for position in FIXED) for r in resolutions])
    blocks = np.full((len(resolutions), encoding.num_slots, encoding.num_codes), np.nan)
    blocks[:, :, ABSENT] = 0.0
    for key in space.stage_keys():
        assert key.stage is not None
        start, end = (key.stage - 1) * encoding.max_depth, key.stage * encoding.max_depth
        slots = slice(start, start + 1) if key.block == "first" else slice(start + 1, end)
        code = encoding.codes[key.kernel, key.expand]
        for index, resolution in enumerate(resolutions):
            blocks[index, slots, code] = cost(resolution, key)
    return CostTable(resolutions, fixed, blocks, space.family)
