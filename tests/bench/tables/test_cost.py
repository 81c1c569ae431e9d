"""Table 2: costs, ratios to OFA and mean accuracy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.tables.collect import AccuracySource, SettingResults
from bench.tables.cost import cost_table, training_cost
from bench.tables.model import MethodRow, Table
from fofa.accuracy import AccuracyTable, ArchitectureAccuracy, TrainingRecord


def table_of(*tables: AccuracyTable) -> Table:
    sources = [
        AccuracySource(Path(f"{table.recipe}-{table.training.seed}.json"), table)
        for table in tables
    ]
    return cost_table("table2", "Table 2", SettingResults.of(sources[0].setting, sources))


def row_of(table: Table, recipe: str) -> MethodRow:
    (row,) = [row for row in table.rows if row.recipe == recipe]
    return row


def training(**fields: object) -> TrainingRecord:
    return TrainingRecord.model_validate(
        {"epochs": 1, "gpu_hours": 0, "device": "x", "images_per_second": 1, "seed": 0} | fields
    )


def test_costs_are_gpu_hours_where_there_was_a_gpu() -> None:
    assert training_cost(training(gpu_hours=3, core_hours=9)) == (3, "GPU-hours")
    assert training_cost(training(core_hours=9)) == (9, "core-hours")
    assert training_cost(training()) is None


def test_ratios_are_to_ofa_and_the_cheapest_is_marked(
    make_accuracy: Callable[..., AccuracyTable],
) -> None:
    table = table_of(make_accuracy("ofa"), make_accuracy("compofa"), make_accuracy("fofa-n3"))
    assert [row_of(table, name).cells[2].value for name in ("ofa", "compofa", "fofa-n3")] == [
        1.0,
        2.0,
        4.0,
    ]
    assert [row_of(table, name).cells[1].best for name in ("ofa", "compofa", "fofa-n3")] == [
        False,
        False,
        True,
    ]
    assert table.columns[1].title == "Training cost (core-hours)"


def test_means_are_over_the_largest_resolution_and_over_seeds(
    make_accuracy: Callable[..., AccuracyTable],
) -> None:
    first, second = make_accuracy("fofa-n3"), make_accuracy("fofa-n3", seed=1, bonus=2.0)
    cell = row_of(table_of(first, second), "fofa-n3").cells[3]
    assert cell.value == pytest.approx((first.mean_top1 + second.mean_top1) / 2)
    assert cell.seeds == 2
    assert cell.spread is not None
    assert cell.paper == 75.5
    assert "over the 243 compound subnets at 56 px" in table_of(first).caption[0]


def test_gpu_and_cpu_costs_are_not_set_beside_each_other(
    make_accuracy: Callable[..., AccuracyTable],
) -> None:
    on_gpu = make_accuracy("ofa", training=training(gpu_hours=12))
    table = table_of(on_gpu, make_accuracy("fofa-n3"))
    assert row_of(table, "ofa").cells[1].value is None
    assert row_of(table, "ofa").cells[1].note == "in another unit than others"
    assert row_of(table, "fofa-n3").cells[2].note == "no cost of OFA to compare with"
    assert any("different units" in sentence for sentence in table.caption)


def test_a_mean_over_other_subnets_is_not_called_compound(
    make_accuracy: Callable[..., AccuracyTable],
) -> None:
    whole = make_accuracy("ofa", resolutions=(32,))
    row = whole.architectures[0]
    name = "3x3+3x4-3x3+3x3-3x3+3x3-3x3+3x3-3x3+3x3@32"
    elastic = ArchitectureAccuracy(**row.model_dump() | {"name": name})
    space = whole.space.model_copy(update={"kind": "elastic"})
    data = whole.model_dump(by_alias=True)
    table = AccuracyTable.model_validate(data | {"space": space, "architectures": [row, elastic]})
    assert "over the 2 subnets at 32 px" in table_of(table).caption[0]


def test_missing_recipes_show_the_papers_row(make_accuracy: Callable[..., AccuracyTable]) -> None:
    row = row_of(table_of(make_accuracy("fofa-n3")), "compofa")
    assert [cell.paper for cell in row.cells] == [330, 336, 2.0, 75.4]
    assert {cell.note for cell in row.cells} == {"no accuracy table"}
