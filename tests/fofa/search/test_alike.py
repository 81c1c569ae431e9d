"""One standard error: how many are alike, and the fastest of them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from fofa.accuracy import AccuracyTable, EvaluationRecord
from fofa.errors import UserError
from fofa.latency import Lut
from fofa.outcomes import Outcomes
from fofa.search.pairing import pair
from fofa.search.problem import Problem, Target
from fofa.search.solve import solve

IMAGES = 400
EVALUATION = EvaluationRecord(calibration_images=1, test_images=IMAGES, split="test")


@pytest.fixture
def lut(make_lut: Callable[..., Lut]) -> Lut:
    return make_lut(resolutions=(128,))


@pytest.fixture
def table(make_accuracy: Callable[..., AccuracyTable]) -> AccuracyTable:
    return make_accuracy(resolutions=(128,), evaluation=EVALUATION)


def test_the_fastest_within_one_standard_error_is_preferred(lut: Lut, table: AccuracyTable) -> None:
    target = Target(name="a.json", lut=lut, limit_ms=12.0)
    plain = solve(Problem(accuracy=table, targets=(target,)))
    near = solve(Problem(accuracy=table, targets=(target,), within_error=True))
    candidates = pair(lut, table)
    within = candidates.latency_ms <= 12.0
    best = candidates.top1[within].max()
    error = 100 * math.sqrt(best / 100 * (1 - best / 100) / IMAGES)
    alike = within & (candidates.top1 >= best - error)
    assert plain.results[0].top1 == best
    assert plain.num_alike == near.num_alike == (alike.sum(),)
    assert alike.sum() > 1
    assert near.results[0].latency_ms == candidates.latency_ms[alike].min()
    assert near.results[0].latency_ms < plain.results[0].latency_ms
    (note,) = plain.notes
    assert note.startswith(f"{alike.sum()} of the {within.sum()} architectures within the limits")
    assert f"({error:.2f} points on 400 test images)" in note
    assert near.notes == (note, "Shown is the cheapest of them.")


def test_outcomes_tell_apart_what_percentages_cannot(lut: Lut, table: AccuracyTable) -> None:
    """Every network gets the images right that a worse one does: nothing but size differs."""
    right, rows = {}, []
    for entry in table.architectures:
        number = round(entry.top1 / 100 * IMAGES)
        right[entry.name] = np.arange(IMAGES) < number
        rows.append(entry.model_copy(update={"top1": 100 * number / IMAGES}))
    exact = table.model_copy(update={"architectures": rows})
    targets = (Target(name="a.json", lut=lut, limit_ms=12.0),)
    outcomes = Outcomes.of("0" * 64, right)
    without = solve(Problem(accuracy=exact, targets=targets))
    paired = solve(Problem(accuracy=exact, targets=targets, outcomes=outcomes))
    few, many = paired.num_alike[0], without.num_alike[0]
    assert few is not None
    assert many is not None
    assert 1 <= few < many < len(rows)
    assert "of their difference on the same 400 test images" in paired.notes[0]


def test_equal_outcomes_are_all_alike(lut: Lut, table: AccuracyTable) -> None:
    row = np.arange(IMAGES) < 300
    same = table.model_copy(
        update={"architectures": [r.model_copy(update={"top1": 75.0}) for r in table.architectures]}
    )
    outcomes = Outcomes.of("0" * 64, {entry.name: row for entry in table.architectures})
    targets = (Target(name="a.json", lut=lut, limit_ms=1000.0),)
    problem = Problem(accuracy=same, targets=targets, outcomes=outcomes, within_error=True)
    found = solve(problem)
    assert found.num_alike == (243,)
    assert found.results[0].latency_ms == pair(lut, same).latency_ms.min()


def test_every_device_has_its_own_sentence(lut: Lut, table: AccuracyTable) -> None:
    targets = tuple(Target(name=name, lut=lut, limit_ms=12.0) for name in ("a.json", "b.json"))
    notes = solve(Problem(accuracy=table, targets=targets)).notes
    assert [note.startswith("On cpu: ") for note in notes] == [True]
    joint = solve(Problem(accuracy=table, targets=targets, joint=True))
    assert joint.num_alike == (joint.num_alike[0],) * 2


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (1, "{best} is the only architecture within the limits."),
        (2, "No other architecture within the limits is within one standard error"),
    ],
)
def test_a_winner_that_is_alone(lut: Lut, table: AccuracyTable, number: int, sentence: str) -> None:
    """Beside nothing, and beside one that is far below it."""
    entries = sorted(table.architectures, key=lambda entry: entry.top1)
    best = entries[-1].model_copy(update={"top1": 90.0})
    worse = entries[0].model_copy(update={"top1": 10.0})
    few = table.model_copy(update={"architectures": [best, worse][:number]})
    target = Target(name="a.json", lut=lut, limit_ms=1e6)
    found = solve(Problem(accuracy=few, targets=(target,)))
    assert found.num_alike == (1,)
    assert found.notes[0].startswith(sentence.format(best=best.name))


def test_a_budget_of_multiply_adds_prefers_the_smallest(table: AccuracyTable) -> None:
    near = solve(Problem(accuracy=table, max_macs=2e8, within_error=True)).results[0]
    plain = solve(Problem(accuracy=table, max_macs=2e8)).results[0]
    assert near.macs < plain.macs


def test_a_predictor_has_no_such_error(make_predictor: Callable[..., object]) -> None:
    with pytest.raises(UserError, match="--within-error needs an accuracy table"):
        Problem(accuracy=make_predictor(), max_macs=1e9, within_error=True)  # type: ignore[arg-type]
