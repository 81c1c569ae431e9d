"""Sorting moves the important channels first and changes no function that was trained."""

import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fofa.space import BlockChoice, Subnet, sample_elastic
from fofa.supernet.channel_sorting import sort_channels
from fofa.supernet.model import Supernet

MakeSupernet = Callable[..., Supernet]


def prepared(make_supernet: MakeSupernet, mode: str, images: Tensor) -> Supernet:
    """A supernet whose running statistics differ from channel to channel."""
    supernet = make_supernet(mode).train()
    for _ in range(2):
        supernet(images, [supernet.largest])
    return supernet.eval()


def narrow(subnet: Subnet, expand: int) -> Subnet:
    return Subnet(tuple(tuple(BlockChoice(b.kernel, expand) for b in s) for s in subnet.stages))


@pytest.mark.parametrize("mode", ["fixed", "centre", "transform"])
def test_the_largest_subnet_computes_the_same(
    make_supernet: MakeSupernet, images: Tensor, mode: str
) -> None:
    supernet = prepared(make_supernet, mode, images)
    before = supernet(images, [supernet.largest])[0]
    narrower = supernet(images, [narrow(supernet.largest, 3)])[0]
    sort_channels(supernet)
    torch.testing.assert_close(supernet(images, [supernet.largest])[0], before, rtol=0, atol=1e-9)
    assert not torch.allclose(supernet(images, [narrow(supernet.largest, 3)])[0], narrower)


def test_every_full_width_subnet_computes_the_same(
    make_supernet: MakeSupernet, images: Tensor
) -> None:
    supernet = prepared(make_supernet, "transform", images)
    subnets = [sample_elastic(random.Random(seed), expands=(6,)) for seed in range(4)]
    before = supernet(images, subnets)
    sort_channels(supernet)
    for one, other in zip(supernet(images, subnets), before, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_channels_fall_in_importance(make_supernet: MakeSupernet, images: Tensor) -> None:
    supernet = prepared(make_supernet, "fixed", images)
    sort_channels(supernet)
    for stage in range(1, 6):
        for index in range(4):
            importance = supernet.block(stage, index).project.weight.abs().sum((0, 2, 3))
            assert (importance.diff() <= 0).all()


def test_trained_widths_keep_their_function(make_supernet: MakeSupernet, images: Tensor) -> None:
    supernet = prepared(make_supernet, "transform", images)
    subnets = [narrow(supernet.largest, expand) for expand in (3, 4, 6)]
    before = supernet(images, subnets)
    sort_channels(supernet, trained_expands=(4,))
    after = supernet(images, subnets)
    torch.testing.assert_close(after[1], before[1], rtol=0, atol=1e-9)
    torch.testing.assert_close(after[2], before[2], rtol=0, atol=1e-9)
    assert not torch.allclose(after[0], before[0])


def test_sorting_twice_changes_nothing(make_supernet: MakeSupernet, images: Tensor) -> None:
    supernet = prepared(make_supernet, "fixed", images)
    sort_channels(supernet)
    state = {key: value.clone() for key, value in supernet.state_dict().items()}
    sort_channels(supernet)
    assert all(torch.equal(value, state[key]) for key, value in supernet.state_dict().items())
