"""Carrying out a plan: the loop over steps, the turns between phases, checkpoints, the record."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Literal, TypeVar

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD

from fofa.accuracy import ProxyRecord
from fofa.data import DataSource, TrainOrder
from fofa.distributed import Processes
from fofa.errors import UserError
from fofa.progress import Progress, duration
from fofa.recipes import Recipe
from fofa.runs import RECORD_NAME, WEIGHTS_NAME, RunRecord
from fofa.seeds import mix
from fofa.space import Family
from fofa.space.network import stage_sizes
from fofa.supernet.channel_sorting import sort_channels
from fofa.supernet.network import PlainNetwork
from fofa.supernet.weights import check_state, fresh_supernet, save_weights
from fofa.train.checkpoint import (
    Checkpoint,
    CheckpointState,
    all_finite,
    load_checkpoint,
    save_checkpoint,
)
from fofa.train.metrics import CostMeter, RunLog, peak_memory_bytes
from fofa.train.schedule import (
    PhasePlan,
    TrainPlan,
    get_momentum,
    make_optimizer,
    set_learning_rate,
    set_momentum,
)
from fofa.train.settings import RunOptions, TrainSettings
from fofa.train.step import backward_one_at_a_time, backward_shared

LOG_EVERY_STEPS = 10

Network = TypeVar("Network", bound=nn.Module)
Status = Literal["running", "finished"]


class DivergedError(Exception):
    """The loss or the weights are no longer numbers; the last checkpoint is still good."""


class Trainer:
    """One run: built from what fixes it, then `run()` takes it from where it stands to its end."""

    def __init__(
        self,
        recipe: Recipe,
        settings: TrainSettings,
        data: DataSource,
        folder: Path,
        *,
        processes: Processes,
        options: RunOptions | None = None,
        proxy: ProxyRecord | None = None,
        console: Console | None = None,
    ) -> None:
        self.recipe, self.settings, self.data, self.folder = recipe, settings, data, folder
        self.processes, self.options = processes, options or RunOptions()
        self._proxy = proxy
        self._console = console if processes.is_main else None
        self.order = TrainOrder(
            num_images=data.num_train,
            batch_size=settings.batch_size,
            seed=settings.seed,
            rank=processes.rank,
            world_size=processes.world_size,
        )
        self.plan = TrainPlan.of(
            recipe,
            resolutions=settings.resolutions,
            seed=settings.seed,
            steps_per_epoch=self.order.steps_per_epoch,
            global_batch=self.order.global_batch,
            epoch_scale=settings.epoch_scale,
            family=settings.family,
        )
        self._config = recipe.supernet_config(
            family=settings.family,
            width_mult=settings.width_mult,
            num_classes=len(data.class_names),
        )
        supernet = fresh_supernet(
            self._config, settings.seed, zero_init_residual=settings.zero_init_residual
        )
        self.supernet = _placed(supernet, processes.device)
        self._optimizer: SGD = make_optimizer(self.supernet)
        self._teacher: nn.Module | None = None
        self._step, self._meter, self._skipped_before = 0, CostMeter(), 0
        self._resume()

    @property
    def step(self) -> int:
        """Steps done so far."""
        return self._step

    @property
    def num_skipped(self) -> int:
        """How often this process left out an image that it could not read, over all sessions."""
        return self._skipped_before + self.data.num_skipped

    def run(self, should_stop: Callable[[], bool] = lambda: False) -> RunRecord:
        """Train to the end, and return the run's record.

        Args:
            should_stop: asked after every step; when it says yes, training saves and returns.

        Raises:
            DivergedError: if the loss is not a number any more.
            WorkerLostError: if another process of the job died.
            UserError: if files cannot be written or images cannot be read.
        """
        if self._step == self.plan.num_steps:
            return self._save("finished")
        self._meter = CostMeter(self._meter.seconds, self._meter.core_seconds)
        with (
            self._open_log() as log,
            Progress(self._console) as progress,
        ):
            self._loop(log, progress, should_stop)
        return self._save("finished" if self._step == self.plan.num_steps else "running")

    def _loop(
        self, log: RunLog | None, progress: Progress, should_stop: Callable[[], bool]
    ) -> None:
        steps = range(self._step, self.plan.num_steps)
        batches = self.data.train_batches(self.order, steps, self.plan.resolution)
        first, started, saved = self._step, time.monotonic(), time.monotonic()
        losses: list[Tensor] = []
        done = self.plan.work(0, first)
        progress.stage("training", done + self.plan.work_left(first), done)
        for step, (images, labels) in zip(steps, batches, strict=True):
            _check_enough(images, step, self.settings.family)
            phase = self.plan.phase_at(step)
            if step == phase.first_step:
                self._enter(phase)
            losses.append(self._train_step(phase, step, images, labels))
            self._step = step + 1
            seconds = time.monotonic() - started
            work, left = self.plan.work(first, self._step), self.plan.work_left(self._step)
            if self._step - first == LOG_EVERY_STEPS and self._console is not None:
                self._console.print(f"expected to take {duration(seconds * left / work)} more")
            stop = should_stop()
            last = self._step == phase.steps.stop
            due = self.options.checkpoint_steps is not None and (
                self._step % self.options.checkpoint_steps == 0
            )
            due = due or time.monotonic() - saved >= self.options.checkpoint_seconds
            if last or due or stop or self._step % LOG_EVERY_STEPS == 0:
                mean = self._checked_mean(losses, step)
                losses = []
                speed = self.order.global_batch * (self._step - first) / seconds
                progress.update(
                    self.plan.work(0, self._step),
                    name=phase.phase.name,
                    note=f"step {self._step} of {self.plan.num_steps}, loss {mean:.3f}, "
                    f"{speed:.0f} images/s",
                )
                if log is not None:
                    log.write(self._step, self._log_record(phase, step, mean, speed))
            if last or due:
                self._save("running")
                saved = time.monotonic()
            if stop:
                return

    def _train_step(self, plan: PhasePlan, step: int, images: Tensor, labels: Tensor) -> Tensor:
        """One optimiser step; returns the sum of the subnets' losses, on the device."""
        set_learning_rate(self._optimizer, plan.learning_rate(step))
        self._optimizer.zero_grad(set_to_none=True)
        # Dropout is all that draws from torch's own generator.
        torch.manual_seed(mix(self.settings.seed, "dropout", step, self.processes.rank))
        backward = backward_one_at_a_time if self.options.one_at_a_time else backward_shared
        losses = backward(
            self.supernet,
            self.plan.draw(step).subnets,
            plan.phase.loss,
            images,
            labels,
            teacher=self._teacher if plan.phase.loss == "teacher" else None,
            precision=self.settings.precision,
        )
        self.processes.average_gradients(self.supernet.parameters())
        if self.recipe.clip_norm is not None:
            clip_grad_norm_(self.supernet.parameters(), self.recipe.clip_norm)
        self._optimizer.step()
        return losses.sum()

    def _enter(self, plan: PhasePlan) -> None:
        """Turn from the phase before to this one: the teacher, the channels, the optimiser."""
        index = self.plan.phases.index(plan)
        if index and self.plan.phases[index - 1].phase.becomes_teacher:
            self._teacher = _placed(self._extract_teacher(), self.processes.device)
        if plan.phase.sort_channels:
            trained = self.recipe.trained_expands(plan.phase, self.settings.family)
            sort_channels(self.supernet, trained)
        if plan.phase.fresh_optimizer:
            self._optimizer = make_optimizer(self.supernet)

    def _extract_teacher(self) -> PlainNetwork:
        """The largest subnet as it is now, without dropout, as OFA's and CompOFA's teachers are."""
        teacher = self.supernet.extract(self.supernet.largest)
        teacher.head.dropout.p = 0.0
        return teacher

    def _checked_mean(self, losses: list[Tensor], step: int) -> float:
        mean = torch.stack(losses).mean().item()
        if not torch.isfinite(torch.tensor(mean)):
            raise DivergedError(
                f"the loss at step {step} is {mean}; the last checkpoint in {self.folder} is from "
                "before; a lower learning rate (smaller batch) or fp32 may help"
            )
        return mean

    def _resume(self) -> None:
        checkpoint = load_checkpoint(self.folder)
        if checkpoint is None:
            return
        state, groups = checkpoint.state, checkpoint.groups
        check_state(self.supernet, groups.get("supernet", {}), f"{self.folder}: checkpoint")
        if "teacher" in groups:
            teacher = self._extract_teacher()
            check_state(teacher, groups["teacher"], f"{self.folder}: checkpoint's teacher")
            teacher.load_state_dict(groups["teacher"])
            self._teacher = _placed(teacher, self.processes.device)
        self.supernet.load_state_dict(groups["supernet"])
        set_momentum(self.supernet, self._optimizer, groups.get("momentum", {}))
        self._step = state.step
        self._meter = CostMeter(state.seconds, state.core_seconds)
        self._skipped_before = state.skipped_images

    def _save(self, status: Status) -> RunRecord:
        """Write the checkpoint, then the weights and the record that others read.

        Raises:
            DivergedError: instead of replacing a good checkpoint by one that is not.
        """
        record = self._record(status)
        if not self.processes.is_main:
            return record
        if not all_finite(self.supernet.state_dict()):
            raise DivergedError(
                f"weights at step {self._step} are not finite; the last checkpoint in "
                f"{self.folder} is from before"
            )
        groups = {
            "supernet": self.supernet.state_dict(),
            "momentum": get_momentum(self.supernet, self._optimizer),
        }
        if self._teacher is not None:
            groups["teacher"] = self._teacher.state_dict()
        state = CheckpointState(
            step=self._step,
            seconds=self._meter.seconds,
            core_seconds=self._meter.core_seconds,
            skipped_images=self.num_skipped,
        )
        save_checkpoint(self.folder, Checkpoint(state, groups))
        save_weights(self.supernet, self.folder / WEIGHTS_NAME)
        record.write(self.folder / RECORD_NAME)
        return record

    def _record(self, status: Status) -> RunRecord:
        settings, data = self.settings, self.data
        return RunRecord(
            recipe=settings.recipe,
            preset=settings.preset,
            dataset=data.name,
            data_spec=data.spec,
            class_names=list(data.class_names),
            mean=data.mean,
            std=data.std,
            supernet=self._config,
            resolutions=list(settings.resolutions),
            training=self._meter.record(
                settings,
                self._step,
                self._step / self.order.steps_per_epoch,
                self.processes.device,
                data.num_train,
            ),
            status=status,
            step=self._step,
            proxy=self._proxy,
        )

    def _open_log(self) -> RunLog | nullcontext[None]:
        """Only the main process writes a log."""
        if not self.processes.is_main:
            return nullcontext()
        return RunLog(self.folder, self._step, tensorboard=self.options.tensorboard)

    def _log_record(
        self, plan: PhasePlan, step: int, loss: float, images_per_second: float
    ) -> dict[str, object]:
        draw = self.plan.draw(step)
        return {
            "phase": plan.phase.name,
            "epoch": round(self._step / self.order.steps_per_epoch, 4),
            "loss": loss,
            "learning_rate": plan.learning_rate(step),
            "resolution": draw.resolution,
            "subnets": [subnet.name for subnet in draw.subnets],
            "images_per_second": round(images_per_second, 2),
            "seconds": round(self._meter.seconds, 2),
            "skipped_images": self.num_skipped,
            "peak_memory_bytes": peak_memory_bytes(self.processes.device),
        }


def _check_enough(images: Tensor, step: int, family: Family) -> None:
    """Refuse a batch whose last feature map is a single value, which has no variance.

    Raises:
        UserError: saying what to change.
    """
    resolution = images.shape[-1]
    if len(images) == 1 and stage_sizes(resolution, family)[-1] == 1:
        raise UserError(
            f"step {step} has one image of {resolution} px, too little for batch normalisation; "
            "take a larger --batch-size (or mend the images that cannot be read)"
        )


def _placed(network: Network, device: torch.device) -> Network:
    """On the device, channels-last (about twice as fast on CPU too), in training mode."""
    return network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
