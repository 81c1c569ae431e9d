import torch
from torch import nn

from fofa.export.onnx_file import noise_images
from fofa.runtime.folding import folded


def test_folding_keeps_the_function_and_the_original(network) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    plain = folded(network)
    images = noise_images(32)
    with torch.inference_mode():
        expected = network(images)
        bound = 1e-4 * max(1, float(expected.abs().max()))
        assert (plain(images) - expected).abs().max() <= bound
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_no_norm_is_left(network) -> None:
    plain = folded(network)
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in plain.modules())
    assert not any(parameter.requires_grad for parameter in plain.parameters())
