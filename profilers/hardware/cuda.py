"""The GPU through torch: is there one that this torch can use, and how time is taken on it.

Shared by the plugins `cuda` and `tensorrt`. Time is taken by CUDA events on the stream that runs
the work, and the host waits for the second event, so that a run is never counted before it ends.
NVML tells clocks, heat and who else is there, and is done without where it is not. torch is
imported when a GPU is opened.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from ctypes.util import find_library
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fofa.errors import UserError
from profilers.hardware import nvml
from profilers.hardware.energy import gpu_counter
from profilers.plugin import Availability, EnergyCounter

if TYPE_CHECKING:
    import torch

CAPTURE_WARM_UP_RUNS = 3
"""Libraries choose their kernels and allocate in the first runs, which a graph may not do."""
FASTEST_CLOCK_HZ = 3e9
"""No GPU counts its cycles faster, so a sleep of so many cycles lasts a second at least."""
FIRST_BACKLOG_SECONDS = 50e-6
LONGEST_BACKLOG_SECONDS = 1.0
DRIVER_LIBRARIES = ("cuda", "nvcuda")
DRIVER_FILES = ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/dxg")
"""Of a desktop or server, a Jetson, and Windows' subsystem for Linux."""
OLDEST_CAPABILITY = (5, 0)
"""Maxwell; torch 2.6 and later have no build for anything older."""
NEEDS_CUDA_12_6 = (7, 5)
"""Below this (Maxwell, Pascal, Volta) only the builds for CUDA 12.6 have code for the GPU."""
CUDA_12_6_TORCH = "torch>=2.6,<2.15"
"""torch 2.14 is the last that is published with a build for CUDA 12.6."""
CUDA_12_6_INDEX = "https://download.pytorch.org/whl/cu126"

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Backlog:
    """How long the GPU is kept busy before a run, so that the host queues the whole of it.

    Twice in a row too short, it is doubled: once may be the operating system's doing.
    """

    seconds: float = FIRST_BACKLOG_SECONDS
    misses: int = 0

    @property
    def cycles(self) -> int:
        """The same in cycles of the GPU's clock, or more."""
        return int(self.seconds * FASTEST_CLOCK_HZ)

    def met(self) -> None:
        """It was long enough."""
        self.misses = 0

    def missed(self) -> None:
        """The GPU began before everything was queued.

        Raises:
            UserError: if no backlog is long enough.
        """
        self.misses += 1
        if self.misses < 2:
            return
        self.misses, self.seconds = 0, 2 * self.seconds
        if self.seconds > LONGEST_BACKLOG_SECONDS:
            raise UserError(
                "the launches of a run cannot be hidden: the host needs longer for them than "
                f"{LONGEST_BACKLOG_SECONDS:g} s; --option launch=included times them too"
            )


@dataclass(frozen=True, slots=True)
class CudaDevice:
    """An opened GPU: the stream that work runs on, and how a run is prepared.

    Attributes:
        index: torch's number of the GPU, which CUDA_VISIBLE_DEVICES changes.
        uuid: by which NVML knows it; empty if torch does not tell.
        stream: that everything runs on.
        flush: a buffer larger than the L2 cache; overwriting it before a run empties the cache.
        hides_launches: whether a run is queued whole before it starts.
        graph_pool: the memory that all captured graphs share.
        own_processes: how many of the processes that NVML lists are this one, 0 or 1.
    """

    index: int
    uuid: str
    stream: torch.cuda.Stream
    flush: torch.Tensor | None = None
    hides_launches: bool = False
    graph_pool: Any = field(default=None)
    own_processes: int = 1

    @property
    def name(self) -> str:
        """What torch calls it, such as `cuda:0`."""
        return f"cuda:{self.index}"

    @contextlib.contextmanager
    def use(self) -> Iterator[None]:
        """A context in which everything runs on this device's stream, allocations included.

        Raises:
            UserError: if the GPU's memory is not enough for what is done in it.
        """
        import torch

        with torch.cuda.stream(self.stream):
            try:
                yield
            except torch.OutOfMemoryError:
                raise UserError(
                    "the GPU's memory is full; a smaller --batch-size needs less"
                ) from None

    def time(self, work: Callable[[], object], backlog: Backlog) -> float:
        """Milliseconds that the GPU takes for `work`, by CUDA events, waited for.

        Args:
            backlog: of this `work`; it learns how long its launches take, if they are to be hidden.

        Raises:
            UserError: if they cannot be.
        """
        while True:
            taken, was_ahead = self._time(work, backlog.cycles if self.hides_launches else 0)
            if was_ahead or not self.hides_launches:
                backlog.met()
                return taken
            backlog.missed()

    def _time(self, work: Callable[[], object], sleep_cycles: int) -> tuple[float, bool]:
        """The time of one run, and whether all of it was queued before the GPU began."""
        import torch

        with self.use():
            if sleep_cycles:
                torch.cuda._sleep(sleep_cycles)
            if self.flush is not None:
                self.flush.zero_()
            start = torch.cuda.Event(enable_timing=True)
            end = torch.cuda.Event(enable_timing=True)
            start.record(self.stream)
            work()
            end.record(self.stream)
            was_ahead = not start.query()
        end.synchronize()
        return float(start.elapsed_time(end)), was_ahead

    def capture(self, work: Callable[[], object]) -> Callable[[], object]:
        """`work` as a CUDA graph: a call that launches all its kernels at once.

        All graphs take their memory from one pool: none of them may expect to find what it wrote
        once another one ran.

        Raises:
            UserError: if something in it cannot be captured.
        """
        import torch

        with self.use():
            for _ in range(CAPTURE_WARM_UP_RUNS):
                work()
            self.stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            try:
                with torch.cuda.graph(graph, pool=self.graph_pool, stream=self.stream):
                    work()
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                raise UserError(
                    "the network cannot be captured as a CUDA graph "
                    f"({str(error).splitlines()[0]}); --option graphs=off runs it without"
                ) from None
        replay: Callable[[], object] = graph.replay
        return replay

    def hardware(self) -> dict[str, Any]:
        """The GPU's record, under the key `gpu`.

        `unwatched` lists what of its state nobody tells here; without NVML that is all of it.
        """
        import torch

        found = torch.cuda.get_device_properties(self.index)
        gpu: dict[str, Any] = {
            "name": found.name,
            "compute_capability": f"{found.major}.{found.minor}",
            "memory_bytes": found.total_memory,
            "multiprocessors": found.multi_processor_count,
        }
        known = nvml.record_of(self.uuid) or {}
        gpu |= {name: value for name, value in known.items() if value is not None}
        if nvml.MIG_LABEL in found.name.split():
            gpu |= {"name": found.name, "mig": True}
        if gpu.get("mig"):  # a slice has less than the whole card
            gpu |= {"name": nvml.mig_name(gpu["name"]), "memory_bytes": found.total_memory}
        watched = self.state().get("gpu", {})
        unwatched = [name for name in WATCHED if watched.get(name) is None]
        return {"gpu": gpu | ({"unwatched": unwatched} if unwatched else {})}

    def energy(self) -> AbstractContextManager[EnergyCounter]:
        """Opens the GPU's counter of energy.

        Raises:
            UserError: if NVML does not tell it, or runs are prepared by work that would be counted.
        """
        if self.hides_launches or self.flush is not None:
            raise UserError(
                "energy is measured of runs with nothing before them: add --option launch=included "
                "--option l2=warm"
            )
        return gpu_counter(self.uuid)

    def state(self) -> dict[str, Any]:
        """Clocks, temperature, power and other processes right now, under the key `gpu`."""
        state = nvml.state_of(self.uuid)
        processes = nvml.compute_processes(self.uuid)
        if state is None and processes is None:
            return {}
        others = None if processes is None else max(0, len(processes) - self.own_processes)
        return {"gpu": {**(state or {}), "foreign_processes": others}}


WATCHED = ("sm_clock_mhz", "temperature_c", "power_w", "throttled", "foreign_processes")
"""Readings by which a measurement is judged; what a card does not tell is recorded as unwatched."""


def gpu_availability() -> Availability:
    """Whether a GPU and torch are here, found out without importing torch."""
    if find_spec("torch") is None:
        return Availability(False, "torch is not installed: pip install torch")
    if not nvml.gpu_records() and not has_driver():
        return Availability(False, "no NVIDIA GPU or driver found")
    return Availability(True)


def has_driver() -> bool:
    """Whether CUDA's driver is here, with or without NVML."""
    if any(Path(file).exists() for file in DRIVER_FILES):
        return True
    return any(find_library(name) is not None for name in DRIVER_LIBRARIES)


def open_gpu(l2: str = "warm", launch: str = "included") -> CudaDevice:
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
    # Opening a context puts this process on the list, in a container under a number that it does
    # not know itself. So the list is looked at before and after.
    was_open, before = torch.cuda.is_initialized(), nvml.compute_processes() or frozenset()
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
    stream = torch.cuda.Stream()
    torch.zeros(1, device="cuda")  # at the latest now there is a context
    uuid = str(getattr(properties, "uuid", ""))
    after = nvml.compute_processes(uuid) or frozenset()
    device = CudaDevice(
        index,
        uuid,
        stream,
        flush,
        hides_launches=launch == "hidden",
        graph_pool=torch.cuda.graph_pool_handle(),
        own_processes=int(bool(after) and (was_open or bool(after - before))),
    )
    if nvml.state_of(device.uuid) is None:
        _log.warning(
            "NVML does not tell about this GPU: clocks, heat, power and other programs on it are "
            "not watched, and the table says so"
        )
    return device


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
        advice = (
            "install the CUDA 12.6 build of torch: "
            f"pip install '{CUDA_12_6_TORCH}' torchvision --index-url {CUDA_12_6_INDEX}"
        )
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
