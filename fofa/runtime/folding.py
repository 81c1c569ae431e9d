"""Folding BatchNorm into the convolution before it, which every deployed network does."""

from __future__ import annotations

import copy

import numpy as np
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fofa.supernet.layers import Head, MBConv, Stem
from fofa.supernet.network import PlainNetwork

NORMS: dict[type[nn.Module], tuple[tuple[str, str], ...]] = {
    Stem: (("conv", "bn"),),
    MBConv: (("expand", "expand_bn"), ("depthwise", "depthwise_bn"), ("project", "project_bn")),
    Head: (("expand", "expand_bn"),),
}
"""Names of each block's convolutions with the norms that follow them."""


def folded(network: PlainNetwork) -> PlainNetwork:
    """A copy in evaluation mode without BatchNorm; the same function, up to rounding.

    Dropout, which does nothing in evaluation, becomes the identity.
    """
    out = copy.deepcopy(network).cpu().float().eval()
    for module in list(out.modules()):
        for conv_name, norm_name in NORMS.get(type(module), ()):
            conv, norm = getattr(module, conv_name), getattr(module, norm_name)
            if conv is not None:
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
    out.head.dropout = nn.Identity()  # type: ignore[assignment]
    for parameter in out.parameters():
        parameter.requires_grad_(False)
    return out


def folded_weights(network: PlainNetwork) -> dict[str, np.ndarray]:
    """The weights, fp32, of a network with BatchNorm folded, named as `build_model` takes them."""
    plain = folded(network)
    depths = enumerate(plain.subnet.depths, start=1)
    staged = [plain.block(stage, index) for stage, depth in depths for index in range(depth)]
    blocks: list[nn.Module] = [plain.stem, plain.first, *staged, plain.head]
    return {
        f"{index}.{name}": parameter.numpy()
        for index, block in enumerate(blocks)
        for name, parameter in block.named_parameters()
    }
