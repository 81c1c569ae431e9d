"""Blocks of the search space as operators."""

from __future__ import annotations

from fofa.space import BlockSpec
from profilers.estimates.networks import inverted_residual
from profilers.estimates.operators import Layers, OperatorGraph


def block_operators(block: BlockSpec) -> OperatorGraph:
    """The operators of one block; their MACs are those of `fofa.space.block_macs`."""
    net = Layers(block.in_channels, block.in_size)
    match block.key.position:
        case "stem":
            net.conv(block.out_channels, block.kernel, block.stride)
        case "head":
            net.conv(block.mid_channels)
            net.pool()
            net.linear(block.out_channels, act=True)
            net.linear(block.num_classes)
        case _:
            inverted_residual(
                net,
                block.out_channels,
                block.kernel,
                block.stride,
                mid=block.mid_channels,
                expands=block.expands,
                squeezed=block.squeeze_channels,
                residual=block.residual,
            )
    return net.finish()
