"""Table 2's second half: what each recipe gives for the same training budget."""

from __future__ import annotations

from collections.abc import Mapping

from bench.tables import captions, paper
from bench.tables.budgets import Budget
from bench.tables.collect import SettingResults
from bench.tables.cost import mean_top1, spent_cell, subnets_sentence
from bench.tables.model import Cell, Column, MethodRow, Table, mark_apart
from bench.tables.rows import common_budgets
from bench.tables.significance import Difference, Score, Spread, against_best, difference
from bench.tables.verdict import column_verdict


def equal_budget_table(name: str, title: str, results: SettingResults) -> Table | None:
    """A block of columns for each budget that two recipes or more were trained with.

    None where there is no such budget.
    """
    budgets = common_budgets(results)
    if not budgets:
        return None
    shown = SettingResults.of(
        results.setting, [source for source in results.sources if source.budget in budgets]
    )
    rows: list[list[Cell]] = [[] for _ in shown.by_recipe]
    verdict = []
    methods = [paper.label(recipe) for recipe in shown.by_recipe]
    for budget in budgets:
        scores = _add_block(rows, shown, budget)
        means = [cells[-2] for cells in rows]
        verdict.append(column_verdict(f"Within {budget}", methods, means))
        verdict += _claim(budget, scores)
    return Table(
        name=name,
        title=title,
        verdict=verdict,
        brief=[
            subnets_sentence(shown),
            captions.brief_accuracy(shown),
            "Spent: hours of training, teacher phases included.",
        ],
        caption=_caption(shown),
        columns=[column for budget in budgets for column in _columns(budget)],
        rows=[
            MethodRow(method=method, recipe=recipe, cells=cells)
            for method, recipe, cells in zip(methods, shown.by_recipe, rows, strict=True)
        ],
    )


def _columns(budget: Budget) -> list[Column]:
    group = f"budget {budget}"
    return [
        Column(title="Spent", group=group, decimals=3),
        Column(title="Mean top-1", group=group, unit="%"),
        Column(title="Less the best", group=group, unit="points"),
    ]


def _add_block(rows: list[list[Cell]], results: SettingResults, budget: Budget) -> dict[str, Score]:
    """Three cells more in every row; the scores of the recipes that have one."""
    groups = results.at(budget)
    means = [mean_top1(groups.of_recipe(recipe)) for recipe in results.by_recipe]
    differences = against_best([score for score, _ in means])
    place = len(rows[0]) + 1
    for cells, recipe, (_, mean), apart in zip(
        rows, results.by_recipe, means, differences, strict=True
    ):
        sources = groups.of_recipe(recipe)
        cells += [spent_cell(sources), mean, _difference_cell(mean, apart)]
    mark_apart(rows, place, differences)
    recipes = zip(results.by_recipe, means, strict=True)
    return {recipe: score for recipe, (score, _) in recipes if score is not None}


def _claim(budget: Budget, scores: Mapping[str, Score]) -> list[str]:
    """How far the paper's recipe is above those before it; nothing where either was not trained."""
    ours, spread = scores.get(paper.PROPOSED), Spread.pooled(list(scores.values()))
    if ours is None:
        return []
    parts = [
        _distance(difference(ours, scores[other], spread), paper.label(other))
        for other in paper.PREDECESSORS
        if other in scores
    ]
    found = f"{paper.label(paper.PROPOSED)} within {budget} is {'; '.join(parts)}."
    return [found] if parts else []


def _distance(found: Difference, other: str) -> str:
    """`2.10 [1.20, 3.00] points above OFA`."""
    ahead = found.value >= 0
    low, high = (found.low, found.high) if ahead else (-found.high, -found.low)
    side = "above" if ahead else "below"
    error = "" if found.told_apart else " (within the error)"
    return f"{abs(found.value):.2f} [{low:.2f}, {high:.2f}] points {side} {other}{error}"


def _difference_cell(mean: Cell, apart: Difference | None) -> Cell:
    if apart is None:
        return Cell(note=mean.note)
    itself = apart.low == apart.high == 0
    return Cell(
        value=apart.value,
        low=None if itself else apart.low,
        high=None if itself else apart.high,
        seeds=mean.seeds,
        sources=mean.sources,
    )


def _caption(results: SettingResults) -> list[str]:
    devices = ", ".join(dict.fromkeys(s.table.training.spent_on for s in results.sources))
    return [
        subnets_sentence(results),
        captions.accuracy_sentence(results.setting, results.sources),
        f"Spent: hours that the trainer recorded on {devices}, teacher phases included.",
        "Less the best: points of mean top-1 less those of the best recipe of the budget, with the "
        "interval that holds the true difference (95%).",
        *captions.seed_sentences(results),
        *captions.apart_sentences(results.sources),
    ]
