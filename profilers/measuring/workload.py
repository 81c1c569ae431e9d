"""What is timed: every unique block, whole networks to calibrate and to validate, and the canary.

The choice is a function of the space and the seed alone, so that a resumed run times the same.
Calibration networks are chosen to tell the blocks apart (D-optimal design); validation networks are
drawn at random from the others, so that their error speaks for the whole space.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from fofa.space import (
    Architecture,
    BlockSpec,
    NetworkConfig,
    SearchSpace,
    Subnet,
    block_macs,
    compound_subnets,
    network_blocks,
)
from profilers.measuring.settings import MeasureSettings

Role = Literal["canary", "block", "calibration", "validation", "repeat", "file"]
ELASTIC_POOL = 256
"""Random subnets among which the elastic space's calibration networks are chosen."""
DESIGN_RIDGE = 1e-3


@dataclass(frozen=True, slots=True)
class Item:
    """Something that is timed in every round.

    Attributes:
        name: unique within the workload; readable, as raw samples are filed under it.
        blocks: what runs, in order.
        architecture: of a whole network.
        file: an exported network to load in place of building the blocks.
        replica: of the session that builds it (`profilers.plugin.Session.replica`).
    """

    name: str
    role: Role
    resolution: int
    blocks: tuple[BlockSpec, ...]
    architecture: Architecture | None = None
    file: Path | None = None
    replica: int = 0


@dataclass(frozen=True, slots=True)
class Workload:
    """All items of a measurement; the canary is apart because it runs between the others."""

    canary: Item
    items: tuple[Item, ...]

    def of(self, role: Role, resolution: int | None = None) -> list[Item]:
        """The items of a role, at one resolution or at all."""
        return [
            item
            for item in self.items
            if item.role == role and resolution in (None, item.resolution)
        ]


def plan_workload(space: SearchSpace, config: NetworkConfig, settings: MeasureSettings) -> Workload:
    """The items for a table of `space`."""
    items: list[Item] = []
    for resolution in space.resolutions:
        items += [
            Item(f"block {block.key} @{resolution}", "block", resolution, (block,))
            for block in space.unique_blocks(resolution, config)
        ]
        chosen = choose_subnets(space, resolution, config, settings)
        roles: dict[Role, tuple[Subnet, ...]] = {
            "calibration": chosen.calibration,
            "validation": chosen.validation,
            "repeat": chosen.validation[: settings.repeats],
        }
        for role, subnets in roles.items():
            items += [_network(role, subnet, resolution, config) for subnet in subnets]
    middle = space.resolutions[(len(space.resolutions) - 1) // 2]
    return Workload(canary_item(middle, config), tuple(items))


def canary_item(resolution: int, config: NetworkConfig) -> Item:
    """The fixed reference network: of middling depth in every stage."""
    choices = [stage.compound_depths for stage in config.family.stages]
    middle = Subnet.compound([depths[len(depths) // 2] for depths in choices], config.family)
    return _network("canary", middle, resolution, config)


@dataclass(frozen=True, slots=True)
class ChosenSubnets:
    """Whole networks of one resolution; no subnet is in both lists."""

    calibration: tuple[Subnet, ...]
    validation: tuple[Subnet, ...]


def choose_subnets(
    space: SearchSpace, resolution: int, config: NetworkConfig, settings: MeasureSettings
) -> ChosenSubnets:
    """Calibration and validation subnets of one resolution."""
    rng = random.Random(f"{settings.seed}/{resolution}")
    if space.kind == "compound":
        pool = list(compound_subnets(space.family))
        rng.shuffle(pool)
    else:
        drawn = {space.sample_subnet(rng): None for _ in range(ELASTIC_POOL)}
        pool = [space.smallest, space.largest, *drawn]
        pool = list(dict.fromkeys(pool))
    picked = d_optimal(_features(pool, resolution, config), settings.calibration_networks)
    rest = [subnet for index, subnet in enumerate(pool) if index not in set(picked)]
    validation = rng.sample(rest, settings.validation_networks)
    return ChosenSubnets(tuple(pool[index] for index in picked), tuple(validation))


def d_optimal(features: np.ndarray, count: int) -> list[int]:
    """Rows of `features` (N, F) whose information matrix has the largest determinant, greedily.

    Each step adds the row about which the rows so far say least: the largest x' M^-1 x.
    """
    scale = np.abs(features).max(axis=0)
    rows = features / np.where(scale > 0, scale, 1.0)
    inverse = np.eye(rows.shape[1]) / DESIGN_RIDGE
    picked: list[int] = []
    for _ in range(min(count, len(rows))):
        leverage = np.einsum("nf,fg,ng->n", rows, inverse, rows)
        leverage[picked] = -np.inf
        best = int(np.argmax(leverage))
        picked.append(best)
        direction = inverse @ rows[best]
        inverse -= np.outer(direction, direction) / (1 + rows[best] @ direction)
    return picked


def _features(subnets: Sequence[Subnet], resolution: int, config: NetworkConfig) -> np.ndarray:
    """Multiply-adds spent in each unique block, (N, number of unique blocks), and a constant."""
    counts = [Counter(network_blocks(subnet, resolution, config)) for subnet in subnets]
    blocks = list(dict.fromkeys(block for count in counts for block in count))
    table = [[count[block] * block_macs(block) for block in blocks] + [1] for count in counts]
    return np.array(table, dtype=np.float64)


def _network(role: Role, subnet: Subnet, resolution: int, config: NetworkConfig) -> Item:
    architecture = Architecture(subnet, resolution)
    blocks = tuple(network_blocks(subnet, resolution, config))
    replica = 1 if role == "repeat" else 0
    return Item(f"{role} {architecture}", role, resolution, blocks, architecture, replica=replica)
