"""Families as data: every number, name, block and weight follows from the description."""

from __future__ import annotations

import random

import pytest
import torch
from families import custom_family

from fofa.space import (
    EFFICIENTNET_LITE0,
    FAMILIES,
    MOBILENETV3,
    PROXYLESS,
    Architecture,
    Family,
    NetworkConfig,
    SearchSpace,
    Subnet,
    architecture_blocks,
    block_macs,
    compound_subnets,
    macs,
    params,
    parse_architecture,
)
from fofa.space.blocks import pad_sides
from fofa.space.encoding import compound_population, encode, encoding_of
from fofa.space.subnet import example_names
from fofa.supernet.network import PlainNetwork


@pytest.fixture(params=[*FAMILIES, "own-net"])
def family(request, tmp_path_factory) -> Family:
    if request.param in FAMILIES:
        return FAMILIES[request.param]
    return custom_family(tmp_path_factory.mktemp("family"))


def some_subnets(family: Family, num: int = 3) -> list[Subnet]:
    """The largest and smallest of both spaces, and some random ones."""
    rng, found = random.Random(0), []
    for kind in ("compound", "elastic"):
        space = SearchSpace(family=family, kind=kind)
        found += [space.largest, space.smallest]
        found += [space.sample_subnet(rng) for _ in range(num)]
    return found


def test_reference_values():
    largest = {f.name: Architecture(SearchSpace(family=f).largest, 224) for f in FAMILIES.values()}
    assert macs(largest["mobilenetv3"]) == 446_764_320
    assert params(largest["mobilenetv3"]) == 7_370_616
    smallest = Architecture(SearchSpace().smallest, 224)
    assert (macs(smallest), params(smallest)) == (124_326_864, 3_426_920)
    # As timm counts tf_efficientnet_lite0.
    assert params(largest["efficientnet-lite0"]) == 4_652_008


def test_digits_of_a_compound_name_are_depths_and_every_name_parses_back(family):
    names = [subnet.name for subnet in compound_subnets(family)]
    assert len(set(names)) == len(names) == family.num_compound
    depths = [tuple(map(int, name)) for name in names]
    assert depths == [subnet.depths for subnet in compound_subnets(family)]
    for subnet in some_subnets(family):
        architecture = Architecture(subnet, 96)
        assert parse_architecture(architecture.name, family) == architecture
    for name in example_names(family):
        assert parse_architecture(name, family).name == name


def test_the_same_name_of_another_family_is_another_subnet():
    stages = Subnet.compound((2, 2, 2, 2, 2, 1), PROXYLESS).stages
    assert Subnet(stages, PROXYLESS) != Subnet.compound((2,) * 5)
    other = SearchSpace(family=PROXYLESS)
    assert Subnet.compound((2,) * 5) not in other
    with pytest.raises(ValueError, match="subnet of mobilenetv3 in a network of proxyless"):
        architecture_blocks(
            Architecture(Subnet.compound((2,) * 5), 96), NetworkConfig(family=PROXYLESS)
        )


def test_unique_blocks_cover_every_subnet_and_no_more(family):
    config = NetworkConfig(family=family, num_classes=10)
    for kind in ("compound", "elastic"):
        space = SearchSpace(family=family, kind=kind, resolutions=(96,))
        blocks = space.unique_blocks(96, config)
        assert len(set(blocks)) == len(blocks)
        rng = random.Random(1)
        drawn = [space.sample_subnet(rng) for _ in range(200)]
        used = {b for s in drawn for b in architecture_blocks(Architecture(s, 96), config)}
        assert used == set(blocks)


@pytest.mark.parametrize("width", [0.35, 1.0])
def test_counts_are_those_of_the_modules(family, width):
    """Multiply-adds by hooks on real layers, on a map of odd side."""
    config = NetworkConfig(family=family, width_mult=width, num_classes=7)
    for subnet in some_subnets(family, 1):
        network = PlainNetwork(subnet, config).eval()
        assert params(subnet, config) == sum(p.numel() for p in network.parameters())
        counted = []

        def count(layer, inputs, output, counted=counted):
            if isinstance(layer, torch.nn.Conv2d):
                counted.append(layer.weight.numel() * output.shape[-1] * output.shape[-2])
            elif isinstance(layer, torch.nn.Linear):
                counted.append(layer.weight.numel())

        for layer in network.modules():
            layer.register_forward_hook(count)
        with torch.inference_mode():
            network(torch.zeros(1, 3, 49, 49))
        assert sum(counted) == macs(Architecture(subnet, 49), config)


def test_encoding_gives_subnets_back_and_compound_population_is_the_space(family):
    drawn = [Architecture(subnet, 96) for subnet in some_subnets(family)]
    population = encode(drawn, (96,), family)
    assert population.codes.shape == (len(drawn), encoding_of(family).num_slots)
    assert [population.architecture(row) for row in range(len(drawn))] == drawn
    compound = compound_population((64, 96), family)
    expected = list(SearchSpace(family=family, resolutions=(64, 96)).architectures())
    assert [compound.architecture(row) for row in range(len(compound))] == expected
    assert len(set(compound.keys().tolist())) == len(compound)


@pytest.mark.parametrize(
    ("size", "kernel", "pads"), [(8, 3, (0, 1)), (8, 5, (1, 2)), (9, 3, (1, 1)), (7, 5, (2, 2))]
)
def test_tensorflow_pads_by_the_size_at_stride_2(size, kernel, pads):
    assert pad_sides(size, kernel, 2, "tensorflow") == pads
    assert pad_sides(size, kernel, 1, "tensorflow") == (kernel // 2,) * 2
    assert pad_sides(size, kernel, 2, "symmetric") == (kernel // 2,) * 2


def test_the_width_multiplier_leaves_unscaled_parts_alone():
    half = NetworkConfig(family=EFFICIENTNET_LITE0, width_mult=0.5)
    assert (half.stem_channels, half.head_channels) == (32, 1280)
    assert half.stage_channels == (16, 24, 40, 56, 96, 160)
    assert NetworkConfig(width_mult=0.5).head_channels == 480


def test_the_compound_space_of_lite0_spans_a_factor_of_three():
    space = SearchSpace(family=EFFICIENTNET_LITE0)
    costs = [macs(Architecture(subnet, 224)) for subnet in compound_subnets(space.family)]
    assert len(costs) == 144
    assert max(costs) == macs(Architecture(space.largest, 224)) == 385_187_552
    assert min(costs) == macs(Architecture(space.smallest, 224))
    assert 3 < max(costs) / min(costs) < 4
    assert MOBILENETV3.num_compound == PROXYLESS.num_compound == 243


def test_a_head_without_mix_costs_none():
    config = NetworkConfig(family=PROXYLESS)
    head = architecture_blocks(Architecture(SearchSpace(family=PROXYLESS).largest, 224), config)[-1]
    assert block_macs(head) == 320 * 1280 * 7 * 7 + 1280 * 1000
