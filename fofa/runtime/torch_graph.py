"""An ONNX graph as a PyTorch module, so that PyTorch runs the very graph that other runtimes do.

The module has one call of `torch.nn.functional` for each operator and frees what is no longer
needed. It follows the type of its weights, and may be moved, made channels-last, captured as a CUDA
graph or compiled like any other.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, fx, nn
from torch.nn import functional

from fofa.errors import UserError
from fofa.runtime.graph import build_model, graph_inputs
from fofa.space import BlockSpec

TORCH_TYPES: dict[int, torch.dtype] = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.FLOAT16: torch.float16,
}
VIEWS = ("Flatten", "Cast")
"""Operators whose result may be their input's memory."""

Step = tuple[Callable[..., Tensor], tuple[Any, ...], dict[str, Any]]
"""A function with its arguments, which may be nodes of the module's graph."""


def build_module(blocks: Sequence[BlockSpec], dtype: str = "fp32", *, seed: int = 0) -> nn.Module:
    """The module of consecutive blocks with random weights; it takes batches of any size."""
    return load_module(build_model(blocks, None, dtype, seed=seed))


def load_module(model: onnx.ModelProto) -> nn.Module:
    """The module of a graph, in evaluation mode, without gradients; inputs and outputs as there.

    Raises:
        UserError: if the graph has an operator, or an operator's option, that deployed networks of
            this project do not have.
    """
    root, graph = nn.Module(), fx.Graph()
    values: dict[str, Any] = {
        value.name: graph.placeholder(value.name) for value in graph_inputs(model)
    }
    kept = {*values, *(value.name for value in model.graph.output)}
    weights = {weight.name: (index, weight) for index, weight in enumerate(model.graph.initializer)}
    uses = Counter(name for node in model.graph.node for name in node.input)
    for node in model.graph.node:
        if node.op_type == "Constant":
            stored = helper.get_attribute_value(node.attribute[0])
            values[node.output[0]] = numpy_helper.to_array(stored)
            continue
        for name in node.input:
            if name in weights and name not in values:
                index, stored = weights[name]
                weight = torch.from_numpy(numpy_helper.to_array(stored).copy())
                parameter = nn.Parameter(weight, requires_grad=False)
                root.register_parameter(f"weight_{index}", parameter)
                values[name] = graph.get_attr(f"weight_{index}")
        overwrites = uses[node.input[0]] == 1 and node.input[0] not in kept
        inputs = [values[name] if name else None for name in node.input]
        function, arguments, options = _step(node, inputs, overwrites=overwrites)
        output = node.output[0]
        values[output] = graph.call_function(function, arguments, options)
        if node.op_type in VIEWS:
            kept.add(output)
    outputs = [values[value.name] for value in model.graph.output]
    graph.output(outputs[0] if len(outputs) == 1 else tuple(outputs))
    return fx.GraphModule(root, graph, "OnnxGraph").eval()


def _step(node: onnx.NodeProto, inputs: Sequence[Any], *, overwrites: bool) -> Step:
    """What an operator computes; an activation `overwrites` its input where no one else reads it.

    Raises:
        UserError: for an operator or option that is not known.
    """
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    match node.op_type:
        case "Conv":
            return convolve, _convolution(node, inputs, given), {}
        case "Relu":
            return functional.relu, (inputs[0],), {"inplace": overwrites}
        case "Clip" if [float(bound) for bound in inputs[1:]] == [0, 6]:
            return functional.relu6, (inputs[0],), {"inplace": overwrites}
        case "HardSwish":
            return functional.hardswish, (inputs[0],), {"inplace": overwrites}
        case "HardSigmoid" if _is_sixth(given):
            return functional.hardsigmoid, (inputs[0],), {"inplace": overwrites}
        case "GlobalAveragePool":
            return functional.adaptive_avg_pool2d, (inputs[0], 1), {}
        case "Mul":
            return torch.mul, tuple(inputs), {}
        case "Add":
            return torch.add, tuple(inputs), {}
        case "Flatten" if given.get("axis", 1) == 1:
            return torch.flatten, (inputs[0], 1), {}
        case "Gemm" if given == {"transB": 1}:
            return functional.linear, tuple(inputs), {}
        case "Cast" if given["to"] in TORCH_TYPES:
            return Tensor.to, (inputs[0], TORCH_TYPES[given["to"]]), {}
    raise UserError(f"PyTorch is not told how to run the operator {node.op_type} {given or ''}")


def _convolution(
    node: onnx.NodeProto, inputs: Sequence[Any], given: dict[str, Any]
) -> tuple[Any, ...]:
    """Arguments of `convolve`.

    Raises:
        UserError: if the padding is not written out.
    """
    if given.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise UserError(f"the convolution {node.name} has padding that PyTorch does not know")
    top, left, bottom, right = given.get("pads", [0, 0, 0, 0])
    strides, dilations = (tuple(given.get(name, (1, 1))) for name in ("strides", "dilations"))
    weight, bias = inputs[1], inputs[2] if len(inputs) > 2 else None
    pads = (left, right, top, bottom)
    return inputs[0], weight, bias, strides, pads, dilations, given.get("group", 1)


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    dilations: tuple[int, int],
    groups: int,
) -> Tensor:
    """`conv2d` with zeros (left, right, top, bottom), which it only takes in equal pairs."""
    left, right, top, bottom = pads
    if (left, top) != (right, bottom):
        x, left, top = functional.pad(x, pads), 0, 0
    return functional.conv2d(x, weight, bias, strides, (top, left), dilations, groups)


def _is_sixth(given: dict[str, Any]) -> bool:
    """Whether a HardSigmoid is MobileNetV3's, PyTorch's only one: relu6(x + 3) / 6."""
    alpha, beta = given.get("alpha", 0.2), given.get("beta", 0.5)
    return math.isclose(alpha, 1 / 6, rel_tol=1e-6) and math.isclose(beta, 0.5)
