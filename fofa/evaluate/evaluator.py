"""The evaluation of a plan: unit by unit, batch by batch, interruptible at any moment.

For each unit two passes walk the prefix tree of its subnets: recalibration over training images,
then counting over test images. With several processes, each takes every n-th batch and sums are
added up, so that the counts are those of one process.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from fofa.accuracy import ArchitectureAccuracy
from fofa.data import Batch, DataSource
from fofa.distributed import Processes
from fofa.errors import UserError
from fofa.evaluate.batchnorm import Layout, Moments, Statistics
from fofa.evaluate.checkpoint import (
    PartialRecord,
    Phase,
    Settings,
    check_progress,
    check_sums,
    read_partial,
    write_partial,
)
from fofa.evaluate.gather import agree, rounds, total
from fofa.evaluate.passes import count_batch, observe_batch
from fofa.evaluate.plan import Plan, Unit
from fofa.space import macs, params
from fofa.supernet.model import Supernet
from fofa.supernet.prefix_tree import prefix_tree

SAVE_SECONDS = 30.0


class Meter(Protocol):
    """Is told how an evaluation gets on, in multiply-adds."""

    def begin(self, total: int, done: int) -> None: ...

    def advance(self, amount: int, doing: str) -> None: ...


StatisticsHook = Callable[[Unit, Statistics], None]


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured. `calibrated` and `tested` are images of each architecture."""

    architectures: list[ArchitectureAccuracy]
    seconds: float
    calibrated: int
    tested: int


@dataclass(slots=True)
class _UnitState:
    """This process's sums for the unit going on."""

    moments: Moments
    correct: Tensor
    phase: Phase = "calibration"
    batches: int = 0
    tested: int = 0


@dataclass(slots=True, kw_only=True)
class Evaluation:
    """Runs a plan; `run` may be called once.

    Attributes:
        settings: everything that the numbers depend on; a partial file of other ones is refused.
        partial: where to keep what is done while the evaluation goes on; None to keep nothing.
        on_statistics: is called, in the main process, with each unit's recalibrated statistics.
        save_seconds: how often the partial file is written, at the end of a batch.
    """

    supernet: Supernet
    data: DataSource
    plan: Plan
    processes: Processes
    meter: Meter
    settings: Settings = field(default_factory=dict)
    partial: Path | None = None
    on_statistics: StatisticsHook | None = None
    save_seconds: float = SAVE_SECONDS
    _began: float = field(default=0.0, init=False)
    _saved: float = field(default=0.0, init=False)

    def run(self) -> Result:
        """Measure everything that the partial file does not hold yet.

        Raises:
            UserError: if the partial file is of another evaluation, if there are no images, or if
                the weights are not usable.
        """
        record, tensors = PartialRecord(settings=self.settings), dict[str, Tensor]()
        if self.partial is not None:
            record, tensors = read_partial(self.partial, self.settings)
            tests = min(self.plan.limit or self.data.num_test, self.data.num_test)
            check_progress(self.partial, record, self.plan, tests)
        self._began = self._saved = time.monotonic()
        self._begin_meter(record)
        for number in range(record.units, len(self.plan.units)):
            unit = self.plan.units[number]
            state = self._start(unit, record, tensors)
            measured = self._measure(unit, state, record)
            record = PartialRecord(
                settings=self.settings,
                seconds=record.seconds,
                units=number + 1,
                finished=[*record.finished, *measured],
                calibrated=state.moments.images,
                tested=state.tested,
            )
            tensors = {}
            self._write(record, {})
        return Result(record.finished, self._seconds(record), record.calibrated, record.tested)

    def _start(self, unit: Unit, record: PartialRecord, tensors: dict[str, Tensor]) -> _UnitState:
        """Sums of zero, or in rank 0 those of the partial file."""
        layout = Layout.of(prefix_tree(unit.subnets), self.supernet.network_config)
        moments = Moments.zeros(layout, self.processes.device)
        correct = torch.zeros(len(unit.subnets), 2, dtype=torch.int64, device=self.processes.device)
        state = _UnitState(moments, correct)
        if tensors:
            state.phase, state.batches = record.phase, record.batches
            sums = {"mean": moments.mean, "variance": moments.variance, "correct": correct}
            assert self.partial is not None
            check_sums(self.partial, tensors, sums, record.tested)
            if self.processes.is_main or state.phase == "evaluation":
                # Moments are sums of the ranks while they grow, and the whole thing afterwards.
                moments.mean.copy_(tensors["mean"])
                moments.variance.copy_(tensors["variance"])
                moments.images = record.calibrated
            if self.processes.is_main:
                correct.copy_(tensors["correct"])
                state.tested = record.tested
        return state

    def _measure(
        self, unit: Unit, state: _UnitState, record: PartialRecord
    ) -> list[ArchitectureAccuracy]:
        plan, supernet = self.plan, self.supernet
        cost = unit.macs(supernet.network_config)
        if state.phase == "calibration":
            batches = self.data.calibration_batches(
                unit.resolution, plan.calibration_images, plan.batch_size
            )
            for images, _ in self._own(batches, state, record, unit, cost):
                observe_batch(supernet, state.moments, images, bf16=plan.bf16)
            state.moments = self._total_moments(state)
            state.phase, state.batches = "evaluation", 0
        if not state.moments.images:
            raise UserError(f"{self.data.name}: no training images to recalibrate with")
        dtype = supernet.head.classifier.weight.dtype
        statistics = state.moments.statistics(dtype)
        if self.on_statistics is not None and self.processes.is_main:
            self.on_statistics(unit, statistics)
        tests = self.data.test_batches(unit.resolution, plan.batch_size, plan.limit)
        for images, labels in self._own(tests, state, record, unit, cost):
            count_batch(supernet, statistics, images, labels, state.correct, bf16=plan.bf16)
            state.tested += len(images)
        correct = total(self.processes, state.correct).tolist()
        state.tested = int(total(self.processes, torch.tensor(state.tested)))
        if not state.tested:
            raise UserError(f"{self.data.name}: no test images")
        return [
            ArchitectureAccuracy(
                name=architecture.name,
                top1=100 * top1 / state.tested,
                top5=100 * top5 / state.tested,
                macs=macs(architecture, supernet.network_config),
                params=params(architecture, supernet.network_config),
            )
            for architecture, (top1, top5) in zip(unit.architectures, correct, strict=True)
        ]

    def _own(
        self,
        batches: Iterator[Batch],
        state: _UnitState,
        record: PartialRecord,
        unit: Unit,
        cost: int,
    ) -> Iterator[Batch]:
        """This process's share of the batches that are not done yet, on its device."""
        rest = itertools.islice(batches, state.batches, None)
        for shares in rounds(rest, self.processes.world_size):
            if self.processes.rank < len(shares):
                images, labels = shares[self.processes.rank]
                device = self.processes.device
                yield images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            state.batches += len(shares)
            seen = sum(len(images) for images, _ in shares)
            self.meter.advance(cost * seen, f"{unit.resolution} px, {state.phase}")
            due = time.monotonic() - self._saved >= self.save_seconds
            if self.partial is not None and agree(self.processes, due):
                self._save(state, record)

    def _total_moments(self, state: _UnitState) -> Moments:
        """The moments over all processes; complete ones already are."""
        moments = state.moments
        if state.phase == "evaluation":
            return moments
        return Moments(
            moments.layout,
            total(self.processes, moments.mean),
            total(self.processes, moments.variance),
            int(total(self.processes, torch.tensor(moments.images))),
        )

    def _save(self, state: _UnitState, record: PartialRecord) -> None:
        moments = self._total_moments(state)
        correct = total(self.processes, state.correct)
        place = {
            "phase": state.phase,
            "batches": state.batches,
            "calibrated": moments.images,
            "tested": int(total(self.processes, torch.tensor(state.tested))),
        }
        tensors = {"mean": moments.mean, "variance": moments.variance, "correct": correct}
        self._write(record.model_copy(update=place), tensors)

    def _write(self, record: PartialRecord, tensors: dict[str, Tensor]) -> None:
        if self.partial is not None and self.processes.is_main:
            seconds = {"seconds": self._seconds(record)}
            write_partial(self.partial, record.model_copy(update=seconds), tensors)
        self._saved = time.monotonic()

    def _seconds(self, record: PartialRecord) -> float:
        """Time spent, in this call and in those that were interrupted before it."""
        return record.seconds + time.monotonic() - self._began

    def _begin_meter(self, record: PartialRecord) -> None:
        calibration = min(self.plan.calibration_images, self.data.num_train)
        tests = min(self.plan.limit or self.data.num_test, self.data.num_test)
        config = self.supernet.network_config
        costs = [unit.macs(config) * (calibration + tests) for unit in self.plan.units]
        done = sum(costs[: record.units])
        if record.units < len(costs):
            seen = record.calibrated + record.tested if record.batches else 0
            done += self.plan.units[record.units].macs(config) * seen
        self.meter.begin(sum(costs), done)
