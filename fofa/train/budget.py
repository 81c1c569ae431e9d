"""Training for a budget of core- or GPU-hours: how long the recipe may be, and keeping to it.

Before the run, some steps of every phase are timed at every resolution, and the recipe's epochs are
scaled so that its steps cost the budget. Machines drift, so what was really spent is compared with
that forecast a few times while training goes on, and the rest of the plan is rescaled.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from fofa.data import DataSource, TrainOrder
from fofa.distributed import Processes
from fofa.errors import UserError
from fofa.seeds import mix
from fofa.train.learner import Learner, check_enough
from fofa.train.schedule import PhasePlan, TrainPlan

REPLAN_SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.97)
"""Of the budget: when what was spent is compared with the forecast."""
TIMED_ROUNDS = 3
TIMING_SHARE = 0.03
"""Of the budget, that timing may take beyond its first round."""
EXACT_STEPS = 2000
"""A phase's steps are counted one by one, with their resolutions, up to this many."""
MAX_SCALE = 1000.0


class StoppedEarlyError(Exception):
    """A signal asked to stop before the first step."""


class Replan(BaseModel):
    """After `step` steps, which had cost `spent` seconds, the rest was made longer by `factor`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: int = Field(ge=0)
    spent: float = Field(ge=0, allow_inf_nan=False)
    factor: float = Field(ge=0, allow_inf_nan=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Seconds that a run may cost, and what its steps were found to cost.

    Seconds are those of all cores or all GPUs together. `step_seconds` are of one step, by
    `kind(phase, resolution)`.
    """

    seconds: float
    step_seconds: Mapping[str, float]

    def cost(self, plan: TrainPlan, start: int, stop: int) -> float:
        """Forecast of the steps from `start` to before `stop`."""
        total = 0.0
        for phase in plan.phases:
            steps = range(max(start, phase.steps.start), min(stop, phase.steps.stop))
            costs = {r: self.step_seconds[kind(phase, r)] for r in plan.resolutions}
            if len(steps) <= EXACT_STEPS:
                total += sum(costs[plan.resolution(step)] for step in steps)
            else:
                total += len(steps) * statistics.mean(costs.values())
        return total

    def epoch_scale(self, plan_at: Callable[[float], TrainPlan], unit: str) -> float:
        """The largest scale of the recipe's epochs whose plan costs no more than the budget.

        Raises:
            UserError: if the shortest plan that there is costs more.
        """
        shortest = plan_at(0.0)
        least = self.cost(shortest, 0, shortest.num_steps)
        if least > self.seconds:
            steps = ", ".join(f"{p.num_steps} of {p.phase.name}" for p in shortest.phases)
            raise UserError(
                f"a budget of {self.seconds / 3600:.3g} {unit} is too small: the shortest "
                f"{shortest.recipe.name} on this machine ({steps}) costs {least / 3600:.3g}"
            )
        low, high = 0.0, 1e-4
        while high < MAX_SCALE and self._fits(plan_at(high)):
            low, high = high, min(2 * high, MAX_SCALE)
        for _ in range(40):
            middle = (low + high) / 2
            if self._fits(plan_at(middle)):
                low = middle
            else:
                high = middle
        return low or high

    def is_due(self, spent: float, replans: Sequence[Replan]) -> bool:
        """Whether it is time to compare `spent` with the forecast again."""
        before = replans[-1].spent if replans else 0.0
        return self._shares(spent) > self._shares(before)

    def replan(self, plan: TrainPlan, step: int, spent: float, replans: Sequence[Replan]) -> Replan:
        """What is to become of the rest of `plan` after `step` steps, for its cost to fit.

        The forecast of the rest is corrected by how this machine did since the replan before.
        """
        last = replans[-1] if replans else Replan(step=0, spent=0.0, factor=1.0)
        drift = (spent - last.spent) / max(self.cost(plan, last.step, step), 1e-9)
        rest = drift * self.cost(plan, step, plan.num_steps)
        left = max(self.seconds - spent, 0.0)
        return Replan(step=step, spent=spent, factor=left / rest if rest > 0 else 1.0)

    def after(self, spent: float) -> Replan:
        """What is to become of the whole plan, where `spent` went before its first step."""
        return Replan(step=0, spent=spent, factor=max(1 - spent / self.seconds, 0.0))

    def _fits(self, plan: TrainPlan) -> bool:
        return self.cost(plan, 0, plan.num_steps) <= self.seconds

    def _shares(self, spent: float) -> int:
        return sum(spent >= share * self.seconds for share in REPLAN_SHARES)


def kind(phase: PhasePlan, resolution: int) -> str:
    """What steps of equal cost have in common."""
    return f"{phase.phase.name}@{resolution}"


def time_steps(
    learner: Learner,
    data: DataSource,
    order: TrainOrder,
    plan: TrainPlan,
    *,
    budget_seconds: float,
    processes: Processes,
    clock: Callable[[], float],
    should_stop: Callable[[], bool],
    rounds: int = TIMED_ROUNDS,
) -> dict[str, float]:
    """Seconds that a step of each kind costs, over all processes; `learner` is worn out by it.

    One step of each phase to warm up, then up to `rounds` over all kinds, fewer where they would
    take more than a small share of the budget.

    Raises:
        StoppedEarlyError: when `should_stop` says so.
    """
    kinds = [(phase, resolution) for phase in plan.phases for resolution in plan.resolutions]
    if any(phase.phase.loss == "teacher" for phase in plan.phases) and learner.teacher is None:
        learner.take_teacher()
    found: dict[str, list[float]] = {kind(phase, r): [] for phase, r in kinds}
    warming = kinds[:: len(plan.resolutions)]
    planned = warming + rounds * kinds
    batches = data.train_batches(order, range(len(planned)), lambda step: planned[step][1])
    skipped, began, before = data.num_skipped, clock(), clock()
    for step, (phase, resolution) in enumerate(planned):
        images, labels = next(batches)
        check_enough(images, step, plan.family)
        learner.train_step(
            phase.phase,
            plan.subnets_of(phase.phase, step),
            phase.peak_rate / 1000,
            images,
            labels,
            mix(plan.seed, "timing", step),
        )
        now = clock()
        if step >= len(warming):
            found[kind(phase, resolution)].append(now - before)
        before = now
        if processes.any_of(should_stop())[0]:
            raise StoppedEarlyError
        enough = now - began > TIMING_SHARE * budget_seconds / processes.world_size
        if step >= len(warming) + len(kinds) - 1 and processes.agree(enough):
            break
    data.num_skipped = skipped
    mean = {name: statistics.mean(values) for name, values in found.items()}
    return {name: processes.share(value) * processes.world_size for name, value in mean.items()}
