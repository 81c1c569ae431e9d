"""Running part of a full-sized block: the first channels of its tensors, a smaller kernel.

Slices are views, so gradients add up in the shared weights. How batch normalisation is done is the
caller's choice (`Normalise`): training uses the shared statistics, evaluation those of a tree node.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from fofa.supernet.layers import BN_MOMENTUM, Head, MBConv, SqueezeExcite, Stem

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


def run_stem(stem: Stem, x: Tensor, normalise: Normalise) -> Tensor:
    """The stem, whole."""
    return stem.activation(normalise(stem.bn, stem.conv(x)))


def run_head(head: Head, x: Tensor, normalise: Normalise) -> Tensor:
    """The head's features, whole: everything but dropout and the linear layer."""
    out = head.activation(normalise(head.expand_bn, head.expand(x)))
    return head.activation(head.mix(head.pool(out)))


def run_mbconv(
    block: MBConv, x: Tensor, depthwise: Tensor, squeeze_channels: int, normalise: Normalise
) -> Tensor:
    """A block with the depthwise weight [mid, 1, k, k] and the first `mid` channels of the rest."""
    mid, kernel = depthwise.shape[0], depthwise.shape[-1]
    out = x
    if block.expand is not None and block.expand_bn is not None:
        out = F.conv2d(out, block.expand.weight[:mid])
        out = block.activation(normalise(block.expand_bn, out))
    stride = block.depthwise.stride
    out = F.conv2d(out, depthwise, stride=stride, padding=kernel // 2, groups=mid)
    out = block.activation(normalise(block.depthwise_bn, out))
    if block.squeeze is not None:
        out = _run_squeeze(block.squeeze, out, squeeze_channels)
    out = normalise(block.project_bn, F.conv2d(out, block.project.weight[:, :mid]))
    return x + out if block.residual else out


def _run_squeeze(squeeze: SqueezeExcite, x: Tensor, inner: int) -> Tensor:
    """Squeeze-excite with the first `inner` rows and as many columns as `x` has channels."""
    channels = x.shape[1]
    reduce, expand = squeeze.reduce, squeeze.expand
    reduce_bias = None if reduce.bias is None else reduce.bias[:inner]
    expand_bias = None if expand.bias is None else expand.bias[:channels]
    hidden = F.conv2d(squeeze.pool(x), reduce.weight[:inner, :channels], reduce_bias)
    gate = F.conv2d(squeeze.relu(hidden), expand.weight[:channels, :inner], expand_bias)
    return x * squeeze.gate(gate)
