"""Running things: build everything, warm up until steady, then interleaved rounds in random order.

The second of three steps, and the only one that needs the device: the workload is planned without
it (`workload`), and what the rounds say is worked out without it (`measurement`). Nothing here
interprets a time beyond deciding how long to warm up and how often to repeat.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fofa.progress import Progress
from profilers.hardware.load import Interference
from profilers.measuring.interference import other_programs
from profilers.measuring.samples import Round, SchedulePlan, Visit
from profilers.measuring.schedule import SESSION_GAP_SECONDS, order_of_round, plan_schedule
from profilers.measuring.settings import MeasureSettings
from profilers.measuring.workload import Item, Workload
from profilers.plugin import Runner, Session

Clock = Callable[[], float]
"""Seconds since some fixed moment, never going back."""


def _other_programs() -> Callable[[], Interference]:
    return other_programs().interference


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruments:
    """The surroundings of a measurement; tests put in their own, without a real clock.

    Attributes:
        interference: by other programs since it was last asked.
        other_profilers: how many others measure on this machine right now.
        warn: takes what a person should see at once.
        nap: lets time pass in which this process does nothing, in seconds.
    """

    clock: Clock = time.perf_counter
    interference: Callable[[], Interference] = field(default_factory=_other_programs)
    other_profilers: Callable[[], int] = lambda: 0
    progress: Progress = field(default_factory=Progress)
    warn: Callable[[str], None] = lambda message: None
    nap: Callable[[float], None] = time.sleep


def visit(name: str, runner: Runner, warmup: int, samples: int, seconds: float) -> Visit:
    """Visit an item: warm-up runs, then recorded ones (to the nanosecond)."""
    return Visit(name, seconds, tuple(round(ms, 6) for ms in runner.visit(warmup, samples)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A workload that is built and warm on its device, ready for rounds.

    Attributes:
        runners: of every item, by name.
        canary: name and runner of the reference item.
        plan: what warming up led to.
    """

    runners: Mapping[str, Runner]
    canary: tuple[str, Runner]
    plan: SchedulePlan
    settings: MeasureSettings
    instruments: Instruments
    state: Callable[[], dict[str, Any]]

    def rounds(self, plan: SchedulePlan, finished: Sequence[Round] = ()) -> Iterator[Round]:
        """Yield the rounds of `plan` that come after the `finished` ones, each complete.

        The order within a round depends on the seed and the round's number alone. A run that is
        resumed follows the plan that it began with.
        """
        clock = self.instruments.clock
        origin = clock() - (last_seconds(finished) + SESSION_GAP_SECONDS if finished else 0.0)
        num_items = len(self.runners)
        self.instruments.progress.stage(
            "measuring", plan.rounds * num_items, len(finished) * num_items
        )
        for number in range(len(finished), plan.rounds):
            yield self._round(plan, number, origin)

    def _round(self, plan: SchedulePlan, number: int, origin: float) -> Round:
        clock, instruments = self.instruments.clock, self.instruments
        visits: list[Visit] = []
        instruments.interference()
        for name in order_of_round(
            list(self.runners), self.settings.seed, number, plan.canary_every
        ):
            now = clock() - origin
            if name is None:
                samples = self.settings.min_samples
                visits.append(visit(*self.canary, plan.warmup_runs, samples, now))
                continue
            samples = plan.samples[name]
            visits.append(visit(name, self.runners[name], plan.warmup(name), samples, now))
            instruments.progress.advance()
        others = instruments.interference()
        return Round(
            number=number,
            visits=tuple(visits),
            other_cpu_percent=others.other_cpu_percent,
            steal_percent=others.steal_percent,
            machine_cpu_percent=others.machine_cpu_percent,
            other_profilers=instruments.other_profilers(),
            state=self.state(),
        )


@contextlib.contextmanager
def prepare(
    session: Session, workload: Workload, settings: MeasureSettings, instruments: Instruments
) -> Iterator[Prepared]:
    """Build every item of `workload` and warm it up; the runners are closed when the context ends.

    Raises:
        UserError: if the plugin cannot lower an item.
    """
    if (meter := session.meter()) is not None:
        instruments = dataclasses.replace(
            instruments, interference=lambda: Interference(**meter()), other_profilers=lambda: 0
        )
    instruments.progress.stage("building", len(workload.items) + 1)
    with contextlib.ExitStack() as stack:

        def lower(item: Item) -> Runner:
            built_by = session.replica(item.replica) if item.replica else session
            runner = built_by.load(item.file) if item.file else built_by.lower(item.blocks)
            stack.callback(runner.close)
            instruments.progress.advance()
            return runner

        canary = lower(workload.canary)
        runners = {item.name: lower(item) for item in workload.items}
        # Building hundreds of engines may take an hour; the rounds get their time all the same.
        deadline = instruments.clock() + settings.budget_seconds
        stack.enter_context(undisturbed())
        yield Prepared(
            runners=runners,
            canary=(workload.canary.name, canary),
            plan=SchedulePlan(
                **plan_schedule(
                    runners, canary, settings, deadline, instruments.clock, instruments.progress
                )
            ),
            settings=settings,
            instruments=instruments,
            state=session.environment,
        )


def run_rounds(
    session: Session, workload: Workload, settings: MeasureSettings, instruments: Instruments
) -> tuple[SchedulePlan, list[Round]]:
    """Time every item of `workload` from beginning to end: the plan, and all of its rounds.

    Raises:
        UserError: if the plugin cannot lower an item.
    """
    with prepare(session, workload, settings, instruments) as prepared:
        return prepared.plan, list(prepared.rounds(prepared.plan))


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Keep Python's garbage collector from running in the middle of a measurement."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def last_seconds(rounds: Sequence[Round]) -> float:
    """Time of the latest visit so far, 0 if there is none."""
    times = (visit.seconds for visit in itertools.chain(*(r.visits for r in rounds)))
    return max(times, default=0.0)
