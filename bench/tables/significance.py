"""Which numbers of a column can be told apart: differences with 95% intervals.

Two things make a top-1 uncertain. *Images*: the test set is a sample. Recipes are tested on the
same images, so where the outcome of each image is kept, of one seed or more of both, images are
drawn again (bootstrap) for both at once; where it is not, the binomial errors of both are added as
if the images were different ones, which is an upper bound. *Seeds*: the same recipe trained again
gives another supernet. Two or three seeds are too few to be drawn again, their spread would come
out too small; instead, their variance is pooled over the recipes of the column and enters by
Student's t.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.tables.collect import AccuracySource

DRAWS = 2000
LEVEL = 0.95
DRAWN_AT_ONCE = 100
FEW_VALUES = 50


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """What stands in a cell: a top-1 in percent, or a mean of such, for every seed.

    Attributes:
        seeds: the value of each seed.
        test_images: how many images were tested.
        right: [kept, test_images] the same image by image, from 0 (wrong) to 1, of the seeds whose
            outcomes were kept; None where there are none.
        images: tells which images these are, and in which order.
    """

    seeds: tuple[float, ...]
    test_images: int
    right: np.ndarray | None = field(default=None, repr=False)
    images: str | None = None

    @property
    def mean(self) -> float:
        """The mean over seeds, in percent."""
        return statistics.fmean(self.seeds)

    @property
    def spread(self) -> float | None:
        """The sample standard deviation over seeds; None for one seed."""
        return statistics.stdev(self.seeds) if len(self.seeds) > 1 else None

    @classmethod
    def of(
        cls,
        sources: Sequence[AccuracySource],
        top1: Sequence[float],
        names: Sequence[Sequence[str]],
    ) -> Score:
        """Of the supernets of one recipe.

        Args:
            top1: of each supernet, in percent.
            names: of each supernet, the architectures whose mean top-1 that is.
        """
        numbers = {source.table.evaluation.test_images for source in sources}
        kept = [
            (source.outcomes, each)
            for source, each in zip(sources, names, strict=True)
            if source.outcomes is not None
        ]
        images = {outcomes.images for outcomes, _ in kept}
        if len(images) != 1 or len(numbers) != 1:
            return cls(tuple(top1), sources[0].table.evaluation.test_images)
        rows = [outcomes.mean(each) for outcomes, each in kept]
        return cls(tuple(top1), numbers.pop(), np.array(rows), images.pop())

    def binomial_variance(self) -> float:
        """Of the mean, in points squared, for images that were drawn independently."""
        share = self.mean / 100
        return 100**2 * share * (1 - share) / self.test_images

    def scatter(self) -> float:
        """The part of the variance over images, in points squared, that is another in every seed.

        Of the mean of the seeds whose outcomes were kept. The spread over seeds has it already; 0
        where one seed does not show it, which leaves the interval too wide.
        """
        if self.right is None or len(self.right) < 2:
            return 0.0
        own = self.right.var(axis=0, ddof=1).mean() / len(self.right)
        return 100**2 * float(own) / self.test_images

    def paired_with(self, other: Score) -> bool:
        """Whether both know the outcomes of the same images."""
        known = self.right is not None and other.right is not None
        return known and self.images == other.images and self.test_images == other.test_images


@dataclass(frozen=True, slots=True)
class Difference:
    """One score less another, in points, and the interval that holds the true one (95%)."""

    value: float
    low: float
    high: float

    @property
    def told_apart(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Spread:
    """Variance over seeds, pooled over the scores of a column, with its degrees of freedom."""

    variance: float
    freedom: int

    @classmethod
    def pooled(cls, scores: Sequence[Score]) -> Spread | None:
        """None where no recipe has two seeds: then intervals are of the images alone."""
        several = [score for score in scores if len(score.seeds) > 1]
        freedom = sum(len(score.seeds) - 1 for score in several)
        if not freedom:
            return None
        squares = sum((len(s.seeds) - 1) * statistics.variance(s.seeds) for s in several)
        return cls(squares / freedom, freedom)


def difference(one: Score, other: Score, spread: Spread | None) -> Difference:
    """`one` less `other`. Equal outcomes differ by exactly zero, whatever was drawn."""
    value = one.mean - other.mean
    if one is other or _same_outcomes(one, other):
        return Difference(0.0, 0.0, 0.0)
    rng = np.random.default_rng(0)
    noise, counted_twice = _image_noise(one, other, rng), 0.0
    if spread is not None and one.paired_with(other) and noise.any():
        counted_twice = min(1.0, (one.scatter() + other.scatter()) / float(noise.var()))
    draws = value + math.sqrt(1 - counted_twice) * noise
    if spread is not None:
        scale = math.sqrt(spread.variance * (1 / len(one.seeds) + 1 / len(other.seeds)))
        draws += scale * rng.standard_t(spread.freedom, DRAWS)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Difference(value, float(low), float(high))


def _same_outcomes(one: Score, other: Score) -> bool:
    if one.seeds != other.seeds or not one.paired_with(other):
        return False
    assert one.right is not None
    assert other.right is not None
    return len(one.right) == len(one.seeds) and np.array_equal(one.right, other.right)


def _image_noise(one: Score, other: Score, rng: np.random.Generator) -> np.ndarray:
    """How far the difference strays with the images, in points, [DRAWS]."""
    if not one.paired_with(other):
        bound = math.sqrt(one.binomial_variance() + other.binomial_variance())
        return bound * rng.standard_normal(DRAWS)
    assert one.right is not None
    assert other.right is not None
    number = one.test_images
    each = 100 * (one.right.mean(axis=0) - other.right.mean(axis=0))
    each -= each.mean()
    values, counts = np.unique(each, return_counts=True)
    if len(values) <= FEW_VALUES:  # one network a seed: the same draws, by how many have each value
        return rng.multinomial(number, counts / number, DRAWS) @ values / number
    return np.concatenate(
        [
            each[rng.integers(number, size=(DRAWN_AT_ONCE, number))].mean(axis=1)
            for _ in range(DRAWS // DRAWN_AT_ONCE)
        ]
    )


def against_best(scores: Sequence[Score | None]) -> list[Difference | None]:
    """Each score less the best of the column, None where there is none; the best's own is zero.

    Of equal ones, the one with the best single seed counts as the best.
    """
    known = [score for score in scores if score is not None]
    if not known:
        return [None for _ in scores]
    best = max(known, key=lambda score: (score.mean, sorted(score.seeds, reverse=True)))
    spread = Spread.pooled(known)
    return [None if score is None else difference(score, best, spread) for score in scores]
