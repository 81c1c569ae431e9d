"""What a training was allowed to cost and what it cost, in hours of cores or of GPUs.

Hours of one unit are never set beside those of the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fofa.accuracy import TrainingRecord

CostUnit = Literal["GPU-hours", "core-hours"]


@dataclass(frozen=True, slots=True, order=True)
class Budget:
    """Hours that a training was asked to keep to; smaller ones sort first."""

    hours: float
    unit: CostUnit

    def __str__(self) -> str:
        return f"{self.hours:g} {self.unit}"


def training_cost(training: TrainingRecord) -> tuple[float, CostUnit] | None:
    """GPU-hours, or core-hours where no GPU was used; None where neither was recorded."""
    if training.gpu_hours > 0:
        return training.gpu_hours, "GPU-hours"
    if training.core_hours:
        return training.core_hours, "core-hours"
    return None


def budget_of(training: TrainingRecord) -> Budget | None:
    """The budget that a training was asked to keep to; None where its epochs were given."""
    if training.budget_hours is None:
        return None
    return Budget(training.budget_hours, "GPU-hours" if training.gpu_hours > 0 else "core-hours")


def whole_schedule_cost(training: TrainingRecord) -> tuple[float, CostUnit] | None:
    """What all epochs of the recipe would cost, by what the trained share of them did.

    None where cost or share was not recorded.
    """
    cost = training_cost(training)
    if cost is None or training.epoch_scale is None:
        return None
    return cost[0] / training.epoch_scale, cost[1]
