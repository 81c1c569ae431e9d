"""What a schedule reaches at a cost: `python -m benchmarks.ablations`.

The setting is that of the preset `cifar10-small` with 10,000 training images. Accuracy is that of
16 compound subnets at the largest image size on 2,000 *training* images that the run did not see:
the test images are kept for the final choice.

Processor time depends on what else the machine does, so a cost is a number of steps: those that
so many core-seconds buy when a step of each kind costs what it was once found to cost. What was
found stands in a file of its own and serves all schedules; a kind that it lacks is timed beside one
that it has. Every finished run appends one line of JSON to the results. Runs that have a line there
are not run again, and one that was stopped goes on.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.schedules import SCHEDULES
from fofa.commands.cli import make_app, run_app
from fofa.data import DataSource, open_data
from fofa.distributed import find_place
from fofa.errors import UserError
from fofa.files import read_json, write_text
from fofa.presets import get_preset
from fofa.recipes import Phase, Recipe, naive
from fofa.space import Architecture, Subnet, compound_subnets, macs
from fofa.train.budget import Budget, StoppedEarlyError, kind, time_steps
from fofa.train.launch import check_place
from fofa.train.settings import SETTINGS_NAME, RunOptions, TrainSettings
from fofa.train.setup import Setup
from fofa.train.stopping import INTERRUPTED, stop_signals
from fofa.train.trainer import Trainer
from fofa.train.validation import Validator

NUM_SUBNETS, CALIBRATION_IMAGES, HELD_OUT_IMAGES = 16, 500, 2000
TIMED_ROUNDS = 6
LARGEST, REFERENCE = naive().phases
"""The largest subnet alone; one random subnet a step, beside which other kinds are timed."""

Costs = dict[str, dict[str, float]]
"""Seconds of a step, by what it trains (`step_kind`) and by image size."""
ShouldStop = Callable[[], bool]

app = make_app("Train schedules at equal cost, and append what they reach to a file.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One line of the results, still to be found: a schedule, its cost and its seed."""

    schedule: str
    core_seconds: float
    seed: int

    @property
    def name(self) -> str:
        """Of the run folder."""
        return f"{self.schedule}-{self.core_seconds:g}s-seed{self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the results. `spent` is in core-seconds, top-1 in percent.

    `correlation` is that of multiply-adds and top-1.
    """

    schedule: str
    core_seconds: float
    seed: int
    steps: int
    spent: float
    mean: float
    largest: float
    smallest: float
    correlation: float
    top1: dict[str, float]

    def __str__(self) -> str:
        """A row of the table in docs/experiments.md."""
        cells = (self.schedule, f"{self.core_seconds:g}", str(self.seed), f"{self.steps:,}")
        found = (self.mean, self.largest, self.smallest)
        shown = [*cells, *(f"{value:.1f}" for value in found), f"{self.correlation:.2f}"]
        return f"| {' | '.join(shown)} |"


def row_of(done: Experiment, steps: int, spent: float, top1: dict[Subnet, float]) -> Row:
    """The line of a finished run, with what follows from the accuracy of its subnets."""
    size = {subnet: float(macs(Architecture(subnet, 224))) for subnet in top1}
    found = {subnet.name: round(top1[subnet], 2) for subnet in sorted(top1, key=size.__getitem__)}
    values = list(found.values())
    return Row(
        schedule=done.schedule,
        core_seconds=done.core_seconds,
        seed=done.seed,
        steps=steps,
        spent=round(spent, 1),
        mean=round(statistics.mean(values), 2),
        largest=values[-1],
        smallest=values[0],
        correlation=round(statistics.correlation(sorted(size.values()), values), 3),
        top1=found,
    )


def some_subnets() -> tuple[Subnet, ...]:
    """The smallest, the largest, and others drawn once and for all."""
    smallest, *others, largest = compound_subnets()
    return (smallest, *random.Random(0).sample(others, NUM_SUBNETS - 2), largest)


def step_kind(phase: Phase, recipe: Recipe) -> str:
    """What the cost of the steps of a recipe's phase depends on, beside the image size.

    Not on `largest_share`: what it adds follows from a step of the largest alone (`step_seconds`).
    """
    fixed = " and ".join(map(str, phase.anchors)) or "none"
    coupled = ", coupled" if phase.coupled else ""
    kernels = "" if recipe.kernel_mode == "fixed" else f", kernels {recipe.kernel_mode}"
    return f"{fixed} fixed, {phase.num_random} random, {phase.loss}{coupled}{kernels}"


def step_seconds(costs: Costs, phase: Phase, recipe: Recipe, size: int) -> float:
    """Core-seconds of a step of a recipe's `phase` at an image size."""
    drawn = costs[step_kind(phase, recipe)][str(size)]
    largest = phase.num_random * costs[step_kind(LARGEST, recipe)][str(size)]
    return (1 - phase.largest_share) * drawn + phase.largest_share * largest


def step_costs(
    file: Path,
    recipe: Recipe,
    prepare: Callable[[Recipe], Setup],
    random_step: float | None,
    should_stop: ShouldStop,
) -> Costs:
    """What the steps of a recipe cost: from `file`, and timed where it has no answer.

    Args:
        prepare: the setup of a recipe in the setting of the experiments.
        random_step: seconds of a step of `REFERENCE`, the mean over image sizes, where a quiet
            machine has told it before; timings are scaled to it.

    Raises:
        StoppedEarlyError: when `should_stop` says so.
        UserError: if the file is damaged or cannot be written.
    """
    known: Costs = read_json(file) if file.is_file() else {}
    if all(step_kind(phase, recipe) in known for phase in (LARGEST, *recipe.phases)):
        return known
    reference = step_kind(REFERENCE, naive())
    timed: Costs = {}
    if recipe.kernel_mode == naive().kernel_mode:
        timed = _timed(recipe, (LARGEST, REFERENCE, *recipe.phases), prepare, should_stop)
    else:
        for each in (naive(), recipe):
            timed |= _timed(each, (LARGEST, *each.phases), prepare, should_stop)
    found = statistics.mean(timed[reference].values())
    before = known.get(reference)
    due = statistics.mean(before.values()) if before else random_step or found
    for name, costs in timed.items():
        scaled = {size: due / found * seconds for size, seconds in costs.items()}
        known.setdefault(name, scaled)
    write_text(file, json.dumps(known, indent=1) + "\n")
    return known


def _timed(
    recipe: Recipe,
    phases: Sequence[Phase],
    prepare: Callable[[Recipe], Setup],
    should_stop: ShouldStop,
) -> Costs:
    """Seconds of a step of each phase in a recipe's supernet, all of them timed in turn."""
    kinds = {step_kind(phase, recipe): phase for phase in phases}
    alone = tuple(
        replace(phase, name=name, continues_rate=False, largest_share=0.0, max_steps=None)
        for name, phase in kinds.items()
    )
    setup, processes = prepare(replace(recipe, phases=alone)), find_place("cpu")
    seconds = time_steps(
        setup.learner(processes, RunOptions()),
        setup.data,
        setup.order,
        setup.plan,
        budget_seconds=float("inf"),
        processes=processes,
        clock=time.process_time,
        should_stop=should_stop,
        rounds=TIMED_ROUNDS,
    )
    costs: Costs = {name: {} for name in kinds}
    for name, value in seconds.items():
        phase, _, size = name.rpartition("@")
        costs[phase][size] = value
    return costs


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where schedules are tried: a preset, with other data."""

    preset: str
    data: str
    train_fraction: float
    width_mult: float = 1.0
    batch_size: int | None = None

    def setup(self, recipe: Recipe, seed: int) -> Setup:
        """Of a run at the recipe's own length."""
        preset = get_preset(self.preset)
        settings = TrainSettings(
            recipe=recipe.name,
            data=self.data,
            train_fraction=self.train_fraction,
            crop=preset.crop,
            width_mult=self.width_mult,
            resolutions=preset.resolutions,
            batch_size=self.batch_size or preset.batch_size,
            zero_init_residual=preset.zero_init_residual,
            seed=seed,
        )
        data = open_data(self.data, train_fraction=self.train_fraction, seed=seed)
        return Setup.of(settings, data, find_place("cpu"), recipe)


def train(
    wanted: Experiment, setup: Setup, costs: Costs, folder: Path, should_stop: ShouldStop
) -> tuple[Trainer, float] | None:
    """Train as many steps as the cost buys, or go on; with the core-seconds spent; None if stopped.

    Raises:
        UserError: if the cost is too small, or the folder holds another run.
    """
    seconds = {
        kind(phase, size): step_seconds(costs, phase.phase, setup.recipe, size)
        for phase in setup.plan.phases
        for size in setup.plan.resolutions
    }
    budget = Budget(seconds=wanted.core_seconds, step_seconds=seconds)
    scale = budget.epoch_scale(lambda scale: setup.with_epoch_scale(scale).plan, "core-hours")
    fitted = setup.with_epoch_scale(scale)
    check_place(folder, fitted.settings)
    folder.mkdir(parents=True, exist_ok=True)
    fitted.settings.write(folder / SETTINGS_NAME)
    options = RunOptions(trackers=(), validate_share=0)
    trainer = Trainer(fitted, folder, processes=find_place("cpu"), options=options)
    record = trainer.run(should_stop)
    spent = 3600 * (record.training.core_hours or 0.0)
    return (trainer, spent) if trainer.is_finished else None


def evaluate(trainer: Trainer, data: DataSource) -> dict[Subnet, float]:
    """Top-1 in percent of some subnets, at the largest image size, on images never trained on."""
    subnets = {subnet.name: subnet for subnet in some_subnets()}
    validator = Validator(
        data,
        subnets,
        max(trainer.plan.resolutions),
        1.0,
        calibration_images=CALIBRATION_IMAGES,
        validation_images=HELD_OUT_IMAGES,
    )
    found = validator.validate(trainer.learner.supernet)
    return {subnets[name]: top1 for name, top1 in found.top1.items()}


def read_rows(out: Path) -> list[Row]:
    """The results so far.

    Raises:
        UserError: if a line is not one of them.
    """
    rows = []
    for number, line in enumerate(out.read_text().splitlines() if out.is_file() else (), 1):
        try:
            rows.append(Row(**json.loads(line)))
        except (TypeError, ValueError):
            raise UserError(f"{out}: line {number} is not a row of results") from None
    return rows


@app.command()
def ablations(
    data: Annotated[str, typer.Option(help="Data, such as cifar10:DIR.")],
    runs: Annotated[Path, typer.Option(help="Folder for run folders and what steps cost.")],
    out: Annotated[Path, typer.Option(help="Results, one line of JSON a run.")],
    schedules: Annotated[
        str, typer.Option(help=f"Some of {', '.join(SCHEDULES)}, in the order to run them.")
    ] = ",".join(SCHEDULES),
    core_seconds: Annotated[
        str, typer.Option(help="What training may cost, such as 360,1440.")
    ] = "360",
    seeds: Annotated[str, typer.Option(help="Such as 0,1.")] = "0",
    random_step: Annotated[
        float | None,
        typer.Option(
            help="Core-seconds of a step of one random subnet here when nothing else runs, if "
            "known: what is timed is scaled to it."
        ),
    ] = None,
    preset: Annotated[str, typer.Option(help="Image sizes, batch and start.")] = "cifar10-small",
    train_fraction: Annotated[float, typer.Option(help="Share of the training images.")] = 0.2,
    width_mult: Annotated[float, typer.Option(help="Width multiplier.")] = 1.0,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="In place of the preset's; with --runs and --out of its own."),
    ] = None,
) -> None:
    """Run what has no line in the results yet; then print all of them as a table."""
    names = schedules.split(",")
    unknown = [name for name in names if name not in SCHEDULES]
    if unknown:
        raise UserError(f"schedules {schedules!r}: expected some of {', '.join(SCHEDULES)}")
    if not 0 < train_fraction < 1:
        raise UserError(f"train fraction {train_fraction:g}: some images must be left out")
    setting = Setting(
        preset=preset,
        data=data,
        train_fraction=train_fraction,
        width_mult=width_mult,
        batch_size=batch_size,
    )
    try:
        wanted = [
            Experiment(schedule=name, core_seconds=float(seconds), seed=int(seed))
            for seconds in core_seconds.split(",")
            for seed in seeds.split(",")
            for name in names
        ]
    except ValueError:
        raise UserError("--core-seconds and --seeds: expected numbers such as 360,1440") from None
    runs.mkdir(parents=True, exist_ok=True)
    with stop_signals() as should_stop:
        for experiment in wanted:
            if not _carry_out(experiment, setting, runs, out, random_step, should_stop):
                print("stopped; run the same command to go on")
                raise typer.Exit(INTERRUPTED)
    print("| schedule | core-seconds | seed | steps | mean | largest | smallest | correlation |")
    print("|---|---|---|---|---|---|---|---|")
    for row in read_rows(out):
        print(row)


def _carry_out(
    wanted: Experiment,
    setting: Setting,
    runs: Path,
    out: Path,
    random_step: float | None,
    should_stop: ShouldStop,
) -> bool:
    """Train, evaluate and append the row, where there is none yet; False if it was stopped."""
    known = {(row.schedule, row.core_seconds, row.seed) for row in read_rows(out)}
    if (wanted.schedule, wanted.core_seconds, wanted.seed) in known:
        return True
    setup = setting.setup(SCHEDULES[wanted.schedule](), wanted.seed)
    try:
        costs = step_costs(
            runs / "step-costs.json",
            setup.recipe,
            lambda recipe: setting.setup(recipe, 0),
            random_step,
            should_stop,
        )
    except StoppedEarlyError:
        return False
    done = train(wanted, setup, costs, runs / wanted.name, should_stop)
    if done is None:
        return False
    trainer, spent = done
    row = row_of(wanted, trainer.step, spent, evaluate(trainer, setup.data))
    with out.open("a") as results:
        results.write(json.dumps(asdict(row)) + "\n")
    print(row, flush=True)
    return True


if __name__ == "__main__":
    run_app(app, "python -m benchmarks.ablations")
