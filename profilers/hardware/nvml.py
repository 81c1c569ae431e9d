"""NVIDIA GPUs as the driver's management library (NVML) describes them.

The module `pynvml` of the package nvidia-ml-py. NVML is a witness: where there is none (Jetson, a
container that was given compute only) measuring goes on without it. A reading that a card, a driver
or a version of the module does not offer is None. Calls that newer drivers leave out have their
successors tried first (NVIDIA's deprecation notices: gone with CUDA 14).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import pynvml

MIG_LABEL = "MIG"
"""In the name of every slice of a GPU, so that no slice passes for the whole."""
SLOWED_BY = {
    "software power cap": 0x4,
    "hardware slowdown": 0x8,
    "software thermal slowdown": 0x20,
    "hardware thermal slowdown": 0x40,
    "hardware power brake": 0x80,
}
"""Bits of the clock's event reasons that mean heat or power; older calls have the same."""


def gpu_records() -> list[dict[str, Any]]:
    """What does not change: name, driver, compute capability, memory, highest clocks.

    Of whole GPUs, in NVML's order, the same for every program.
    """
    with _library() as loaded:
        return [_record(handle) for handle in _handles()] if loaded else []


def gpu_states() -> list[dict[str, Any]]:
    """What changes: clocks (MHz), temperature (C), power (W), use, whether it is slowed down."""
    with _library() as loaded:
        return [_state(handle) for handle in _handles()] if loaded else []


def record_of(uuid: str) -> dict[str, Any] | None:
    """The record of one GPU or MIG slice, None if NVML does not know it.

    A slice has the name, memory and number of processors of its own, and `mig` true.

    Args:
        uuid: as torch gives it, with or without `GPU-` or `MIG-`.
    """
    with _library() as loaded:
        handle = _find(uuid) if loaded else None
        if handle is None:
            return None
        whole = _whole(handle)
        if whole is None:
            return _record(handle)
        slice_ = _record(handle)
        known = {name: value for name, value in slice_.items() if value is not None}
        name = known.get("name") or _text(_read(["nvmlDeviceGetName"], whole))
        return _record(whole) | known | {"name": mig_name(name), "mig": True}


def state_of(uuid: str) -> dict[str, Any] | None:
    """The state of one GPU, None if NVML does not know it; of a slice, that of its whole GPU."""
    with _library() as loaded:
        handle = _find(uuid) if loaded else None
        return None if handle is None else _state(_whole(handle) or handle)


def compute_processes(uuid: str | None = None) -> frozenset[int] | None:
    """Numbers of the processes that have a context on a GPU; None where NVML does not tell.

    In a container these are the host's numbers, which say nothing of whose they are.

    Args:
        uuid: of the GPU or slice; None for all GPUs.
    """
    names = [f"nvmlDeviceGetComputeRunningProcesses{version}" for version in ("", "_v3", "_v2")]
    with _library() as loaded:
        handles = [] if not loaded else _handles() if uuid is None else [_find(uuid)]
        listed = [_read(names, handle) for handle in handles if handle is not None]
        told = [processes for processes in listed if processes is not None]
        if not told:
            return None
        return frozenset(int(process.pid) for processes in told for process in processes)


def energy_mj(uuid: str) -> int | None:
    """What one GPU took since its driver was loaded, in mJ; None where NVML does not tell.

    Slices have no counter of their own, and the whole GPU's is not theirs.
    """
    with _library() as loaded:
        handle = _find(uuid) if loaded else None
        if handle is None or _whole(handle) is not None:
            return None
        energy: int | None = _read(["nvmlDeviceGetTotalEnergyConsumption"], handle)
        return energy


@contextlib.contextmanager
def kept_open() -> Iterator[None]:
    """Readings in this context are quick: the library stays loaded between them."""
    with _library():
        yield


def mig_name(name: str | None) -> str:
    """The name of a slice, which says that it is one."""
    name = name or "NVIDIA GPU"
    return name if MIG_LABEL in name.split() else f"{name} {MIG_LABEL} slice"


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
    count = _read(["nvmlDeviceGetCount"]) or 0
    handles = (_read(["nvmlDeviceGetHandleByIndex"], index) for index in range(count))
    return [handle for handle in handles if handle is not None]


def _find(uuid: str) -> Any:
    """The handle of the GPU or slice with this UUID."""
    bare = uuid.removeprefix("GPU-").removeprefix("MIG-").lower()
    if not bare:
        return None
    found = (_read(["nvmlDeviceGetHandleByUUID"], f"{kind}-{bare}") for kind in ("GPU", "MIG"))
    return next((handle for handle in found if handle is not None), None)


def _whole(handle: Any) -> Any:
    """The GPU that the slice `handle` is cut from, None if it is no slice."""
    is_slice = _read(["nvmlDeviceIsMigDeviceHandle"], handle)
    if not getattr(is_slice, "value", is_slice):  # the module hands out a C integer
        return None
    return _read(["nvmlDeviceGetDeviceHandleFromMigDeviceHandle"], handle)


def _record(handle: Any) -> dict[str, Any]:
    capability = _read(["nvmlDeviceGetCudaComputeCapability"], handle)
    memory = _read(["nvmlDeviceGetMemoryInfo"], handle)
    highest = ["nvmlDeviceGetMaxClockInfo"]
    return {
        "name": _text(_read(["nvmlDeviceGetName"], handle)),
        "driver": _text(_read(["nvmlSystemGetDriverVersion"])),
        "compute_capability": "{}.{}".format(*capability) if capability else None,
        "memory_bytes": int(memory.total) if memory else None,
        "max_sm_clock_mhz": _read(highest, handle, pynvml.NVML_CLOCK_SM),
        "max_memory_clock_mhz": _read(highest, handle, pynvml.NVML_CLOCK_MEM),
        "power_limit_w": _watts(_read(["nvmlDeviceGetEnforcedPowerLimit"], handle)),
    }


def _state(handle: Any) -> dict[str, Any]:
    use = _read(["nvmlDeviceGetUtilizationRates"], handle)
    clock = ["nvmlDeviceGetClockInfo"]
    return {
        "sm_clock_mhz": _read(clock, handle, pynvml.NVML_CLOCK_SM),
        "memory_clock_mhz": _read(clock, handle, pynvml.NVML_CLOCK_MEM),
        "temperature_c": _read(
            ["nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature"],
            handle,
            pynvml.NVML_TEMPERATURE_GPU,
        ),
        "power_w": _watts(_read(["nvmlDeviceGetPowerUsage"], handle)),
        "utilization_percent": use.gpu if use else None,
        "throttled": _throttled(handle),
    }


def _throttled(handle: Any) -> bool | None:
    """Whether heat or power holds the clock down right now."""
    reasons = _read(
        ["nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"],
        handle,
    )
    return None if reasons is None else any(reasons & bit for bit in SLOWED_BY.values())


def _read(names: Sequence[str], *arguments: Any) -> Any:
    """The reading of the first of `names` that module, driver and card offer, None without one."""
    for name in names:
        reading = getattr(pynvml, name, None)
        if reading is not None:
            with contextlib.suppress(pynvml.NVMLError):
                return reading(*arguments)
    return None


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else round(milliwatts / 1000, 1)


def _text(value: str | bytes | None) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
