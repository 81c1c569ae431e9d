"""A plain network as an ONNX graph.

The operators are those that latency tables are measured with: convolutions with a bias and no norm,
`HardSwish`, squeeze-excite with a `HardSigmoid` of slope 1/6. The batch is a free dimension.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from fofa.errors import UserError
from fofa.runtime.folding import folded
from fofa.supernet.layers import Head, MBConv, SqueezeExcite, Stem
from fofa.supernet.network import PlainNetwork

INPUT_NAME, OUTPUT_NAME, BATCH_NAME = "images", "logits", "batch"
OPSET, IR_VERSION = 17, 8
"""Old enough for every runtime that the project supports."""


def build_model(
    network: PlainNetwork,
    resolution: int,
    metadata: Mapping[str, str],
    *,
    half: bool = False,
) -> onnx.ModelProto:
    """The ONNX model of a network in evaluation mode, BatchNorm folded.

    Input `images` (batch, 3, resolution, resolution) and output `logits` (batch, classes) are
    float32; with `half`, weights and everything between are float16.

    Raises:
        UserError: if a weight does not fit into float16.
    """
    plain = folded(network)
    graph = _Graph(np.float16 if half else np.float32)
    value = graph.op("Cast", [INPUT_NAME], to=TensorProto.FLOAT16) if half else INPUT_NAME
    value = _stem(graph, value, plain.stem)
    value = _mbconv(graph, value, plain.first)
    for stage, depth in enumerate(plain.subnet.depths, start=1):
        for index in range(depth):
            value = _mbconv(graph, value, plain.block(stage, index))
    value = _head(graph, value, plain.head)
    if half:
        graph.op("Cast", [value], to=TensorProto.FLOAT)
    graph.nodes[-1].output[0] = OUTPUT_NAME
    images: list[str | int | None] = [
        BATCH_NAME,
        plain.stem.conv.in_channels,
        resolution,
        resolution,
    ]
    logits: list[str | int | None] = [BATCH_NAME, plain.head.classifier.out_features]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            metadata.get("name", "network"),
            [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, images)],
            [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, logits)],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="fofa",
    )
    model.ir_version = IR_VERSION
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    return model


class _Graph:
    """Nodes and weights of a graph being built."""

    def __init__(self, dtype: type[np.floating[Any]]) -> None:
        self.dtype = dtype
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def op(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node of one output and return the output's name."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def weight(self, tensor: Tensor) -> str:
        """Add a weight and return its name."""
        values = tensor.detach().numpy()
        if np.abs(values).max(initial=0.0) > np.finfo(self.dtype).max:
            raise UserError(f"a weight is too large for {np.dtype(self.dtype).name}; use float32")
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values.astype(self.dtype), name))
        return name

    def conv(self, value: str, conv: nn.Conv2d) -> str:
        """A convolution with 'same' padding."""
        inputs = [value, self.weight(conv.weight)]
        if conv.bias is not None:
            inputs.append(self.weight(conv.bias))
        return self.op(
            "Conv",
            inputs,
            kernel_shape=list(conv.kernel_size),
            strides=list(conv.stride),
            pads=[conv.kernel_size[0] // 2] * 4,
            group=conv.groups,
        )

    def activation(self, value: str, module: nn.Module) -> str:
        """ReLU or h-swish."""
        return self.op("Relu" if isinstance(module, nn.ReLU) else "HardSwish", [value])


def _stem(graph: _Graph, value: str, stem: Stem) -> str:
    return graph.activation(graph.conv(value, stem.conv), stem.activation)


def _mbconv(graph: _Graph, value: str, block: MBConv) -> str:
    hidden = value
    if block.expand is not None:
        hidden = graph.activation(graph.conv(hidden, block.expand), block.activation)
    hidden = graph.activation(graph.conv(hidden, block.depthwise), block.activation)
    if block.squeeze is not None:
        hidden = _squeeze_excite(graph, hidden, block.squeeze)
    hidden = graph.conv(hidden, block.project)
    return graph.op("Add", [value, hidden]) if block.residual else hidden


def _squeeze_excite(graph: _Graph, value: str, squeeze: SqueezeExcite) -> str:
    scale = graph.op("GlobalAveragePool", [value])
    scale = graph.op("Relu", [graph.conv(scale, squeeze.reduce)])
    scale = graph.conv(scale, squeeze.expand)
    scale = graph.op("HardSigmoid", [scale], alpha=1 / 6, beta=0.5)
    return graph.op("Mul", [value, scale])


def _head(graph: _Graph, value: str, head: Head) -> str:
    value = graph.activation(graph.conv(value, head.expand), head.activation)
    value = graph.op("GlobalAveragePool", [value])
    value = graph.activation(graph.conv(value, head.mix), head.activation)
    value = graph.op("Flatten", [value], axis=1)
    weight, bias = head.classifier.weight, head.classifier.bias
    return graph.op("Gemm", [value, graph.weight(weight), graph.weight(bias)], transB=1)
