"""Tiny supernets in float64, so that equality means equality."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from fofa.supernet.config import SupernetConfig
from fofa.supernet.model import Supernet

MakeSupernet = Callable[..., Supernet]

KINDS = {
    "fixed": SupernetConfig(width_mult=0.25, num_classes=7, dropout=0),
    "centre": SupernetConfig(
        width_mult=0.25, num_classes=7, dropout=0, max_kernels=(7,) * 5, kernel_mode="centre"
    ),
    "transform": SupernetConfig(
        kind="elastic",
        width_mult=0.25,
        num_classes=7,
        dropout=0,
        max_kernels=(7,) * 5,
        kernel_mode="transform",
    ),
}


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Every test here."""


@pytest.fixture
def make_supernet() -> MakeSupernet:
    """A factory of seeded float64 supernets by kernel mode, no parameter exactly 0 or 1."""

    def make(mode: str = "fixed", **changes: object) -> Supernet:
        torch.manual_seed(3)
        supernet = Supernet(KINDS[mode].model_copy(update=changes)).double()
        with torch.no_grad():
            for parameter in supernet.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        return supernet

    return make


@pytest.fixture
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(3, 3, 24, 24, dtype=torch.float64, generator=generator)
