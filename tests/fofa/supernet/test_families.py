"""Supernets of every family: sharing is exact, slices are the extracted networks."""

from __future__ import annotations

import random

import pytest
import torch
from families import custom_family

from fofa.errors import UserError
from fofa.space import FAMILIES, PROXYLESS, Family, SearchSpace, Subnet
from fofa.supernet.config import SupernetConfig
from fofa.supernet.model import Supernet
from fofa.supernet.weights import fresh_supernet


@pytest.fixture(params=[*FAMILIES, "own-net"])
def family(request, tmp_path_factory) -> Family:
    if request.param in FAMILIES:
        return FAMILIES[request.param]
    return custom_family(tmp_path_factory.mktemp("family"))


def make(family: Family, mode: str) -> Supernet:
    fields = {"kind": "compound"}
    if mode != "fixed":
        kernels = (family.kernels[-1],) * len(family.stages)
        kind = "elastic" if mode == "transform" else "compound"
        fields = {"kind": kind, "max_kernels": kernels, "kernel_mode": mode}
    config = SupernetConfig(family=family, width_mult=0.25, num_classes=5, dropout=0, **fields)
    return fresh_supernet(config, seed=1).double()


def gradients(supernet: Supernet, losses) -> dict[str, torch.Tensor]:
    supernet.zero_grad()
    for loss in losses():
        loss.backward()
    return {n: p.grad.clone() for n, p in supernet.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("mode", ["fixed", "centre", "transform"])
def test_the_prefix_tree_is_one_subnet_after_the_other(family: Family, mode: str) -> None:
    supernet = make(family, mode).train()
    space, rng = supernet.config.space((33,)), random.Random(2)
    subnets = [space.largest, space.smallest, *(space.sample_subnet(rng) for _ in range(2))]
    images = torch.randn(4, 3, 33, 33, dtype=torch.float64)
    together = gradients(
        supernet, lambda: [sum(x.square().sum() for x in supernet(images, subnets))]
    )
    apart = gradients(supernet, lambda: [supernet(images, [s])[0].square().sum() for s in subnets])
    assert together.keys() == apart.keys()
    for name, gradient in together.items():
        torch.testing.assert_close(gradient, apart[name], rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("mode", ["fixed", "transform"])
@pytest.mark.parametrize("side", [32, 33, 50])
def test_extracted_networks_compute_the_same(family: Family, mode: str, side: int) -> None:
    supernet = make(family, mode).eval()
    space = supernet.config.space((side,))
    images = torch.randn(2, 3, side, side, dtype=torch.float64)
    for subnet in (space.largest, space.smallest, space.sample_subnet(random.Random(3))):
        plain = supernet.extract(subnet)
        assert plain.stem.bn.eps == family.norm_eps
        for layout in (torch.contiguous_format, torch.channels_last):
            x = images.contiguous(memory_format=layout)
            torch.testing.assert_close(plain(x), supernet(x, [subnet])[0], rtol=0, atol=1e-9)


def test_a_subnet_of_another_family_is_refused() -> None:
    supernet = make(PROXYLESS, "fixed")
    with pytest.raises(UserError, match="is of mobilenetv3, this supernet of proxyless"):
        supernet(torch.zeros(1, 3, 32, 32), [SearchSpace().largest])


def test_an_expand_ratio_beyond_the_shared_weights_is_refused(tmp_path) -> None:
    family = custom_family(tmp_path)
    supernet = make(family, "centre")
    wide = Subnet.largest(family, "elastic")  # the second stage's compound pairs end at 3
    with pytest.raises(UserError, match="stage 2 has expand ratio 4, but this supernet has 3"):
        supernet.check(wide)


def test_a_supernet_has_as_many_kernels_as_stages() -> None:
    with pytest.raises(ValueError, match="one for each stage of proxyless"):
        SupernetConfig(family=PROXYLESS, max_kernels=(3,) * 5)
