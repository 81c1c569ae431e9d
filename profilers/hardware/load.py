"""How much of the processor went to others while we measured, by the system's own accounts.

Other programs count where they can be felt: on the cores that the measurement may run on and those
that share a physical core with them; and anywhere, once they keep much of the whole machine busy
(memory, caches and heat are common to all cores). Plain Python 3.8: a machine that is measured from
afar reads its accounts with this very text (`profilers.remote`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from profilers.hardware.cores import CoreTimes, affinity, core_times, with_siblings


class Interference(NamedTuple):
    """Mean over an interval; None where the system does not tell.

    Attributes:
        other_cpu_percent: work of others on the measurement's cores and their siblings, in percent
            of one core.
        steal_percent: what the hypervisor took of these, in percent of one core.
        machine_cpu_percent: work of others anywhere, in percent of the whole machine.
    """

    other_cpu_percent: float | None
    steal_percent: float | None
    machine_cpu_percent: float | None = None


class Accounts(NamedTuple):
    """CPU seconds: of everybody by core since boot, and of this process.

    `numbered` is false where the system does not tell cores apart, nor what was stolen.
    """

    clock: float
    cores: dict[int, CoreTimes]
    numbered: bool
    own: float


class OtherPrograms:
    """CPU time that went to others; asking takes a fraction of a millisecond.

    Args:
        fallback: accounts for a system that does not keep Linux's; stolen time is not told then.
    """

    def __init__(self, fallback: Callable[[], dict[int, CoreTimes]] = dict) -> None:
        self._fallback = fallback
        self._siblings: dict[frozenset[int], frozenset[int]] = {}
        self._last = self._accounts()

    def interference(self) -> Interference:
        """Interference since the last call (since construction, the first time)."""
        before, now = self._last, self._accounts()
        self._last = now
        elapsed = max(now.clock - before.clock, 1e-9)
        worked, stolen = {}, {}
        for core in now.cores.keys() & before.cores.keys():
            worked[core] = now.cores[core].busy - before.cores[core].busy
            stolen[core] = now.cores[core].steal - before.cores[core].steal
        if not worked:
            return Interference(None, None, None)
        own = now.own - before.own
        everywhere = (sum(worked.values()) - own) / len(worked)
        used = self._used() & worked.keys() or worked.keys()
        return Interference(
            percent_of(sum(worked[core] for core in used) - own, elapsed),
            percent_of(sum(stolen[core] for core in used), elapsed) if now.numbered else None,
            percent_of(everywhere, elapsed),
        )

    def _used(self) -> frozenset[int]:
        """The cores on which others would be in the way."""
        cores = affinity() or frozenset()
        if cores not in self._siblings:
            self._siblings = {cores: with_siblings(cores)}
        return self._siblings[cores]

    def _accounts(self) -> Accounts:
        cores = core_times()
        return Accounts(
            clock=time.perf_counter(),
            cores=self._fallback() if cores is None else cores,
            numbered=cores is not None,
            own=time.process_time(),
        )


def percent_of(seconds: float, elapsed: float) -> float:
    """Seconds of work as a share of the time that passed, never below 0."""
    return round(max(0.0, 100 * seconds / elapsed), 1)
