"""The deployed network as an ONNX graph: the one that is measured, and the one that is exported.

Blocks (one, a few, a whole network), weights as arrays, a number type and a batch size go in. What
a latency table is measured with has random weights, what `fofa-export` writes has those of a
trained network (`fofa.runtime.folding`); nothing else tells the two apart:

- BatchNorm is folded, so a convolution has a bias and no norm follows. h-swish is the operator
  `HardSwish`, ReLU6 a `Clip`, squeeze-excite ends in a `HardSigmoid` of slope 1/6.
- All values are of one type, inputs and outputs too: an fp16 graph takes fp16 images and has no
  casts, which is what networks are deployed with that are to be fast.
- An int8 graph is an fp32 one with pairs of QuantizeLinear and DequantizeLinear (QDQ) at the points
  of `fofa.runtime.int8`, which runtimes fuse into 8-bit operators. Images and logits are fp32; a
  part of a network takes and gives 8-bit feature maps, as its neighbours would.
- The batch is a fixed size, or free (None). A runtime that tunes for a size is given a fixed one
  (`fix_batch`), whether it measures or builds what is deployed.

Random weights have a fixed seed and a scale that keeps activations of order one through the whole
network (also in fp16): values change the latency only where they degenerate (zeros, denormals,
infinities), and these do not. Inputs are random and non-zero for the same reason.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper

from fofa.errors import UserError
from fofa.precision import Precision, parse_precision
from fofa.runtime.int8 import Int8Scheme, PointRanges
from fofa.runtime.nodes import NUMPY_TYPES, Graph, WeightSource
from fofa.space import BlockSpec

INPUT_NAME = "images"
OUTPUT_NAME = "logits"
"""Of every graph; a part of a network takes or gives a feature map under the same name."""
BATCH_NAME = "batch"
OPSET = 17
IR_VERSION = 8
"""Old enough for every onnxruntime and TensorRT that the project supports."""
GRAPH_TYPES: tuple[Precision, ...] = ("fp32", "fp16")
"""Of graphs whose values are all of one type."""
BUILT_TYPES: tuple[Precision, ...] = (*GRAPH_TYPES, "int8")
NOISE_LENGTH = 65_521


def build_model(
    blocks: Sequence[BlockSpec],
    batch_size: int | None,
    dtype: str = "fp32",
    *,
    seed: int = 0,
    weights: Mapping[str, np.ndarray] | WeightSource | None = None,
    scheme: Int8Scheme | None = None,
    ranges: PointRanges | None = None,
    name: str = "blocks",
) -> onnx.ModelProto:
    """The ONNX model of consecutive blocks: one alone, a few, or a whole network.

    The input is `images`, (batch, channels, side, side) of the first block; the output is `logits`,
    (batch, classes) after a head, else a feature map. Their types are `value_types`.

    Args:
        batch_size: None leaves it free.
        weights: `<block>.<layer>.weight` and `.bias` to arrays, blocks counted from 0 and layers
            named as in `fofa.supernet.layers`; or a function that gives each; by default random
            ones of `seed`.
        scheme: of int8; the default one if it is not given.
        ranges: of the points of an int8 graph; by default stand-ins that go with random weights.

    Raises:
        UserError: if `dtype` is none of `BUILT_TYPES`, or a weight does not fit into fp16.
        ValueError: if `blocks` is empty, two neighbours do not fit, or `weights` or `ranges` are
            not theirs.
    """
    chosen = parse_precision(dtype, BUILT_TYPES, option="dtype")
    if not blocks:
        raise ValueError("no blocks to build")
    for before, after in itertools.pairwise(blocks):
        if (before.out_channels, before.out_size) != (after.in_channels, after.in_size):
            raise ValueError(f"{after.key} cannot follow {before.key}: their shapes differ")
    given = weights if callable(weights) or weights is None else _given(weights)
    quantised = (scheme or Int8Scheme()) if chosen == "int8" else None
    graph = Graph(chosen, given or _noise(seed), quantised, ranges)
    value = graph.start(INPUT_NAME, blocks[0])
    for index, block in enumerate(blocks):
        graph.begin(index, block)
        match block.key.position:
            case "stem":
                value = _stem(graph, value, block)
            case "head":
                value = _head(graph, value, block)
            case _:
                value = _mbconv(graph, value, block)
    if isinstance(weights, Mapping) and (unused := weights.keys() - graph.taken):
        raise ValueError(f"weights that no layer has: {', '.join(sorted(unused))}")
    graph.end(OUTPUT_NAME, blocks[-1])
    batch = BATCH_NAME if batch_size is None else batch_size
    shapes = (batch, *input_shape(blocks, 1)[1:]), (batch, *output_shape(blocks, 1)[1:])
    taken, given_back = (
        helper.np_dtype_to_tensor_dtype(np.dtype(kind)) for kind in value_types(blocks, chosen)
    )
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            name,
            [helper.make_tensor_value_info(INPUT_NAME, taken, shapes[0])],
            [helper.make_tensor_value_info(OUTPUT_NAME, given_back, shapes[1])],
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


def value_types(
    blocks: Sequence[BlockSpec], dtype: str
) -> tuple[type[np.generic], type[np.generic]]:
    """What the first block takes and the last one gives: feature maps of int8 are 8-bit."""
    ends = blocks[0].key.position == "stem", blocks[-1].key.position == "head"
    taken, given = (np.uint8 if dtype == "int8" and not end else NUMPY_TYPES[dtype] for end in ends)
    return taken, given


def random_values(
    blocks: Sequence[BlockSpec], batch_size: int, dtype: str = "fp32", *, seed: int = 0
) -> np.ndarray:
    """What blocks can be run with: images or feature maps of the type that they take."""
    kind, _ = value_types(blocks, dtype)
    values = random_input(input_shape(blocks, batch_size), "fp32", seed=seed)
    if kind is np.uint8:
        return np.clip(32 * values + 128, 1, 255).astype(np.uint8)
    return values.astype(kind)


def random_input(shape: Sequence[int], dtype: str = "fp32", *, seed: int = 0) -> np.ndarray:
    """Standard normal values of `shape`, as images are after normalisation."""
    values = np.random.default_rng(seed).standard_normal(tuple(shape), dtype=np.float32)
    return values.astype(NUMPY_TYPES[dtype])


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


def _stem(graph: Graph, value: str, block: BlockSpec) -> str:
    channels = (block.in_channels, block.out_channels)
    value = graph.point(value, "input", "input")
    hidden = graph.conv(value, "conv", channels, block.kernel, block.stride, pads=block.pads)
    return graph.activated(hidden, "conv", block.activation)


def _mbconv(graph: Graph, value: str, block: BlockSpec) -> str:
    """Inverted bottleneck (MobileNetV3): expand, depthwise, squeeze-excite, project, add."""
    into, mid, out = block.in_channels, block.mid_channels, block.out_channels
    hidden = value
    if block.expands:
        hidden = graph.conv(hidden, "expand", (into, mid))
        hidden = graph.activated(hidden, "expand", block.activation)
    hidden = graph.conv(
        hidden,
        "depthwise",
        (mid, mid),
        block.kernel,
        block.stride,
        pads=block.pads,
        depthwise=True,
    )
    hidden = graph.activated(hidden, "depthwise", block.activation)
    if block.squeeze_channels:
        hidden = _squeeze_excite(graph, hidden, mid, block)
    hidden = graph.conv(hidden, "project", (mid, out), gain=1.0)
    hidden = graph.point(hidden, "project", "linear")
    if not block.residual:
        return hidden
    return graph.point(graph.op("Add", [hidden, value]), "add", "linear")


def _squeeze_excite(graph: Graph, value: str, channels: int, block: BlockSpec) -> str:
    """Pool, reduce, ReLU, expand, h-sigmoid (relu6(x + 3) / 6), multiply."""
    squeezed = block.squeeze_channels
    scale = graph.point(graph.op("GlobalAveragePool", [value]), "squeeze.pool", block.activation)
    scale = graph.conv(scale, "squeeze.reduce", (channels, squeezed))
    scale = graph.op("Relu", [scale])
    scale = graph.point(scale, "squeeze.reduce.act", "relu")
    scale = graph.conv(scale, "squeeze.expand", (squeezed, channels))
    scale = graph.point(scale, "squeeze.expand", "linear")
    scale = graph.op("HardSigmoid", [scale], alpha=1 / 6, beta=0.5)
    scale = graph.point(scale, "squeeze.gate", "relu")
    return graph.point(graph.op("Mul", [value, scale]), "squeeze", block.activation)


def _head(graph: Graph, value: str, block: BlockSpec) -> str:
    """Final expansion, pool, feature mix (no bias, no norm) if there is one, linear layer."""
    into, mid, out = block.in_channels, block.mid_channels, block.out_channels
    value = graph.conv(value, "expand", (into, mid))
    value = graph.activated(value, "expand", block.activation)
    value = graph.point(graph.op("GlobalAveragePool", [value]), "pool", block.activation)
    if block.feature_mix:
        mixed = graph.conv(value, "mix", (mid, out), bias=False)
        value = graph.activated(mixed, "mix", block.activation)
    before = graph.quantised.get(value)
    value = graph.op("Flatten", [value], axis=1)
    if before is not None and not graph.in_float("classifier"):
        value = graph.rounded(value, "flat", before)  # the same steps: nothing is rounded again
    shape = (block.num_classes, out)
    inputs = graph.layer(value, "classifier", shape, out**-0.5, bias=True)
    return graph.op("Gemm", inputs, transB=1)
