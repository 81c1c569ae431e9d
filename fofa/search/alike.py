"""Which architectures the test images cannot tell from the winner.

The rule of one standard error (Breiman et al., 1984): what is no further below the best than the
standard error of its accuracy may as well be taken, if it is cheaper. Without outcomes that is the
binomial error of the winner; with them, that of the difference on the same images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fofa.accuracy import AccuracyTable
from fofa.outcomes import Outcomes
from fofa.search.pairing import Candidates


@dataclass(frozen=True, slots=True)
class ImageError:
    """How many images accuracy was measured on and, where it is kept, which were right."""

    test_images: int
    outcomes: Outcomes | None = None

    @classmethod
    def of(cls, table: AccuracyTable, outcomes: Outcomes | None) -> ImageError:
        """Of an accuracy table."""
        return cls(table.evaluation.test_images, outcomes)

    def alike(self, candidates: Candidates, rows: np.ndarray, best: int) -> np.ndarray:
        """Those of `rows` that are within one standard error of row `best`, itself among them."""
        below = candidates.top1[best] - candidates.top1[rows]
        errors = np.array([self.points(candidates, best, int(row)) for row in rows])
        return rows[below <= errors]

    def points(self, candidates: Candidates, best: int, row: int) -> float:
        """The standard error, in points, that the distance of `row` to `best` is held against."""
        if self.outcomes is None:
            share = float(candidates.top1[best]) / 100
            return 100 * math.sqrt(share * (1 - share) / self.test_images)
        one, other = (
            self.outcomes.row(candidates.architectures[place].name) for place in (best, row)
        )
        apart = one.astype(np.float64) - other
        return 100 * float(apart.std()) / math.sqrt(self.test_images)

    def sentence(
        self, candidates: Candidates, num_alike: int, num_rows: int, best: int, *, cheapest: str
    ) -> str:
        """What must be said of a winner. `cheapest`: what is shown in its place, or empty."""
        error = self.points(candidates, best, best)
        measure = (
            f"one standard error ({error:.2f} points on {self.test_images:,} test images)"
            if self.outcomes is None
            else f"one standard error of the difference on the same {self.test_images:,} images"
        )
        number = f"{num_alike} of the {num_rows} architectures within the limits are"
        winner = f"{candidates.architectures[best].name} ({candidates.top1[best]:.2f}%)"
        shown = f"; the {cheapest} of them is shown" if cheapest else ""
        return f"{number} within {measure} of the most accurate, {winner}{shown}."
