"""Budgets: which rows are compared, Table 2's second half, and what is said of them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.tables.budgets import Budget
from bench.tables.collect import AccuracySource, SettingResults
from bench.tables.cost import cost_table
from bench.tables.equal_budget import equal_budget_table
from bench.tables.rows import (
    WantedRows,
    common_budgets,
    for_limits,
    for_means,
    largest_common_budget,
    parse_compare,
)
from fofa.accuracy import AccuracyTable, EvaluationRecord
from fofa.errors import UserError

MakeSource = Callable[..., AccuracySource]


@pytest.fixture
def source(trained_within: Callable[..., AccuracyTable]) -> MakeSource:
    def make(recipe: str, budget: float | None, seed: int = 0, **fields: object) -> AccuracySource:
        table = trained_within(recipe, budget, seed=seed, **{"resolutions": (56,)} | fields)
        return AccuracySource(Path(f"{recipe}-{budget}-{seed}.json"), table)

    return make


def results_of(*sources: AccuracySource) -> SettingResults:
    return SettingResults.of(sources[0].setting, sources)


def hours(budgets: list[Budget]) -> list[float]:
    return [budget.hours for budget in budgets]


def test_the_largest_budget_that_most_recipes_have_is_compared(source: MakeSource) -> None:
    results = results_of(
        source("ofa", 0.1), source("ofa", 0.2), source("fofa-n3", 0.2), source("fofa-n3", 0.1),
        source("fofa-n3", 0.8), source("naive", None),
    )  # fmt: skip
    assert hours(results.budgets) == [0.1, 0.2, 0.8]
    assert hours(common_budgets(results)) == [0.1, 0.2]
    assert largest_common_budget(results) == Budget(0.2, "core-hours")
    chosen = WantedRows().of(results)
    assert {(s.table.recipe, s.budget) for s in chosen.sources} == {
        ("ofa", Budget(0.2, "core-hours")),
        ("fofa-n3", Budget(0.2, "core-hours")),
    }
    assert list(WantedRows(budget_hours=0.8).of(results).by_recipe) == ["fofa-n3"]
    assert list(WantedRows("epochs").of(results).by_recipe) == ["naive"]


def test_without_budgets_recipes_are_compared_by_epochs(source: MakeSource) -> None:
    results = results_of(source("ofa", None), source("compofa", None))
    assert WantedRows().of(results).sources == results.sources
    with pytest.raises(UserError, match="no accuracy table is of a training budget"):
        WantedRows("budget").of(results)
    with pytest.raises(UserError, match="every accuracy table is of a training budget"):
        WantedRows("epochs").of(results_of(source("ofa", 0.1)))
    with pytest.raises(UserError, match=r"of a budget of 0\.3 hours; there are 0\.1 core-hours"):
        WantedRows(budget_hours=0.3).of(results_of(source("ofa", 0.1)))
    with pytest.raises(UserError, match="compare 'seeds': expected budget or epochs"):
        parse_compare("seeds", None)
    with pytest.raises(UserError, match="leave out --budget"):
        parse_compare("epochs", 0.1)


def test_the_second_half_has_a_block_for_every_common_budget(source: MakeSource) -> None:
    results = results_of(
        *(source("ofa", hours, seed) for hours in (0.1, 0.4) for seed in (0, 1)),
        *(source("fofa-n3", hours, seed, bonus=9) for hours in (0.1, 0.4) for seed in (0, 1)),
        source("naive", 0.4),
    )
    table = equal_budget_table("table2-budget", "Second half", results)
    assert table is not None
    assert [column.group for column in table.columns] == [
        *["budget 0.1 core-hours"] * 3,
        *["budget 0.4 core-hours"] * 3,
    ]
    by_recipe = {row.recipe: row.cells for row in table.rows}
    assert list(by_recipe) == ["ofa", "fofa-n3", "naive"]
    for start in (0, 3):
        spent, mean, less = by_recipe["fofa-n3"][start : start + 3]
        assert spent.value == pytest.approx((0.1, 0.4)[start // 3], rel=0.05)
        assert (mean.best, mean.alike, mean.seeds) == (True, False, 2)
        assert (less.value, less.low, less.high) == (0.0, None, None)
        other = by_recipe["ofa"][start + 2]
        assert other.value == pytest.approx(by_recipe["ofa"][start + 1].value - mean.value)
        assert other.low < other.value < other.high < 0
    assert by_recipe["naive"][0].note == "no accuracy table"
    text = " ".join(table.caption)
    assert "each within a training budget of 0.1 core-hours, 0.4 core-hours" in text
    assert "cannot be told from the best" in text
    assert "an upper bound" in text


def test_the_papers_claim_is_said_whichever_way_it_came_out(source: MakeSource) -> None:
    def claims(*sources: AccuracySource) -> list[str]:
        table = equal_budget_table("t", "T", results_of(*sources))
        assert table is not None
        return [text for text in table.verdict if text.startswith("fOFA (n=3) within")]

    (text,) = claims(
        source("ofa", 0.1, bonus=-9), source("compofa", 0.1, bonus=9), source("fofa-n3", 0.1)
    )
    above, below = text.removeprefix("fOFA (n=3) within 0.1 core-hours is ").split("; ")
    for part, side in ((above, "above OFA"), (below, "below CompOFA.")):
        points, low, high = (float(number) for number in re.findall(r"\d+\.\d+", part))
        assert 0 < low < points < high
        assert part.endswith(f" points {side}")
    (text,) = claims(source("ofa", 0.1), source("fofa-n3", 0.1, bonus=0.01))
    assert text.endswith("points above OFA (within the error).")
    assert not claims(source("ofa", 0.1), source("compofa", 0.1))
    assert not claims(source("naive", 0.1), source("fofa-n3", 0.1))


def test_no_budget_in_common_no_second_half(source: MakeSource) -> None:
    assert (
        equal_budget_table("t", "T", results_of(source("ofa", 0.1), source("naive", 0.2))) is None
    )


def test_the_order_of_files_does_not_matter(source: MakeSource) -> None:
    sources = [
        source(recipe, budget, seed)
        for recipe in ("naive", "ofa", "fofa-n3")
        for budget in (0.1, 0.2)
        for seed in (0, 1)
    ]
    tables = []
    for order in range(4):
        random.Random(order).shuffle(sources)
        tables.append(equal_budget_table("t", "T", results_of(*sources)))
    assert all(table == tables[0] for table in tables)


def test_the_cost_of_whole_schedules_follows_from_trained_shares(source: MakeSource) -> None:
    results = results_of(
        # The first scale, found before the run, is not what the run kept to.
        source("ofa", 0.4, epochs=0.02 * 605, epoch_scale=0.03),
        source("fofa-n3", 0.4, epochs=0.08 * 185, epoch_scale=0.07),
        source("fofa-n3", 0.2, epochs=0.04 * 185, epoch_scale=0.05),
        source("smallest-first", 0.2, epochs=0.1 * 185, epoch_scale=0.1),
    )
    table = cost_table("table2", "Table 2", results)
    ofa, fofa, smallest = (
        next(r for r in table.rows if r.recipe == name)
        for name in ("ofa", "fofa-n3", "smallest-first")
    )
    assert [ofa.cells[0].value, fofa.cells[0].value] == pytest.approx([605, 185])
    assert ofa.cells[1].value == pytest.approx(20, rel=0.05)
    assert fofa.cells[1].value == pytest.approx(5, rel=0.05)
    assert fofa.cells[2].value == pytest.approx(4, rel=0.1)
    assert fofa.cells[3].note == "see the table at equal budget"
    # The smallest subnet's phase does not grow with the others, so its share says nothing.
    assert [cell.note for cell in smallest.cells[1:3]] == ["phases not in proportion"] * 2
    assert smallest.cells[0].value == pytest.approx(185)
    assert any("nothing was trained that long" in sentence for sentence in table.caption)


def test_supernets_evaluated_twice_go_where_each_evaluation_serves(source: MakeSource) -> None:
    def evaluated(images: int, resolutions: tuple[int, ...], recipe: str) -> AccuracySource:
        record = EvaluationRecord(calibration_images=9, test_images=images, split="test")
        return source(recipe, 0.1, evaluation=record, resolutions=resolutions)

    many = results_of(*(evaluated(10_000, (56,), recipe) for recipe in ("ofa", "fofa-n3")))
    wide = results_of(*(evaluated(2_000, (48, 56), recipe) for recipe in ("ofa", "fofa-n3")))
    assert for_means([wide, many]) == [many]
    assert for_limits([wide, many]) == [wide]
    # What only one of them has is never left out.
    fewer = results_of(evaluated(10_000, (56,), "ofa"))
    assert for_means([wide, fewer]) == [wide, fewer]
    assert for_limits([wide, fewer]) == [wide]
