"""From a subnet to its blocks: the one description of the network that everything builds on.

The MobileNetV3 layout of the paper's Figure 2, at any width multiplier, resolution and number of
classes. Building, counting, profiling and look-ups all walk the list that `network_blocks` returns.
"""

from __future__ import annotations

from dataclasses import dataclass

from fofa.space.blocks import Activation, BlockKey, BlockSpec, halve, make_divisible
from fofa.space.subnet import DEPTHS, NUM_STAGES, Architecture, Subnet

STEM_CHANNELS = 16
FIRST_CHANNELS = 16
STAGE_CHANNELS = (24, 40, 80, 112, 160)
STAGE_STRIDES = (2, 2, 2, 1, 2)
STAGE_SQUEEZE = (False, True, False, True, True)
STAGE_ACTIVATIONS: tuple[Activation, ...] = ("relu", "relu", "h_swish", "h_swish", "h_swish")
HEAD_CHANNELS = 960
FEATURE_CHANNELS = 1280
MAX_DEPTH = max(DEPTHS)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """What is fixed for a whole supernet: width multiplier and number of classes."""

    width_mult: float = 1.0
    num_classes: int = 1000

    def __post_init__(self) -> None:
        if not 0 < self.width_mult <= 16:
            raise ValueError(f"width_mult {self.width_mult}: expected a number above 0, up to 16")
        if self.num_classes < 2:
            raise ValueError(f"num_classes {self.num_classes}: expected at least 2")

    def width(self, channels: int) -> int:
        """A base channel count times the width multiplier, rounded to a multiple of 8."""
        return make_divisible(channels * self.width_mult)

    @property
    def stem_channels(self) -> int:
        """Output channels of the stem."""
        return self.width(STEM_CHANNELS)

    @property
    def first_channels(self) -> int:
        """Output channels of the first block."""
        return self.width(FIRST_CHANNELS)

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Output channels of the five stages."""
        return tuple(self.width(channels) for channels in STAGE_CHANNELS)

    @property
    def head_channels(self) -> int:
        """Channels of the final 1x1 expansion (960 at width 1.0)."""
        return self.width(HEAD_CHANNELS)

    @property
    def feature_channels(self) -> int:
        """Channels of the feature mix (1280 at width 1.0)."""
        return self.width(FEATURE_CHANNELS)

    def mid_channels(self, in_channels: int, expand: int) -> int:
        """Expanded width of an MBConv block."""
        return make_divisible(in_channels * expand)

    def squeeze_channels(self, mid_channels: int) -> int:
        """Inner width of squeeze-excite for a block of this (active) expanded width."""
        return make_divisible(mid_channels // 4)


def stage_block(
    config: NetworkConfig, stage: int, index: int, kernel: int, expand: int, in_size: int
) -> BlockSpec:
    """Block `index` (0 is the first) of `stage` (1 to 5) on feature maps of side `in_size`."""
    channels = config.stage_channels
    first = index == 0
    before = config.first_channels if stage == 1 else channels[stage - 2]
    in_channels = before if first else channels[stage - 1]
    stride = STAGE_STRIDES[stage - 1] if first else 1
    mid = config.mid_channels(in_channels, expand)
    return BlockSpec(
        key=BlockKey("stage", stage, "first" if first else "later", kernel, expand),
        in_size=in_size,
        out_size=halve(in_size) if stride == 2 else in_size,
        in_channels=in_channels,
        mid_channels=mid,
        out_channels=channels[stage - 1],
        kernel=kernel,
        stride=stride,
        activation=STAGE_ACTIVATIONS[stage - 1],
        squeeze_channels=config.squeeze_channels(mid) if STAGE_SQUEEZE[stage - 1] else 0,
        residual=not first,
    )


def stem_block(config: NetworkConfig, resolution: int) -> BlockSpec:
    """The 3x3 stride-2 convolution that every network begins with."""
    return BlockSpec(
        key=BlockKey("stem"),
        in_size=resolution,
        out_size=halve(resolution),
        in_channels=3,
        mid_channels=config.stem_channels,
        out_channels=config.stem_channels,
        kernel=3,
        stride=2,
        activation="h_swish",
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
        kernel=3,
        stride=1,
        activation="relu",
        residual=config.stem_channels == config.first_channels,
    )


def head_block(config: NetworkConfig, in_size: int) -> BlockSpec:
    """Final expansion, global average pool, feature mix and linear layer."""
    return BlockSpec(
        key=BlockKey("head"),
        in_size=in_size,
        out_size=1,
        in_channels=config.stage_channels[-1],
        mid_channels=config.head_channels,
        out_channels=config.feature_channels,
        kernel=1,
        stride=1,
        activation="h_swish",
        num_classes=config.num_classes,
    )


def network_blocks(subnet: Subnet, resolution: int, config: NetworkConfig) -> list[BlockSpec]:
    """All blocks of a subnet in order, stem to head, for square images of side `resolution`."""
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


def stage_sizes(resolution: int) -> tuple[int, ...]:
    """Side of the feature map that enters each of the five stages, then of the one that leaves."""
    sizes = [halve(resolution)]
    for stride in STAGE_STRIDES:
        sizes.append(halve(sizes[-1]) if stride == 2 else sizes[-1])
    return tuple(sizes)


assert len(STAGE_CHANNELS) == len(STAGE_STRIDES) == NUM_STAGES
