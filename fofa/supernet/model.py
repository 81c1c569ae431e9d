"""The supernet: the weights of the full-sized network, shared by all its subnets.

A call names its subnets; there is no active subnet and no mode. Keys of weights are those of the
plain network of the full-sized subnet: `stem.conv`, `stem.bn`, `first.*`, `stages.<0-4>.<0-3>.*`
(`expand`, `expand_bn`, `depthwise`, `depthwise_bn`, `squeeze.reduce`, `squeeze.expand`, `project`,
`project_bn`), `head.expand`, `head.expand_bn`, `head.mix`, `head.classifier`; and, where kernels
are transformed, `transforms.<0-4>.<0-3>.to5` and `.to3`. Those of MobileNetV3, that is: other
families have other numbers of stages and blocks, and no squeeze-excite or mix.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from fofa.errors import UserError
from fofa.space import Subnet
from fofa.supernet.config import SupernetConfig
from fofa.supernet.elastic import (
    KernelTransform,
    Normalise,
    Weights,
    central,
    run_head,
    run_mbconv,
    run_stem,
    shared_norm,
)
from fofa.supernet.layers import Head, MBConv, Stem
from fofa.supernet.network import Blocks, PlainNetwork
from fofa.supernet.prefix_tree import Node, PrefixTree, Step, path, prefix_tree, walk
from fofa.supernet.slices import Cut, Part, cut_all, part_of

RunBlock = Callable[[MBConv, Tensor, Weights, Normalise], Tensor]
MAX_KINDS = 1024
"""More kinds of blocks than the choices of any family at a few image sizes."""


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
        self._run_mbconv: RunBlock = run_mbconv
        self.transforms = (
            nn.ModuleList(
                nn.ModuleList(KernelTransform() for _ in blocks) for blocks in largest.stages
            )
            if config.kernel_mode == "transform"
            else None
        )

    def forward(
        self,
        images: Tensor,
        subnets: Sequence[Subnet],
        *,
        without_dropout: Collection[Subnet] = (),
    ) -> list[Tensor]:
        """Logits [N, num_classes] of each subnet for [N, 3, R, R] images, in the given order.

        Walks the prefix tree of the subnets: what they share is computed once, and so are repeated
        subnets. Function and gradients are those of one subnet after the other; running statistics
        of batch normalisation move once per node. In training mode dropout draws one mask for each
        distinct subnet, in the order given, but for those `without_dropout`.

        Raises:
            UserError: if a subnet is not one that the shared weights offer.
            ValueError: if there are no subnets.
        """
        for subnet in subnets:
            self.check(subnet)
        tree = prefix_tree(subnets)
        weights = self.tree_weights(tree)

        def run(node: Node, x: Tensor) -> Tensor:
            return self.run_step(node.step, x, weights=weights[node.number])

        features = dict(walk(tree.root, images, run))
        logits = {
            subnet: self.head.classify(features[leaf], dropout=subnet not in without_dropout)
            for leaf, subnet in enumerate(tree.subnets)
        }
        return [logits[subnet] for subnet in subnets]

    def run_step(
        self,
        step: Step,
        x: Tensor,
        normalise: Normalise = shared_norm,
        weights: Weights | None = None,
    ) -> Tensor:
        """One step of a path: [N, C, H, W] -> its output; a head's is [N, F, 1, 1] features.

        Args:
            weights: what `tree_weights` made for the step; made anew if they are not given.
        """
        if weights is None:
            weights = self.step_weights(step)
        match step.position:
            case "stem":
                return run_stem(self.stem, x, weights, normalise)
            case "head":
                return run_head(self.head, x, weights, normalise)
        # Compiled for training only: other ways to normalise are closures, each a kind of its own.
        run = self._run_mbconv if normalise is shared_norm else run_mbconv
        return run(cast(MBConv, self._block(step)), x, weights, normalise)

    def compile_blocks(self, backend: str | Callable[..., Any] = "inductor") -> None:
        """Let torch compile the MBConv blocks, each kind (shape, slice, image size) at first use.

        The same function and gradients, but for rounding. Blocks, not the whole: a step's tree has
        a shape of its own nearly every time, and its blocks are of a few dozen kinds.
        """
        import torch._dynamo.config as settings  # takes a second

        # Of the whole process. Above a few versions of a function torch gives compiling up.
        for name in ("recompile_limit", "accumulated_recompile_limit"):
            older = name.replace("recompile", "cache_size")  # before torch 2.7
            setattr(settings, name if hasattr(settings, name) else older, MAX_KINDS)
        self._run_mbconv = torch.compile(run_mbconv, backend=backend, dynamic=False, fullgraph=True)

    def tree_weights(self, tree: PrefixTree) -> list[Weights]:
        """For each node of `tree`, by number, the part of the weights that it uses.

        In autocast's number type where that is on, cast once for all nodes. Without gradients,
        nodes of the same step have the same tensors.
        """
        steps = [node.step for node in tree.nodes()]
        if torch.is_grad_enabled():
            return self._cut(steps)
        distinct = list(dict.fromkeys(steps))
        made = dict(zip(distinct, self._cut(distinct), strict=True))
        return [made[step] for step in steps]

    def step_weights(self, step: Step) -> Weights:
        """The part of the weights that `step` uses."""
        return self._cut([step])[0]

    def _cut(self, steps: Sequence[Step]) -> list[Weights]:
        """The weights of each step, by their names in its block."""
        places = {step: self._places(step) for step in dict.fromkeys(steps)}
        wanted: dict[tuple[str, str], list[tuple[int, Part]]] = {}
        tensors: dict[tuple[str, str], Tensor] = {}
        for number, step in enumerate(steps):
            for name, (parameter, part) in places[step].items():
                tensors[step.key, name] = parameter
                wanted.setdefault((step.key, name), []).append((number, part))
        cuts = [
            Cut(tensors[place], tuple(part for _, part in uses), casts="bn." not in place[1])
            for place, uses in wanted.items()
        ]
        found: list[dict[str, Tensor]] = [{} for _ in steps]
        for (place, uses), slices in zip(wanted.items(), cut_all(cuts, self._dtype()), strict=True):
            for (number, _), tensor in zip(uses, slices, strict=True):
                found[number][place[1]] = tensor
        for step, weights in zip(steps, found, strict=True):
            transform = self._transform(step)
            if transform is not None:
                kernel = weights["depthwise.weight"]
                weights["depthwise.weight"] = transform.of_centre(kernel, step.kernel)
        return list(found)

    def _places(self, step: Step) -> dict[str, tuple[Tensor, Part]]:
        """The shared parameters of a step's block by name, and what it uses of each.

        Without the linear layer's, which are run whole and once for a subnet.
        """
        return {
            name: (parameter, self._part(step, name, parameter))
            for name, parameter in self._block(step).named_parameters()
            if not name.startswith("classifier.")
        }

    def _part(self, step: Step, name: str, parameter: Tensor) -> Part:
        """What a step uses of a parameter of its block: the first rows and columns, the centre."""
        if step.position != "stage":
            return ()
        block = self.block(step.stage, step.index)
        mid = slice(self.network_config.mid_channels(block.in_channels, step.expand))
        inner = slice(self.network_config.squeeze_channels(mid.stop))
        every = slice(None)
        match name:
            case "depthwise.weight":
                size = parameter.shape[-1]
                # A transform makes all smaller kernels from the next smaller centre.
                smaller = step.kernel if self.transforms is None else size - 2
                at = central(size, size if step.kernel == size else smaller)
                return part_of(parameter, mid, every, at, at)
            case "project.weight":
                return part_of(parameter, every, mid)
            case "squeeze.reduce.weight":
                return part_of(parameter, inner, mid)
            case "squeeze.expand.weight":
                return part_of(parameter, mid, inner)
            case "squeeze.reduce.bias":
                return part_of(parameter, inner)
            case "project_bn.weight" | "project_bn.bias":
                return ()
        return part_of(parameter, mid)

    def _dtype(self) -> torch.dtype | None:
        """What autocast computes in on the weights' device; None where it is off."""
        device = self.head.classifier.weight.device.type
        return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None

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
            f"{step.key}.depthwise.weight": self.step_weights(step)["depthwise.weight"]
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

    def _block(self, step: Step) -> Stem | MBConv | Head:
        if step.position == "stage":
            return self.block(step.stage, step.index)
        return cast("Stem | MBConv | Head", self.get_submodule(step.position))

    def _transform(self, step: Step) -> KernelTransform | None:
        """What makes the kernel of a stage step; None where nothing is to be made."""
        if self.transforms is None or step.position != "stage":
            return None
        if step.kernel == self.block(step.stage, step.index).depthwise.kernel_size[0]:
            return None
        stage = cast(nn.ModuleList, self.transforms[step.stage - 1])
        return cast(KernelTransform, stage[step.index])
