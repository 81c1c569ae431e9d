"""What a machine says of itself, by plain Python 3.8 alone: for the agent, which carries this text.

The keys are those of `profilers.hardware.environment`, so that a table reads alike wherever it was
measured; what only Linux tells is None elsewhere. Chips with cores of several kinds name them. What
identifies a person or a machine (host name, user, serial numbers) is left out.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from profilers.hardware.cores import affinity
from profilers.hardware.instructions import is_virtual, vector_instructions
from profilers.hardware.load import OtherPrograms

SYSTEM = Path("/sys/devices/system/cpu")
ARM_PARTS = {
    0xD03: "Cortex-A53",
    0xD04: "Cortex-A35",
    0xD05: "Cortex-A55",
    0xD07: "Cortex-A57",
    0xD08: "Cortex-A72",
    0xD09: "Cortex-A73",
    0xD0A: "Cortex-A75",
    0xD0B: "Cortex-A76",
    0xD0C: "Neoverse-N1",
    0xD0D: "Cortex-A77",
    0xD40: "Neoverse-V1",
    0xD41: "Cortex-A78",
    0xD44: "Cortex-X1",
    0xD46: "Cortex-A510",
    0xD47: "Cortex-A710",
    0xD48: "Cortex-X2",
    0xD49: "Neoverse-N2",
    0xD4D: "Cortex-A715",
    0xD4E: "Cortex-X3",
    0xD80: "Cortex-A520",
    0xD81: "Cortex-A720",
    0xD82: "Cortex-X4",
}
"""ARM's own part numbers (implementer 0x41), as in Linux's arch/arm64/include/asm/cputype.h."""
MAX_ZONES = 32


def machine_record() -> dict[str, Any]:
    """Hardware and software: `cpu`, `gpus` (never looked for), `system`, `versions`."""
    allowed = affinity()
    return {
        "cpu": {
            "model": cpu_model(),
            "vectors": vector_instructions(),
            "physical_cores": None,
            "logical_cores": os.cpu_count(),
            "allowed_cores": os.cpu_count() if allowed is None else len(allowed),
            "governor": _text(SYSTEM / "cpu0" / "cpufreq" / "scaling_governor"),
            "memory_bytes": _memory_bytes("MemTotal"),
            "kinds": core_kinds(),
        },
        "gpus": [],
        "system": {
            "os": platform.system(),
            "kernel": (re.match(r"[0-9.]*[0-9]", platform.release()) or [None])[0],
            "machine": platform.machine(),
            "virtualised": is_virtual(),
        },
        "versions": {"python": sys.version.split()[0], "numpy": np.__version__},
    }


def state_record(sample_seconds: float = 0.2) -> dict[str, Any]:
    """What may differ before and after a measurement; takes `sample_seconds`."""
    meter = OtherPrograms()
    time.sleep(sample_seconds)
    load = meter.interference()
    average = None
    with contextlib.suppress(OSError, AttributeError):
        average = [round(value, 2) for value in os.getloadavg()]
    clocks = clocks_mhz(affinity())
    return {
        "load_average": average,
        "cpu_frequency_mhz": max(clocks) if clocks else None,
        **load._asdict(),
        "memory_available_bytes": _memory_bytes("MemAvailable"),
        "temperatures_c": temperatures_c(),
    }


def round_state(cores: Collection[int] | None) -> dict[str, Any]:
    """Clocks of the cores that were used, and the hottest sensor, right now."""
    clocks, heat = clocks_mhz(cores or affinity()), temperatures_c()
    return {
        "cpu": {
            "clock_mhz": max(clocks) if clocks else None,
            "temperature_c": max(heat.values()) if heat else None,
        }
    }


def cpu_model() -> str | None:
    """The processor's name; where an ARM machine names none, the board's or the chip's."""
    accounts = _text(Path("/proc/cpuinfo")) or ""
    board = _text(Path("/sys/firmware/devicetree/base/model"))
    if board and platform.machine().lower().startswith(("arm", "aarch")):
        return board
    for pattern in (r"^model name\s*:\s*(.+)$", r"^Hardware\s*:\s*(.+)$"):
        found = re.search(pattern, accounts, re.MULTILINE)
        if found:
            return found[1].strip()
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = ["getprop", "ro.soc.model"]  # Android
        named = subprocess.run(command, stdout=subprocess.PIPE, timeout=5, check=True).stdout
        return named.decode(errors="replace").strip() or None
    return platform.processor() or None


def core_kinds() -> list[dict[str, Any]]:
    """Which cores are alike: their numbers, part, highest clock and capacity (1024 the fastest)."""
    parts = {}
    for block in (_text(Path("/proc/cpuinfo")) or "").split("\n\n"):
        number = re.search(r"^processor\s*:\s*(\d+)", block, re.MULTILINE)
        part = re.search(r"^CPU part\s*:\s*(0x[0-9a-fA-F]+)", block, re.MULTILINE)
        if number and part:
            code = int(part[1], 16)
            parts[int(number[1])] = ARM_PARTS.get(code, hex(code))
    alike: dict[Any, list[int]] = {}
    for core in range(os.cpu_count() or 0):
        clock = _number(SYSTEM / f"cpu{core}" / "cpufreq" / "cpuinfo_max_freq")
        capacity = _number(SYSTEM / f"cpu{core}" / "cpu_capacity")
        alike.setdefault((parts.get(core), clock, capacity), []).append(core)
    return [
        {
            "cores": cores,
            "part": part,
            "max_mhz": None if clock is None else clock / 1e3,
            "capacity": capacity,
        }
        for (part, clock, capacity), cores in alike.items()
    ]


def clocks_mhz(cores: Collection[int] | None) -> list[float]:
    """Current clocks of some cores; empty where they are hidden."""
    files = [SYSTEM / f"cpu{core}" / "cpufreq" / "scaling_cur_freq" for core in sorted(cores or ())]
    return [clock / 1e3 for clock in map(_number, files) if clock]


def temperatures_c() -> dict[str, float]:
    """Of the sensors by their kind; several of one kind count as the hottest."""
    found: dict[str, float] = {}
    for zone in sorted(Path("/sys/class/thermal").glob("thermal_zone*"))[:MAX_ZONES]:
        kind, heat = _text(zone / "type"), _number(zone / "temp")
        if kind and heat is not None and -100e3 < heat < 500e3:
            name = re.sub(r"[^A-Za-z0-9._-]", "_", kind)[:40]
            found[name] = max(found.get(name, -100.0), heat / 1e3)
    return found


def _memory_bytes(name: str) -> int | None:
    found = re.search(name + r":\s*(\d+) kB", _text(Path("/proc/meminfo")) or "")
    return 1024 * int(found[1]) if found else None


def _text(path: Path) -> str | None:
    with contextlib.suppress(OSError):
        text = path.read_bytes().decode("utf-8", errors="replace")
        return text.strip("\0 \t\r\n") or None
    return None


def _number(path: Path) -> float | None:
    with contextlib.suppress(ValueError):
        text = _text(path)
        return None if text is None else float(text)
    return None
