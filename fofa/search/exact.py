"""Exact search: all architectures are looked at, so the optimum and the front are the true ones.

Ties are defined: of equal accuracy the cheaper wins, of equal accuracy and cost the one whose name
comes first. A limit is inclusive: a cost exactly at it is within it.

Names are made for ties only: naming all architectures takes far longer than searching them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fofa.errors import UserError
from fofa.space import Architecture

ROUNDING = 1e-9
"""Relative difference that a sum of blocks may have from rounding alone; not held against a cost
that stands exactly at its limit."""


def affordable(cost: np.ndarray, limit: float) -> np.ndarray:
    """Which costs are within `limit`, bool (N,): at most the limit, but for rounding errors."""
    return cost <= limit + ROUNDING * abs(limit)


def best_within(
    accuracy: np.ndarray,
    cost: np.ndarray,
    architectures: Sequence[Architecture],
    limit: float,
    *,
    unit: str = "ms",
    label: str = "",
) -> int:
    """Row of the most accurate architecture whose cost is at most `limit`.

    Args:
        accuracy: (N,), larger is better.
        cost: (N,), latency or multiply-adds, in `unit`.
        label: what the cost is of (a device), for the message.

    Raises:
        UserError: if none is within the limit, naming the cheapest architecture and its cost.
    """
    within = np.flatnonzero(affordable(cost, limit))
    if not within.size:
        cheapest = _first_by_name(np.flatnonzero(cost == cost.min()), architectures)
        raise UserError(
            unattainable(limit, unit, architectures[cheapest].name, float(cost[cheapest]), label)
        )
    best = within[accuracy[within] == accuracy[within].max()]
    return _first_by_name(best[cost[best] == cost[best].min()], architectures)


def pareto_front(
    accuracy: np.ndarray, cost: np.ndarray, architectures: Sequence[Architecture]
) -> np.ndarray:
    """Rows that no other row beats: in order of rising cost and, strictly, rising accuracy."""
    order = np.lexsort((-accuracy, cost))
    running = np.maximum.accumulate(accuracy[order])
    before = np.concatenate(([-np.inf], running[:-1]))
    front = np.flatnonzero(accuracy[order] > before)
    rows = []
    for place in front:
        row, end = order[place], place + 1
        while end < len(order) and _equal(accuracy, cost, row, order[end]):
            end += 1
        rows.append(_first_by_name(order[place:end], architectures))
    return np.array(rows, dtype=np.intp)


def joint_front(accuracy: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Rows that no other row beats in accuracy and all costs, by rising first cost.

    Args:
        accuracy: (N,).
        costs: (N, K), one column for each device.

    A row is beaten by another that is nowhere worse and somewhere better.
    """
    rows = np.column_stack((-accuracy, costs))
    beaten = np.zeros(len(rows), dtype=bool)
    for row, values in enumerate(rows):
        no_worse = (rows <= values).all(axis=1)
        beaten[row] = bool((no_worse & (rows < values).any(axis=1)).any())
    front = np.flatnonzero(~beaten)
    return front[np.lexsort((-accuracy[front], costs[front, 0]))]


def unattainable(limit: float, unit: str, name: str, cost: float, label: str = "") -> str:
    """The message for a limit below the cheapest architecture."""
    where = f" on {label}" if label else ""
    cheapest = "fastest" if unit == "ms" else "smallest"
    return (
        f"no architecture is within {amount(limit, unit)}{where}: "
        f"the {cheapest}, {name}, takes {amount(cost, unit)}"
    )


def amount(value: float, unit: str) -> str:
    """A cost with its unit, as messages show it."""
    return f"{value:,.0f} {unit}" if unit == "MACs" else f"{value:.6g} {unit}"


def _equal(accuracy: np.ndarray, cost: np.ndarray, one: int, other: int) -> bool:
    return bool(accuracy[one] == accuracy[other] and cost[one] == cost[other])


def _first_by_name(rows: np.ndarray, architectures: Sequence[Architecture]) -> int:
    if len(rows) == 1:
        return int(rows[0])
    return int(min(rows, key=lambda row: architectures[int(row)].name))
