"""A network of its own: what `Supernet.extract` returns, and what is calibrated and exported."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from fofa.space import NetworkConfig, Subnet, network_blocks
from fofa.supernet.layers import Head, MBConv, Stem, initialise

ANY_RESOLUTION = 224  # parameters do not depend on it, descriptions need one


class Blocks(nn.Module):
    """The blocks of a subnet as modules, freshly initialised; how they are run is up to others.

    Attributes:
        subnet, network_config: what they were built from.
        stem, first, stages, head: the blocks; `stages[s][i]` is block i (from 0) of stage s + 1.
    """

    def __init__(self, subnet: Subnet, config: NetworkConfig, dropout: float = 0.1) -> None:
        super().__init__()
        self.subnet = subnet
        self.network_config = config
        specs = network_blocks(subnet, ANY_RESOLUTION, config)
        eps = config.family.norm_eps
        self.stem = Stem(specs[0], eps)
        self.first = MBConv(specs[1], eps)
        blocks = iter(specs[2:-1])
        self.stages = nn.Sequential(
            *(
                nn.Sequential(*(MBConv(next(blocks), eps) for _ in range(depth)))
                for depth in subnet.depths
            )
        )
        self.head = Head(specs[-1], eps, dropout)
        if not self.stem.conv.weight.is_meta:  # there it has no effect, and takes long
            initialise(self)

    def block(self, stage: int, index: int) -> MBConv:
        """Block `index` (from 0) of `stage` (from 1)."""
        return cast(MBConv, cast(nn.Sequential, self.stages[stage - 1])[index])


class PlainNetwork(Blocks):
    """The network of one subnet: [N, 3, R, R] images -> [N, num_classes] logits, at any R.

    Dropout acts in training mode only.
    """

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.stages(self.first(self.stem(images))))
