"""From a problem to its outcome: exact where all can be looked at, evolutionary elsewhere."""

from __future__ import annotations

import time

from fofa.search.elastic import search_elastic
from fofa.search.enumerated import search_all
from fofa.search.margin import table_notes
from fofa.search.outcome import Outcome, Row
from fofa.search.pool import Pool
from fofa.search.problem import Problem, Target


def solve(problem: Problem, *, pareto: bool = False) -> Outcome:
    """Search.

    Args:
        pareto: find the Pareto front too, within the limits if there are any.

    Raises:
        UserError: if tables do not fit each other, or nothing is within a limit (naming the fastest
            architecture and its latency).
    """
    started = time.perf_counter()
    search = search_elastic if problem.evolves else search_all
    results: list[Row] = []
    front: list[Row] = []
    notes: list[str] = []
    considered = 0
    for targets in problem.groups:
        found = search(problem, targets, pareto=pareto)
        if found.winner is not None:
            results += _rows(problem, targets, found.winner)
        for pool in found.front:
            front += _rows(problem, targets, pool)
        notes += [note for target in targets for note in table_notes(target.lut)]
        notes += found.notes
        considered += found.considered
    return Outcome(
        method="evolution" if problem.evolves else "exact",
        results=tuple(results),
        pareto=tuple(front),
        notes=tuple(dict.fromkeys(notes)),
        considered=considered,
        seconds=time.perf_counter() - started,
        seed=problem.seed if problem.evolves else None,
    )


def _rows(problem: Problem, targets: tuple[Target, ...], pool: Pool) -> list[Row]:
    """The output rows of one architecture: one for each target, or one without a device."""
    rows = []
    for index, candidates in enumerate(pool):
        target = targets[index] if targets else None
        lut = target.lut if target else None
        rows.append(
            Row(
                architecture=candidates.architectures[0].name,
                timed_as=candidates.timed_as[0].name,
                device=lut.device.requested if lut else None,
                lut=target.name if target else None,
                method=lut.method if lut else None,
                batch_size=lut.protocol.batch_size if lut else None,
                latency_ms=float(candidates.latency_ms[0]) if lut else None,
                error_percent=lut.error_percent if lut else None,
                limit_ms=target.limit_ms if target else None,
                margin=problem.margin,
                top1=float(candidates.top1[0]),
                top1_source="measured" if problem.accuracy is not None else "predicted",
                macs=int(candidates.macs[0]),
                max_macs=problem.max_macs,
            )
        )
    return rows
