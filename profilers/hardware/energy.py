"""Counters of the energy that hardware took: RAPL of processors, NVML of NVIDIA GPUs.

RAPL is Intel's word (running average power limit); AMD's processors count the same way, and Linux
shows both as `powercap`. The zones of whole packages are added up: cores, caches and what else is
on the chip, whoever works on it. Memory and mains adapter are not in it. A GPU's counter is of its
whole board.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from fofa.errors import UserError
from profilers.hardware import nvml
from profilers.plugin import EnergyCounter

POWERCAP = Path("/sys/class/powercap")
ZONE = re.compile(r"intel-rapl:[0-9]+")
"""Folders of whole zones; what lies below one (`intel-rapl:0:0`) is a part of it."""
PACKAGE = "package-"
"""How the names of packages begin; `psys` is the whole computer, packages included."""


@contextlib.contextmanager
def processor_counter(powercap: Path = POWERCAP) -> Iterator[EnergyCounter]:
    """The energy of this machine's processor packages.

    Raises:
        UserError: if there is no counter, or it may not be read.
    """
    zones = [
        folder
        for folder in sorted(powercap.glob("intel-rapl:*"))
        if ZONE.fullmatch(folder.name) and _read(folder / "name").startswith(PACKAGE)
    ]
    if not zones:
        raise UserError(
            f"the processor's energy cannot be read: {powercap} has no RAPL package here (virtual "
            "machines have none)"
        )
    packages = [_Package(zone) for zone in zones]
    names = ", ".join(_read(zone / "name") for zone in zones)
    yield EnergyCounter(f"RAPL {names}", lambda: sum(package.joules() for package in packages))


@contextlib.contextmanager
def gpu_counter(uuid: str) -> Iterator[EnergyCounter]:
    """The energy of one GPU's board.

    Raises:
        UserError: if NVML does not tell it.
    """

    def joules() -> float:
        millijoules = nvml.energy_mj(uuid)
        if millijoules is None:
            raise UserError(
                "the GPU's energy cannot be read: NVML tells it of whole cards from Volta on, not "
                "of slices"
            )
        return millijoules / 1000

    with nvml.kept_open():
        joules()
        yield EnergyCounter("NVML", joules)


class _Package:
    """The counter of one package, which begins anew when it is full."""

    def __init__(self, zone: Path) -> None:
        self._file = zone / "energy_uj"
        self._full = _number(zone / "max_energy_range_uj")
        self._last, self._total = _number(self._file), 0

    def joules(self) -> float:
        """Since this object was made; to be asked more often than the counter is filled."""
        now = _number(self._file)
        self._total += now - self._last + (self._full if now < self._last else 0)
        self._last = now
        return self._total / 1e6


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except PermissionError:
        raise UserError(
            f"the processor's energy cannot be read: only root may read {file}; run this as root, "
            "or have it made readable"
        ) from None
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"the processor's energy cannot be read: {file}: {reason}") from None


def _number(file: Path) -> int:
    text = _read(file)
    if not text.isascii() or not text.isdigit():
        raise UserError(f"the processor's energy cannot be read: {file}: {text[:40]!r}")
    return int(text)
