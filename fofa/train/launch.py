"""From checked settings to a trainer at work: refusals, the plan in words, the run folder."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from fofa.accuracy import Pace, ProxyRecord
from fofa.data import DataSource, open_data
from fofa.data.augmentation import Augmentation
from fofa.distributed import Processes, WorkerLostError, connected, set_arithmetic
from fofa.errors import UserError
from fofa.files import locked, remove_leftovers
from fofa.presets import FOLDER
from fofa.progress import duration
from fofa.recipes import get_recipe
from fofa.runs import RECORD_NAME, RunRecord
from fofa.train.budget import Budget, StoppedEarlyError, kind, time_steps
from fofa.train.checkpoint import CHECKPOINT_PATH
from fofa.train.memory import check_memory
from fofa.train.metrics import Clocks
from fofa.train.reporting import LOG_NAME, DivergedError
from fofa.train.settings import SETTINGS_NAME, RunOptions, TrainSettings
from fofa.train.setup import Setup
from fofa.train.stopping import INTERRUPTED, stop_signals
from fofa.train.trainer import Trainer

RESTART_SECONDS = 30
"""After a restart by torchrun, data workers of a killed process hold its lock for some seconds."""


def launch(
    settings: TrainSettings,
    options: RunOptions,
    folder: Path,
    processes: Processes,
    console: Console,
    proxy: ProxyRecord | None = None,
) -> int:
    """Train in `folder`, or go on with the run there; returns the exit code.

    Nothing is written before everything that was asked for has been checked.

    Raises:
        UserError: for wrong settings, data or files, or a folder that another run holds.
    """
    if settings.architecture is None:
        get_recipe(settings.recipe)
    try:
        with stop_signals() as should_stop, connected(processes):
            set_arithmetic(processes.device, reduced=settings.precision == "bf16")
            if not processes.is_same(str(folder.absolute())):
                raise UserError("--out differs between the processes of this job")
            begun = _as_begun(settings, folder)
            check_place(folder, begun)
            setup = Setup.of(begun, _open(options, begun, processes), processes)
            if begun.preset == FOLDER.name:
                single = options.one_at_a_time
                memory = check_memory(setup, processes.device, one_at_a_time=single)
                _say_first(setup, memory, processes, console)
            if begun.pace is not None:
                setup = fit_to_pace(setup, begun.pace)
            elif begun.budget_hours is not None and begun.step_seconds is None:
                setup = fit_to_budget(setup, options, processes, console, should_stop)
            claim = _claimed(folder, setup.settings, processes)
            with claim if processes.is_main else nullcontext():
                processes.barrier()
                trainer = Trainer(
                    setup,
                    folder,
                    processes=processes,
                    options=options,
                    proxy=proxy,
                    console=console,
                )
                return _train(trainer, console, _in_place(folder, should_stop, processes))
    except (DivergedError, WorkerLostError) as error:
        console.print(f"fofa-train: {error}", markup=False, soft_wrap=True)
        return 1
    except StoppedEarlyError:
        if processes.is_main:
            console.print("stopped before the first step; nothing was saved")
        return INTERRUPTED


def _as_begun(settings: TrainSettings, folder: Path) -> TrainSettings:
    """With what was found out when the run in `folder`, if there is one, began."""
    found = TrainSettings.of_run(folder)
    if found is None:
        return settings
    known: dict[str, object] = {}
    if settings.budget_hours is not None and found.budget_hours == settings.budget_hours:
        known |= {"epoch_scale": found.epoch_scale, "step_seconds": found.step_seconds}
    if settings.init is not None and found.init == settings.init:
        known |= {"init_sha256": found.init_sha256, "init_head": found.init_head}
    return settings.model_copy(update=known)


def fit_to_budget(
    setup: Setup,
    options: RunOptions,
    processes: Processes,
    console: Console,
    should_stop: Callable[[], bool],
    clocks: Clocks | None = None,
) -> Setup:
    """The same run, as long as its budget allows on this machine.

    Raises:
        UserError: if the budget is too small for the recipe's shortest plan.
        StoppedEarlyError: if a signal came.
    """
    settings = setup.settings
    assert settings.budget_hours is not None
    unit = "GPU-hours" if processes.device.type == "cuda" else "core-hours"
    if processes.is_main:
        console.print(f"timing steps for a budget of {settings.budget_hours:g} {unit}")
    clock = (clocks or Clocks()).cost(processes.device)
    began = clock()
    seconds = 3600 * settings.budget_hours
    step_seconds = time_steps(
        setup.learner(processes, options),
        setup.data,
        setup.order,
        setup.plan,
        budget_seconds=seconds,
        processes=processes,
        clock=clock,
        should_stop=should_stop,
    )
    budget = Budget(seconds=seconds, step_seconds=step_seconds)
    scale = budget.epoch_scale(lambda scale: setup.with_epoch_scale(scale).plan, unit)
    fitted = setup.with_epoch_scale(scale)
    known = {"epoch_scale": scale, "step_seconds": step_seconds}
    if processes.is_main:
        console.print(
            f"timed in {duration(clock() - began)}, which the budget does not pay for: "
            f"{scale:.4g} of the recipe's epochs"
        )
    return replace(fitted, settings=settings.model_copy(update=known))


def fit_to_pace(setup: Setup, pace: Pace) -> Setup:
    """The same run, with the steps that its budget buys at the pace of another machine.

    Raises:
        UserError: if the budget is too small for the recipe's shortest plan.
    """
    settings, plan = setup.settings, setup.plan
    assert settings.budget_hours is not None
    images = setup.data.num_train / setup.order.steps_per_epoch
    each = 3600 * images / pace.images_per_hour
    costs = {kind(phase, size): each for phase in plan.phases for size in plan.resolutions}
    budget = Budget(seconds=3600 * settings.budget_hours, step_seconds=costs)
    scale = budget.epoch_scale(lambda scale: setup.with_epoch_scale(scale).plan, pace.unit)
    return setup.with_epoch_scale(scale)


def _train(trainer: Trainer, console: Console, should_stop: Callable[[], bool]) -> int:
    processes = trainer.processes
    if trainer.is_finished:
        if processes.is_main:
            console.print(f"{trainer.folder}: this run is finished; nothing to do", soft_wrap=True)
        return 0
    if processes.is_main:
        _announce(trainer, console)
    record = trainer.run(should_stop)
    processes.barrier()
    if not processes.is_main:
        return 0 if record.status == "finished" else INTERRUPTED
    if record.status == "running":
        console.print(
            f"stopped at step {record.step}; run the same command to go on", soft_wrap=True
        )
        return INTERRUPTED
    _report(trainer.folder, record)
    if trainer.num_skipped:
        console.print(
            f"images that cannot be read were left out {trainer.num_skipped} times; see above",
            style="yellow",
            soft_wrap=True,
        )
    return 0


def _open(options: RunOptions, settings: TrainSettings, processes: Processes) -> DataSource:
    workers = options.workers
    if workers is None:
        workers = min(8, max(1, (os.cpu_count() or 2) // processes.world_size - 1))

    def opened(download: bool) -> DataSource:
        return open_data(
            settings.data,
            download=download,
            train_fraction=settings.train_fraction,
            seed=settings.seed,
            device=processes.device,
            augmentation=Augmentation(crop=settings.crop),
            workers=workers,
        )

    if options.download and processes.world_size > 1:
        # One process fetches, the others wait.
        source = opened(download=True) if processes.is_main else None
        processes.barrier()
        return source or opened(download=False)
    return opened(options.download)


def _say_first(setup: Setup, memory: str, processes: Processes, console: Console) -> None:
    """What the preset `folder` has chosen, before anything is computed."""
    settings, unit = setup.settings, "GPU" if processes.device.type == "cuda" else "core"
    if not processes.is_main:
        return
    time = "" if settings.budget_hours is None else f"{duration(3600 * settings.budget_hours)} of "
    length = (
        f"{time}{unit} time" if time else f"{setup.recipe.epochs * settings.epoch_scale:g} epochs"
    )
    sizes = ", ".join(map(str, settings.resolutions))
    console.print(
        f"{setup.data.num_train} images of {len(setup.data.class_names)} classes, "
        f"{setup.data.num_test} held out: {sizes} px, {settings.batch_size} images a step, "
        f"{length}, {memory}"
    )
    if settings.init is None:
        console.print(
            "from random weights, which needs many images and much time; pretrained ones need "
            "little of both: fofa-import efficientnet-lite0 --out RUN, then --init RUN"
        )


def _announce(trainer: Trainer, console: Console) -> None:
    """Say what is going to happen before it does."""
    setup, plan = trainer.setup, trainer.plan
    settings, order = setup.settings, setup.order
    epochs = plan.num_steps / order.steps_per_epoch
    console.print(
        f"{settings.recipe} on {settings.data}: {setup.data.num_train} images, "
        f"{list(settings.resolutions)} px, width {settings.width_mult:g}, "
        f"{order.global_batch} images a step, {settings.precision}, on {trainer.processes.device}",
        soft_wrap=True,
    )
    console.print(
        f"{plan.num_steps} steps, {epochs:.2f} epochs "
        f"({setup.recipe.epochs:g} of the recipe x {settings.epoch_scale:.4g})"
    )
    if settings.pace is not None:
        console.print(
            f"as many as {settings.budget_hours:g} {settings.pace.unit} buy on "
            f"{settings.pace.device}",
            soft_wrap=True,
        )
    for phase in plan.phases:
        what = phase.phase
        subnets = "1 subnet" if what.num_subnets == 1 else f"{what.num_subnets} subnets"
        console.print(
            f"  {what.name:14} {phase.num_steps:7} steps, {subnets} a step, "
            f"learning rate up to {phase.peak_rate:.4g}"
        )
    if trainer.step:
        console.print(f"going on from step {trainer.step}")


def _report(folder: Path, record: RunRecord) -> None:
    training = record.training
    hours, unit = training.spent
    asked = f" of {training.budget_hours:g}" if training.budget_hours else ""
    at_pace = f" at the pace of {training.spent_on}" if training.pace else ""
    by_the_clock = duration(3600 * (training.wall_hours or 0.0))
    print(
        f"{folder}: {record.recipe} trained for {training.epochs:.2f} epochs in {hours:.3f}"
        f"{asked} {unit}{at_pace} ({duration(hours * 3600)}; {by_the_clock} by the clock), "
        f"{training.images_per_second:.0f} images/s on {training.device}"
    )


def check_place(folder: Path, settings: TrainSettings) -> None:
    """Refuse, without writing anything, a folder in which this run cannot be.

    Raises:
        UserError: if it cannot be made or written, or holds another run.
    """
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not place.is_dir():
        raise UserError(f"{folder}: cannot make this folder: {place} is not a folder")
    if not os.access(place, os.W_OK | os.X_OK):
        read_only = os.statvfs(place).f_flag & os.ST_RDONLY
        why = os.strerror(errno.EROFS if read_only else errno.EACCES)
        raise UserError(f"{folder}: cannot make this folder: {why}")
    found = TrainSettings.of_run(folder)
    if (folder / RECORD_NAME).exists() and found is None:
        raise UserError(f"{folder}: holds a run that was not trained here; choose another --out")
    if found is not None:
        settings.check_agrees(folder, found)


@contextmanager
def _claimed(folder: Path, settings: TrainSettings, processes: Processes) -> Iterator[None]:
    """Hold the run folder for `settings`, so that no second trainer writes into it.

    A command that turns out to be wrong before it has saved anything leaves no settings there,
    which would refuse the right one.

    Raises:
        UserError: if another process holds it, or it is not a place for this run.
    """
    before = {path.name for path in folder.iterdir()} if folder.exists() else None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot make this folder: {error.strerror}") from None
    patience = RESTART_SECONDS if processes.world_size > 1 else 0
    with locked(folder, "another fofa-train is working in this folder", patience=patience):
        for place in (folder, folder / CHECKPOINT_PATH.parent):
            remove_leftovers(place)
        check_place(folder, settings)
        begins = not (folder / SETTINGS_NAME).exists()
        if begins:
            settings.write(folder / SETTINGS_NAME)
        try:
            yield
        except UserError:
            if begins and not (folder / CHECKPOINT_PATH).exists():
                _leave(folder, before)
            raise


def _leave(folder: Path, before: set[str] | None) -> None:
    """Take back what a run that saved nothing wrote; `before` are the names that were there.

    None where the folder itself was not.
    """
    if before is None:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for name in {SETTINGS_NAME, LOG_NAME} - before:
        (folder / name).unlink(missing_ok=True)


def _in_place(
    folder: Path, stop_asked: Callable[[], bool], processes: Processes
) -> Callable[[], bool]:
    """`stop_asked`, which also makes sure that the run folder is still where it was.

    Checkpoints would otherwise begin a second, half run in a folder made anew.
    """

    def ask() -> bool:
        if processes.is_main and not (folder / SETTINGS_NAME).is_file():
            raise UserError(f"{folder}: the run folder was removed or moved while training")
        return stop_asked()

    return ask
