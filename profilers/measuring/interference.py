"""Other profilers on this machine, and what its other programs take (`profilers.hardware.load`).

Two profilers at once disturb each other. Each one keeps a small file in a common temporary folder
while it measures, named after its process. Both sides look at every round, so both tables say that
they were disturbed. A killed profiler leaves its file behind; as its process is gone (or its number
belongs to a younger one), it does not count, and whoever sees it removes it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Self

import psutil

from profilers.hardware.cores import CoreTimes
from profilers.hardware.load import OtherPrograms

FOLDER_NAME = "fofa-profilers"
SUFFIX = ".measuring"
CLOCK_TOLERANCE_SECONDS = 2.0


def other_programs() -> OtherPrograms:
    """Tells the CPU time that goes to others on this machine."""
    return OtherPrograms(_evenly)


def _evenly() -> dict[int, CoreTimes]:
    """The work of all cores, spread over them."""
    times, count = psutil.cpu_times(), psutil.cpu_count() or 1
    busy = sum(getattr(times, name, 0.0) for name in ("user", "nice", "system"))
    return {core: CoreTimes(busy / count, 0.0) for core in range(count)}


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
