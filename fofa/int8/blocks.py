"""A deployed block in PyTorch: BatchNorm folded, with the points where an int8 network rounds.

The operators are those of `fofa.runtime.graph`, in its order, and so are the names of layers and
points. What happens there is a `Mode`: `Recording` looks at the values in floating point,
`Rounding` puts them, and the weights, on the steps that 8 bits have.

Rounding simulates: sums are taken in fp32 and not in whole numbers, so now and then a value comes
out a step beside the one that a runtime finds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fofa.int8.ranges import RangeRecorder
from fofa.runtime.int8 import GATE, LEVELS, ActivationRange, Int8Scheme
from fofa.runtime.int8_weights import quantise_weight
from fofa.space import BlockSpec
from fofa.space.family import Activation
from fofa.supernet.elastic import Weights, global_mean
from fofa.supernet.pointwise import pointwise

Layer = tuple[Tensor, Tensor | None]
"""Weight, and bias if there is one."""
NO_STEP = np.float32(1.0)
"""Of images, which no layer takes before they are rounded."""


class Mode(Protocol):
    """How a block is run."""

    def point(self, name: str, x: Tensor) -> Tensor:
        """The value that goes on from a point of the block."""
        ...

    def layer(self, name: str) -> Layer:
        """Weight and bias of a layer of the block, which takes what the last point gave."""
        ...


@dataclass(frozen=True, slots=True)
class Recording:
    """In floating point, while the values at all points that are rounded are looked at.

    Attributes:
        prefix: of the points' names in the recorder: `<block>.`.
    """

    block: BlockSpec
    weights: Weights
    scheme: Int8Scheme
    recorder: RangeRecorder
    prefix: str

    def point(self, name: str, x: Tensor) -> Tensor:
        if self.scheme.rounds(self.block, name) and not name.endswith(".gate"):
            self.recorder.see(self.prefix + name, x)
        return x

    def layer(self, name: str) -> Layer:
        return self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias")


@dataclass(slots=True)
class Rounding:
    """In 8 bits, but for the parts that the scheme leaves in float.

    Attributes:
        weights: fp32, not rounded yet.
        ranges: of the points, with their prefix.
        step: what one step of the last rounded value is worth; at first, of the block's input.
        layers: weights and biases on their steps, as far as they have been used.
    """

    block: BlockSpec
    weights: Weights
    scheme: Int8Scheme
    ranges: Mapping[str, ActivationRange]
    prefix: str
    step: np.float32
    layers: dict[str, Layer] = field(default_factory=dict)

    def point(self, name: str, x: Tensor) -> Tensor:
        if not self.scheme.rounds(self.block, name):
            return x
        found = GATE if name.endswith(".gate") else self.ranges[self.prefix + name]
        self.step = found.scale
        return torch.fake_quantize_per_tensor_affine(
            x, float(found.scale), found.zero_point, 0, LEVELS
        )

    def layer(self, name: str) -> Layer:
        if name not in self.layers:
            self.layers[name] = self._rounded(name)
        return self.layers[name]

    def _rounded(self, name: str) -> Layer:
        weight, bias = self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias")
        if self.scheme.in_float(self.block, name):
            return weight, bias
        offsets = None if bias is None else bias.cpu().numpy()
        scheme, numbers = self.scheme, weight.cpu().numpy()
        found = quantise_weight(numbers, offsets, self.step, scheme.weights, scheme.weight_bits)
        values = torch.from_numpy(found.values).to(weight.device)
        if found.bias is None:
            return values, None
        units = np.float64(self.step) * found.scale.astype(np.float64)
        whole = torch.from_numpy((found.bias * units).astype(np.float32))
        return values, whole.to(weight.device)


def run_block(block: BlockSpec, x: Tensor, mode: Mode) -> Tensor:
    """[N, C, H, W] -> what the block gives: a feature map, or [N, classes] after a head."""
    match block.key.position:
        case "stem":
            x = mode.point("input", x)
            return _activated(block, _convolved(block, x, mode.layer("conv")), "conv", mode)
        case "head":
            return _run_head(block, x, mode)
    return _run_mbconv(block, x, mode)


def _run_mbconv(block: BlockSpec, x: Tensor, mode: Mode) -> Tensor:
    out = x
    if block.expands:
        out = _activated(block, pointwise(out, *mode.layer("expand")), "expand", mode)
    out = _convolved(block, out, mode.layer("depthwise"), groups=out.shape[1])
    out = _activated(block, out, "depthwise", mode)
    if block.squeeze_channels:
        out = _squeeze_excite(out, mode)
    out = mode.point("project", pointwise(out, *mode.layer("project")))
    return mode.point("add", out + x) if block.residual else out


def _squeeze_excite(x: Tensor, mode: Mode) -> Tensor:
    gate = mode.point("squeeze.pool", global_mean(x))
    gate = F.relu(pointwise(gate, *mode.layer("squeeze.reduce")))
    gate = mode.point("squeeze.reduce.act", gate)
    gate = mode.point("squeeze.expand", pointwise(gate, *mode.layer("squeeze.expand")))
    gate = mode.point("squeeze.gate", F.hardsigmoid(gate))
    return mode.point("squeeze", x * gate)


def _run_head(block: BlockSpec, x: Tensor, mode: Mode) -> Tensor:
    out = _activated(block, pointwise(x, *mode.layer("expand")), "expand", mode)
    out = mode.point("pool", global_mean(out))
    if block.feature_mix:
        out = _activated(block, pointwise(out, *mode.layer("mix")), "mix", mode)
    return F.linear(out.flatten(1), *mode.layer("classifier"))


def _convolved(block: BlockSpec, x: Tensor, layer: Layer, groups: int = 1) -> Tensor:
    """The convolution that has the block's kernel, stride and padding."""
    before, after = block.pads
    padding = before
    if before != after:
        x, padding = F.pad(x, (before, after, before, after)), 0
    return F.conv2d(x, *layer, stride=block.stride, padding=padding, groups=groups)


def _activated(block: BlockSpec, x: Tensor, layer: str, mode: Mode) -> Tensor:
    """The activation after a layer, between the layer's points."""
    if block.activation == "h_swish":
        x = mode.point(layer, x)
    return mode.point(f"{layer}.act", _activation(block.activation, x))


def _activation(kind: Activation, x: Tensor) -> Tensor:
    match kind:
        case "relu":
            return F.relu(x)
        case "relu6":
            return F.relu6(x)
        case "h_swish":
            return F.hardswish(x)
