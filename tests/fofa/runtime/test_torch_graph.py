"""The PyTorch modules compute what the ONNX graph computes, given the same weights."""

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from fofa.runtime.graph import OUTPUT_NAME, build_model, input_shape, output_shape, random_input
from fofa.runtime.torch_graph import build_module
from fofa.space import (
    NetworkConfig,
    SearchSpace,
    architecture_blocks,
    block_macs,
    parse_architecture,
)

SMALL = NetworkConfig(width_mult=0.5, num_classes=10)
ELASTIC = "3x4+5x6-7x3+3x3-3x6+3x6-5x4+5x4+5x4-7x6+3x3@64"


def give_weights(module, model):
    weights = [numpy_helper.to_array(weight) for weight in model.graph.initializer]
    parameters = list(module.parameters())
    assert [tuple(p.shape) for p in parameters] == [w.shape for w in weights]
    for parameter, weight in zip(parameters, weights, strict=True):
        parameter.copy_(torch.from_numpy(weight.copy()))


@pytest.mark.parametrize(
    ("name", "config"),
    [("22222@64", SMALL), ("43234@48", SMALL), (ELASTIC, NetworkConfig(num_classes=10))],
)
def test_a_network_gives_the_outputs_of_its_onnx_graph(name, config):
    blocks = architecture_blocks(parse_architecture(name), config)
    model = build_model(blocks, 2)
    module = build_module(blocks)
    give_weights(module, model)
    images = random_input(input_shape(blocks, 2))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    [expected] = session.run([OUTPUT_NAME], {"input": images})
    found = module(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_every_block_has_the_shapes_and_the_work_of_its_description():
    for block in SearchSpace(kind="elastic").unique_blocks(64, SMALL):
        module = build_module([block])
        out, macs = run_counting(module, torch.zeros(input_shape([block], 1)))
        assert tuple(out.shape) == output_shape([block], 1)
        assert macs == block_macs(block)


def run_counting(module, images):
    """The output, and the multiply-adds of the convolutions and linear layers that ran."""
    total = 0

    def count(layer, _, out):
        nonlocal total
        total += layer.weight[0].numel() * out.numel()

    hooks = [
        layer.register_forward_hook(count)
        for layer in module.modules()
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)
    ]
    out = module(images)
    for hook in hooks:
        hook.remove()
    return out, total


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_random_weights_give_outputs_that_are_neither_zero_nor_infinite(dtype):
    blocks = architecture_blocks(parse_architecture("44444@64"), SMALL)
    images = torch.from_numpy(random_input(input_shape(blocks, 2))).to(dtype)
    out = build_module(blocks).to(dtype)(images)
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


def test_blocks_that_do_not_fit_are_refused():
    blocks = SearchSpace().unique_blocks(32, SMALL)
    with pytest.raises(ValueError, match="cannot follow"):
        build_module([blocks[0], blocks[-1]])
    with pytest.raises(ValueError, match="no blocks"):
        build_module([])
