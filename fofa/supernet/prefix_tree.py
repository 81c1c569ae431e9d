"""The prefix tree of subnets: what they share, from the stem on.

A subnet is a path of steps: stem, first block, its stage blocks, head. Subnets whose paths begin
alike share a node for every common step, so what happens in that step happens once. A step is a
block of the shared weights with its choices, which makes the tree fit elastic subnets too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from fofa.space import BlockSpec, NetworkConfig, Subnet, block_macs
from fofa.space.blocks import Position
from fofa.space.network import first_block, head_block, stage_block, stage_sizes, stem_block


@dataclass(frozen=True, slots=True)
class Step:
    """One block on the way through the supernet.

    In a stage (from 1), `index` counts its blocks from 0; elsewhere all numbers are 0.
    """

    position: Position
    stage: int = 0
    index: int = 0
    kernel: int = 0
    expand: int = 0

    @property
    def key(self) -> str:
        """The block's name in a supernet and in any extracted network: `stages.2.0`, `stem`."""
        if self.position != "stage":
            return self.position
        return f"stages.{self.stage - 1}.{self.index}"

    def spec(self, resolution: int, config: NetworkConfig) -> BlockSpec:
        """The block's description in a network for square images of side `resolution`."""
        sizes = stage_sizes(resolution, config.family)
        match self.position:
            case "stem":
                return stem_block(config, resolution)
            case "first":
                return first_block(config, sizes[0])
            case "head":
                return head_block(config, sizes[-1])
        size = sizes[self.stage - 1] if self.index == 0 else sizes[self.stage]
        return stage_block(config, self.stage, self.index, self.kernel, self.expand, size)


@dataclass(frozen=True, slots=True)
class Node:
    """A step that some subnets share.

    Attributes:
        number: position in depth-first order, 0 for the root (the stem).
        leaf: at a head, which of the tree's distinct subnets ends here; None elsewhere.
    """

    number: int
    step: Step
    children: tuple[Node, ...]
    leaf: int | None

    def descendants(self) -> Iterator[Node]:
        """This node and all below it, depth first."""
        yield self
        for child in self.children:
            yield from child.descendants()


@dataclass(frozen=True, slots=True)
class PrefixTree:
    """The tree of `subnets`, which are distinct and in the order in which they were given."""

    subnets: tuple[Subnet, ...]
    root: Node
    num_nodes: int

    def nodes(self) -> Iterator[Node]:
        """All nodes, in the order of their numbers."""
        return self.root.descendants()

    def macs(self, resolution: int, config: NetworkConfig) -> int:
        """Multiply-adds of running every node once on one image."""
        return sum(block_macs(node.step.spec(resolution, config)) for node in self.nodes())


def path(subnet: Subnet) -> tuple[Step, ...]:
    """The steps of a subnet, stem to head."""
    blocks = (
        Step("stage", stage, index, choice.kernel, choice.expand)
        for stage, choices in enumerate(subnet.stages, start=1)
        for index, choice in enumerate(choices)
    )
    return (Step("stem"), Step("first"), *blocks, Step("head"))


def prefix_tree(subnets: Sequence[Subnet]) -> PrefixTree:
    """The prefix tree of one or more subnets; repeated ones count once.

    Raises:
        ValueError: if there are none.
    """
    if not subnets:
        raise ValueError("a prefix tree needs at least one subnet")
    distinct = tuple(dict.fromkeys(subnets))
    paths = [path(subnet) for subnet in distinct]
    numbers = itertools.count()

    def grow(members: list[int], depth: int) -> Node:
        """The node at `depth` of subnets that agree up to there; at a head there is only one."""
        number, step = next(numbers), paths[members[0]][depth]
        if step.position == "head":
            return Node(number, step, (), members[0])
        branches: dict[Step, list[int]] = {}
        for member in members:
            branches.setdefault(paths[member][depth + 1], []).append(member)
        children = tuple(grow(branch, depth + 1) for branch in branches.values())
        return Node(number, step, children, None)

    return PrefixTree(distinct, grow(list(range(len(distinct))), 0), next(numbers))


def walk(
    node: Node, x: Tensor, run: Callable[[Node, Tensor], Tensor]
) -> Iterator[tuple[int, Tensor]]:
    """Run `node` and all below it, depth first; yield each leaf's subnet and the head's output.

    Without gradients only the activations of one path are alive at a time.
    """
    out = run(node, x)
    del x
    if node.leaf is not None:
        yield node.leaf, out
    for child in node.children:
        yield from walk(child, out, run)
