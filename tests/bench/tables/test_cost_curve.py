"""Cost curves: read off between trainings, never beyond them; ratios as they must be."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.tables.collect import AccuracySource, SettingResults
from bench.tables.cost_curve import (
    Spending,
    cost_curves,
    cost_ratio,
    highest_common,
    hours_at,
    ratio_table,
)
from fofa.accuracy import AccuracyTable, TrainingRecord

CURVE = [Spending(0.1, 50.0), Spending(0.2, 60.0), Spending(0.8, 70.0)]


def results_of(*tables: AccuracyTable) -> SettingResults:
    sources = [AccuracySource(Path(f"{number}.json"), table) for number, table in enumerate(tables)]
    return SettingResults.of(sources[0].setting, sources)


def test_accuracy_is_linear_in_the_logarithm_of_the_cost() -> None:
    assert [hours_at(CURVE, spent.top1) for spent in CURVE] == pytest.approx([0.1, 0.2, 0.8])
    assert hours_at(CURVE, 55) == pytest.approx(math.sqrt(0.1 * 0.2))
    assert hours_at(CURVE, 65) == pytest.approx(math.sqrt(0.2 * 0.8))


def test_nothing_is_said_beyond_what_was_trained() -> None:
    assert hours_at(CURVE, 49.9) is None
    assert hours_at(CURVE, 70.1) is None
    assert hours_at([], 50) is None
    assert highest_common(CURVE, [Spending(0.1, 80), Spending(0.2, 90)]) is None
    assert highest_common(CURVE, []) is None


def test_of_a_curve_that_falls_the_first_crossing_counts() -> None:
    falling = [Spending(0.1, 50), Spending(0.2, 60), Spending(0.4, 55), Spending(0.8, 70)]
    assert hours_at(falling, 60) == pytest.approx(0.2)
    assert hours_at(falling, 56) == pytest.approx(0.1 * 2**0.6)


@pytest.mark.parametrize("factor", [0.25, 1.0, 3.0])
def test_a_curve_that_is_moved_has_the_ratio_it_was_moved_by(factor: float) -> None:
    moved = [Spending(factor * spent.hours, spent.top1) for spent in CURVE]
    assert cost_ratio(CURVE, moved) == pytest.approx(factor)
    forth, back = cost_ratio(CURVE, moved), cost_ratio(moved, CURVE)
    assert forth is not None
    assert back is not None
    assert forth * back == pytest.approx(1)


def test_ratios_with_the_range_over_seeds(trained_within: Callable[..., AccuracyTable]) -> None:
    def made(recipe: str, factor: float, seeds: int, bonus: float = 0) -> list[AccuracyTable]:
        return [
            trained_within(
                recipe, factor * hours, seed=seed, resolutions=(56,),
                bonus=5 * math.log2(10 * hours) - 40 + bonus + seed,
            )
            for hours in (0.1, 0.2, 0.4)
            for seed in range(seeds)
        ]  # fmt: skip

    tables = [*made("ofa", 4, 2), *made("fofa-n3", 1, 2), *made("naive", 1, 1, bonus=30)]
    results = results_of(*tables, trained_within("compofa", None, resolutions=(56,)))
    curves = cost_curves(results)
    assert curves is not None
    table = ratio_table("cost-ratios", "Ratios", results, curves)
    assert table is not None
    cells = {
        (row.recipe, column.title): cell
        for row in table.rows
        for column, cell in zip(table.columns, row.cells, strict=True)
    }
    assert [column.title for column in table.columns] == ["OFA", "fOFA (n=3)", "Naive sampling"]
    cell = cells["fofa-n3", "OFA"]
    assert cell.value == pytest.approx(4, rel=0.15)
    assert cell.low is not None
    assert cell.high is not None
    assert cell.low <= cell.value <= cell.high
    assert cell.low < 0.95 * cell.high
    assert cells["ofa", "OFA"].note == "itself"
    assert cells["ofa", "Naive sampling"].value is None
    assert cells["ofa", "Naive sampling"].note == "no accuracy in common"


def test_a_seed_that_misses_a_budget_has_no_say_in_the_range(
    trained_within: Callable[..., AccuracyTable],
) -> None:
    """Seeds 0 and 1 lie on one curve each, but of seed 2 the middle, where it bends, is missing."""

    def made(recipe: str, factor: float) -> list[AccuracyTable]:
        bonuses = {0.1: -15.0, 0.2: 0.0, 0.4: 2.0}
        return [
            trained_within(
                recipe, factor * hours, seed=seed, resolutions=(56,), bonus=bonus - 20 + 0.1 * seed
            )
            for hours, bonus in bonuses.items()
            for seed in range(3)
            if (seed, hours) != (2, 0.2)
        ]

    results = results_of(*made("ofa", 4), *made("fofa-n3", 1))
    curves = cost_curves(results)
    assert curves is not None
    assert [curve.seeds for curve in curves.curves] == [[0, 1], [0, 1]]
    table = ratio_table("cost-ratios", "Ratios", results, curves)
    assert table is not None
    (cell,) = (row.cells[0] for row in table.rows if row.recipe == "fofa-n3")
    assert cell.low is not None
    assert cell.high is not None
    assert 3.7 < cell.low <= cell.high < 4.3
    assert cell.seeds == 2


def test_costs_of_another_unit_and_of_nobody_are_left_out_and_named(
    trained_within: Callable[..., AccuracyTable],
) -> None:
    record = TrainingRecord(
        epochs=1, gpu_hours=3, device="GPU", images_per_second=1, seed=0, budget_hours=3
    )
    on_gpu = trained_within("naive", 3, resolutions=(56,), training=record)
    unknown = trained_within(
        "sandwich", None, resolutions=(56,), training=record.model_copy(update={"gpu_hours": 0})
    )
    on_cpu = [trained_within("ofa", hours, resolutions=(56,)) for hours in (0.1, 0.2)]
    curves = cost_curves(results_of(*on_cpu, on_gpu, unknown))
    assert curves is not None
    assert (curves.unit, [curve.recipe for curve in curves.curves]) == ("core-hours", ["ofa"])
    assert curves.left_out == (
        "Sandwich rule: no cost was recorded.",
        "Naive sampling: its cost is in GPU-hours.",
    )
    assert cost_curves(results_of(unknown)) is None
