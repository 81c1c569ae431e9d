"""Who else uses the machine while we measure: other programs, a hypervisor, other profilers.

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

FOLDER_NAME = "fofa-profilers"
SUFFIX = ".measuring"
CLOCK_TOLERANCE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Interference:
    """Mean over an interval, in percent of one core; None where the system does not tell."""

    other_cpu_percent: float | None
    steal_percent: float | None


class OtherPrograms:
    """CPU time that went to others, by the system's accounts; asking takes a fraction of a ms."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._last = self._accounts()

    def interference(self) -> Interference:
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
