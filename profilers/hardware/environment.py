"""What a measurement runs on: hardware, versions, and the state that changes from moment to moment.

Everything is plain JSON values and nothing here fails: what cannot be found out is None, a machine
without a GPU or driver has an empty list of GPUs. What identifies a person or a machine (host name,
user, serial numbers, names of other programs) is left out, because tables are published.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import re
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from profilers.hardware import nvml
from profilers.hardware.instructions import is_virtual, vector_instructions

RECORDED_PACKAGES = {
    "fofa": "fofa-nas",
    "torch": "torch",
    "onnxruntime": "onnxruntime",
    "onnx": "onnx",
    "numpy": "numpy",
}
"""Packages whose version a table records, and the distributions that hold them."""
SAMPLE_SECONDS = 0.2
BUSY_PERCENT = 10.0
"""Share of one core from which another process counts as busy."""


def capture_environment() -> dict[str, Any]:
    """The hardware and software of this machine, as a table records it.

    Keys: `cpu` (model, vector instructions, cores, governor, memory), `gpus` (one record each, see
    `profilers.hardware.nvml`), `system` (kernel, virtualised or not), `versions`.
    """
    return {
        "cpu": _cpu(),
        "gpus": nvml.gpu_records(),
        "system": {
            "os": platform.system(),
            "kernel": _kernel(),
            "machine": platform.machine(),
            "virtualised": is_virtual(),
        },
        "versions": _versions(),
    }


def live_state(sample_seconds: float = SAMPLE_SECONDS) -> dict[str, Any]:
    """What may differ before and after a measurement; takes `sample_seconds` of wall time.

    Keys: `load_average` (1, 5, 15 minutes), `cpu_frequency_mhz`, `other_cpu_percent` (work of
    everybody else, in percent of one core), `steal_percent` (time that the hypervisor gave to
    others, in percent of one core), `busy_processes` (others above 10% of a core, a number),
    `memory_available_bytes`, `gpus` (clocks, temperature, power).
    """
    load = _sample_cpu(sample_seconds)
    return {
        "load_average": _load_average(),
        "cpu_frequency_mhz": _frequency_mhz(),
        **load,
        "memory_available_bytes": psutil.virtual_memory().available,
        "gpus": nvml.gpu_states(),
    }


@functools.cache
def cpu_model() -> str | None:
    """The CPU's marketing name, such as `AMD EPYC 7763 64-Core Processor`."""
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
        if match:
            return match[1].strip()
    import cpuinfo  # takes a second, and Linux on x86 never needs it

    return cpuinfo.get_cpu_info().get("brand_raw") or platform.processor() or None


def governor() -> str | None:
    """Frequency governor of the first core (`performance`, `powersave`, ...), None if hidden."""
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    with contextlib.suppress(OSError):
        return path.read_text(encoding="ascii", errors="replace").strip() or None
    return None


def allowed_cores() -> int | None:
    """How many logical cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _cpu() -> dict[str, Any]:
    return {
        "model": cpu_model(),
        "vectors": vector_instructions(),
        "physical_cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(logical=True),
        "allowed_cores": allowed_cores(),
        "governor": governor(),
        "memory_bytes": psutil.virtual_memory().total,
    }


def _kernel() -> str:
    """The kernel's version number, without the suffix that a site adds to its own builds."""
    match = re.match(r"[0-9.]*[0-9]", platform.release())
    return match[0] if match else platform.release()


def _versions() -> dict[str, str | None]:
    """Installed versions, read from the packages' metadata so that nothing heavy is imported."""
    versions: dict[str, str | None] = {"python": sys.version.split()[0]}
    for package, distribution in RECORDED_PACKAGES.items():
        try:
            versions[package] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def _load_average() -> list[float] | None:
    with contextlib.suppress(OSError, AttributeError):
        return [round(value, 2) for value in os.getloadavg()]
    return None


def _frequency_mhz() -> float | None:
    with contextlib.suppress(OSError, RuntimeError):
        frequency = psutil.cpu_freq()
        return round(frequency.current, 1) if frequency else None
    return None


def _sample_cpu(seconds: float) -> dict[str, Any]:
    """CPU use of the whole machine and of other processes over a short wait."""
    own = _own_processes()
    total_before, each_before, start = psutil.cpu_times(), _cpu_seconds(), time.perf_counter()
    time.sleep(seconds)
    total_after, each_after = psutil.cpu_times(), _cpu_seconds()
    elapsed = time.perf_counter() - start

    used = {pid: each_after[pid] - each_before.get(pid, 0.0) for pid in each_after}
    own_seconds = sum(spent for pid, spent in used.items() if pid in own)
    others = [spent for pid, spent in used.items() if pid not in own]
    busy_seconds = _busy(total_after) - _busy(total_before)
    steal = getattr(total_after, "steal", 0.0) - getattr(total_before, "steal", 0.0)
    return {
        "other_cpu_percent": _percent(busy_seconds - own_seconds, elapsed),
        "steal_percent": _percent(steal, elapsed),
        "busy_processes": sum(100 * spent / elapsed >= BUSY_PERCENT for spent in others),
    }


def _percent(seconds: float, elapsed: float) -> float:
    return round(max(0.0, 100 * seconds / elapsed), 1)


def _busy(times: Any) -> float:
    """Seconds that the machine's cores worked, without idling, waiting for disks or stolen time."""
    idle = times.idle + getattr(times, "iowait", 0.0)
    # Linux counts guest time within user time already.
    counted_twice = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times) - idle - getattr(times, "steal", 0.0) - counted_twice)


def _own_processes() -> set[int]:
    """This process and everything it started."""
    process = psutil.Process()
    with contextlib.suppress(psutil.Error):
        return {process.pid, *(child.pid for child in process.children(recursive=True))}
    return {process.pid}


def _cpu_seconds() -> dict[int, float]:
    """CPU seconds spent so far by each process that can be seen."""
    spent = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            spent[process.pid] = times.user + times.system
    return spent
