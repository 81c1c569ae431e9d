"""Channel sorting: the most important middle channels first, where smaller expand ratios look.

OFA does this before each phase that makes the expand ratio elastic. A channel's importance is the
L1 norm of the projection weights that read it. The full-sized network computes the same as before.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fofa.supernet.layers import MBConv, SqueezeExcite
from fofa.supernet.model import Supernet


@torch.no_grad()
def sort_channels(supernet: Supernet, trained_expands: Sequence[int] = ()) -> None:
    """Sort the middle channels of every stage block by importance, in place.

    Args:
        trained_expands: expand ratios below the largest whose subnets have been trained already.
            Channels are sorted only among those between two of these widths, so that the trained
            subnets, too, compute the same as before.
    """
    network = supernet.network_config
    for stage, choices in enumerate(supernet.largest.stages, start=1):
        for index in range(len(choices)):
            block = supernet.block(stage, index)
            widths = [network.mid_channels(block.in_channels, e) for e in sorted(trained_expands)]
            _reorder(block, _order(block.project.weight.abs().sum((0, 2, 3)), widths))
            if block.squeeze is not None:
                inner = [network.squeeze_channels(width) for width in widths]
                _reorder_squeeze(block.squeeze, inner)


def _order(importance: Tensor, bounds: Sequence[int]) -> Tensor:
    """Indices that sort by falling importance between each two bounds; ties keep their order."""
    parts, start = [], 0
    for stop in (*bounds, len(importance)):
        part = importance[start:stop].argsort(descending=True, stable=True)
        parts.append(part + start)
        start = stop
    return torch.cat(parts)


def _reorder(block: MBConv, order: Tensor) -> None:
    """Let middle channel i be what channel order[i] was, everywhere in the block."""
    if block.expand is not None and block.expand_bn is not None:
        _take(block.expand.weight, order)
        _reorder_norm(block.expand_bn, order)
    _take(block.depthwise.weight, order)
    _reorder_norm(block.depthwise_bn, order)
    if block.squeeze is not None:
        _take(block.squeeze.reduce.weight, order, dim=1)
        _take(block.squeeze.expand.weight, order)
        _take(block.squeeze.expand.bias, order)
    _take(block.project.weight, order, dim=1)


def _reorder_squeeze(squeeze: SqueezeExcite, bounds: Sequence[int]) -> None:
    """Sort the inner channels of squeeze-excite by the weights that read them."""
    order = _order(squeeze.expand.weight.abs().sum((0, 2, 3)), bounds)
    _take(squeeze.reduce.weight, order)
    _take(squeeze.reduce.bias, order)
    _take(squeeze.expand.weight, order, dim=1)


def _reorder_norm(layer: nn.BatchNorm2d, order: Tensor) -> None:
    for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
        _take(tensor, order)


def _take(tensor: Tensor | None, order: Tensor, dim: int = 0) -> None:
    if tensor is not None:
        tensor.copy_(tensor.index_select(dim, order))
