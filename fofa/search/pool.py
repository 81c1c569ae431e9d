"""What searches hand over: the same architectures as each device times them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fofa.search.pairing import Candidates

Pool = tuple[Candidates, ...]
"""Candidates for each target of a group, of the same architectures row by row; one element without
latencies where there is no target."""


@dataclass(frozen=True, slots=True)
class GroupResult:
    """What was found for targets that share a network.

    Attributes:
        winner: a pool of one row; None where nothing was limited.
        front: pools of one row each, by rising cost.
        notes: sentences that must go with the numbers.
        considered: how many architectures were looked at.
    """

    winner: Pool | None
    front: tuple[Pool, ...]
    notes: tuple[str, ...]
    considered: int


def one_row(pool: Pool, row: int) -> Pool:
    """The pool of one architecture."""
    return tuple(candidates[np.array([row])] for candidates in pool)
