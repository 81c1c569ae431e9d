"""Blocks as ONNX: valid graphs whose counts are those of the cost model."""

import math

import numpy as np
import onnx
import onnxruntime
import pytest

from fofa.errors import UserError
from fofa.runtime.graph import (
    INPUT_NAME,
    OUTPUT_NAME,
    build_model,
    fix_batch,
    input_shape,
    output_shape,
    random_input,
)
from fofa.space import (
    NetworkConfig,
    SearchSpace,
    Subnet,
    network_blocks,
    params,
)

SMALL = NetworkConfig(width_mult=0.25, num_classes=10)
SUBNETS = {
    "smallest": Subnet.compound((2,) * 5),
    "mixed": Subnet.compound((4, 2, 3, 4, 2)),
    "elastic": Subnet.uniform(kernel=7, depth=3, expand=6),
}


def run(model, batch_size, blocks, dtype="fp32"):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {INPUT_NAME: random_input(input_shape(blocks, batch_size), dtype)})[0]


@pytest.mark.parametrize("name", SUBNETS)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_network_is_valid_and_gives_finite_scores(name, batch_size):
    blocks = network_blocks(SUBNETS[name], 48, SMALL)
    model = build_model(blocks, batch_size)
    onnx.checker.check_model(model, full_check=True)
    scores = run(model, batch_size, blocks)
    assert scores.shape == output_shape(blocks, batch_size) == (batch_size, 10)
    assert np.all(np.isfinite(scores))
    assert 1e-3 < scores.std() < 1e3


@pytest.mark.parametrize("block", SearchSpace(kind="elastic").unique_blocks(64, SMALL), ids=str)
def test_every_block_runs_alone(block):
    model = build_model([block], 1)
    assert run(model, 1, [block]).shape == output_shape([block], 1)


def test_weights_are_those_of_the_folded_network():
    """Folding turns scale and shift of each BatchNorm into one bias per channel."""
    subnet = Subnet.compound((2, 3, 4, 2, 3))
    config = NetworkConfig(num_classes=100)
    blocks = network_blocks(subnet, 224, config)
    stored = sum(math.prod(weight.dims) for weight in build_model(blocks, 1).graph.initializer)
    folded = sum(
        block.mid_channels * (2 if block.expands else 1) + block.out_channels
        for block in blocks[1:-1]
    )
    folded += blocks[0].out_channels + blocks[-1].mid_channels
    assert stored == params(subnet, config) - folded


def test_operators_are_those_of_deployment():
    blocks = network_blocks(SUBNETS["smallest"], 64, SMALL)
    nodes = build_model(blocks, 1).graph.node
    kinds = {node.op_type for node in nodes}
    assert {"Conv", "HardSwish", "HardSigmoid", "Relu", "Add", "Gemm"} <= kinds
    assert "BatchNormalization" not in kinds
    slopes = [
        attribute.f
        for node in nodes
        if node.op_type == "HardSigmoid"
        for attribute in node.attribute
        if attribute.name == "alpha"
    ]
    assert slopes == pytest.approx([1 / 6] * len(slopes))


def test_a_graph_is_reproducible_and_its_input_not_zero():
    blocks = network_blocks(SUBNETS["smallest"], 32, SMALL)
    assert build_model(blocks, 1) == build_model(blocks, 1)
    assert build_model(blocks, 1, seed=1) != build_model(blocks, 1)
    values = random_input(input_shape(blocks, 2))
    assert values.std() == pytest.approx(1, abs=0.1)


def test_half_precision_weights_and_inputs():
    blocks = network_blocks(SUBNETS["smallest"], 32, SMALL)
    model = build_model(blocks, 1, "fp16")
    onnx.checker.check_model(model, full_check=True)
    kinds = {weight.data_type for weight in model.graph.initializer}
    assert kinds == {onnx.TensorProto.FLOAT16}
    assert model.graph.output[0].name == OUTPUT_NAME
    assert np.all(np.isfinite(run(model, 1, blocks, "fp16")))


def test_what_cannot_be_built_is_an_error():
    blocks = network_blocks(SUBNETS["smallest"], 32, SMALL)
    with pytest.raises(UserError, match="dtype 'int3'"):
        build_model(blocks, 1, "int3")
    with pytest.raises(ValueError, match="no blocks"):
        build_model([], 1)
    with pytest.raises(ValueError, match="cannot follow"):
        build_model([blocks[0], blocks[-1]], 1)


def shape_of(value):
    return [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]


def test_a_free_batch_is_named_and_can_be_fixed_to_the_same_graph():
    blocks = network_blocks(SUBNETS["smallest"], 32, SMALL)
    model = build_model(blocks, None)
    (images,), (logits,) = model.graph.input, model.graph.output
    assert (images.name, logits.name) == (INPUT_NAME, OUTPUT_NAME) == ("images", "logits")
    assert (shape_of(images), shape_of(logits)) == (["batch", 3, 32, 32], ["batch", 10])
    fix_batch(model, 5)
    assert model == build_model(blocks, 5)
    fix_batch(model, 5)  # one that is fixed stays
    with pytest.raises(UserError, match="'images': its batch size is 5, asked for is 4"):
        fix_batch(model, 4)


def test_only_the_batch_may_be_free():
    model = build_model(network_blocks(SUBNETS["smallest"], 32, SMALL), None)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    with pytest.raises(UserError, match=r"no fixed size \['batch', 3, 'height', 32\]"):
        fix_batch(model, 1)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(UserError, match="no fixed size"):
        fix_batch(model, 1)


def test_an_older_word_for_a_type_is_read():
    blocks = network_blocks(SUBNETS["smallest"], 32, SMALL)
    assert build_model(blocks, 1, "float16") == build_model(blocks, 1, "fp16")
