"""Limits on additive costs, and what they leave of a space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fofa.errors import UserError
from fofa.search.costs import CostTable
from fofa.search.exact import affordable, amount, unattainable
from fofa.space.encoding import ABSENT, NUM_SLOTS, Population

Score = Callable[[Population], np.ndarray]
"""Predicted accuracy (N,) of a population; larger is better."""
WEIGHT_STEPS = 50
"""Weightings of several limits that are tried at most, to find an architecture within all."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """A limit on a cost, inclusive; `unit` and `label` are for messages."""

    costs: CostTable
    limit: float
    unit: str = "ms"
    label: str = ""

    def __str__(self) -> str:
        return f"{amount(self.limit, self.unit)}{f' on {self.label}' if self.label else ''}"


def within_limits(population: Population, constraints: Sequence[Constraint]) -> np.ndarray:
    """Which architectures keep every limit, bool (N,)."""
    keep = np.ones(len(population), dtype=bool)
    for constraint in constraints:
        keep &= affordable(constraint.costs.of(population), constraint.limit)
    return keep


def cheapest_within(constraints: Sequence[Constraint], resolutions: Sequence[int]) -> Population:
    """For every resolution that the limits leave, its cheapest architecture.

    With several constraints, the cheapest is that of the sum of all costs, each as a share of its
    limit; where that breaks a limit, the broken one is given more weight until all are kept.

    Raises:
        UserError: if nothing is within a limit, naming the cheapest architecture and its cost, or
            nothing is found within all of them.
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
    kept = _cheapest_together(constraints, tuple(resolutions))
    if not len(kept):
        limits = " and ".join(str(constraint) for constraint in constraints)
        raise UserError(f"no architecture was found within {limits} together")
    return kept


def _cheapest_together(
    constraints: Sequence[Constraint], resolutions: tuple[int, ...]
) -> Population:
    """An architecture within all limits for every resolution where one is found.

    Costs are additive, so the cheapest by a weighted sum of them is exact; the weights are raised
    by how far a limit is overrun (the multiplicative form of Lagrangian relaxation).
    """
    weights = np.ones((len(constraints), len(resolutions)))
    codes = np.full((len(resolutions), NUM_SLOTS), ABSENT, dtype=np.uint8)
    found = np.zeros(len(resolutions), dtype=bool)
    for step in range(WEIGHT_STEPS if len(constraints) > 1 else 1):
        shares = [w / c.limit for w, c in zip(weights, constraints, strict=True)]
        mixed = CostTable(
            resolutions=resolutions,
            fixed=np.sum([s * c.costs.fixed for s, c in zip(shares, constraints, strict=True)], 0),
            blocks=np.sum(
                [
                    s[:, None, None] * c.costs.blocks
                    for s, c in zip(shares, constraints, strict=True)
                ],
                axis=0,
            ),
        )
        cheapest = mixed.cheapest()
        new = within_limits(cheapest, constraints) & ~found
        codes[new], found[new] = cheapest.codes[new], True
        if found.all():
            break
        overrun = np.array([c.costs.of(cheapest) / c.limit for c in constraints])
        # Ever smaller changes, so that weights settle between two architectures.
        weights *= (overrun / overrun.mean(axis=0)) ** (1 / (1 + step / 4))
    rows = np.flatnonzero(found)
    return Population(codes[rows], rows, resolutions)


@dataclass(frozen=True, slots=True)
class Found:
    """The best architecture of a search: `best` has one row; `evaluated` counts scored ones."""

    best: Population
    score: float
    evaluated: int
