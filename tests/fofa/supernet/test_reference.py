"""The supernet against networks that are written down here, in plain torch, from the papers.

Nothing of this project builds them or computes their numbers: gradients of a step, recalibrated
statistics and sorted channels are compared in float64.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fofa.recalibration import Moments, observe_batch
from fofa.space import parse_subnet
from fofa.supernet.channel_sorting import sort_channels
from fofa.supernet.config import SupernetConfig
from fofa.supernet.model import Supernet
from fofa.train.step import backward_one_at_a_time, backward_shared

CLASSES, SIDE, BATCH = 5, 48, 4
CHANNELS, STRIDES, KERNELS = (24, 40, 80, 112, 160), (2, 2, 2, 1, 2), (3, 5, 3, 3, 5)
SQUEEZES, SWISH = (False, True, False, True, True), (False, False, True, True, True)
EXPANDS = {2: 3, 3: 4, 4: 6}  # by depth, in the compound space


def divisible(value: float) -> int:
    """Rounded to a multiple of 8, not by more than a tenth down (MobileNetV2's rule)."""
    rounded = max(8, int(value + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * value else rounded


class Squeeze(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, divisible(channels // 4), 1)
        self.expand = nn.Conv2d(divisible(channels // 4), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean(dim=(2, 3), keepdim=True)
        gate = self.expand(F.relu(self.reduce(pooled)))
        return x * (F.relu6(gate + 3) / 6)


class Block(nn.Module):
    def __init__(
        self, into: int, mid: int, out: int, kernel: int, stride: int, squeeze: bool, swish: bool
    ) -> None:
        super().__init__()
        self.act = nn.Hardswish() if swish else nn.ReLU()
        self.has_expansion = mid != into
        if self.has_expansion:
            self.expand = nn.Conv2d(into, mid, 1, bias=False)
            self.expand_bn = nn.BatchNorm2d(mid)
        padding = kernel // 2
        self.depthwise = nn.Conv2d(mid, mid, kernel, stride, padding, groups=mid, bias=False)
        self.depthwise_bn = nn.BatchNorm2d(mid)
        self.squeeze = Squeeze(mid) if squeeze else nn.Identity()
        self.project = nn.Conv2d(mid, out, 1, bias=False)
        self.project_bn = nn.BatchNorm2d(out)
        self.adds = into == out and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        out = self.act(self.expand_bn(self.expand(x))) if self.has_expansion else x
        out = self.act(self.depthwise_bn(self.depthwise(out)))
        out = self.project_bn(self.project(self.squeeze(out)))
        return x + out if self.adds else out


class Network(nn.Module):
    """MobileNetV3 as once-for-all has it, with these depths by stage, at width 1."""

    def __init__(self, depths: str) -> None:
        super().__init__()
        self.stem = nn.Module()
        self.stem.conv = nn.Conv2d(3, 16, 3, 2, 1, bias=False)
        self.stem.bn = nn.BatchNorm2d(16)
        self.first = Block(16, 16, 16, 3, 1, squeeze=False, swish=False)
        self.stages = nn.ModuleList()
        into = 16
        for stage, depth in enumerate(map(int, depths)):
            blocks = nn.ModuleList()
            for index in range(depth):
                blocks.append(
                    Block(
                        into,
                        divisible(into * EXPANDS[depth]),
                        CHANNELS[stage],
                        KERNELS[stage],
                        STRIDES[stage] if index == 0 else 1,
                        SQUEEZES[stage],
                        SWISH[stage],
                    )
                )
                into = CHANNELS[stage]
            self.stages.append(blocks)
        self.head = nn.Module()
        self.head.expand = nn.Conv2d(into, 960, 1, bias=False)
        self.head.expand_bn = nn.BatchNorm2d(960)
        self.head.mix = nn.Conv2d(960, 1280, 1, bias=False)
        self.head.classifier = nn.Linear(1280, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out = F.hardswish(self.stem.bn(self.stem.conv(x)))
        out = self.first(out)
        for blocks in self.stages:
            for block in blocks:
                out = block(out)
        out = F.hardswish(self.head.expand_bn(self.head.expand(out)))
        out = F.hardswish(self.head.mix(out.mean(dim=(2, 3), keepdim=True)))
        return self.head.classifier(out.flatten(1))


def cut(full: Tensor, shape: torch.Size) -> Tensor:
    """The first entries along every dimension: kernels are fixed, so they are whole."""
    return full[tuple(slice(size) for size in shape)]


def plain_network(supernet: Supernet, depths: str) -> Network:
    network = Network(depths).double().train()
    full = supernet.state_dict()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            tensor.copy_(cut(full[name], tensor.shape))
    return network


def make_supernet() -> Supernet:
    torch.manual_seed(7)
    supernet = Supernet(SupernetConfig(num_classes=CLASSES, dropout=0)).double().train()
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return supernet


def make_images(seed: int, number: int = BATCH) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(number, 3, SIDE, SIDE, dtype=torch.float64, generator=generator)


def test_the_gradient_of_a_step() -> None:
    """Equation 6: the largest learns from the labels, the others from what it says."""
    supernet, images, labels = make_supernet(), make_images(1), torch.tensor([0, 3, 4, 1])
    names = ("44444", "23423", "23242")
    smooth = torch.full((BATCH, CLASSES), 0.1 / CLASSES, dtype=torch.float64)
    smooth[torch.arange(BATCH), labels] += 0.9
    target, losses = smooth, []
    wanted = {name: torch.zeros_like(p) for name, p in supernet.named_parameters()}
    for depths in names:
        network = plain_network(supernet, depths)
        logits = network(images)
        loss = -(target * logits.log_softmax(1)).sum(1).mean()
        loss.backward()
        losses.append(loss.item())
        if target is smooth:
            target = logits.detach().softmax(1)
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None
            cut(wanted[name], parameter.shape).add_(parameter.grad)
    for backward in (backward_shared, backward_one_at_a_time):
        supernet.zero_grad()
        subnets = tuple(parse_subnet(depths) for depths in names)
        found = backward(supernet, subnets, "in-place", images, labels)
        torch.testing.assert_close(found.tolist(), losses, rtol=1e-10, atol=1e-10)
        distance = 0.0
        for name, parameter in supernet.named_parameters():
            assert parameter.grad is not None
            scale = wanted[name].abs().max().item()
            bound = 1e-6 * scale + 1e-12  # some are zero but for rounding
            torch.testing.assert_close(parameter.grad, wanted[name], rtol=0, atol=bound)
            distance += (parameter.grad - wanted[name]).square().sum().item()
        whole = sum(gradient.square().sum().item() for gradient in wanted.values())
        assert distance < 1e-14 * whole


def test_recalibrated_statistics() -> None:
    """Once-for-all's: the mean over images of each batch's mean and biased variance."""
    supernet, batches = make_supernet(), [make_images(1), make_images(2, 3)]
    network = plain_network(supernet, "23423")
    sums: dict[str, tuple[Tensor, Tensor]] = {}

    def watch(name: str, images: int, _: nn.Module, inputs: tuple[Tensor]) -> None:
        (x,) = inputs
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        before = sums.get(name, (torch.zeros_like(mean), torch.zeros_like(variance)))
        sums[name] = (before[0] + images * mean, before[1] + images * variance)

    for images in batches:
        hooks = [
            layer.register_forward_pre_hook(functools.partial(watch, name, len(images)))
            for name, layer in network.named_modules()
            if isinstance(layer, nn.BatchNorm2d)
        ]
        with torch.no_grad():
            network(images)
        for hook in hooks:
            hook.remove()
    subnet = parse_subnet("23423")
    moments = Moments.zeros(supernet, [parse_subnet("44444"), subnet])
    for images in batches:
        observe_batch(supernet, moments, images)
    calibrated = supernet.extract(subnet)
    moments.statistics(torch.float64).write_to(calibrated, 1)
    found = calibrated.state_dict()
    for name, (mean, variance) in sums.items():
        expected = {"running_mean": mean / 7, "running_var": variance / 7}
        for key, value in expected.items():
            torch.testing.assert_close(found[f"{name}.{key}"], value, rtol=1e-9, atol=1e-9)


def test_sorted_channels() -> None:
    """Once-for-all's: by the L1 norm of the projection's columns, and of the squeeze's."""
    supernet, images = make_supernet(), make_images(1)
    full = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    before = plain_network(supernet, "44444")(images)
    sort_channels(supernet)
    found = supernet.state_dict()
    for stage, squeezes in enumerate(SQUEEZES):
        for index in range(4):
            block = f"stages.{stage}.{index}."
            norms = full[block + "project.weight"].abs().sum((0, 2, 3))
            order = sorted(range(len(norms)), key=lambda n: -norms[n].item())
            torch.testing.assert_close(
                found[block + "project.weight"], full[block + "project.weight"][:, order]
            )
            rows = ["expand.weight", "depthwise.weight"]
            rows += [
                f"{name}_bn.{key}"
                for name in ("expand", "depthwise")
                for key in ("weight", "bias", "running_mean", "running_var")
            ]
            for name in rows:
                assert torch.equal(found[block + name], full[block + name][order]), block + name
            if squeezes:
                gate = full[block + "squeeze.expand.weight"][order]
                inner = sorted(range(gate.shape[1]), key=lambda n: -gate[:, n].abs().sum().item())
                assert torch.equal(found[block + "squeeze.expand.weight"], gate[:, inner])
                reduce = full[block + "squeeze.reduce.weight"][inner][:, order]
                assert torch.equal(found[block + "squeeze.reduce.weight"], reduce)
    after = plain_network(supernet, "44444")(images)
    torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-9)
