"""Subnets and architectures as values: what they are, their names, and how names parse.

A name is accepted and printed everywhere: `23432@160` in the compound space, and
`3x4+5x6-7x3+3x3-...@192` in the elastic one. Both parse back to the same value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fofa.errors import UserError

NUM_STAGES = 5
DEPTHS = (2, 3, 4)
EXPANDS = (3, 4, 6)
KERNELS = (3, 5, 7)
STAGE_KERNELS = (3, 5, 3, 3, 5)
"""Kernel of each stage in the compound space (paper, section 3.1)."""
EXPAND_OF_DEPTH = dict(zip(DEPTHS, EXPANDS, strict=True))
"""The compound heuristic: the i-th depth goes with the i-th expand ratio (CompOFA)."""

COMPOUND_EXAMPLE = "23432@160"
ELASTIC_EXAMPLE = "3x4+5x6-7x3+3x3-3x6+3x6-5x4+5x4+5x4-7x6+3x3@192"


@dataclass(frozen=True, slots=True, order=True)
class BlockChoice:
    """The elastic choices of one MBConv block: depthwise kernel and expand ratio."""

    kernel: int
    expand: int

    def __str__(self) -> str:
        return f"{self.kernel}x{self.expand}"


@dataclass(frozen=True, slots=True, order=True)
class Subnet:
    """One network of the supernet: for each of the five stages, its blocks in order.

    Raises:
        UserError: if a depth, kernel or expand ratio is not one of the space's choices.
    """

    stages: tuple[tuple[BlockChoice, ...], ...]

    def __post_init__(self) -> None:
        if len(self.stages) != NUM_STAGES:
            raise UserError(f"a subnet has {NUM_STAGES} stages, got {len(self.stages)}")
        for number, blocks in enumerate(self.stages, start=1):
            if len(blocks) not in DEPTHS:
                raise UserError(f"stage {number} has depth {len(blocks)}, expected one of {DEPTHS}")
            for block in blocks:
                if block.kernel not in KERNELS or block.expand not in EXPANDS:
                    raise UserError(
                        f"stage {number} has block {block}, expected <kernel>x<expand> with "
                        f"kernel in {KERNELS} and expand in {EXPANDS}"
                    )

    @classmethod
    def compound(cls, depths: tuple[int, ...] | list[int]) -> Subnet:
        """The compound subnet with these stage depths; expands and kernels follow from them."""
        unknown = [depth for depth in depths if depth not in EXPAND_OF_DEPTH]
        if unknown or len(depths) != NUM_STAGES:
            raise UserError(
                f"compound depths {tuple(depths)}: expected {NUM_STAGES} values out of {DEPTHS}"
            )
        return cls(
            tuple(
                (BlockChoice(kernel, EXPAND_OF_DEPTH[depth]),) * depth
                for depth, kernel in zip(depths, STAGE_KERNELS, strict=True)
            )
        )

    @classmethod
    def uniform(cls, *, kernel: int, depth: int, expand: int) -> Subnet:
        """The same kernel, depth and expand everywhere, such as OFA's K7 D4 W6 teacher."""
        return cls(((BlockChoice(kernel, expand),) * depth,) * NUM_STAGES)

    @property
    def depths(self) -> tuple[int, ...]:
        """Number of blocks in each stage."""
        return tuple(len(blocks) for blocks in self.stages)

    @property
    def is_compound(self) -> bool:
        """Whether the subnet lies in the compound space."""
        return all(
            block == BlockChoice(kernel, EXPAND_OF_DEPTH[len(blocks)])
            for blocks, kernel in zip(self.stages, STAGE_KERNELS, strict=True)
            for block in blocks
        )

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


def parse_subnet(name: str) -> Subnet:
    """The subnet called `name` (compound or elastic form).

    Raises:
        UserError: naming what is wrong and showing what a right name looks like.
    """
    if re.fullmatch(r"[0-9]+", name, re.ASCII):
        if not re.fullmatch(r"[234]{5}", name, re.ASCII):
            raise _bad_name(name, f"expected {NUM_STAGES} depths, each 2, 3 or 4")
        return Subnet.compound([int(digit) for digit in name])
    stages = []
    for number, text in enumerate(name.split("-"), start=1):
        blocks = []
        for block in text.split("+"):
            match = re.fullmatch(r"([357])x([346])", block, re.ASCII)
            if match is None:
                raise _bad_name(name, f"block {block!r} of stage {number} is not <kernel>x<expand>")
            blocks.append(BlockChoice(int(match[1]), int(match[2])))
        stages.append(tuple(blocks))
    try:
        return Subnet(tuple(stages))
    except UserError as error:
        raise _bad_name(name, str(error)) from None


def parse_architecture(name: str) -> Architecture:
    """The architecture called `name`, such as `23432@160`.

    Raises:
        UserError: naming what is wrong and showing what a right name looks like.
    """
    text, separator, resolution = name.partition("@")
    if not separator or not re.fullmatch(r"[1-9][0-9]{0,4}", resolution, re.ASCII):
        raise _bad_name(name, "expected a subnet, '@' and a resolution in pixels")
    return Architecture(parse_subnet(text), int(resolution))


def _bad_name(name: str, reason: str) -> UserError:
    shown = name if len(name) <= 80 else name[:77] + "..."
    return UserError(
        f"architecture name {shown!r}: {reason}; a right one looks like {COMPOUND_EXAMPLE} "
        f"(compound) or {ELASTIC_EXAMPLE} (elastic), without @resolution where a subnet is meant"
    )
