"""Table 2: epochs, training cost and mean top-1 accuracy of each recipe."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from bench.tables import captions, paper
from bench.tables.budgets import trained_share, training_cost, whole_schedule_cost
from bench.tables.collect import AccuracySource, SettingResults
from bench.tables.model import Cell, Column, MethodRow, Table, mark_apart, mark_best
from bench.tables.significance import Score, against_best
from bench.tables.verdict import column_verdict
from fofa.accuracy import AccuracyTable, CostUnit
from fofa.errors import UserError

Cost = Callable[[AccuracyTable], tuple[float, CostUnit] | None]


def cost_table(name: str, title: str, results: SettingResults) -> Table:
    """The paper's Table 2 from the accuracy tables of one setting, the paper's rows included.

    Of trainings of equal shares of the epochs. Where there are only trainings within a budget, what
    the whole schedule costs is computed from them; accuracy stands in the table at equal budget.
    """
    by_epochs = results.at(None)
    computed = not by_epochs.sources
    shown = results if computed else by_epochs
    cost: Cost = whole_schedule_cost if computed else _cost_of
    recipes = {*shown.by_recipe, *(row.recipe for row in paper.METHODS)}
    ordered = sorted(recipes, key=paper.recipe_order)
    units = {found[1] for source in shown.sources if (found := cost(source.table))}
    unit = sorted(units)[0] if len(units) == 1 else None
    baseline = _mean_cost(shown.of_recipe("ofa"), cost, unit)
    rows, scores = [], []
    for recipe in ordered:
        sources = shown.of_recipe(recipe)
        cells = _cost_cells(recipe, sources, cost, unit, baseline)
        score, cell = (None, None) if computed else mean_top1(sources, _numbers(recipe)[3])
        rows.append([*cells, cell or _no_mean(recipe, sources)])
        scores.append(score)
    mark_best(rows, 1, 2, smallest=True)
    mark_best(rows, 2, 2)
    mark_apart(rows, 3, against_best(scores))
    methods = [paper.label(recipe) for recipe in ordered]
    return Table(
        name=name,
        title=title,
        verdict=_verdict(methods, rows, computed=computed),
        brief=[
            *([] if computed else [subnets_sentence(shown)]),
            captions.brief_accuracy(shown),
            _brief_cost(shown, computed=computed),
        ],
        caption=_caption(shown, units, baseline, computed=computed),
        columns=[
            Column(title="Epochs", decimals=1),
            Column(
                title=f"{'Cost of all epochs' if computed else 'Training cost'} "
                f"({unit or 'hours'})",
                decimals=2,
                paper_title="GPU-hours" if unit != "GPU-hours" else None,
            ),
            Column(title="Cost of OFA / cost", decimals=2, unit="x"),
            Column(title="Mean top-1", decimals=2, unit="%"),
        ],
        rows=[
            MethodRow(method=method, recipe=recipe, cells=cells)
            for method, recipe, cells in zip(methods, ordered, rows, strict=True)
        ],
    )


def _verdict(
    methods: Sequence[str], rows: Sequence[Sequence[Cell]], *, computed: bool
) -> list[str]:
    """Which of the paper's recipes is cheapest against OFA, and whose mean top-1 is the highest.

    How long other recipes are is nobody's finding.
    """
    published = {paper.label(row.recipe) for row in paper.METHODS}
    known = [
        (cells[2].value, method)
        for method, cells in zip(methods, rows, strict=True)
        if cells[2].value is not None and method in published
    ]
    sentences = []
    if len(known) > 1:
        ratio, cheapest = max(known, key=lambda each: each[0])
        of = "" if published.issuperset(methods) else " of the paper's recipes"
        sentences.append(f"Training cost: {cheapest} costs least{of}, {ratio:.2f}x less than OFA.")
    if not computed:
        sentences.append(column_verdict("Mean top-1", methods, [cells[3] for cells in rows]))
    return sentences


def _brief_cost(results: SettingResults, *, computed: bool) -> str:
    devices = ", ".join(dict.fromkeys(s.table.training.spent_on for s in results.sources))
    of = "of the whole schedule, computed from a share of it, " if computed else ""
    return f"Cost: {of}on {devices}; the paper's on {paper.TRAINING_HARDWARE}."


def mean_top1(
    sources: Sequence[AccuracySource], theirs: float | None = None
) -> tuple[Score | None, Cell]:
    """Mean top-1 over the subnets at the largest resolution, as a score and as a cell.

    Args:
        sources: the supernets of one recipe; none where it was not trained.
        theirs: the paper's number.
    """
    if not sources:
        return None, Cell(paper=theirs, note="no accuracy table")
    try:
        means = [source.table.mean_top1 for source in sources]
    except UserError as error:
        return None, Cell(paper=theirs, note=str(error))
    score = Score.of(sources, means, [largest_subnets(source.table) for source in sources])
    anchors = [source.anchor for source in sources]
    return score, Cell(
        value=score.mean, spread=score.spread, seeds=len(means), sources=anchors, paper=theirs
    )


def spent_cell(sources: Sequence[AccuracySource]) -> Cell:
    """What trainings within one budget cost on the average."""
    costs = [training_cost(source.table.training) for source in sources]
    hours = [cost[0] for cost in costs if cost is not None]
    return Cell(
        value=statistics.fmean(hours) if hours else None,
        seeds=len(sources),
        sources=[source.anchor for source in sources],
        note=None if hours else "cost not recorded" if sources else "no accuracy table",
    )


def largest_subnets(table: AccuracyTable) -> list[str]:
    """The architectures that were measured at the largest resolution."""
    largest = max(table.space.resolutions)
    architectures = [row.architecture for row in table.architectures]
    return [each.name for each in architectures if each.resolution == largest]


def _cost_of(table: AccuracyTable) -> tuple[float, CostUnit] | None:
    return training_cost(table.training)


def _mean_cost(
    sources: Sequence[AccuracySource], cost: Cost, unit: CostUnit | None
) -> float | None:
    costs = [cost(source.table) for source in sources]
    hours = [found[0] for found in costs if found is not None and found[1] == unit]
    return statistics.fmean(hours) if hours else None


def _numbers(recipe: str) -> tuple[float | None, ...]:
    """The paper's row."""
    row = paper.method(recipe)
    return (row.epochs, row.gpu_hours, row.ratio, row.mean_top1) if row else (None,) * 4


def _no_mean(recipe: str, sources: Sequence[AccuracySource]) -> Cell:
    note = "see the table at equal budget" if sources else "no accuracy table"
    return Cell(paper=_numbers(recipe)[3], note=note)


def _cost_cells(
    recipe: str,
    sources: Sequence[AccuracySource],
    cost: Cost,
    unit: CostUnit | None,
    baseline: float | None,
) -> list[Cell]:
    theirs = _numbers(recipe)
    if not sources:
        return [Cell(paper=number, note="no accuracy table") for number in theirs[:3]]
    anchors = [source.anchor for source in sources]
    hours = _mean_cost(sources, cost, unit)
    ratio = baseline / hours if baseline is not None and hours else None
    training = sources[0].table.training
    share = 1.0 if cost is _cost_of else trained_share(sources[0].table)
    without_cost = _without_cost(sources, cost)
    numbers = (
        (round(training.epochs / share, 6) if share else None, "epochs not recorded"),
        (hours, without_cost),
        (ratio, "no cost of OFA to compare with" if baseline is None else without_cost),
    )
    return [
        Cell(
            value=value,
            seeds=len(sources),
            sources=anchors,
            paper=paper_number,
            note=note if value is None else None,
        )
        for (value, note), paper_number in zip(numbers, theirs[:3], strict=True)
    ]


def _without_cost(sources: Sequence[AccuracySource], cost: Cost) -> str:
    """Why a recipe has no cost in the table's unit."""
    if any(cost(source.table) for source in sources):
        return "in another unit than others"
    recorded = any(training_cost(source.table.training) for source in sources)
    return "phases not in proportion" if recorded else "cost not recorded"


def _caption(
    results: SettingResults, units: set[CostUnit], baseline: float | None, *, computed: bool
) -> list[str]:
    devices = ", ".join(dict.fromkeys(s.table.training.spent_on for s in results.sources))
    sentences = [] if computed else [subnets_sentence(results)]
    sentences.append(captions.accuracy_sentence(results.setting, results.sources))
    if computed:
        sentences.append(
            "Epochs and cost are of each recipe's whole schedule, computed from what the share of "
            "it that was trained within a budget cost: nothing was trained that long."
        )
    sentences.append(
        f"Training cost: recorded by the trainer on {devices}; the paper's on "
        f"{paper.TRAINING_HARDWARE}."
    )
    if len(units) > 1:
        sentences.append("Costs of different units (GPU and CPU) are not set beside each other.")
    if baseline is None:
        sentences.append("Without a cost of OFA there are no ratios.")
    if computed:
        return sentences
    return [
        *sentences,
        *captions.seed_sentences(results),
        *captions.apart_sentences(results.sources),
    ]


def subnets_sentence(results: SettingResults) -> str:
    """Over what the mean is."""
    largest = max(results.setting.resolutions)
    counted = {len(largest_subnets(source.table)) for source in results.sources}
    number = " or ".join(str(count) for count in sorted(counted))
    compound = all(_only_compound(source.table) for source in results.sources)
    return (
        f"Mean top-1 in percent over the {number} {'compound ' if compound else ''}subnets at "
        f"{largest} px."
    )


def _only_compound(table: AccuracyTable) -> bool:
    return all(entry.architecture.subnet.is_compound for entry in table.architectures)
