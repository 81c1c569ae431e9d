"""A tiny run on `shapes`, whose every number shows in its logits."""

from __future__ import annotations

import pytest
import torch

from fofa.data import DataSource, open_data
from fofa.recalibration import calibrate
from fofa.runs import Run
from fofa.space import Architecture, parse_architecture
from fofa.supernet.config import SupernetConfig
from fofa.supernet.model import Supernet
from fofa.supernet.network import PlainNetwork


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Every test here."""


@pytest.fixture(scope="session")
def shapes() -> DataSource:
    return open_data("shapes")


@pytest.fixture(scope="session")
def run(make_run, shapes: DataSource, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run folder with random weights and norms, so that classes differ."""
    torch.manual_seed(0)
    supernet = Supernet(SupernetConfig(width_mult=0.25, num_classes=len(shapes.class_names)))
    with torch.no_grad():
        for parameter in supernet.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return make_run(tmp_path_factory.mktemp("runs") / "tiny", supernet)


@pytest.fixture(scope="session")
def architecture() -> Architecture:
    return parse_architecture("23432@32")


@pytest.fixture(scope="session")
def network(run: Run, shapes: DataSource, architecture: Architecture) -> PlainNetwork:
    """The architecture's plain network, calibrated on 64 images."""
    return calibrate(run.load_supernet(), architecture, shapes.calibration_batches(32, 64, 32))
