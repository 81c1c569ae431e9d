"""From a problem to its outcome: exact where all can be looked at, evolutionary elsewhere."""

from __future__ import annotations

import time
from dataclasses import replace

from fofa.latency import Lut
from fofa.predictor.model import Predictor
from fofa.search.elastic import search_elastic
from fofa.search.exact import search_all
from fofa.search.problem import Choice, Problem, Target
from fofa.search.report import Outcome, Row


def solve(problem: Problem, *, pareto: bool = False) -> Outcome:
    """Search.

    Args:
        pareto: find the Pareto front too, within the limits if there are any.

    Raises:
        UserError: if tables do not fit each other, or nothing is within a limit (naming the fastest
            architecture and its latency).
    """
    started = time.perf_counter()
    guide = problem.guide
    results: list[Row] = []
    alike: list[int | None] = []
    front: list[Row] = []
    notes: list[str] = []
    considered = 0
    for targets in problem.groups:
        if guide is None:
            answer = search_all(problem, targets, pareto=pareto)
        else:
            answer = search_elastic(problem, guide, targets, pareto=pareto)
        if answer.best is not None:
            rows = _rows(problem, targets, answer.best)
            results += rows
            alike += [answer.num_alike] * len(rows)
        for choice in answer.front:
            front += _rows(problem, targets, choice)
        notes += [note for target in targets for note in table_notes(target.lut)]
        notes += answer.notes
        considered += answer.considered
    return Outcome(
        method="exact" if guide is None else "evolution",
        results=tuple(results),
        num_alike=tuple(alike),
        pareto=tuple(front),
        notes=tuple(dict.fromkeys(notes)),
        considered=considered,
        seconds=time.perf_counter() - started,
        seed=None if guide is None else problem.seed,
    )


def table_notes(lut: Lut) -> tuple[str, ...]:
    """What must be said with every number of the table: other hardware than its name, unstable."""
    notes = []
    name = lut.device.requested
    if lut.device.matches is False:
        hardware = lut.device.hardware or "other hardware"
        notes.append(
            f"The {name} table was measured on {hardware}, which is not what its name expects."
        )
    if lut.method == "measured" and lut.bounds_are_derived:
        notes.append(
            f"The {name} table was measured in one session; its intervals and margins follow from "
            "its mean error and the drift of its machine."
        )
    if (reasons := lut.instability) is not None:
        notes.append(f"The measurement of the {name} table was unstable: {reasons}.")
    return tuple(notes)


def _rows(problem: Problem, targets: tuple[Target, ...], choice: Choice) -> list[Row]:
    """The output rows of one network: one for each target, or one without a device."""
    network = Row(
        architecture=choice.architecture.name,
        timed_as=choice.architecture.name,
        margin=problem.margin,
        top1=choice.top1,
        top1_source="predicted" if isinstance(problem.accuracy, Predictor) else "measured",
        macs=choice.macs,
        max_macs=problem.max_macs,
        max_energy=problem.max_energy_mj,
        dtype=problem.dtype,
        params=_whole(choice.amounts.get("params")),
        size_bytes=_whole(choice.amounts.get("size")),
        memory_bytes=_whole(choice.amounts.get("memory")),
        max_params=problem.budgets.params,
        max_size=problem.budgets.size,
        max_memory=problem.budgets.memory,
    )
    if not targets:
        return [network]
    return [
        replace(
            network,
            timed_as=timed_as.name,
            device=target.lut.device.requested,
            lut=target.name,
            method=target.lut.method,
            batch_size=target.lut.protocol.batch_size,
            dtype=target.lut.protocol.dtype or problem.dtype,
            latency_ms=latency_ms,
            error_percent=target.lut.error_percent,
            low_ms=low_ms,
            high_ms=high_ms,
            limit_ms=target.limit_ms,
            energy_mj=energy_mj,
        )
        for target, timed_as, latency_ms, energy_mj in zip(
            targets, choice.timed_as, choice.latencies_ms, choice.energies_mj, strict=True
        )
        for low_ms, high_ms in [target.lut.interval_ms(timed_as) or (None, None)]
    ]


def _whole(amount: float | None) -> int | None:
    return None if amount is None else round(amount)
