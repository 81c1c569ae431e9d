"""What finished rounds say: a time for every item at one and the same speed of the machine.

The last of three steps (`workload`, `rounds`), from plain records alone: rounds that were run
elsewhere or long ago are evaluated alike. What the times are for (tables, single networks) is other
modules' business.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from profilers.measuring.drift import Drift, correct, estimate_drift
from profilers.measuring.samples import (
    Round,
    SamplesFile,
    SchedulePlan,
    SessionSamples,
    record_of,
)
from profilers.measuring.stability import usable_rounds
from profilers.measuring.statistics import Summary, summarise


@dataclass(frozen=True, slots=True)
class Measurement:
    """Everything that was timed and what follows from it directly.

    Attributes:
        rounds: all that were made.
        used: those that the result is made from: the undisturbed ones, if they suffice.
        summaries: by item name, corrected for drift.
    """

    plan: SchedulePlan
    rounds: tuple[Round, ...]
    used: tuple[Round, ...]
    drift: Drift
    summaries: dict[str, Summary]

    def samples(self) -> SessionSamples:
        """The raw samples as files hold them."""
        names = sorted({visit.item for visit in self.rounds[0].visits})
        numbers = {name: number for number, name in enumerate(names)}
        return SessionSamples(
            plan=self.plan,
            items=names,
            rounds=[record_of(round_, numbers) for round_ in self.rounds],
        )

    def samples_file(
        self, identity: dict[str, Any], others: Sequence[Measurement] = ()
    ) -> SamplesFile:
        """The raw samples as a file, with those of other sessions."""
        own = self.samples()
        return SamplesFile(
            identity=identity,
            plan=own.plan,
            items=own.items,
            rounds=own.rounds,
            other_sessions=[other.samples() for other in others],
        )


def evaluate(
    plan: SchedulePlan,
    rounds: Sequence[Round],
    canary: str,
    *,
    blocks: Collection[str] = (),
    held_out: Collection[str] = (),
) -> Measurement:
    """Correct finished rounds for drift and summarise them, item by item.

    Args:
        blocks: items that are single blocks; all others are whole networks.
        held_out: items that are corrected but say nothing about the drift: those that a table is
            validated with take no part in anything that it is made of.
    """
    used = usable_rounds(rounds)
    visits = [visit for round_ in used for visit in round_.visits]
    telling = [visit for visit in visits if visit.item not in held_out]
    drift = estimate_drift(telling, canary, blocks)
    by_item: dict[str, list[list[float]]] = {}
    for visit in visits:
        by_item.setdefault(visit.item, []).append(correct(visit, drift))
    summaries = {name: summarise(samples) for name, samples in by_item.items()}
    return Measurement(plan, tuple(rounds), tuple(used), drift, summaries)
