"""What int8 means in a deployed network: which values are 8-bit, and how numbers become them.

Weights are signed and symmetric, one scale for each output channel or one for the whole tensor.
Activations are unsigned with a zero point, one scale for each *point* of a block, from the range of
values that calibration images show there. Points and layers are named alike wherever a network is
built (`fofa.runtime.graph`), simulated or calibrated (`fofa.int8`): `<point>` within a block,
`<block>.<point>` within a network.

Every convolution and linear layer takes 8-bit values and weights, but for the parts that a scheme
leaves in float. Nonlinearities other than ReLUs are computed in float between two points. Logits
are float.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from fofa.errors import UserError
from fofa.runtime.int8_weights import SMALLEST_SCALE, WEIGHT_BITS, Scales
from fofa.space import BlockSpec

Ranges = Literal["minmax", "percentile"]
FloatPart = Literal["first", "last", "squeeze", "h_swish"]
"""Layers that may stay in float: the stem's convolution; the linear layer; the two layers of each
squeeze-excite; the convolutions before an h-swish."""

LEVELS = 255
"""Steps of an activation's scale: 0 to 255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8Scheme:
    """How a network is quantised.

    Attributes:
        ranges: of activations: all that calibration images show, or between two percentiles.
        percentile: share of an activation's values that its range holds, in percent.
        weights: a scale for each output channel, or for the whole tensor.
        weight_bits: 8, or 7 for processors that add two products in 16 bits (x86 without VNNI).
        float_parts: layers that stay in float, in the order of `FloatPart`.

    Raises:
        UserError: if a value is none of these.
    """

    ranges: Ranges = "minmax"
    percentile: float = 99.99
    weights: Scales = "channel"
    weight_bits: int = 8
    float_parts: tuple[FloatPart, ...] = ()

    def __post_init__(self) -> None:
        for name, value, known in (
            ("ranges", self.ranges, get_args(Ranges)),
            ("weights", self.weights, get_args(Scales)),
            *(("float part", part, get_args(FloatPart)) for part in self.float_parts),
        ):
            if value not in known:
                raise UserError(f"int8 {name} {value!r}: expected {' or '.join(known)}")
        if self.weight_bits not in WEIGHT_BITS:
            raise UserError(f"int8 weight bits {self.weight_bits}: expected 7 or 8")
        if not 50 < self.percentile <= 100:
            raise UserError(f"int8 percentile {self.percentile:g}: expected above 50, at most 100")
        ordered = tuple(part for part in get_args(FloatPart) if part in self.float_parts)
        object.__setattr__(self, "float_parts", ordered)

    @property
    def parts_text(self) -> str:
        """The parts that stay in float, as options and records have them."""
        return "+".join(self.float_parts) or "none"

    @property
    def text(self) -> str:
        """The scheme as records have it."""
        bits = "" if self.weight_bits == 8 else f", {self.weight_bits} bits"
        weights = f"weights by {self.weights}{bits}"
        return f"ranges {self.ranges_text}; {weights}; in float {self.parts_text}"

    @property
    def ranges_text(self) -> str:
        """How ranges are found, as options and records have it."""
        return "minmax" if self.ranges == "minmax" else f"percentile:{self.percentile:g}"

    def in_float(self, block: BlockSpec, layer: str) -> bool:
        """Whether a layer of a block is computed in floating point."""
        swish = block.activation == "h_swish" and layer in ("conv", "expand", "depthwise", "mix")
        of: dict[str, FloatPart] = {
            "conv": "first",
            "classifier": "last",
            "squeeze.reduce": "squeeze",
            "squeeze.expand": "squeeze",
        }
        return of.get(layer) in self.float_parts or (swish and "h_swish" in self.float_parts)

    def rounds(self, block: BlockSpec, point: str) -> bool:
        """Whether values are rounded at a point: not between layers that both are in float."""
        layer = "conv" if point == "input" else point.removesuffix(".act")
        if point != "input" and point.endswith(".act") and layer != "squeeze.reduce":
            return True
        return not self.in_float(block, layer)


def parse_float_parts(text: str) -> tuple[FloatPart, ...]:
    """Of `first+squeeze`, or of `none`.

    Raises:
        UserError: naming the word that is no part.
    """
    names = {} if text == "none" else dict.fromkeys(text.replace(",", "+").split("+"))
    known: dict[str, FloatPart] = {part: part for part in get_args(FloatPart)}
    for name in names:
        if name not in known:
            raise UserError(
                f"int8 float parts {text!r}: expected none, or some of {', '.join(known)} joined "
                "by +"
            )
    return tuple(known[name] for name in names)


def parse_scheme(
    calibration: str, granularity: str, float_parts: str, weight_bits: int = 8
) -> Int8Scheme:
    """Of the words that options have: `minmax`, `percentile` or `percentile:99.9`; a scale for each
    `channel` or `tensor`; `none` or `first+squeeze`.

    Raises:
        UserError: naming the option that is none of these.
    """
    kind, colon, share = calibration.partition(":")
    if kind not in get_args(Ranges) or (colon and kind != "percentile"):
        raise UserError(
            f"--calibration {calibration!r}: expected minmax, percentile or percentile:99.9"
        )
    if granularity not in get_args(Scales):
        raise UserError(f"--granularity {granularity!r}: expected channel or tensor")
    chosen: dict[str, Any] = {"ranges": kind, "weights": granularity, "weight_bits": weight_bits}
    if colon:
        try:
            chosen["percentile"] = float(share)
        except ValueError:
            raise UserError(f"--calibration {calibration!r}: {share!r} is no percentage") from None
    return Int8Scheme(**chosen, float_parts=parse_float_parts(float_parts))


@dataclass(frozen=True, slots=True)
class Quantisation:
    """How a network becomes an int8 one: the scheme, and how many images show the ranges."""

    scheme: Int8Scheme
    num_images: int

    @property
    def text(self) -> str:
        """As files say it."""
        return f"{self.scheme.text}; ranges of {self.num_images} training images"


@dataclass(frozen=True, slots=True)
class ActivationRange:
    """The least and the largest value of an activation that its 8 bits are to hold."""

    low: float
    high: float

    @property
    def scale(self) -> np.float32:
        """What one step is worth; 0 is always a whole number of steps away."""
        spread = max(self.high, 0.0) - min(self.low, 0.0)
        return np.float32(max(spread / LEVELS, SMALLEST_SCALE) if spread > 0 else 1.0)

    @property
    def zero_point(self) -> int:
        """The 8-bit number that means 0."""
        return int(np.clip(np.rint(-min(self.low, 0.0) / float(self.scale)), 0, LEVELS))


PointRanges = Mapping[str, ActivationRange]
"""The range of every point of a network, `<block>.<point>`."""

GATE = ActivationRange(0.0, 1.0)
"""Of the h-sigmoid that ends squeeze-excite, whatever the images."""
STAND_INS = {
    "input": ActivationRange(-4.0, 4.0),
    "linear": ActivationRange(-4.0, 4.0),
    "relu": ActivationRange(0.0, 4.0),
    "relu6": ActivationRange(0.0, 6.0),
    "h_swish": ActivationRange(-0.375, 4.0),
}
"""Ranges for networks of random weights, which are timed only: by what a point comes after."""
