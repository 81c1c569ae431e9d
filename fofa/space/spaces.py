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
from fofa.space.blocks import BlockKey, BlockSpec
from fofa.space.family import MOBILENETV3, Family, SpaceKind
from fofa.space.network import (
    NetworkConfig,
    first_block,
    head_block,
    stage_block,
    stage_sizes,
    stem_block,
)
from fofa.space.subnet import Architecture, BlockChoice, Subnet

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
    """A kind of space of a family, with its width multiplier and resolutions (ascending)."""

    family: Family = MOBILENETV3
    kind: SpaceKind = "compound"
    width_mult: float = 1.0
    resolutions: tuple[int, ...] = field(default=DEFAULT_RESOLUTIONS)

    def __post_init__(self) -> None:
        if self.kind not in ("compound", "elastic"):
            raise UserError(f"space {self.kind!r}: expected 'compound' or 'elastic'")
        object.__setattr__(self, "resolutions", check_resolutions(self.resolutions))

    @property
    def largest(self) -> Subnet:
        """The full-sized network: 44444, or K7 D4 W6 in MobileNetV3's elastic space."""
        return Subnet.largest(self.family, self.kind)

    @property
    def smallest(self) -> Subnet:
        """The subnet with the fewest multiply-adds."""
        return Subnet.smallest(self.family, self.kind)

    def __contains__(self, item: Subnet | Architecture) -> bool:
        if isinstance(item, Architecture):
            return item.resolution in self.resolutions and item.subnet in self
        return item.family == self.family and (self.kind == "elastic" or item.is_compound)

    def architectures(self) -> Iterator[Architecture]:
        """Every compound architecture, resolution by resolution; 243 for each of MobileNetV3.

        The elastic space cannot be enumerated; this yields its compound part there.
        """
        for resolution in self.resolutions:
            for subnet in compound_subnets(self.family):
                yield Architecture(subnet, resolution)

    def sample_subnet(self, rng: random.Random) -> Subnet:
        """A subnet drawn uniformly over each elastic choice."""
        sample = sample_compound if self.kind == "compound" else sample_elastic
        return sample(rng, self.family)

    def sample(self, rng: random.Random) -> Architecture:
        """An architecture: a resolution, then a subnet."""
        return Architecture(subnet=self.sample_subnet(rng), resolution=rng.choice(self.resolutions))

    def unique_blocks(self, resolution: int, config: NetworkConfig) -> list[BlockSpec]:
        """Every distinct block of the space at one resolution, in network order.

        Of MobileNetV3 33 in the compound space (stem, first, 5 stages x first/later x 3 expands,
        head), 93 in the elastic one.

        Raises:
            ValueError: if `config` is of another family.
        """
        if config.family != self.family:
            raise ValueError(f"a space of {self.family} and a network of {config.family}")
        sizes = stage_sizes(resolution, self.family)
        blocks = [stem_block(config, resolution), first_block(config, sizes[0])]
        for key in self.stage_keys():
            assert key.stage is not None
            assert key.kernel is not None
            assert key.expand is not None
            index = 0 if key.block == "first" else 1
            size = sizes[key.stage - 1 + index]
            blocks.append(stage_block(config, key.stage, index, key.kernel, key.expand, size))
        blocks.append(head_block(config, sizes[-1]))
        return blocks

    def stage_keys(self) -> Iterator[BlockKey]:
        """Where each distinct block of the stages is looked up, in network order."""
        orders: tuple[tuple[Literal["first", "later"], int], ...] = (("first", 1), ("later", 2))
        for number, stage in enumerate(self.family.stages, start=1):
            for order, least_depth in orders:
                if self.kind == "compound":
                    kernels: tuple[int, ...] = (stage.kernel,)
                    pairs = [expand for depth, expand in stage.compound if depth >= least_depth]
                    expands = tuple(dict.fromkeys(pairs))
                else:
                    kernels = self.family.kernels
                    expands = self.family.expands if stage.max_depth >= least_depth else ()
                for kernel, expand in itertools.product(kernels, expands):
                    yield BlockKey("stage", number, order, kernel, expand)


def compound_subnets(family: Family = MOBILENETV3) -> Iterator[Subnet]:
    """Every compound subnet (243 of MobileNetV3), in the order of their names."""
    for depths in itertools.product(*(stage.compound_depths for stage in family.stages)):
        yield Subnet.compound(depths, family)


def sample_compound(rng: random.Random, family: Family = MOBILENETV3) -> Subnet:
    """One of the compound subnets, uniformly."""
    depths = tuple(rng.choice(stage.compound_depths) for stage in family.stages)
    return Subnet.compound(depths, family)


def sample_elastic(
    rng: random.Random,
    family: Family = MOBILENETV3,
    *,
    num_depths: int | None = None,
    expands: Sequence[int] | None = None,
    kernels: Sequence[int] | None = None,
) -> Subnet:
    """A subnet with a depth per stage and a kernel and expand per block, each drawn uniformly.

    The choices can be narrowed, as OFA's progressive shrinking does phase by phase: to the largest
    depths of each stage, and to some expand ratios and kernels.
    """
    kernels, expands = kernels or family.kernels, expands or family.expands
    return Subnet(
        tuple(
            tuple(
                BlockChoice(rng.choice(kernels), rng.choice(expands))
                for _ in range(rng.choice(stage.depths[-(num_depths or 0) :]))
            )
            for stage in family.stages
        ),
        family,
    )
