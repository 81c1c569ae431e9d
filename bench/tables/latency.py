"""Tables 3 to 5 and those of further devices: top-1 accuracy within latency limits.

Pairing is `fofa.search.pairing.pair`, choosing is `fofa.search.exact.best_within`; this module
lays their answers out.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from bench.reports import captions
from bench.tables import paper
from bench.tables.collect import AccuracySource, LutSource, Setting
from bench.tables.limits import Constraints, Limits, limits_for
from bench.tables.model import Cell, Choice, Column, Row, Table, mark_best
from fofa.errors import UserError
from fofa.search.costs import affordable
from fofa.search.exact import best_within
from fofa.search.pairing import Candidates, pair
from fofa.space import Architecture


@dataclass(frozen=True, slots=True)
class PairedDevice:
    """A device's table with every accuracy table of a setting, and the limits to look at.

    `problems` says for an accuracy table (by anchor) why it could not be paired. `title` tells the
    device from every other one.
    """

    source: LutSource
    title: str
    limits: Limits
    candidates: dict[str, Candidates]
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """What pairing announces, each sentence once."""
        return list(dict.fromkeys(n for c in self.candidates.values() for n in c.notes))


def pair_device(
    source: LutSource,
    sources: Sequence[AccuracySource],
    constraints: Constraints,
    title: str | None = None,
) -> PairedDevice:
    """Pair a device's table with every accuracy table that it fits.

    Raises:
        UserError: if it fits none, with the reason of the first.
    """
    candidates: dict[str, Candidates] = {}
    problems: dict[str, str] = {}
    latencies: dict[Architecture, float] = {}
    for entry in sources:
        try:
            found = pair(source.lut, entry.table)
        except UserError as error:
            problems[entry.anchor] = str(error)
            continue
        candidates[entry.anchor] = found
        latencies |= dict(zip(found.timed_as, found.latency_ms.tolist(), strict=True))
    if not candidates:
        raise UserError(f"{source.path}: {next(iter(problems.values()), 'no accuracy table')}")
    limits = limits_for(source.lut, list(latencies.values()), constraints)
    title = title or captions.device_title(source.lut)
    return PairedDevice(source, title, limits, candidates, problems)


def latency_table(
    name: str,
    title: str,
    setting: Setting,
    sources: Sequence[AccuracySource],
    devices: Sequence[PairedDevice],
    missing: Sequence[str] = (),
) -> Table:
    """Accuracy within the limits of one or more devices, side by side.

    Args:
        sources: the accuracy tables of `setting`, in the order of rows.
        missing: sentences about devices that should be here and have no latency table.
    """
    columns = [Column(title="Epochs", decimals=1)]
    for device in devices:
        columns += _device_columns(device)
    by_recipe = {
        recipe: list(group) for recipe, group in groupby(sources, lambda s: s.table.recipe)
    }
    recipes = sorted({*by_recipe, *_paper_recipes(devices)}, key=paper.recipe_order)
    rows = []
    for recipe in recipes:
        group = by_recipe.get(recipe, [])
        cells = [_epochs_cell(recipe, group)]
        for device in devices:
            cells += _device_cells(recipe, group, device)
        rows.append(cells)
    for index in range(1, len(columns)):
        mark_best(rows, index, columns[index].decimals)
    return Table(
        name=name,
        title=title,
        caption=_caption(setting, sources, devices, missing),
        columns=columns,
        rows=[
            Row(method=paper.label(recipe), recipe=recipe, cells=cells)
            for recipe, cells in zip(recipes, rows, strict=True)
        ],
    )


def _paper_recipes(devices: Sequence[PairedDevice]) -> set[str]:
    known = (paper.device(device.source.device) for device in devices)
    return {recipe for entry in known if entry is not None for recipe in entry.top1}


def _caption(
    setting: Setting,
    sources: Sequence[AccuracySource],
    devices: Sequence[PairedDevice],
    missing: Sequence[str],
) -> list[str]:
    sentences = [captions.SELECTION_NOTE, captions.accuracy_sentence(setting, sources)]
    for device in devices:
        sentences += captions.latency_sentences(device.source.lut)
        beside_paper = _paper_index(device, 0) is not None
        sentences.append(captions.limit_sentence(device.limits, beside_paper=beside_paper))
        sentences += device.notes
    counts: dict[str, int] = {}
    for source in sources:
        label = paper.label(source.table.recipe)
        counts[label] = counts.get(label, 0) + 1
    seeds = captions.seed_sentence(counts)
    sentences += [seeds] if seeds else []
    return list(dict.fromkeys([*sentences, *missing]))


def _device_columns(device: PairedDevice) -> list[Column]:
    known = paper.device(device.source.device)
    columns = []
    for index, limit in enumerate(device.limits.values_ms):
        counterpart = _paper_index(device, index)
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


def _paper_index(device: PairedDevice, index: int) -> int | None:
    """Which of the paper's columns is set beside ours: the same limit, or the same rank."""
    known, limits = paper.device(device.source.device), device.limits
    if known is None:
        return None
    if limits.origin == "matched":
        return index if len(limits.values_ms) == len(known.limits_ms) else None
    limit = limits.values_ms[index]
    return known.limits_ms.index(limit) if limit in known.limits_ms else None


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


def _device_cells(
    recipe: str, sources: Sequence[AccuracySource], device: PairedDevice
) -> list[Cell]:
    known = paper.device(device.source.device)
    theirs = known.top1.get(recipe) if known else None
    cells = []
    for index, limit in enumerate(device.limits.values_ms):
        counterpart = _paper_index(device, index)
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
        choices.append(
            Choice(
                seed=source.table.training.seed,
                architecture=candidates.architectures[row].name,
                timed_as=candidates.timed_as[row].name,
                top1=float(candidates.top1[row]),
                latency_ms=float(candidates.latency_ms[row]),
                accuracy=source.anchor,
                lut=device.source.anchor,
            )
        )
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
