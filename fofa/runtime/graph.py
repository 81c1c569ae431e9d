"""Blocks as an ONNX graph, in the form in which a network is deployed.

BatchNorm is folded, so a convolution has a bias and no norm follows; h-swish is the operator
`HardSwish`, squeeze-excite ends in a `HardSigmoid` of slope 1/6. Weights are random with a fixed
seed, scaled so that activations stay of order one through the whole network (also in fp16): values
change the latency only where they degenerate (zeros, denormals, infinities), and these do not.
Inputs are random and non-zero for the same reason.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fofa.errors import UserError
from fofa.space import BlockSpec

INPUT_NAME = "input"
OUTPUT_NAME = "output"
OPSET = 17
IR_VERSION = 8
"""Old enough for every onnxruntime and TensorRT that the project supports."""
ELEMENT_TYPES = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16}
NOISE_LENGTH = 65_521
NUMPY_TYPES = {"fp32": np.float32, "fp16": np.float16}


def build_model(
    blocks: Sequence[BlockSpec], batch_size: int, dtype: str = "fp32", *, seed: int = 0
) -> onnx.ModelProto:
    """The ONNX model of consecutive blocks: one alone, a few, or a whole network.

    The input is `input`, (batch, channels, side, side) of the first block; the output is `output`,
    a feature map, or (batch, classes) after a head.

    Raises:
        UserError: if `dtype` is neither fp32 nor fp16.
        ValueError: if `blocks` is empty or two neighbours do not fit.
    """
    if dtype not in ELEMENT_TYPES:
        raise UserError(f"dtype {dtype!r}: expected one of {', '.join(ELEMENT_TYPES)}")
    if not blocks:
        raise ValueError("no blocks to build")
    for before, after in itertools.pairwise(blocks):
        if (before.out_channels, before.out_size) != (after.in_channels, after.in_size):
            raise ValueError(f"{after.key} cannot follow {before.key}: their shapes differ")
    graph = _Graph(dtype, _noise(seed))
    value = INPUT_NAME
    for block in blocks:
        match block.key.position:
            case "stem":
                value = _stem(graph, value, block)
            case "head":
                value = _head(graph, value, block)
            case _:
                value = _mbconv(graph, value, block)
    graph.nodes[-1].output[0] = OUTPUT_NAME
    element = ELEMENT_TYPES[dtype]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "blocks",
            [helper.make_tensor_value_info(INPUT_NAME, element, input_shape(blocks, batch_size))],
            [helper.make_tensor_value_info(OUTPUT_NAME, element, output_shape(blocks, batch_size))],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="fofa",
    )
    model.ir_version = IR_VERSION
    return model


def input_shape(blocks: Sequence[BlockSpec], batch_size: int) -> tuple[int, int, int, int]:
    """(batch, channels, side, side) of what the first block takes."""
    first = blocks[0]
    return batch_size, first.in_channels, first.in_size, first.in_size


def output_shape(blocks: Sequence[BlockSpec], batch_size: int) -> tuple[int, ...]:
    """Shape of what the last block gives: a feature map, or class scores after a head."""
    last = blocks[-1]
    if last.key.position == "head":
        return batch_size, last.num_classes
    return batch_size, last.out_channels, last.out_size, last.out_size


def random_input(shape: Sequence[int], dtype: str = "fp32", *, seed: int = 0) -> np.ndarray:
    """Standard normal values of `shape`, as images are after normalisation."""
    values = np.random.default_rng(seed).standard_normal(tuple(shape), dtype=np.float32)
    return values.astype(NUMPY_TYPES[dtype])


@dataclass(slots=True)
class _Graph:
    """Nodes and weights of a graph being built; value names are numbered as they come."""

    dtype: str
    noise: np.ndarray
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)

    def op(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node of one output and return the output's name."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def weight(self, shape: tuple[int, ...], scale: float) -> str:
        """Add a random weight of standard deviation `scale` and return its name.

        Its content depends on shape and scale alone, so that layers of different networks have
        the same, which a runtime may then keep once.
        """
        count = len(self.weights)
        start = math.prod(shape) * 7919 % self.noise.size
        values = np.resize(np.roll(self.noise, -start), math.prod(shape)).reshape(shape)
        array = (values * np.float32(scale)).astype(NUMPY_TYPES[self.dtype])
        self.weights.append(numpy_helper.from_array(array, f"weight_{count}"))
        return f"weight_{count}"

    def conv(
        self,
        value: str,
        channels: tuple[int, int],
        kernel: int = 1,
        stride: int = 1,
        *,
        depthwise: bool = False,
        bias: bool = True,
        gain: float = 2.0,
    ) -> str:
        """A 'same' convolution; `gain` 2 makes up for the half that an activation cuts off."""
        into, out = channels
        fan_in = kernel**2 * (1 if depthwise else into)
        shape = (out, 1 if depthwise else into, kernel, kernel)
        inputs = [value, self.weight(shape, (gain / fan_in) ** 0.5)]
        if bias:
            inputs.append(self.weight((out,), 0.1))
        return self.op(
            "Conv",
            inputs,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
            group=into if depthwise else 1,
        )

    def activation(self, value: str, kind: str) -> str:
        """ReLU or h-swish."""
        return self.op("Relu" if kind == "relu" else "HardSwish", [value])


def _noise(seed: int) -> np.ndarray:
    """A stretch of normal values that all weights are cut from: drawing millions takes longer
    than timing the network that they are for."""
    return np.random.default_rng(seed).standard_normal(NOISE_LENGTH, dtype=np.float32)


def _stem(graph: _Graph, value: str, block: BlockSpec) -> str:
    channels = (block.in_channels, block.out_channels)
    return graph.activation(
        graph.conv(value, channels, block.kernel, block.stride), block.activation
    )


def _mbconv(graph: _Graph, value: str, block: BlockSpec) -> str:
    """Inverted bottleneck (MobileNetV3): expand, depthwise, squeeze-excite, project, add."""
    into, mid, out = block.in_channels, block.mid_channels, block.out_channels
    hidden = value
    if block.expands:
        hidden = graph.activation(graph.conv(hidden, (into, mid)), block.activation)
    hidden = graph.conv(hidden, (mid, mid), block.kernel, block.stride, depthwise=True)
    hidden = graph.activation(hidden, block.activation)
    if block.squeeze_channels:
        hidden = _squeeze_excite(graph, hidden, mid, block.squeeze_channels)
    hidden = graph.conv(hidden, (mid, out), gain=1.0)
    return graph.op("Add", [hidden, value]) if block.residual else hidden


def _squeeze_excite(graph: _Graph, value: str, channels: int, squeezed: int) -> str:
    """Pool, reduce, ReLU, expand, h-sigmoid (relu6(x + 3) / 6), multiply."""
    scale = graph.op("GlobalAveragePool", [value])
    scale = graph.op("Relu", [graph.conv(scale, (channels, squeezed))])
    scale = graph.conv(scale, (squeezed, channels))
    scale = graph.op("HardSigmoid", [scale], alpha=1 / 6, beta=0.5)
    return graph.op("Mul", [value, scale])


def _head(graph: _Graph, value: str, block: BlockSpec) -> str:
    """Final expansion, pool, feature mix (no bias, no norm), linear layer."""
    into, mid, out = block.in_channels, block.mid_channels, block.out_channels
    value = graph.activation(graph.conv(value, (into, mid)), block.activation)
    value = graph.op("GlobalAveragePool", [value])
    value = graph.activation(graph.conv(value, (mid, out), bias=False), block.activation)
    value = graph.op("Flatten", [value], axis=1)
    weight = graph.weight((block.num_classes, out), out**-0.5)
    return graph.op("Gemm", [value, weight, graph.weight((block.num_classes,), 0.1)], transB=1)
