from collections import Counter

import onnx
import pytest
import torch

from fofa.errors import UserError
from fofa.export.onnx_graph import INPUT_NAME, OUTPUT_NAME, build_model


def test_operators_are_those_that_tables_are_measured_with(network) -> None:
    model = build_model(network, 32, {"name": "a network"})
    kinds = Counter(node.op_type for node in model.graph.node)
    assert set(kinds) == {
        "Add",
        "Conv",
        "Flatten",
        "Gemm",
        "GlobalAveragePool",
        "HardSigmoid",
        "HardSwish",
        "Mul",
        "Relu",
    }
    assert kinds["Gemm"] == 1
    assert model.graph.name == "a network"


def test_shapes_are_named_and_the_batch_is_free(network) -> None:
    graph = build_model(network, 32, {}).graph
    (images,), (logits,) = graph.input, graph.output
    assert (images.name, logits.name) == (INPUT_NAME, OUTPUT_NAME)
    sizes = [d.dim_param or d.dim_value for d in images.type.tensor_type.shape.dim]
    assert sizes == ["batch", 3, 32, 32]
    sizes = [d.dim_param or d.dim_value for d in logits.type.tensor_type.shape.dim]
    assert sizes == ["batch", 10]


def test_half_precision_inside_float32_outside(network) -> None:
    graph = build_model(network, 32, {}, half=True).graph
    assert {weight.data_type for weight in graph.initializer} == {onnx.TensorProto.FLOAT16}
    assert graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_a_weight_beyond_float16_is_refused(run, architecture) -> None:
    from fofa.supernet.weights import load_supernet

    network = load_supernet(run).extract(architecture.subnet).eval()
    with torch.no_grad():
        network.head.classifier.weight[0, 0] = 1e6
    with pytest.raises(UserError, match="too large for float16"):
        build_model(network, 32, {}, half=True)
