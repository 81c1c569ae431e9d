"""Limits on additive costs, and what they leave of a space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fofa.errors import UserError
from fofa.search.costs import CostTable
from fofa.search.exact import affordable, unattainable
from fofa.space.encoding import Population

Score = Callable[[Population], np.ndarray]
"""Predicted accuracy (N,) of a population; larger is better."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """A limit on a cost, inclusive; `unit` and `label` are for messages."""

    costs: CostTable
    limit: float
    unit: str = "ms"
    label: str = ""


def within_limits(population: Population, constraints: Sequence[Constraint]) -> np.ndarray:
    """Which architectures keep every limit, bool (N,)."""
    keep = np.ones(len(population), dtype=bool)
    for constraint in constraints:
        keep &= affordable(constraint.costs.of(population), constraint.limit)
    return keep


def cheapest_within(constraints: Sequence[Constraint], resolutions: Sequence[int]) -> Population:
    """For every resolution that the limits leave, its cheapest architecture.

    With several constraints, the cheapest is that of the sum of all costs, each as a share of its
    limit.

    Raises:
        UserError: if nothing is within a limit, naming the cheapest architecture and its cost.
    """
    for constraint in constraints:
        cheapest = constraint.costs.cheapest()
        costs = constraint.costs.of(cheapest)
        if not affordable(costs, constraint.limit).any():
            best = int(np.argmin(costs))
            name = Population(cheapest.codes, cheapest.resolution_index, tuple(resolutions))
            raise UserError(
                unattainable(
                    constraint.limit,
                    constraint.unit,
                    name.architecture(best).name,
                    float(costs[best]),
                    constraint.label,
                )
            )
    shares = CostTable(
        resolutions=tuple(resolutions),
        fixed=np.sum([c.costs.fixed / c.limit for c in constraints], axis=0),
        blocks=np.sum([c.costs.blocks / c.limit for c in constraints], axis=0),
    )
    cheapest = shares.cheapest()
    kept = cheapest[np.flatnonzero(within_limits(cheapest, constraints))]
    if not len(kept):
        limits = " and ".join(f"{c.limit:g} {c.unit} ({c.label})" for c in constraints)
        raise UserError(f"no architecture is within {limits} together")
    return kept


@dataclass(frozen=True, slots=True)
class Found:
    """The best architecture of a search: `best` has one row; `evaluated` counts scored ones."""

    best: Population
    score: float
    evaluated: int
