"""A study over synthetic products: a command that writes what training and evaluation would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench.reproduce.carry_out import EVALUATE, TRAIN
from bench.reproduce.plan import Study
from fofa.accuracy import AccuracyTable
from fofa.presets import get_preset
from fofa.runs import RECORD_NAME, RunRecord
from fofa.supernet.config import SupernetConfig
from fofa.train.settings import SETTINGS_NAME, TrainSettings


@dataclass
class FakeCommands:
    """Stands in for the two programs; `failures` maps a call's number to its exit code."""

    make_accuracy: Callable[..., AccuracyTable]
    failures: dict[int, int] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, module: str, arguments: Sequence[str]) -> int:
        if module == TRAIN:
            options = dict(zip(arguments[::2], arguments[1::2], strict=True))
            folder = Path(options["--out"])
        else:
            assert module == EVALUATE
            folder = Path(arguments[0])
        self.calls.append((module.rpartition(".")[2], folder.name))
        code = self.failures.get(len(self.calls), 0)
        if module == TRAIN:
            self.train(folder, options, finished=code == 0)
        elif code == 0:
            self.evaluate(folder, Path(arguments[2]))
        return code

    def train(self, folder: Path, options: dict[str, str], *, finished: bool) -> None:
        preset = get_preset(options["--preset"])
        recipe, seed = options["--recipe"], int(options["--seed"])
        budget = float(options["--budget"]) if "--budget" in options else None
        epoch_scale = float(options.get("--epoch-scale", preset.epoch_scale))
        TrainSettings(
            recipe=recipe,
            preset=preset.name,
            data=preset.data or "",
            train_fraction=preset.train_fraction,
            resolutions=preset.resolutions,
            batch_size=preset.batch_size,
            epoch_scale=epoch_scale,
            budget_hours=budget,
            seed=seed,
        ).write(folder / SETTINGS_NAME)
        RunRecord(
            recipe=recipe,
            preset=preset.name,
            dataset="cifar10",
            data_spec=preset.data or "",
            class_names=["a", "b"],
            mean=(0.5, 0.5, 0.5),
            std=(0.2, 0.2, 0.2),
            supernet=SupernetConfig(num_classes=2),
            resolutions=list(preset.resolutions),
            training=self.make_accuracy(recipe, seed=seed).training.model_copy(
                update={"budget_hours": budget}
            ),
            status="finished" if finished else "running",
            step=7,
            proxy=preset.proxy,
        ).write(folder / RECORD_NAME)

    def evaluate(self, folder: Path, out: Path) -> None:
        record = RunRecord.read(folder / RECORD_NAME)
        table = self.make_accuracy(record.recipe, seed=record.training.seed)
        table.model_copy(update={"training": record.training}).write(out)


@pytest.fixture
def commands(make_accuracy: Callable[..., AccuracyTable]) -> FakeCommands:
    return FakeCommands(make_accuracy)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Two recipes, two seeds."""
    return Study(
        preset=get_preset("cifar10-small"),
        recipes=("ofa", "fofa-n3"),
        seeds=(0, 1),
        runs=tmp_path / "runs",
        out=tmp_path / "reports",
    )
