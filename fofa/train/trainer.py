"""Carrying out a plan: the loop over steps, the turns between phases, checkpoints, the record."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from rich.console import Console
from torch import Tensor

from fofa.accuracy import ProxyRecord
from fofa.distributed import Processes
from fofa.runs import RECORD_NAME, WEIGHTS_NAME, RunRecord
from fofa.seeds import mix
from fofa.supernet.weights import save_weights
from fofa.train.budget import Budget, Replan
from fofa.train.checkpoint import (
    Checkpoint,
    CheckpointState,
    all_finite,
    load_checkpoint,
    save_checkpoint,
)
from fofa.train.learner import check_enough
from fofa.train.linear_head import fit_head
from fofa.train.metrics import Clocks, CostMeter, peak_memory_bytes
from fofa.train.norms import take_statistics
from fofa.train.reporting import DivergedError, Reporter, RunLog
from fofa.train.schedule import PhasePlan
from fofa.train.settings import RunOptions
from fofa.train.setup import Setup
from fofa.train.tracking import open_trackers
from fofa.train.validation import Validator

Status = Literal["running", "finished"]


class Trainer:
    """One run: built from what fixes it, then `run()` takes it from where it stands to its end.

    Attributes:
        setup: what the run is made of.
        plan: the steps, as rescaled to a budget so far.
        learner: the supernet in training.
    """

    def __init__(
        self,
        setup: Setup,
        folder: Path,
        *,
        processes: Processes,
        options: RunOptions | None = None,
        proxy: ProxyRecord | None = None,
        console: Console | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        self.setup, self.folder = setup, folder
        self.processes, self.options = processes, options or RunOptions()
        self._proxy = proxy
        self._console = console if processes.is_main else None
        self._clocks = clocks or Clocks()
        self.plan = setup.plan
        self.learner = setup.learner(processes, self.options)
        self._budget = _budget_of(setup)
        self._validator = Validator(
            setup.data, setup.watched, max(setup.settings.resolutions), self.options.validate_share
        )
        self._step, self._skipped_before = 0, 0
        self._replans: tuple[Replan, ...] = ()
        self._saved, self._first = time.monotonic(), 0
        self._meter = CostMeter(clocks=self._clocks)
        self._resume()

    @property
    def step(self) -> int:
        """Steps done so far."""
        return self._step

    @property
    def num_skipped(self) -> int:
        """How often this process left out an image that it could not read, over all sessions."""
        return self._skipped_before + self.setup.data.num_skipped

    @property
    def is_finished(self) -> bool:
        """Whether all steps are done, and their record is written."""
        path = self.folder / RECORD_NAME
        done = self._step == self.plan.num_steps and path.is_file()
        return done and RunRecord.read(path).status == "finished"

    def run(self, should_stop: Callable[[], bool] = lambda: False) -> RunRecord:
        """Train to the end, and return the run's record.

        Args:
            should_stop: asked after every step; when it says yes in any process, all of them save
                and return.

        Raises:
            DivergedError: if the loss is not a number any more.
            WorkerLostError: if another process of the job died.
            UserError: if files cannot be written or images cannot be read.
        """
        self._meter.start()
        self._saved, self._first = time.monotonic(), self._step
        if self._step < self.plan.num_steps:
            self._begin()
            with self._reporter() as reporter:
                stopped = False
                while self._step < self.plan.num_steps and not stopped:
                    reporter.begin(self.plan, self._step)
                    stopped = self._go_on(reporter, should_stop)
        return self._save("finished" if self._step == self.plan.num_steps else "running")

    def _begin(self) -> None:
        """What comes before the first step: pretrained weights get a head for this data."""
        if self._step or self.setup.settings.init_head != "fitted":
            return
        resolution = max(self.setup.settings.resolutions)
        place = (self.learner.supernet, self.setup.data, resolution, self.processes)
        if self.setup.pretrained is not None and self.setup.pretrained.has_statistics:
            take_statistics(*place)
        top1 = fit_head(*place)
        if self._budget is not None:
            self._take(self._budget.after(self._spent()))
        if self._console is not None:
            self._console.print(
                f"a linear layer on the pretrained features is right about {top1:.1f}% of the "
                f"training images, each left out in turn, at {resolution} px"
            )

    def _go_on(self, reporter: Reporter, should_stop: Callable[[], bool]) -> bool:
        """Steps of the plan as it stands, until it ends, is rescaled, or training is to stop.

        Returns:
            Whether it is to stop.
        """
        steps = range(self._step, self.plan.num_steps)
        batches = self.setup.data.train_batches(self.setup.order, steps, self.plan.resolution)
        for step, (images, labels) in zip(steps, batches, strict=True):
            check_enough(images, step, self.setup.settings.family)
            phase = self.plan.phase_at(step)
            if step == phase.first_step:
                index = self.plan.phases.index(phase)
                previous = self.plan.phases[index - 1].phase if index else None
                self.learner.enter(phase.phase, previous)
            losses = self._train_step(phase, step, images, labels)
            self._step = step + 1
            stop, replan = self.processes.any_of(should_stop(), self._is_replan_due())
            replan = replan and self._step < self.plan.num_steps
            save = self._is_checkpoint_due() or replan or self._step == phase.steps.stop
            told = reporter.step_done(self.plan, phase, self._step, losses, now=save or stop)
            if told is not None:
                record = told | self._log_record(phase, step)
                reporter.log(self._step, record | self._watch(reporter, phase))
            if replan:
                self._rescale()
            if save:
                self._save("running")
            if stop or replan:
                return stop
        return False

    def _watch(self, reporter: Reporter, phase: PhasePlan) -> dict[str, object]:
        """Validate if it is time to, in the main process: the others wait at their next step."""
        passed = self._meter.session_seconds
        images = self.setup.order.batch_size * self.plan.work(self._first, self._step)
        if not self.processes.is_main or not self._validator.is_due(passed, passed / images):
            return {}
        with self._meter.paused():
            found = self._validator.validate(
                self.learner.supernet, bf16=self.setup.settings.precision == "bf16"
            )
        reporter.tell_beside(str(found))
        return {f"top1_{role}": round(top1, 2) for role, top1 in found.top1.items()} | {
            "validated_on": self.setup.data.validated_on,
            "validation_images": found.images,
            "validation_resolution": found.resolution,
        }

    def _is_checkpoint_due(self) -> bool:
        """Whether the options ask for a checkpoint after this step."""
        every = self.options.checkpoint_steps
        by_steps = every is not None and self._step % every == 0
        return by_steps or time.monotonic() - self._saved >= self.options.checkpoint_seconds

    def _train_step(self, phase: PhasePlan, step: int, images: Tensor, labels: Tensor) -> Tensor:
        """One optimiser step; returns the loss of each subnet, on the device."""
        return self.learner.train_step(
            phase.phase,
            self.plan.draw(step).subnets,
            phase.learning_rate(step),
            images,
            labels,
            mix(self.setup.settings.seed, "dropout", step, self.processes.rank),
        )

    def _is_replan_due(self) -> bool:
        if self._budget is None or not self.processes.is_main:
            return False
        return self._budget.is_due(self._spent(), self._replans)

    def _spent(self) -> float:
        """Seconds that count for a budget, of all processes."""
        return self._meter.cost(self.processes.device) * self.processes.world_size

    def _rescale(self) -> None:
        """Make the rest of the plan as long as the rest of the budget."""
        assert self._budget is not None
        self._take(self._budget.replan(self.plan, self._step, self._spent(), self._replans))

    def _take(self, found: Replan) -> None:
        """Let the plan follow what the main process found."""
        shared = Replan(
            step=self._step,
            spent=self.processes.share(found.spent),
            factor=self.processes.share(found.factor),
        )
        self._replans = (*self._replans, shared)
        self.plan = self.plan.rescaled(shared.step, shared.factor)

    def _resume(self) -> None:
        checkpoint = load_checkpoint(self.folder)
        if checkpoint is None:
            return
        state = checkpoint.state
        self.learner.restore(checkpoint.groups, f"{self.folder}: checkpoint")
        self._step, self._replans = state.step, state.replans
        for replan in state.replans:
            self.plan = self.plan.rescaled(replan.step, replan.factor)
        self._meter = CostMeter(
            state.seconds, state.core_seconds, state.wall_seconds, clocks=self._clocks
        )
        self._skipped_before = state.skipped_images

    def _save(self, status: Status) -> RunRecord:
        """Write the checkpoint, then the weights and the record that others read.

        Raises:
            DivergedError: instead of replacing a good checkpoint by one that is not.
        """
        record = self._record(status)
        if not self.processes.is_main:
            return record
        supernet = self.learner.supernet
        if not all_finite(supernet.state_dict()):
            raise DivergedError(
                f"weights at step {self._step} are not finite; the last checkpoint in "
                f"{self.folder} is from before"
            )
        state = CheckpointState(
            step=self._step,
            seconds=self._meter.seconds,
            core_seconds=self._meter.core_seconds,
            wall_seconds=self._meter.wall_seconds,
            skipped_images=self.num_skipped,
            replans=self._replans,
        )
        save_checkpoint(self.folder, Checkpoint(state, self.learner.groups()))
        save_weights(supernet, self.folder / WEIGHTS_NAME)
        record.write(self.folder / RECORD_NAME)
        self._saved = time.monotonic()
        return record

    def _record(self, status: Status) -> RunRecord:
        settings, data = self.setup.settings, self.setup.data
        return RunRecord(
            recipe=settings.recipe,
            preset=settings.preset,
            dataset=data.name,
            data_spec=data.spec,
            class_names=list(data.class_names),
            mean=data.mean,
            std=data.std,
            supernet=self.setup.config,
            resolutions=list(settings.resolutions),
            training=self._meter.record(
                settings,
                self._step,
                self._step / self.setup.order.steps_per_epoch,
                self.processes.device,
                data.num_train,
            ),
            status=status,
            step=self._step,
            proxy=self._proxy,
            finetuned=settings.architecture,
        )

    def _reporter(self) -> Reporter:
        """Only the main process writes a log and has a console."""
        log = None
        if self.processes.is_main:
            trackers = open_trackers(
                self.options.trackers, self.folder, self._step, self.setup.settings.model_dump()
            )
            log = RunLog(self.folder, self._step, trackers)
        return Reporter(
            self.folder,
            self._step,
            global_batch=self.setup.order.global_batch,
            console=self._console,
            log=log,
        )

    def _log_record(self, phase: PhasePlan, step: int) -> dict[str, object]:
        """What the log says of `step` beside its losses and its speed."""
        draw = self.plan.draw(step)
        return {
            "phase": phase.phase.name,
            "epoch": round(self._step / self.setup.order.steps_per_epoch, 4),
            "learning_rate": phase.learning_rate(step),
            "resolution": draw.resolution,
            "subnets": [subnet.name for subnet in draw.subnets],
            "seconds": round(self._meter.seconds, 2),
            "wall_seconds": round(self._meter.wall_seconds, 2),
            "core_seconds": round(self._meter.core_seconds, 2),
            "skipped_images": self.num_skipped,
            "peak_memory_bytes": peak_memory_bytes(self.processes.device),
        }


def _budget_of(setup: Setup) -> Budget | None:
    """The budget that the settings ask for, with what steps were found to cost."""
    settings = setup.settings
    if settings.budget_hours is None or settings.step_seconds is None:
        return None
    return Budget(seconds=3600 * settings.budget_hours, step_seconds=settings.step_seconds)
