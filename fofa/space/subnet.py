"""Subnets and architectures as values: what they are, their names, and how names parse.

A name is accepted and printed everywhere: `23432@160` in the compound space, and
`3x4+5x6-7x3+3x3-...@192` in the elastic one. Both parse back to the same value. A name does not say
of which family it is; whoever reads one knows (a run, a table, an option).
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from fofa.errors import UserError
from fofa.space.family import MOBILENETV3, Family, SpaceKind


@dataclass(frozen=True, slots=True, order=True)
class BlockChoice:
    """The elastic choices of one MBConv block: depthwise kernel and expand ratio."""

    kernel: int
    expand: int

    def __str__(self) -> str:
        return f"{self.kernel}x{self.expand}"


@dataclass(frozen=True, slots=True, order=True)
class Subnet:
    """One network of the supernet: for each of the family's stages, its blocks in order.

    Raises:
        UserError: if a depth, kernel or expand ratio is not one of the family's choices.
    """

    stages: tuple[tuple[BlockChoice, ...], ...]
    family: Family = MOBILENETV3

    def __post_init__(self) -> None:
        family = self.family
        if len(self.stages) != len(family.stages):
            raise UserError(f"a subnet has {len(family.stages)} stages, got {len(self.stages)}")
        for number, blocks in enumerate(self.stages, start=1):
            depths = family.stages[number - 1].depths
            if len(blocks) not in depths:
                raise UserError(f"stage {number} has depth {len(blocks)}, expected one of {depths}")
            for block in blocks:
                if block.kernel not in family.kernels or block.expand not in family.expands:
                    raise UserError(
                        f"stage {number} has block {block}, expected <kernel>x<expand> with "
                        f"kernel in {family.kernels} and expand in {family.expands}"
                    )

    @classmethod
    def compound(cls, depths: tuple[int, ...] | list[int], family: Family = MOBILENETV3) -> Subnet:
        """The compound subnet with these stage depths; expands and kernels follow from them."""
        if len(depths) != len(family.stages):
            raise UserError(
                f"compound depths {tuple(depths)}: expected {len(family.stages)} values"
            )
        stages = []
        for number, (depth, stage) in enumerate(zip(depths, family.stages, strict=True), start=1):
            expand = stage.expand_of(depth)
            if expand is None:
                raise UserError(
                    f"compound depths {tuple(depths)}: stage {number} has depth {depth}, expected "
                    f"one of {stage.compound_depths}"
                )
            stages.append((BlockChoice(stage.kernel, expand),) * depth)
        return cls(tuple(stages), family)

    @classmethod
    def largest(
        cls, family: Family, kind: SpaceKind, kernels: tuple[int, ...] | None = None
    ) -> Subnet:
        """The full-sized subnet of a space, with these kernels by stage or the space's largest."""
        if kind == "compound":
            chosen = kernels or family.compound_kernels
            expands = [stage.compound[-1][1] for stage in family.stages]
        else:
            chosen = kernels or (family.kernels[-1],) * len(family.stages)
            expands = [family.expands[-1]] * len(family.stages)
        blocks = zip(family.stages, chosen, expands, strict=True)
        return cls(tuple((BlockChoice(k, e),) * stage.max_depth for stage, k, e in blocks), family)

    @classmethod
    def smallest(cls, family: Family, kind: SpaceKind) -> Subnet:
        """The subnet of a space with the fewest multiply-adds."""
        if kind == "compound":
            return cls.compound([stage.compound[0][0] for stage in family.stages], family)
        block = BlockChoice(family.kernels[0], family.expands[0])
        return cls(tuple((block,) * stage.depths[0] for stage in family.stages), family)

    @classmethod
    def uniform(cls, *, kernel: int, depth: int, expand: int) -> Subnet:
        """MobileNetV3 with the same kernel, depth and expand everywhere, such as OFA's teacher."""
        return cls(((BlockChoice(kernel, expand),) * depth,) * len(MOBILENETV3.stages))

    @property
    def depths(self) -> tuple[int, ...]:
        """Number of blocks in each stage."""
        return tuple(len(blocks) for blocks in self.stages)

    @property
    def is_compound(self) -> bool:
        """Whether the subnet lies in the compound space."""
        for blocks, stage in zip(self.stages, self.family.stages, strict=True):
            expand = stage.expand_of(len(blocks))
            if any(block.kernel != stage.kernel or block.expand != expand for block in blocks):
                return False
        return True

    @property
    def name(self) -> str:
        """`23432` for a compound subnet, `3x4+5x6-...` for any other."""
        if self.is_compound:
            return "".join(str(depth) for depth in self.depths)
        return "-".join("+".join(str(block) for block in blocks) for blocks in self.stages)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, order=True)
class Architecture:
    """A subnet with an input resolution: what has a latency and an accuracy."""

    subnet: Subnet
    resolution: int

    @property
    def name(self) -> str:
        """The name that `parse_architecture` reads back, such as `23432@160`."""
        return f"{self.subnet.name}@{self.resolution}"

    def __str__(self) -> str:
        return self.name


def parse_subnet(name: str, family: Family = MOBILENETV3) -> Subnet:
    """The subnet of `family` called `name` (compound or elastic form).

    Raises:
        UserError: naming what is wrong and showing what a right name looks like.
    """
    try:
        if re.fullmatch(r"[0-9]+", name, re.ASCII):
            return Subnet.compound([int(digit) for digit in name], family)
        stages = []
        for number, text in enumerate(name.split("-"), start=1):
            blocks = []
            for block in text.split("+"):
                match = re.fullmatch(r"([0-9]{1,2})x([0-9]{1,2})", block, re.ASCII)
                if match is None:
                    raise UserError(f"block {block!r} of stage {number} is not <kernel>x<expand>")
                blocks.append(BlockChoice(int(match[1]), int(match[2])))
            stages.append(tuple(blocks))
        return Subnet(tuple(stages), family)
    except UserError as error:
        raise _bad_name(name, str(error), family) from None


def parse_architecture(name: str, family: Family = MOBILENETV3) -> Architecture:
    """The architecture of `family` called `name`, such as `23432@160`.

    Raises:
        UserError: naming what is wrong and showing what a right name looks like.
    """
    text, separator, resolution = name.partition("@")
    if not separator or not re.fullmatch(r"[1-9][0-9]{0,4}", resolution, re.ASCII):
        raise _bad_name(name, "expected a subnet, '@' and a resolution in pixels", family)
    return Architecture(parse_subnet(text, family), int(resolution))


def example_names(family: Family) -> tuple[str, str]:
    """A compound and an elastic name, for messages."""
    depths = []
    for number, stage in enumerate(family.stages):
        rising_and_falling = 2 - abs(number % 4 - 2)
        known = stage.compound_depths
        depths.append(known[min(rising_and_falling, len(known) - 1)])
    kernels, expands = itertools.cycle(family.kernels), itertools.cycle(family.expands)
    if len(family.expands) > 1:
        next(expands)
    stages = tuple(
        tuple(BlockChoice(next(kernels), next(expands)) for _ in range(depth)) for depth in depths
    )
    elastic = Subnet(stages, family)
    return f"{Subnet.compound(depths, family)}@160", f"{elastic}@192"


def _bad_name(name: str, reason: str, family: Family) -> UserError:
    shown = name if len(name) <= 80 else name[:77] + "..."
    whose = "" if family == MOBILENETV3 else f" of {family}"
    compound, elastic = example_names(family)
    return UserError(
        f"architecture name {shown!r}: {reason}; a right one{whose} looks like {compound} "
        f"(compound) or {elastic} (elastic), without @resolution where a subnet is meant"
    )
