"""The CPU cores that a measurement runs on: which it may use, which share a physical core with
them, how busy each is, and keeping the measurement on some of them.

Linux tells all of this. Elsewhere there is no pinning, and the answers are None. Plain Python 3.8:
the agent on a machine that is measured from afar carries this very text (`profilers.remote`).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

SYSTEM_CORES = Path("/sys/devices/system/cpu")
ACCOUNTS = Path("/proc/stat")
SAMPLE_SECONDS = 0.1
"""How long is looked at which cores are free; the accounts are kept in steps of 10 ms."""


class CoreTimes(NamedTuple):
    """Seconds since boot that a core worked, and that the hypervisor took from it."""

    busy: float
    steal: float


def affinity() -> frozenset[int] | None:
    """Numbers of the logical cores that the calling thread may run on."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    return frozenset(os.sched_getaffinity(0))


def core_times(accounts: Path = ACCOUNTS) -> dict[int, CoreTimes] | None:
    """The accounts of every logical core, by its number."""
    try:
        lines = accounts.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    tick = os.sysconf("SC_CLK_TCK")
    times = {}
    for name, *fields in (line.split() for line in lines if line.startswith("cpu")):
        number = name[len("cpu") :]
        if number.isdigit():
            # user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
            user, nice, system, _, _, irq, softirq, steal = (int(field) for field in fields[:8])
            busy = user + nice + system + irq + softirq
            times[int(number)] = CoreTimes(busy / tick, steal / tick)
    return times or None


def siblings(core: int, system: Path = SYSTEM_CORES) -> frozenset[int]:
    """The logical cores that share a physical one with `core`, itself included.

    A virtual machine may not be told of them.
    """
    with contextlib.suppress(OSError, ValueError):
        listed = (system / f"cpu{core}" / "topology" / "thread_siblings_list").read_text("ascii")
        return frozenset({core, *numbers_in(listed)})
    return frozenset({core})


def with_siblings(cores: Collection[int], system: Path = SYSTEM_CORES) -> frozenset[int]:
    """`cores` and all that share a physical core with one of them."""
    return frozenset(other for core in cores for other in siblings(core, system))


def choose_cores(
    number: int, allowed: Collection[int], busy: dict[int, float], system: Path = SYSTEM_CORES
) -> frozenset[int] | None:
    """`number` of the `allowed` cores: on different physical ones, fast, free; None if too few.

    Args:
        busy: share of the time that each core worked lately; its sibling's work counts too.
    """
    if len(allowed) < number:
        return None
    physical = {
        siblings(core, system) & frozenset(allowed) or frozenset({core}) for core in allowed
    }

    def order(cores: frozenset[int]) -> tuple[float, float, int]:
        work = sum(busy.get(core, 0.0) for core in with_siblings(cores, system))
        # The first core serves most of the machine's interrupts, so it comes last.
        return -_speed(min(cores), system), round(work, 1), -min(cores)

    ranked = [sorted(cores) for cores in sorted(physical, key=order)]
    firsts = [cores[0] for cores in ranked]
    seconds = [core for cores in ranked for core in cores[1:]]
    return frozenset([*firsts, *seconds][:number])


@contextlib.contextmanager
def pinned(number: int, wanted: frozenset[int] | None = None) -> Iterator[frozenset[int] | None]:
    """Keep the calling thread, and all threads that it starts meanwhile, on `number` cores.

    The operating system then neither moves what is timed nor lets the measurement spread. Yields
    the cores; None where pinning is not possible or not allowed, or there are too few cores.

    Args:
        wanted: these cores, in place of those that are fast and free.
    """
    allowed = affinity()
    chosen = wanted
    if allowed is not None and chosen is None:
        chosen = choose_cores(number, allowed, _busy_lately() if len(allowed) > number else {})
    if allowed is None or chosen is None:
        yield None
        return
    try:
        os.sched_setaffinity(0, chosen)
    except OSError:
        yield None
        return
    try:
        yield chosen
    finally:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, allowed)


def _busy_lately() -> dict[int, float]:
    before, start = core_times() or {}, time.perf_counter()
    time.sleep(SAMPLE_SECONDS)
    after, elapsed = core_times() or {}, time.perf_counter() - start
    both = before.keys() & after.keys()
    return {core: (after[core].busy - before[core].busy) / elapsed for core in both}


def _speed(core: int, system: Path) -> float:
    """What tells fast cores from slow ones on a chip that has both; 0 where nothing does."""
    for name in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        with contextlib.suppress(OSError, ValueError):
            return float((system / f"cpu{core}" / name).read_text("ascii"))
    return 0.0


def numbers_in(text: str) -> list[int]:
    """The numbers in a list of Linux, such as `0-3,8`.

    Raises:
        ValueError: if it is none.
    """
    numbers: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers
