"""Running part of a full-sized block: the first channels of its tensors, a smaller kernel.

Slices are views, so gradients add up in the shared weights. How batch normalisation is done is the
caller's choice (`Normalise`): training uses the shared statistics, evaluation those of a tree node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fofa.supernet.layers import (
    BN_MOMENTUM,
    Head,
    MBConv,
    SqueezeExcite,
    Stem,
    TensorflowConv2d,
    pad_as_tensorflow,
)

Normalise = Callable[[nn.BatchNorm2d, Tensor], Tensor]
"""Normalise [N, C, H, W] by a shared layer, of which the first C channels are meant."""


def shared_norm(layer: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Batch normalisation with the first channels of the layer's own parameters and statistics.

    In training mode the batch's statistics normalise and move the running ones.
    """
    channels = x.shape[1]
    mean, variance = layer.running_mean, layer.running_var
    return F.batch_norm(
        x,
        None if mean is None else mean[:channels],
        None if variance is None else variance[:channels],
        layer.weight[:channels],
        layer.bias[:channels],
        training=layer.training,
        momentum=BN_MOMENTUM,
        eps=layer.eps,
    )


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """1x1 convolution of [N, C, H, W] with [D, C, 1, 1].

    Where channels are stored last it is a matrix product on the very same memory, also for a slice
    of a weight. That is up to 1.7 times faster than a convolution on a CPU, far more on small maps.
    """
    if x.is_contiguous(memory_format=torch.channels_last):
        rows = F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias)
        return rows.permute(0, 3, 1, 2)
    return F.conv2d(x, weight, bias)


class GlobalMean(torch.autograd.Function):
    """Mean over the map, [N, C, H, W] -> [N, C, 1, 1], whose gradient is never written out.

    It is the same at every place of the map, so a view is enough; average pooling writes it, and
    with channels first, whatever the layout.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.map_shape = x.shape
        return x.mean((2, 3), keepdim=True)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        shape = ctx.map_shape
        return (gradients[0] / (shape[2] * shape[3])).expand(shape)


def global_mean(x: Tensor) -> Tensor:
    """`GlobalMean` of `x`."""
    return cast(Tensor, GlobalMean.apply(x))


def depthwise(layer: nn.Conv2d, x: Tensor, weight: Tensor) -> Tensor:
    """Depthwise convolution of [N, C, S, S] with [C, 1, k, k], strided and padded as `layer` is.

    Only the centre of a kernel reaches a map that is smaller than it, and only that is used: the
    same result, where libraries fall back to slow code (5x5 on a 1x1 map, as at 32 px images).
    """
    stride = layer.stride[0]
    if isinstance(layer, TensorflowConv2d):
        padded = pad_as_tensorflow(x, weight.shape[-1], stride)
        return F.conv2d(padded, weight, stride=stride, groups=len(weight))
    kernel = min(weight.shape[-1], 2 * max(x.shape[-2:]) - 1)
    if kernel < weight.shape[-1]:
        weight = centre(weight, kernel)
    if kernel == 1:
        return x * weight.reshape(1, -1, 1, 1)
    return F.conv2d(x, weight, stride=stride, padding=kernel // 2, groups=len(weight))


def run_stem(stem: Stem, x: Tensor, normalise: Normalise) -> Tensor:
    """The stem, whole."""
    return stem.activation(normalise(stem.bn, stem.conv(x)))


def run_head(head: Head, x: Tensor, normalise: Normalise) -> Tensor:
    """The head's features, whole: everything but dropout and the linear layer."""
    out = head.activation(normalise(head.expand_bn, pointwise(x, head.expand.weight)))
    out = global_mean(out)
    return out if head.mix is None else head.activation(pointwise(out, head.mix.weight))


def run_mbconv(
    block: MBConv, x: Tensor, kernel: Tensor, squeeze_channels: int, normalise: Normalise
) -> Tensor:
    """A block with the depthwise weight [mid, 1, k, k] and the first `mid` channels of the rest."""
    mid = len(kernel)
    out = x
    if block.expand is not None and block.expand_bn is not None:
        out = pointwise(out, block.expand.weight[:mid])
        out = block.activation(normalise(block.expand_bn, out))
    out = depthwise(block.depthwise, out, kernel)
    out = block.activation(normalise(block.depthwise_bn, out))
    if block.squeeze is not None:
        out = _run_squeeze(block.squeeze, out, squeeze_channels)
    out = normalise(block.project_bn, pointwise(out, block.project.weight[:, :mid]))
    return x + out if block.residual else out


def _run_squeeze(squeeze: SqueezeExcite, x: Tensor, inner: int) -> Tensor:
    """Squeeze-excite with the first `inner` rows and as many columns as `x` has channels."""
    channels = x.shape[1]
    reduce, expand = squeeze.reduce, squeeze.expand
    reduce_bias = None if reduce.bias is None else reduce.bias[:inner]
    expand_bias = None if expand.bias is None else expand.bias[:channels]
    hidden = pointwise(global_mean(x), reduce.weight[:inner, :channels], reduce_bias)
    gate = pointwise(squeeze.relu(hidden), expand.weight[:channels, :inner], expand_bias)
    return x * squeeze.gate(gate)


class KernelTransform(nn.Module):
    """OFA's learned transforms 7 -> 5 and 5 -> 3, shared by all channels of a block.

    The centre of the larger kernel, flattened, goes through a linear map; identities at first, so
    that the transform starts as the plain centre. The 3x3 kernel is made from the 5x5 one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.to5 = nn.Parameter(torch.eye(25))
        self.to3 = nn.Parameter(torch.eye(9))

    def forward(self, weight: Tensor, kernel: int) -> Tensor:
        """[C, 1, K, K] -> [C, 1, kernel, kernel]."""
        for size, matrix in ((5, self.to5), (3, self.to3)):
            if kernel <= size < weight.shape[-1]:
                flat = centre(weight, size).flatten(1)
                weight = F.linear(flat, matrix).unflatten(1, (1, size, size))
        return weight


def centre(weight: Tensor, kernel: int) -> Tensor:
    """The central [C, 1, kernel, kernel] of a [C, 1, K, K] weight, as a view."""
    border = (weight.shape[-1] - kernel) // 2
    return weight[..., border : border + kernel, border : border + kernel]


def shrink(weight: Tensor, kernel: int, transform: KernelTransform | None) -> Tensor:
    """The depthwise weight of size `kernel`; `weight` itself where that is its size already."""
    if weight.shape[-1] == kernel:
        return weight
    return centre(weight, kernel) if transform is None else transform(weight, kernel)
