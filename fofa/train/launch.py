"""From what a person asked for to a trainer at work: defaults, refusals, the plan in words."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType

import torch
from pydantic import ValidationError
from rich.console import Console

from fofa.accuracy import ProxyRecord
from fofa.data import DataSource, open_data
from fofa.data.augmentation import Augmentation
from fofa.distributed import Processes, WorkerLostError, connected
from fofa.errors import UserError
from fofa.files import explain, locked, remove_leftovers
from fofa.presets import Preset
from fofa.progress import duration
from fofa.recipes import get_recipe
from fofa.runs import RECORD_NAME, RunRecord
from fofa.train.checkpoint import CHECKPOINT_PATH
from fofa.train.settings import SETTINGS_NAME, RunOptions, TrainSettings
from fofa.train.trainer import DivergedError, Trainer

INTERRUPTED = 130
RESTART_SECONDS = 30
"""After a restart by torchrun, data workers of a killed process hold its lock for some seconds."""


def choose_settings(
    preset: Preset, processes: Processes, chosen: Mapping[str, object]
) -> TrainSettings:
    """Settings by their names as a person chose them; the preset's where the value is None.

    The precision `auto` is bf16 on a GPU that computes in it, else fp32.

    Raises:
        UserError: if one is wrong, or the data set is not one that the preset is for.
    """
    data = chosen["data"] or preset.data
    if data is None:
        raise UserError(
            f"preset {preset.name} has no data of its own; name it, such as "
            f"--data {preset.data_sets[0]}:DIR"
        )
    if str(data).partition(":")[0] not in preset.data_sets:
        raise UserError(
            f"preset {preset.name} is for {' or '.join(preset.data_sets)}, not for {data!r}"
        )
    precision = chosen["precision"]
    if precision == "auto":
        on_gpu = processes.device.type == "cuda"
        precision = "bf16" if on_gpu and torch.cuda.is_bf16_supported(False) else "fp32"
    values = {
        name: getattr(preset, name) if value is None else value for name, value in chosen.items()
    }
    values |= {
        "preset": preset.name,
        "data": data,
        "precision": precision,
        "processes": processes.world_size,
        "zero_init_residual": preset.zero_init_residual,
    }
    try:
        return TrainSettings.model_validate(values)
    except ValidationError as error:
        raise UserError(f"options: {explain(error)}") from None


def launch(
    settings: TrainSettings,
    options: RunOptions,
    folder: Path,
    processes: Processes,
    console: Console,
    proxy: ProxyRecord | None = None,
) -> int:
    """Train in `folder`, or go on with the run there; returns the exit code.

    Raises:
        UserError: for wrong settings, data or files, or a folder that another run holds.
    """
    recipe = get_recipe(settings.recipe)
    with _claimed(folder, settings, processes) if processes.is_main else nullcontext():
        try:
            with connected(processes):
                processes.barrier()
                source = _open(options, settings, processes)
                with _stop_signal(processes) as stop_asked:
                    trainer = Trainer(
                        recipe,
                        settings,
                        source,
                        folder,
                        processes=processes,
                        options=options,
                        proxy=proxy,
                        console=console,
                    )
                    return _train(trainer, console, _in_place(folder, stop_asked, processes))
        except (DivergedError, WorkerLostError) as error:
            console.print(f"fofa-train: {error}", markup=False, soft_wrap=True)
            return 1


def _train(trainer: Trainer, console: Console, should_stop: Callable[[], bool]) -> int:
    processes = trainer.processes
    if processes.is_main and _finished(trainer):
        console.print(f"{trainer.folder}: this run is finished; nothing to do", soft_wrap=True)
    if _finished(trainer):
        return 0
    if processes.is_main:
        _announce(trainer, console)
    record = trainer.run(should_stop)
    processes.barrier()
    if not processes.is_main:
        return 0
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


def _finished(trainer: Trainer) -> bool:
    path = trainer.folder / RECORD_NAME
    return (
        trainer.step == trainer.plan.num_steps
        and path.is_file()
        and RunRecord.read(path).status == "finished"
    )


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


def _announce(trainer: Trainer, console: Console) -> None:
    """Say what is going to happen before it does."""
    settings, plan, order = trainer.settings, trainer.plan, trainer.order
    epochs = plan.num_steps / order.steps_per_epoch
    console.print(
        f"{settings.recipe} on {settings.data}: {trainer.data.num_train} images, "
        f"{list(settings.resolutions)} px, width {settings.width_mult:g}, "
        f"{order.global_batch} images a step, {settings.precision}, on {trainer.processes.device}",
        soft_wrap=True,
    )
    console.print(
        f"{plan.num_steps} steps, {epochs:.2f} epochs "
        f"({trainer.recipe.epochs:g} of the recipe x {settings.epoch_scale:g})"
    )
    for phase in plan.phases:
        what = phase.phase
        console.print(
            f"  {what.name:14} {phase.num_steps:7} steps, {what.num_subnets} subnets a step, "
            f"learning rate up to {phase.peak_rate:.4g}"
        )
    if trainer.step:
        console.print(f"going on from step {trainer.step}")


def _report(folder: Path, record: RunRecord) -> None:
    training = record.training
    hours = training.gpu_hours or training.core_hours or 0.0
    unit = "GPU" if training.gpu_hours else "core"
    spent = duration(record.step and hours * 3600)
    print(
        f"{folder}: {record.recipe} trained for {training.epochs:.2f} epochs in {hours:.3f} "
        f"{unit}-hours ({spent}), {training.images_per_second:.0f} images/s on {training.device}"
    )


@contextmanager
def _claimed(folder: Path, settings: TrainSettings, processes: Processes) -> Iterator[None]:
    """Hold the run folder for `settings`, so that no second trainer writes into it.

    A command that turns out to be wrong before it has saved anything leaves no settings there,
    which would refuse the right one.

    Raises:
        UserError: if another process holds it, it is not a place for a run, or it holds a run with
            other settings.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot make this folder: {error.strerror}") from None
    names = {path.name for path in folder.iterdir()}
    if RECORD_NAME in names and SETTINGS_NAME not in names:
        raise UserError(f"{folder}: holds a run that was not trained here; choose another --out")
    patience = RESTART_SECONDS if processes.world_size > 1 else 0
    with locked(folder, "another fofa-train is working in this folder", patience=patience):
        for place in (folder, folder / CHECKPOINT_PATH.parent):
            remove_leftovers(place)
        settings.claim(folder)
        try:
            yield
        except UserError:
            if SETTINGS_NAME not in names and not (folder / CHECKPOINT_PATH).exists():
                (folder / SETTINGS_NAME).unlink(missing_ok=True)
            raise


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


@contextmanager
def _stop_signal(processes: Processes) -> Iterator[Callable[[], bool]]:
    """Let training save and end after its step when SIGINT or SIGTERM comes.

    Yields a function that tells whether one came. A second signal ends the process at once, as
    without this handler. Only for a process by itself: several would stop at different steps and
    wait for each other.
    """
    asked = False
    if processes.world_size > 1:
        yield lambda: False
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        restore()

    for number in previous:
        signal.signal(number, ask)
    try:
        yield lambda: asked
    finally:
        restore()
