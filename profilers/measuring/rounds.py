"""Running things: build everything, warm up until steady, then interleaved rounds in random order.

The second of three steps, and the only one that needs the device: the workload is planned without
it (`workload`), and what the rounds say is worked out without it (`measurement`). Nothing here
interprets a time beyond deciding how long to warm up and how often to repeat.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fofa.progress import Progress
from profilers.measuring.interference import Interference, OtherPrograms
from profilers.measuring.samples import Round, SchedulePlan, Visit
from profilers.measuring.settings import MeasureSettings
from profilers.measuring.workload import Item, Workload
from profilers.plugin import Runner, Session

PROFILE_RUNS = 10
"""Runs in a row by which warming up learns how many a visit needs until it is steady."""
PROFILE_ITEMS = 40
PROFILE_PASSES = 2
TAIL_RUNS = 4
MIN_CANARIES = 4
"""Visits of the canary in a round, at least."""
STEADY_RATIO = 1.015
STEADY_SECONDS = 5.0
STEADY_WINDOW = 10
SESSION_GAP_SECONDS = 1.0
"""Time put between the samples of an interrupted run and of the one that resumes it."""

Clock = Callable[[], float]
"""Seconds since some fixed moment, never going back."""


def _other_programs() -> Callable[[], Interference]:
    return OtherPrograms().interference


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruments:
    """The surroundings of a measurement; tests put in their own, without a real clock.

    Attributes:
        interference: by other programs since it was last asked.
        other_profilers: how many others measure on this machine right now.
        warn: takes what a person should see at once.
    """

    clock: Clock = time.perf_counter
    interference: Callable[[], Interference] = field(default_factory=_other_programs)
    other_profilers: Callable[[], int] = lambda: 0
    progress: Progress = field(default_factory=Progress)
    warn: Callable[[str], None] = lambda message: None


def warm_up_until_steady(runner: Runner, clock: Clock) -> int:
    """Run until the recent runs are no faster than those before them; returns how many it took.

    Clocks ramp up, caches fill, a runtime compiles or allocates on its first runs. Ends after
    `STEADY_SECONDS` at the latest: whether the machine stays steady is judged from the samples.
    """
    start = clock()
    times: list[float] = []
    while clock() - start < STEADY_SECONDS:
        times.append(runner.run())
        if len(times) >= 2 * STEADY_WINDOW:
            recent = float(np.median(times[-STEADY_WINDOW:]))
            before = float(np.median(times[-2 * STEADY_WINDOW : -STEADY_WINDOW]))
            if abs(recent / before - 1) < STEADY_RATIO - 1:
                break
    return len(times)


def warmup_runs_needed(runs: np.ndarray) -> int:
    """How many runs of a visit come before the steady ones.

    Args:
        runs: times of `PROFILE_RUNS` runs in a row for several visits, (visits, runs), ms.

    When another item ran before, an item finds its weights and buffers out of the caches: on a
    server CPU the first run can take three times the steady time, the second half as much again.
    """
    ratio = np.median(runs / np.median(runs[:, -TAIL_RUNS:], axis=1, keepdims=True), axis=0)
    unsteady = np.flatnonzero(ratio[:-TAIL_RUNS] > STEADY_RATIO)
    return int(unsteady[-1]) + 1 if unsteady.size else 1


def make_plan(
    runners: Mapping[str, Runner],
    canary: Runner,
    settings: MeasureSettings,
    deadline: float,
    instruments: Instruments,
) -> SchedulePlan:
    """Warm everything up and decide how every round will go.

    Args:
        deadline: time on the instruments' clock at which the last round should be over.
    """
    progress, clock = instruments.progress, instruments.clock
    names = list(runners)
    rng = random.Random(f"{settings.seed}/profile")
    profiled = rng.sample(names, min(PROFILE_ITEMS, len(names)))
    progress.stage("warming up", len(names) + PROFILE_PASSES * len(profiled))
    warm_up_until_steady(canary, clock)
    typical = {}
    for name in names:
        typical[name] = float(np.min([runners[name].run() for _ in range(3)]))
        progress.advance()
    visits = []
    for _ in range(PROFILE_PASSES):
        for name in rng.sample(profiled, len(profiled)):
            visits.append([runners[name].run() for _ in range(PROFILE_RUNS)])
            progress.advance()
    warmup = warmup_runs_needed(np.array(visits))

    samples = {
        name: min(
            max(math.ceil(settings.visit_ms / ms), settings.min_samples), settings.max_samples
        )
        for name, ms in typical.items()
    }
    canary_ms = float(np.median([canary.run() for _ in range(3)])) * (warmup + settings.min_samples)
    visit_ms = sum(ms * (warmup + samples[name]) for name, ms in typical.items())
    num_canaries = max(MIN_CANARIES, round(visit_ms / 1e3 / settings.canary_seconds))
    round_seconds = (visit_ms + num_canaries * canary_ms) / 1e3
    rounds = int((deadline - clock()) / round_seconds)
    return SchedulePlan(
        warmup_runs=warmup,
        rounds=min(max(rounds, settings.min_rounds), settings.max_rounds),
        canary_every=max(1, len(names) // num_canaries),
        samples=samples,
    )


def visit(name: str, runner: Runner, warmup: int, samples: int, seconds: float) -> Visit:
    """Visit an item: warm-up runs, then recorded ones (to the nanosecond)."""
    for _ in range(warmup):
        runner.run()
    return Visit(name, seconds, tuple(round(runner.run(), 6) for _ in range(samples)))


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
        order = list(self.runners)
        random.Random(f"{self.settings.seed}/{number}").shuffle(order)
        visits: list[Visit] = []
        instruments.interference()
        for index, name in enumerate(order):
            if index % plan.canary_every == 0:
                now, samples = clock() - origin, self.settings.min_samples
                visits.append(visit(*self.canary, plan.warmup_runs, samples, now))
            now, samples = clock() - origin, plan.samples[name]
            visits.append(visit(name, self.runners[name], plan.warmup_runs, samples, now))
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
            plan=make_plan(runners, canary, settings, deadline, instruments),
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
