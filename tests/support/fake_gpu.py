"""A GPU that is not there, in the shape of the real libraries: `torch.cuda` and `pynvml`.

Every function stands in for one of the same name, and is refused if the installed library has none
or calls it otherwise. Time is simulated, on the host and on the GPU, so that tests say exactly what
was timed.
"""

import contextlib
import inspect
import types

import pynvml
import torch

CLOCK_HZ = 1.4e9


class Timeline:
    """Host and GPU, each with its own time in seconds; the GPU works off what was queued."""

    def __init__(self):
        self.host = 0.0
        self.gpu = 0.0

    def queue(self, seconds, launch=0.0):
        """Launch a kernel that takes `seconds`; the host needs `launch` for that."""
        self.host += launch
        self.gpu = max(self.gpu, self.host) + seconds

    def wait(self):
        self.host = max(self.host, self.gpu)


def put(monkeypatch, library, name, function):
    """Replace `library.name`, which has to be there and to take the same arguments."""
    real = getattr(library, name)
    signature = inspect.signature(real)

    def checked(*args, **kwargs):
        signature.bind(*args, **kwargs)
        return function(*args, **kwargs)

    monkeypatch.setattr(library, name, checked)


class FakeCuda:
    """`torch.cuda` with one GPU; what it did is in `captured` and `slept`."""

    def __init__(self, monkeypatch, *, name="NVIDIA A100-SXM4-40GB", capability=(8, 0)):
        self.timeline = Timeline()
        self.pools = []
        self.slept = []
        self.opened = False
        timeline = self.timeline
        fake = self

        class Event:
            def __init__(self, enable_timing=False):
                assert enable_timing

            def record(self, stream=None):
                self.at = max(timeline.gpu, timeline.host)

            def query(self):
                return timeline.host >= self.at

            def synchronize(self):
                timeline.host = max(timeline.host, self.at)

            def elapsed_time(self, end):
                return 1e3 * (end.at - self.at)

        class Stream:
            cuda_stream = 77

            def __init__(self):
                fake.opened = True

            def synchronize(self):
                timeline.wait()

        class Graph:
            def replay(self):
                timeline.queue(10e-6, launch=5e-6)

        def sleep(cycles):
            self.slept.append(cycles)
            timeline.queue(cycles / CLOCK_HZ)

        @contextlib.contextmanager
        def capture(cuda_graph, pool=None, stream=None, capture_error_mode="global"):
            self.pools.append(pool)
            yield

        parameters = set(inspect.signature(torch.cuda.graph).parameters)
        assert {"cuda_graph", "pool", "stream"} <= parameters
        for attribute, value in {"Event": Event, "Stream": Stream, "CUDAGraph": Graph}.items():
            assert hasattr(torch.cuda, attribute)
            monkeypatch.setattr(torch.cuda, attribute, value)
        monkeypatch.setattr(torch.cuda, "graph", capture)
        properties = types.SimpleNamespace(
            name=name,
            major=capability[0],
            minor=capability[1],
            total_memory=40 * 2**30,
            multi_processor_count=108,
            L2_cache_size=40 * 2**20,
            uuid="abcd",
        )
        functions = {
            "stream": lambda stream: contextlib.nullcontext(),
            "_sleep": sleep,
            "graph_pool_handle": lambda: (0, 1),
            "get_device_properties": lambda device=None: properties,
            "get_device_capability": lambda device=None: capability,
            "get_arch_list": lambda: ["sm_60", "sm_80", "sm_90"],
            "current_device": lambda: 0,
            "is_available": lambda: True,
            "is_initialized": lambda: False,
            "empty_cache": lambda: None,
        }
        for function_name, function in functions.items():
            put(monkeypatch, torch.cuda, function_name, function)
        monkeypatch.setattr(torch.version, "cuda", "12.6")
        zeros = torch.zeros
        monkeypatch.setattr(torch, "zeros", lambda *size, device=None: zeros(*size))


class FakeNvml:
    """`pynvml` with one A100, whole or a slice of it; change its attributes to change what it says.

    Attributes:
        slice_uuid: of a MIG slice, None where the card is whole.
        processes: numbers that the driver lists.
        elsewhere: the same of a second card, which is there if this is not None.
        energy_mj: since the driver was loaded.
        gone: names of calls that this driver does not have any more.
    """

    def __init__(self, monkeypatch):
        self.slice_uuid = None
        self.processes = []
        self.elsewhere = None
        self.gone = {"nvmlDeviceGetCurrentClocksThrottleReasons", "nvmlDeviceGetTemperature"}
        self.reasons = 0x1
        self.energy_mj = 10**9
        self.monkeypatch = monkeypatch

        def by_uuid(uuid):
            if uuid == "GPU-abcd" and self.slice_uuid is None:
                return "card"
            if self.slice_uuid is not None and uuid == f"MIG-{self.slice_uuid}":
                return "slice"
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)

        def of_card(value):
            def reading(handle, *_):
                if handle != "card":
                    raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
                return value() if callable(value) else value

            return reading

        def name(handle):
            return "NVIDIA A100-SXM4-40GB" + (" MIG 1g.5gb" if handle == "slice" else "")

        def listed(handle):
            numbers = self.elsewhere if handle == "other card" else self.processes
            return [types.SimpleNamespace(pid=pid, usedGpuMemory=1) for pid in numbers]

        memory = types.SimpleNamespace(total=40 * 2**30)
        readings = {
            "nvmlInit": lambda: None,
            "nvmlShutdown": lambda: None,
            "nvmlDeviceGetCount": lambda: 1 if self.elsewhere is None else 2,
            "nvmlDeviceGetHandleByIndex": lambda index: ("card", "other card")[index],
            "nvmlDeviceGetHandleByUUID": by_uuid,
            "nvmlDeviceIsMigDeviceHandle": lambda handle: pynvml.c_uint(handle == "slice"),
            "nvmlDeviceGetDeviceHandleFromMigDeviceHandle": lambda handle: "card",
            "nvmlDeviceGetName": name,
            "nvmlSystemGetDriverVersion": lambda: "580.1",
            "nvmlDeviceGetCudaComputeCapability": of_card((8, 0)),
            "nvmlDeviceGetMemoryInfo": of_card(memory),
            "nvmlDeviceGetMaxClockInfo": of_card(1410),
            "nvmlDeviceGetEnforcedPowerLimit": of_card(400_000),
            "nvmlDeviceGetUtilizationRates": of_card(types.SimpleNamespace(gpu=7)),
            "nvmlDeviceGetComputeRunningProcesses": listed,
            "nvmlDeviceGetClockInfo": of_card(1095),
            "nvmlDeviceGetTemperatureV": of_card(31),
            "nvmlDeviceGetTemperature": of_card(31),
            "nvmlDeviceGetPowerUsage": of_card(250_000),
            "nvmlDeviceGetTotalEnergyConsumption": of_card(lambda: self.energy_mj),
            "nvmlDeviceGetCurrentClocksEventReasons": of_card(lambda: self.reasons),
            "nvmlDeviceGetCurrentClocksThrottleReasons": of_card(lambda: self.reasons),
        }
        for function_name, function in readings.items():
            put(monkeypatch, pynvml, function_name, self._unless_gone(function_name, function))

    def _unless_gone(self, name, function):
        def reading(*args, **kwargs):
            if name in self.gone:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_DEPRECATED)
            return function(*args, **kwargs)

        return reading

    def leave(self):
        """As in a container that was given no NVML, or on a Jetson."""

        def fail():
            raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

        self.monkeypatch.setattr(pynvml, "nvmlInit", fail)
