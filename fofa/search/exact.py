"""Exact search: all architectures are looked at, so the optimum and the front are the true ones.

Ties are defined: of equal accuracy the faster wins, of equal accuracy and cost the one whose name
comes first. A limit is inclusive: a cost exactly at it is within it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fofa.errors import UserError
from fofa.space import Architecture


def ranking(
    accuracy: np.ndarray, cost: np.ndarray, architectures: Sequence[Architecture]
) -> np.ndarray:
    """Row indices from best to worst: accuracy down, cost up, then name."""
    names = np.array([architecture.name for architecture in architectures])
    return np.lexsort((names, cost, -accuracy))


def best_within(
    accuracy: np.ndarray,
    cost: np.ndarray,
    architectures: Sequence[Architecture],
    limit: float,
    *,
    unit: str = "ms",
) -> int:
    """Row of the most accurate architecture whose cost is at most `limit`.

    Args:
        accuracy: (N,), larger is better.
        cost: (N,), latency or multiply-adds, in `unit`.

    Raises:
        UserError: if none is within the limit, naming the cheapest architecture and its cost.
    """
    within = np.flatnonzero(cost <= limit)
    if not within.size:
        cheapest = int(np.lexsort((-accuracy, cost))[0])
        raise UserError(
            f"no architecture is within {limit:g} {unit}: the cheapest, "
            f"{architectures[cheapest].name}, takes {cost[cheapest]:.6g} {unit}"
        )
    order = ranking(accuracy[within], cost[within], [architectures[int(row)] for row in within])
    return int(within[order[0]])


def pareto_front(
    accuracy: np.ndarray, cost: np.ndarray, architectures: Sequence[Architecture]
) -> np.ndarray:
    """Rows that no other row beats: in order of rising cost and, strictly, rising accuracy."""
    names = np.array([architecture.name for architecture in architectures])
    order = np.lexsort((names, -accuracy, cost))
    running = np.maximum.accumulate(accuracy[order])
    before = np.concatenate(([-np.inf], running[:-1]))
    return order[accuracy[order] > before]
