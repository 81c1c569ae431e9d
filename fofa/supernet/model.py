"""The supernet: the weights of the full-sized network, shared by all its subnets.

A call names its subnets; there is no active subnet and no mode. Keys of weights are those of the
plain network of the full-sized subnet: `stem.conv`, `stem.bn`, `first.*`, `stages.<0-4>.<0-3>.*`
(`expand`, `expand_bn`, `depthwise`, `depthwise_bn`, `squeeze.reduce`, `squeeze.expand`, `project`,
`project_bn`), `head.expand`, `head.expand_bn`, `head.mix`, `head.classifier`; and, where kernels
are transformed, `transforms.<0-4>.<0-3>.to5` and `.to3`. Those of MobileNetV3, that is: other
families have other numbers of stages and blocks, and no squeeze-excite or mix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from fofa.errors import UserError
from fofa.space import Subnet
from fofa.supernet.config import SupernetConfig
from fofa.supernet.elastic import (
    KernelTransform,
    Normalise,
    run_head,
    run_mbconv,
    run_stem,
    shared_norm,
    shrink,
)
from fofa.supernet.network import Blocks, PlainNetwork
from fofa.supernet.prefix_tree import Node, Step, path, prefix_tree, walk


class Supernet(Blocks):
    """Shared weights: `supernet(images, subnets) -> list of logits`.

    Attributes:
        config: what it was built from.
        largest: the full-sized subnet; 44444 where kernels are fixed.
        transforms: kernel transforms by stage and block, None unless the kernel mode asks for them.
    """

    def __init__(self, config: SupernetConfig) -> None:
        largest = config.largest
        super().__init__(largest, config.network, config.dropout)
        self.config = config
        self.largest = largest
        self.transforms = (
            nn.ModuleList(
                nn.ModuleList(KernelTransform() for _ in blocks) for blocks in largest.stages
            )
            if config.kernel_mode == "transform"
            else None
        )

    def forward(self, images: Tensor, subnets: Sequence[Subnet]) -> list[Tensor]:
        """Logits [N, num_classes] of each subnet for [N, 3, R, R] images, in the given order.

        Walks the prefix tree of the subnets: what they share is computed once, and so are repeated
        subnets. Function and gradients are those of one subnet after the other; running statistics
        of batch normalisation move once per node. In training mode dropout draws one mask for each
        distinct subnet, in the order given.

        Raises:
            UserError: if a subnet is not one that the shared weights offer.
            ValueError: if there are no subnets.
        """
        for subnet in subnets:
            self.check(subnet)
        tree = prefix_tree(subnets)
        features = dict(walk(tree.root, images, self._run_node))
        logits = {s: self.head.classify(features[leaf]) for leaf, s in enumerate(tree.subnets)}
        return [logits[subnet] for subnet in subnets]

    def run_step(self, step: Step, x: Tensor, normalise: Normalise = shared_norm) -> Tensor:
        """One step of a path: [N, C, H, W] -> its output; a head's is [N, F, 1, 1] features."""
        match step.position:
            case "stem":
                return run_stem(self.stem, x, normalise)
            case "head":
                return run_head(self.head, x, normalise)
            case "first":
                return run_mbconv(self.first, x, self.first.depthwise.weight, 0, normalise)
        depthwise = self.depthwise_weight(step)
        inner = self.network_config.squeeze_channels(depthwise.shape[0])
        return run_mbconv(self.block(step.stage, step.index), x, depthwise, inner, normalise)

    def depthwise_weight(self, step: Step) -> Tensor:
        """The depthwise weight [mid, 1, k, k] of a stage step, made from the shared one."""
        block = self.block(step.stage, step.index)
        mid = self.network_config.mid_channels(block.in_channels, step.expand)
        return shrink(block.depthwise.weight[:mid], step.kernel, self._transform(step))

    @torch.no_grad()
    def extract(self, subnet: Subnet) -> PlainNetwork:
        """The subnet as a network of its own: copied weights, no elastic code in it.

        It has this supernet's device, floating-point type and mode. Its statistics of batch
        normalisation are slices of the shared ones: calibrate it before it is used.

        Raises:
            UserError: if it is not one that the shared weights offer.
        """
        self.check(subnet)
        with torch.device("meta"):
            network = PlainNetwork(subnet, self.network_config, self.config.dropout)
        weight = self.head.classifier.weight
        network = network.to(dtype=weight.dtype).to_empty(device=weight.device)
        shared = self.state_dict()
        kernels = {
            f"{step.key}.depthwise.weight": self.depthwise_weight(step)
            for step in path(subnet)
            if step.position == "stage"
        }
        for key, tensor in network.state_dict().items():
            # Everything but a kernel is the first rows and columns of the shared tensor.
            first = tuple(slice(size) for size in tensor.shape)
            tensor.copy_(kernels[key] if key in kernels else shared[key][first])
        return network.train(self.training)

    def check(self, subnet: Subnet) -> None:
        """Raise `UserError` unless the shared weights hold `subnet`."""
        if subnet.family != self.config.family:
            raise UserError(
                f"subnet {subnet} is of {subnet.family}, this supernet of {self.config.family}"
            )
        fixed = self.config.kernel_mode == "fixed"
        for number, blocks in enumerate(subnet.stages, start=1):
            available = self.config.max_kernels[number - 1]
            most = self.largest.stages[number - 1][0].expand
            for block in blocks:
                if block.kernel > available or (fixed and block.kernel != available):
                    size = f"{available}x{available}"
                    raise UserError(
                        f"subnet {subnet}: stage {number} has kernel {block.kernel}, but this "
                        f"supernet has {size} kernels there{' only' if fixed else ''}"
                    )
                if block.expand > most:
                    raise UserError(
                        f"subnet {subnet}: stage {number} has expand ratio {block.expand}, but "
                        f"this supernet has {most} there"
                    )

    def _run_node(self, node: Node, x: Tensor) -> Tensor:
        return self.run_step(node.step, x)

    def _transform(self, step: Step) -> KernelTransform | None:
        if self.transforms is None:
            return None
        stage = cast(nn.ModuleList, self.transforms[step.stage - 1])
        return cast(KernelTransform, stage[step.index])
