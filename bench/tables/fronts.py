"""What accuracy a latency buys on a device, recipe by recipe: the lines of the Pareto fronts.

A line is the mean over the seeds of a recipe of the best top-1 within a latency. At a limit of the
device's table, it stands at the table's number, with the same architectures.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.tables import paper
from bench.tables.collect import AccuracySource, SettingResults
from bench.tables.devices import PairedDevice
from bench.tables.model import ChosenArchitecture
from fofa.search.exact import pareto_front
from fofa.search.pairing import Candidates


@dataclass(frozen=True, slots=True)
class Step:
    """From `latency_ms` on, every seed has the top-1 of its architecture in `chosen`."""

    latency_ms: float
    chosen: tuple[ChosenArchitecture, ...]

    @property
    def top1(self) -> float:
        """The mean over seeds, in percent."""
        return statistics.fmean(choice.top1 for choice in self.chosen)


@dataclass(frozen=True, slots=True)
class FrontLine:
    """The steps of a recipe by rising latency; each is higher than the one before."""

    recipe: str
    sources: tuple[AccuracySource, ...]
    steps: tuple[Step, ...]

    @property
    def label(self) -> str:
        """What tables call the recipe."""
        return paper.label(self.recipe)


def front_lines(results: SettingResults, device: PairedDevice) -> list[FrontLine]:
    """A line for every recipe that fits the device's latency table."""
    lines = []
    for recipe, sources in results.by_recipe.items():
        fitting = tuple(source for source in sources if source.anchor in device.candidates)
        if fitting:
            lines.append(FrontLine(recipe, fitting, tuple(_steps(fitting, device))))
    return lines


def _steps(sources: Sequence[AccuracySource], device: PairedDevice) -> list[Step]:
    """Where the mean rises, from where every seed has a network."""
    fronts: list[tuple[Candidates, np.ndarray]] = []
    for source in sources:
        found = device.candidates[source.anchor]
        rows = pareto_front(found.top1, found.latency_ms, found.architectures)
        fronts.append((found, rows))
    begin = max(found.latency_ms[rows[0]] for found, rows in fronts)
    latencies = np.unique(np.concatenate([found.latency_ms[rows] for found, rows in fronts]))
    steps: list[Step] = []
    for latency_ms in latencies[latencies >= begin].tolist():
        chosen = []
        for source, (found, rows) in zip(sources, fronts, strict=True):
            place = np.searchsorted(found.latency_ms[rows], latency_ms, side="right") - 1
            chosen.append(device.chosen(source, int(rows[place])))
        step = Step(latency_ms, tuple(chosen))
        if not steps or step.top1 > steps[-1].top1:
            steps.append(step)
    return steps
