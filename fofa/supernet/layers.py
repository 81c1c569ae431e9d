"""The plain blocks of a network, built from their descriptions; nothing elastic in them.

A supernet holds these very modules at full size (`fofa.supernet.elastic` runs slices of them), and
an extracted network holds them at their own size, so the names of weights agree everywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fofa.space import BlockSpec
from fofa.space.blocks import Activation

BN_MOMENTUM = 0.1
BN_EPS = 1e-5


def make_activation(name: Activation) -> nn.Module:
    """ReLU works in place: batch normalisation, which comes before it, does not keep its output."""
    return nn.ReLU(inplace=True) if name == "relu" else nn.Hardswish()


def make_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=BN_EPS, momentum=BN_MOMENTUM)


class Stem(nn.Module):
    """The 3x3 stride-2 convolution: [N, 3, R, R] -> [N, C, R/2, R/2]."""

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            spec.in_channels,
            spec.out_channels,
            spec.kernel,
            stride=spec.stride,
            padding=spec.kernel // 2,
            bias=False,
        )
        self.bn = make_norm(spec.out_channels)
        self.activation = make_activation(spec.activation)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.bn(self.conv(x)))


class SqueezeExcite(nn.Module):
    """Channel attention (Hu et al., 2018) with the hard sigmoid of MobileNetV3."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, inner, 1)
        self.relu = nn.ReLU(inplace=True)
        self.expand = nn.Conv2d(inner, channels, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.expand(self.relu(self.reduce(self.pool(x)))))


class MBConv(nn.Module):
    """An inverted residual block: expand, depthwise, squeeze-excite, project.

    `expand` is None in the first block of the network, `squeeze` in stages without squeeze-excite.
    """

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__()
        mid = spec.mid_channels
        self.in_channels = spec.in_channels
        self.residual = spec.residual
        self.expand = nn.Conv2d(spec.in_channels, mid, 1, bias=False) if spec.expands else None
        self.expand_bn = make_norm(mid) if spec.expands else None
        self.depthwise = nn.Conv2d(
            mid,
            mid,
            spec.kernel,
            stride=spec.stride,
            padding=spec.kernel // 2,
            groups=mid,
            bias=False,
        )
        self.depthwise_bn = make_norm(mid)
        self.squeeze = SqueezeExcite(mid, spec.squeeze_channels) if spec.squeeze_channels else None
        self.project = nn.Conv2d(mid, spec.out_channels, 1, bias=False)
        self.project_bn = make_norm(spec.out_channels)
        self.activation = make_activation(spec.activation)

    def forward(self, x: Tensor) -> Tensor:
        out = x
        if self.expand is not None and self.expand_bn is not None:
            out = self.activation(self.expand_bn(self.expand(out)))
        out = self.activation(self.depthwise_bn(self.depthwise(out)))
        if self.squeeze is not None:
            out = self.squeeze(out)
        out = self.project_bn(self.project(out))
        return x + out if self.residual else out


class Head(nn.Module):
    """Final expansion, average pool and feature mix, then dropout and the linear layer.

    `features` is [N, C, H, W] -> [N, F, 1, 1]; `classify` is [N, F, 1, 1] -> [N, classes]. They are
    two methods because a supernet draws dropout masks only after all its subnets' features.
    """

    def __init__(self, spec: BlockSpec, dropout: float) -> None:
        super().__init__()
        self.expand = nn.Conv2d(spec.in_channels, spec.mid_channels, 1, bias=False)
        self.expand_bn = make_norm(spec.mid_channels)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.mix = nn.Conv2d(spec.mid_channels, spec.out_channels, 1, bias=False)
        self.activation = make_activation(spec.activation)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(spec.out_channels, spec.num_classes)

    def features(self, x: Tensor) -> Tensor:
        out = self.activation(self.expand_bn(self.expand(x)))
        return self.activation(self.mix(self.pool(out)))

    def classify(self, features: Tensor) -> Tensor:
        return self.classifier(self.dropout(features.flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.features(x))


@torch.no_grad()
def initialise(network: nn.Module) -> None:
    """He initialisation by fan-out for convolutions; uniform, without bias, for linear layers."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            bound = module.in_features**-0.5
            nn.init.uniform_(module.weight, -bound, bound)
            nn.init.zeros_(module.bias)
