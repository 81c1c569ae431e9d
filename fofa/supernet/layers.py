"""The plain blocks of a network, built from their descriptions; nothing elastic in them.

A supernet holds these very modules at full size (`fofa.supernet.elastic` runs slices of them), and
an extracted network holds them at their own size, so the names of weights agree everywhere.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fofa.space import BlockSpec
from fofa.space.blocks import pad_sides
from fofa.space.family import Activation

BN_MOMENTUM = 0.1


def make_activation(name: Activation) -> nn.Module:
    """ReLUs work in place: batch normalisation, which comes before, does not keep its output."""
    match name:
        case "relu":
            return nn.ReLU(inplace=True)
        case "relu6":
            return nn.ReLU6(inplace=True)
        case "h_swish":
            return nn.Hardswish()


def make_norm(channels: int, eps: float) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=eps, momentum=BN_MOMENTUM)


class TensorflowConv2d(nn.Conv2d):
    """A convolution that pads by the size of what comes in, as TensorFlow's "same" does."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(pad_as_tensorflow(x, self.kernel_size[0], self.stride[0]))


def pad_as_tensorflow(x: Tensor, kernel: int, stride: int) -> Tensor:
    """[N, C, H, W] with the zeros around it that a convolution without padding then needs."""
    above, below = pad_sides(x.shape[-2], kernel, stride, "tensorflow")
    left, right = pad_sides(x.shape[-1], kernel, stride, "tensorflow")
    return F.pad(x, (left, right, above, below))


def make_conv(spec: BlockSpec, into: int, out: int, *, groups: int = 1) -> nn.Conv2d:
    """The convolution of a block that has its kernel and stride."""
    by_size = spec.padding == "tensorflow" and spec.stride > 1
    return (TensorflowConv2d if by_size else nn.Conv2d)(
        into,
        out,
        spec.kernel,
        stride=spec.stride,
        padding=0 if by_size else spec.kernel // 2,
        groups=groups,
        bias=False,
    )


class Stem(nn.Module):
    """The first convolution, mostly of stride 2: [N, 3, R, R] -> [N, C, R/2, R/2]."""

    def __init__(self, spec: BlockSpec, norm_eps: float) -> None:
        super().__init__()
        self.conv = make_conv(spec, spec.in_channels, spec.out_channels)
        self.bn = make_norm(spec.out_channels, norm_eps)
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

    def __init__(self, spec: BlockSpec, norm_eps: float) -> None:
        super().__init__()
        mid = spec.mid_channels
        self.in_channels = spec.in_channels
        self.residual = spec.residual
        self.expand = nn.Conv2d(spec.in_channels, mid, 1, bias=False) if spec.expands else None
        self.expand_bn = make_norm(mid, norm_eps) if spec.expands else None
        self.depthwise = make_conv(spec, mid, mid, groups=mid)
        self.depthwise_bn = make_norm(mid, norm_eps)
        self.squeeze = SqueezeExcite(mid, spec.squeeze_channels) if spec.squeeze_channels else None
        self.project = nn.Conv2d(mid, spec.out_channels, 1, bias=False)
        self.project_bn = make_norm(spec.out_channels, norm_eps)
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

    `mix` is None in families whose linear layer reads the pooled expansion.
    `features` is [N, C, H, W] -> [N, F, 1, 1]; `classify` is [N, F, 1, 1] -> [N, classes]. They are
    two methods because a supernet draws dropout masks only after all its subnets' features.
    """

    def __init__(self, spec: BlockSpec, norm_eps: float, dropout: float) -> None:
        super().__init__()
        self.expand = nn.Conv2d(spec.in_channels, spec.mid_channels, 1, bias=False)
        self.expand_bn = make_norm(spec.mid_channels, norm_eps)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.mix = (
            nn.Conv2d(spec.mid_channels, spec.out_channels, 1, bias=False)
            if spec.feature_mix
            else None
        )
        self.activation = make_activation(spec.activation)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(spec.out_channels, spec.num_classes)

    def features(self, x: Tensor) -> Tensor:
        out = self.pool(self.activation(self.expand_bn(self.expand(x))))
        return out if self.mix is None else self.activation(self.mix(out))

    def classify(self, features: Tensor, *, dropout: bool = True) -> Tensor:
        flat = features.flatten(1)
        return self.classifier(self.dropout(flat) if dropout else flat)

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
