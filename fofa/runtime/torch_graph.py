"""Blocks as a PyTorch module, in the form in which a network is deployed.

The same network as `fofa.runtime.graph`: BatchNorm folded into convolutions with a bias, random
weights that keep activations of order one. Parameters come in the same order as that graph's
weights, so that one can be given the other's.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fofa.space import BlockSpec

TORCH_DTYPES = {"fp32": torch.float32, "fp16": torch.float16}


def build_module(blocks: Sequence[BlockSpec], *, seed: int = 0) -> nn.Module:
    """The module of consecutive blocks, fp32, in eval mode, without gradients.

    It takes (batch, channels, side, side) of the first block and gives the last one's feature map,
    or (batch, classes) after a head.

    Raises:
        ValueError: if `blocks` is empty or two neighbours do not fit.
    """
    if not blocks:
        raise ValueError("no blocks to build")
    for before, after in itertools.pairwise(blocks):
        if (before.out_channels, before.out_size) != (after.in_channels, after.in_size):
            raise ValueError(f"{after.key} cannot follow {before.key}: their shapes differ")
    module = nn.Sequential(*(_block(block) for block in blocks))
    _randomise(module, torch.Generator().manual_seed(seed))
    return module.eval().requires_grad_(False)


class MbConv(nn.Module):
    """Inverted bottleneck (MobileNetV3): expand, depthwise, squeeze-excite, project, add."""

    def __init__(self, block: BlockSpec) -> None:
        super().__init__()
        mid = block.mid_channels
        layers: list[nn.Module] = []
        if block.expands:
            layers += [nn.Conv2d(block.in_channels, mid, 1), _activation(block)]
        layers += [
            nn.Conv2d(mid, mid, block.kernel, block.stride, block.kernel // 2, groups=mid),
            _activation(block),
        ]
        if block.squeeze_channels:
            layers.append(SqueezeExcite(mid, block.squeeze_channels))
        layers.append(nn.Conv2d(mid, block.out_channels, 1))
        self.layers = nn.Sequential(*layers)
        self.residual = block.residual

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.layers(features)
        return out + features if self.residual else out


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate computed from all channels' means."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(squeezed, channels, 1),
            nn.Hardsigmoid(inplace=True),
        )

    def forward(self, features: Tensor) -> Tensor:
        gate: Tensor = self.gate(features)
        return features * gate


def _block(block: BlockSpec) -> nn.Module:
    match block.key.position:
        case "stem":
            kernel = block.kernel
            conv = nn.Conv2d(block.in_channels, block.out_channels, kernel, 2, kernel // 2)
            return nn.Sequential(conv, _activation(block))
        case "head":
            return nn.Sequential(
                nn.Conv2d(block.in_channels, block.mid_channels, 1),
                _activation(block),
                nn.AdaptiveAvgPool2d(1),
                nn.Conv2d(block.mid_channels, block.out_channels, 1, bias=False),
                _activation(block),
                nn.Flatten(),
                nn.Linear(block.out_channels, block.num_classes),
            )
        case _:
            return MbConv(block)


def _activation(block: BlockSpec) -> nn.Module:
    return nn.ReLU(inplace=True) if block.activation == "relu" else nn.Hardswish(inplace=True)


def _randomise(module: nn.Module, generator: torch.Generator) -> None:
    """Weights of variance 1 / fan-in, biases of deviation 0.1: no zeros, nothing that overflows."""
    with torch.no_grad():
        for parameter in module.parameters():
            deviation = 0.1 if parameter.dim() == 1 else parameter[0].numel() ** -0.5
            parameter.normal_(0.0, deviation, generator=generator)
