"""`python -m benchmarks.ablations`: what a row says, and that no run is done twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks import ablations
from benchmarks.ablations import (
    Experiment,
    Setting,
    app,
    read_rows,
    row_of,
    some_subnets,
    step_costs,
    step_seconds,
)
from benchmarks.schedules import SCHEDULES
from fofa.errors import UserError
from fofa.space import Subnet

STEP_COSTS = {
    "largest fixed, 0 random, labels": {"24": 2.0, "32": 2.0},
    "none fixed, 1 random, labels": {"24": 1.0, "32": 1.0},
}


@pytest.mark.parametrize(("sign", "ends"), [(1, (20.0, 40.0)), (-1, (-20.0, -40.0))])
def test_a_row_knows_whether_larger_subnets_are_better(
    sign: int, ends: tuple[float, float]
) -> None:
    depths = {(4,) * 5: 40.0, (2,) * 5: 20.0, (3,) * 5: 30.0}
    top1 = {Subnet.compound(depth): sign * value for depth, value in depths.items()}
    row = row_of(Experiment(schedule="naive", core_seconds=9, seed=1), 12, 8.76, top1)
    assert (row.smallest, row.largest, row.mean) == (*ends, sign * 30)
    assert row.correlation * sign > 0.9
    assert (row.steps, row.spent) == (12, 8.8)


def test_the_subnets_are_the_same_every_time_and_have_both_ends() -> None:
    names = [subnet.name for subnet in some_subnets()]
    assert names == [subnet.name for subnet in some_subnets()]
    assert {"22222", "44444"} < set(names)
    assert len(set(names)) == 16


def test_a_cost_buys_steps_and_a_row_that_is_there_is_not_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    monkeypatch.setattr(ablations, "CALIBRATION_IMAGES", 20)
    monkeypatch.setattr(ablations, "HELD_OUT_IMAGES", 20)
    (tmp_path / "step-costs.json").write_text(json.dumps(STEP_COSTS))
    out = tmp_path / "rows.jsonl"
    arguments = ["--data", "shapes", "--preset", "shapes", "--width-mult", "0.25"]
    arguments += ["--train-fraction", "0.05", "--schedules", "naive", "--core-seconds", "66"]
    arguments += ["--runs", str(tmp_path), "--out", str(out)]
    first = CliRunner().invoke(app, arguments, catch_exceptions=False)
    (row,) = read_rows(out)
    # Thirty steps of the largest at 2 s each, and what is left for random ones at 1 s.
    assert row.steps == 36
    assert row.spent > 0
    assert str(row) in first.output
    written = out.read_text()
    monkeypatch.setattr(ablations, "train", None)
    again = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert again.exit_code == first.exit_code == 0
    assert out.read_text() == written
    assert str(row) in again.output


def test_steps_of_every_phase_are_timed_and_costs_that_are_known_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    monkeypatch.setattr(ablations, "TIMED_ROUNDS", 1)
    file, recipe = tmp_path / "step-costs.json", SCHEDULES["compofa-fast-students"]()
    file.write_text(json.dumps(STEP_COSTS))
    setting = Setting(preset="shapes", data="shapes", train_fraction=0.05, width_mult=0.25)
    costs = step_costs(file, recipe, lambda timed: setting.setup(timed, 0), None, lambda: False)
    assert costs == json.loads(file.read_text())
    assert set(costs) == {
        *STEP_COSTS,
        "largest fixed, 0 random, labels, kernels centre",
        "none fixed, 4 random, teacher, kernels centre",
    }
    assert {name: costs[name] for name in STEP_COSTS} == STEP_COSTS
    assert all(step_seconds(costs, phase, recipe, 24) > 0 for phase in recipe.phases)


def test_a_line_that_is_no_row_is_named(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    out.write_text('{"schedule": "naive"}\n')
    with pytest.raises(UserError, match=r"rows\.jsonl: line 1 is not a row"):
        read_rows(out)
    assert read_rows(tmp_path / "none.jsonl") == []
