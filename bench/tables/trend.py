"""How accuracy goes with size: the subnets of a recipe at one resolution, and what noise hides.

A test set is a sample, so part of what networks differ by is chance, and a correlation with
anything comes out too small. Where the outcome of every image is kept, the share of the differences
that another sample would show again is known (reliability, Cronbach's alpha with images as items),
and the correlation of the true accuracies follows from it (Spearman, 1904).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.tables.collect import AccuracySource

LEAST_RELIABILITY = 0.3
"""Below it networks are too alike on these images for a correlation to be corrected."""
RELIABILITY = (
    "Reliability: the share of the subnets' differences that as many other test images would show "
    "again; the rest is noise, and makes a correlation too small."
)


@dataclass(frozen=True, slots=True)
class Trend:
    """Least squares of top-1 over multiply-adds, and how the two correlate.

    `slope` is in points per multiply-add; `reliability` is None where outcomes were not kept.
    """

    slope: float
    intercept: float
    correlation: float
    reliability: float | None

    def at(self, macs: np.ndarray) -> np.ndarray:
        """Top-1 on the line."""
        return self.slope * macs + self.intercept

    @property
    def corrected(self) -> float | None:
        """The correlation with top-1 on endless test images; None where that is not known."""
        if self.reliability is None or self.reliability < LEAST_RELIABILITY:
            return None
        return math.copysign(
            min(1.0, abs(self.correlation) / math.sqrt(self.reliability)), self.correlation
        )

    @property
    def text(self) -> str:
        """`0.58, without the noise of the test images 0.65 (reliability 0.79)`."""
        found = f"{self.correlation:.2f}"
        if self.reliability is None:
            return found
        if self.corrected is None:
            return f"{found}, but they are too alike to be told apart on these test images"
        return (
            f"{found}, without the noise of the test images {self.corrected:.2f} "
            f"(reliability {self.reliability:.2f})"
        )


@dataclass(frozen=True, slots=True, eq=False)
class SubnetMeans:
    """Subnets at one resolution, by rising multiply-adds: [subnets] each, means over seeds.

    `right` [subnets, test_images] is the share of seeds that got each image right; None where
    outcomes were not kept of all, on the same images.
    """

    names: tuple[str, ...]
    macs: np.ndarray
    top1: np.ndarray
    seeds: int
    right: np.ndarray | None = field(default=None, repr=False)

    @classmethod
    def of(cls, sources: Sequence[AccuracySource], resolution: int) -> SubnetMeans:
        """Of the supernets of one recipe; of what all of them measured."""
        tables = [{row.name: row for row in source.table.architectures} for source in sources]
        shared = [
            row
            for row in sources[0].table.architectures
            if row.architecture.resolution == resolution and all(row.name in t for t in tables)
        ]
        shared.sort(key=lambda row: (row.macs, row.name))
        kept = [source.outcomes for source in sources if source.outcomes is not None]
        right = None
        if shared and len(kept) == len(sources) and len({each.images for each in kept}) == 1:
            names = [row.architecture.name for row in shared]
            rows = [[outcomes.row(name) for name in names] for outcomes in kept]
            right = np.array(rows, dtype=np.float64).mean(axis=0)
        return cls(
            tuple(row.name for row in shared),
            np.array([row.macs for row in shared], dtype=np.float64),
            np.array([[table[row.name].top1 for table in tables] for row in shared]).mean(axis=1)
            if shared
            else np.zeros(0),
            len(sources),
            right,
        )

    def trend(self) -> Trend | None:
        """None where size or accuracy is the same in all."""
        if len(self.names) < 3 or self.macs.std() == 0 or self.top1.std() == 0:
            return None
        slope, intercept = np.polyfit(self.macs, self.top1, 1)
        correlation = np.corrcoef(self.macs, self.top1)[0, 1]
        known = None if self.right is None else reliability(self.right)
        return Trend(float(slope), float(intercept), float(correlation), known)


def reliability(right: np.ndarray) -> float:
    """Of the row means of `right` [rows, images]: Cronbach's alpha, at most 1.

    Below 0 where rows differ by less than chance would make them.
    """
    number = right.shape[1]
    total = right.sum(axis=1).var(ddof=1)
    if number < 2 or total == 0:
        return 0.0
    return float(number / (number - 1) * (1 - right.var(axis=0, ddof=1).sum() / total))
