"""Comparing what is there now with a baseline, aware of the latency tables' own noise.

A limit has regressed if the best accuracy within it fell by more than the tolerance, or if the
architecture that the baseline chose lost accuracy itself (even where another took its place), or if
it became slower. What differs in hardware, protocol or data, was measured unstably, or with a much
larger error than the baseline's, is not compared: that is neither held nor regressed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from bench.gate.baseline import (
    AccuracyIdentity,
    Baseline,
    BaselineEntry,
    LimitRecord,
    LutIdentity,
    Tolerance,
    measuring_error_percent,
)
from bench.tables.collect import AccuracySource, Collection, LutSource
from fofa.errors import UserError
from fofa.families import WithFamily, family_data
from fofa.search.costs import affordable
from fofa.search.exact import best_within
from fofa.search.pairing import Candidates, pair

EPSILON = 1e-9
"""Slack for decimal fractions: a loss of exactly the tolerance is within it."""


ERROR_GROWTH = 3.0
"""A latency table whose own error is more than so many times the baseline's, and more than the
tolerance, is another measurement: it is not compared."""


class Status(Enum):
    """What became of a limit."""

    HELD = "held"
    REGRESSED = "regressed"
    INCOMPARABLE = "not compared"


@dataclass(frozen=True, slots=True)
class LimitComparison:
    """One limit of one supernet on one device, then and now.

    `reasons` say what got worse or why nothing was compared; `new_*` and `allowed_percent`, by
    which the latency might rise, are None where nothing was.
    """

    device: str
    recipe: str
    seed: int
    old: LimitRecord
    status: Status
    budget_hours: float | None = None
    reasons: tuple[str, ...] = ()
    new_top1: float | None = None
    new_architecture: str | None = None
    new_latency_ms: float | None = None
    allowed_percent: float | None = None
    improved: bool = False

    @property
    def place(self) -> str:
        """Device, supernet and limit in words."""
        budget = "" if self.budget_hours is None else f" budget {self.budget_hours:g} h"
        return f"{self.device}, {self.recipe} seed {self.seed}{budget}, {self.old.limit_ms:g} ms"


def compare(
    baseline: Baseline, collection: Collection, tolerance: Tolerance | None = None
) -> list[LimitComparison]:
    """One comparison for every limit of the baseline; what is new now is not looked at."""
    allowed = tolerance or baseline.tolerance
    return [
        comparison
        for entry in baseline.results
        for comparison in _compare_entry(entry, collection, allowed)
    ]


def exit_code(comparisons: Iterable[LimitComparison]) -> int:
    """0 all held, 1 something regressed, 2 nothing regressed but something was not compared."""
    found = {comparison.status for comparison in comparisons}
    if Status.REGRESSED in found:
        return 1
    return 2 if Status.INCOMPARABLE in found else 0


def latency_allowance(tolerance: Tolerance, old_error: float, new_error: float) -> float:
    """Percent by which a latency may rise: the tolerance, or both tables' errors together.

    The new table's error counts for no more than the old one's, which the baseline knew.
    """
    return max(tolerance.latency_percent, old_error + min(new_error, old_error))


def _new_error(entry: BaselineEntry, source: LutSource, tolerance: Tolerance) -> float:
    """The new table's own error in percent; UserError if it is not comparable any more."""
    old, new = entry.lut_error_percent, measuring_error_percent(source.lut)
    if new is None and old > 0:
        raise UserError(f"{source.path}: says no error of its own, which was {old:.2f}%")
    bound = max(tolerance.latency_percent, ERROR_GROWTH * old)
    if new is not None and new > bound:
        raise UserError(
            f"{source.path}: its own error was {old:.2f}%, is {new:.2f}%; at most {bound:.2f}% "
            "is compared"
        )
    return new or 0.0


def _compare_entry(
    entry: BaselineEntry, collection: Collection, tolerance: Tolerance
) -> list[LimitComparison]:
    try:
        source = _current_lut(entry, collection)
        accuracy = _current_accuracy(entry, collection)
        new_error = _new_error(entry, source, tolerance)
        candidates = pair(source.lut, accuracy.table)
    except UserError as error:
        return [_not_compared(entry, record, str(error)) for record in entry.limits]
    allowance = latency_allowance(tolerance, entry.lut_error_percent, new_error)
    names = [architecture.name for architecture in candidates.architectures]
    return [
        _compare_limit(entry, record, candidates, names, tolerance.accuracy_points, allowance)
        for record in entry.limits
    ]


def _current_lut(entry: BaselineEntry, collection: Collection) -> LutSource:
    """The latency table to compare with; UserError says why there is none."""
    wanted = entry.lut
    found = collection.of_device(wanted.device)
    if not found:
        raise UserError(f"no latency table of {wanted.device} in {collection.luts_dir} or named")
    same = [s for s in found if not _difference(wanted, LutIdentity.of(s.lut))]
    if not same:
        difference = _difference(wanted, LutIdentity.of(found[-1].lut))
        raise UserError(f"{found[-1].path}: another measurement: {difference}")
    if len(same) > 1:
        paths = ", ".join(str(source.path) for source in same)
        raise UserError(f"several latency tables of {wanted.device}: {paths}; name one with --lut")
    reason = same[0].lut.instability
    if reason is not None:
        raise UserError(f"{same[0].path}: unstable measurement: {reason}")
    return same[0]


def _current_accuracy(entry: BaselineEntry, collection: Collection) -> AccuracySource:
    """The accuracy table to compare with; UserError says why there is none."""
    found = [s for s in collection.accuracy if s.identity == (entry.recipe, entry.seed)]
    if not found:
        raise UserError(
            f"no accuracy table of {entry.recipe} seed {entry.seed} in "
            f"{collection.accuracy_dir} or named"
        )
    budget = entry.data.budget_hours
    found = [s for s in found if s.table.training.budget_hours == budget] or found
    found = [source for source in found if source.named] or found
    same = [s for s in found if not _difference(entry.data, AccuracyIdentity.of(s.table))]
    if not same:
        difference = _difference(entry.data, AccuracyIdentity.of(found[-1].table))
        raise UserError(f"{found[-1].path}: other data: {difference}")
    if len(same) > 1:
        paths = ", ".join(str(source.path) for source in same)
        raise UserError(f"several accuracy tables of {entry.recipe} seed {entry.seed}: {paths}")
    return same[0]


def _difference(old: WithFamily, new: WithFamily) -> str:
    """What was another, in words; a field that an older baseline does not have is not looked at.

    But for the family: who names none means the usual one.
    """
    before, after = old.model_dump(include=old.model_fields_set), new.model_dump()
    before["family"], after["family"] = family_data(old.family), family_data(new.family)
    return ", ".join(
        f"{name} was {before[name]}, is {after[name]}"
        for name in before
        if before[name] != after[name]
    )


def _not_compared(entry: BaselineEntry, record: LimitRecord, reason: str) -> LimitComparison:
    return LimitComparison(
        device=entry.lut.device,
        recipe=entry.recipe,
        seed=entry.seed,
        budget_hours=entry.data.budget_hours,
        old=record,
        status=Status.INCOMPARABLE,
        reasons=(reason,),
    )


def _compare_limit(
    entry: BaselineEntry,
    record: LimitRecord,
    candidates: Candidates,
    names: Sequence[str],
    points: float,
    allowance: float,
) -> LimitComparison:
    if record.architecture not in names:
        reason = f"the accuracy table has no {record.architecture}, which the baseline chose"
        return _not_compared(entry, record, reason)
    own = names.index(record.architecture)
    top1, latency = float(candidates.top1[own]), float(candidates.latency_ms[own])
    best = _best_row(candidates, record.limit_ms)
    reasons = []
    if _best_top1(candidates, record.limit_ms * (1 + allowance / 100)) < (
        record.top1 - points - EPSILON
    ):
        now = (
            "no architecture fits"
            if best is None
            else (f"{candidates.top1[best]:.2f} ({names[best]})")
        )
        reasons.append(
            f"top-1 within {record.limit_ms:g} ms: was {record.top1:.2f} ({record.architecture}), "
            f"is {now}; allowed loss {points:g} points"
        )
    if top1 < record.top1 - points - EPSILON:
        reasons.append(
            f"top-1 of {record.architecture}: was {record.top1:.2f}, is {top1:.2f}; "
            f"allowed loss {points:g} points"
        )
    if latency > record.latency_ms * (1 + allowance / 100) + EPSILON:
        rise = 100 * (latency / record.latency_ms - 1)
        reasons.append(
            f"latency of {record.architecture}: was {record.latency_ms:.4g} ms, is {latency:.4g} ms"
            f" ({rise:+.1f}%); allowed +{allowance:.1f}%"
        )
    return LimitComparison(
        device=entry.lut.device,
        recipe=entry.recipe,
        seed=entry.seed,
        budget_hours=entry.data.budget_hours,
        old=record,
        status=Status.REGRESSED if reasons else Status.HELD,
        reasons=tuple(reasons),
        new_top1=None if best is None else float(candidates.top1[best]),
        new_architecture=None if best is None else names[best],
        new_latency_ms=None if best is None else float(candidates.latency_ms[best]),
        allowed_percent=allowance,
        improved=not reasons
        and best is not None
        and float(candidates.top1[best]) > record.top1 + points + EPSILON,
    )


def _best_row(candidates: Candidates, limit: float) -> int | None:
    if not affordable(candidates.latency_ms, limit).any():
        return None
    return best_within(candidates.top1, candidates.latency_ms, candidates.architectures, limit)


def _best_top1(candidates: Candidates, limit: float) -> float:
    row = _best_row(candidates, limit)
    return -np.inf if row is None else float(candidates.top1[row])
