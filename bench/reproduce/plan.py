"""What a study consists of: runs to train, tables to evaluate, and how far each has got.

Nothing is kept beside the products themselves: a step is done when its product is whole and was
made with the same settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from fofa.accuracy import AccuracyTable, Pace
from fofa.errors import UserError
from fofa.presets import Preset, get_preset
from fofa.recipes import RECIPES
from fofa.runs import RECORD_NAME, RunRecord

TEST_IMAGES = {"cifar10": 10_000, "imagenet": 50_000, "shapes": 1_000}
"""Size of the test sets that are known; tells a whole evaluation from one with a limit."""


class PassedOn(BaseModel):
    """Options of `fofa-reproduce` that a step's command takes, under the same name.

    Built from everything that `fofa-reproduce` was given; what is not a field is another step's.
    None leaves an option out, so that the preset's value or the command's default counts.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    device: str = "auto"

    def words(self) -> list[str]:
        """The options that have a value, as words of a command line; a flag comes last."""
        words, flags = [], []
        for name, value in self:
            option = "--" + name.replace("_", "-")
            if value is True:
                flags.append(option)
            elif value is not None and value is not False:
                words += [option, str(value)]
        return words + flags


class TrainOptions(PassedOn):
    """What `fofa-train` is given beside recipe, preset, folder and seed."""

    data: str | None = None
    download: bool = False
    epoch_scale: float | None = None
    train_fraction: float | None = None
    batch_size: int | None = None
    threads: int | None = None

    def settings(self, preset: Preset, budget: float | None) -> dict[str, object]:
        """The settings that a run made with these options and `preset` has.

        The length of a run with a `budget` is found on the machine where it begins.
        """
        names = ["data", "train_fraction", "batch_size"]
        if budget is None:
            names.append("epoch_scale")
        wanted = {name: getattr(self, name) or getattr(preset, name) for name in names}
        return {"budget_hours": budget, **wanted}


class EvaluateOptions(PassedOn):
    """What `fofa-eval` is given beside the run and the table."""

    limit: int | None = None
    calibration_images: int | None = None


@dataclass(frozen=True, slots=True)
class PaceTable:
    """An accuracy table whose training went at `pace`, for `hours` of a `budget`, with `seed`."""

    path: Path
    pace: Pace
    hours: float
    budget: float | None
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What was asked for; without `budgets`, runs are as long as their epochs.

    `paces`: the tables at whose pace budgets may count (`fofa-train --pace`).
    """

    preset: Preset
    recipes: tuple[str, ...]
    seeds: tuple[int, ...]
    budgets: tuple[float, ...] = ()
    paces: tuple[PaceTable, ...] = ()
    runs: Path
    out: Path
    train: TrainOptions = field(default_factory=TrainOptions)
    evaluate: EvaluateOptions = field(default_factory=EvaluateOptions)

    def jobs(self) -> Iterator[Job]:
        """One job per recipe, budget and seed.

        A second seed comes after the first of every recipe, and small budgets before large ones.
        """
        for seed in self.seeds:
            for budget in self.budgets or (None,):
                for recipe in self.recipes:
                    yield Job(self, recipe, seed, budget)


@dataclass(frozen=True, slots=True)
class Job:
    """One supernet: its run folder and its accuracy table."""

    study: Study
    recipe: str
    seed: int
    budget: float | None = None

    @property
    def name(self) -> str:
        """The recipe, with the budget in hours where there is one and the seed where it is not 0.

        Such as `fofa-n3-0.2h-seed1`.
        """
        budget = "" if self.budget is None else f"-{self.budget:g}h"
        seed = "" if self.seed == 0 else f"-seed{self.seed}"
        return f"{self.recipe}{budget}{seed}"

    @property
    def run(self) -> Path:
        """The run folder; presets do not share one."""
        return self.study.runs / self.study.preset.name / self.name

    @property
    def table(self) -> Path:
        """The accuracy table, where `fofa-bench` looks for it."""
        return self.study.out / "accuracy" / f"{self.name}.json"

    @property
    def pace(self) -> PaceTable | None:
        """The accuracy table at whose pace the budget counts: of the same budget, or the longest.

        Raises:
            UserError: if the study has tables of a pace, but none of this recipe and preset.
        """
        paces, preset = self.study.paces, self.study.preset.name
        if not paces:
            return None
        known = [p for p in paces if (p.pace.recipe, p.pace.preset) == (self.recipe, preset)]
        if not known:
            raise UserError(
                f"{paces[0].path.parent}: no accuracy table of {self.recipe} with preset {preset}"
            )
        return max(known, key=lambda p: (p.budget == self.budget, p.hours, -p.seed))

    def train_arguments(self) -> list[str]:
        """Arguments of `fofa-train`."""
        pace = self.pace
        return [
            *("--recipe", self.recipe, "--preset", self.study.preset.name),
            *("--out", str(self.run), "--seed", str(self.seed)),
            *(() if self.budget is None else ("--budget", f"{self.budget:g}")),
            *(() if pace is None else ("--pace", str(pace.path))),
            *self.study.train.words(),
        ]

    def evaluate_arguments(self) -> list[str]:
        """Arguments of `fofa-eval`, which keeps outcomes: recipes are compared image by image."""
        asked = self.study.evaluate.words()
        return [str(self.run), "--out", str(self.table), *asked, "--outcomes"]


@dataclass(frozen=True, slots=True)
class JobState:
    """How far a job has got, and a word on each step for people."""

    trained: bool
    evaluated: bool
    training: str
    evaluation: str


def state_of(job: Job) -> JobState:
    """Look at the job's products.

    Raises:
        UserError: if a product is there and damaged.
    """
    record = _record(job)
    if record is None:
        return JobState(False, False, "to do", _replacing(job))
    difference = _difference(job)
    if difference is not None:
        return JobState(False, False, f"other settings: {difference}", _replacing(job))
    if record.status == "running":
        return JobState(False, False, f"stopped at step {record.step}", _replacing(job))
    hours, unit = record.training.spent
    trained = f"done, {hours:.3g} {unit}"
    table = AccuracyTable.read(job.table) if job.table.is_file() else None
    if (
        table is None
        or not _is_of_run(table, record)
        or not _is_as_asked(table, job.study.evaluate)
    ):
        return JobState(True, False, trained, _replacing(job))
    return JobState(True, True, trained, f"done, mean top-1 {table.mean_top1:.2f}%")


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
    wanted = {"recipe": job.recipe, "preset": study.preset.name, "seed": job.seed}
    wanted |= study.train.settings(study.preset, job.budget)
    pace = job.pace
    wanted["pace"] = None if pace is None else pace.pace
    for name, value in wanted.items():
        if getattr(found, name) != value:
            return f"{name} is {getattr(found, name)} there and {value} here"
    return None


def _is_of_run(table: AccuracyTable, record: RunRecord) -> bool:
    """Whether the table is a whole evaluation of just this training."""
    expected = record.supernet.family.num_compound * len(record.resolutions)
    return (
        table.recipe == record.recipe
        and table.training == record.training
        and table.preset == record.preset
        and sorted(table.space.resolutions) == sorted(record.resolutions)
        and len(table.architectures) == expected
    )


def _is_as_asked(table: AccuracyTable, asked: EvaluateOptions) -> bool:
    """Whether the table is of as many images as were asked for."""
    found = table.evaluation
    whole = TEST_IMAGES.get(table.dataset, found.test_images)
    tests = whole if asked.limit is None else min(asked.limit, whole)
    calibration = asked.calibration_images or found.calibration_images
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


def parse_budgets(text: str | None) -> tuple[float, ...]:
    """Hours separated by commas, ascending, each once; none for None.

    Raises:
        UserError: if one is not a number above 0.
    """
    if text is None:
        return ()
    try:
        hours = [float(part) for part in text.split(",")]
    except ValueError:
        hours = []
    if not hours or not all(0 < number < float("inf") for number in hours):
        raise UserError(f"budgets {text!r}: expected hours such as 0.1,0.2,0.4")
    return tuple(sorted(set(hours)))


def read_paces(folder: Path) -> tuple[PaceTable, ...]:
    """The paces of the accuracy tables of a folder, of one for each training.

    Raises:
        UserError: if there is none, or one does not say what its training cost.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        table = AccuracyTable.read(path)
        if table.dtype != "int8":  # which is of the same training as another
            training = table.training
            hours, _ = training.spent
            found.append(PaceTable(path, table.pace, hours, training.budget_hours, training.seed))
    if not found:
        raise UserError(f"{folder}: no accuracy table there, at whose pace to train")
    return tuple(found)


def checked_preset(name: str, data: str | None) -> Preset:
    """The preset called `name`, which has data of its own or is given some.

    Raises:
        UserError: if there is no such preset, or no data.
    """
    preset = get_preset(name)
    if data is None and preset.data is None:
        raise UserError(f"preset {name} has no data of its own; name it with --data")
    return preset
