"""The two search spaces: compound (CompOFA, fOFA) and elastic (OFA).

A space says which subnets and resolutions there are, enumerates what can be enumerated, and draws
from an explicit `random.Random`, so that whoever holds the generator can replay the draw.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from fofa.errors import UserError
from fofa.space.blocks import BlockSpec
from fofa.space.network import (
    MAX_DEPTH,
    NetworkConfig,
    first_block,
    head_block,
    stage_block,
    stage_sizes,
    stem_block,
)
from fofa.space.subnet import (
    DEPTHS,
    EXPAND_OF_DEPTH,
    EXPANDS,
    KERNELS,
    NUM_STAGES,
    STAGE_KERNELS,
    Architecture,
    BlockChoice,
    Subnet,
)

SpaceKind = Literal["compound", "elastic"]
DEFAULT_RESOLUTIONS = (128, 160, 192, 224)
MIN_RESOLUTION, MAX_RESOLUTION = 8, 4096


def check_resolutions(resolutions: Sequence[int]) -> tuple[int, ...]:
    """The resolutions in ascending order.

    Raises:
        UserError: if there is none, one comes twice, or one is outside 8..4096 px.
    """
    unique = sorted(set(resolutions))
    if not unique or len(unique) != len(resolutions):
        raise UserError(f"resolutions {list(resolutions)}: expected one or more, each once")
    if unique[0] < MIN_RESOLUTION or unique[-1] > MAX_RESOLUTION:
        raise UserError(
            f"resolutions {list(resolutions)}: expected {MIN_RESOLUTION} to {MAX_RESOLUTION} px"
        )
    return tuple(unique)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """A kind of space with its width multiplier and resolutions (ascending)."""

    kind: SpaceKind = "compound"
    width_mult: float = 1.0
    resolutions: tuple[int, ...] = field(default=DEFAULT_RESOLUTIONS)

    def __post_init__(self) -> None:
        if self.kind not in ("compound", "elastic"):
            raise UserError(f"space {self.kind!r}: expected 'compound' or 'elastic'")
        object.__setattr__(self, "resolutions", check_resolutions(self.resolutions))

    @property
    def largest(self) -> Subnet:
        """The full-sized network: 44444, or K7 D4 W6 in the elastic space."""
        if self.kind == "compound":
            return Subnet.compound((max(DEPTHS),) * NUM_STAGES)
        return Subnet.uniform(kernel=max(KERNELS), depth=max(DEPTHS), expand=max(EXPANDS))

    @property
    def smallest(self) -> Subnet:
        """The subnet with the fewest multiply-adds."""
        if self.kind == "compound":
            return Subnet.compound((min(DEPTHS),) * NUM_STAGES)
        return Subnet.uniform(kernel=min(KERNELS), depth=min(DEPTHS), expand=min(EXPANDS))

    def __contains__(self, item: Subnet | Architecture) -> bool:
        if isinstance(item, Architecture):
            return item.resolution in self.resolutions and item.subnet in self
        return self.kind == "elastic" or item.is_compound

    def architectures(self) -> Iterator[Architecture]:
        """Every compound architecture, resolution by resolution; 243 for each.

        The elastic space cannot be enumerated; this yields its compound part there.
        """
        for resolution in self.resolutions:
            for subnet in compound_subnets():
                yield Architecture(subnet, resolution)

    def sample_subnet(self, rng: random.Random) -> Subnet:
        """A subnet drawn uniformly over each elastic choice."""
        return sample_compound(rng) if self.kind == "compound" else sample_elastic(rng)

    def sample(self, rng: random.Random) -> Architecture:
        """An architecture: a resolution, then a subnet."""
        return Architecture(subnet=self.sample_subnet(rng), resolution=rng.choice(self.resolutions))

    def unique_blocks(self, resolution: int, config: NetworkConfig) -> list[BlockSpec]:
        """Every distinct block of the space at one resolution, in network order.

        33 in the compound space (stem, first, 5 stages x first/later x 3 expands, head), 93 in
        the elastic one.
        """
        sizes = stage_sizes(resolution)
        blocks = [stem_block(config, resolution), first_block(config, sizes[0])]
        for stage in range(1, NUM_STAGES + 1):
            kernels = (STAGE_KERNELS[stage - 1],) if self.kind == "compound" else KERNELS
            for index, kernel, expand in itertools.product((0, 1), kernels, EXPANDS):
                size = sizes[stage - 1] if index == 0 else sizes[stage]
                blocks.append(stage_block(config, stage, index, kernel, expand, size))
        blocks.append(head_block(config, sizes[NUM_STAGES]))
        return blocks


def compound_subnets() -> Iterator[Subnet]:
    """The 243 compound subnets, in the order of their names."""
    for depths in itertools.product(DEPTHS, repeat=NUM_STAGES):
        yield Subnet.compound(depths)


def sample_compound(rng: random.Random) -> Subnet:
    """One of the 243 compound subnets, uniformly."""
    return Subnet.compound(tuple(rng.choice(DEPTHS) for _ in range(NUM_STAGES)))


def sample_elastic(
    rng: random.Random,
    *,
    depths: Sequence[int] = DEPTHS,
    expands: Sequence[int] = EXPANDS,
    kernels: Sequence[int] = KERNELS,
) -> Subnet:
    """A subnet with a depth per stage and a kernel and expand per block, each drawn uniformly.

    The choices can be narrowed, as OFA's progressive shrinking does phase by phase.
    """
    return Subnet(
        tuple(
            tuple(
                BlockChoice(rng.choice(kernels), rng.choice(expands))
                for _ in range(rng.choice(depths))
            )
            for _ in range(NUM_STAGES)
        )
    )


assert max(EXPAND_OF_DEPTH) == MAX_DEPTH
