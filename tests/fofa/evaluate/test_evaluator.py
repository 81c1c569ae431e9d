"""Evaluation of a plan: shared or not, broken off anywhere, the numbers are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import evaluations
import pytest
import torch
from evaluations import ALONE

from fofa.accuracy import ArchitectureAccuracy
from fofa.data import Batch, DataSource
from fofa.errors import UserError
from fofa.evaluate.checkpoint import PartialRecord, read_partial, write_partial
from fofa.evaluate.evaluator import Evaluation
from fofa.evaluate.forecast import seconds_of_pass
from fofa.evaluate.plan import Plan, Unit, plan_units
from fofa.progress import Progress
from fofa.space import (
    Architecture,
    SearchSpace,
    Subnet,
    compound_subnets,
    parse_architecture,
)
from fofa.supernet.model import Supernet
from fofa.supernet.prefix_tree import prefix_tree

NAMES = ["22222@24", "22223@24", "23222@24", "22222@32"]
SPACE = SearchSpace(width_mult=0.25, resolutions=(24, 32))


class BrokenOffError(Exception):
    """Stands in for whatever ends a process."""


class BreakingData:
    """Passes batches on until `after` of them were given out, then fails."""

    def __init__(self, data: DataSource, after: int) -> None:
        self.data = data
        self.left = after

    def __getattr__(self, name: str) -> object:
        return getattr(self.data, name)

    def _watched(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            if not self.left:
                raise BrokenOffError
            self.left -= 1
            yield batch

    def calibration_batches(self, *args: int) -> Iterator[Batch]:
        return self._watched(self.data.calibration_batches(*args))

    def test_batches(self, *args: int) -> Iterator[Batch]:
        return self._watched(self.data.test_batches(*args))


def make_plan(one_at_a_time: bool = False, batch_size: int = 16) -> Plan:
    named = [parse_architecture(name) for name in NAMES]
    units = plan_units(SPACE, named, one_at_a_time=one_at_a_time)
    return Plan(units=units, batch_size=batch_size, calibration_images=40)


def evaluate(
    supernet: Supernet, data: DataSource, plan: Plan, partial: Path | None = None
) -> list[ArchitectureAccuracy]:
    return evaluations.evaluate(supernet, data, plan, partial).architectures


def test_one_at_a_time_gives_the_same_numbers(supernet: Supernet, noise: DataSource) -> None:
    shared = evaluate(supernet, noise, make_plan())
    separate = evaluate(supernet, noise, make_plan(one_at_a_time=True))
    assert shared == separate
    assert [entry.name for entry in shared] == NAMES
    assert len({entry.top1 for entry in shared}) > 1
    assert all(0 < entry.top1 <= entry.top5 <= 100 for entry in shared)


def test_broken_off_anywhere_it_goes_on_to_the_same_numbers(
    supernet: Supernet, noise: DataSource, tmp_path: Path
) -> None:
    plan = make_plan()
    whole = evaluate(supernet, noise, plan)
    # Per unit 3 batches to recalibrate and 2 to test, in 2 units.
    for after in range(10):
        partial = tmp_path / f"{after}.partial"
        with pytest.raises(BrokenOffError):
            evaluate(supernet, BreakingData(noise, after), plan, partial)  # type: ignore[arg-type]
        assert partial.exists() == (after > 0)
        needed = BreakingData(noise, 10)
        assert evaluate(supernet, needed, plan, partial) == whole  # type: ignore[arg-type]
        assert needed.left >= after - after % 5  # finished units are not done again


def test_batches_that_are_done_are_not_computed_again(
    supernet: Supernet, noise: DataSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, partial = make_plan(), tmp_path / "partial"
    with pytest.raises(BrokenOffError):
        evaluate(supernet, BreakingData(noise, 4), plan, partial)  # type: ignore[arg-type]
    computed = []
    run_step = Supernet.run_step

    def counting(self: Supernet, step: object, *args: object) -> torch.Tensor:
        if getattr(step, "position", None) == "stem":
            computed.append(step)
        return run_step(self, step, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Supernet, "run_step", counting)
    evaluate(supernet, noise, plan, partial)
    # Four batches were given out; the last of them may have been done before the next was asked.
    assert len(computed) == 10 - 4


def test_counting_in_larger_batches_gives_the_same_numbers(
    supernet: Supernet, noise: DataSource, tmp_path: Path
) -> None:
    plan = replace(make_plan(), test_batch_size=20)
    whole = evaluate(supernet, noise, make_plan())
    assert evaluate(supernet, noise, plan) == whole
    partial = tmp_path / "partial"
    with pytest.raises(BrokenOffError):  # three batches to recalibrate, one of two to test
        evaluate(supernet, BreakingData(noise, 4), plan, partial)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="another test batch size"):
        evaluate(supernet, noise, make_plan(), partial)
    assert evaluate(supernet, noise, plan, partial) == whole


def test_the_forecast_follows_from_a_try_of_neighbours(
    supernet: Supernet, noise: DataSource
) -> None:
    unit, config = Unit(24, tuple(compound_subnets())), supernet.network_config
    ticks = iter((0.0, 4.0))
    found = seconds_of_pass(supernet, unit, ALONE.device, batch_size=20, clock=lambda: next(ticks))
    tried = prefix_tree(unit.subnets[117:126]).macs(24, config)
    assert found == pytest.approx(4.0 / (2 * 20) * unit.macs(config) / tried)
    told: list[float] = []
    Evaluation(
        supernet=supernet,
        data=noise,
        plan=make_plan(),
        processes=ALONE,
        on_forecast=told.append,
    ).run()
    assert len(told) == 1
    assert told[0] > 0


def test_other_settings_are_not_mixed(
    supernet: Supernet, noise: DataSource, tmp_path: Path
) -> None:
    partial = tmp_path / "partial"
    with pytest.raises(BrokenOffError):
        evaluate(supernet, BreakingData(noise, 2), make_plan(), partial)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"partial: .*another batch size.*remove it"):
        evaluate(supernet, noise, make_plan(batch_size=15), partial)
    with pytest.raises(UserError, match="another architectures"):
        evaluate(supernet, noise, make_plan(one_at_a_time=True), partial)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x02\0\0\0\0\0\0\0{}"])
def test_a_damaged_partial_file_is_named(
    supernet: Supernet, noise: DataSource, tmp_path: Path, content: bytes
) -> None:
    partial = tmp_path / "partial"
    partial.write_bytes(content)
    with pytest.raises(UserError, match=r"partial: damaged .*remove it to start over"):
        evaluate(supernet, noise, make_plan(), partial)


Changes = dict[str, object]


def variance_of_one(record: Changes, tensors: dict[str, torch.Tensor]) -> None:
    tensors["variance"] = tensors["variance"][:1].clone()  # would be repeated when copied


def variance_below_zero(record: Changes, tensors: dict[str, torch.Tensor]) -> None:
    tensors["variance"][3] = -1.0


def more_correct_than_tested(record: Changes, tensors: dict[str, torch.Tensor]) -> None:
    tensors["correct"] += 1000


def counts_of_another_type(record: Changes, tensors: dict[str, torch.Tensor]) -> None:
    tensors["correct"] = tensors["correct"].double()


def missing_architecture(record: Changes, tensors: dict[str, torch.Tensor]) -> None:
    record["finished"] = record["finished"][:-1]  # type: ignore[index]


def too_many_units(record: Changes, tensors: dict[str, torch.Tensor]) -> None:
    record["units"] = 3


def batches_left_out(record: Changes, tensors: dict[str, torch.Tensor]) -> None:
    record["batches"] = 50


def endless_batches(record: Changes, tensors: dict[str, torch.Tensor]) -> None:
    record["batches"] = 10**400


def not_calibrated(record: Changes, tensors: dict[str, torch.Tensor]) -> None:
    record["calibrated"] = 0


def images_before_calibration(record: Changes, tensors: dict[str, torch.Tensor]) -> None:
    record["phase"] = "calibration"


def all_done_but_untested(record: Changes, tensors: dict[str, torch.Tensor]) -> None:
    record |= {"units": 1, "batches": 0, "phase": "calibration", "tested": 0}
    tensors.clear()


@pytest.mark.parametrize(
    "damage",
    [
        variance_of_one,
        variance_below_zero,
        more_correct_than_tested,
        counts_of_another_type,
        missing_architecture,
        too_many_units,
        batches_left_out,
        endless_batches,
        not_calibrated,
        images_before_calibration,
        all_done_but_untested,
    ],
)
def test_a_partial_file_that_no_evaluation_leaves_is_refused(
    damage: Callable[[Changes, dict[str, torch.Tensor]], None],
    supernet: Supernet,
    noise: DataSource,
    tmp_path: Path,
) -> None:
    """One unit finished, the second in its evaluation; then something was changed."""
    plan, partial = make_plan(), tmp_path / "partial"
    with pytest.raises(BrokenOffError):
        evaluate(supernet, BreakingData(noise, 9), plan, partial)  # type: ignore[arg-type]
    found, tensors = read_partial(partial, plan.settings())
    assert (found.units, found.phase, found.batches) == (1, "evaluation", 1)
    record = dict(found)
    damage(record, tensors)
    write_partial(partial, PartialRecord.model_construct(**record), tensors)
    with pytest.raises(UserError, match=r"partial: damaged .*remove it to start over"):
        evaluate(supernet, noise, plan, partial)


def test_progress_adds_up(supernet: Supernet, noise: DataSource, tmp_path: Path) -> None:
    class Recorder(Progress):
        total = done = 0.0

        def stage(self, name: str, total: float, done: float = 0) -> None:
            self.total, self.done = total, done

        def advance(self, amount: float = 1, *, name: str | None = None, note: str = "") -> None:
            self.done += amount
            assert name is not None
            assert name.endswith(("calibration", "evaluation"))

    partial, plan = tmp_path / "partial", make_plan()
    for after in (7, 100):
        progress = Recorder()
        evaluation = Evaluation(
            supernet=supernet,
            data=BreakingData(noise, after),  # type: ignore[arg-type]
            plan=plan,
            processes=ALONE,
            progress=progress,
            settings=plan.settings(),
            partial=partial,
            save_seconds=0,
        )
        if after < 10:
            with pytest.raises(BrokenOffError):
                evaluation.run()
            assert 0 < progress.done < progress.total
        else:
            evaluation.run()
            assert progress.done == progress.total


def test_units_of_a_plan() -> None:
    every = plan_units(SPACE)
    assert [(unit.resolution, len(unit.subnets)) for unit in every] == [(24, 243), (32, 243)]
    assert len(plan_units(SPACE, one_at_a_time=True)) == 486
    named = [parse_architecture(name) for name in ("44444@32", "22222@24", "22222@32")]
    assert plan_units(SPACE, named) == (
        Unit(24, (Subnet.compound((2,) * 5),)),
        Unit(32, (Subnet.compound((4,) * 5), Subnet.compound((2,) * 5))),
    )
    with pytest.raises(UserError, match="named twice"):
        plan_units(SPACE, named * 2)
    elastic = Architecture(Subnet.uniform(kernel=7, depth=2, expand=3), 24)
    with pytest.raises(UserError, match="not in the compound space"):
        plan_units(SPACE, [elastic])
    space = SearchSpace(kind="elastic", width_mult=0.25, resolutions=(24,))
    assert plan_units(space, [elastic]) == (Unit(24, (elastic.subnet,)),)
