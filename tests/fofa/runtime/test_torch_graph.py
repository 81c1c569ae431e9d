"""The PyTorch module of a graph computes what onnxruntime computes of it."""

import copy
import random

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from fofa.errors import UserError
from fofa.runtime.graph import (
    INPUT_NAME,
    OUTPUT_NAME,
    build_model,
    input_shape,
    output_shape,
    random_input,
)
from fofa.runtime.torch_graph import build_module, load_module
from fofa.space import (
    NetworkConfig,
    SearchSpace,
    architecture_blocks,
    block_macs,
    network_blocks,
    parse_architecture,
)

SMALL = NetworkConfig(width_mult=0.5, num_classes=10)
TINY = NetworkConfig(width_mult=0.25, num_classes=7)
ELASTIC = "3x4+5x6-7x3+3x3-3x6+3x6-5x4+5x4+5x4-7x6+3x3@64"


def onnxruntime_output(model, images):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run([OUTPUT_NAME], {INPUT_NAME: images})[0]


def assert_same_output(model, images, tolerance):
    module, given = load_module(model), torch.from_numpy(images)
    found, again = module(given), module(given)
    assert torch.equal(found, again)  # nothing was overwritten that is still needed
    assert torch.equal(given, torch.from_numpy(images))
    expected = onnxruntime_output(model, images)
    assert found.numpy().dtype == expected.dtype
    # Rounding errors of a sum grow with its terms, which are largest where logits are.
    limit = tolerance * np.abs(expected).max()
    np.testing.assert_allclose(found.numpy(), expected, rtol=tolerance, atol=limit)


@pytest.mark.parametrize(
    ("name", "config"),
    [("22222@64", SMALL), ("43234@48", SMALL), (ELASTIC, NetworkConfig(num_classes=10))],
)
def test_a_network_gives_the_outputs_of_its_onnx_graph(name, config):
    blocks = architecture_blocks(parse_architecture(name), config)
    assert_same_output(build_model(blocks, 2), random_input(input_shape(blocks, 2)), 1e-3)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("dtype", "tolerance"), [("fp32", 1e-3), ("fp16", 5e-2)])
def test_random_parts_of_random_networks_give_the_same(seed, dtype, tolerance):
    rng = random.Random(seed)
    subnet = SearchSpace(kind="elastic").sample_subnet(rng)
    blocks = network_blocks(subnet, rng.choice((32, 40, 56)), TINY)
    start = rng.randrange(len(blocks))
    for part in (blocks, blocks[start : rng.randrange(start, len(blocks)) + 1]):
        model = build_model(part, 2, dtype, seed=seed)
        images = random_input(input_shape(part, 2), dtype, seed=seed)
        assert_same_output(model, images, tolerance)


def test_every_block_has_the_shapes_and_the_work_of_its_description():
    for block in SearchSpace(kind="elastic").unique_blocks(64, SMALL):
        module = build_module([block])
        with FlopCounterMode(display=False) as counter:
            out = module(torch.zeros(input_shape([block], 1)))
        assert tuple(out.shape) == output_shape([block], 1)
        assert counter.get_total_flops() == 2 * block_macs(block)  # a multiplication, an addition


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_random_weights_give_outputs_that_are_neither_zero_nor_infinite(dtype):
    blocks = architecture_blocks(parse_architecture("44444@64"), SMALL)
    images = torch.from_numpy(random_input(input_shape(blocks, 2), dtype))
    out = build_module(blocks, dtype)(images)
    assert torch.isfinite(out).all()
    assert 1e-3 < out.float().std() < 1e3


def test_weights_follow_the_seed_and_the_module_is_for_inference():
    blocks = SearchSpace().unique_blocks(32, SMALL)[:1]
    first, same, other = (build_module(blocks, seed=seed) for seed in (0, 0, 1))
    weights = [next(module.parameters()) for module in (first, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not first.training
    assert not weights[0].requires_grad


def test_a_module_can_be_copied_retyped_and_made_channels_last():
    blocks = architecture_blocks(parse_architecture("22222@32"), TINY)
    module = build_module(blocks)
    images = torch.from_numpy(random_input(input_shape(blocks, 3)))
    expected = module(images)
    last = copy.deepcopy(module).to(memory_format=torch.channels_last)
    torch.testing.assert_close(
        last(images.to(memory_format=torch.channels_last)), expected, rtol=1e-3, atol=1e-3
    )
    torch.testing.assert_close(
        module.double()(images.double()).float(), expected, rtol=1e-3, atol=1e-3
    )


def test_a_file_from_before_with_casts_around_fp16_still_runs():
    """What was exported as float16 took float32 images."""
    blocks = architecture_blocks(parse_architecture("22222@32"), TINY)
    model = build_model(blocks, 2, "fp16")
    graph = model.graph
    for node in graph.node:
        node.input[:] = ["half_images" if name == INPUT_NAME else name for name in node.input]
    graph.node[-1].output[0] = "half_logits"
    half, full = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    graph.node.insert(0, onnx.helper.make_node("Cast", [INPUT_NAME], ["half_images"], to=half))
    graph.node.append(onnx.helper.make_node("Cast", ["half_logits"], [OUTPUT_NAME], to=full))
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.elem_type = full
    assert_same_output(model, random_input(input_shape(blocks, 2)), 5e-2)


def test_what_pytorch_is_not_told_to_run_is_one_line():
    blocks = SearchSpace().unique_blocks(32, TINY)[:1]
    model = build_model(blocks, 1)
    kept = [a for a in model.graph.node[0].attribute if a.name != "auto_pad"]
    del model.graph.node[0].attribute[:]
    by_itself = onnx.helper.make_attribute("auto_pad", "SAME_UPPER")
    model.graph.node[0].attribute.extend([*kept, by_itself])
    with pytest.raises(UserError, match="padding that PyTorch does not know"):
        load_module(model)
    model = build_model(blocks, 1)
    model.graph.node[-1].op_type = "Mish"
    with pytest.raises(UserError, match="how to run the operator Mish"):
        load_module(model)


def test_blocks_that_do_not_fit_are_refused():
    blocks = SearchSpace().unique_blocks(32, SMALL)
    with pytest.raises(ValueError, match="cannot follow"):
        build_module([blocks[0], blocks[-1]])
    with pytest.raises(ValueError, match="no blocks"):
        build_module([])
