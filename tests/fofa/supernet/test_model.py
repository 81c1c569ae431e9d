"""One function, one gradient: shared or separate, elastic or extracted."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fofa.errors import UserError
from fofa.space import (
    Architecture,
    NetworkConfig,
    Subnet,
    compound_subnets,
    macs,
    params,
    sample_compound,
    sample_elastic,
)
from fofa.supernet.config import SupernetConfig
from fofa.supernet.model import Supernet
from fofa.supernet.network import PlainNetwork

MakeSupernet = Callable[..., Supernet]
LARGEST, SMALLEST = Subnet.compound((4,) * 5), Subnet.compound((2,) * 5)
LABELS = torch.tensor([0, 3, 6])


def compound(*seeds: int) -> list[Subnet]:
    return [sample_compound(random.Random(seed)) for seed in seeds]


def elastic(*seeds: int) -> list[Subnet]:
    return [sample_elastic(random.Random(seed)) for seed in seeds]


SETS = {
    "teacher": ("transform", [Subnet.uniform(kernel=7, depth=4, expand=6)]),
    "ofa": ("transform", elastic(0, 1, 2, 3)),
    "compofa": ("centre", compound(0, 1, 2, 3)),
    "fofa-n3": ("fixed", [LARGEST, *compound(4, 5)]),
    "fofa-n4": ("fixed", [LARGEST, *compound(6, 7, 8)]),
    "sandwich": ("fixed", [LARGEST, *compound(9, 10), SMALLEST]),
    "repeated": ("fixed", [LARGEST, SMALLEST, LARGEST, SMALLEST, SMALLEST]),
    "late difference": ("fixed", [SMALLEST, Subnet.compound((2, 2, 2, 2, 3))]),
}


def gradients(supernet: Supernet, losses: Callable[[], Sequence[Tensor]]) -> dict[str, Tensor]:
    """Gradients of a sum of losses, each backpropagated on its own; zero where there are none."""
    supernet.zero_grad()
    for loss in losses():
        loss.backward(retain_graph=True)
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in supernet.named_parameters()
    }


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_shared_is_separate(
    make_supernet: MakeSupernet, images: Tensor, name: str, memory_format: torch.memory_format
) -> None:
    mode, subnets = SETS[name]
    supernet = make_supernet(mode).train()
    images = images.contiguous(memory_format=memory_format)
    shared = supernet(images, subnets)
    separate = [supernet(images, [subnet])[0] for subnet in subnets]
    assert len(shared) == len(subnets)
    for one, other in zip(shared, separate, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)

    def together() -> list[Tensor]:
        return [sum((F.cross_entropy(o, LABELS) for o in supernet(images, subnets)), Tensor([0]))]

    def apart() -> list[Tensor]:
        return [F.cross_entropy(supernet(images, [s])[0], LABELS) for s in subnets]

    ours, theirs = gradients(supernet, together), gradients(supernet, apart)
    for key, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[key], rtol=0, atol=1e-9, msg=key)
    assert any(gradient.abs().max() > 1e-3 for gradient in ours.values())


def test_in_place_distillation_has_the_same_gradients(
    make_supernet: MakeSupernet, images: Tensor
) -> None:
    """The loss of equation 6: subnets learn from the detached softmax of the largest."""
    supernet = make_supernet().train()
    subnets = [LARGEST, *compound(6, 7, 8)]

    def loss(logits: Sequence[Tensor]) -> Tensor:
        target = logits[0].detach().softmax(1)
        return F.cross_entropy(logits[0], LABELS) + sum(
            (F.cross_entropy(student, target) for student in logits[1:]), Tensor([0])
        )

    together = gradients(supernet, lambda: [loss(supernet(images, subnets))])
    apart = gradients(supernet, lambda: [loss([supernet(images, [s])[0] for s in subnets])])
    for key, gradient in together.items():
        torch.testing.assert_close(gradient, apart[key], rtol=0, atol=1e-9, msg=key)


def test_dropout_masks_are_those_of_one_subnet_after_the_other(
    make_supernet: MakeSupernet, images: Tensor
) -> None:
    supernet = make_supernet(dropout=0.5).train()
    subnets = [LARGEST, SMALLEST, Subnet.compound((4, 4, 4, 4, 2))]
    torch.manual_seed(11)
    shared = supernet(images, subnets)
    torch.manual_seed(11)
    separate = [supernet(images, [subnet])[0] for subnet in subnets]
    for one, other in zip(shared, separate, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)
    torch.manual_seed(12)
    assert not torch.allclose(shared[0], supernet(images, subnets)[0])


def test_running_statistics_move_once_per_node(make_supernet: MakeSupernet, images: Tensor) -> None:
    once, repeated = make_supernet().train(), make_supernet().train()
    subnets = [LARGEST, SMALLEST]
    once(images, subnets)
    repeated(images, [*subnets, *subnets])
    for key, value in once.state_dict().items():
        assert torch.equal(value, repeated.state_dict()[key]), key
    single = make_supernet().train()
    single(images, [LARGEST])
    assert torch.equal(once.stem.bn.running_mean, single.stem.bn.running_mean)  # shared: once
    assert not torch.equal(once.head.expand_bn.running_mean, single.head.expand_bn.running_mean)


@pytest.mark.parametrize("mode", ["fixed", "centre", "transform"])
@pytest.mark.parametrize("training", [False, True])
def test_an_extracted_network_computes_the_same(
    make_supernet: MakeSupernet, images: Tensor, mode: str, training: bool
) -> None:
    supernet = make_supernet(mode).train(training)
    for subnet in [SMALLEST, *compound(1, 2), *(elastic(1, 2) if mode == "transform" else [])]:
        network = supernet.extract(subnet)
        assert network.training is training
        torch.testing.assert_close(network(images), supernet(images, [subnet])[0])


def test_an_extracted_network_owns_plain_modules(make_supernet: MakeSupernet) -> None:
    supernet = make_supernet("transform")
    network = supernet.extract(elastic(3)[0])
    shared = {tensor.data_ptr() for tensor in supernet.state_dict().values()}
    assert not shared & {tensor.data_ptr() for tensor in network.state_dict().values()}
    assert not any(
        type(module).__module__ in ("fofa.supernet.elastic", "fofa.supernet.model")
        for module in network.modules()
    )
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_smaller_images_than_kernels(make_supernet: MakeSupernet) -> None:
    """Kernels are cut where a map is smaller; the plain network shows that nothing is lost."""
    supernet = make_supernet("transform").eval()
    subnet = Subnet.uniform(kernel=7, depth=3, expand=4)
    for size in (8, 17, 24, 33, 64):
        images = torch.randn(2, 3, size, size, dtype=torch.float64)
        torch.testing.assert_close(
            supernet(images, [subnet])[0], supernet.extract(subnet)(images), rtol=0, atol=1e-9
        )


def count_macs(network: PlainNetwork, images: Tensor) -> int:
    """Multiply-adds for one image, by hooks on the modules that were really run."""
    counted = 0

    def count(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal counted
        if isinstance(module, nn.Conv2d | nn.Linear):
            counted += output[0].numel() * module.weight[0].numel()

    handles = [module.register_forward_hook(count) for module in network.modules()]
    with torch.inference_mode():
        network(images[:1])
    for handle in handles:
        handle.remove()
    return counted


def check_costs(network: PlainNetwork, images: Tensor) -> None:
    subnet, config = network.subnet, network.network_config
    assert sum(p.numel() for p in network.parameters()) == params(subnet, config)
    resolution = images.shape[-1]
    assert count_macs(network, images) == macs(Architecture(subnet, resolution), config)


@pytest.mark.parametrize(
    "every", [pytest.param(1, marks=pytest.mark.slow, id="all"), pytest.param(10, id="some")]
)
def test_extracted_compound_subnets_cost_what_the_description_says(
    make_supernet: MakeSupernet, images: Tensor, every: int
) -> None:
    supernet = make_supernet().eval()
    for subnet in list(compound_subnets())[::every]:
        check_costs(supernet.extract(subnet), images)


@pytest.mark.slow
def test_all_compound_subnets_cost_what_the_description_says_at_full_size() -> None:
    images = torch.empty(1, 3, 224, 224, device="meta")
    for subnet in compound_subnets():
        with torch.device("meta"):
            network = PlainNetwork(subnet, NetworkConfig()).eval()
        check_costs(network, images)


@pytest.mark.parametrize(
    ("width", "classes", "resolutions"),
    [(1.0, 1000, (160, 224)), (0.25, 10, (24, 57)), (1.2, 37, (176,)), (0.65, 2, (200,))],
)
def test_elastic_subnets_cost_what_the_description_says(
    width: float, classes: int, resolutions: tuple[int, ...]
) -> None:
    for seed, resolution in enumerate(resolutions):
        with torch.device("meta"):
            subnet = sample_elastic(random.Random(seed))
            config = NetworkConfig(width_mult=width, num_classes=classes)
            network = PlainNetwork(subnet, config).eval()
        check_costs(network, torch.empty(1, 3, resolution, resolution, device="meta"))


def test_extracted_elastic_subnets_cost_what_the_description_says(
    make_supernet: MakeSupernet, images: Tensor
) -> None:
    supernet = make_supernet("transform").eval()
    for subnet in elastic(0, 1, 2, 3):
        check_costs(supernet.extract(subnet), images)


@pytest.mark.parametrize(
    ("mode", "subnet", "message"),
    [
        ("fixed", Subnet.uniform(kernel=3, depth=4, expand=6), "stage 2 has kernel 3.*5x5.* only"),
        ("fixed", Subnet.uniform(kernel=7, depth=4, expand=6), "stage 1 has kernel 7.*3x3"),
    ],
)
def test_kernels_that_are_not_there_are_refused(
    make_supernet: MakeSupernet, images: Tensor, mode: str, subnet: Subnet, message: str
) -> None:
    supernet = make_supernet(mode)
    with pytest.raises(UserError, match=message):
        supernet(images, [subnet])
    with pytest.raises(UserError, match=message):
        supernet.extract(subnet)


def test_the_largest_subnet_has_the_shared_kernels(make_supernet: MakeSupernet) -> None:
    assert make_supernet().largest == LARGEST
    teacher = Subnet.uniform(kernel=7, depth=4, expand=6)
    assert make_supernet("centre").largest == make_supernet("transform").largest == teacher


def test_weights_begin_as_he_initialisation_says() -> None:
    torch.manual_seed(0)
    supernet = Supernet(SupernetConfig())
    weight = supernet.block(5, 1).project.weight
    assert weight.std().item() == pytest.approx((2 / weight.shape[0]) ** 0.5, rel=0.02)
    kernel = supernet.block(5, 1).depthwise.weight
    assert kernel.std().item() == pytest.approx((2 / (25 * kernel.shape[0])) ** 0.5, rel=0.05)
    classifier = supernet.head.classifier
    assert classifier.weight.abs().max().item() <= 1280**-0.5
    assert not classifier.bias.any()


def test_runs_under_distributed_data_parallel(
    make_supernet: MakeSupernet, images: Tensor, tmp_path: Path
) -> None:
    supernet = make_supernet().train()
    expected = gradients(supernet, lambda: [supernet(images, [SMALLEST])[0].sum()])
    supernet.zero_grad()
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        parallel = DistributedDataParallel(supernet, find_unused_parameters=True)
        parallel(images, [SMALLEST])[0].sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    for key, parameter in supernet.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(gradient, expected[key], msg=key)
