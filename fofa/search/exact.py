"""Exact search: all architectures are looked at, so the optimum and the front are the true ones.

Ties are defined: of equal accuracy the cheaper wins, of equal accuracy and cost the one whose name
comes first. A limit is inclusive: a cost exactly at it is within it.

Names are made for ties only: naming all architectures takes far longer than searching them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fofa.accuracy import AccuracyTable
from fofa.errors import UserError
from fofa.latency import Lut
from fofa.predictor.model import Predictor
from fofa.search.alike import find_alike
from fofa.search.budgets import UNITS, Kind
from fofa.search.costs import NothingWithinError, affordable, amount, ranks, unattainable
from fofa.search.pairing import Candidates, measured, pair, pair_predictor, predict_compound
from fofa.search.problem import Answer, Choice, Problem, Target
from fofa.space import Architecture, SpaceKind
from fofa.space.encoding import encode


def search_all(problem: Problem, targets: tuple[Target, ...], *, pareto: bool) -> Answer:
    """The best of all architectures within every limit, and the Pareto front of those within.

    Where the problem asks for it, the cheapest of those that test images cannot tell from the best.

    Raises:
        UserError: if tables may not be paired, or nothing is within the limits.
    """
    timings = _timings(problem, targets)
    first = timings[0]
    amounts = _amounts(problem, targets, first)
    limits = _limits(problem, targets, timings)
    for kind, limit in problem.budgets.limited.items():
        limits.append((amounts[kind], limit, UNITS[kind], ""))
    inside, share = _rows_within(limits, first)
    best, alike = None, None
    notes = [note for candidates in timings for note in candidates.notes]
    if limits:
        names = [first.architectures[int(row)] for row in inside]
        # With one limit, the share of it orders architectures as the cost itself does.
        row = int(inside[best_within(first.top1[inside], share[inside], names, float("inf"))])
        if isinstance(problem.accuracy, AccuracyTable):
            images = problem.accuracy.evaluation.test_images
            alike = find_alike(first, inside, row, images, problem.outcomes)
            several = len(problem.groups) > 1
            place = f"On {targets[0].lut.device.requested}: " if several else ""
            notes.append(place + alike.sentence(first, len(inside), images))
        if alike is not None and problem.within_error:
            near = [first.architectures[int(each)] for each in alike.rows]
            row = int(alike.rows[best_within(-share[alike.rows], share[alike.rows], near, np.inf)])
            notes.append("Shown is the cheapest of them.")
        best = _choice(targets, timings, amounts, row)
    front = _front_rows(problem, targets, timings, amounts, inside) if pareto else ()
    return Answer(
        best=best,
        front=tuple(_choice(targets, timings, amounts, int(row)) for row in front),
        notes=tuple(notes),
        considered=len(first),
        num_alike=None if alike is None else len(alike.rows),
    )


def _rows_within(
    limits: Sequence[tuple[np.ndarray, float, str, str]], candidates: Candidates
) -> tuple[np.ndarray, np.ndarray]:
    """Rows within all limits, and every row's largest share of a limit.

    Raises:
        UserError: naming a limit that nothing keeps, or all of them if nothing keeps them together.
    """
    within, share = np.ones(len(candidates), dtype=bool), np.zeros(len(candidates))
    for cost, limit, unit, label in limits:
        # Raises for a limit that nothing keeps, whatever the other limits are.
        best_within(candidates.top1, cost, candidates.architectures, limit, unit=unit, label=label)
        within &= affordable(cost, limit)
        share = np.maximum(share, cost / limit)
    if not within.any():
        together = " and ".join(amount(limit, unit, label) for _, limit, unit, label in limits)
        raise NothingWithinError(f"no architecture is within {together} together")
    return np.flatnonzero(within), share


def _front_rows(
    problem: Problem,
    targets: tuple[Target, ...],
    timings: list[Candidates],
    amounts: Mapping[Kind, np.ndarray],
    inside: np.ndarray,
) -> np.ndarray:
    """Rows, of those `inside`, of the front of top-1 over every latency (else over multiply-adds),
    energy and other amount that is looked at."""
    first = timings[0]
    columns = [candidates.latency_ms for candidates in timings]
    if not targets:
        columns = [first.macs.astype(np.float64)]
    if problem.max_energy_mj is not None:
        columns += [candidates.energy_mj for candidates in timings]
    costs = np.column_stack([*columns, *amounts.values()])[inside]
    if costs.shape[1] > 1:
        return inside[joint_front(first.top1[inside], costs)]
    names = [first.architectures[int(row)] for row in inside]
    return inside[pareto_front(first.top1[inside], costs[:, 0], names)]


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
        name = architectures[cheapest].name
        raise unattainable(limit, unit, name, float(cost[cheapest]), label)
    best = within[accuracy[within] == accuracy[within].max()]
    return _first_by_name(best[cost[best] == cost[best].min()], architectures)


def pareto_front(
    accuracy: np.ndarray, cost: np.ndarray, architectures: Sequence[Architecture]
) -> np.ndarray:
    """Rows that no other row beats: in order of rising cost and, strictly, rising accuracy.

    Costs that differ by rounding errors alone are equal.
    """
    cost = ranks(cost)
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

    A row is beaten by another that is nowhere worse and somewhere better, by more than rounding
    errors.
    """
    rows = np.column_stack((-accuracy, *(ranks(column) for column in costs.T)))
    beaten = np.zeros(len(rows), dtype=bool)
    for row, values in enumerate(rows):
        no_worse = (rows <= values).all(axis=1)
        beaten[row] = bool((no_worse & (rows < values).any(axis=1)).any())
    front = np.flatnonzero(~beaten)
    return front[np.lexsort((-accuracy[front], costs[front, 0]))]


def _timings(problem: Problem, targets: tuple[Target, ...]) -> list[Candidates]:
    """The architectures that the accuracy and all targets know, row by row as each target times
    them; once and without latencies where there is no target.

    Raises:
        UserError: if tables may not be paired or have nothing in common.
    """
    luts: list[Lut | None] = [target.lut for target in targets]
    timings = [_candidates(problem, lut) for lut in luts or [None]]
    if len(timings) == 1:
        return timings
    places = [{a: row for row, a in enumerate(c.architectures)} for c in timings]
    shared = [a for a in timings[0].architectures if all(a in place for place in places)]
    if not shared:
        raise UserError("the latency tables have no architecture in common")
    return [
        candidates[np.array([place[a] for a in shared])]
        for candidates, place in zip(timings, places, strict=True)
    ]


def _candidates(problem: Problem, lut: Lut | None) -> Candidates:
    """The architectures that both the accuracy and, where there is one, the table know."""
    accuracy, wanted = problem.accuracy, problem.resolutions
    if isinstance(accuracy, Predictor):
        pairing = pair_predictor(lut, accuracy, resolutions=wanted)
        return predict_compound(lut, accuracy, pairing)
    if lut is None:
        return measured(accuracy, resolutions=wanted)
    return pair(lut, accuracy, resolutions=wanted)


def _limits(
    problem: Problem, targets: tuple[Target, ...], timings: list[Candidates]
) -> list[tuple[np.ndarray, float, str, str]]:
    """Each limit with the costs it is on, its unit and what it is called."""
    limits = []
    for target, candidates in zip(targets, timings, strict=False):
        if (limit := target.limit_ms) is not None:
            cost = candidates.latency_ms
            if problem.level is not None:
                bound = target.lut.bound(problem.level)
                cost = bound.factor * cost + bound.deviations * candidates.deviation_ms
            limits.append((cost, limit, "ms", target.lut.device.requested))
        if (limit := problem.max_energy_mj) is not None:
            limits.append((candidates.energy_mj, limit, "mJ", target.lut.device.requested))
    if problem.max_macs is not None:
        limits.append((timings[0].macs.astype(np.float64), problem.max_macs, "MACs", ""))
    return limits


def _amounts(
    problem: Problem, targets: tuple[Target, ...], rows: Candidates
) -> dict[Kind, np.ndarray]:
    """What the budgets limit, of each architecture."""
    if not (limited := problem.budgets.limited):
        return {}
    deployed = problem.deployed(targets)
    resolutions = tuple(sorted({a.resolution for a in rows.architectures}))
    population = encode(rows.architectures, resolutions, deployed.config.family)
    compound = all(a.subnet.is_compound for a in rows.architectures)
    space: SpaceKind = "compound" if compound else "elastic"
    return {kind: deployed.amounts(kind, population, space=space) for kind in limited}


def _choice(
    targets: tuple[Target, ...],
    timings: list[Candidates],
    amounts: Mapping[Kind, np.ndarray],
    row: int,
) -> Choice:
    """One row of the candidates, with its latency on every target."""
    first, timed = timings[0], timings if targets else []
    return Choice(
        architecture=first.architectures[row],
        top1=float(first.top1[row]),
        macs=int(first.macs[row]),
        timed_as=tuple(candidates.timed_as[row] for candidates in timed),
        latencies_ms=tuple(float(candidates.latency_ms[row]) for candidates in timed),
        energies_mj=tuple(
            None if np.isnan(energy := candidates.energy_mj[row]) else float(energy)
            for candidates in timed
        ),
        amounts={kind: float(values[row]) for kind, values in amounts.items()},
    )


def _equal(accuracy: np.ndarray, cost: np.ndarray, one: int, other: int) -> bool:
    return bool(accuracy[one] == accuracy[other] and cost[one] == cost[other])


def _first_by_name(rows: np.ndarray, architectures: Sequence[Architecture]) -> int:
    if len(rows) == 1:
        return int(rows[0])
    return int(min(rows, key=lambda row: architectures[int(row)].name))
