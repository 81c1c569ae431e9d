"""The course of a measurement: how long to warm up, how often to repeat, in which order.

What is timed, and with what, is of no concern here. Plain Python 3.8 and numpy: the agent that
measures on another machine carries this very text (`profilers.remote`), so that a table made there
is made like one made here.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

PROFILE_RUNS = 10
"""Runs in a row by which warming up learns how many a visit needs until it is steady."""
PROFILE_ITEMS = 40
PROFILE_PASSES = 2
TAIL_RUNS = 4
MAX_WARMUP_RUNS = 16
MIN_CANARIES = 4
"""Visits of the canary in a round, at least."""
STEADY_RATIO = 1.015
STEADY_SECONDS = 5.0
STEADY_WINDOW = 10
SESSION_GAP_SECONDS = 1.0
"""Time put between the samples of an interrupted run and of the one that resumes it."""


def warm_up_until_steady(runner: Any, clock: Callable[[], float]) -> int:
    """Run until the recent runs are no faster than those before them; returns how many it took.

    Clocks ramp up, caches fill, a runtime compiles or allocates on its first runs. Ends after
    `STEADY_SECONDS` at the latest: whether the machine stays steady is judged from the samples.

    Args:
        runner: has `run()`, which returns milliseconds.
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


def plan_schedule(
    runners: Mapping[str, Any],
    canary: Any,
    sizes: Any,
    deadline: float,
    clock: Callable[[], float],
    progress: Any,
) -> dict[str, Any]:
    """Warm everything up and decide how every round will go.

    Args:
        runners: by item; each has `visit(warmup, samples)`, which returns milliseconds.
        sizes: the fields of `profilers.measuring.settings.MeasureSettings`.
        deadline: time on the clock at which the last round should be over.
        progress: has `stage(name, total)` and `advance()`.

    Returns:
        The fields of `profilers.measuring.samples.SchedulePlan`.
    """
    names = list(runners)
    rng = random.Random(f"{sizes.seed}/profile")
    profiled = rng.sample(names, min(PROFILE_ITEMS, len(names)))
    progress.stage("warming up", len(names) + PROFILE_PASSES * len(profiled))
    warm_up_until_steady(canary, clock)
    typical = {}
    for name in names:
        typical[name] = float(np.min(runners[name].visit(0, 3)))
        progress.advance()
    visits, start = [], clock()
    for _ in range(PROFILE_PASSES):
        for name in rng.sample(profiled, len(profiled)):
            visits.append(runners[name].visit(0, PROFILE_RUNS))
            progress.advance()
    runs = np.array(visits)
    warmup = warmup_runs_needed(runs)
    # What a run costs beside its own time: a GPU is waited for, and kept busy before it starts.
    beside_ms = max(0.0, 1e3 * (clock() - start) - float(runs.sum())) / runs.size

    samples = {
        name: min(max(math.ceil(sizes.visit_ms / ms), sizes.min_samples), sizes.max_samples)
        for name, ms in typical.items()
    }
    # Short runs settle slower than some runs tell: caches, predictors and clocks go by time.
    warmups = {
        name: max(warmup, min(math.ceil(sizes.warmup_ms / ms), MAX_WARMUP_RUNS))
        for name, ms in typical.items()
    }
    canary_ms = float(np.median(canary.visit(0, 3))) + beside_ms
    canary_ms *= warmup + sizes.min_samples
    visit_ms = sum(
        (ms + beside_ms) * (warmups[name] + samples[name]) for name, ms in typical.items()
    )
    num_canaries = max(MIN_CANARIES, round(visit_ms / 1e3 / sizes.canary_seconds))
    round_seconds = (visit_ms + num_canaries * canary_ms) / 1e3
    rounds = int((deadline - clock()) / round_seconds)
    return {
        "warmup_runs": warmup,
        "rounds": min(max(rounds, sizes.min_rounds), sizes.max_rounds),
        "canary_every": max(1, len(names) // num_canaries),
        "samples": samples,
        "warmups": warmups,
    }


def order_of_round(
    names: Sequence[str], seed: int, number: int, canary_every: int
) -> Iterator[str | None]:
    """The items of a round in the order of their visits; None is the canary.

    It depends on the seed and the round's number alone, so that a run that is resumed goes on as
    it would have gone.
    """
    order = list(names)
    random.Random(f"{seed}/{number}").shuffle(order)
    for index, name in enumerate(order):
        if index % canary_every == 0:
            yield None
        yield name
