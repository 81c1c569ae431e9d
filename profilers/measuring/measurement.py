"""The measurement core, one for all plugins: lower, warm up, time in rounds, correct for drift.

What comes out is a time for every item of the workload at one and the same machine speed. What the
times are for (tables, single networks) is other modules' business.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from profilers.measuring.drift import Drift, correct, estimate_drift
from profilers.measuring.instruments import Instruments, Progress
from profilers.measuring.rounds import last_seconds, make_plan, run_rounds, undisturbed
from profilers.measuring.samples import PartialFile, Round, SamplesFile, SchedulePlan, record_of
from profilers.measuring.settings import MeasureSettings
from profilers.measuring.stability import usable_rounds
from profilers.measuring.statistics import Summary, summarise
from profilers.measuring.workload import Item, Workload
from profilers.plugin import Runner, Session

SESSION_GAP_SECONDS = 1.0
"""Time put between the samples of an interrupted run and of the one that resumes it."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Everything that was timed and what follows from it directly.

    Attributes:
        rounds: all that were made.
        used: those that the result is made from: the undisturbed ones, if they suffice.
        summaries: by item name, corrected for drift.
        resumed_rounds: how many rounds came from an interrupted run.
    """

    plan: SchedulePlan
    rounds: tuple[Round, ...]
    used: tuple[Round, ...]
    drift: Drift
    summaries: dict[str, Summary]
    resumed_rounds: int = 0

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


def measure(
    session: Session,
    workload: Workload,
    settings: MeasureSettings,
    instruments: Instruments,
    *,
    partial: PartialFile | None = None,
    identity: dict[str, Any] | None = None,
) -> Measurement:
    """Time every item of `workload`.

    Args:
        partial: where finished rounds are kept; an interrupted measurement with the same
            `identity` found there is continued.

    Raises:
        UserError: if `partial` holds another measurement, or the plugin cannot lower an item.
    """
    deadline = instruments.clock() + settings.budget_seconds
    found = partial.read(identity or {}) if partial else None
    with lowered(session, workload, instruments.progress) as (runners, canary), undisturbed():
        # A resumed run warms up all the same, but follows the plan that it began with.
        plan = make_plan(runners, canary, settings, deadline, instruments)
        done: list[Round] = []
        if found:
            plan, done = found
        if partial:
            partial.start(identity or {}, plan, done)
        rounds = list(done)
        remaining = range(len(done), plan.rounds)
        instruments.progress.stage("measuring", len(remaining) * len(runners))
        for round_ in run_rounds(
            runners,
            (workload.canary.name, canary),
            plan,
            remaining,
            settings=settings,
            start_seconds=last_seconds(done) + SESSION_GAP_SECONDS if done else 0.0,
            instruments=instruments,
            state=session.environment,
        ):
            rounds.append(round_)
            if partial:
                partial.append(round_)
    return evaluate(plan, rounds, workload.canary.name, resumed=len(done))


def evaluate(
    plan: SchedulePlan, rounds: Sequence[Round], canary: str, *, resumed: int = 0
) -> Measurement:
    """Correct finished rounds for drift and summarise them, item by item."""
    used = usable_rounds(rounds)
    visits = [visit for round_ in used for visit in round_.visits]
    drift = estimate_drift(visits, canary)
    by_item: dict[str, list[list[float]]] = {}
    for visit in visits:
        by_item.setdefault(visit.item, []).append(correct(visit, drift))
    summaries = {name: summarise(samples) for name, samples in by_item.items()}
    return Measurement(plan, tuple(rounds), tuple(used), drift, summaries, resumed)


@contextmanager
def lowered(
    session: Session, workload: Workload, progress: Progress
) -> Iterator[tuple[dict[str, Runner], Runner]]:
    """Runners of all items by name, and the canary's; closed when the context ends."""
    progress.stage("building", len(workload.items) + 1)
    with ExitStack() as stack:

        def lower(item: Item) -> Runner:
            runner = session.load(item.file) if item.file else session.lower(item.blocks)
            stack.callback(runner.close)
            progress.advance()
            return runner

        canary = lower(workload.canary)
        yield {item.name: lower(item) for item in workload.items}, canary
