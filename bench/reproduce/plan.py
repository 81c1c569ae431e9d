"""What a study consists of: runs to train, tables to evaluate, and how far each has got.

Nothing is kept beside the products themselves: a step is done when its product is whole and was
made with the same settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fofa.accuracy import AccuracyTable
from fofa.errors import UserError
from fofa.presets import Preset, get_preset
from fofa.recipes import RECIPES
from fofa.runs import RECORD_NAME, RunRecord
from fofa.space import compound_subnets

TEST_IMAGES = {"cifar10": 10_000, "imagenet": 50_000, "shapes": 1_000}
"""Size of the test sets that are known; tells a whole evaluation from one with a limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What was asked for; None means the preset's value, or that of `fofa-eval`."""

    preset: Preset
    recipes: tuple[str, ...]
    seeds: tuple[int, ...]
    runs: Path
    out: Path
    data: str | None = None
    epoch_scale: float | None = None
    train_fraction: float | None = None
    batch_size: int | None = None
    limit: int | None = None
    calibration_images: int | None = None
    device: str = "auto"
    threads: int | None = None
    download: bool = False

    def jobs(self) -> Iterator[Job]:
        """One job per recipe and seed; a second seed comes after the first of every recipe."""
        for seed in self.seeds:
            for recipe in self.recipes:
                yield Job(self, recipe, seed)


@dataclass(frozen=True, slots=True)
class Job:
    """One supernet: its run folder and its accuracy table."""

    study: Study
    recipe: str
    seed: int

    @property
    def name(self) -> str:
        """The recipe, with the seed where it is not 0."""
        return self.recipe if self.seed == 0 else f"{self.recipe}-seed{self.seed}"

    @property
    def run(self) -> Path:
        """The run folder; presets do not share one."""
        return self.study.runs / self.study.preset.name / self.name

    @property
    def table(self) -> Path:
        """The accuracy table, where `fofa-bench` looks for it."""
        return self.study.out / "accuracy" / f"{self.name}.json"

    def train_arguments(self) -> list[str]:
        """Arguments of `fofa-train`."""
        study = self.study
        options: dict[str, object] = {
            "--recipe": self.recipe,
            "--preset": study.preset.name,
            "--out": self.run,
            "--seed": self.seed,
            "--data": study.data,
            "--epoch-scale": study.epoch_scale,
            "--train-fraction": study.train_fraction,
            "--batch-size": study.batch_size,
            "--device": study.device,
            "--threads": study.threads,
        }
        return [*_given(options), "--download"] if study.download else _given(options)

    def evaluate_arguments(self) -> list[str]:
        """Arguments of `fofa-eval`."""
        options: dict[str, object] = {
            "--out": self.table,
            "--device": self.study.device,
            "--limit": self.study.limit,
            "--calibration-images": self.study.calibration_images,
        }
        return [str(self.run), *_given(options)]


def _given(options: dict[str, object]) -> list[str]:
    """The options that have a value, as words of a command line."""
    return [str(part) for item in options.items() if item[1] is not None for part in item]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job has got, and a word on each step for people."""

    trained: bool
    evaluated: bool
    training: str
    evaluation: str


def progress_of(job: Job) -> Progress:
    """Look at the job's products.

    Raises:
        UserError: if a product is there and damaged.
    """
    record = _record(job)
    if record is None:
        return Progress(False, False, "to do", _replacing(job))
    difference = _difference(job)
    if difference is not None:
        return Progress(False, False, f"other settings: {difference}", _replacing(job))
    if record.status == "running":
        return Progress(False, False, f"stopped at step {record.step}", _replacing(job))
    hours = record.training.gpu_hours or record.training.core_hours or 0.0
    unit = "GPU-hours" if record.training.gpu_hours else "core-hours"
    trained = f"done, {hours:.3g} {unit}"
    table = AccuracyTable.read(job.table) if job.table.is_file() else None
    if table is None or not _is_of_run(table, record) or not _is_as_asked(table, job.study):
        return Progress(True, False, trained, _replacing(job))
    return Progress(True, True, trained, f"done, mean top-1 {table.mean_top1:.2f}%")


def _record(job: Job) -> RunRecord | None:
    path = job.run / RECORD_NAME
    return RunRecord.read(path) if path.is_file() else None


def _difference(job: Job) -> str | None:
    """What of the run's settings is not what the study asks for."""
    from fofa.train.settings import SETTINGS_NAME, TrainSettings

    path = job.run / SETTINGS_NAME
    if not path.is_file():
        return "its settings are not recorded"
    study, found = job.study, TrainSettings.read(path)
    wanted = {
        "recipe": job.recipe,
        "preset": study.preset.name,
        "seed": job.seed,
        "data": study.data or study.preset.data,
        "epoch_scale": study.epoch_scale or study.preset.epoch_scale,
        "train_fraction": study.train_fraction or study.preset.train_fraction,
        "batch_size": study.batch_size or study.preset.batch_size,
    }
    for name, value in wanted.items():
        if getattr(found, name) != value:
            return f"{name} is {getattr(found, name)} there and {value} here"
    return None


def _is_of_run(table: AccuracyTable, record: RunRecord) -> bool:
    """Whether the table is a whole evaluation of just this training."""
    expected = len(list(compound_subnets())) * len(record.resolutions)
    return (
        table.recipe == record.recipe
        and table.training == record.training
        and table.preset == record.preset
        and sorted(table.space.resolutions) == sorted(record.resolutions)
        and len(table.architectures) == expected
    )


def _is_as_asked(table: AccuracyTable, study: Study) -> bool:
    """Whether the table is of as many images as the study asks for."""
    found = table.evaluation
    whole = TEST_IMAGES.get(table.dataset, found.test_images)
    tests = whole if study.limit is None else min(study.limit, whole)
    calibration = study.calibration_images or found.calibration_images
    return found.test_images == tests and found.calibration_images == calibration


def _replacing(job: Job) -> str:
    return f"to do, replaces {job.table}" if job.table.is_file() else "to do"


def parse_recipes(text: str | None) -> tuple[str, ...]:
    """The recipes in `text`, in the order of the project; all of them for None.

    Raises:
        UserError: if one is not known.
    """
    if text is None:
        return tuple(RECIPES)
    wanted = {part.strip() for part in text.split(",") if part.strip()}
    unknown = sorted(wanted - set(RECIPES))
    if unknown or not wanted:
        raise UserError(f"recipes {text!r}: expected some of {', '.join(RECIPES)}")
    return tuple(recipe for recipe in RECIPES if recipe in wanted)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Whole numbers separated by commas, each once, in the order given.

    Raises:
        UserError: if it is something else.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise UserError(f"seeds {text!r}: expected whole numbers such as 0,1")
    return tuple(dict.fromkeys(int(part) for part in parts))


def checked_preset(name: str, data: str | None) -> Preset:
    """The preset called `name`, which has data of its own or is given some.

    Raises:
        UserError: if there is no such preset, or no data.
    """
    preset = get_preset(name)
    if data is None and preset.data is None:
        raise UserError(f"preset {name} has no data of its own; name it with --data")
    return preset
