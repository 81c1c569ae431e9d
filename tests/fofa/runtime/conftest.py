"""Networks with random weights and random BatchNorm statistics, as if trained."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from fofa.space import parse_subnet
from fofa.supernet.config import SupernetConfig
from fofa.supernet.model import Supernet
from fofa.supernet.network import PlainNetwork


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Every test here."""


@pytest.fixture(scope="session")
def make_network() -> Callable[[str], PlainNetwork]:
    """The network of a subnet such as `23432`, extracted from a small elastic supernet."""
    torch.manual_seed(0)
    elastic = {"kind": "elastic", "max_kernels": (7,) * 5, "kernel_mode": "centre"}
    config = SupernetConfig(**elastic, width_mult=0.25, num_classes=10)
    supernet = Supernet(config).eval()

    def make(name: str) -> PlainNetwork:
        network = supernet.extract(parse_subnet(name)).eval()
        with torch.no_grad():
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    for values in (module.weight, module.running_var):
                        nn.init.uniform_(values, 0.5, 1.5)
                    for values in (module.bias, module.running_mean):
                        nn.init.normal_(values, 0.0, 0.2)
        return network

    return make


@pytest.fixture(scope="session")
def network(make_network: Callable[[str], PlainNetwork]) -> PlainNetwork:
    return make_network("23432")
