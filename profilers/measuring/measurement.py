"""What finished rounds say: a time for every item at one and the same speed of the machine.

The last of three steps (`workload`, `rounds`), from plain records alone: rounds that were run
elsewhere or long ago are evaluated alike. What the times are for (tables, single networks) is other
modules' business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from profilers.measuring.drift import Drift, correct, estimate_drift
from profilers.measuring.samples import Round, SamplesFile, SchedulePlan, record_of
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

    def samples_file(self, identity: dict[str, Any]) -> SamplesFile:
        """The raw samples as a file."""
        names = list(dict.fromkeys(visit.item for visit in self.rounds[0].visits))
        numbers = {name: number for number, name in enumerate(sorted(names))}
        return SamplesFile(
            identity=identity,
            plan=self.plan,
            items=sorted(names),
            rounds=[record_of(round_, numbers) for round_ in self.rounds],
        )


def evaluate(plan: SchedulePlan, rounds: Sequence[Round], canary: str) -> Measurement:
    """Correct finished rounds for drift and summarise them, item by item."""
    used = usable_rounds(rounds)
    visits = [visit for round_ in used for visit in round_.visits]
    drift = estimate_drift(visits, canary)
    by_item: dict[str, list[list[float]]] = {}
    for visit in visits:
        by_item.setdefault(visit.item, []).append(correct(visit, drift))
    summaries = {name: summarise(samples) for name, samples in by_item.items()}
    return Measurement(plan, tuple(rounds), tuple(used), drift, summaries)
