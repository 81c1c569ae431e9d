"""Several number types at once: each latency table goes with the accuracy of its own networks.

A search takes one accuracy table in floating point, one in int8, or both. What is asked for is one
network for each latency table, or, with `any`, one for each device: the most accurate of all
number types that the device's tables are of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fofa.accuracy import AccuracyTable
from fofa.errors import UserError
from fofa.outcomes import Outcomes
from fofa.precision import short_precision
from fofa.predictor.model import Predictor
from fofa.search.costs import NothingWithinError
from fofa.search.exact import joint_front
from fofa.search.problem import Problem, Target
from fofa.search.report import Outcome, Row
from fofa.search.solve import solve

ANY = "any"
WANTED = ("fp32", "fp16", "bf16", "tf32", "int8", ANY)


@dataclass(frozen=True, slots=True)
class Source:
    """Where accuracy comes from, with the outcomes that are kept beside a table."""

    accuracy: AccuracyTable | Predictor
    outcomes: Outcomes | None = None

    @property
    def is_int8(self) -> bool:
        """Whether it is of networks in int8."""
        return isinstance(self.accuracy, AccuracyTable) and self.accuracy.dtype == "int8"


def problems_by_type(
    plain: Problem, sources: Sequence[Source], dtype: str | None
) -> tuple[Problem, ...]:
    """The problem of each number type that is wanted.

    Args:
        plain: with all targets, and any of the sources.
        dtype: only tables of this type; None or `any` for all.

    Raises:
        UserError: if two sources are of one type, a source has no target or a target no source, or
            nothing is of the type.
    """
    if dtype is not None and dtype not in WANTED:
        raise UserError(f"--dtype {dtype!r}: expected one of {', '.join(WANTED)}")
    by_type: dict[bool, Source] = {}
    for source in sources:
        if source.is_int8 in by_type:
            kind = "int8" if source.is_int8 else "floating point"
            raise UserError(f"two accuracies in {kind}: give one in floating point and one in int8")
        by_type[source.is_int8] = source
    if dtype not in (None, ANY):
        by_type = {int8: source for int8, source in by_type.items() if int8 == (dtype == "int8")}
        if not by_type:
            raise UserError(f"--dtype {dtype}: no accuracy of it was given")
    targets = [t for t in plain.targets if dtype in (None, ANY, _type_of(t))]
    if plain.targets and not targets:
        there = ", ".join(dict.fromkeys(_type_of(target) for target in plain.targets))
        raise UserError(f"--dtype {dtype}: the latency tables are of {there}")
    if plain.joint and len(by_type) > 1:
        raise UserError("a joint search is of one number type: choose it with --dtype")
    problems = []
    for int8, source in by_type.items():
        own = [t for t in targets if len(by_type) == 1 or (_type_of(t) == "int8") == int8]
        if plain.targets and not own:
            kind = "int8" if int8 else "floating point"
            raise UserError(f"accuracy in {kind}, but no latency table in it: leave one out")
        if dtype == ANY and not plain.joint and own:
            problems += [_with(plain, source, [target]) for target in own]
        else:
            problems.append(_with(plain, source, own))
    return tuple(problems)


def solve_types(problems: Sequence[Problem], *, dtype: str | None, pareto: bool = False) -> Outcome:
    """Search for each problem, and put together what was found.

    With `any`, a table of which nothing is within the limits is left out, with a note, where
    another one of its device has a network; and what the others would have given is noted.

    Raises:
        UserError: as `solve` does.
    """
    found, notes = [], []
    missing: dict[str | None, NothingWithinError] = {}
    for problem in problems:
        try:
            found.append(solve(problem, pareto=pareto))
        except NothingWithinError as error:
            if dtype != ANY:
                raise
            missing[_device_of(problem)] = error
            notes.append(f"In {problem.dtype}: {error}.")
    there = {row.device for outcome in found for row in (*outcome.results, *outcome.pareto)}
    for device, reason in missing.items():
        if device not in there:
            raise reason
    results = [row for outcome in found for row in outcome.results]
    alike = [number for outcome in found for number in outcome.num_alike]
    front = [row for outcome in found for row in outcome.pareto]
    others: list[Row] = []
    if dtype == ANY:
        chosen = _best_of_each_device(results)
        others = [row for number, row in enumerate(results) if number not in chosen]
        notes += [_at_best(row) for row in others]
        results, alike = [results[row] for row in chosen], [alike[row] for row in chosen]
        front = _front_of_each_device(front)
    notes += [note for outcome in found for note in outcome.notes]
    return replace(
        found[0],
        results=tuple(results),
        num_alike=tuple(alike),
        other_types=tuple(others),
        pareto=tuple(front),
        notes=tuple(dict.fromkeys(notes)),
        considered=sum(outcome.considered for outcome in found),
        seconds=sum(outcome.seconds for outcome in found),
    )


def _with(plain: Problem, source: Source, targets: Sequence[Target]) -> Problem:
    return replace(
        plain, accuracy=source.accuracy, outcomes=source.outcomes, targets=tuple(targets)
    )


def _type_of(target: Target) -> str:
    """The number type of a latency table; a published one may not say it, and is not in int8."""
    return short_precision(target.lut.protocol.dtype or "fp32")


def _device_of(problem: Problem) -> str | None:
    return problem.targets[0].lut.device.requested if problem.targets else None


def _best_of_each_device(rows: Sequence[Row]) -> list[int]:
    """The most accurate row of each device; of equal ones the cheaper, then the first."""
    best: dict[str | None, int] = {}
    for number, row in enumerate(rows):
        other = best.get(row.device)
        if other is None or (-row.top1, _cost(row)) < (-rows[other].top1, _cost(rows[other])):
            best[row.device] = number
    return list(best.values())


def _at_best(row: Row) -> str:
    """What a device's other number type, or its other runtime, would have given."""
    where = "" if row.device is None else f" on {row.device} ({row.lut})"
    took = "" if row.latency_ms is None else f" in {row.latency_ms:.4g} ms"
    return f"In {row.dtype}{where}: at best {row.top1:.1f}%{took} ({row.architecture})."


def _front_of_each_device(rows: Sequence[Row]) -> list[Row]:
    """The rows of each device that no other number type's row beats, by rising cost."""
    kept: list[Row] = []
    for device in dict.fromkeys(row.device for row in rows):
        own = [row for row in rows if row.device == device]
        top1 = np.array([row.top1 for row in own])
        costs = np.array([[_cost(row)] for row in own])
        kept += [own[row] for row in joint_front(top1, costs)]
    return kept


def _cost(row: Row) -> float:
    return float(row.macs) if row.latency_ms is None else row.latency_ms
