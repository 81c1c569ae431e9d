"""Pretrained batch normalisation takes the statistics of other images, and keeps its function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
import torch
from tiny_runs import make_run
from torch import nn

from fofa.data import Batch, DataSource, open_data
from fofa.distributed import find_place
from fofa.recalibration import calibrate
from fofa.runs import PRETRAINED, Run
from fofa.space import Architecture
from fofa.supernet.config import SupernetConfig
from fofa.supernet.model import Supernet
from fofa.train.norms import take_statistics
from fofa.train.settings import TrainSettings

SIDE = 24

Start = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def data() -> DataSource:
    """Few enough images to be one batch."""
    return open_data("shapes", train_fraction=0.02)


@pytest.fixture
def pretrained() -> Supernet:
    """In float64, made with statistics that are nothing like those of the drawn shapes."""
    torch.manual_seed(0)
    supernet = Supernet(SupernetConfig(width_mult=0.25, num_classes=10)).double()
    for layer in supernet.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.running_mean, layer.bias.data):
                tensor.normal_(0, 0.3)
            for tensor in (layer.running_var, layer.weight.data):
                tensor.uniform_(0.3, 3)
    return supernet


@pytest.mark.parametrize(("recipe", "is_taken"), [(PRETRAINED, True), ("imported", False)])
def test_a_run_from_a_published_network_begins_with_it(
    start: Start, tmp_path: Path, pretrained: Supernet, recipe: str, is_taken: bool
) -> None:
    """A supernet's statistics are of no network that there was."""
    others = [*"abcdefghij"]
    begun = make_run(tmp_path / "begun", pretrained.float(), recipe=recipe, class_names=others)
    assert start(init=begun.folder, learning_rate=1e-9)[0] == 0
    ours = Run.open(tmp_path / "run").load_supernet()
    changed = (ours.stem.bn.weight - pretrained.stem.bn.weight).abs().max() > 0.01
    assert changed == is_taken


@pytest.mark.parametrize(("recipe", "rate"), [(PRETRAINED, 0.5), ("fofa-n3", 0.2)])
def test_subnets_that_nobody_trained_learn_faster(
    start: Start, tmp_path: Path, recipe: str, rate: float
) -> None:
    begun = make_run(tmp_path / "begun", recipe=recipe)
    assert start(init=begun.folder)[0] == 0
    settings = TrainSettings.of_run(tmp_path / "run")
    assert settings is not None
    assert settings.learning_rate == rate


class Doubles:
    """A source whose images are float64."""

    def __init__(self, data: DataSource) -> None:
        self.data = data

    def calibration_batches(self, *args: int) -> Iterator[Batch]:
        return ((x.double(), y) for x, y in self.data.calibration_batches(*args))


def test_the_largest_computes_with_the_images_own_statistics_what_it_did_before(
    data: DataSource, pretrained: Supernet
) -> None:
    doubles = cast(DataSource, Doubles(data))
    largest = Architecture(pretrained.largest, SIDE)
    images = torch.cat([x for x, _ in doubles.calibration_batches(SIDE, 99, 99)])
    with torch.no_grad():
        wanted = pretrained.eval()(images, [largest.subnet])[0]
        before = calibrate(pretrained, largest, [(images, images)])(images)
    take_statistics(pretrained.train(), doubles, SIDE, find_place("cpu"))
    assert pretrained.training
    with torch.no_grad():
        same = pretrained.eval()(images, [largest.subnet])[0]
        after = calibrate(pretrained, largest, [(images, images)])(images)
    assert torch.allclose(same, wanted, atol=1e-9)
    assert torch.allclose(after, wanted, atol=1e-9)
    assert not torch.allclose(before, wanted, atol=0.1)
