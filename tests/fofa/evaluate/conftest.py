"""A tiny supernet, made-up images in memory, and a run folder around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from fofa.data import Batch, DataSource, TrainOrder
from fofa.runs import Run
from fofa.supernet.config import SupernetConfig
from fofa.supernet.model import Supernet

CONFIG = SupernetConfig(width_mult=0.25, num_classes=6)


class NoiseData(DataSource):
    """Seeded noise with labels; the last batch of each pass is smaller than the others."""

    name = "noise"
    spec = "noise"
    class_names = tuple("abcdef")
    mean = std = (0.5, 0.5, 0.5)
    num_train, num_test = 40, 30

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self.dtype = dtype

    def _images(self, seed: int, count: int, resolution: int, size: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(seed)
        shape = (count, 3, resolution, resolution)
        images = torch.randn(shape, generator=generator, dtype=torch.float64).to(self.dtype)
        labels = torch.randint(6, (count,), generator=generator)
        images += labels.view(-1, 1, 1, 1) / 3
        return zip(images.split(size), labels.split(size), strict=True)

    def train_batches(
        self, order: TrainOrder, steps: range, resolution_of: Callable[[int], int]
    ) -> Iterator[Batch]:
        for step in steps:
            yield from self._images(step, 4, resolution_of(step), 4)

    def calibration_batches(
        self, resolution: int, num_images: int, batch_size: int, seed: int = 0
    ) -> Iterator[Batch]:
        yield from self._images(seed, min(num_images, 40), resolution, batch_size)

    def test_batches(
        self, resolution: int, batch_size: int, limit: int | None = None
    ) -> Iterator[Batch]:
        yield from self._images(1, min(limit or 30, 30), resolution, batch_size)


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Every test here."""


def tiny_supernet(dtype: torch.dtype = torch.float32) -> Supernet:
    """A supernet with random norms, so that every statistic shows in the logits."""
    torch.manual_seed(4)
    supernet = Supernet(CONFIG).to(dtype).eval()
    with torch.no_grad():
        for parameter in supernet.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
            else:
                parameter.mul_(2.0)
    return supernet


@pytest.fixture
def supernet() -> Supernet:
    return tiny_supernet()


@pytest.fixture
def noise() -> NoiseData:
    return NoiseData()


@pytest.fixture
def run(make_run, tmp_path: Path, supernet: Supernet) -> Run:
    """A run folder of the tiny supernet."""
    return make_run(
        tmp_path / "run",
        supernet,
        preset=None,
        dataset="noise",
        data_spec="noise",
        class_names=list(NoiseData.class_names),
        mean=NoiseData.mean,
        std=NoiseData.std,
    )
