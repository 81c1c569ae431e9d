"""Table 2: epochs, training cost and mean top-1 accuracy of each recipe."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Literal

from bench.tables import captions, paper
from bench.tables.collect import AccuracySource, SettingResults
from bench.tables.model import Cell, Column, MethodRow, Table, mark_best
from fofa.accuracy import AccuracyTable, TrainingRecord
from fofa.errors import UserError

CostUnit = Literal["GPU-hours", "core-hours"]


def training_cost(training: TrainingRecord) -> tuple[float, CostUnit] | None:
    """GPU-hours, or core-hours where no GPU was used; None where neither was recorded."""
    if training.gpu_hours > 0:
        return training.gpu_hours, "GPU-hours"
    if training.core_hours:
        return training.core_hours, "core-hours"
    return None


def cost_table(name: str, title: str, results: SettingResults) -> Table:
    """The paper's Table 2 from the accuracy tables of one setting, the paper's rows included."""
    recipes = {*results.by_recipe, *(row.recipe for row in paper.METHODS)}
    ordered = sorted(recipes, key=paper.recipe_order)
    units = {unit for source in results.sources if (unit := _unit(source)) is not None}
    unit = sorted(units)[0] if len(units) == 1 else None
    baseline = _mean_cost(results.of_recipe("ofa"), unit)
    rows = [_cells(recipe, results.of_recipe(recipe), unit, baseline) for recipe in ordered]
    mark_best(rows, 1, 2, smallest=True)
    mark_best(rows, 2, 2)
    mark_best(rows, 3, 2)
    return Table(
        name=name,
        title=title,
        caption=_caption(results, units, baseline),
        columns=[
            Column(title="Epochs", decimals=1),
            Column(
                title=f"Training cost ({unit or 'hours'})",
                decimals=2,
                paper_title="GPU-hours" if unit != "GPU-hours" else None,
            ),
            Column(title="Cost of OFA / cost", decimals=2, unit="x"),
            Column(title="Mean top-1", decimals=2, unit="%"),
        ],
        rows=[
            MethodRow(method=paper.label(recipe), recipe=recipe, cells=cells)
            for recipe, cells in zip(ordered, rows, strict=True)
        ],
    )


def _unit(source: AccuracySource) -> CostUnit | None:
    cost = training_cost(source.table.training)
    return cost[1] if cost else None


def _mean_cost(sources: Sequence[AccuracySource], unit: CostUnit | None) -> float | None:
    costs = [training_cost(source.table.training) for source in sources]
    hours = [cost[0] for cost in costs if cost is not None and cost[1] == unit]
    return statistics.fmean(hours) if hours else None


def _cells(
    recipe: str,
    sources: Sequence[AccuracySource],
    unit: CostUnit | None,
    baseline: float | None,
) -> list[Cell]:
    theirs = paper.method(recipe)
    numbers = (
        (theirs.epochs, theirs.gpu_hours, theirs.ratio, theirs.mean_top1) if theirs else (None,) * 4
    )
    if not sources:
        return [Cell(paper=number, note="no accuracy table") for number in numbers]
    anchors = [source.anchor for source in sources]
    cost = _mean_cost(sources, unit)
    ratio = baseline / cost if baseline is not None and cost else None
    return [
        Cell(
            value=sources[0].table.training.epochs,
            seeds=len(sources),
            sources=anchors,
            paper=numbers[0],
        ),
        Cell(
            value=cost,
            seeds=len(sources),
            sources=anchors,
            paper=numbers[1],
            note=None if cost is not None else _without_cost(sources),
        ),
        Cell(
            value=ratio,
            seeds=len(sources),
            sources=anchors,
            paper=numbers[2],
            note=None if ratio is not None else "no cost of OFA to compare with",
        ),
        _mean_cell([source.table for source in sources], anchors, numbers[3]),
    ]


def _without_cost(sources: Sequence[AccuracySource]) -> str:
    """Why a recipe has no cost in the table's unit."""
    recorded = any(_unit(source) for source in sources)
    return "in another unit than others" if recorded else "cost not recorded"


def _mean_cell(tables: Sequence[AccuracyTable], anchors: list[str], theirs: float | None) -> Cell:
    try:
        means = [table.mean_top1 for table in tables]
    except UserError as error:
        return Cell(paper=theirs, note=str(error))
    return Cell(
        value=statistics.fmean(means),
        spread=statistics.stdev(means) if len(means) > 1 else None,
        seeds=len(means),
        sources=anchors,
        paper=theirs,
    )


def _caption(results: SettingResults, units: set[CostUnit], baseline: float | None) -> list[str]:
    sources, largest = results.sources, max(results.setting.resolutions)
    counted = {_num_subnets(source.table, largest) for source in sources}
    number = " or ".join(str(count) for count in sorted(counted))
    compound = all(_only_compound(source.table) for source in sources)
    devices = ", ".join(dict.fromkeys(source.table.training.device for source in sources))
    sentences = [
        f"Mean top-1 in percent over the {number} {'compound ' if compound else ''}subnets at "
        f"{largest} px.",
        captions.accuracy_sentence(results.setting, sources),
        f"Training cost: recorded by the trainer on {devices}; the paper's on "
        f"{paper.TRAINING_HARDWARE}.",
    ]
    if len(units) > 1:
        sentences.append("Costs of different units (GPU and CPU) are not set beside each other.")
    if baseline is None:
        sentences.append("Without a cost of OFA there are no ratios.")
    return sentences + captions.seed_sentences(results)


def _only_compound(table: AccuracyTable) -> bool:
    return all(entry.architecture.subnet.is_compound for entry in table.architectures)


def _num_subnets(table: AccuracyTable, resolution: int) -> int:
    return sum(entry.architecture.resolution == resolution for entry in table.architectures)
