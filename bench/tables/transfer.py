"""What a network that was chosen for one device costs on another: the matrix of devices.

Every latency table is a device here: other hardware, another runtime, another number type. On each,
the best network is chosen within four limits that are equally strict everywhere (`MATCHED_SHARES`),
among the architectures that all of them can time.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.tables import captions, paper
from bench.tables.collect import AccuracySource, LutSource, SettingResults
from bench.tables.devices import MATCHED_SHARES, limits_by_share
from bench.tables.model import Cell, Column, MethodRow, Table
from fofa.errors import UserError
from fofa.search.costs import affordable
from fofa.search.exact import best_within, pareto_front
from fofa.search.pairing import Candidates, pair

Relation = Literal["devices", "runtimes", "number types", "other settings"]


@dataclass(frozen=True, slots=True)
class Transfer:
    """Networks chosen with one latency table and used where another one holds.

    Attributes:
        changed: share of limits at which the other device's own best is another network.
        lost_points: top-1 below the other device's own best, of the best network on the first
            one's Pareto front that keeps the limit there; mean over the limits at which one does,
            None where none ever does.
        over_percent: by how much the first one's best breaks the other's limit, 0 where it keeps
            it; mean over limits.
    """

    changed: float
    lost_points: float | None
    over_percent: float


@dataclass(frozen=True, slots=True)
class Matrix:
    """Transfers from each device (row) to each (column), of the supernets `sources` of a recipe."""

    results: SettingResults
    recipe: str
    sources: tuple[AccuracySource, ...]
    luts: tuple[LutSource, ...]
    names: tuple[str, ...]
    num_architectures: int
    transfers: tuple[tuple[Transfer, ...], ...]
    notes: tuple[str, ...]
    left_out: tuple[str, ...]


def transfer_matrix(
    results: SettingResults,
    luts: Sequence[LutSource],
    recipe: str | None = None,
    *,
    others: Sequence[AccuracySource] = (),
) -> Matrix:
    """The matrix of all latency tables that fit a recipe's accuracy tables.

    Args:
        results: the trainings of one budget, or of none.
        recipe: whose accuracy; by default that of the highest mean top-1.
        others: further accuracy tables; where latencies are in int8 and accuracies are not, or the
            other way round, that of the same supernet in the right type counts, if it is there.

    Raises:
        UserError: if the recipe has no accuracy table, or fewer than two latency tables fit it.
    """
    chosen = recipe if recipe is not None else most_accurate(results)
    sources = results.of_recipe(chosen)
    if not sources:
        there = ", ".join(results.by_recipe)
        raise UserError(f"no accuracy table of the recipe {chosen!r}; there are {there}")
    fitting: list[LutSource] = []
    paired: list[list[Candidates]] = []
    left_out = []
    for lut in luts:
        try:
            tables = [_in_type_of(lut, source, others).table for source in sources]
            paired.append([pair(lut.lut, table, any_type=True) for table in tables])
        except UserError as error:
            left_out.append(f"Left out: {lut.path}: {error}")
        else:
            fitting.append(lut)
    if len(fitting) < 2:
        reason = f" ({left_out[0]})" if left_out else ""
        raise UserError(
            f"a matrix of devices needs two latency tables or more that fit the accuracy of "
            f"{paper.label(chosen)}; found {len(fitting)}{reason}"
        )
    by_seed = [_of_seed([found[seed] for found in paired]) for seed in range(len(sources))]
    return Matrix(
        results=results,
        recipe=chosen,
        sources=sources,
        luts=tuple(fitting),
        names=tuple(_names(fitting)),
        num_architectures=by_seed[0][0],
        transfers=tuple(
            tuple(_mean([seed[row][column] for _, seed in by_seed]) for column in _range(fitting))
            for row in _range(fitting)
        ),
        notes=tuple(dict.fromkeys(n for found in paired for c in found for n in c.notes)),
        left_out=tuple(left_out),
    )


def most_accurate(results: SettingResults) -> str:
    """The recipe whose architectures have the highest mean top-1; of equal ones the first."""
    means = {
        recipe: statistics.fmean(
            statistics.fmean(row.top1 for row in source.table.architectures) for source in sources
        )
        for recipe, sources in results.by_recipe.items()
    }
    return max(means, key=lambda recipe: means[recipe])


def _in_type_of(
    lut: LutSource, source: AccuracySource, others: Sequence[AccuracySource]
) -> AccuracySource:
    """The accuracy table of the same supernet in the number type of a latency table, if any."""
    wanted = source.setting.model_copy(update={"int8": lut.int8})
    found = (o for o in others if o.training == source.training and o.setting == wanted)
    return next(found, source)


def _range(items: Sequence[object]) -> range:
    return range(len(items))


def _names(luts: Sequence[LutSource]) -> list[str]:
    """The files' names; with a number where two are alike."""
    stems = [source.path.stem for source in luts]
    counts = Counter(stems)
    return [
        stem if counts[stem] == 1 else f"{stem} ({stems[: place + 1].count(stem)})"
        for place, stem in enumerate(stems)
    ]


def _of_seed(paired: Sequence[Candidates]) -> tuple[int, list[list[Transfer]]]:
    """How many architectures all devices time, and the transfers of one supernet between them."""
    places = [{a: row for row, a in enumerate(found.architectures)} for found in paired]
    shared = [a for a in paired[0].architectures if all(a in place for place in places)]
    if not shared:
        raise UserError("the latency tables have no architecture in common")
    devices = [
        found[np.array([place[a] for a in shared])]
        for found, place in zip(paired, places, strict=True)
    ]
    limits = [limits_by_share(found.latency_ms.tolist()) for found in devices]
    best = [
        [best_within(c.top1, c.latency_ms, c.architectures, limit) for limit in each]
        for c, each in zip(devices, limits, strict=True)
    ]
    fronts = [pareto_front(c.top1, c.latency_ms, c.architectures) for c in devices]
    return len(shared), [
        [
            _transfer(best[row], fronts[row], devices[column], limits[column], best[column])
            for column in _range(devices)
        ]
        for row in _range(devices)
    ]


def _transfer(
    theirs: Sequence[int],
    front: np.ndarray,
    here: Candidates,
    limits: Sequence[float],
    own: Sequence[int],
) -> Transfer:
    """From a device with the best networks `theirs` and Pareto front `front` to `here`."""
    lost, over = [], []
    for chosen, limit, best in zip(theirs, limits, own, strict=True):
        kept = front[affordable(here.latency_ms[front], limit)]
        if kept.size:
            lost.append(float(here.top1[best] - here.top1[kept].max()))
        fits = affordable(here.latency_ms[[chosen]], limit)[0]
        over.append(0.0 if fits else 100 * (float(here.latency_ms[chosen]) / limit - 1))
    return Transfer(
        changed=statistics.fmean(a != b for a, b in zip(theirs, own, strict=True)),
        lost_points=statistics.fmean(lost) if lost else None,
        over_percent=statistics.fmean(over),
    )


def _mean(seeds: Sequence[Transfer]) -> Transfer:
    lost = [seed.lost_points for seed in seeds if seed.lost_points is not None]
    return Transfer(
        changed=statistics.fmean(seed.changed for seed in seeds),
        lost_points=statistics.fmean(lost) if lost else None,
        over_percent=statistics.fmean(seed.over_percent for seed in seeds),
    )


def relation(one: LutSource, other: LutSource) -> Relation:
    """What tells two latency tables apart first: hardware, then runtime, then number type."""

    def hardware(source: LutSource) -> str:
        return source.lut.device.hardware or source.device

    if hardware(one) != hardware(other):
        return "devices"
    first, second = one.lut.protocol, other.lut.protocol
    if (first.plugin, first.runtime) != (second.plugin, second.runtime):
        return "runtimes"
    return "number types" if first.dtype != second.dtype else "other settings"


def transfer_table(name: str, title: str, matrix: Matrix) -> Table:
    """A row for the device that a network was chosen for, a column for the one it is used on."""
    seeds = len(matrix.sources)
    return Table(
        name=name,
        title=title,
        verdict=_verdict(matrix),
        brief=[
            "Points of top-1 below the device's own best, for the best network of the other "
            "device's front that keeps the limit.",
            "Under them: how often the best network changes; by how much the other's best breaks "
            "the limit.",
            captions.brief_accuracy(matrix.results),
        ],
        caption=transfer_caption(matrix),
        row_title="Chosen for",
        columns=[
            Column(title=each, group="Used on", unit="points", lut=lut.anchor)
            for each, lut in zip(matrix.names, matrix.luts, strict=True)
        ],
        rows=[
            MethodRow(
                method=matrix.names[row],
                recipe=matrix.recipe,
                cells=[
                    Cell(note="itself")
                    if row == column
                    else Cell(
                        value=transfer.lost_points,
                        seeds=seeds,
                        sources=[matrix.luts[column].anchor, matrix.luts[row].anchor],
                        note=transfer_note(transfer),
                    )
                    for column, transfer in enumerate(transfers)
                ],
            )
            for row, transfers in enumerate(matrix.transfers)
        ],
    )


def _verdict(matrix: Matrix) -> list[str]:
    """What it costs at most to take a network from another device."""
    others = [
        (transfer, row, column)
        for row, transfers in enumerate(matrix.transfers)
        for column, transfer in enumerate(transfers)
        if row != column
    ]
    lost = [each for each in others if each[0].lost_points is not None]
    sentences = []
    if lost:
        worst, row, column = max(lost, key=lambda each: each[0].lost_points or 0.0)
        sentences.append(
            f"A network of another device costs {worst.lost_points:.2f} points at most "
            f"({matrix.names[row]} on {matrix.names[column]}); one standard error is "
            f"{_standard_error(matrix):.2f}."
        )
    over, row, column = max(others, key=lambda each: each[0].over_percent)
    sentences.append(
        f"Taken as it is, it breaks the limit by up to {over.over_percent:.0f}% "
        f"({matrix.names[row]} on {matrix.names[column]})."
    )
    return [*sentences, *_change_sentences(matrix)]


def transfer_note(transfer: Transfer) -> str:
    """What stands under the points lost."""
    parts = [f"{100 * transfer.changed:.0f}% change", f"{transfer.over_percent:+.0f}% ms"]
    if transfer.lost_points is None:
        parts.insert(0, "none fits")
    return ", ".join(parts)


def transfer_caption(matrix: Matrix) -> list[str]:
    """How to read the matrix, how often winners change, and what every device is."""
    shares = ", ".join(f"{100 * share:.1f}" for share in MATCHED_SHARES)
    sentences = [
        "Points of top-1 below the device's own best network within a limit, for the best network "
        "on the other device's Pareto front that keeps it; under it, at how many limits the best "
        "network changes, and by how much the other device's best breaks the limit.",
        f"Means over four limits that let through {shares}% of the {matrix.num_architectures} "
        f"architectures that all devices time{_seeds_text(matrix)}.",
        *_change_sentences(matrix),
        f"Accuracy of {paper.label(matrix.recipe)}; one standard error of a top-1 by the number of "
        f"test images is {_standard_error(matrix):.2f} points.",
        captions.accuracy_sentence(matrix.results.setting, matrix.sources),
    ]
    for each, lut in zip(matrix.names, matrix.luts, strict=True):
        sentences.append(f"{each}: {lut.title}.")
        sentences += captions.latency_sentences(lut)
    return list(dict.fromkeys([*sentences, *matrix.notes, *matrix.left_out]))


def _seeds_text(matrix: Matrix) -> str:
    number = len(matrix.sources)
    return f", and over {number} seeds" if number > 1 else ""


def _standard_error(matrix: Matrix) -> float:
    tables = [source.table for source in matrix.sources]
    share = statistics.fmean(max(row.top1 for row in table.architectures) for table in tables) / 100
    return 100 * math.sqrt(share * (1 - share) / matrix.results.setting.test_images)


def _change_sentences(matrix: Matrix) -> list[str]:
    """How often the best network changes, by what is changed; nothing said of what is not there."""
    found: dict[Relation, list[float]] = {}
    for row, one in enumerate(matrix.luts):
        for column in range(row):
            kind = relation(one, matrix.luts[column])
            found.setdefault(kind, []).append(matrix.transfers[row][column].changed)
    on_one = {kind: "" if kind == "devices" else " on one device" for kind in found}
    return [
        f"Between {kind}{on_one[kind]} the best network changes at "
        f"{100 * statistics.fmean(shares):.0f}% of the limits ({len(shares)} "
        f"pair{'s' if len(shares) > 1 else ''})."
        for kind, shares in found.items()
    ]
