"""Costs from the description alone: reference values, and how they behave."""

import itertools

import pytest

from fofa.space import (
    NetworkConfig,
    block_macs,
    compound_subnets,
    macs,
    network_blocks,
    params,
    parse_architecture,
    parse_subnet,
)


@pytest.mark.parametrize(
    ("name", "num_macs", "num_params"),
    [("44444@224", 446_764_320, 7_370_616), ("22222@224", 124_326_864, 3_426_920)],
)
def test_reference_values(name: str, num_macs: int, num_params: int) -> None:
    architecture = parse_architecture(name)
    assert macs(architecture) == num_macs
    assert params(architecture) == num_params


def test_cost_grows_with_every_depth_and_resolution() -> None:
    for subnet in compound_subnets():
        for stage in range(5):
            if subnet.depths[stage] == 4:
                continue
            deeper = list(subnet.depths)
            deeper[stage] += 1
            name = "".join(map(str, deeper))
            assert params(parse_subnet(name)) > params(subnet)
            assert macs(parse_architecture(f"{name}@128")) > macs(
                parse_architecture(f"{subnet.name}@128")
            )
    sizes = [macs(parse_architecture(f"23432@{size}")) for size in (32, 128, 160, 192, 224)]
    assert sizes == sorted(sizes)


def test_classes_and_width_change_only_what_they_should() -> None:
    subnet = parse_subnet("23432")
    few = params(subnet, NetworkConfig(num_classes=10))
    assert params(subnet) - few == 990 * 1281
    wide = NetworkConfig(width_mult=1.2)
    widths = [block.out_channels for block in network_blocks(subnet, 224, wide)]
    assert sorted(set(widths)) == [24, 32, 48, 96, 136, 192, 1536]


def test_blocks_chain() -> None:
    blocks = network_blocks(parse_subnet("34243"), 157, NetworkConfig(width_mult=0.35))
    for before, after in itertools.pairwise(blocks):
        assert before.out_size == after.in_size
        assert before.out_channels == after.in_channels
    assert all(block_macs(block) > 0 for block in blocks)


@pytest.mark.parametrize("fault", [{"width_mult": 0}, {"width_mult": -1.0}, {"num_classes": 1}])
def test_impossible_networks_are_refused(fault: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(fault))):
        NetworkConfig(**fault)  # type: ignore[arg-type]
