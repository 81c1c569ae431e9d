"""Running part of a full-sized block: the first channels of its tensors, a smaller kernel.

Slices are cut before (`Weights`), and gradients add up in the shared weights. How batch
normalisation is done is the caller's choice (`Normalise`): training uses the shared statistics,
evaluation those of a tree node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fofa.supernet.depthwise import depthwise_conv
from fofa.supernet.layers import (
    BN_MOMENTUM,
    Head,
    MBConv,
    Stem,
    TensorflowConv2d,
    pad_as_tensorflow,
)
from fofa.supernet.pointwise import pointwise

Weights = Mapping[str, Tensor]
"""The part of a block's parameters that a step uses, by their names in the block."""
Normalise = Callable[[nn.BatchNorm2d, Tensor, Tensor, Tensor], Tensor]
"""Normalise [N, C, H, W] by a shared layer, of which the first C channels are meant, with the
weight [C] and bias [C] that are given."""


def shared_norm(layer: nn.BatchNorm2d, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Batch normalisation with the first channels of the layer's own statistics.

    In training mode the batch's statistics normalise and move the running ones.
    """
    mean, variance = layer.running_mean, layer.running_var
    if len(weight) < layer.num_features:
        mean = None if mean is None else mean[: len(weight)]
        variance = None if variance is None else variance[: len(weight)]
    return F.batch_norm(
        x,
        mean,
        variance,
        weight,
        bias,
        training=layer.training,
        momentum=BN_MOMENTUM,
        eps=layer.eps,
    )


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
    weight = centre(weight, kernel)
    if kernel == 1:
        return x * weight.reshape(1, -1, 1, 1)
    return depthwise_conv(x, weight, stride)


def run_stem(stem: Stem, x: Tensor, weights: Weights, normalise: Normalise) -> Tensor:
    """The stem, whole."""
    conv = stem.conv
    if isinstance(conv, TensorflowConv2d):
        x = pad_as_tensorflow(x, conv.kernel_size[0], conv.stride[0])
    out = F.conv2d(x, weights["conv.weight"], stride=conv.stride, padding=conv.padding)
    return stem.activation(normalise(stem.bn, out, weights["bn.weight"], weights["bn.bias"]))


def run_head(head: Head, x: Tensor, weights: Weights, normalise: Normalise) -> Tensor:
    """The head's features, whole: everything but dropout and the linear layer."""
    out = pointwise(x, weights["expand.weight"])
    out = normalise(head.expand_bn, out, weights["expand_bn.weight"], weights["expand_bn.bias"])
    out = global_mean(head.activation(out))
    return out if head.mix is None else head.activation(pointwise(out, weights["mix.weight"]))


def run_mbconv(block: MBConv, x: Tensor, weights: Weights, normalise: Normalise) -> Tensor:
    """A block with as many middle channels, and as large a kernel, as its weights have."""

    def norm(layer: nn.BatchNorm2d, name: str, out: Tensor) -> Tensor:
        return normalise(layer, out, weights[f"{name}.weight"], weights[f"{name}.bias"])

    out = x
    if block.expand_bn is not None:
        out = pointwise(out, weights["expand.weight"])
        out = block.activation(norm(block.expand_bn, "expand_bn", out))
    out = depthwise(block.depthwise, out, weights["depthwise.weight"])
    out = block.activation(norm(block.depthwise_bn, "depthwise_bn", out))
    if block.squeeze is not None:
        reduce, expand = "squeeze.reduce", "squeeze.expand"
        hidden = pointwise(
            global_mean(out), weights[f"{reduce}.weight"], weights.get(f"{reduce}.bias")
        )
        # Not in place: `hidden` is a view, whose gradient torch would copy about.
        hidden = F.relu(hidden)
        gate = pointwise(hidden, weights[f"{expand}.weight"], weights.get(f"{expand}.bias"))
        out = out * block.squeeze.gate(gate)
    out = norm(block.project_bn, "project_bn", pointwise(out, weights["project.weight"]))
    # In place: batch normalisation does not keep its output for the backward pass.
    return out.add_(x) if block.residual else out


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
        """[C, 1, K, K] -> [C, 1, kernel, kernel]; `weight` itself where that is its size."""
        if kernel == weight.shape[-1]:
            return weight
        return self.of_centre(centre(weight, weight.shape[-1] - 2), kernel)

    def of_centre(self, weight: Tensor, kernel: int) -> Tensor:
        """[C, 1, S, S], the centre of a weight of size S + 2 -> [C, 1, kernel, kernel]."""
        for size, matrix in ((5, self.to5), (3, self.to3)):
            if kernel <= size <= weight.shape[-1]:
                flat = centre(weight, size).flatten(1)
                weight = F.linear(flat, matrix).unflatten(1, (1, size, size))
        return weight


def centre(weight: Tensor, kernel: int) -> Tensor:
    """The central [C, 1, kernel, kernel] of a [C, 1, K, K] weight, as a view."""
    at = central(weight.shape[-1], kernel)
    return weight if kernel == weight.shape[-1] else weight[..., at, at]


def central(size: int, kernel: int) -> slice:
    """Where a smaller kernel lies in a larger one, along a side."""
    border = (size - kernel) // 2
    return slice(border, border + kernel)
