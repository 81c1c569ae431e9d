"""Who else uses the machine while we measure: other programs, a hypervisor, other profilers.

Other programs count where they can be felt: on the cores that the measurement may run on and those
that share a physical core with them; and anywhere, once they keep much of the whole machine busy
(memory, caches and heat are common to all cores).

Two profilers at once disturb each other. Each one keeps a small file in a common temporary folder
while it measures, named after its process. Both sides look at every round, so both tables say that
they were disturbed. A killed profiler leaves its file behind; as its process is gone (or its number
belongs to a younger one), it does not count, and whoever sees it removes it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from profilers.hardware.cores import CoreTimes, affinity, core_times, with_siblings

FOLDER_NAME = "fofa-profilers"
SUFFIX = ".measuring"
CLOCK_TOLERANCE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Interference:
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


class OtherPrograms:
    """CPU time that went to others, by the system's accounts; asking takes a fraction of a ms."""

    def __init__(self) -> None:
        self._process = psutil.Process()
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
        own = now.own - before.own
        everywhere = (sum(worked.values()) - own) / max(len(worked), 1)
        used = self._used() & worked.keys() or worked.keys()
        return Interference(
            _percent(sum(worked[core] for core in used) - own, elapsed),
            _percent(sum(stolen[core] for core in used), elapsed) if now.numbered else None,
            _percent(everywhere, elapsed),
        )

    def _used(self) -> frozenset[int]:
        """The cores on which others would be in the way."""
        cores = affinity() or frozenset()
        if cores not in self._siblings:
            self._siblings = {cores: with_siblings(cores)}
        return self._siblings[cores]

    def _accounts(self) -> _Accounts:
        cores = core_times()
        own = self._process.cpu_times()
        return _Accounts(
            clock=time.perf_counter(),
            cores=_evenly() if cores is None else cores,
            numbered=cores is not None,
            own=own.user + own.system,
        )


@dataclass(frozen=True, slots=True)
class _Accounts:
    """CPU seconds: of everybody by core since boot, and of this process.

    `numbered` is false where the system does not tell cores apart, nor what was stolen.
    """

    clock: float
    cores: dict[int, CoreTimes]
    numbered: bool
    own: float


def _evenly() -> dict[int, CoreTimes]:
    """The work of all cores, spread over them."""
    times, count = psutil.cpu_times(), psutil.cpu_count() or 1
    busy = sum(getattr(times, name, 0.0) for name in ("user", "nice", "system"))
    return {core: CoreTimes(busy / count, 0.0) for core in range(count)}


def _percent(seconds: float, elapsed: float) -> float:
    return round(max(0.0, 100 * seconds / elapsed), 1)


class OtherProfilers:
    """Counts other profilers, and shows them that this one measures while the context is open.

    Without a writable temporary folder nobody is noticed; measuring goes on.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(tempfile.gettempdir()) / FOLDER_NAME
        self._own = self._folder / f"{os.getpid()}{SUFFIX}"

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            # Shared by all users of the machine; the sticky bit keeps each to their own file.
            with contextlib.suppress(PermissionError):
                self._folder.chmod(0o1777)
            self._own.write_text(f"{psutil.Process().create_time():.3f}\n", encoding="ascii")
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._own.unlink(missing_ok=True)

    def count(self) -> int:
        """How many other profilers measure on this machine right now."""
        try:
            files = [file for file in self._folder.glob(f"*{SUFFIX}") if file != self._own]
        except OSError:
            return 0
        return sum(_is_alive(file) for file in files)


def _is_alive(file: Path) -> bool:
    """Whether the process that wrote `file` still runs; a file left behind is removed."""
    try:
        process = psutil.Process(int(file.name.removesuffix(SUFFIX)))
        written = float(file.read_text(encoding="ascii"))
        if abs(process.create_time() - written) <= CLOCK_TOLERANCE_SECONDS:
            return True
    except (psutil.NoSuchProcess, ValueError):
        pass
    except (psutil.Error, OSError):
        return False
    with contextlib.suppress(OSError):
        file.unlink()
    return False
