"""What is searched, what it has to keep to, and the form of what is found.

A problem names latency tables with their limits, a source of accuracy and a space, and is checked
when it is made, so that every error of the user is found before the search. Its constraints are
the limits on additive costs; `exact` and `evolution` search within them and hand over choices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fofa.accuracy import AccuracyTable
from fofa.errors import UserError
from fofa.latency import Lut
from fofa.outcomes import Outcomes
from fofa.predictor.model import Predictor
from fofa.search.budgets import Budgets, Deployed, Kind
from fofa.search.costs import (
    CostTable,
    NothingWithinError,
    affordable,
    amount,
    unattainable,
)
from fofa.space import Architecture, SpaceKind
from fofa.space.encoding import ABSENT, Population
from fofa.validation import MARGIN_LEVELS, Margin

Score = Callable[[Population], np.ndarray]
"""Predicted accuracy (N,) of a population; larger is better."""
WEIGHT_STEPS = 50
"""Weightings of several limits that are tried at most, to find an architecture within all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A device to find a network for.

    Attributes:
        name: how the table is called in outputs (its file).
        limit_ms: inclusive limit on the latency of a batch; None for no limit.
    """

    name: str
    lut: Lut
    limit_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One search.

    Attributes:
        accuracy: where accuracy comes from.
        targets: one network is found for each, or, with `joint`, one that keeps all limits. May be
            empty where only multiply-adds are limited.
        max_energy_mj: of one image, by each target's table.
        space: the predictor's search space; with an accuracy table what it holds is searched.
        resolutions: restrict the search to these, as the accuracy names them.
        margin: how sure a limit is to be kept by a single network (`fofa.validation.Margin`);
            with `none` it is the predicted latency that keeps it.
        budgets: further limits, of the networks as they are deployed.
        seed: of the evolutionary search.
        outcomes: image by image, where they are kept beside the accuracy table.
        within_error: take the cheapest architecture that is within one standard error of the most
            accurate (`fofa.search.alike`).

    Raises:
        UserError: if these do not go together, saying what to change.
    """

    accuracy: AccuracyTable | Predictor
    targets: tuple[Target, ...] = ()
    max_macs: float | None = None
    max_energy_mj: float | None = None
    space: SpaceKind = "compound"
    resolutions: tuple[int, ...] | None = None
    joint: bool = False
    margin: Margin = "none"
    budgets: Budgets = field(default_factory=Budgets)
    seed: int = 0
    outcomes: Outcomes | None = None
    within_error: bool = False

    def __post_init__(self) -> None:
        limits = [(target.limit_ms, "a latency limit") for target in self.targets]
        limits.append((self.max_macs, "a limit on multiply-adds"))
        limits.append((self.max_energy_mj, "a limit on energy"))
        for value, name in limits:
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UserError(f"{name} of {value:g}: expected a finite number above 0")
        if self.max_energy_mj is not None:
            if not self.targets:
                raise UserError("a limit on energy needs a latency table with energies: give --lut")
            for target in self.targets:
                target.lut.known_energy  # noqa: B018 - raises where there is none
        if self.joint and len(self.targets) < 2:
            raise UserError("a joint search needs two or more latency tables")
        if self.space == "elastic":
            self._check_elastic()
        if self.within_error and isinstance(self.accuracy, Predictor):
            raise UserError(
                "--within-error needs an accuracy table: a predictor knows no test images"
            )
        if self.seed < 0:
            raise UserError(f"seed {self.seed}: expected 0 or more")
        if self.level is not None:
            for target in self.targets:
                target.lut.bound(self.level)

    def deployed(self, targets: Sequence[Target]) -> Deployed:
        """What the networks of a group of targets are deployed as."""
        return Deployed.of(self.accuracy, targets[0].lut.protocol.dtype if targets else None)

    def _check_elastic(self) -> None:
        if self.budgets.memory is not None and isinstance(self.accuracy, Predictor):
            raise UserError("--max-memory needs the compound space: a peak does not add up")
        if isinstance(self.accuracy, Predictor):
            if self.accuracy.record.space.kind != "elastic":
                raise UserError("the predictor is of the compound space, not of the elastic one")
        elif self.accuracy.space.kind != "elastic":
            raise UserError(
                "the accuracy table is of the compound space; the elastic space needs a predictor, "
                "or a table of elastic architectures"
            )

    @property
    def dtype(self) -> str:
        """The number type that accuracy is of."""
        return self.accuracy.dtype if isinstance(self.accuracy, AccuracyTable) else "fp32"

    @property
    def level(self) -> float | None:
        """Share of networks that the bounds held against the limits are to cover."""
        return MARGIN_LEVELS.get(self.margin)

    @property
    def guide(self) -> Predictor | None:
        """The predictor of a space too large to look at all of it; None where all is looked at."""
        if self.space == "elastic" and isinstance(self.accuracy, Predictor):
            return self.accuracy
        return None

    @property
    def groups(self) -> list[tuple[Target, ...]]:
        """The targets that share a network: all of them, or each alone."""
        if self.joint or not self.targets:
            return [self.targets]
        return [(target,) for target in self.targets]


@dataclass(frozen=True, slots=True)
class Constraint:
    """A limit on a cost, inclusive; `unit` and `label` are for messages."""

    costs: CostTable
    limit: float
    unit: str = "ms"
    label: str = ""

    def __str__(self) -> str:
        return amount(self.limit, self.unit, self.label)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One network that a search chose for the targets of a group.

    Attributes:
        architecture: as the accuracy names it.
        top1: percent.
        macs: of one image.
        timed_as: for each target, the architecture whose latency was looked up; another resolution
            than the network's where the accuracy is a declared stand-in.
        latencies_ms: for each target, of a batch.
        energies_mj: for each target, of one image; None where its table has no energies.
        amounts: of what a budget limits.
    """

    architecture: Architecture
    top1: float
    macs: int
    timed_as: tuple[Architecture, ...]
    latencies_ms: tuple[float, ...]
    energies_mj: tuple[float | None, ...]
    amounts: Mapping[Kind, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was found for one group of targets.

    Attributes:
        best: None where nothing was limited.
        front: the Pareto front by rising cost; empty where it was not asked for.
        notes: sentences that must go with the numbers.
        considered: how many architectures were looked at.
        num_alike: how many are within one standard error of the most accurate one, itself among
            them; None where the error is not known.
    """

    best: Choice | None
    front: tuple[Choice, ...]
    notes: tuple[str, ...]
    considered: int
    num_alike: int | None = None


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
            name = replace(cheapest, resolutions=tuple(resolutions))
            raise unattainable(
                constraint.limit,
                constraint.unit,
                name.architecture(best).name,
                float(costs[best]),
                constraint.label,
            )
    found = _cheapest_together(constraints, tuple(resolutions))
    if not len(found):
        limits = " and ".join(str(constraint) for constraint in constraints)
        raise NothingWithinError(f"no architecture was found within {limits} together")
    return found


def _cheapest_together(
    constraints: Sequence[Constraint], resolutions: tuple[int, ...]
) -> Population:
    """An architecture within all limits for every resolution where one is found.

    Costs are additive, so the cheapest by a weighted sum of them is exact; the weights are raised
    by how far a limit is overrun (the multiplicative form of Lagrangian relaxation).
    """
    weights = np.ones((len(constraints), len(resolutions)))
    family, num_slots = constraints[0].costs.family, constraints[0].costs.blocks.shape[1]
    codes = np.full((len(resolutions), num_slots), ABSENT, dtype=np.uint8)
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
            family=family,
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
    return Population(codes[rows], rows, resolutions, family)
