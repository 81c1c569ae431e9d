"""Search of the elastic space for targets and budgets: what architectures cost, and the answer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fofa.errors import UserError
from fofa.predictor.model import Predictor
from fofa.search.budgets import UNITS, Kind
from fofa.search.costs import CostTable, energy_costs, latency_costs, macs_costs
from fofa.search.evolution import evolve
from fofa.search.exact import pareto_front
from fofa.search.local_search import Found
from fofa.search.pairing import network_config, pair_with_all
from fofa.search.problem import Answer, Choice, Constraint, Problem, Target, cheapest_within

FRONT_POINTS = 12
"""Limits at which the Pareto front is searched."""


def search_elastic(
    problem: Problem, predictor: Predictor, targets: tuple[Target, ...], *, pareto: bool
) -> Answer:
    """The best architecture within every limit that evolution finds, and a Pareto front.

    The front is that of searches at a row of limits, so it is found, not proven.

    Raises:
        UserError: if tables may not be paired, or nothing is within the limits.
    """
    if pareto and len(targets) > 1:
        raise UserError("a joint Pareto front needs the compound space")
    costs = _Costs.of(problem, predictor, targets)
    considered = 0

    def search(within: list[Constraint]) -> Choice:
        nonlocal considered
        rng = np.random.default_rng(problem.seed)
        found = evolve(predictor.predict, within, costs.resolutions, rng)
        considered += found.evaluated
        return costs.choice(found)

    limited = costs.limited
    best = search(limited) if limited else None
    front: tuple[Choice, ...] = ()
    if pareto:
        scaled = costs.constraints[0]
        others = [constraint for constraint in limited if constraint is not scaled]
        limits = _front_limits(scaled, limited, costs.resolutions)
        front = _undominated(
            [search([*others, Constraint(scaled.costs, limit, scaled.unit)]) for limit in limits]
        )
    return Answer(best=best, front=front, notes=costs.notes, considered=considered)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Costs:
    """What an architecture costs on all targets at once, and what is limited of it.

    Attributes:
        timed: for each target, the resolution whose latency each of `resolutions` is given.
        predicted: for each target, its latency; the constraints may hold an upper bound instead.
        energies: for each target; None where its table has none.
    """

    resolutions: tuple[int, ...]
    timed: list[tuple[int, ...]]
    predicted: list[CostTable]
    latencies: list[Constraint]
    macs: Constraint
    energies: list[Constraint | None]
    budgets: dict[Kind, Constraint]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, problem: Problem, predictor: Predictor, targets: tuple[Target, ...]) -> _Costs:
        """Of a problem's architectures.

        Raises:
            UserError: if tables may not be paired.
        """
        luts = [target.lut for target in targets]
        pairings = pair_with_all(luts, predictor, resolutions=problem.resolutions)
        resolutions, timed = pairings[0].resolutions, [p.timed for p in pairings[: len(targets)]]
        predicted, latencies, energies = [], [], []
        for target, at in zip(targets, timed, strict=True):
            lut, name = target.lut, target.lut.device.requested
            limit = np.inf if target.limit_ms is None else target.limit_ms
            bounds = latency_costs(lut, at, kind="elastic", level=problem.level)
            predicted.append(latency_costs(lut, at, kind="elastic"))
            latencies.append(Constraint(bounds, limit, "ms", name))
            energies.append(
                None
                if lut.energy is None
                else Constraint(
                    energy_costs(lut, at, kind="elastic"),
                    problem.max_energy_mj or np.inf,
                    "mJ",
                    name,
                )
            )
        macs = macs_costs(network_config(predictor), resolutions)
        deployed = problem.deployed(targets)
        return cls(
            resolutions=resolutions,
            timed=timed,
            predicted=predicted,
            latencies=latencies,
            macs=Constraint(macs, problem.max_macs or np.inf, "MACs"),
            energies=energies,
            budgets={
                kind: Constraint(
                    deployed.costs(kind, resolutions, space="elastic"), limit, UNITS[kind]
                )
                for kind, limit in problem.budgets.limited.items()
            },
            notes=tuple(note for pairing in pairings for note in pairing.notes),
        )

    @property
    def constraints(self) -> list[Constraint]:
        """Every one, with or without a limit; the first is what a front is over."""
        energies = (energy for energy in self.energies if energy is not None)
        return [*self.latencies, self.macs, *energies, *self.budgets.values()]

    @property
    def limited(self) -> list[Constraint]:
        """Those with a limit."""
        return [constraint for constraint in self.constraints if np.isfinite(constraint.limit)]

    def choice(self, found: Found) -> Choice:
        """What was found, with all that it costs."""
        best = found.best
        return Choice(
            architecture=best.architecture(0),
            top1=100 * found.score,
            macs=round(float(self.macs.costs.of(best)[0])),
            timed_as=tuple(replace(best, resolutions=at).architecture(0) for at in self.timed),
            latencies_ms=tuple(float(costs.of(best)[0]) for costs in self.predicted),
            energies_mj=tuple(
                None if energy is None else float(energy.costs.of(best)[0])
                for energy in self.energies
            ),
            amounts={kind: float(c.costs.of(best)[0]) for kind, c in self.budgets.items()},
        )


def _front_limits(
    scaled: Constraint, limited: list[Constraint], resolutions: tuple[int, ...]
) -> np.ndarray:
    """Limits from the cheapest architecture to the dearest, or to the limit that was given."""
    cheapest = cheapest_within(limited, resolutions) if limited else scaled.costs.cheapest()
    least = float(scaled.costs.of(cheapest).min())
    most: float = scaled.limit if np.isfinite(scaled.limit) else scaled.costs.largest()
    return np.geomspace(max(least, 1e-9), max(most, least), FRONT_POINTS)


def _undominated(found: list[Choice]) -> tuple[Choice, ...]:
    """The Pareto front of what was found, over the first target's latency or multiply-adds."""
    top1 = np.array([choice.top1 for choice in found])
    cost = np.array(
        [choice.latencies_ms[0] if choice.latencies_ms else choice.macs for choice in found]
    )
    rows = pareto_front(top1, cost, [choice.architecture for choice in found])
    return tuple(found[row] for row in rows)
