"""What accuracy a training cost buys, and how much cheaper one recipe reaches it than another.

Between two trainings of a recipe, accuracy is taken to be linear in the logarithm of the cost.
Nothing is said beyond what was trained: ratios are read off at an accuracy that both recipes reach.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.tables import captions, paper
from bench.tables.budgets import training_cost
from bench.tables.collect import AccuracySource, SettingResults
from bench.tables.cost import subnets_sentence
from bench.tables.model import Cell, Column, MethodRow, Table
from fofa.accuracy import CostUnit
from fofa.errors import UserError


@dataclass(frozen=True, slots=True)
class Spending:
    """Hours of training, and the mean top-1 in percent that they gave."""

    hours: float
    top1: float


@dataclass(frozen=True, slots=True)
class Point:
    """The trainings of one recipe that were allowed the same, by seed."""

    seeds: dict[int, Spending]

    @property
    def mean(self) -> Spending:
        """The mean over seeds."""
        values = self.seeds.values()
        return Spending(
            statistics.fmean(spent.hours for spent in values),
            statistics.fmean(spent.top1 for spent in values),
        )


@dataclass(frozen=True, slots=True)
class Curve:
    """A recipe's points by rising cost."""

    recipe: str
    points: tuple[Point, ...]
    sources: tuple[AccuracySource, ...]

    def of_seed(self, seed: int) -> list[Spending]:
        """The curve of one of `seeds` alone."""
        return sorted((point.seeds[seed] for point in self.points), key=lambda spent: spent.hours)

    @property
    def seeds(self) -> list[int]:
        """Those of every point: a curve with a gap would bend where the others do not."""
        return sorted(set.intersection(*(set(point.seeds) for point in self.points)))


@dataclass(frozen=True, slots=True)
class Curves:
    """Every recipe of a setting whose costs are in `unit`; `left_out` says what is not there."""

    unit: CostUnit
    curves: tuple[Curve, ...]
    left_out: tuple[str, ...]


def cost_curves(results: SettingResults) -> Curves | None:
    """A curve for every recipe of the setting; None where no cost was recorded."""
    found: dict[CostUnit, list[AccuracySource]] = {}
    left_out = []
    for source in results.sources:
        cost = training_cost(source.table.training)
        if cost is None:
            left_out.append(f"{paper.label(source.table.recipe)}: no cost was recorded.")
            continue
        try:
            source.table.mean_top1  # noqa: B018
        except UserError as error:
            left_out.append(f"{paper.label(source.table.recipe)}: {error}.")
            continue
        found.setdefault(cost[1], []).append(source)
    if not found:
        return None
    unit = max(sorted(found), key=lambda each: len(found[each]))
    left_out += [
        f"{paper.label(source.table.recipe)}: its cost is in {other}."
        for other, sources in found.items()
        if other != unit
        for source in sources
    ]
    shown = SettingResults.of(results.setting, found[unit])
    curves = [_curve(recipe, sources) for recipe, sources in shown.by_recipe.items()]
    return Curves(unit, tuple(curves), tuple(dict.fromkeys(left_out)))


def _curve(recipe: str, sources: tuple[AccuracySource, ...]) -> Curve:
    groups: dict[object, dict[int, Spending]] = {}
    for source in sources:
        training = source.table.training
        cost = training_cost(training)
        assert cost is not None
        allowed = source.budget or (training.epoch_scale, training.epochs)
        groups.setdefault(allowed, {})[training.seed] = Spending(cost[0], source.table.mean_top1)
    points = sorted(map(Point, groups.values()), key=lambda point: point.mean.hours)
    return Curve(recipe, tuple(points), sources)


def hours_at(curve: Sequence[Spending], top1: float) -> float | None:
    """The least hours with which a curve reaches an accuracy.

    Args:
        curve: by rising hours.

    Returns:
        None outside the curve: where even the least hours gave more, or none gave so much.
    """
    if not curve or curve[0].top1 > top1:
        return None
    if curve[0].top1 == top1:
        return curve[0].hours
    for before, after in itertools.pairwise(curve):
        if after.top1 >= top1:
            share = (top1 - before.top1) / (after.top1 - before.top1)
            logs = math.log(before.hours), math.log(after.hours)
            return math.exp(logs[0] + share * (logs[1] - logs[0]))
    return None


def highest_common(one: Sequence[Spending], other: Sequence[Spending]) -> float | None:
    """The highest accuracy that both curves reach; None where there is none on both."""
    if not one or not other:
        return None
    top1 = min(max(spent.top1 for spent in one), max(spent.top1 for spent in other))
    known = hours_at(one, top1) is not None and hours_at(other, top1) is not None
    return top1 if known else None


def cost_ratio(one: Sequence[Spending], other: Sequence[Spending]) -> float | None:
    """Hours of `other` over hours of `one`, at the highest accuracy that both reach."""
    top1 = highest_common(one, other)
    if top1 is None:
        return None
    hours, others = hours_at(one, top1), hours_at(other, top1)
    assert hours is not None
    assert others is not None
    return others / hours


def ratio_table(name: str, title: str, results: SettingResults, curves: Curves) -> Table | None:
    """How many times the cost of each row each column needs, for the same accuracy.

    None where no recipe has two points, so that there is nothing to read off between.
    """
    columns = [curve for curve in curves.curves if len(curve.points) > 1]
    if not columns:
        return None
    rows = [
        MethodRow(
            method=paper.label(row.recipe),
            recipe=row.recipe,
            cells=[_ratio_cell(row, column) for column in columns],
        )
        for row in curves.curves
    ]
    return Table(
        name=name,
        title=title,
        verdict=_verdict([paper.label(curve.recipe) for curve in columns], rows),
        brief=[
            "The column's hours for one of the row, at the best top-1 of both [range by seed].",
            subnets_sentence(results),
            captions.brief_accuracy(results),
        ],
        caption=[
            "How many times as much the recipe of the column costs as that of the row, at the "
            "highest mean top-1 that both reach (in small print).",
            "In brackets: the least and the greatest ratio of a seed of the one to a seed of the "
            "other, of seeds that were trained for every cost. Read off between trainings, "
            "linearly in the logarithm of the cost, and never beyond them.",
            subnets_sentence(results),
            captions.accuracy_sentence(results.setting, results.sources),
            *curves.left_out,
        ],
        columns=[
            Column(title=paper.label(curve.recipe), group=f"{curves.unit} of", unit="x")
            for curve in columns
        ],
        rows=rows,
    )


def _verdict(columns: Sequence[str], rows: Sequence[MethodRow]) -> list[str]:
    """What the first column's recipe (the paper's baseline, where it was trained) costs."""
    parts = [
        f"{row.cells[0].value:.2f}x {row.method}"
        + ("" if low is None else f" [{low:.2f}, {high:.2f}]")
        for row in rows
        if row.cells[0].value is not None
        for low, high in [(row.cells[0].low, row.cells[0].high)]
    ]
    if not parts:
        return []
    return [f"At equal accuracy {columns[0]} costs {', '.join(parts)}."]


def _ratio_cell(row: Curve, column: Curve) -> Cell:
    if row is column:
        return Cell(note="itself")
    one, other = [p.mean for p in row.points], [p.mean for p in column.points]
    top1 = highest_common(one, other)
    if top1 is None:
        return Cell(note="no accuracy in common")
    ratios = [
        ratio
        for seed, other_seed in itertools.product(row.seeds, column.seeds)
        if (ratio := cost_ratio(row.of_seed(seed), column.of_seed(other_seed))) is not None
    ]
    several = len(ratios) > 1
    return Cell(
        value=cost_ratio(one, other),
        low=min(ratios) if several else None,
        high=max(ratios) if several else None,
        seeds=min(len(row.seeds), len(column.seeds)),
        sources=[source.anchor for source in (*row.sources, *column.sources)],
        note=f"at {top1:.2f}%",
    )
