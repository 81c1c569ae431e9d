"""Graphs without the content of their weights, and what the agent makes the weights of.

A weight in floating point is cut from the noise. A layer in 8 bits is made of a weight and a bias
that are cut from it, too, and of what a step of the layer's input is worth: its scales, of which
every channel has one, follow from these by the rule of `fofa.runtime.int8_weights`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper

from fofa.runtime.graph import build_model, input_shape, noise_start
from fofa.space import BlockSpec

LAYERS = ("Conv", "Gemm")


class Cut(NamedTuple):
    """A stretch of the noise: as what shape, and times what."""

    shape: tuple[int, ...]
    scale: float

    def travelling(self) -> list[Any]:
        """As the agent takes it: shape, where it begins, scale."""
        return [self.shape, noise_start(self.shape), self.scale]


class Layer(NamedTuple):
    """A layer in 8 bits; `step` is what one of its input is worth."""

    weight: Cut
    bias: Cut | None
    step: float

    def travelling(self) -> list[Any]:
        """As the agent takes it."""
        return [self.weight.travelling(), self.bias and self.bias.travelling(), self.step]


class Weightless(NamedTuple):
    """A serialised model, and by their names the weights and the layers that it is to be given.

    Of a layer `NAME` in 8 bits the agent gives `NAME.weight` and so on
    (`fofa.runtime.int8_weights.QuantisedWeight.parts`).
    """

    model: bytes
    input_shape: tuple[int, ...]
    weights: dict[str, Cut]
    layers: dict[str, Layer]


def weightless(blocks: Sequence[BlockSpec], batch_size: int, dtype: str) -> Weightless:
    """The ONNX graph of `blocks`, the same that is timed here."""
    weights: dict[str, Cut] = {}

    def note(name: str, shape: tuple[int, ...], scale: float) -> np.ndarray:
        weights[name] = Cut(shape, float(scale))
        return np.broadcast_to(np.float32(0), shape)

    model = build_model(blocks, batch_size, dtype, weights=note)
    layers = {
        name: Layer(weights.pop(f"{name}.weight"), weights.pop(f"{name}.bias", None), step)
        for name, step in input_steps(model.graph).items()
    }
    for weight in model.graph.initializer:
        name = weight.name
        layer = name.rpartition(".weight")[0] or name.rpartition(".bias")[0]
        if name in weights or layer in layers:
            weight.ClearField("raw_data")
            weight.data_location = onnx.TensorProto.EXTERNAL
            weight.external_data.add(key="location", value="noise")
    shape = input_shape(blocks, batch_size)
    return Weightless(model.SerializeToString(), shape, weights, layers)


def input_steps(graph: onnx.GraphProto) -> dict[str, float]:
    """The layers in 8 bits, and what a step of each one's input is worth."""
    values = {weight.name: weight for weight in graph.initializer}
    rounded = {n.output[0]: n.input for n in graph.node if n.op_type == "DequantizeLinear"}
    steps = {}
    for node in graph.node:
        if node.op_type in LAYERS and node.input[1] in rounded:
            value, weight = (rounded[name] for name in node.input[:2])
            name = weight[0].rpartition(".weight")[0]
            steps[name] = float(numpy_helper.to_array(values[value[1]]))
    return steps
