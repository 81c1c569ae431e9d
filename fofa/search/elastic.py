"""Evolutionary search of one group of targets, with a predictor, in the elastic space."""

from __future__ import annotations

import numpy as np

from fofa.errors import UserError
from fofa.search.constraints import Constraint, cheapest_within
from fofa.search.costs import latency_costs, macs_costs
from fofa.search.evolution import evolve
from fofa.search.exact import pareto_front
from fofa.search.pairing import Candidates, Pairing, network_config, pair_predictor
from fofa.search.pool import GroupResult, Pool
from fofa.search.problem import Problem, Target
from fofa.space.encoding import Population

FRONT_POINTS = 12
"""Limits at which the Pareto front is searched."""


def search_elastic(problem: Problem, targets: tuple[Target, ...], *, pareto: bool) -> GroupResult:
    """The best architecture within every limit that evolution finds, and a Pareto front.

    The front is that of searches at a row of limits, so it is found, not proven.

    Raises:
        UserError: if tables may not be paired, or nothing is within the limits.
    """
    predictor = problem.predictor
    assert predictor is not None  # a problem without one is not searched here
    if pareto and len(targets) > 1:
        raise UserError("a joint Pareto front needs the compound space")
    pairing, timed = _common_pairing(problem, targets)
    resolutions = pairing.resolutions
    constraints = []
    for target, at in zip(targets, timed, strict=True):
        limit = problem.limit_ms(target)
        costs = latency_costs(target.lut, at, kind="elastic")
        label = target.lut.device.requested
        constraints.append(Constraint(costs, np.inf if limit is None else limit, "ms", label))
    macs = macs_costs(network_config(predictor), resolutions)
    constraints.append(Constraint(macs, problem.max_macs or np.inf, "MACs"))
    limited = [constraint for constraint in constraints if np.isfinite(constraint.limit)]
    considered = 0

    def search(within: list[Constraint]) -> Pool:
        nonlocal considered
        rng = np.random.default_rng(problem.seed)
        found = evolve(predictor.predict, within, resolutions, rng)
        considered += found.evaluated
        return _as_pool(found.best, 100 * found.score, constraints, pairing, timed)

    winner = search(limited) if limited else None
    front: list[Pool] = []
    if pareto:
        scaled = constraints[0]
        others = [constraint for constraint in limited if constraint is not scaled]
        front = _undominated(
            [
                search([*others, Constraint(scaled.costs, limit, scaled.unit)])
                for limit in _front_limits(scaled, limited, resolutions)
            ]
        )
    return GroupResult(winner, tuple(front), pairing.notes, considered)


def _undominated(found: list[Pool]) -> list[Pool]:
    """The Pareto front of pools of one row."""
    rows = [pool[0] for pool in found]
    top1 = np.array([row.top1[0] for row in rows])
    cost = np.array(
        [row.macs[0] if np.isnan(row.latency_ms[0]) else row.latency_ms[0] for row in rows]
    )
    return [found[row] for row in pareto_front(top1, cost, [row.architectures[0] for row in rows])]


def _common_pairing(
    problem: Problem, targets: tuple[Target, ...]
) -> tuple[Pairing, list[tuple[int, ...]]]:
    """The resolutions that all targets share with the predictor, and what each times them as."""
    assert problem.predictor is not None  # callers search with a predictor
    if not targets:
        return pair_predictor(None, problem.predictor, resolutions=problem.resolutions), []
    pairings = [
        pair_predictor(target.lut, problem.predictor, resolutions=problem.resolutions)
        for target in targets
    ]
    shared = [r for r in pairings[0].resolutions if all(r in p.resolutions for p in pairings)]
    if not shared:
        raise UserError("the latency tables have no resolution in common")
    notes = tuple(note for pairing in pairings for note in pairing.notes)
    timed = [tuple(r * pairing.scale for r in shared) for pairing in pairings]
    return Pairing(tuple(shared), pairings[0].scale, notes), timed


def _front_limits(
    scaled: Constraint, limited: list[Constraint], resolutions: tuple[int, ...]
) -> np.ndarray:
    """Limits from the cheapest architecture to the dearest, or to the limit that was given."""
    cheapest = cheapest_within(limited, resolutions) if limited else scaled.costs.cheapest()
    least = float(scaled.costs.of(cheapest).min())
    most: float = scaled.limit if np.isfinite(scaled.limit) else scaled.costs.largest()
    return np.geomspace(max(least, 1e-9), max(most, least), FRONT_POINTS)


def _as_pool(
    best: Population,
    top1: float,
    constraints: list[Constraint],
    pairing: Pairing,
    timed: list[tuple[int, ...]],
) -> Pool:
    """One found network as rows; the last constraint is on multiply-adds."""
    *latencies, macs = constraints
    architecture = best.architecture(0)
    count = macs.costs.of(best).round().astype(np.int64)
    if not latencies:
        none = np.array([np.nan])
        return (Candidates((architecture,), (architecture,), np.array([top1]), none, count, ()),)
    return tuple(
        Candidates(
            architectures=(architecture,),
            timed_as=(Population(best.codes, best.resolution_index, at).architecture(0),),
            top1=np.array([top1]),
            latency_ms=constraint.costs.of(best),
            macs=count,
            notes=pairing.notes,
        )
        for constraint, at in zip(latencies, timed, strict=True)
    )
