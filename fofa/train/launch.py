"""From what a person asked for to a trainer at work: defaults, refusals, the plan in words."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from filelock import FileLock, Timeout
from pydantic import ValidationError
from rich.console import Console

from fofa.data import DataSource, open_data
from fofa.data.augmentation import Augmentation
from fofa.distributed import Processes, WorkerLostError, connected, find_place
from fofa.errors import UserError
from fofa.files import explain, remove_leftovers
from fofa.presets import Preset, get_preset
from fofa.progress import duration
from fofa.recipes import get_recipe
from fofa.runs import RECORD_NAME, RunRecord
from fofa.space import check_resolutions
from fofa.train.checkpoint import CHECKPOINT_PATH
from fofa.train.settings import SETTINGS_NAME, TrainSettings
from fofa.train.trainer import DivergedError, Habits, Trainer

LOCK_NAME = ".lock"
INTERRUPTED = 130
RESTART_SECONDS = 30
"""After a restart by torchrun, data workers of a killed process hold its lock for some seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOptions:
    """The options of `fofa-train`; None means the preset's value."""

    recipe: str
    preset: str
    out: Path
    data: str | None = None
    download: bool = False
    epoch_scale: float | None = None
    train_fraction: float | None = None
    batch_size: int | None = None
    seed: int = 0
    width_mult: float | None = None
    resolutions: tuple[int, ...] | None = None
    crop: str | None = None
    precision: str = "auto"
    device: str = "auto"
    threads: int | None = None
    workers: int | None = None
    one_at_a_time: bool = False
    checkpoint_seconds: float = 120.0
    checkpoint_steps: int | None = None
    tensorboard: bool = True


def launch(options: LaunchOptions, console: Console) -> int:
    """Train as asked; returns the exit code.

    Raises:
        UserError: for wrong options, data or files, or a folder that another run holds.
    """
    recipe, preset = get_recipe(options.recipe), get_preset(options.preset)
    processes = find_place(options.device)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    settings = _settings(options, preset, processes)
    patience = RESTART_SECONDS if processes.world_size > 1 else 0
    with _locked(options.out, patience) if processes.is_main else nullcontext():
        if processes.is_main:
            settings.claim(options.out)
        try:
            with connected(processes):
                processes.barrier()
                source = _open(options, settings, processes)
                with _stop_signal(processes) as stop_asked:
                    trainer = Trainer(
                        recipe,
                        settings,
                        source,
                        options.out,
                        processes=processes,
                        habits=Habits(
                            one_at_a_time=options.one_at_a_time,
                            checkpoint_seconds=options.checkpoint_seconds,
                            checkpoint_steps=options.checkpoint_steps,
                            tensorboard=options.tensorboard,
                            should_stop=_in_place(options.out, stop_asked, processes),
                        ),
                        proxy=preset.proxy,
                        console=console,
                    )
                    return _train(trainer, console, processes)
        except (DivergedError, WorkerLostError) as error:
            console.print(f"fofa-train: {error}", markup=False, soft_wrap=True)
            return 1


def _train(trainer: Trainer, console: Console, processes: Processes) -> int:
    if processes.is_main and _finished(trainer):
        console.print(f"{trainer.folder}: this run is finished; nothing to do", soft_wrap=True)
    if _finished(trainer):
        return 0
    if processes.is_main:
        _announce(trainer, console)
    record = trainer.run()
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


def _settings(options: LaunchOptions, preset: Preset, processes: Processes) -> TrainSettings:
    data = options.data or preset.data
    if data is None:
        raise UserError(
            f"preset {preset.name} has no data of its own; name it, such as "
            f"--data {preset.data_sets[0]}:DIR"
        )
    kind = data.partition(":")[0]
    if kind not in preset.data_sets:
        raise UserError(
            f"preset {preset.name} is for {' or '.join(preset.data_sets)}, not for {data!r}"
        )
    precision = options.precision
    if precision == "auto":
        on_gpu = processes.device.type == "cuda"
        precision = "bf16" if on_gpu and torch.cuda.is_bf16_supported(False) else "fp32"
    resolutions = options.resolutions or preset.resolutions

    def chosen(name: str) -> object:
        value = getattr(options, name)
        return getattr(preset, name) if value is None else value

    try:
        return TrainSettings.model_validate(
            {
                "recipe": options.recipe,
                "preset": preset.name,
                "data": data,
                "train_fraction": chosen("train_fraction"),
                "crop": chosen("crop"),
                "width_mult": chosen("width_mult"),
                "resolutions": check_resolutions(resolutions),
                "batch_size": chosen("batch_size"),
                "processes": processes.world_size,
                "epoch_scale": chosen("epoch_scale"),
                "zero_init_residual": preset.zero_init_residual,
                "seed": options.seed,
                "precision": precision,
            }
        )
    except ValidationError as error:
        raise UserError(f"options: {explain(error)}") from None


def _open(options: LaunchOptions, settings: TrainSettings, processes: Processes) -> DataSource:
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
def _locked(folder: Path, patience: float) -> Iterator[None]:
    """Hold the run folder, so that no second trainer writes into it; waits `patience` seconds.

    Raises:
        UserError: if another process holds it, or it is not a place for a run.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot make this folder: {error.strerror}") from None
    names = {path.name for path in folder.iterdir()}
    if RECORD_NAME in names and SETTINGS_NAME not in names:
        raise UserError(f"{folder}: holds a run that was not trained here; choose another --out")
    lock = FileLock(folder / LOCK_NAME, timeout=patience)
    try:
        with lock:
            for place in (folder, folder / CHECKPOINT_PATH.parent):
                remove_leftovers(place)
            yield
    except Timeout:
        raise UserError(f"{folder}: another fofa-train is working in this folder") from None


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
    """Turn the first SIGINT or SIGTERM into a wish to stop; a second one acts as ever.

    Only for a process by itself: several would stop at different steps and wait for each other.
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
