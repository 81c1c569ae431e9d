"""Graphs of every family compute what the module does, in onnxruntime and in PyTorch."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from families import custom_family

from fofa.runtime.folding import folded_weights
from fofa.runtime.graph import INPUT_NAME, build_model
from fofa.runtime.torch_graph import load_module
from fofa.space import FAMILIES, Family, SearchSpace, network_blocks
from fofa.supernet.config import SupernetConfig
from fofa.supernet.weights import fresh_supernet


@pytest.fixture(params=[*FAMILIES, "own-net"])
def family(request, tmp_path_factory) -> Family:
    if request.param in FAMILIES:
        return FAMILIES[request.param]
    return custom_family(tmp_path_factory.mktemp("family"))


@pytest.mark.parametrize("side", [32, 33, 47, 50])
def test_the_graph_is_the_module_at_even_and_odd_sides(family: Family, side: int) -> None:
    config = SupernetConfig(family=family, width_mult=0.25, num_classes=5)
    supernet = fresh_supernet(config, seed=3).train()
    images = torch.randn(8, 3, side, side)
    space = SearchSpace(family=family)
    with torch.no_grad():  # statistics that are not those of the beginning
        supernet(images, [space.largest, space.smallest])
    for subnet in (space.largest, space.smallest):
        network = supernet.extract(subnet).eval()
        blocks = network_blocks(subnet, side, config.network)
        model = build_model(blocks, None, weights=folded_weights(network))
        onnx.checker.check_model(model, full_check=True)
        with torch.inference_mode():
            expected = network(images).numpy()
            torch.testing.assert_close(
                load_module(model)(images).numpy(), expected, rtol=1e-4, atol=1e-4
            )
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        (found,) = session.run(None, {INPUT_NAME: images.numpy()})
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_noise_weights_run_in_fp16(family: Family) -> None:
    space = SearchSpace(family=family, width_mult=0.25)
    config = SupernetConfig(family=family, width_mult=0.25, num_classes=5).network
    model = build_model(network_blocks(space.smallest, 40, config), 1, "fp16")
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    images = np.random.default_rng(0).standard_normal((1, 3, 40, 40)).astype(np.float16)
    assert np.isfinite(session.run(None, {INPUT_NAME: images})[0]).all()
