"""The shape of every value of an ONNX network, for given sizes of its inputs.

onnx infers shapes node by node, but not what exporters compute at run time to reshape by ("the
batch size of x, times ..."). Those computations are on small integers: they are carried out here,
and inference goes on from what they give. Weights are never looked at, only their shapes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

Shape = tuple[int, ...]
SMALL = 4096
"""Values that a shape computation has at most; larger constants are weights."""
ROUNDS = 1000


def infer_shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """Shapes of all values of `model` that can be known; changes the model.

    Raises:
        Exception: of onnx, if the model contradicts itself.
    """
    weights = _set_weights_aside(model)
    values = _small_values(model)
    shapes: dict[str, Shape] = {}
    for _ in range(ROUNDS):
        shapes = _known_shapes(shape_inference.infer_shapes(model, data_prop=True))
        found = _computed(model, shapes, values)
        if not found:
            break
        values |= found
        model.graph.initializer.extend(
            numpy_helper.from_array(value, name) for name, value in found.items()
        )
        kept = [node for node in model.graph.node if node.output[0] not in found]
        del model.graph.node[:]
        model.graph.node.extend(kept)
    return shapes | {name: tuple(value.shape) for name, value in values.items()} | weights


def _set_weights_aside(model: onnx.ModelProto) -> dict[str, Shape]:
    """Turn weights into inputs of their shape, so that their values are not carried around."""
    graph = model.graph
    large = [one for one in graph.initializer if math.prod(one.dims) > SMALL or _external(one)]
    small = [one for one in graph.initializer if one.name not in {each.name for each in large}]
    listed = {value.name for value in graph.input}
    graph.input.extend(
        helper.make_tensor_value_info(one.name, one.data_type, list(one.dims))
        for one in large
        if one.name not in listed
    )
    shapes = {one.name: tuple(one.dims) for one in large}
    del graph.initializer[:]
    graph.initializer.extend(small)
    return shapes


def _external(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def _small_values(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}


def _known_shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    shapes = {}
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape"):
            sizes = tuple(size.dim_value for size in tensor.shape.dim)
            if all(size > 0 for size in sizes):
                shapes[value.name] = sizes
    return shapes


def _computed(
    model: onnx.ModelProto, shapes: dict[str, Shape], values: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Small values that follow from the known shapes and values, by name."""
    opsets = {one.domain: one.version for one in model.opset_import}
    found: dict[str, np.ndarray] = {}

    def known(name: str) -> np.ndarray | None:
        return found.get(name, values.get(name))

    for node in model.graph.node:
        if len(node.output) != 1 or node.output[0] in values or node.domain:
            continue
        if node.op_type == "Shape" and node.input[0] in shapes:
            # The shape is all that is asked for, so any values serve.
            inputs = {node.input[0]: np.broadcast_to(np.float32(0), shapes[node.input[0]])}
        else:
            given = {name: known(name) for name in node.input if name}
            inputs = {name: value for name, value in given.items() if value is not None}
            if len(inputs) < len(given) or (not given and node.op_type != "Constant"):
                continue
        result = _evaluated(lambda one=node: ReferenceEvaluator(one, opsets=opsets), inputs)  # type: ignore[misc]
        if result is not None and result.size <= SMALL:
            found[node.output[0]] = result
    return found


def _evaluated(
    evaluator: Callable[[], ReferenceEvaluator], inputs: dict[str, np.ndarray]
) -> np.ndarray | None:
    """What an operator makes of small values; None if the reference cannot say."""
    try:
        results: Any = evaluator().run(None, inputs)
    except Exception:  # any fault of the reference leaves the value unknown, which is said later
        return None
    return np.asarray(results[0])
