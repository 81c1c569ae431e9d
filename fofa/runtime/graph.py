"""The deployed network as an ONNX graph: the one that is measured, and the one that is exported.

Blocks (one, a few, a whole network), weights as arrays, a number type and a batch size go in. What
a latency table is measured with has random weights, what `fofa-export` writes has those of a
trained network (`fofa.runtime.folding`); nothing else tells the two apart:

- BatchNorm is folded, so a convolution has a bias and no norm follows. h-swish is the operator
  `HardSwish`, ReLU6 a `Clip`, squeeze-excite ends in a `HardSigmoid` of slope 1/6.
- All values are of one type, inputs and outputs too: an fp16 graph takes fp16 images and has no
  casts, which is what networks are deployed with that are to be fast.
- The batch is a fixed size, or free (None). A runtime that tunes for a size is given a fixed one
  (`fix_batch`), whether it measures or builds what is deployed.

Random weights have a fixed seed and a scale that keeps activations of order one through the whole
network (also in fp16): values change the latency only where they degenerate (zeros, denormals,
infinities), and these do not. Inputs are random and non-zero for the same reason.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fofa.errors import UserError
from fofa.precision import Precision, parse_precision
from fofa.space import BlockSpec
from fofa.space.family import Activation

INPUT_NAME = "images"
OUTPUT_NAME = "logits"
"""Of every graph; a part of a network takes or gives a feature map under the same name."""
BATCH_NAME = "batch"
OPSET = 17
IR_VERSION = 8
"""Old enough for every onnxruntime and TensorRT that the project supports."""
GRAPH_TYPES: tuple[Precision, ...] = ("fp32", "fp16")
ELEMENT_TYPES: dict[str, int] = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16}
NUMPY_TYPES: dict[str, type[np.floating[Any]]] = {"fp32": np.float32, "fp16": np.float16}
NOISE_LENGTH = 65_521

WeightSource = Callable[[str, tuple[int, ...], float], np.ndarray]
"""Name, shape and standard deviation (of a random weight) to values, fp32."""


def build_model(
    blocks: Sequence[BlockSpec],
    batch_size: int | None,
    dtype: str = "fp32",
    *,
    seed: int = 0,
    weights: Mapping[str, np.ndarray] | WeightSource | None = None,
    name: str = "blocks",
) -> onnx.ModelProto:
    """The ONNX model of consecutive blocks: one alone, a few, or a whole network.

    The input is `images`, (batch, channels, side, side) of the first block; the output is `logits`,
    (batch, classes) after a head, else a feature map.

    Args:
        batch_size: None leaves it free.
        weights: `<block>.<layer>.weight` and `.bias` to arrays, blocks counted from 0 and layers
            named as in `fofa.supernet.layers`; or a function that gives each; by default random
            ones of `seed`.

    Raises:
        UserError: if `dtype` is neither fp32 nor fp16, or a weight does not fit into fp16.
        ValueError: if `blocks` is empty, two neighbours do not fit, or `weights` are not theirs.
    """
    chosen = parse_precision(dtype, GRAPH_TYPES, option="dtype")
    if not blocks:
        raise ValueError("no blocks to build")
    for before, after in itertools.pairwise(blocks):
        if (before.out_channels, before.out_size) != (after.in_channels, after.in_size):
            raise ValueError(f"{after.key} cannot follow {before.key}: their shapes differ")
    given = weights if callable(weights) or weights is None else _given(weights)
    graph = _Graph(chosen, given or _noise(seed))
    value = INPUT_NAME
    for index, block in enumerate(blocks):
        graph.block = index
        match block.key.position:
            case "stem":
                value = _stem(graph, value, block)
            case "head":
                value = _head(graph, value, block)
            case _:
                value = _mbconv(graph, value, block)
    if isinstance(weights, Mapping) and len(weights) != len(graph.weights):
        unused = sorted(weights.keys() - {weight.name for weight in graph.weights})
        raise ValueError(f"weights that no layer has: {', '.join(unused)}")
    graph.nodes[-1].output[0] = OUTPUT_NAME
    element = ELEMENT_TYPES[chosen]
    batch = BATCH_NAME if batch_size is None else batch_size
    shapes = (batch, *input_shape(blocks, 1)[1:]), (batch, *output_shape(blocks, 1)[1:])
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            name,
            [helper.make_tensor_value_info(INPUT_NAME, element, shapes[0])],
            [helper.make_tensor_value_info(OUTPUT_NAME, element, shapes[1])],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="fofa",
    )
    model.ir_version = IR_VERSION
    return model


def fix_batch(model: onnx.ModelProto, batch_size: int) -> None:
    """Give a free batch dimension of `model` its size, in place.

    Raises:
        UserError: if the model has another batch size, or an image size that is free.
    """
    free = set()
    for value in graph_inputs(model):
        sizes = value.type.tensor_type.shape.dim
        shown = [size.dim_value or size.dim_param or "?" for size in sizes]
        if not shown or not all(size.dim_value for size in sizes[1:]):
            raise UserError(
                f"input {value.name!r} has no fixed size {shown}: only the batch may be free"
            )
        if sizes[0].dim_value not in (0, batch_size):
            raise UserError(
                f"input {value.name!r}: its batch size is {shown[0]}, asked for is {batch_size}"
            )
        free.add(sizes[0].dim_param)
        sizes[0].dim_value = batch_size
    for value in (*model.graph.output, *model.graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param and size.dim_param in free:
                size.dim_value = batch_size


def graph_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs that are fed; old files list their weights among them."""
    weights = {weight.name for weight in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


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
    """Nodes and weights of a graph being built.

    Attributes:
        block: index of the block that is being added, the first part of its weights' names.
    """

    dtype: str
    source: WeightSource
    block: int = 0
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)

    def op(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node of one output and return the output's name."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def weight(self, part: str, shape: tuple[int, ...], scale: float) -> str:
        """Add a weight, by default random of standard deviation `scale`, and return its name."""
        name = f"{self.block}.{part}"
        values = self.source(name, shape, scale)
        kind = NUMPY_TYPES[self.dtype]
        if kind is np.float16 and np.abs(values).max(initial=0.0) > np.finfo(kind).max:
            raise UserError(f"the weight {name} is too large for fp16; use fp32")
        self.weights.append(numpy_helper.from_array(values.astype(kind, copy=False), name))
        return name

    def conv(
        self,
        value: str,
        layer: str,
        channels: tuple[int, int],
        kernel: int = 1,
        stride: int = 1,
        *,
        pads: tuple[int, int] = (0, 0),
        depthwise: bool = False,
        bias: bool = True,
        gain: float = 2.0,
    ) -> str:
        """A convolution; `gain` 2 makes up for the half that an activation cuts off.

        `pads` are the zeros before and after the map, in either direction.
        """
        into, out = channels
        fan_in = kernel**2 * (1 if depthwise else into)
        shape = (out, 1 if depthwise else into, kernel, kernel)
        inputs = [value, self.weight(f"{layer}.weight", shape, (gain / fan_in) ** 0.5)]
        if bias:
            inputs.append(self.weight(f"{layer}.bias", (out,), 0.1))
        return self.op(
            "Conv",
            inputs,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[pads[0], pads[0], pads[1], pads[1]],
            group=into if depthwise else 1,
        )

    def activation(self, value: str, kind: Activation) -> str:
        """ReLU, ReLU6 (a `Clip` to 0..6) or h-swish."""
        match kind:
            case "relu":
                return self.op("Relu", [value])
            case "relu6":
                return self.op("Clip", [value, self.constant(0.0), self.constant(6.0)])
            case "h_swish":
                return self.op("HardSwish", [value])

    def constant(self, number: float) -> str:
        """A scalar that is part of an operator, not a weight; one node for each number."""
        name = f"constant_{number:g}"
        if all(node.name != name for node in self.nodes):
            scalar = numpy_helper.from_array(np.array(number, NUMPY_TYPES[self.dtype]), name)
            self.nodes.append(helper.make_node("Constant", [], [name], name=name, value=scalar))
        return name


def noise_values(seed: int = 0) -> np.ndarray:
    """The normal values that all random weights are cut from, (NOISE_LENGTH,), fp32."""
    return np.random.default_rng(seed).standard_normal(NOISE_LENGTH, dtype=np.float32)


def noise_start(shape: Sequence[int]) -> int:
    """Where in the noise a weight of `shape` begins; at the noise's end it goes on with the first.

    The values are multiplied by the weight's scale.
    """
    return math.prod(shape) * 7919 % NOISE_LENGTH


def _noise(seed: int) -> WeightSource:
    """Random weights, all cut from one stretch of normal values: drawing millions takes longer than
    timing the network that they are for.

    What a weight holds depends on its shape and scale alone, so that layers of different networks
    have the same, which a runtime may then keep once.
    """
    noise = noise_values(seed)

    def cut(name: str, shape: tuple[int, ...], scale: float) -> np.ndarray:
        values = np.resize(np.roll(noise, -noise_start(shape)), math.prod(shape)).reshape(shape)
        return values * np.float32(scale)

    return cut


def _given(weights: Mapping[str, np.ndarray]) -> WeightSource:
    """The weights of a network that there is."""

    def look_up(name: str, shape: tuple[int, ...], scale: float) -> np.ndarray:
        if name not in weights or weights[name].shape != shape:
            found = f"is {weights[name].shape}" if name in weights else "is not given"
            raise ValueError(f"the weight {name} {found}, expected {shape}")
        return weights[name]

    return look_up


def _stem(graph: _Graph, value: str, block: BlockSpec) -> str:
    channels = (block.in_channels, block.out_channels)
    return graph.activation(
        graph.conv(value, "conv", channels, block.kernel, block.stride, pads=block.pads),
        block.activation,
    )


def _mbconv(graph: _Graph, value: str, block: BlockSpec) -> str:
    """Inverted bottleneck (MobileNetV3): expand, depthwise, squeeze-excite, project, add."""
    into, mid, out = block.in_channels, block.mid_channels, block.out_channels
    hidden = value
    if block.expands:
        hidden = graph.activation(graph.conv(hidden, "expand", (into, mid)), block.activation)
    hidden = graph.conv(
        hidden,
        "depthwise",
        (mid, mid),
        block.kernel,
        block.stride,
        pads=block.pads,
        depthwise=True,
    )
    hidden = graph.activation(hidden, block.activation)
    if block.squeeze_channels:
        hidden = _squeeze_excite(graph, hidden, mid, block.squeeze_channels)
    hidden = graph.conv(hidden, "project", (mid, out), gain=1.0)
    return graph.op("Add", [hidden, value]) if block.residual else hidden


def _squeeze_excite(graph: _Graph, value: str, channels: int, squeezed: int) -> str:
    """Pool, reduce, ReLU, expand, h-sigmoid (relu6(x + 3) / 6), multiply."""
    scale = graph.op("GlobalAveragePool", [value])
    scale = graph.op("Relu", [graph.conv(scale, "squeeze.reduce", (channels, squeezed))])
    scale = graph.conv(scale, "squeeze.expand", (squeezed, channels))
    scale = graph.op("HardSigmoid", [scale], alpha=1 / 6, beta=0.5)
    return graph.op("Mul", [value, scale])


def _head(graph: _Graph, value: str, block: BlockSpec) -> str:
    """Final expansion, pool, feature mix (no bias, no norm) if there is one, linear layer."""
    into, mid, out = block.in_channels, block.mid_channels, block.out_channels
    value = graph.activation(graph.conv(value, "expand", (into, mid)), block.activation)
    value = graph.op("GlobalAveragePool", [value])
    if block.feature_mix:
        mixed = graph.conv(value, "mix", (mid, out), bias=False)
        value = graph.activation(mixed, block.activation)
    value = graph.op("Flatten", [value], axis=1)
    weight = graph.weight("classifier.weight", (block.num_classes, out), out**-0.5)
    bias = graph.weight("classifier.bias", (block.num_classes,), 0.1)
    return graph.op("Gemm", [value, weight, bias], transB=1)
