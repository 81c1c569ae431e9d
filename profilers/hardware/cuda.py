"""The GPU through torch: is there one that this torch can use, and how time is taken on it.

Shared by the plugins `cuda` and `tensorrt`. Time is taken by CUDA events on the stream that runs
the work, and the host waits for the second event, so that a run is never counted before it ends.
torch is imported when a GPU is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from fofa.errors import UserError
from fofa.precision import short_precision
from fofa.runtime.graph import GRAPH_TYPES
from fofa.runtime.tensorrt import DEFAULT_BATCH_SIZE
from profilers.hardware import nvml
from profilers.plugin import Availability, PluginOptions

if TYPE_CHECKING:
    import torch

L2_STATES = ("warm", "cold")
SWITCH = ("off", "on")
CAPTURE_WARM_UP_RUNS = 3
"""Libraries choose their kernels and allocate in the first runs, which a graph may not do."""
OLDEST_CAPABILITY = (5, 0)
"""Maxwell; torch 2.6 and later have no build for anything older."""
NEEDS_CUDA_12_6 = (7, 5)
"""Below this (Maxwell, Pascal, Volta) only the builds for CUDA 12.6 have code for the GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuOptions:
    """The options of a plugin that runs on a GPU.

    Attributes:
        l2: `warm` leaves the L2 cache as the last run left it, `cold` empties it before each run.
        graphs: whether a run is captured once and replayed as a CUDA graph, which takes the time
            that the host needs to launch kernels out of the measurement.
    """

    batch_size: int
    dtype: str
    l2: str = "warm"
    graphs: bool = False

    @classmethod
    def of(cls, plugin: str, options: PluginOptions, *, dtype: str) -> GpuOptions:
        """The options that a person chose, `dtype` and batch 64 where nothing was.

        Raises:
            UserError: naming the option that is not possible.
        """
        chosen = short_precision(options.dtype or dtype)
        batch_size = DEFAULT_BATCH_SIZE if options.batch_size is None else options.batch_size
        l2, graphs = options.extra.get("l2", "warm"), options.extra.get("graphs", "off")
        unknown = sorted(options.extra.keys() - {"l2", "graphs"})
        if unknown:
            raise UserError(f"{plugin}: unknown options {', '.join(unknown)}; known: graphs, l2")
        if options.source is not None:
            raise UserError(f"{plugin}: it measures, so there is no source to give")
        if options.threads is not None:
            raise UserError(f"{plugin}: a GPU has no number of threads to choose")
        if batch_size < 1:
            raise UserError(f"{plugin}: batch size {batch_size}, expected 1 or more")
        for name, value, known in (
            ("dtype", chosen, GRAPH_TYPES),
            ("l2", l2, L2_STATES),
            ("graphs", graphs, SWITCH),
        ):
            if value not in known:
                raise UserError(f"{plugin}: {name} {value!r}, expected {' or '.join(known)}")
        return cls(batch_size=batch_size, dtype=chosen, l2=l2, graphs=graphs == "on")


@dataclass(frozen=True, slots=True)
class CudaDevice:
    """An opened GPU: the stream that work runs on, and whether L2 is emptied before each run.

    Attributes:
        index: torch's number of the GPU, which CUDA_VISIBLE_DEVICES changes.
        nvml_index: the driver's number of it, None if unknown.
        flush: a buffer larger than the L2 cache; overwriting it empties the cache.
    """

    index: int
    nvml_index: int | None
    stream: torch.cuda.Stream
    flush: torch.Tensor | None

    @property
    def name(self) -> str:
        """What torch calls it, such as `cuda:0`."""
        return f"cuda:{self.index}"

    def use(self) -> AbstractContextManager[object]:
        """A context in which everything runs on this device's stream, allocations included."""
        import torch

        return torch.cuda.stream(self.stream)

    def time(self, work: Callable[[], object]) -> float:
        """Milliseconds that the GPU takes for `work`, by CUDA events, waited for."""
        import torch

        with self.use():
            if self.flush is not None:
                self.flush.zero_()
            start = torch.cuda.Event(enable_timing=True)
            end = torch.cuda.Event(enable_timing=True)
            start.record(self.stream)
            work()
            end.record(self.stream)
        end.synchronize()
        return float(start.elapsed_time(end))

    def capture(self, work: Callable[[], object]) -> Callable[[], object]:
        """`work` as a CUDA graph: a call that launches all its kernels at once."""
        import torch

        with self.use():
            for _ in range(CAPTURE_WARM_UP_RUNS):
                work()
        self.stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            work()
        replay: Callable[[], object] = graph.replay
        return replay

    def hardware(self) -> dict[str, Any]:
        """The GPU's record, under the key `gpu`."""
        records = nvml.gpu_records()
        if self.nvml_index is not None and self.nvml_index < len(records):
            return {"gpu": records[self.nvml_index]}
        import torch

        found = torch.cuda.get_device_properties(self.index)
        return {
            "gpu": {
                "name": found.name,
                "compute_capability": f"{found.major}.{found.minor}",
                "memory_bytes": found.total_memory,
            }
        }

    def state(self) -> dict[str, Any]:
        """Clocks, temperature and power right now, under the key `gpu`."""
        states = nvml.gpu_states()
        if self.nvml_index is None or self.nvml_index >= len(states):
            return {}
        return {"gpu": states[self.nvml_index]}


def gpu_availability() -> Availability:
    """Whether a GPU and torch are here, found out without importing torch."""
    if find_spec("torch") is None:
        return Availability(False, "torch is not installed: pip install torch")
    if not nvml.gpu_records():
        return Availability(False, "no NVIDIA GPU or driver found")
    return Availability(True)


def open_gpu(l2: str = "warm") -> CudaDevice:
    """The current GPU, with its own stream.

    Raises:
        UserError: if there is none, or the installed torch cannot use it (naming the build that
            can).
    """
    available = gpu_availability()
    if not available.available:
        raise UserError(
            f"cannot measure on a GPU: {available.reason} "
            "(--plugin roofline estimates hardware that is not here)"
        )
    import torch

    if torch.version.cuda is None:
        raise UserError("the installed torch is a build without CUDA; install a CUDA build of it")
    if not torch.cuda.is_available():
        raise UserError(
            f"torch {torch.__version__} cannot use the GPU: its CUDA {torch.version.cuda} needs a "
            "newer driver, or CUDA_VISIBLE_DEVICES hides the GPU"
        )
    fault = unsupported_gpu(
        torch.cuda.get_device_capability(),
        torch.cuda.get_arch_list(),
        torch_version=str(torch.__version__),
        cuda_version=torch.version.cuda,
    )
    if fault is not None:
        raise UserError(fault)
    index = torch.cuda.current_device()
    properties = torch.cuda.get_device_properties(index)
    flush = None
    if l2 == "cold":
        flush = torch.empty(2 * properties.L2_cache_size, dtype=torch.uint8, device="cuda")
    uuid = str(getattr(properties, "uuid", ""))
    return CudaDevice(index, nvml.index_of(uuid), torch.cuda.Stream(), flush)


def unsupported_gpu(
    capability: tuple[int, int], arch_list: Sequence[str], *, torch_version: str, cuda_version: str
) -> str | None:
    """Why this torch has no code for a GPU, and which build has; None if it has.

    Args:
        capability: of the GPU, such as (6, 1).
        arch_list: what torch was built for, as `torch.cuda.get_arch_list()` gives it.
    """
    if any(_runs(arch, capability) for arch in arch_list):
        return None
    shown = "{}.{}".format(*capability)
    built_for = f"torch {torch_version} (CUDA {cuda_version}) is built for {', '.join(arch_list)}"
    if capability < OLDEST_CAPABILITY:
        return f"the GPU has compute capability {shown}, which no build of torch >= 2.6 supports"
    if capability < NEEDS_CUDA_12_6:
        advice = "install the CUDA 12.6 build of torch (wheels named +cu126)"
    else:
        advice = "install the newest build of torch"
    return f"the GPU has compute capability {shown}, but {built_for}: {advice}"


def _runs(arch: str, capability: tuple[int, int]) -> bool:
    """Whether code for `arch` (sm_80, sm_90a, sm_120f, compute_120) runs on `capability`.

    Binary code runs within its major version, from its minor version up; with the suffix `a` only
    on that very version. PTX (compute_) is translated for anything newer.
    """
    kind, _, number = arch.partition("_")
    digits = number.rstrip("af")
    if kind not in ("sm", "compute") or not digits.isdigit():
        return False
    built = divmod(int(digits), 10)
    if number.endswith("a"):
        return built == capability
    if kind == "compute" and not number.endswith("f"):
        return built <= capability
    return built[0] == capability[0] and built[1] <= capability[1]
