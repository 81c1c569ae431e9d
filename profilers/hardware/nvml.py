"""NVIDIA GPUs as the driver's management library (NVML) describes them.

The module `pynvml` of the package nvidia-ml-py. Without a driver there are no GPUs; a reading that
a card does not offer (power on some laptops) is None.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import pynvml


def gpu_records() -> list[dict[str, Any]]:
    """What does not change: name, driver, compute capability, memory, highest clocks.

    In NVML's order, the same for every program; `index_of` finds the one that CUDA uses.
    """
    with _library() as loaded:
        return [_record(handle) for handle in _handles()] if loaded else []


def gpu_states() -> list[dict[str, Any]]:
    """What changes: clocks (MHz), temperature (C), power (W), use, foreign processes."""
    with _library() as loaded:
        return [_state(handle) for handle in _handles()] if loaded else []


def index_of(uuid: str) -> int | None:
    """Position in `gpu_records` of the GPU with this UUID, None if NVML does not know it."""
    wanted = uuid.removeprefix("GPU-").lower()
    with _library() as loaded:
        for index, handle in enumerate(_handles() if loaded else []):
            found = _text(_read(pynvml.nvmlDeviceGetUUID, handle)) or ""
            if found.removeprefix("GPU-").lower() == wanted:
                return index
    return None


@contextlib.contextmanager
def _library() -> Iterator[bool]:
    """Open NVML; yields False where there is no driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield False
        return
    try:
        yield True
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _handles() -> list[Any]:
    count = _read(pynvml.nvmlDeviceGetCount) or 0
    handles = (_read(pynvml.nvmlDeviceGetHandleByIndex, index) for index in range(count))
    return [handle for handle in handles if handle is not None]


def _record(handle: Any) -> dict[str, Any]:
    capability = _read(pynvml.nvmlDeviceGetCudaComputeCapability, handle)
    memory = _read(pynvml.nvmlDeviceGetMemoryInfo, handle)
    return {
        "name": _text(_read(pynvml.nvmlDeviceGetName, handle)),
        "driver": _text(_read(pynvml.nvmlSystemGetDriverVersion)),
        "compute_capability": "{}.{}".format(*capability) if capability else None,
        "memory_bytes": int(memory.total) if memory else None,
        "max_sm_clock_mhz": _read(pynvml.nvmlDeviceGetMaxClockInfo, handle, pynvml.NVML_CLOCK_SM),
        "max_memory_clock_mhz": _read(
            pynvml.nvmlDeviceGetMaxClockInfo, handle, pynvml.NVML_CLOCK_MEM
        ),
        "power_limit_w": _watts(_read(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)),
    }


def _state(handle: Any) -> dict[str, Any]:
    use = _read(pynvml.nvmlDeviceGetUtilizationRates, handle)
    processes = _read(pynvml.nvmlDeviceGetComputeRunningProcesses, handle)
    return {
        "sm_clock_mhz": _read(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_SM),
        "memory_clock_mhz": _read(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_MEM),
        "temperature_c": _read(
            pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU
        ),
        "power_w": _watts(_read(pynvml.nvmlDeviceGetPowerUsage, handle)),
        "utilization_percent": use.gpu if use else None,
        "throttled": _throttled(handle),
        "foreign_processes": (
            None if processes is None else sum(process.pid != os.getpid() for process in processes)
        ),
    }


def _throttled(handle: Any) -> bool | None:
    """Whether heat or power holds the clock down right now."""
    reasons = _read(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
    if reasons is None:
        return None
    limits = (
        pynvml.nvmlClocksThrottleReasonSwPowerCap
        | pynvml.nvmlClocksThrottleReasonHwSlowdown
        | pynvml.nvmlClocksThrottleReasonSwThermalSlowdown
    )
    return bool(reasons & limits)


def _read(reading: Callable[..., Any], *arguments: Any) -> Any:
    """One reading, None where the card or driver does not offer it."""
    try:
        return reading(*arguments)
    except pynvml.NVMLError:
        return None


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else round(milliwatts / 1000, 1)


def _text(value: str | bytes | None) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
