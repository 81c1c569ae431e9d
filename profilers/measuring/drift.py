"""Drift: a machine's speed changes while it is measured, within seconds and over minutes.

The canary, one fixed network that runs every fraction of a second between the other items, shows by
how much. What the drift was at each moment is estimated from all visits: every item is run in every
round at a random place, so each visit's deviation from its item's median says how slow the machine
was just then. The running median of those deviations is the machine's slowness, and every sample is
divided by the value at its time. On a shared two-core virtual machine this halves the scatter of a
network's time; the canary alone, seen ten times less often, leaves most of it.

There are two courses, because items do not feel the same. When a neighbour on the same chip takes
room in the shared cache, whole networks, whose weights do not fit into a core's own, become slower
by a tenth and more, and single blocks by nothing. The blocks' course is the blocks' own; what
networks have in common beyond it is added for them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from profilers.measuring.samples import Visit
from profilers.measuring.statistics import running_median

WINDOW = 15
"""Visits per smoothed value; some 0.2 s of a measurement. One alone is as noisy as its item."""
NETWORK_WINDOW = 9
"""The same for networks; some 0.6 s. Five to twenty-five do equally well."""
CANARY_WINDOW = 5
"""The same for the canary's own course, which has fewer visits."""
ITERATIONS = 4
"""An item's median and the drift depend on each other; they settle within two or three turns."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Slowness of the machine over time: 1 is the median, 1.1 is 10% slower.

    Attributes:
        seconds: times of the visits, ascending, (N,).
        slowness: of single blocks, smoothed, (N,); ones if there are none.
        network_slowness: of whole networks, (N,).
        blocks: names of the items that are single blocks; all others are networks.
        canary_percent: spread (5th to 95th percentile) of the canary's smoothed course before
            correction: how much the machine drifted.
        residual_percent: the same after correction: what is left.
    """

    seconds: np.ndarray
    slowness: np.ndarray
    network_slowness: np.ndarray
    blocks: frozenset[str]
    canary_percent: float
    residual_percent: float

    def at(self, seconds: float, item: str) -> float:
        """Slowness of an item at a time, interpolated."""
        slowness = self.slowness if item in self.blocks else self.network_slowness
        return float(np.interp(seconds, self.seconds, slowness))


def estimate_drift(visits: Sequence[Visit], canary: str, blocks: Collection[str] = ()) -> Drift:
    """The drift that all `visits` show.

    Args:
        canary: the name of the reference item, a network.
        blocks: names of the items that are no whole networks.

    Raises:
        ValueError: if the canary was never visited.
    """
    ordered = sorted(visits, key=lambda visit: visit.seconds)
    if all(visit.item != canary for visit in ordered):
        raise ValueError(f"no visit of the canary {canary!r}")
    seconds = np.array([visit.seconds for visit in ordered])
    values = np.log([np.median(visit.samples_ms) for visit in ordered])
    items = np.array([visit.item for visit in ordered])
    is_block = np.isin(items, sorted(blocks))
    course = np.zeros(len(ordered))
    if is_block.any():
        common = _common_course(values[is_block], items[is_block], WINDOW)
        course = np.interp(seconds, seconds[is_block], common)
    beyond = _common_course((values - course)[~is_block], items[~is_block], NETWORK_WINDOW)
    network_course = course + np.interp(seconds, seconds[~is_block], beyond)
    own = items == canary
    return Drift(
        seconds=seconds,
        slowness=np.exp(course),
        network_slowness=np.exp(network_course),
        blocks=frozenset(blocks),
        canary_percent=_spread_percent(values[own]),
        residual_percent=_spread_percent((values - network_course)[own]),
    )


def correct(visit: Visit, drift: Drift) -> list[float]:
    """The visit's samples as they would be at the machine's median speed, in ms."""
    slowness = drift.at(visit.seconds, visit.item)
    return [sample / slowness for sample in visit.samples_ms]


def _common_course(values: np.ndarray, items: np.ndarray, window: int) -> np.ndarray:
    """What the logarithms of times, (N,), of some items have in common over time; median 0."""
    _, number = np.unique(items, return_inverse=True)
    members = [np.flatnonzero(number == item) for item in range(number.max() + 1)]
    course = np.zeros(len(values))
    for _ in range(ITERATIONS):
        deviation = np.empty(len(values))
        for rows in members:
            deviation[rows] = values[rows] - np.median((values - course)[rows])
        course = running_median(deviation, window)
        course -= np.median(course)
    return course


def _spread_percent(log_values: np.ndarray) -> float:
    """5th to 95th percentile of the smoothed course of logarithms, in percent."""
    low, high = np.percentile(running_median(log_values, CANARY_WINDOW), [5, 95])
    return float(100 * (np.exp(high - low) - 1))
