"""Which accuracy tables are the rows of a table or the lines of a figure.

Recipes are compared at an equal training budget, or at equal shares of their epochs. And where the
same supernets were evaluated twice, on more images or at more resolutions, each table takes the
evaluation that serves it better; nothing that only one of them has is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.tables.budgets import Budget
from bench.tables.collect import Setting, SettingResults
from fofa.errors import UserError

Compare = Literal["budget", "epochs"]


@dataclass(frozen=True, slots=True)
class WantedRows:
    """What the caller asked for; None takes a budget where there is one, the largest common one."""

    compare: Compare | None = None
    budget_hours: float | None = None

    def __post_init__(self) -> None:
        if self.compare == "epochs" and self.budget_hours is not None:
            raise UserError("a budget is of --compare budget: leave out --budget, or compare by it")

    def of(self, results: SettingResults) -> SettingResults:
        """The accuracy tables to compare.

        Raises:
            UserError: if the setting has none such, saying what it has.
        """
        if self.compare == "epochs" or (self._by_default and not results.budgets):
            rows = results.at(None)
            if not rows.sources:
                raise UserError(
                    f"{results.setting.name}: every accuracy table is of a training budget; "
                    "leave out --compare epochs"
                )
            return rows
        if not results.budgets:
            raise UserError(
                f"{results.setting.name}: no accuracy table is of a training budget; train with "
                "fofa-train --budget, or use --compare epochs"
            )
        return results.at(self._budget(results))

    @property
    def _by_default(self) -> bool:
        return self.compare is None and self.budget_hours is None

    def _budget(self, results: SettingResults) -> Budget:
        if self.budget_hours is None:
            return largest_common_budget(results)
        found = [budget for budget in results.budgets if budget.hours == self.budget_hours]
        if not found:
            there = ", ".join(str(budget) for budget in results.budgets)
            raise UserError(
                f"{results.setting.name}: no accuracy table of a budget of {self.budget_hours:g} "
                f"hours; there are {there}"
            )
        return max(found, key=lambda budget: len(results.at(budget).by_recipe))


def parse_compare(text: str | None, budget_hours: float | None) -> WantedRows:
    """`budget`, `epochs`, or None for the default.

    Raises:
        UserError: if it is neither, or a budget is given that would not be used.
    """
    match text:
        case None | "budget" | "epochs":
            return WantedRows(text, budget_hours)
    raise UserError(f"compare {text!r}: expected budget or epochs")


def common_budgets(results: SettingResults) -> list[Budget]:
    """The budgets that two recipes or more were trained with, ascending."""
    return [budget for budget in results.budgets if len(results.at(budget).by_recipe) > 1]


def largest_common_budget(results: SettingResults) -> Budget:
    """Of the budgets that most recipes were trained with, the largest."""
    return max(results.budgets, key=lambda budget: (len(results.at(budget).by_recipe), budget))


def for_means(results: Sequence[SettingResults]) -> list[SettingResults]:
    """The evaluations for means over subnets at the largest resolution: those on most images."""
    return _without_covered(
        results, lambda setting: (max(setting.resolutions), setting.test_images)
    )


def for_limits(results: Sequence[SettingResults]) -> list[SettingResults]:
    """The evaluations for choosing within limits: at most resolutions, then on most images."""
    return _without_covered(
        results, lambda setting: (len(setting.resolutions), setting.test_images)
    )


def _without_covered(
    results: Sequence[SettingResults], worth: Callable[[Setting], tuple[int, int]]
) -> list[SettingResults]:
    """Without the evaluations whose every supernet has a worthier one."""
    return [
        one
        for one in results
        if not any(
            _same_study(one.setting, other.setting)
            and worth(other.setting) > worth(one.setting)
            and _trainings(one) <= _trainings(other)
            for other in results
        )
    ]


def _same_study(one: Setting, other: Setting) -> bool:
    alike = {"resolutions": other.resolutions, "test_images": other.test_images}
    return one.model_copy(update=alike) == other


def _trainings(results: SettingResults) -> set[tuple[str, int, Budget | None]]:
    return {source.training for source in results.sources}
