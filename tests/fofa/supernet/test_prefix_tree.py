"""The prefix tree shares exactly the common beginnings, and loses no subnet."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fofa.space import (
    Architecture,
    NetworkConfig,
    Subnet,
    compound_subnets,
    macs,
    sample_compound,
    sample_elastic,
)
from fofa.space.network import network_blocks
from fofa.supernet.prefix_tree import Node, path, prefix_tree, walk

CONFIG = NetworkConfig()


@st.composite
def subnet_lists(draw: st.DrawFn) -> list[Subnet]:
    rng = random.Random(draw(st.integers(0, 2**32)))
    sample = draw(st.sampled_from([sample_compound, sample_elastic]))
    subnets = [sample(rng) for _ in range(draw(st.integers(1, 5)))]
    return subnets + draw(st.lists(st.sampled_from(subnets), max_size=2))


@given(subnet_lists())
@settings(max_examples=30, deadline=None)
def test_every_subnet_is_a_path_and_nodes_are_the_distinct_prefixes(subnets: list[Subnet]) -> None:
    tree = prefix_tree(subnets)
    prefixes = {path(subnet)[: end + 1] for subnet in subnets for end in range(len(path(subnet)))}
    assert tree.num_nodes == len(prefixes) == len(list(tree.nodes()))
    assert [node.number for node in tree.nodes()] == list(range(tree.num_nodes))
    assert tree.subnets == tuple(dict.fromkeys(subnets))

    reached: dict[int, tuple[object, ...]] = {}

    def follow(node: Node, steps: tuple[object, ...]) -> None:
        steps = (*steps, node.step)
        if node.leaf is not None:
            reached[node.leaf] = steps
        for child in node.children:
            follow(child, steps)

    follow(tree.root, ())
    assert reached == {leaf: path(subnet) for leaf, subnet in enumerate(tree.subnets)}


def test_steps_describe_the_blocks_of_the_network() -> None:
    for seed in range(5):
        subnet = sample_elastic(random.Random(seed))
        specs = [step.spec(176, CONFIG) for step in path(subnet)]
        assert specs == network_blocks(subnet, 176, CONFIG)


def test_the_compound_space_costs_3_37_times_less_through_its_tree() -> None:
    subnets = list(compound_subnets())
    tree = prefix_tree(subnets)
    single = sum(macs(Architecture(subnet, 224), CONFIG) for subnet in subnets)
    assert single / tree.macs(224, CONFIG) == pytest.approx(3.37, abs=0.005)
    # 3^s nodes of 2, 3 or 4 blocks in stage s, before them stem and first block, then the heads.
    assert tree.num_nodes == 2 + sum(3**stage * 3 for stage in range(1, 6)) + 243


def test_one_subnet_costs_what_it_costs_alone() -> None:
    subnet = Subnet.compound((2, 3, 4, 3, 2))
    assert prefix_tree([subnet] * 3).macs(160, CONFIG) == macs(Architecture(subnet, 160), CONFIG)


def test_walking_runs_each_node_once_after_its_parent() -> None:
    tree = prefix_tree(
        [Subnet.compound(depths) for depths in [(2,) * 5, (2, 2, 3, 2, 2), (4,) * 5]]
    )
    order = []

    def run(node: Node, x: torch.Tensor) -> torch.Tensor:
        order.append(node.number)
        return x + 1

    leaves = dict(walk(tree.root, torch.zeros(()), run))
    assert order == list(range(tree.num_nodes))
    depth = {leaf: len(path(subnet)) for leaf, subnet in enumerate(tree.subnets)}
    assert {leaf: int(value) for leaf, value in leaves.items()} == depth


def test_an_empty_tree_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one subnet"):
        prefix_tree([])
