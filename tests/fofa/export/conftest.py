"""A tiny run on `shapes`, whose every number shows in its logits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from fofa.accuracy import TrainingRecord
from fofa.data import DataSource, open_data
from fofa.evaluate.calibrate import calibrate
from fofa.runs import RECORD_NAME, WEIGHTS_NAME, Run, RunRecord
from fofa.space import Architecture, parse_architecture
from fofa.supernet.config import SupernetConfig
from fofa.supernet.model import Supernet
from fofa.supernet.plain import PlainNetwork
from fofa.supernet.weights import load_supernet, save_weights


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shapes() -> DataSource:
    return open_data("shapes")


@pytest.fixture(scope="session")
def run(shapes: DataSource, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run folder with random weights and norms, so that classes differ."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    folder.mkdir()
    torch.manual_seed(0)
    config = SupernetConfig(width_mult=0.25, num_classes=len(shapes.class_names))
    supernet = Supernet(config)
    with torch.no_grad():
        for parameter in supernet.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    save_weights(supernet, folder / WEIGHTS_NAME)
    RunRecord(
        recipe="fofa-n3",
        preset="shapes",
        dataset="shapes",
        data_spec="shapes",
        class_names=list(shapes.class_names),
        mean=shapes.mean,
        std=shapes.std,
        supernet=config,
        resolutions=[24, 32],
        training=TrainingRecord(epochs=0, gpu_hours=0, device="none", images_per_second=0, seed=0),
        status="finished",
        step=0,
    ).write(folder / RECORD_NAME)
    return Run.open(folder)


@pytest.fixture(scope="session")
def architecture() -> Architecture:
    return parse_architecture("23432@32")


@pytest.fixture(scope="session")
def network(run: Run, shapes: DataSource, architecture: Architecture) -> PlainNetwork:
    """The architecture's plain network, calibrated on 64 images."""
    return calibrate(load_supernet(run), architecture, shapes.calibration_batches(32, 64, 32))
