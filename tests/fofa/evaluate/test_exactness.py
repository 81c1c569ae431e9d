"""The tree's numbers are those of each subnet alone: extracted, recalibrated, evaluated."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import pytest
import torch
from rounding import is_clear, rounding_bound
from torch import Tensor, nn

from fofa.data import Batch, open_data
from fofa.errors import UserError
from fofa.evaluate.evaluator import count_batch, count_correct
from fofa.recalibration import Moments, Statistics, calibrate, observe_batch
from fofa.space import Architecture, Subnet, compound_subnets, sample_elastic
from fofa.supernet.config import SupernetConfig
from fofa.supernet.model import Supernet
from fofa.supernet.network import PlainNetwork
from fofa.supernet.prefix_tree import walk


def recalibrate_plainly(network: PlainNetwork, batches: Iterable[Batch]) -> None:
    """The definition, by hooks on an ordinary network: nothing of the package's code in it."""
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    sums = {layer: [0.0, 0.0] for layer in layers}
    seen = 0

    def by_batch(layer: nn.BatchNorm2d, inputs: tuple[Tensor], _: Tensor) -> Tensor:
        (x,) = inputs
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        sums[layer][0] = sums[layer][0] + len(x) * mean.double()
        sums[layer][1] = sums[layer][1] + len(x) * variance.double()
        shape = (1, -1, 1, 1)
        scaled = (x - mean.view(shape)) / (variance.view(shape) + layer.eps).sqrt()
        return scaled * layer.weight.view(shape) + layer.bias.view(shape)

    handles = [layer.register_forward_hook(by_batch) for layer in layers]
    with torch.no_grad():
        for images, _ in batches:
            network(images)
            seen += len(images)
        for layer, handle in zip(layers, handles, strict=True):
            handle.remove()
            layer.running_mean.copy_(sums[layer][0] / seen)
            layer.running_var.copy_(sums[layer][1] / seen)


def tree_statistics(
    supernet: Supernet, subnets: list[Subnet], batches: Iterable[Batch]
) -> Statistics:
    moments = Moments.zeros(supernet, subnets)
    for images, _ in batches:
        observe_batch(supernet, moments, images)
    return moments.statistics(supernet.head.classifier.weight.dtype)


def tree_logits(supernet: Supernet, statistics: Statistics, images: Tensor) -> dict[int, Tensor]:
    with torch.inference_mode():
        features = walk(
            statistics.layout.tree.root,
            images,
            lambda node, x: supernet.run_step(node.step, x, statistics.normaliser(node)),
        )
        return {leaf: supernet.head.classify(out) for leaf, out in features}


def alone_by_definition(
    supernet: Supernet, architecture: Architecture, batches: list[Batch]
) -> PlainNetwork:
    network = supernet.extract(architecture.subnet).eval()
    recalibrate_plainly(network, batches)
    return network


def check_against_one_by_one(
    supernet: Supernet,
    subnets: list[Subnet],
    calibration: list[Batch],
    tests: list[Batch],
    alone: Callable[[Supernet, Architecture, list[Batch]], PlainNetwork],
    tolerance: float,
) -> None:
    """Counts are the same, and logits but for `tolerance` times the largest (at least 1)."""
    statistics = tree_statistics(supernet, subnets, calibration)
    logits = [tree_logits(supernet, statistics, images) for images, _ in tests]
    counts = torch.zeros(len(subnets), 2, dtype=torch.int64)
    for images, labels in tests:
        count_batch(supernet, statistics, images, labels, counts)
    for leaf, subnet in enumerate(subnets):
        network = alone(supernet, Architecture(subnet, tests[0][0].shape[-1]), calibration)
        expected = torch.zeros(2, dtype=torch.int64)
        for number, (images, labels) in enumerate(tests):
            with torch.inference_mode():
                single = network(images)
            bound = tolerance * max(1.0, single.abs().max().item())
            torch.testing.assert_close(logits[number][leaf], single, rtol=0, atol=bound)
            expected += count_correct(single, labels)
        assert counts[leaf].tolist() == expected.tolist(), subnet


def shapes(resolution: int, size: int) -> tuple[list[Batch], list[Batch]]:
    """Calibration and test batches of `shapes`, each with a smaller last one."""
    data = open_data("shapes")
    calibration = list(data.calibration_batches(resolution, 2 * size + 3, size))
    return calibration, list(data.test_batches(resolution, 4 * size, limit=4 * size + 5))


EVERY = pytest.mark.parametrize(
    "every", [pytest.param(1, marks=pytest.mark.slow, id="all 243"), pytest.param(23, id="some")]
)


@EVERY
def test_compound_subnets_on_shapes(every: int) -> None:
    torch.manual_seed(1)
    supernet = Supernet(SupernetConfig(width_mult=0.25, num_classes=10)).double().eval()
    subnets = list(compound_subnets())[::every]
    calibration, tests = map(in_float64, shapes(40, 8))
    check_against_one_by_one(supernet, subnets, calibration, tests, calibrate, 1e-9)


@EVERY
def test_compound_subnets_in_float32(every: int) -> None:
    """Logits are off by rounding alone, and every image that rounding cannot turn counts alike."""
    torch.manual_seed(1)
    supernet = Supernet(SupernetConfig(width_mult=0.25, num_classes=10)).eval()
    subnets = list(compound_subnets())[::every]
    calibration, tests = shapes(40, 40)
    statistics = tree_statistics(supernet, subnets, calibration)
    networks = [calibrate(supernet, Architecture(s, 40), calibration) for s in subnets]
    for images, labels in tests:
        logits = tree_logits(supernet, statistics, images)
        counts = torch.zeros(len(subnets), 2, dtype=torch.int64)
        count_batch(supernet, statistics, images, labels, counts)
        for leaf, network in enumerate(networks):
            with torch.inference_mode():
                single = network(images)
            bound = rounding_bound(network, single)
            torch.testing.assert_close(logits[leaf], single, rtol=0, atol=bound)
            assert counts[leaf].equal(count_correct(logits[leaf], labels)), subnets[leaf]
            clear = is_clear(single, bound)
            assert clear.float().mean() > 0.5
            in_tree = count_correct(logits[leaf][clear], labels[clear])
            assert in_tree.equal(count_correct(single[clear], labels[clear])), subnets[leaf]


def in_float64(batches: Iterable[Batch]) -> list[Batch]:
    return [(images.double(), labels) for images, labels in batches]


def test_compound_subnets_by_definition() -> None:
    """In float64, where rounding cannot hide a fault: 24 px maps shrink to one pixel."""
    calibration, tests = map(in_float64, shapes(24, 8))
    subnets = list(compound_subnets())[::40]
    torch.manual_seed(1)
    config = SupernetConfig(width_mult=0.25, num_classes=10)
    check_against_one_by_one(
        Supernet(config).double().eval(), subnets, calibration, tests, alone_by_definition, 1e-9
    )


def test_elastic_subnets() -> None:
    torch.manual_seed(2)
    config = SupernetConfig(
        kind="elastic",
        width_mult=0.25,
        num_classes=10,
        max_kernels=(7,) * 5,
        kernel_mode="transform",
    )
    supernet = Supernet(config).double().eval()
    assert supernet.transforms is not None
    with torch.no_grad():
        for parameter in supernet.transforms.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    subnets = [sample_elastic(random.Random(seed)) for seed in range(5)]
    calibration, tests = map(in_float64, shapes(32, 8))
    check_against_one_by_one(supernet, subnets, calibration, tests, alone_by_definition, 1e-9)


def test_a_last_batch_of_one_image_on_1x1_maps(supernet: Supernet) -> None:
    torch.manual_seed(0)
    batches = in_float64(
        (torch.randn(count, 3, 16, 16), torch.zeros(count, dtype=torch.int64)) for count in (6, 1)
    )
    subnets = [Subnet.compound((2,) * 5), Subnet.compound((2, 2, 2, 2, 4))]
    check_against_one_by_one(
        supernet.double(), subnets, batches, batches, alone_by_definition, 1e-9
    )


def test_calibrate_gives_the_trees_network(supernet: Supernet) -> None:
    calibration, _ = shapes(24, 8)
    subnets = [Subnet.compound((2,) * 5), Subnet.compound((2, 3, 4, 3, 2))]
    statistics = tree_statistics(supernet, subnets, calibration)
    for leaf, subnet in enumerate(subnets):
        network = calibrate(supernet, Architecture(subnet, 24), calibration)
        assert not network.training
        written = supernet.extract(subnet)
        statistics.write_to(written, leaf)
        for key, value in network.state_dict().items():
            assert torch.equal(value, written.state_dict()[key]), key


def test_calibrate_leaves_the_supernet_alone(supernet: Supernet) -> None:
    before = {key: value.clone() for key, value in supernet.state_dict().items()}
    calibrate(supernet, Architecture(supernet.largest, 24), shapes(24, 8)[0])
    assert all(torch.equal(value, before[key]) for key, value in supernet.state_dict().items())


def test_what_cannot_be_calibrated(supernet: Supernet) -> None:
    architecture = Architecture(supernet.largest, 24)
    with pytest.raises(UserError, match="images of 32 px"):
        calibrate(supernet, architecture, shapes(32, 8)[0])
    with pytest.raises(UserError, match="without images"):
        calibrate(supernet, architecture, [])
    with torch.no_grad():
        supernet.block(3, 1).project.weight[0, 0] = torch.nan
    with pytest.raises(UserError, match="not finite"):
        calibrate(supernet, architecture, shapes(24, 8)[0])


def test_counting_of_fewer_classes_than_five() -> None:
    logits = torch.tensor([[0.1, 0.9, 0.0], [0.5, 0.2, 0.1], [0.0, 0.1, 0.2]])
    assert count_correct(logits, torch.tensor([1, 2, 2])).tolist() == [2, 3]


def test_bf16_is_close_and_other(supernet: Supernet) -> None:
    calibration, tests = shapes(24, 8)
    subnets = [Subnet.compound((2,) * 5)]
    moments = Moments.zeros(supernet, subnets)
    for images, _ in calibration:
        observe_batch(supernet, moments, images, bf16=True)
    exact = tree_statistics(supernet, subnets, calibration)
    rough = moments.statistics(torch.float32)
    assert not torch.equal(rough.mean, exact.mean)
    torch.testing.assert_close(rough.mean, exact.mean, rtol=0.1, atol=0.5)
    counts = torch.zeros(1, 2, dtype=torch.int64)
    images, labels = tests[0]
    count_batch(supernet, rough, images, labels, counts, bf16=True)
    assert 0 < counts[0, 1] <= len(labels)
