"""The energy that networks take: a counter read before and after many runs of each.

Counters move in steps, RAPL's about every millisecond, a GPU's every 20 to 100. So a window begins
and ends right after a step, and is half a second or longer: what a step holds is never half of
another network's. Each network has two windows, the second time in reverse order, so that what the
machine drifts by (a hot chip takes more) is shared by all.

What the hardware takes when it idles is part of it and not subtracted: it is there while a network
runs, and whoever pays for the energy pays for that. It is stated beside the result.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fofa.errors import UserError
from fofa.space import Architecture
from profilers.measuring.rounds import Clock, Instruments, undisturbed
from profilers.measuring.workload import Item
from profilers.plugin import EnergyCounter, Session

WINDOW_SECONDS = 0.5
WARMUP_SECONDS = 0.1
STILL_SECONDS = 5.0
"""A counter that does not move for so long counts nothing."""
NAP_SECONDS = 0.01
"""Of which a window without work is made."""


@dataclass(frozen=True, slots=True)
class Window:
    """What was counted, and how often something ran meanwhile."""

    joules: float
    seconds: float
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Energies:
    """What was measured.

    Attributes:
        source: what counted.
        idle_watts: before anything ran.
        joules: of one run of each network, in its two windows.
    """

    source: str
    idle_watts: float
    joules: dict[Architecture, tuple[float, float]]


def measure_energies(
    session: Session,
    items: Sequence[Item],
    counter: EnergyCounter,
    instruments: Instruments,
) -> Energies:
    """The energy of whole networks, each run in a loop.

    Raises:
        UserError: if a network cannot be lowered, or the counter stands still.
    """
    clock, networks = instruments.clock, {i.architecture: i for i in items if i.architecture}
    idle = watch(lambda: instruments.nap(NAP_SECONDS), counter, clock)
    instruments.progress.stage("energy", 2 * len(networks))
    joules: dict[Architecture, list[float]] = {network: [] for network in networks}
    with contextlib.ExitStack() as stack:
        runners = {}
        for network, item in networks.items():
            runners[network] = session.lower(item.blocks)
            stack.callback(runners[network].close)
        stack.enter_context(undisturbed())
        for network in (*networks, *reversed(networks)):
            run, warm = runners[network].run, clock() + WARMUP_SECONDS
            while clock() < warm:
                run()
            window = watch(run, counter, clock)
            joules[network].append(window.joules / window.runs)
            instruments.progress.advance()
    return Energies(
        source=counter.source,
        idle_watts=idle.joules / idle.seconds,
        joules={network: (first, second) for network, (first, second) in joules.items()},
    )


def watch(
    run: Callable[[], object],
    counter: EnergyCounter,
    clock: Clock,
) -> Window:
    """Run something again and again for a while, from a step of the counter to another.

    Raises:
        UserError: if the counter stands still.
    """
    begin, before, _ = _next_step(run, counter, clock)
    runs = 0
    while clock() - begin < WINDOW_SECONDS:
        run()
        runs += 1
    end, after, more = _next_step(run, counter, clock)
    return Window(after - before, end - begin, runs + more)


def _next_step(
    run: Callable[[], object], counter: EnergyCounter, clock: Clock
) -> tuple[float, float, int]:
    """Run until the counter has moved: when that was, what it shows, and how many runs it took."""
    shown, deadline, runs = counter.joules(), clock() + STILL_SECONDS, 0
    while True:
        run()
        runs += 1
        now, joules = clock(), counter.joules()
        if joules != shown:
            return now, joules, runs
        if now > deadline:
            raise UserError(f"{counter.source} stands still: it counts no energy here")
