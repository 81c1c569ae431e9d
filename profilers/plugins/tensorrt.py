"""TensorRT on an NVIDIA GPU: ONNX to engine to CUDA-event timing.

What a network runs at that is deployed for speed. Engines are built once and kept on disk, and so
is what saves time in building and loading others: TensorRT's timing cache, and the kernels that
TensorRT-RTX compiles when an engine is loaded. Options: those of `GpuOptions`; graphs are on unless
switched off. Memory is torch's, so that one library owns the GPU's.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fofa.errors import UserError
from fofa.latency import ProtocolRecord
from fofa.runtime.graph import build_model
from fofa.runtime.tensorrt import (
    ENGINE_SUFFIXES,
    INSTALL_HINT,
    TensorRt,
    Timings,
    build_engine,
    installed_modules,
    last_message,
    load_tensorrt,
)
from fofa.space import BlockSpec
from profilers.hardware.cuda import Backlog, CudaDevice, gpu_availability, open_gpu
from profilers.hardware.gpu_memory import SharedMemory
from profilers.plugin import (
    Availability,
    EnergyCounter,
    MeasuringPlugin,
    PluginOptions,
    Runner,
    Session,
)
from profilers.plugins.engine_cache import EngineCache, cache_folder, engine_key
from profilers.plugins.gpu_options import GpuOptions

SCRATCH = "scratch"
"""Purpose of the memory in which all engines put what lies between their layers."""

_log = logging.getLogger(__name__)


class TensorRtPlugin(MeasuringPlugin):
    """Engines on the GPU of this machine."""

    name = "tensorrt"
    summary = "TensorRT or TensorRT-RTX on an NVIDIA GPU, CUDA events"

    def availability(self) -> Availability:
        if not installed_modules():
            return Availability(False, f"TensorRT is not installed: {INSTALL_HINT}")
        return gpu_availability()

    def open(self, options: PluginOptions) -> TensorRtSession:
        chosen = GpuOptions.of(self.name, options, dtype="fp16", graphs=True)
        runtime = load_tensorrt()
        device = open_gpu(chosen.l2, chosen.launch)
        return TensorRtSession(runtime, device, chosen, EngineCache(cache_folder()))


class TensorRtSession(Session):
    """The runtime on an opened GPU with fixed options.

    Args:
        origin: the session that this one is a replica of. Replicas have its memory and engine
            cache, but neither its timings nor its compiled kernels: a replica's engines are built
            as if nothing had been built before.
    """

    def __init__(
        self,
        runtime: TensorRt,
        device: CudaDevice,
        options: GpuOptions,
        cache: EngineCache,
        *,
        origin: TensorRtSession | None = None,
        replica: int = 0,
    ) -> None:
        self._runtime = runtime
        self._device = device
        self._options = options
        self._cache = cache
        self._replica = replica
        self._gpu: dict[str, Any] = origin._gpu if origin else device.hardware()["gpu"]
        self._memory: SharedMemory = origin._memory if origin else SharedMemory(device.name)
        self._loader: Any = origin._loader if origin else runtime.module.Runtime(runtime.logger)
        notes = engine_key(b"", **self._settings())
        self._timings_file, self._kernels_file = f"{notes}.timings", f"{notes}.kernels"
        self._timings = Timings() if replica else Timings(cache.read_notes(self._timings_file))
        self._kernels: Any = None

    @property
    def protocol(self) -> ProtocolRecord:
        return ProtocolRecord(
            plugin=TensorRtPlugin.name,
            runtime=f"{self._runtime.name} {self._runtime.version}",
            dtype=self._options.dtype,
            batch_size=self._options.batch_size,
            **self._options.protocol_fields(),
        )

    def replica(self, number: int) -> TensorRtSession:
        return TensorRtSession(
            self._runtime, self._device, self._options, self._cache, origin=self, replica=number
        )

    def lower(self, blocks: Sequence[BlockSpec]) -> Runner:
        model = build_model(blocks, self._options.batch_size, self._options.dtype)
        return self._runner(self._engine(model.SerializeToString(deterministic=True)))

    def load(self, network: Path) -> Runner:
        try:
            content = network.read_bytes()
        except OSError as error:
            raise UserError(f"{network}: cannot read: {error.strerror or error}") from None
        try:
            if network.suffix.lower() not in ENGINE_SUFFIXES:
                return self._runner(self._engine(content))
            engine = self._deserialize(content)
            if engine is None:
                raise UserError(
                    f"{self._runtime.name} {self._runtime.version} cannot load the engine: "
                    f"{last_message(self._runtime)}"
                )
            self._check_batch(engine)
            return self._runner(engine)
        except UserError as error:
            raise UserError(f"{network}: {error}") from None

    def environment(self) -> dict[str, Any]:
        return self._device.state()

    def energy(self) -> AbstractContextManager[EnergyCounter]:
        return self._device.energy()

    def hardware(self) -> dict[str, Any]:
        return {"gpu": self._gpu}

    def close(self) -> None:
        if self._replica:
            return
        if self._timings.content:
            self._cache.note(self._timings_file, self._timings.content)
        if self._kernels is not None:
            self._cache.note(self._kernels_file, bytes(self._kernels.serialize()))
        self._kernels = None
        self._memory.clear()

    def _settings(self) -> dict[str, object]:
        """What, apart from the model, decides an engine."""
        return {
            "runtime": self._runtime.name,
            "version": self._runtime.version,
            "gpu": self._gpu["name"],
            "compute_capability": self._gpu["compute_capability"],
        }

    def _engine(self, model: bytes) -> Any:
        """The engine of an ONNX model: kept from before, else built."""
        runtime, batch_size = self._runtime, self._options.batch_size
        capability = self._gpu["compute_capability"] if runtime.builds_without_gpu else None
        key = engine_key(
            model,
            **self._settings(),
            dtype=self._options.dtype,
            static_batch=batch_size,
            replica=self._replica,
        )
        built: list[bytes] = []

        def build() -> bytes:
            built.append(
                build_engine(
                    runtime,
                    model,
                    batch_size=batch_size,
                    compute_capability=capability,
                    timings=self._timings,
                )
            )
            return built[0]

        engine = self._deserialize(self._cache.get(key, build))
        if engine is None and not built:
            _log.warning("a kept engine no longer loads, built anew: %s", last_message(runtime))
            self._cache.discard(key)
            engine = self._deserialize(self._cache.get(key, build))
        if engine is None:
            raise UserError(f"{runtime.name} cannot load the engine: {last_message(runtime)}")
        return engine

    def _deserialize(self, content: bytes) -> Any:
        self._runtime.messages.clear()
        return self._loader.deserialize_cuda_engine(content)

    def _check_batch(self, engine: Any) -> None:
        """Refuse an engine for another batch than the one that the protocol states."""
        for tensor in _tensors(self._runtime, engine):
            if tensor.is_input and tensor.shape[0] != self._options.batch_size:
                raise UserError(
                    f"the engine is built for batches of {tensor.shape[0]}, asked for is "
                    f"{self._options.batch_size}; --batch-size chooses"
                )

    def _runner(self, engine: Any) -> TensorRtRunner:
        with self._device.use():
            context = self._context(engine)
        if context is None:
            raise UserError(
                f"{self._runtime.name} cannot start the engine: {last_message(self._runtime)}"
            )
        return TensorRtRunner(
            self._runtime,
            self._device,
            self._memory,
            engine,
            context,
            graphs=self._options.graphs,
        )

    def _context(self, engine: Any) -> Any:
        """A context without memory of its own, that finds compiled kernels where there are any."""
        module = self._runtime.module
        strategy = module.ExecutionContextAllocationStrategy.USER_MANAGED
        if not hasattr(module, "IRuntimeCache"):  # TensorRT proper compiles when it builds
            return engine.create_execution_context(strategy)
        config = engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(strategy)
        if self._kernels is None:
            self._kernels = config.create_runtime_cache()
            kept = b"" if self._replica else self._cache.read_notes(self._kernels_file)
            if kept and not self._kernels.deserialize(kept):
                _log.warning("the kept kernels are of another driver or version: compiled anew")
        config.set_runtime_cache(self._kernels)
        return engine.create_execution_context(config)


@dataclass(frozen=True, slots=True)
class EngineTensor:
    """An input or output of an engine; `purpose` names the memory that it shares with others."""

    name: str
    purpose: str
    is_input: bool
    shape: tuple[int, ...]
    dtype: Any


class TensorRtRunner(Runner):
    """An engine in memory that it shares with the other runners; inputs are random."""

    def __init__(
        self,
        runtime: TensorRt,
        device: CudaDevice,
        memory: SharedMemory,
        engine: Any,
        context: Any,
        *,
        graphs: bool,
    ) -> None:
        import torch

        self._runtime = runtime
        self._device = device
        self._memory = memory
        self._graphs = graphs
        # A graph only knows the addresses of what it uses, weights among them.
        self._parts: tuple[Any, ...] = (engine, context)
        self._tensors = _tensors(runtime, engine)
        self._scratch_bytes = _scratch_bytes(engine)
        self._backlog = Backlog()
        self._work: Callable[[], object] | None = None
        self._made_at = -1
        with device.use():
            memory.reserve(SCRATCH, torch.uint8, self._scratch_bytes)
            for tensor in self._tensors:
                count = math.prod(tensor.shape)
                memory.reserve(tensor.purpose, tensor.dtype, count, random=tensor.is_input)

    def run(self) -> float:
        if self._work is None or self._made_at != self._memory.moves:
            self._work = self._make()
        return self._device.time(self._work, self._backlog)

    def close(self) -> None:
        self._work = None
        self._parts = ()

    def _make(self) -> Callable[[], object]:
        """What a run does, with the memory where it is now."""
        import torch

        if not self._parts:
            raise RuntimeError("the runner is closed")
        _, context = self._parts
        runtime, memory, stream = self._runtime, self._memory, self._device.stream.cuda_stream
        scratch = memory.values(SCRATCH, torch.uint8, self._scratch_bytes)
        if hasattr(context, "set_device_memory"):
            context.set_device_memory(scratch.data_ptr(), self._scratch_bytes)
        else:  # TensorRT 10.0
            context.device_memory = scratch.data_ptr()
        for tensor in self._tensors:
            values = memory.values(tensor.purpose, tensor.dtype, math.prod(tensor.shape))
            context.set_tensor_address(tensor.name, values.data_ptr())

        def execute() -> None:
            if not context.execute_async_v3(stream):
                raise UserError(f"{runtime.name} cannot run the engine: {last_message(runtime)}")

        self._work = None  # the graph of before goes before the new one is made
        self._made_at = memory.moves
        return self._device.capture(execute) if self._graphs else execute


def _tensors(runtime: TensorRt, engine: Any) -> list[EngineTensor]:
    """Inputs and outputs of an engine.

    Raises:
        UserError: if one is of a size that is open, or no image and no scores.
    """
    tensors = []
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        shape = tuple(engine.get_tensor_shape(name))
        if min(shape, default=1) < 0:
            raise UserError(
                f"the engine leaves the size of {name!r} open; only fixed ones are timed"
            )
        is_input = engine.get_tensor_mode(name) == runtime.module.TensorIOMode.INPUT
        purpose = f"{'input' if is_input else 'output'} {index}"
        dtype = _torch_dtype(runtime, engine.get_tensor_dtype(name))
        tensors.append(EngineTensor(name, purpose, is_input, shape, dtype))
    return tensors


def _scratch_bytes(engine: Any) -> int:
    """Memory that an engine needs between its layers; 10.0 has only the older name."""
    names = ("device_memory_size_v2", "device_memory_size")
    sizes = [int(getattr(engine, name)) for name in names if hasattr(engine, name)]
    return max(sizes[0], 1)


def _torch_dtype(runtime: TensorRt, dtype: Any) -> Any:
    import torch

    types = {
        runtime.module.DataType.FLOAT: torch.float32,
        runtime.module.DataType.HALF: torch.float16,
    }
    if dtype not in types:
        raise UserError(f"the network has values of type {dtype}, expected fp32 or fp16")
    return types[dtype]


PLUGIN = TensorRtPlugin()
