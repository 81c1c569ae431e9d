"""Enumeration, membership and reproducible sampling of the two spaces."""

import random
from collections import Counter

import pytest

from fofa.errors import UserError
from fofa.space import (
    Architecture,
    NetworkConfig,
    SearchSpace,
    architecture_blocks,
    macs,
    params,
    sample_compound,
    sample_elastic,
)


def test_compound_space_has_972_architectures() -> None:
    space = SearchSpace()
    everything = list(space.architectures())
    assert len(everything) == len(set(everything)) == 972
    assert all(architecture in space for architecture in everything)
    largest = max(everything, key=macs)
    assert (largest.subnet, largest.resolution) == (space.largest, 224)
    assert min(everything, key=macs).subnet == space.smallest


@pytest.mark.parametrize(("kind", "count"), [("compound", 33), ("elastic", 93)])
def test_unique_blocks_cover_every_subnet(kind: str, count: int) -> None:
    config, rng = NetworkConfig(num_classes=10), random.Random(3)
    space = SearchSpace(kind=kind, resolutions=(96,))  # type: ignore[arg-type]
    blocks = space.unique_blocks(96, config)
    assert len(blocks) == len(set(blocks)) == count
    for _ in range(50):
        assert set(architecture_blocks(space.sample(rng), config)) <= set(blocks)


def test_a_draw_can_be_replayed() -> None:
    space = SearchSpace(kind="elastic")
    draws = [[space.sample(random.Random(seed)) for _ in range(3)] for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


def test_compound_draws_are_uniform() -> None:
    rng = random.Random(0)
    counts = Counter(sample_compound(rng).name for _ in range(243 * 40))
    assert len(counts) == 243
    assert max(counts.values()) < 3 * 40


def test_elastic_draws_can_be_narrowed() -> None:
    rng = random.Random(0)
    for _ in range(50):
        subnet = sample_elastic(rng, num_depths=2, expands=(6,), kernels=(3, 7))
        blocks = [block for stage in subnet.stages for block in stage]
        assert set(subnet.depths) <= {3, 4}
        assert {block.expand for block in blocks} == {6}
        assert {block.kernel for block in blocks} <= {3, 7}


@pytest.mark.parametrize("resolutions", [(), (160, 160), (4,), (100_000,)])
def test_impossible_resolutions_are_refused(resolutions: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="resolutions"):
        SearchSpace(resolutions=resolutions)


def test_parameters_do_not_depend_on_resolution() -> None:
    subnet = sample_elastic(random.Random(0))
    small, large = (params(Architecture(subnet, size)) for size in (32, 224))
    assert small == large == params(subnet)
