"""The evaluation of a plan: unit by unit, batch by batch, interruptible at any moment.

For each unit two passes walk the prefix tree of its subnets: recalibration over training images,
then counting over test images. With several processes, each takes every n-th batch and sums are
added up, so that the counts are those of one process.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from fofa.accuracy import ArchitectureAccuracy, Int8Check
from fofa.data import Batch, DataSource
from fofa.distributed import Processes
from fofa.errors import UserError
from fofa.evaluate.checkpoint import (
    PartialRecord,
    Phase,
    Settings,
    check_progress,
    check_sums,
    read_partial,
    write_partial,
)
from fofa.evaluate.forecast import seconds_of_pass
from fofa.evaluate.int8 import check_exactly, checked_architectures, simulated_unit
from fofa.evaluate.plan import Plan, Unit
from fofa.evaluate.right import NAMES as RIGHT_ANSWERS
from fofa.evaluate.right import RightAnswers
from fofa.int8.tree import SimulatedTree
from fofa.outcomes import Outcomes
from fofa.progress import Progress
from fofa.recalibration import Moments, Statistics, observe_batch
from fofa.space import macs, params
from fofa.supernet.model import Supernet

SAVE_SECONDS = 30.0

StatisticsHook = Callable[[Unit, Statistics], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What an evaluation found. `calibrated` and `tested` are images of each architecture.

    `outcomes`: image by image, where the plan asked for it. `checks`: of int8, against exported
    graphs.
    """

    architectures: list[ArchitectureAccuracy]
    seconds: float
    calibrated: int
    tested: int
    outcomes: Outcomes | None = None
    checks: tuple[Int8Check, ...] = ()


@dataclass(slots=True)
class _UnitState:
    """This process's sums for the unit going on; `row` is its first architecture's in the plan."""

    moments: Moments
    correct: Tensor
    row: int
    phase: Phase = "calibration"
    batches: int = 0
    tested: int = 0
    checks: list[Int8Check] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Evaluation:
    """Runs a plan; `run` may be called once.

    Attributes:
        progress: is told how far the evaluation is, in multiply-adds.
        settings: everything that the numbers depend on; a partial file of other ones is refused.
        partial: where to keep what is done while the evaluation goes on; None to keep nothing.
        on_statistics: is called, in the main process, with each unit's recalibrated statistics.
        on_forecast: is told, in the main process before the work begins, about how many seconds
            computing takes; reading images comes on top where they are decoded.
        save_seconds: how often the partial file is written, at the end of a batch.
    """

    supernet: Supernet
    data: DataSource
    plan: Plan
    processes: Processes
    progress: Progress = field(default_factory=Progress)
    settings: Settings = field(default_factory=dict)
    partial: Path | None = None
    on_statistics: StatisticsHook | None = None
    on_forecast: Callable[[float], None] | None = None
    save_seconds: float = SAVE_SECONDS
    _right: RightAnswers | None = field(default=None, init=False)
    _began: float = field(default=0.0, init=False)
    _saved: float = field(default=0.0, init=False)

    def run(self) -> Measured:
        """Measure everything that the partial file does not hold yet.

        Raises:
            UserError: if the partial file is of another evaluation, if there are no images, or if
                the weights are not usable.
        """
        record, tensors = PartialRecord(settings=self.settings), dict[str, Tensor]()
        if self.partial is not None:
            record, tensors = read_partial(self.partial, self.settings)
            check_progress(self.partial, record, self.plan, self._num_tests)
        self._begin_outcomes(tensors)
        self._began = self._saved = time.monotonic()
        self._tell_forecast(record)
        self._begin_progress(record)
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
                checks=[*record.checks, *state.checks],
            )
            tensors = {}
            self._write(record, {})
        right = self._right.total(self.processes) if self._right else None
        return Measured(
            architectures=record.finished,
            seconds=self._seconds(record),
            calibrated=record.calibrated,
            tested=record.tested,
            outcomes=right.outcomes(record.finished) if right else None,
            checks=tuple(record.checks),
        )

    @property
    def _num_tests(self) -> int:
        return min(self.plan.limit or self.data.num_test, self.data.num_test)

    def _begin_outcomes(self, tensors: dict[str, Tensor]) -> None:
        """Room for the outcomes, and in rank 0 those of the partial file, taken out of it."""
        if not self.plan.outcomes:
            return
        number = len(self.plan.architectures)
        self._right = RightAnswers.none(number, self._num_tests, self.processes.device)
        kept = {name: tensors.pop(name) for name in RIGHT_ANSWERS if name in tensors}
        if kept and self.processes.is_main:
            try:
                self._right.unpack(kept)
            except UserError as error:
                raise UserError(
                    f"{self.partial}: damaged ({error}); remove it to start over"
                ) from None

    def _start(self, unit: Unit, record: PartialRecord, tensors: dict[str, Tensor]) -> _UnitState:
        """Sums of zero, or in rank 0 those of the partial file."""
        moments = Moments.zeros(self.supernet, unit.subnets)
        correct = torch.zeros(len(unit.subnets), 2, dtype=torch.int64, device=self.processes.device)
        row = sum(len(done.subnets) for done in self.plan.units[: record.units])
        state = _UnitState(moments, correct, row)
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
        tree = self._simulated(unit, statistics, cost)
        tests = self.data.test_batches(unit.resolution, plan.tested_at_once, plan.limit)
        for images, labels in self._own(tests, state, record, unit, cost):
            right = None
            if self._right is not None:
                start = (state.batches + self.processes.rank) * plan.tested_at_once
                self._right.see(start, labels)
                rows = slice(state.row, state.row + len(unit.subnets))
                right = self._right.right[rows, start : start + len(labels)]
            if tree is not None:
                found = tree.logits(images)
            else:
                found = statistics.logits(supernet, images, bf16=plan.bf16)
            count_logits(found, labels, state.correct, right)
            state.tested += len(images)
        correct = self.processes.total(state.correct).tolist()
        state.tested = int(self.processes.total(torch.tensor(state.tested)))
        if not state.tested:
            raise UserError(f"{self.data.name}: no test images")
        if tree is not None and self.processes.is_main:
            chosen = checked_architectures(plan, supernet.network_config)
            for architecture in unit.architectures:
                if architecture in chosen:
                    check = check_exactly(tree, unit, architecture, self.data, plan)
                    state.checks.append(check)
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

    def _simulated(self, unit: Unit, statistics: Statistics, cost: int) -> SimulatedTree | None:
        """The unit's subnets in int8, where the plan asks for it."""
        if self.plan.int8 is None:
            return None
        name = f"{unit.resolution} px, ranges"
        self.progress.advance(0, name=name)
        tree = simulated_unit(self.supernet, statistics, unit, self.data, self.plan)
        self.progress.advance(cost * self._range_images, name=name)
        return tree

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
        while shares := list(itertools.islice(rest, self.processes.world_size)):
            if self.processes.rank < len(shares):
                images, labels = shares[self.processes.rank]
                device = self.processes.device
                yield images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            state.batches += len(shares)
            seen = sum(len(images) for images, _ in shares)
            self.progress.advance(cost * seen, name=f"{unit.resolution} px, {state.phase}")
            due = time.monotonic() - self._saved >= self.save_seconds
            if self.partial is not None and self.processes.agree(due):
                self._save(state, record)

    def _total_moments(self, state: _UnitState) -> Moments:
        """The moments over all processes; complete ones already are."""
        moments = state.moments
        if state.phase == "evaluation":
            return moments
        return Moments(
            moments.layout,
            self.processes.total(moments.mean),
            self.processes.total(moments.variance),
            int(self.processes.total(torch.tensor(moments.images))),
        )

    def _save(self, state: _UnitState, record: PartialRecord) -> None:
        moments = self._total_moments(state)
        correct = self.processes.total(state.correct)
        place = {
            "phase": state.phase,
            "batches": state.batches,
            "calibrated": moments.images,
            "tested": int(self.processes.total(torch.tensor(state.tested))),
        }
        tensors = {"mean": moments.mean, "variance": moments.variance, "correct": correct}
        self._write(record.model_copy(update=place), tensors)

    def _write(self, record: PartialRecord, tensors: dict[str, Tensor]) -> None:
        if self.partial is None:
            return
        if self._right is not None:
            tensors = tensors | self._right.total(self.processes).pack()
        if self.processes.is_main:
            seconds = {"seconds": self._seconds(record)}
            write_partial(self.partial, record.model_copy(update=seconds), tensors)
        self._saved = time.monotonic()

    def _seconds(self, record: PartialRecord) -> float:
        """Time spent, in this call and in those that were interrupted before it."""
        return record.seconds + time.monotonic() - self._began

    def _begin_progress(self, record: PartialRecord) -> None:
        config = self.supernet.network_config
        costs = [unit.macs(config) * self._images_each for unit in self.plan.units]
        done = sum(costs[: record.units])
        if record.units < len(costs):
            done += self.plan.units[record.units].macs(config) * _images_seen(record)
        self.progress.stage("starting", sum(costs), done)

    @property
    def _images_each(self) -> int:
        """Images that a unit sees, in all passes together."""
        seen = min(self.plan.calibration_images, self.data.num_train) + self._num_tests
        return seen + self._range_images

    @property
    def _range_images(self) -> int:
        """Images of a unit that show the ranges of int8."""
        return min(self.plan.int8.num_images, self.data.num_train) if self.plan.int8 else 0

    def _tell_forecast(self, record: PartialRecord) -> None:
        """Try a unit of each size, and say how long what is left will take."""
        rest = self.plan.units[record.units :]
        if self.on_forecast is None or not rest:
            return
        tried: dict[int, float] = {}
        seconds = 0.0
        for number, unit in enumerate(rest):
            own = unit.macs(self.supernet.network_config)
            if unit.resolution not in tried:
                each = seconds_of_pass(
                    self.supernet,
                    unit,
                    self.processes.device,
                    batch_size=self.plan.batch_size,
                    bf16=self.plan.bf16,
                    int8=self.plan.int8,
                )
                tried[unit.resolution] = each / own
            images = self._images_each - (_images_seen(record) if number == 0 else 0)
            seconds += tried[unit.resolution] * own * images
        if self.processes.is_main:
            self.on_forecast(seconds / self.processes.world_size)


def _images_seen(record: PartialRecord) -> int:
    """What the unit that was going on has seen."""
    return record.calibrated + record.tested if record.batches else 0


@torch.inference_mode()
def count_batch(
    supernet: Supernet,
    statistics: Statistics,
    images: Tensor,
    labels: Tensor,
    correct: Tensor,
    *,
    bf16: bool = False,
    right: Tensor | None = None,
) -> None:
    """Add every subnet's right answers for [N, 3, R, R] images to `correct`, int64 [subnets, 2].

    Column 0 counts answers that are right at the first guess, column 1 within five.

    Args:
        right: bool [subnets, N], set to which answers are right at the first guess.
    """
    count_logits(statistics.logits(supernet, images, bf16=bf16), labels, correct, right)


@torch.inference_mode()
def count_logits(
    found: Iterable[tuple[int, Tensor]],
    labels: Tensor,
    correct: Tensor,
    right: Tensor | None = None,
) -> None:
    """`count_batch` of the logits [N, classes] of each subnet, by its number."""
    for leaf, logits in found:
        hits = answers(logits, labels)
        correct[leaf] += hits.sum(dim=1)
        if right is not None:
            right[leaf] = hits[0]


def count_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """How many of [N, classes] logits have the label first, and among the first five: int64 [2]."""
    return answers(logits, labels).sum(dim=1)


def answers(logits: Tensor, labels: Tensor) -> Tensor:
    """Which of [N, classes] logits have the label first, and among the first five: bool [2, N]."""
    guesses = logits.topk(min(5, logits.shape[1]), dim=1).indices
    hits = guesses == labels[:, None]
    return torch.stack([hits[:, 0], hits.any(dim=1)])
