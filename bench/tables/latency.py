"""Tables 3 to 5 and those of further devices: top-1 accuracy within latency limits.

Choosing is `fofa.search.exact.best_within`; this module lays its answers out.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from bench.tables import captions, paper
from bench.tables.collect import AccuracySource, SettingResults
from bench.tables.cost import spent_cell
from bench.tables.devices import MATCHED_SHARES, PairedDevice
from bench.tables.model import Cell, Column, MethodRow, Table, mark_apart
from bench.tables.significance import Score, against_best
from bench.tables.verdict import limits_verdict
from fofa.search.costs import affordable
from fofa.search.exact import best_within
from fofa.search.pairing import Candidates


def latency_table(
    name: str,
    title: str,
    results: SettingResults,
    devices: Sequence[PairedDevice],
    missing: Sequence[str] = (),
) -> Table:
    """Accuracy within the limits of one or more devices, side by side.

    Args:
        results: the rows, of one training budget or of none.
        missing: sentences about devices that should be here and have no latency table.
    """
    budget = results.budgets[0] if results.budgets else None
    spent = Column(title=f"Spent ({budget.unit})", decimals=3) if budget else None
    columns = [spent or Column(title="Epochs", decimals=1)]
    for device in devices:
        columns += _device_columns(device)
    recipes = sorted({*results.by_recipe, *_paper_recipes(devices)}, key=paper.recipe_order)
    groups = [results.of_recipe(recipe) for recipe in recipes]
    rows = [
        [spent_cell(group) if spent else _epochs_cell(recipe, group)]
        for recipe, group in zip(recipes, groups, strict=True)
    ]
    for device in devices:
        for cells, recipe, group in zip(rows, recipes, groups, strict=True):
            cells += _device_cells(recipe, group, device)
    for place in range(1, len(columns)):
        scores = [_score(cells[place], group) for cells, group in zip(rows, groups, strict=True)]
        mark_apart(rows, place, against_best(scores))
    methods = [paper.label(recipe) for recipe in recipes]
    return Table(
        name=name,
        title=title,
        verdict=limits_verdict(columns, methods, rows),
        brief=[
            _brief_limits(devices),
            captions.brief_accuracy(results),
            captions.brief_latency([device.source for device in devices]),
        ],
        caption=_caption(results, devices, missing),
        columns=columns,
        rows=[
            MethodRow(method=method, recipe=recipe, cells=cells)
            for method, recipe, cells in zip(methods, recipes, rows, strict=True)
        ],
    )


def _paper_recipes(devices: Sequence[PairedDevice]) -> set[str]:
    known = (device.source.paper_device for device in devices)
    return {recipe for entry in known if entry is not None for recipe in entry.top1}


def _caption(
    results: SettingResults, devices: Sequence[PairedDevice], missing: Sequence[str]
) -> list[str]:
    sentences = [
        captions.SELECTION_NOTE,
        captions.accuracy_sentence(results.setting, results.sources),
    ]
    for device in devices:
        sentences += captions.latency_sentences(device.source)
        sentences += [_limits_sentence(device), *device.notes]
    if seeds := captions.seed_sentences(results):
        sentences += [*seeds, "The architecture shown is the first seed's."]
    sentences += captions.apart_sentences(results.sources)
    return list(dict.fromkeys([*sentences, *missing]))


def _brief_limits(devices: Sequence[PairedDevice]) -> str:
    """What the limits are, in a line."""
    if {device.limits.origin for device in devices} != {"matched"}:
        return " ".join(dict.fromkeys(_limits_sentence(device) for device in devices))
    beside = any(device.paper_index(0) is not None for device in devices)
    return "Limits: as strict as 15, 20, 25, 30 ms on the Note10" + (
        "; beside them the paper's." if beside else "."
    )


def _limits_sentence(device: PairedDevice) -> str:
    """Where a device's limits come from, and what they are set beside."""
    match device.limits.origin:
        case "paper":
            return "Limits: the paper's."
        case "given":
            return "Limits: as given."
        case "matched":
            shares = ", ".join(f"{100 * share:.1f}" for share in MATCHED_SHARES)
            beside = "; each is set beside the paper's limit of the same rank"
            beside_paper = device.paper_index(0) is not None
            return (
                f"Limits: matched, they let through {shares}% of the architectures, the shares "
                f"that 15, 20, 25 and 30 ms have on the Note10{beside if beside_paper else ''}."
            )


def _device_columns(device: PairedDevice) -> list[Column]:
    known = device.source.paper_device
    columns = []
    for index, limit in enumerate(device.limits.values_ms):
        counterpart = device.paper_index(index)
        theirs = known.limits_ms[counterpart] if known and counterpart is not None else None
        columns.append(
            Column(
                title=f"{limit:g} ms",
                group=device.title,
                unit="%",
                limit_ms=limit,
                lut=device.source.anchor,
                paper_title=None if theirs in (None, limit) else f"{theirs:g} ms",
            )
        )
    return columns


def _epochs_cell(recipe: str, sources: Sequence[AccuracySource]) -> Cell:
    theirs = paper.method(recipe)
    epochs = theirs.epochs if theirs else None
    if not sources:
        return Cell(paper=epochs, note="no accuracy table")
    return Cell(
        value=sources[0].table.training.epochs,
        seeds=len(sources),
        sources=[source.anchor for source in sources],
        paper=epochs,
    )


def _score(cell: Cell, sources: Sequence[AccuracySource]) -> Score | None:
    """A cell as what is compared: the chosen architectures of the seeds."""
    if not cell.choices:
        return None
    choices = cell.choices
    return Score.of(sources, [c.top1 for c in choices], [[c.architecture] for c in choices])


def _device_cells(
    recipe: str, sources: Sequence[AccuracySource], device: PairedDevice
) -> list[Cell]:
    known = device.source.paper_device
    theirs = known.top1.get(recipe) if known else None
    cells = []
    for index, limit in enumerate(device.limits.values_ms):
        counterpart = device.paper_index(index)
        number = theirs[counterpart] if theirs and counterpart is not None else None
        cells.append(_limit_cell(sources, device, limit, number))
    return cells


def _limit_cell(
    sources: Sequence[AccuracySource], device: PairedDevice, limit: float, theirs: float | None
) -> Cell:
    if not sources:
        return Cell(paper=theirs, note="no accuracy table")
    choices = []
    for source in sources:
        candidates = device.candidates.get(source.anchor)
        note = (
            f"not paired: {device.problems[source.anchor]}"
            if candidates is None
            else meaningless(candidates, limit)
        )
        if candidates is None or note is not None:
            return Cell(paper=theirs, note=note)
        row = best_within(candidates.top1, candidates.latency_ms, candidates.architectures, limit)
        choices.append(device.chosen(source, row))
    values = [choice.top1 for choice in choices]
    return Cell(
        value=statistics.fmean(values),
        spread=statistics.stdev(values) if len(values) > 1 else None,
        seeds=len(values),
        choices=choices,
        sources=[source.anchor for source in sources],
        paper=theirs,
    )


def meaningless(candidates: Candidates, limit: float) -> str | None:
    """Why a limit says nothing about these architectures; None where it does select."""
    latency_ms = candidates.latency_ms
    within = affordable(latency_ms, limit)
    if not within.any():
        return f"none fits; the fastest takes {latency_ms.min():.4g} ms"
    if within.all():
        return f"all {len(candidates)} fit; the slowest takes {latency_ms.max():.4g} ms"
    return None
