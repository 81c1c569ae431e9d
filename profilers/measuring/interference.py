"""Other profilers on this machine, and what its other programs take (`profilers.hardware.load`).

Two profilers at once disturb each other. Each one keeps an empty file in the temporary folder
while it measures, named after its process and when that began. Both sides look at every round, so
both tables say that they were disturbed. A killed profiler leaves its file behind; as its process
is gone (or its number belongs to a younger one), it does not count, and its user's next profiler
removes it.

The temporary folder belongs to everybody, so every user has a folder of their own in it that
others may only list. One that is a link, somebody else's or open to others is left alone, nothing
in it is opened, and a file in it stands for a process of the folder's owner alone.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psutil

from profilers.hardware.cores import CoreTimes
from profilers.hardware.load import OtherPrograms

FOLDER_NAME = "fofa-profilers-"
"""The number of its user follows."""
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

    Without a temporary folder in which this user's own can be made nobody is noticed, nor where
    the system has no users by number; measuring goes on.

    Args:
        place: where the users' folders are; the temporary folder by default.
        waiting: number of a profiler that only waits for this one; it does not count.
    """

    def __init__(self, place: Path | None = None, *, waiting: int | None = None) -> None:
        self._place = place or Path(tempfile.gettempdir())
        self._waiting = waiting
        self._own = f"{os.getpid()}-{began_seconds(psutil.Process()):.3f}{SUFFIX}"

    def __enter__(self) -> Self:
        if hasattr(os, "getuid"):
            folder = self._place / f"{FOLDER_NAME}{os.getuid()}"
            with contextlib.suppress(OSError):
                folder.mkdir(mode=0o755)
            with contextlib.suppress(OSError), _opened(folder) as opened:
                for name in _names(opened):
                    if name.endswith(SUFFIX) and not _is_alive(name, os.getuid()):
                        os.unlink(name, dir_fd=opened)
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
                os.close(os.open(self._own, flags, 0o644, dir_fd=opened))
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(os, "getuid"):
            folder = self._place / f"{FOLDER_NAME}{os.getuid()}"
            with contextlib.suppress(OSError), _opened(folder) as opened:
                os.unlink(self._own, dir_fd=opened)

    def count(self) -> int:
        """How many other profilers measure on this machine right now."""
        found: set[str] = set()
        with contextlib.suppress(OSError):
            for folder in self._place.glob(f"{FOLDER_NAME}*"):
                with contextlib.suppress(OSError, ValueError):
                    user = int(folder.name.removeprefix(FOLDER_NAME))
                    with _opened(folder, user) as opened:
                        found |= {n for n in _names(opened) if _is_alive(n, user)}
        others = found - {self._own}
        return sum(not name.startswith(f"{self._waiting}-") for name in others)


@contextlib.contextmanager
def _opened(folder: Path, user: int | None = None) -> Iterator[int]:
    """The descriptor of a folder that is `user`'s own (by default this process's) and no link.

    Raises:
        OSError: if it is something else, or others may write in it.
    """
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        status = os.fstat(opened)
        others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if others or status.st_uid != (os.getuid() if user is None else user):
            raise PermissionError(f"{folder}: belongs to others")
        yield opened
    finally:
        os.close(opened)


def _names(opened: int) -> list[str]:
    return [entry.name for entry in os.scandir(opened)]


def began_seconds(process: psutil.Process) -> float:
    """When a process began in seconds; on Linux since the system did, whatever its clock is set to.

    Raises:
        psutil.NoSuchProcess: if it ended meanwhile.
    """
    if sys.platform != "linux":
        return process.create_time()
    try:
        status = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        raise psutil.NoSuchProcess(process.pid) from None
    ticks = int(status.rpartition(")")[2].split()[19])  # after the name: fields 3 and on; 22
    return ticks / os.sysconf("SC_CLK_TCK")


def _is_alive(name: str, user: int) -> bool:
    """Whether the process that a file of this name stands for runs, and is `user`'s."""
    number, _, began = name.removesuffix(SUFFIX).partition("-")
    try:
        process = psutil.Process(int(number))
        same = abs(began_seconds(process) - float(began)) <= CLOCK_TOLERANCE_SECONDS
        return same and process.uids().real == user
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return False
    except psutil.Error:
        return True  # it runs; what it is may not be seen
