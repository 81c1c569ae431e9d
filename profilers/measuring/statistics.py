"""Robust statistics: a few wild samples do not move them.

A visit is some runs in a row of one item; visits lie seconds apart. What disturbs a machine lasts
longer than a run, so the runs of a visit are disturbed together: a visit counts as one value (the
median of its runs) and an item's latency is the median over its visits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MAD_TO_SIGMA = 1.4826
"""Standard deviation of a normal distribution, in units of its median absolute deviation."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Latency of an item over its visits.

    Attributes:
        median_ms: median over visits of the median of their runs.
        mad_ms: median absolute deviation of the visits from it.
        visits, samples: how many visits, and runs in all.
    """

    median_ms: float
    mad_ms: float
    visits: int
    samples: int

    @property
    def relative_spread(self) -> float:
        """Robust coefficient of variation of the visits."""
        return MAD_TO_SIGMA * self.mad_ms / self.median_ms


def mad(values: Sequence[float] | np.ndarray) -> float:
    """Median absolute deviation from the median."""
    array = np.asarray(values, dtype=np.float64)
    return float(np.median(np.abs(array - np.median(array))))


def summarise(visits: Sequence[Sequence[float]]) -> Summary:
    """The summary of an item's visits, each a list of run times in ms.

    Raises:
        ValueError: if there is no visit or an empty one.
    """
    if not visits or not all(visits):
        raise ValueError("no samples to summarise")
    centres = np.array([np.median(visit) for visit in visits])
    return Summary(
        median_ms=float(np.median(centres)),
        mad_ms=mad(centres),
        visits=len(visits),
        samples=sum(len(visit) for visit in visits),
    )


def noise_percent(repeats_ms: Sequence[tuple[float, float]]) -> float:
    """Mean difference between two timings of one network, in percent of their mean; 0 for none."""
    if not repeats_ms:
        return 0.0
    pairs = np.array(repeats_ms)
    return float(100 * np.mean(np.abs(pairs[:, 0] - pairs[:, 1]) / pairs.mean(axis=1)))


def running_median(values: np.ndarray, window: int) -> np.ndarray:
    """Median over `window` neighbours (odd), fewer at the ends."""
    reach = window // 2
    padded = np.pad(np.asarray(values, dtype=np.float64), reach, constant_values=np.nan)
    return np.nanmedian(np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1), axis=1)


def huber_weights(residuals: np.ndarray, floor: float) -> np.ndarray:
    """Weights in (0, 1] that bound the pull of outliers (Huber, 1964; k = 1.345).

    The scale is the residuals' own, at least `floor`.
    """
    scale = max(floor, MAD_TO_SIGMA * float(np.median(np.abs(residuals))))
    size = np.maximum(np.abs(residuals) / scale, 1e-12)
    return np.minimum(1.0, 1.345 / size)
