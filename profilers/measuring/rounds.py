"""Running things: warm-up until stable, then interleaved rounds in random order.

Nothing here interprets a time beyond deciding how long to warm up and how often to repeat.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from profilers.measuring.instruments import Clock, Instruments
from profilers.measuring.samples import Round, SchedulePlan, Visit
from profilers.measuring.settings import MeasureSettings
from profilers.plugin import Runner

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


def run_rounds(
    runners: Mapping[str, Runner],
    canary: tuple[str, Runner],
    plan: SchedulePlan,
    numbers: Sequence[int],
    *,
    settings: MeasureSettings,
    start_seconds: float,
    instruments: Instruments,
    state: Callable[[], dict[str, Any]],
) -> Iterator[Round]:
    """Yield the rounds with these numbers, each complete.

    The order within a round depends on the seed and the round's number alone.
    """
    clock, meter = instruments.clock, instruments.meter
    origin = clock() - start_seconds
    canary_name, canary_runner = canary
    for number in numbers:
        order = list(runners)
        random.Random(f"{settings.seed}/{number}").shuffle(order)
        visits: list[Visit] = []
        meter.read()
        for index, name in enumerate(order):
            if index % plan.canary_every == 0:
                visits.append(
                    visit(
                        canary_name,
                        canary_runner,
                        plan.warmup_runs,
                        settings.min_samples,
                        clock() - origin,
                    )
                )
            visits.append(
                visit(name, runners[name], plan.warmup_runs, plan.samples[name], clock() - origin)
            )
            instruments.progress.advance()
        interference = meter.read()
        yield Round(
            number=number,
            visits=tuple(visits),
            other_cpu_percent=interference.other_cpu_percent,
            steal_percent=interference.steal_percent,
            other_profilers=instruments.presence.others(),
            state=state(),
        )


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
