"""Exact search of one group of targets: measured architectures, or the compound space predicted."""

from __future__ import annotations

import numpy as np

from fofa.errors import UserError
from fofa.latency import Lut
from fofa.search.exact import affordable, amount, best_within, joint_front, pareto_front
from fofa.search.pairing import (
    Candidates,
    measured,
    pair,
    pair_predictor,
    predict_compound,
)
from fofa.search.pool import GroupResult, Pool, one_row
from fofa.search.problem import Problem, Target


def search_all(problem: Problem, targets: tuple[Target, ...], *, pareto: bool) -> GroupResult:
    """The best of all architectures within every limit, and the Pareto front of those within.

    Raises:
        UserError: if tables may not be paired, or nothing is within the limits.
    """
    rows = _pool(problem, targets)
    first = rows[0]
    limits = _limits(problem, targets, rows)
    for cost, limit, unit, label in limits:
        # Raises for a limit that nothing keeps, whatever the other limits are.
        best_within(first.top1, cost, first.architectures, limit, unit=unit, label=label)
    within = np.ones(len(first), dtype=bool)
    share = np.zeros(len(first))
    for cost, limit, _, _ in limits:
        within &= affordable(cost, limit)
        share = np.maximum(share, cost / limit)
    kept = np.flatnonzero(within)
    if not kept.size:
        together = " and ".join(
            f"{amount(limit, unit)}{f' on {label}' if label else ''}"
            for _, limit, unit, label in limits
        )
        raise UserError(f"no architecture is within {together} together")
    winner = None
    if limits:
        names = [first.architectures[int(row)] for row in kept]
        # With one limit, the share of it orders architectures as the cost itself does.
        best = kept[best_within(first.top1[kept], share[kept], names, float("inf"))]
        winner = one_row(rows, int(best))
    front: tuple[Pool, ...] = ()
    if pareto:
        inside = tuple(candidates[kept] for candidates in rows)
        front = tuple(one_row(inside, int(row)) for row in _front(targets, inside))
    notes = tuple(note for candidates in rows for note in candidates.notes)
    return GroupResult(winner, front, notes, len(first))


def _pool(problem: Problem, targets: tuple[Target, ...]) -> Pool:
    """The architectures that the accuracy and every one of `targets` know.

    Raises:
        UserError: if tables may not be paired or have nothing in common.
    """
    if problem.accuracy is not None:
        table, wanted = problem.accuracy, problem.resolutions
        if not targets:
            return (measured(table, resolutions=wanted),)
        pools = [pair(target.lut, table, resolutions=wanted) for target in targets]
    else:
        assert problem.predictor is not None  # a problem has one of the two
        luts: list[Lut | None] = [target.lut for target in targets]
        pools = [
            predict_compound(
                lut,
                problem.predictor,
                pair_predictor(lut, problem.predictor, resolutions=problem.resolutions),
            )
            for lut in luts or [None]
        ]
    return _common(pools)


def _common(pools: list[Candidates]) -> Pool:
    """The architectures that all pools have, in the first one's order."""
    if len(pools) == 1:
        return tuple(pools)
    places = [{a: row for row, a in enumerate(c.architectures)} for c in pools]
    shared = [a for a in pools[0].architectures if all(a in place for place in places)]
    if not shared:
        raise UserError("the latency tables have no architecture in common")
    return tuple(
        candidates[np.array([place[a] for a in shared])]
        for candidates, place in zip(pools, places, strict=True)
    )


def _limits(
    problem: Problem, targets: tuple[Target, ...], rows: Pool
) -> list[tuple[np.ndarray, float, str, str]]:
    """Each limit with the costs it is on, its unit and what it is called."""
    limits = []
    for target, candidates in zip(targets, rows, strict=False):
        limit = problem.limit_ms(target)
        if limit is not None:
            limits.append((candidates.latency_ms, limit, "ms", target.lut.device.requested))
    if problem.max_macs is not None:
        limits.append((rows[0].macs.astype(np.float64), problem.max_macs, "MACs", ""))
    return limits


def _front(targets: tuple[Target, ...], rows: Pool) -> np.ndarray:
    """The Pareto front over latency (all latencies of a joint search), else multiply-adds."""
    first = rows[0]
    if len(targets) > 1:
        return joint_front(first.top1, np.column_stack([c.latency_ms for c in rows]))
    cost = first.latency_ms if targets else first.macs.astype(np.float64)
    return pareto_front(first.top1, cost, first.architectures)
