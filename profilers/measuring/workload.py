"""What is timed: every unique block, whole networks to calibrate and to validate, and the canary.

The choice is a function of the space and the seed alone, so that a resumed run times the same.
Calibration networks are chosen to tell the blocks apart (D-optimal design; choosing them for the
least mean variance of a prediction, I-optimal, came out the same). Of the validation networks half
are drawn at random from the others, so that their error speaks for the whole space. The other half
lie where searches end, on a front of size against time, for which multiply-adds stand as long as
nothing is measured.
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
    macs,
    network_blocks,
    params,
)
from profilers.measuring.settings import MeasureSettings

Role = Literal["canary", "block", "calibration", "validation", "repeat", "other", "file"]
HELD_OUT: tuple[Role, ...] = ("validation", "repeat", "other")
"""Networks that take no part in making a table."""
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

    @property
    def blocks(self) -> frozenset[str]:
        """Names of the items that are single blocks."""
        return frozenset(item.name for item in self.items if item.role == "block")

    @property
    def held_out(self) -> frozenset[str]:
        """Names of the items that take no part in making a table."""
        return frozenset(item.name for item in self.items if item.role in HELD_OUT)

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
            items += [network_item(role, subnet, resolution, config) for subnet in subnets]
    middle = space.resolutions[(len(space.resolutions) - 1) // 2]
    return Workload(canary_item(middle, config), tuple(items))


def canary_item(resolution: int, config: NetworkConfig) -> Item:
    """The fixed reference network: of middling depth in every stage."""
    choices = [stage.compound_depths for stage in config.family.stages]
    middle = Subnet.compound([depths[len(depths) // 2] for depths in choices], config.family)
    return network_item("canary", middle, resolution, config)


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
    pool = network_pool(space, rng)
    picked = d_optimal(_features(pool, resolution, config), settings.calibration_networks)
    rest = [subnet for index, subnet in enumerate(pool) if index not in set(picked)]
    time = np.array([macs(Architecture(subnet, resolution), config) for subnet in rest])
    size = np.array([params(Architecture(subnet, resolution), config) for subnet in rest])
    validation = mixed_choice(rest, time, size, settings.validation_networks, rng)
    return ChosenSubnets(tuple(pool[index] for index in picked), tuple(validation))


def network_pool(space: SearchSpace, rng: random.Random) -> list[Subnet]:
    """All subnets of the compound space in random order; of the elastic one a random sample, and
    its smallest and largest."""
    if space.kind == "compound":
        pool = list(compound_subnets(space.family))
        rng.shuffle(pool)
        return pool
    drawn = {space.sample_subnet(rng): None for _ in range(ELASTIC_POOL)}
    return list(dict.fromkeys([space.smallest, space.largest, *drawn]))


def mixed_choice(
    subnets: Sequence[Subnet], time: np.ndarray, value: np.ndarray, count: int, rng: random.Random
) -> list[Subnet]:
    """Half of `count` evenly from the front of most `value` for the `time`, half at random.

    In random order, so that any first few of them are of both kinds.
    """
    front = front_rows(time, value)
    steps = np.linspace(0, len(front) - 1, min(count // 2, len(front))).round().astype(int)
    chosen = [subnets[front[step]] for step in dict.fromkeys(steps.tolist())]
    rest = [subnet for subnet in subnets if subnet not in set(chosen)]
    chosen += rng.sample(rest, min(count - len(chosen), len(rest)))
    rng.shuffle(chosen)
    return chosen


def front_rows(time: np.ndarray, value: np.ndarray) -> list[int]:
    """Rows than which no other has as much value in less time, by rising time."""
    order = np.lexsort((-value, time))
    best = np.maximum.accumulate(np.concatenate(([-np.inf], value[order][:-1])))
    return [int(row) for row, most in zip(order, best, strict=True) if value[row] > most]


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


def network_item(role: Role, subnet: Subnet, resolution: int, config: NetworkConfig) -> Item:
    """The item of a whole network."""
    architecture = Architecture(subnet, resolution)
    blocks = tuple(network_blocks(subnet, resolution, config))
    replica = 1 if role == "repeat" else 0
    return Item(f"{role} {architecture}", role, resolution, blocks, architecture, replica=replica)
