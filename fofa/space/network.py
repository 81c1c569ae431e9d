"""From a subnet to its blocks: the one description of the network that everything builds on.

A family at any width multiplier, resolution and number of classes. Building, counting, profiling
and look-ups all walk the list that `network_blocks` returns.
"""

from __future__ import annotations

from dataclasses import dataclass

from fofa.space.blocks import BlockKey, BlockSpec, make_divisible, strided
from fofa.space.family import MOBILENETV3, Family, Part
from fofa.space.subnet import Architecture, Subnet


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """What is fixed for a whole supernet: family, width multiplier and number of classes."""

    family: Family = MOBILENETV3
    width_mult: float = 1.0
    num_classes: int = 1000

    def __post_init__(self) -> None:
        if not 0 < self.width_mult <= 16:
            raise ValueError(f"width_mult {self.width_mult}: expected a number above 0, up to 16")
        if self.num_classes < 2:
            raise ValueError(f"num_classes {self.num_classes}: expected at least 2")

    def width(self, channels: int, part: Part) -> int:
        """A part's channels times the width multiplier, rounded to a multiple of 8."""
        if part in self.family.unscaled:
            return channels
        return make_divisible(channels * self.width_mult)

    @property
    def stem_channels(self) -> int:
        """Output channels of the stem."""
        return self.width(self.family.stem.channels, "stem")

    @property
    def first_channels(self) -> int:
        """Output channels of the first block."""
        return self.width(self.family.first.channels, "first")

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Output channels of the stages."""
        return tuple(self.width(stage.channels, "stages") for stage in self.family.stages)

    @property
    def head_channels(self) -> int:
        """Channels of the final 1x1 expansion (960 for MobileNetV3 at width 1.0)."""
        return self.width(self.family.head.channels, "head")

    @property
    def feature_channels(self) -> int:
        """Channels that the linear layer reads: of the feature mix, or of the final expansion."""
        mixed = self.family.head.feature_channels
        return self.head_channels if mixed is None else self.width(mixed, "features")

    def mid_channels(self, in_channels: int, expand: int) -> int:
        """Expanded width of an MBConv block."""
        return make_divisible(in_channels * expand)

    def squeeze_channels(self, mid_channels: int) -> int:
        """Inner width of squeeze-excite for a block of this (active) expanded width."""
        return make_divisible(mid_channels // 4)


def stage_block(
    config: NetworkConfig, stage: int, index: int, kernel: int, expand: int, in_size: int
) -> BlockSpec:
    """Block `index` (0 is the first) of `stage` (from 1) on feature maps of side `in_size`."""
    described, channels = config.family.stages[stage - 1], config.stage_channels
    first = index == 0
    before = config.first_channels if stage == 1 else channels[stage - 2]
    in_channels = before if first else channels[stage - 1]
    stride = described.stride if first else 1
    mid = config.mid_channels(in_channels, expand)
    return BlockSpec(
        key=BlockKey("stage", stage, "first" if first else "later", kernel, expand),
        in_size=in_size,
        out_size=strided(in_size, stride),
        in_channels=in_channels,
        mid_channels=mid,
        out_channels=channels[stage - 1],
        kernel=kernel,
        stride=stride,
        activation=described.activation,
        squeeze_channels=config.squeeze_channels(mid) if described.squeeze_excite else 0,
        residual=not first,
        padding=config.family.padding,
    )


def stem_block(config: NetworkConfig, resolution: int) -> BlockSpec:
    """The convolution that every network begins with."""
    stem = config.family.stem
    return BlockSpec(
        key=BlockKey("stem"),
        in_size=resolution,
        out_size=strided(resolution, stem.stride),
        in_channels=3,
        mid_channels=config.stem_channels,
        out_channels=config.stem_channels,
        kernel=stem.kernel,
        stride=stem.stride,
        activation=stem.activation,
        padding=config.family.padding,
    )


def first_block(config: NetworkConfig, in_size: int) -> BlockSpec:
    """The MBConv without expansion after the stem."""
    return BlockSpec(
        key=BlockKey("first"),
        in_size=in_size,
        out_size=in_size,
        in_channels=config.stem_channels,
        mid_channels=config.stem_channels,
        out_channels=config.first_channels,
        kernel=config.family.first.kernel,
        stride=1,
        activation=config.family.first.activation,
        residual=config.stem_channels == config.first_channels,
        padding=config.family.padding,
    )


def head_block(config: NetworkConfig, in_size: int) -> BlockSpec:
    """Final expansion, global average pool, feature mix if the family has one, linear layer."""
    return BlockSpec(
        key=BlockKey("head"),
        in_size=in_size,
        out_size=1,
        in_channels=config.stage_channels[-1],
        mid_channels=config.head_channels,
        out_channels=config.feature_channels,
        kernel=1,
        stride=1,
        activation=config.family.head.activation,
        feature_mix=config.family.head.feature_channels is not None,
        num_classes=config.num_classes,
    )


def network_blocks(subnet: Subnet, resolution: int, config: NetworkConfig) -> list[BlockSpec]:
    """All blocks of a subnet in order, stem to head, for square images of side `resolution`.

    Raises:
        ValueError: if the subnet is of another family than the network.
    """
    if subnet.family != config.family:
        raise ValueError(f"a subnet of {subnet.family} in a network of {config.family}")
    blocks = [stem_block(config, resolution)]
    blocks.append(first_block(config, blocks[-1].out_size))
    for stage, choices in enumerate(subnet.stages, start=1):
        for index, choice in enumerate(choices):
            size = blocks[-1].out_size
            blocks.append(stage_block(config, stage, index, choice.kernel, choice.expand, size))
    blocks.append(head_block(config, blocks[-1].out_size))
    return blocks


def architecture_blocks(architecture: Architecture, config: NetworkConfig) -> list[BlockSpec]:
    """`network_blocks` of an architecture."""
    return network_blocks(architecture.subnet, architecture.resolution, config)


def stage_sizes(resolution: int, family: Family) -> tuple[int, ...]:
    """Side of the feature map that enters each of the stages, then of the one that leaves."""
    sizes = [strided(resolution, family.stem.stride)]
    for stage in family.stages:
        sizes.append(strided(sizes[-1], stage.stride))
    return tuple(sizes)
