import numpy as np
import pytest
import torch
from rounding import rounding_bound
from torch import nn

from fofa.errors import UserError
from fofa.export.onnx_file import noise_images
from fofa.runtime.folding import folded, folded_weights
from fofa.runtime.graph import build_model
from fofa.runtime.torch_graph import load_module
from fofa.space import network_blocks


def test_folding_keeps_the_function_and_the_original(network) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    plain = folded(network)
    images = noise_images(32)
    with torch.inference_mode():
        expected = network(images)
        assert (plain(images) - expected).abs().max() <= rounding_bound(network, expected)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_no_norm_is_left(network) -> None:
    plain = folded(network)
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in plain.modules())
    assert not any(parameter.requires_grad for parameter in plain.parameters())


def test_the_arrays_make_the_same_function(network) -> None:
    blocks = network_blocks(network.subnet, 32, network.network_config)
    module = load_module(build_model(blocks, None, weights=folded_weights(network)))
    images = noise_images(32)
    with torch.inference_mode():
        expected = network(images)
        assert (module(images) - expected).abs().max() <= rounding_bound(network, expected)
        # The same weights in float64, where rounding cannot hide a fault of the graph.
        exact = folded(network).double()(images.double())
        difference = (module.double()(images.double()) - exact).abs().max()
        assert difference <= 1e-9 * max(1, float(exact.abs().max()))


def test_the_arrays_are_all_that_a_graph_needs_and_no_more(network) -> None:
    blocks = network_blocks(network.subnet, 32, network.network_config)
    weights = folded_weights(network)
    missing = dict(list(weights.items())[1:])
    with pytest.raises(ValueError, match=r"0\.conv\.weight is not given, expected \(8, 3, 3, 3\)"):
        build_model(blocks, 1, weights=missing)
    with pytest.raises(ValueError, match=r"no layer has: 0\.conv\.gain"):
        build_model(blocks, 1, weights=weights | {"0.conv.gain": weights["0.conv.bias"]})
    with pytest.raises(ValueError, match=r"0\.conv\.weight is \(8,\)"):
        build_model(blocks, 1, weights=weights | {"0.conv.weight": weights["0.conv.bias"]})


def test_a_weight_beyond_fp16_is_refused(network) -> None:
    blocks = network_blocks(network.subnet, 32, network.network_config)
    weights = folded_weights(network)
    name = list(weights)[-1]
    weights[name] = np.full_like(weights[name], 1e6)
    with pytest.raises(UserError, match=rf"{name} is too large for fp16"):
        build_model(blocks, 1, "fp16", weights=weights)
