"""Who else uses the CPU while we measure: time spent by others and time that a hypervisor stole."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import psutil


@dataclass(frozen=True, slots=True)
class Interference:
    """Mean over an interval, in percent of one core; None where the system does not tell."""

    other_cpu_percent: float | None
    steal_percent: float | None


class Meter(Protocol):
    """Something that tells the interference since it was last asked."""

    def read(self) -> Interference:
        """Interference since the last call."""


class CpuMeter:
    """Reads the system's CPU accounts, which costs a fraction of a millisecond."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._last = self._accounts()

    def read(self) -> Interference:
        """Interference since the last call (since construction, the first time)."""
        before, now = self._last, self._accounts()
        self._last = now
        elapsed = max(now.clock - before.clock, 1e-9)
        busy = (now.busy - before.busy) - (now.own - before.own)
        steal = None
        if now.steal is not None and before.steal is not None:
            steal = _percent(now.steal - before.steal, elapsed)
        return Interference(_percent(busy, elapsed), steal)

    def _accounts(self) -> _Accounts:
        times, own = psutil.cpu_times(), self._process.cpu_times()
        # Guest time is in user time already, and stolen time is nobody's work.
        named = ("user", "nice", "system", "irq", "softirq")
        return _Accounts(
            clock=time.perf_counter(),
            busy=sum(getattr(times, name, 0.0) for name in named),
            own=own.user + own.system,
            steal=getattr(times, "steal", None),
        )


@dataclass(frozen=True, slots=True)
class _Accounts:
    """CPU seconds since boot: of everybody, of this process, and stolen."""

    clock: float
    busy: float
    own: float
    steal: float | None


def _percent(seconds: float, elapsed: float) -> float:
    return round(max(0.0, 100 * seconds / elapsed), 1)
