"""Drift: a machine's speed changes while it is measured, within seconds and over minutes.

The canary, one fixed network that runs every fraction of a second between the other items, shows by
how much. What the drift was at each moment is estimated from all visits: every item is run in every
round at a random place, so each visit's deviation from its item's median says how slow the machine
was just then. The running median of those deviations is the machine's slowness, and every sample is
divided by the value at its time. On a shared two-core virtual machine this halves the scatter of a
network's time; the canary alone, seen ten times less often, leaves most of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from profilers.measuring.samples import Visit
from profilers.measuring.statistics import running_median

WINDOW = 15
"""Visits per smoothed value; some 0.2 s of a measurement. One alone is as noisy as its item."""
CANARY_WINDOW = 5
"""The same for the canary's own course, which has fewer visits."""
ITERATIONS = 4
"""An item's median and the drift depend on each other; they settle within two or three turns."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Slowness of the machine over time: 1 is the median, 1.1 is 10% slower.

    Attributes:
        seconds: times of the visits, ascending, (N,).
        slowness: smoothed, (N,).
        canary_percent: spread (5th to 95th percentile) of the canary's smoothed course before
            correction: how much the machine drifted.
        residual_percent: the same after correction: what is left.
    """

    seconds: np.ndarray
    slowness: np.ndarray
    canary_percent: float
    residual_percent: float

    def at(self, seconds: float) -> float:
        """Slowness at a time, interpolated."""
        return float(np.interp(seconds, self.seconds, self.slowness))


def estimate_drift(visits: Sequence[Visit], canary: str) -> Drift:
    """The drift that all `visits` show; `canary` is the name of the reference item.

    Raises:
        ValueError: if the canary was never visited.
    """
    ordered = sorted(visits, key=lambda visit: visit.seconds)
    if all(visit.item != canary for visit in ordered):
        raise ValueError(f"no visit of the canary {canary!r}")
    seconds = np.array([visit.seconds for visit in ordered])
    values = np.log([np.median(visit.samples_ms) for visit in ordered])
    members = _rows_by_item(ordered)
    course = np.zeros(len(ordered))
    for _ in range(ITERATIONS):
        deviation = np.empty(len(ordered))
        for rows in members.values():
            deviation[rows] = values[rows] - np.median((values - course)[rows])
        course = running_median(deviation, WINDOW)
        course -= np.median(course)
    own = members[canary]
    return Drift(
        seconds=seconds,
        slowness=np.exp(course),
        canary_percent=_spread_percent(values[own]),
        residual_percent=_spread_percent((values - course)[own]),
    )


def correct(visit: Visit, drift: Drift) -> list[float]:
    """The visit's samples as they would be at the machine's median speed, in ms."""
    slowness = drift.at(visit.seconds)
    return [sample / slowness for sample in visit.samples_ms]


def _rows_by_item(visits: Sequence[Visit]) -> dict[str, np.ndarray]:
    rows: dict[str, list[int]] = {}
    for row, visit in enumerate(visits):
        rows.setdefault(visit.item, []).append(row)
    return {item: np.array(numbers) for item, numbers in rows.items()}


def _spread_percent(log_values: np.ndarray) -> float:
    """5th to 95th percentile of the smoothed course of logarithms, in percent."""
    low, high = np.percentile(running_median(log_values, CANARY_WINDOW), [5, 95])
    return float(100 * (np.exp(high - low) - 1))
