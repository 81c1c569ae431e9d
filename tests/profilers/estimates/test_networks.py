"""Networks that are written down: known sizes, and the same as torchvision exports."""

import io
import warnings

import onnx
import pytest
import torch
import torchvision

from fofa.errors import UserError
from profilers.estimates.kernels import lower
from profilers.estimates.networks import NETWORKS, published_network
from profilers.estimates.onnx_operators import network_operators
from profilers.estimates.published import published_latencies

# Billions of multiply-adds at this resolution and millions of parameters, as timm counts them: with
# norms and biases, which are left out here.
PUBLISHED_SIZES = {
    "resnet18": (224, 1.82, 11.69),
    "resnet34": (224, 3.67, 21.80),
    "resnet50": (224, 4.11, 25.56),
    "resnet101": (224, 7.83, 44.55),
    "resnet152": (224, 11.56, 60.19),
    "resnext50_32x4d": (224, 4.26, 25.03),
    "wide_resnet50_2": (224, 11.43, 68.88),
    "vgg11": (224, 7.61, 132.86),
    "vgg16": (224, 15.47, 138.36),
    "densenet121": (224, 2.87, 7.98),
    "densenet161": (224, 7.79, 28.68),
    "mobilenetv1_100": (224, 0.58, 4.23),
    "mobilenetv2_100": (224, 0.31, 3.50),
    "mnasnet_100": (224, 0.33, 4.38),
    "mobilenetv3_large_100": (224, 0.23, 5.48),
    "mobilenetv3_small_100": (224, 0.06, 2.54),
    "efficientnet_b0": (224, 0.40, 5.29),
    "efficientnet_b1": (240, 0.71, 7.79),
    "efficientnet_b4": (380, 4.51, 19.34),
    "convnext_tiny": (224, 4.47, 28.59),
    "vit_small_patch16_224": (224, 4.61, 22.05),
}
TORCHVISION = {
    "resnet18": "resnet18",
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v3_small": "mobilenetv3_small_100",
    "mnasnet1_0": "mnasnet_100",
    "efficientnet_b0": "efficientnet_b0",
}


def exported(model: torch.nn.Module, shape: tuple[int, ...], **options) -> onnx.ModelProto:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model.eval(), (torch.zeros(shape),), file, dynamo=False, **options)
    return onnx.load_from_string(file.getvalue())


def test_every_network_is_checked():
    assert PUBLISHED_SIZES.keys() == NETWORKS.keys()


@pytest.mark.parametrize("name", NETWORKS)
def test_sizes_are_the_published_ones(name):
    resolution, gmacs, params = PUBLISHED_SIZES[name]
    graph = published_network(name, resolution)
    assert graph.macs / 1e9 == pytest.approx(gmacs, rel=0.07, abs=0.006)
    assert graph.weights / 1e6 == pytest.approx(params, rel=0.015)


@pytest.mark.parametrize(("theirs", "ours"), TORCHVISION.items())
def test_an_exported_network_has_the_same_kernels(theirs, ours):
    model = getattr(torchvision.models, theirs)(weights=None)
    read = network_operators(exported(model, (1, 3, 64, 64)), theirs)
    written = published_network(ours, 64)
    assert (read.macs, read.weights) == (written.macs, written.weights)
    for runtime in ("eager", "fused"):
        assert lower(read, runtime) == lower(written, runtime)


def test_every_published_latency_has_its_network_hardware_and_source():
    for row in published_latencies():
        assert len(row.kernels.unit) > 10
        assert row.machine.hardware.check_dtype(row.dtype) == row.dtype
        assert len(row.source) > 10


def test_a_network_that_is_not_described_is_one_line():
    with pytest.raises(
        UserError, match=r"no description of a network 'lenet'; there are .*resnet50"
    ):
        published_network("lenet", 32)
