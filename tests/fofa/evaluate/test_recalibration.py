"""Statistics belong to layers by their keys; kept ones give back the evaluated network."""

import pytest
import torch
from torch import nn

from fofa.data import DataSource
from fofa.errors import UserError
from fofa.recalibration import (
    Moments,
    Statistics,
    calibrate,
    keep_statistics,
    load_calibrated,
    observe_batch,
    statistics_path,
)
from fofa.runs import Run
from fofa.space import Subnet, parse_architecture
from fofa.supernet.model import Supernet
from fofa.supernet.weights import save_weights

ARCHITECTURE = parse_architecture("23232@24")


def test_the_evaluated_network_comes_back(run: Run, supernet: Supernet, noise: DataSource) -> None:
    assert load_calibrated(run, ARCHITECTURE) is None
    network = calibrate(supernet, ARCHITECTURE, noise.calibration_batches(24, 40, 16))
    path = keep_statistics(run, ARCHITECTURE, network)
    assert path == run.folder / "statistics" / "23232@24.safetensors"
    loaded = load_calibrated(run, ARCHITECTURE)
    assert loaded is not None
    assert not loaded.training
    for key, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
    assert load_calibrated(run, parse_architecture("23232@32")) is None


def test_statistics_of_other_weights_do_not_count(
    run: Run, supernet: Supernet, noise: DataSource
) -> None:
    network = calibrate(supernet, ARCHITECTURE, noise.calibration_batches(24, 40, 16))
    keep_statistics(run, ARCHITECTURE, network)
    with torch.no_grad():
        supernet.stem.conv.weight.mul_(2)
    save_weights(supernet, run.weights)
    assert load_calibrated(run, ARCHITECTURE) is None


def test_a_damaged_file_is_named(run: Run) -> None:
    path = statistics_path(run, ARCHITECTURE)
    path.parent.mkdir()
    path.write_bytes(b"nonsense")
    with pytest.raises(UserError, match="not a safetensors file"):
        load_calibrated(run, ARCHITECTURE)


def observed(supernet: Supernet, subnets: list[Subnet], noise: DataSource) -> Moments:
    moments = Moments.zeros(supernet, subnets)
    for images, _ in noise.calibration_batches(24, 40, 16):
        observe_batch(supernet, moments, images)
    return moments


def test_every_layer_of_every_node_has_a_place_of_its_own(supernet: Supernet) -> None:
    subnets = [Subnet.compound((2, 3, 4, 3, 2)), Subnet.compound((2, 3, 4, 4, 4))]
    layout = Moments.zeros(supernet, subnets).layout
    taken = torch.zeros(layout.size, dtype=torch.int64)
    for node in layout.tree.nodes():
        for at in layout.places[node.number].values():
            taken[at] += 1
    assert torch.equal(taken, torch.ones_like(taken))
    for leaf, subnet in enumerate(subnets):
        norms = {
            key: layer.num_features
            for key, layer in supernet.extract(subnet).named_modules()
            if isinstance(layer, nn.BatchNorm2d)
        }
        places = layout.places_of(leaf)
        assert {key: at.stop - at.start for key, at in places.items()} == norms


def test_the_order_of_a_network_s_modules_does_not_matter(
    supernet: Supernet, noise: DataSource
) -> None:
    statistics = observed(supernet, [ARCHITECTURE.subnet], noise).statistics(torch.float32)
    plain, turned = (supernet.extract(ARCHITECTURE.subnet) for _ in range(2))
    for module in turned.modules():
        for name in reversed(list(module._modules)):
            module._modules[name] = module._modules.pop(name)
    assert [*turned.state_dict()] != [*plain.state_dict()]
    for network in (plain, turned):
        statistics.write_to(network, 0)
    for key, value in plain.state_dict().items():
        assert torch.equal(turned.state_dict()[key], value), key


def test_the_order_in_which_layers_run_does_not_matter(supernet: Supernet) -> None:
    """Its layers asked for the last first, a node's normaliser takes the same statistics."""
    supernet = supernet.double()
    layout = Moments.zeros(supernet, [ARCHITECTURE.subnet]).layout
    numbers = torch.arange(layout.size, dtype=torch.float64)
    statistics = Statistics(layout, numbers, torch.ones_like(numbers))
    node = layout.tree.root.children[0].children[0]
    assert node.step.key == "stages.0.0"
    normalise = statistics.normaliser(node)
    for name in ("project_bn", "expand_bn", "depthwise_bn"):
        layer = supernet.get_submodule(f"stages.0.0.{name}")
        assert isinstance(layer, nn.BatchNorm2d)
        at = layout.places[node.number][f"stages.0.0.{name}"]
        x = numbers[at].view(1, -1, 1, 1)
        weight, bias = layer.weight[: x.shape[1]], layer.bias[: x.shape[1]]
        # What is left of values that are the mean themselves is the layer's shift.
        found = normalise(layer, x, weight, bias)
        torch.testing.assert_close(found, bias.view_as(x), rtol=0, atol=1e-9, msg=name)


def test_statistics_of_another_subnet_are_not_written(
    supernet: Supernet, noise: DataSource
) -> None:
    statistics = observed(supernet, [ARCHITECTURE.subnet], noise).statistics(torch.float32)
    with pytest.raises(ValueError, match="not the network of 23232"):
        statistics.write_to(supernet.extract(supernet.largest), 0)
