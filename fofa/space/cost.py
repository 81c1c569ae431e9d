"""Multiply-adds and parameters, from the description alone.

Counted as the paper does: multiply-adds of convolutions and linear layers, squeeze-excite included,
biases, norms and activations not. Parameters are all trainable ones, norm and bias included.
"""

from __future__ import annotations

from fofa.space.blocks import BlockSpec
from fofa.space.network import NetworkConfig, architecture_blocks, network_blocks
from fofa.space.subnet import Architecture, Subnet


def block_macs(block: BlockSpec) -> int:
    """Multiply-adds of one block for one image."""
    inside, outside = block.in_size**2, block.out_size**2
    into, mid, out = block.in_channels, block.mid_channels, block.out_channels
    window = block.kernel**2
    match block.key.position:
        case "stem":
            return into * out * window * outside
        case "head":
            mix = mid * out if block.feature_mix else 0
            return into * mid * inside + mix + out * block.num_classes
        case _:
            expansion = into * mid * inside if block.expands else 0
            squeeze = 2 * mid * block.squeeze_channels
            return expansion + mid * window * outside + squeeze + mid * out * outside


def block_params(block: BlockSpec) -> int:
    """Trainable parameters of one block."""
    into, mid, out = block.in_channels, block.mid_channels, block.out_channels
    window = block.kernel**2
    match block.key.position:
        case "stem":
            return into * out * window + 2 * out
        case "head":
            mix = mid * out if block.feature_mix else 0
            return into * mid + 2 * mid + mix + (out + 1) * block.num_classes
        case _:
            expansion = into * mid + 2 * mid if block.expands else 0
            squeeze = block.squeeze_channels
            excite = 2 * mid * squeeze + squeeze + mid if squeeze else 0
            return expansion + mid * window + 2 * mid + excite + mid * out + 2 * out


def macs(architecture: Architecture, config: NetworkConfig | None = None) -> int:
    """Multiply-adds of an architecture for one image (width 1.0, 1000 classes by default)."""
    config = config or NetworkConfig(family=architecture.subnet.family)
    blocks = architecture_blocks(architecture, config)
    return sum(block_macs(block) for block in blocks)


def params(subnet: Subnet | Architecture, config: NetworkConfig | None = None) -> int:
    """Trainable parameters of a subnet, which do not depend on the resolution."""
    chosen = subnet.subnet if isinstance(subnet, Architecture) else subnet
    blocks = network_blocks(chosen, 224, config or NetworkConfig(family=chosen.family))
    return sum(block_params(block) for block in blocks)
