"""Which architectures the test images cannot tell from the winner.

The rule of one standard error (Breiman et al., 1984): what is no further below the best than the
standard error of its accuracy may as well be taken, if it is cheaper. Without outcomes that is the
binomial error of the winner; with them, that of the difference on the same images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fofa.outcomes import Outcomes
from fofa.search.pairing import Candidates


@dataclass(frozen=True, slots=True)
class Alike:
    """The architectures that may as well be taken as the most accurate one.

    Attributes:
        rows: of the candidates, the most accurate one among them.
        best: the most accurate one's row.
        error_points: the standard error that they are within; None where each has its own, of the
            difference on the same images.
    """

    rows: np.ndarray
    best: int
    error_points: float | None

    def sentence(self, candidates: Candidates, num_within: int, test_images: int) -> str:
        """What must be said beside a winner among `num_within` architectures."""
        measure = (
            f"one standard error of their difference on the same {test_images:,} test images"
            if self.error_points is None
            else f"one standard error ({self.error_points:.2f} points on {test_images:,} test "
            "images)"
        )
        if num_within == 1:
            only = candidates.architectures[self.best].name
            return f"{only} is the only architecture within the limits."
        winner = f"{candidates.architectures[self.best].name}, {candidates.top1[self.best]:.2f}%"
        if len(self.rows) == 1:
            return f"No other architecture within the limits is within {measure} of {winner}."
        return (
            f"{len(self.rows)} of the {num_within} architectures within the limits are within "
            f"{measure} of the most accurate one ({winner})."
        )


def find_alike(
    candidates: Candidates,
    rows: np.ndarray,
    best: int,
    test_images: int,
    outcomes: Outcomes | None = None,
) -> Alike:
    """Those of `rows` that are within one standard error of the most accurate, row `best`."""
    below = candidates.top1[best] - candidates.top1[rows]
    if outcomes is None:
        share = float(candidates.top1[best]) / 100
        error = 100 * math.sqrt(share * (1 - share) / test_images)
        return Alike(rows[below <= error], best, error)
    right = outcomes.row(candidates.architectures[best].name).astype(np.float64)
    apart = [right - outcomes.row(candidates.architectures[int(row)].name) for row in rows]
    errors = 100 * np.array([each.std() for each in apart]) / math.sqrt(test_images)
    return Alike(rows[below <= errors], best, None)
