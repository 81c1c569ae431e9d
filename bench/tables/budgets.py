"""What a training was allowed to cost and what it cost, in hours of cores or of GPUs.

Hours of one unit are never set beside those of the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from fofa.accuracy import AccuracyTable, CostUnit, TrainingRecord
from fofa.recipes import RECIPES


@dataclass(frozen=True, slots=True, order=True)
class Budget:
    """Hours that a training was asked to keep to; smaller ones sort first."""

    hours: float
    unit: CostUnit

    def __str__(self) -> str:
        return f"{self.hours:g} {self.unit}"


def training_cost(training: TrainingRecord) -> tuple[float, CostUnit] | None:
    """GPU-hours, or core-hours where no GPU was used; None where neither was recorded."""
    hours, unit = training.spent
    return (hours, unit) if hours else None


def budget_of(training: TrainingRecord) -> Budget | None:
    """The budget that a training was asked to keep to; None where its epochs were given."""
    if training.budget_hours is None:
        return None
    return Budget(training.budget_hours, training.spent[1])


def trained_share(table: AccuracyTable) -> float | None:
    """Which share of its recipe's epochs a supernet was trained for; None where that is not known.

    By the epochs that it saw: a run within a budget is made longer and shorter on its way.
    """
    recipe = RECIPES.get(table.recipe)
    return table.training.epochs / recipe().epochs if recipe else table.training.epoch_scale


def whole_schedule_cost(table: AccuracyTable) -> tuple[float, CostUnit] | None:
    """What all epochs of the recipe would cost, by what the trained share of them did.

    None where cost or share is not known, and where a phase of the recipe does not grow with the
    others: longer schedules have dearer steps then.
    """
    recipe = RECIPES.get(table.recipe)
    if recipe and not recipe().is_proportional:
        return None
    cost, share = training_cost(table.training), trained_share(table)
    return (cost[0] / share, cost[1]) if cost and share else None
