"""Drift: a machine's speed changes while it is measured, and the canary shows by how much.

The canary is one fixed network that runs every fraction of a second between the other items. Its
smoothed course, relative to its median, is the speed of the machine; every sample is divided by the
value at its time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from profilers.samples import Visit
from profilers.statistics import running_median

WINDOW = 9
"""Canary visits per smoothed value: a single one is as noisy as what it is to correct."""
MIN_CANARIES = 3


@dataclass(frozen=True, slots=True)
class Drift:
    """Slowness of the machine over time: 1 is the median, 1.1 is 10% slower.

    Attributes:
        seconds: times of the canary's visits, ascending, (N,).
        slowness: smoothed, (N,).
    """

    seconds: np.ndarray
    slowness: np.ndarray

    def at(self, seconds: float) -> float:
        """Slowness at a time, interpolated."""
        return float(np.interp(seconds, self.seconds, self.slowness))

    @property
    def range_percent(self) -> float:
        """Spread of the slowness from its 5th to its 95th percentile."""
        low, high = np.percentile(self.slowness, [5, 95])
        return float(100 * (high - low))


def estimate_drift(canaries: Sequence[Visit]) -> Drift:
    """The drift that the canary's visits show; none where there are too few of them."""
    ordered = sorted(canaries, key=lambda visit: visit.seconds)
    seconds = np.array([visit.seconds for visit in ordered])
    if len(ordered) < MIN_CANARIES:
        return Drift(np.array([0.0]), np.array([1.0]))
    values = np.array([np.median(visit.samples_ms) for visit in ordered])
    smooth = running_median(values, WINDOW)
    return Drift(seconds, smooth / np.median(values))


def correct(visit: Visit, drift: Drift) -> list[float]:
    """The visit's samples as they would be at the machine's median speed, in ms."""
    slowness = drift.at(visit.seconds)
    return [sample / slowness for sample in visit.samples_ms]
