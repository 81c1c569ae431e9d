"""Budgets: the length that fits, keeping to it on a machine that drifts, and resuming all that.

Costs are those of a made-up clock: it moves when a step is trained, by what that step is to cost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_up_tables import make_accuracy, make_training
from rich.console import Console
from safetensors.torch import load_file

from fofa.accuracy import AccuracyTable
from fofa.data import open_data
from fofa.distributed import find_place
from fofa.errors import UserError
from fofa.runs import RunRecord
from fofa.seeds import mix
from fofa.train.budget import Budget, Replan
from fofa.train.launch import fit_to_budget, fit_to_pace
from fofa.train.learner import Learner
from fofa.train.metrics import Clocks
from fofa.train.settings import RunOptions, TrainSettings
from fofa.train.setup import Setup
from fofa.train.trainer import Trainer

HOURS = 0.05
Drift = Callable[[int], float]


class Clock:
    """Seconds that pass when steps are trained; `drift` slows the machine down, by the step."""

    def __init__(self, drift: Drift) -> None:
        self.now, self.drift = 0.0, drift
        self.steps = {mix(0, "dropout", step, 0): step for step in range(5000)}

    def __call__(self) -> float:
        return self.now

    def trained(self, num_subnets: int, resolution: int, seed: int) -> None:
        step = self.steps.get(seed, 0)
        self.now += 0.2 * num_subnets * (resolution / 16) ** 2 * self.drift(step)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Callable[[Clock], None]:
    """Steps cost what the clock says and move all weights by their learning rate, no more."""

    def install(clock: Clock) -> None:
        def train_step(
            self: Learner,
            phase: object,
            subnets: tuple[object, ...],
            learning_rate: float,
            images: torch.Tensor,
            labels: torch.Tensor,
            seed: int,
        ) -> torch.Tensor:
            clock.trained(len(subnets), images.shape[-1], seed)
            with torch.no_grad():
                self.supernet.head.classifier.weight.add_(learning_rate)
            return torch.ones(len(subnets))

        monkeypatch.setattr(Learner, "train_step", train_step)

    return install


def table_of(**training: object) -> AccuracyTable:
    return make_accuracy(training=make_training(**training))


def setup(recipe: str = "fofa-n3", budget_hours: float = HOURS) -> Setup:
    settings = TrainSettings(
        recipe=recipe,
        data="shapes",
        train_fraction=0.02,
        width_mult=0.25,
        resolutions=(16, 24),
        batch_size=8,
        budget_hours=budget_hours,
    )
    data = open_data("shapes", train_fraction=0.02)
    return Setup.of(settings, data, find_place("cpu"))


def fitted(made: Setup, clock: Clock) -> Setup:
    clocks = Clocks(wall=clock, cores=clock)
    options, place = RunOptions(), find_place("cpu")
    return fit_to_budget(made, options, place, Console(quiet=True), lambda: False, clocks)


def trainer(made: Setup, folder: Path, clock: Clock) -> Trainer:
    folder.mkdir(exist_ok=True)
    options = RunOptions(trackers=(), checkpoint_steps=20, validate_share=0)
    clocks = Clocks(wall=clock, cores=clock)
    return Trainer(made, folder, processes=find_place("cpu"), options=options, clocks=clocks)


DRIFTS: dict[str, Drift] = {
    "steady": lambda step: 1.0,
    "slower from the start": lambda step: 1.3,
    "slower half way": lambda step: 1.5 if step > 100 else 1.0,
    "faster": lambda step: max(0.6, 1 - step / 400),
}


@pytest.mark.parametrize(
    ("recipe", "drift"), [("compofa", "slower half way"), *(("fofa-n3", name) for name in DRIFTS)]
)
def test_a_run_costs_its_budget_whatever_the_machine_does(
    trained: Callable[[Clock], None], tmp_path: Path, recipe: str, drift: str
) -> None:
    clock = Clock(DRIFTS[drift])
    trained(clock)
    steady = Clock(DRIFTS["steady"])
    trained(steady)
    made = fitted(setup(recipe), steady)
    trained(clock)
    record = trainer(made, tmp_path, clock).run()
    assert record.status == "finished"
    assert record.training.budget_hours == HOURS
    assert record.training.core_hours == pytest.approx(HOURS, rel=0.05)
    assert record.training.core_hours == pytest.approx(clock.now / 3600)


@pytest.mark.slow
def test_at_a_pace_every_machine_takes_the_steps_of_that_one(
    trained: Callable[[Clock], None], tmp_path: Path
) -> None:
    table = table_of(core_hours=2 * HOURS, epochs=30.0, train_images=200)
    records = []
    for speed in (1.0, 3.0):
        clock = Clock(lambda step, speed=speed: speed)
        trained(clock)
        asked = setup()
        asked = replace(asked, settings=asked.settings.model_copy(update={"pace": table.pace}))
        made = fit_to_pace(asked, table.pace)
        records.append(trainer(made, tmp_path / str(speed), clock).run().training)
    one, other = records
    assert one.epochs == other.epochs
    images = table.training.train_images * table.training.epochs / 2
    assert one.epochs * one.train_images == pytest.approx(images, rel=0.02)
    assert other.core_hours == pytest.approx(3 * one.core_hours)
    for record in records:
        assert record.spent == (pytest.approx(HOURS, rel=0.02), "core-hours")
        assert record.spent_on == table.training.device
    again = table.model_copy(update={"training": other})
    assert again.pace.images_per_hour == pytest.approx(table.pace.images_per_hour)
    assert again.pace.device == table.pace.device


def test_a_table_that_does_not_say_its_cost_has_no_pace() -> None:
    for missing in ({"core_hours": None}, {"train_images": None}):
        with pytest.raises(UserError, match="does not record what training cost"):
            table_of(**{"core_hours": 1.0, "train_images": 10} | missing).pace  # noqa: B018


@pytest.mark.parametrize("killed", [(20,), pytest.param((60, 61, 150), marks=pytest.mark.slow)])
def test_a_killed_run_ends_like_one_that_was_never_killed(
    trained: Callable[[Clock], None], tmp_path: Path, killed: tuple[int, ...]
) -> None:
    steady = Clock(DRIFTS["steady"])
    trained(steady)
    made = fitted(setup("compofa"), steady)
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    clock = Clock(DRIFTS["slower half way"])
    trained(clock)
    expected = trainer(made, unbroken, clock).run()

    for moment in killed:
        clock = Clock(DRIFTS["slower half way"])
        trained(clock)
        run = trainer(made, broken, clock)

        def kill(run: Trainer = run, moment: int = moment) -> bool:
            if run.step >= moment:
                raise RuntimeError("killed")
            return False

        with pytest.raises(RuntimeError, match="killed"):
            run.run(kill)
    clock = Clock(DRIFTS["slower half way"])
    trained(clock)
    last = trainer(made, broken, clock)
    found = last.run()
    assert found.step == expected.step
    assert found.training.core_hours == pytest.approx(expected.training.core_hours)
    ours, theirs = (load_file(folder / "weights.safetensors") for folder in (broken, unbroken))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert RunRecord.read(broken / "run.json").status == "finished"


def test_a_budget_that_is_too_small_says_what_would_do(trained: Callable[[Clock], None]) -> None:
    clock = Clock(DRIFTS["steady"])
    trained(clock)
    with pytest.raises(UserError, match="too small: the shortest fofa-n3") as caught:
        fitted(setup(budget_hours=1e-4), clock)
    assert "30 of warmup, 1 of distillation" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("recipe", ["ofa", "fofa-n4"])
def test_the_scale_is_the_largest_that_fits(recipe: str) -> None:
    made = setup(recipe)
    kinds = [f"{p.phase.name}@{r}" for p in made.plan.phases for r in (16, 24)]
    costs = {kind: 1.0 + number for number, kind in enumerate(kinds)}
    budget = Budget(seconds=9000, step_seconds=costs)
    scale = budget.epoch_scale(lambda scale: made.with_epoch_scale(scale).plan, "core-hours")
    plan = made.with_epoch_scale(scale).plan
    cost = budget.cost(plan, 0, plan.num_steps)
    assert 9000 - 2 * max(costs.values()) <= cost <= 9000


def test_comparisons_come_at_shares_of_the_budget_and_once() -> None:
    budget = Budget(seconds=100, step_seconds={})
    assert not budget.is_due(9.9, ())
    assert budget.is_due(10, ())
    before = (Replan(step=5, spent=30, factor=1),)
    assert not budget.is_due(49, before)
    assert budget.is_due(50, before)
