"""Outcomes image by image: they make the percentages, whatever interrupts or shares the work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fofa.data import DataSource
from fofa.distributed import Processes
from fofa.errors import UserError
from fofa.evaluate.checkpoint import read_partial, write_partial
from fofa.evaluate.evaluator import Evaluation, Measured
from fofa.evaluate.plan import Plan, plan_units
from fofa.evaluate.right import RightAnswers
from fofa.progress import Progress
from fofa.space import SearchSpace, parse_architecture
from fofa.supernet.model import Supernet

NAMES = ("22222@24", "22223@24", "23222@24", "22222@32")
SPACE = SearchSpace(width_mult=0.25, resolutions=(24, 32))


class BrokenOffError(Exception):
    """Stands in for whatever ends a process."""


class Stopping(Progress):
    """Fails when `after` batches are done."""

    def __init__(self, after: int) -> None:
        self.left = after

    def stage(self, name: str, total: float, done: float = 0) -> None:
        pass

    def advance(self, amount: float = 1, *, name: str | None = None, note: str = "") -> None:
        if not self.left:
            raise BrokenOffError
        self.left -= 1


def make_plan(*, outcomes: bool = True, one_at_a_time: bool = False) -> Plan:
    named = [parse_architecture(name) for name in NAMES]
    units = plan_units(SPACE, named, one_at_a_time=one_at_a_time)
    return Plan(units=units, batch_size=16, calibration_images=40, outcomes=outcomes)


def measure(
    supernet: Supernet,
    data: DataSource,
    plan: Plan,
    partial: Path | None = None,
    after: int = 1000,
) -> Measured:
    return Evaluation(
        supernet=supernet,
        data=data,
        plan=plan,
        processes=Processes(device=torch.device("cpu")),
        progress=Stopping(after),
        settings=plan.settings(),
        partial=partial,
        save_seconds=0,
    ).run()


def test_outcomes_make_the_percentages(supernet: Supernet, noise: DataSource) -> None:
    plain = measure(supernet, noise, make_plan(outcomes=False))
    kept = measure(supernet, noise, make_plan())
    assert plain.outcomes is None
    assert kept.architectures == plain.architectures
    assert kept.outcomes is not None
    assert kept.outcomes.test_images == 30
    rows = {name: kept.outcomes.row(name) for name in NAMES}
    for entry in kept.architectures:
        assert 100 * rows[entry.name].mean() == pytest.approx(entry.top1)
    assert len({row.tobytes() for row in rows.values()}) > 1
    alone = measure(supernet, noise, make_plan(one_at_a_time=True))
    assert alone.outcomes == kept.outcomes


def test_broken_off_anywhere_the_outcomes_are_whole(
    supernet: Supernet, noise: DataSource, tmp_path: Path
) -> None:
    plan = make_plan()
    whole = measure(supernet, noise, plan).outcomes
    for after in range(10):
        partial = tmp_path / f"{after}.partial"
        with pytest.raises(BrokenOffError):
            measure(supernet, noise, plan, partial, after)
        assert measure(supernet, noise, plan, partial).outcomes == whole


def test_an_evaluation_without_outcomes_does_not_go_on_with_them(
    supernet: Supernet, noise: DataSource, tmp_path: Path
) -> None:
    partial = tmp_path / "partial"
    with pytest.raises(BrokenOffError):
        measure(supernet, noise, make_plan(outcomes=False), partial, 4)
    with pytest.raises(UserError, match="another outcomes"):
        measure(supernet, noise, make_plan(), partial)


def test_damaged_outcomes_of_a_partial_file_are_named(
    supernet: Supernet, noise: DataSource, tmp_path: Path
) -> None:
    partial, plan = tmp_path / "partial", make_plan()
    with pytest.raises(BrokenOffError):
        measure(supernet, noise, plan, partial, 9)
    record, tensors = read_partial(partial, plan.settings())
    write_partial(partial, record, tensors | {"right": tensors["right"][:, :1]})
    with pytest.raises(UserError, match=r"partial: damaged \(right is \[4, 1\].*remove it"):
        measure(supernet, noise, plan, partial)
    write_partial(partial, record, tensors | {"right": ~tensors["right"]})
    with pytest.raises(UserError, match=r"outcomes of 22222@24 do not make its top-1"):
        measure(supernet, noise, plan, partial)


def test_processes_add_up_what_each_has_seen() -> None:
    class Two:
        world_size = 2

        def __init__(self, other: RightAnswers) -> None:
            self.others = {torch.int64: other.labels + 1, torch.int32: other.right.int()}

        def total(self, tensor: torch.Tensor) -> torch.Tensor:
            return tensor + self.others[tensor.dtype]

    mine, theirs = (RightAnswers.none(1, 5, torch.device("cpu")) for _ in range(2))
    mine.see(0, torch.tensor([3, 0, 2]))
    theirs.see(3, torch.tensor([0, 1]))
    mine.right[0, 1] = theirs.right[0, 3] = True
    both = mine.total(Two(theirs))  # type: ignore[arg-type]
    assert both.labels.tolist() == [3, 0, 2, 0, 1]
    assert both.right.tolist() == [[False, True, False, True, False]]
    again = RightAnswers.none(1, 5, torch.device("cpu"))
    again.unpack(both.pack())
    assert np.array_equal(again.right, both.right)
    assert again.labels.equal(both.labels)
