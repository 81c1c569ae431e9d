"""The weights of a layer in 8 bits: signed and symmetric, with one scale for each output channel or
for the whole tensor (see `fofa.runtime.int8`).

This text also travels: it runs where there is only Python 3.8 and numpy (`profilers.remote.agent`).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

Scales = Literal["channel", "tensor"]
WEIGHT_BITS = (7, 8)
"""With 7, two products with 8-bit values fit into 16 bits, as x86 without VNNI adds them."""
LARGEST_BIAS = 2**30
"""Of a bias in 32 bits, with room for the sum that it is added to."""
SMALLEST_SCALE = float(np.finfo(np.float32).tiny) * 2**24


class QuantisedWeight(NamedTuple):
    """Of a layer: `weight` int8, its `scale` fp32 (channels,) or (); `bias` int32 or None."""

    weight: np.ndarray
    scale: np.ndarray
    bias: np.ndarray | None

    @property
    def values(self) -> np.ndarray:
        """The weights that the 8 bits stand for, fp32."""
        shape = (-1, *[1] * (self.weight.ndim - 1)) if self.scale.ndim else ()
        found: np.ndarray = self.weight.astype(np.float32) * self.scale.reshape(shape)
        return found

    def parts(self, input_scale: np.float32) -> dict[str, np.ndarray]:
        """What a graph holds of the layer, by the ends of the names: the weight with its scale and
        its zero point, and the bias, if there is one, with its scale."""
        zero = np.zeros(self.scale.shape, np.int8)
        found = {"weight": self.weight, "weight.scale": self.scale, "weight.zero": zero}
        if self.bias is not None:
            found["bias"] = self.bias
            found["bias.scale"] = (input_scale * self.scale).astype(np.float32)
        return found


def quantise_weight(
    weight: np.ndarray,
    bias: np.ndarray | None,
    input_scale: np.float32,
    scales: Scales,
    bits: int = 8,
) -> QuantisedWeight:
    """The weights of a layer in `bits` bits, and its bias in the units of its sums.

    A sum is worth `input_scale` times the weight's scale. A channel whose bias would not fit into
    32 bits (its weights are next to nothing) gets a larger scale.

    Args:
        weight: fp32, output channels first.
        bias: fp32 (channels,).
    """
    levels = 2 ** (bits - 1) - 1
    axes = tuple(range(1, weight.ndim)) if scales == "channel" else None
    largest = np.abs(weight).max(axis=axes)
    least = np.full(np.shape(largest), SMALLEST_SCALE)
    if bias is not None:
        needed = np.abs(bias) / (LARGEST_BIAS * np.float64(input_scale))
        least = np.maximum(least, needed if scales == "channel" else needed.max())
    scale = np.maximum(largest / levels, least).astype(np.float32)
    shape = (-1, *[1] * (weight.ndim - 1)) if scale.ndim else ()
    steps = np.rint(weight / scale.reshape(shape)).clip(-levels, levels)
    whole = None
    if bias is not None:
        whole = np.rint(bias / (np.float64(input_scale) * scale)).astype(np.int32)
    return QuantisedWeight(steps.astype(np.int8), scale, whole)
