"""Families: networks as data, from which building, counting, sharing, timing and names follow.

A family is a stem, a first block, stages of MBConv blocks and a head. A stage of the compound space
has one expand ratio for each depth; in the elastic space its depth, and the kernel and expand ratio
of every block, are free. `fofa.families` reads a family of one's own from a file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from fofa.errors import UserError

Activation = Literal["relu", "relu6", "h_swish"]
Padding = Literal["symmetric", "tensorflow"]
"""What surrounds a feature map of a convolution with kernel k.

`symmetric`: k // 2 on every side. `tensorflow`: at stride 2, where an even side needs an odd number
of zeros, the larger half at the right and at the bottom; else the same.
"""
Part = Literal["stem", "first", "stages", "head", "features"]
SpaceKind = Literal["compound", "elastic"]

ALL_KERNELS = (3, 5, 7)
MAX_STAGES, MAX_STAGE_DEPTH, MAX_EXPAND, MAX_CHANNELS = 12, 9, 10, 4096
MAX_COMPOUND = 20_000
"""Compound subnets of a family: search and evaluation look at all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stem:
    """The convolution, with norm and activation, that every network begins with."""

    channels: int
    activation: Activation
    kernel: int = 3
    stride: int = 2

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstBlock:
    """The MBConv without expansion after the stem; it adds its input where channels agree."""

    channels: int
    activation: Activation
    kernel: int = 3

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A group of MBConv blocks, of which the first changes channels and resolution.

    Attributes:
        kernel: of the depthwise convolutions in the compound space.
        compound: the compound space's (depth, expand ratio) pairs, both rising.
    """

    channels: int
    stride: int
    kernel: int
    activation: Activation
    compound: tuple[tuple[int, int], ...]
    squeeze_excite: bool = False

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    @property
    def depths(self) -> tuple[int, ...]:
        """Every depth from the compound space's least to its most: the elastic space's choices."""
        return tuple(range(self.compound[0][0], self.compound[-1][0] + 1))

    @property
    def compound_depths(self) -> tuple[int, ...]:
        """The depths of the compound space."""
        return tuple(depth for depth, _ in self.compound)

    @property
    def max_depth(self) -> int:
        """Blocks of the full-sized network."""
        return self.compound[-1][0]

    def expand_of(self, depth: int) -> int | None:
        """The expand ratio that goes with a depth in the compound space, None for another depth."""
        return dict(self.compound).get(depth)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """1x1 expansion with norm, global average pool, feature mix if there is one, linear layer.

    The mix (MobileNetV3) is a 1x1 convolution of the pooled features, without bias and norm.
    """

    channels: int
    activation: Activation
    feature_channels: int | None = None

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A kind of network.

    Attributes:
        name: in small letters, as files and messages call it.
        kernels, expands: choices of every block in the elastic space, ascending.
        norm_eps: of every batch normalisation.
        unscaled: parts whose channels the width multiplier leaves alone.

    Raises:
        UserError: naming the field that is wrong and what was expected.
    """

    name: str
    stem: Stem
    first: FirstBlock
    stages: tuple[Stage, ...]
    head: Head
    kernels: tuple[int, ...] = ALL_KERNELS
    expands: tuple[int, ...] = (3, 4, 6)
    norm_eps: float = 1e-5
    padding: Padding = "symmetric"
    unscaled: tuple[Part, ...] = ()

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        for fault in _faults(self):
            raise UserError(f"family {self.name[:40]!r}: {fault}")

    def __hash__(self) -> int:
        # Subnets are hashed by the thousand, each with its family.
        return hash(self.name)

    def __str__(self) -> str:
        return self.name

    @property
    def max_depth(self) -> int:
        """Blocks of the deepest stage."""
        return max(stage.max_depth for stage in self.stages)

    @property
    def compound_kernels(self) -> tuple[int, ...]:
        """Kernel of each stage in the compound space."""
        return tuple(stage.kernel for stage in self.stages)

    @property
    def num_compound(self) -> int:
        """Number of compound subnets."""
        return math.prod(len(stage.compound) for stage in self.stages)


def _faults(family: Family) -> list[str]:
    """What is wrong with a family, one line each."""
    if re.fullmatch(r"[a-z][a-z0-9_.-]{0,39}", family.name, re.ASCII) is None:
        return ["name: expected a small letter, then up to 39 small letters, digits, '.', '_', '-'"]
    if not 1 <= len(family.stages) <= MAX_STAGES:
        return [f"stages: expected 1 to {MAX_STAGES}, got {len(family.stages)}"]
    faults = []
    for name, values, bound in (
        ("kernels", family.kernels, max(ALL_KERNELS)),
        ("expands", family.expands, MAX_EXPAND),
    ):
        if not values or list(values) != sorted(set(values)) or not 1 <= values[0] <= bound:
            faults.append(f"{name}: {list(values)}, expected one or more, rising")
        elif values[-1] > bound or (name == "kernels" and not set(values) <= {*ALL_KERNELS}):
            faults.append(
                f"{name}: {list(values)}, expected values "
                + (f"of {list(ALL_KERNELS)}" if name == "kernels" else f"of 1 to {bound}")
            )
    channels = {
        "stem.channels": family.stem.channels,
        "first.channels": family.first.channels,
        "head.channels": family.head.channels,
    }
    channels |= {f"stages[{n}].channels": stage.channels for n, stage in enumerate(family.stages)}
    if family.head.feature_channels is not None:
        channels["head.feature_channels"] = family.head.feature_channels
    faults += [
        f"{name}: {count}, expected 1 to {MAX_CHANNELS}"
        for name, count in channels.items()
        if not 1 <= count <= MAX_CHANNELS
    ]
    faults += [
        f"{name}.kernel: {part.kernel}, expected one of {list(ALL_KERNELS)}"
        for name, part in (("stem", family.stem), ("first", family.first))
        if part.kernel not in ALL_KERNELS
    ]
    if family.stem.stride not in (1, 2):
        faults.append(f"stem.stride: {family.stem.stride}, expected 1 or 2")
    if not (math.isfinite(family.norm_eps) and 0 < family.norm_eps <= 0.1):
        faults.append(f"norm_eps: {family.norm_eps:g}, expected a number above 0, up to 0.1")
    if len(set(family.unscaled)) != len(family.unscaled):
        faults.append("unscaled: a part comes twice")
    for number, stage in enumerate(family.stages):
        faults += [f"stages[{number}].{fault}" for fault in _stage_faults(stage, family)]
    if not faults and family.num_compound > MAX_COMPOUND:
        faults.append(f"{family.num_compound} compound subnets, expected at most {MAX_COMPOUND}")
    return faults


def _stage_faults(stage: Stage, family: Family) -> list[str]:
    if stage.stride not in (1, 2):
        return [f"stride: {stage.stride}, expected 1 or 2"]
    if stage.kernel not in family.kernels:
        return [f"kernel: {stage.kernel}, expected one of the family's {list(family.kernels)}"]
    pairs = [list(pair) for pair in stage.compound]
    depths, expands = [depth for depth, _ in pairs], [expand for _, expand in pairs]
    if not pairs or depths != sorted(set(depths)) or expands != sorted(expands):
        return [f"compound: {pairs}, expected [depth, expand] pairs, depths and expands rising"]
    if depths[0] < 1 or depths[-1] > MAX_STAGE_DEPTH:
        return [f"compound: depths {depths}, expected 1 to {MAX_STAGE_DEPTH}"]
    if not set(expands) <= set(family.expands):
        return [f"compound: expands {expands}, expected values of {list(family.expands)}"]
    return []


def _stage(
    channels: int,
    stride: int,
    kernel: int,
    activation: Activation,
    compound: tuple[tuple[int, int], ...] = ((2, 3), (3, 4), (4, 6)),
    *,
    squeeze_excite: bool = False,
) -> Stage:
    return Stage(
        channels=channels,
        stride=stride,
        kernel=kernel,
        activation=activation,
        compound=compound,
        squeeze_excite=squeeze_excite,
    )


MOBILENETV3 = Family(
    name="mobilenetv3",
    stem=Stem(channels=16, activation="h_swish"),
    first=FirstBlock(channels=16, activation="relu"),
    stages=(
        _stage(24, 2, 3, "relu"),
        _stage(40, 2, 5, "relu", squeeze_excite=True),
        _stage(80, 2, 3, "h_swish"),
        _stage(112, 1, 3, "h_swish", squeeze_excite=True),
        _stage(160, 2, 5, "h_swish", squeeze_excite=True),
    ),
    head=Head(channels=960, feature_channels=1280, activation="h_swish"),
)
"""The paper's network (Figure 2): MobileNetV3-Large with equally deep stages. The default."""

PROXYLESS = Family(
    name="proxyless",
    stem=Stem(channels=32, activation="relu6"),
    first=FirstBlock(channels=16, activation="relu6"),
    stages=(
        _stage(24, 2, 3, "relu6"),
        _stage(40, 2, 3, "relu6"),
        _stage(80, 2, 3, "relu6"),
        _stage(96, 1, 3, "relu6"),
        _stage(192, 2, 3, "relu6"),
        _stage(320, 1, 3, "relu6", ((1, 6),)),
    ),
    head=Head(channels=1280, activation="relu6"),
    norm_eps=1e-3,
)
"""OFA's and CompOFA's ProxylessNAS space: 3x3 kernels where they are fixed, a last stage of one
block. CompOFA draws that block's expand ratio, too; here it is 6, because a name holds depths only.
"""

EFFICIENTNET_LITE0 = Family(
    name="efficientnet-lite0",
    stem=Stem(channels=32, activation="relu6"),
    first=FirstBlock(channels=16, activation="relu6"),
    stages=(
        _stage(24, 2, 3, "relu6", ((1, 3), (2, 6))),
        _stage(40, 2, 5, "relu6", ((1, 3), (2, 6))),
        _stage(80, 2, 3, "relu6", ((1, 3), (2, 4), (3, 6))),
        _stage(112, 1, 5, "relu6", ((1, 3), (2, 4), (3, 6))),
        _stage(192, 2, 5, "relu6", ((1, 3), (2, 3), (3, 4), (4, 6))),
        _stage(320, 1, 3, "relu6", ((1, 6),)),
    ),
    head=Head(channels=1280, activation="relu6"),
    norm_eps=1e-3,
    padding="tensorflow",
    unscaled=("stem", "head"),
)
"""EfficientNet-Lite0 (Google, 2020), whose full-sized network is the published one.

Pretrained networks lose blocks badly and channels well, so every stage keeps its first block, which
no other replaces, and goes down to expand ratio 3 with it: as in the paper the least depth has half
the channels of the full one. 144 subnets, the smallest with 32% of the largest one's multiply-adds
(MobileNetV3's: 28%). The last stage, of one block, stays whole: head and distillation rest on it.
"""

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {family.name: family for family in (MOBILENETV3, PROXYLESS, EFFICIENTNET_LITE0)}
)
"""The families that come with the project, by their names."""
