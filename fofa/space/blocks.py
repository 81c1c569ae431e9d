"""One block of a network, described without any framework.

A `BlockSpec` is all that counting, building, lowering and timing need to know of a block. The
network of a subnet is a list of them (`fofa.space.network`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fofa.space.family import Activation, Padding

Position = Literal["stem", "first", "stage", "head"]


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round a channel count to the nearest multiple of `divisor`, never below 90% of `value`.

    The rule of MobileNetV3 (Howard et al., 2019), used for every width multiplier.
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    if rounded < 0.9 * value:
        rounded += divisor
    return rounded


def strided(size: int, stride: int) -> int:
    """Side of the feature map after a convolution of this stride with 'same' padding."""
    return -(-size // stride)


def pad_sides(size: int, kernel: int, stride: int, padding: Padding) -> tuple[int, int]:
    """Zeros before and after a feature map of side `size`, in either direction."""
    if padding == "symmetric":
        return kernel // 2, kernel // 2
    total = max((strided(size, stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


@dataclass(frozen=True, slots=True)
class BlockKey:
    """Where a block's latency is looked up: its position and its elastic choices, without sizes.

    `stage` counts from 1 (the paper's B1..B5); `block` tells the first block of a stage, which
    changes channels and resolution, from the later, residual ones. All four are None outside the
    stages.
    """

    position: Position
    stage: int | None = None
    block: Literal["first", "later"] | None = None
    kernel: int | None = None
    expand: int | None = None

    def __str__(self) -> str:
        if self.position != "stage":
            return self.position
        return f"stage {self.stage} {self.block} block, kernel {self.kernel}, expand {self.expand}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSpec:
    """A block with its shapes: square feature maps, sides in pixels, NCHW channel counts.

    Attributes:
        key: position and elastic choices.
        in_size, out_size: side of the input and output feature map (the head's output is 1x1).
        in_channels, mid_channels, out_channels: for the stem `mid` equals `out`; for an MBConv
            `mid` is the expanded width; for the head `mid` is the final 1x1 expansion (960 at
            width 1.0) and `out` what the linear layer reads (1280).
        kernel, stride, padding: of the depthwise convolution (of the only one, in the stem).
        squeeze_channels: inner width of squeeze-excite, 0 where there is none.
        residual: whether the input is added to the output.
        feature_mix: whether a head has a convolution between pool and linear layer.
        num_classes: of the head's linear layer, 0 elsewhere.
    """

    key: BlockKey
    in_size: int
    out_size: int
    in_channels: int
    mid_channels: int
    out_channels: int
    kernel: int
    stride: int
    activation: Activation
    squeeze_channels: int = 0
    residual: bool = False
    padding: Padding = "symmetric"
    feature_mix: bool = False
    num_classes: int = 0

    @property
    def expands(self) -> bool:
        """Whether the MBConv has its 1x1 expansion convolution (the first block has none)."""
        return self.key.position == "stage"

    @property
    def pads(self) -> tuple[int, int]:
        """Zeros before and after the feature map that `kernel` goes over."""
        return pad_sides(self.in_size, self.kernel, self.stride, self.padding)

    def shape(self) -> dict[str, int]:
        """The sizes as plain numbers, as files and reports show them."""
        return {
            "in_size": self.in_size,
            "out_size": self.out_size,
            "in_channels": self.in_channels,
            "mid_channels": self.mid_channels,
            "out_channels": self.out_channels,
            "stride": self.stride,
            "squeeze_channels": self.squeeze_channels,
            "num_classes": self.num_classes,
        }
