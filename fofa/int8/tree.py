"""Many subnets in int8 at once, through their prefix tree: ranges for each node, and simulation.

What a node computes depends on the path to it alone, and so do its ranges and its folded weights.
All subnets that share it share them, each as if it had been quantised by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.fusion import fuse_conv_bn_weights

from fofa.int8.blocks import NO_STEP, Layer, Recording, Rounding, run_block
from fofa.int8.ranges import RangeRecorder
from fofa.recalibration import Statistics
from fofa.runtime.folding import NORMS
from fofa.runtime.int8 import Int8Scheme, PointRanges
from fofa.space import BlockSpec
from fofa.supernet.elastic import Weights
from fofa.supernet.model import Supernet
from fofa.supernet.prefix_tree import Node, walk

KEPT_BYTES = 2**30
"""Of rounded weights, which are made once for all batches; those beyond it for each batch."""


@dataclass(slots=True)
class SimulatedTree:
    """The subnets of recalibrated statistics in int8.

    Attributes:
        ranges: of the points of each node, `<number>.<point>`.
    """

    supernet: Supernet
    statistics: Statistics
    resolution: int
    scheme: Int8Scheme
    ranges: PointRanges
    _kept: dict[int, dict[str, Layer]] = field(default_factory=dict)
    _kept_bytes: int = 0

    @classmethod
    def calibrated(
        cls,
        supernet: Supernet,
        statistics: Statistics,
        resolution: int,
        scheme: Int8Scheme,
        batches: Iterable[Tensor],
        num_images: int,
    ) -> SimulatedTree:
        """The tree with the ranges that images show in floating point.

        Args:
            batches: at most `num_images` images [N, 3, R, R] in all, on the supernet's device.

        Raises:
            UserError: if there are no images, or values are not finite.
        """
        recorder = RangeRecorder(scheme, num_images)

        tree = cls(supernet, statistics, resolution, scheme, {})

        def look(block: BlockSpec, node: Node, shared: Sequence[Weights], x: Tensor) -> Tensor:
            weights = tree._folded(node, shared)
            mode = Recording(block, weights, scheme, recorder, f"{node.number}.")
            return run_block(block, x, mode)

        for images in batches:
            with torch.inference_mode():
                for _ in tree._walk(images, look, statistics.layout.tree.root):
                    pass
        return cls(supernet, statistics, resolution, scheme, recorder.ranges())

    @torch.inference_mode()
    def logits(self, images: Tensor, leaf: int | None = None) -> Iterator[tuple[int, Tensor]]:
        """The number of each subnet with its logits [N, classes] for [N, 3, R, R] images.

        Args:
            leaf: only this subnet's.
        """
        root = self.statistics.layout.tree.root
        if leaf is not None:
            root = _path_to(root, leaf) or root
        steps: dict[int, np.float32] = {}
        before = {
            child.number: node.number for node in root.descendants() for child in node.children
        }

        def rounded(block: BlockSpec, node: Node, shared: Sequence[Weights], x: Tensor) -> Tensor:
            number = node.number
            step = steps[before[number]] if number in before else NO_STEP
            kept = self._kept.get(number)
            weights = {} if kept else self._folded(node, shared)
            prefix = f"{number}."
            mode = Rounding(block, weights, self.scheme, self.ranges, prefix, step, kept or {})
            out = run_block(block, x, mode)
            steps[number] = mode.step
            if kept is None and self._kept_bytes < KEPT_BYTES:
                self._kept[number] = mode.layers
                self._kept_bytes += sum(weight.nbytes for weight, _ in mode.layers.values())
            return out

        yield from self._walk(images, rounded, root)

    def _walk(
        self,
        images: Tensor,
        run: Callable[[BlockSpec, Node, Sequence[Weights], Tensor], Tensor],
        root: Node,
    ) -> Iterator[tuple[int, Tensor]]:
        """Run `root` and all below it, by its block's description and the weights of all nodes."""
        supernet = self.supernet
        shared = supernet.tree_weights(self.statistics.layout.tree)

        def step(node: Node, x: Tensor) -> Tensor:
            block = node.step.spec(self.resolution, supernet.network_config)
            return run(block, node, shared, x)

        yield from walk(root, images.contiguous(memory_format=torch.channels_last), step)

    def _folded(self, node: Node, shared: Sequence[Weights]) -> Weights:
        """The weights of a node's block, named as `build_model` takes them."""
        supernet, statistics = self.supernet, self.statistics
        given, places = shared[node.number], statistics.layout.places[node.number]
        found = {
            name: weight
            for name, weight in given.items()
            if not name.partition(".")[0].endswith("bn")
        }
        block = supernet.get_submodule(node.step.key)
        for layer, norm in NORMS[type(block)]:
            if f"{layer}.weight" not in given:
                continue
            at = places[f"{node.step.key}.{norm}"]
            weight, bias = fuse_conv_bn_weights(
                given[f"{layer}.weight"],
                None,
                statistics.mean[at],
                statistics.variance[at],
                supernet.network_config.family.norm_eps,
                given[f"{norm}.weight"],
                given[f"{norm}.bias"],
            )
            found |= {f"{layer}.weight": weight, f"{layer}.bias": bias}
        if node.step.position == "head":
            linear = supernet.head.classifier
            found |= {"classifier.weight": linear.weight, "classifier.bias": linear.bias}
        return {name: weight.detach().float() for name, weight in found.items()}


def _path_to(node: Node, leaf: int) -> Node | None:
    """The node with nothing below it but what leads to a subnet."""
    if node.leaf == leaf:
        return node
    for child in node.children:
        if (found := _path_to(child, leaf)) is not None:
            return replace(node, children=(found,))
    return None
