"""TensorRT on an NVIDIA GPU: ONNX to engine to CUDA-event timing.

What a network runs at that is deployed for speed. Engines are built once and kept on disk. Options:
`l2=cold` empties the L2 cache before each run; `graphs=on` replays a CUDA graph, without the host's
launch costs. Buffers are torch tensors, so that one library owns the GPU's memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fofa.errors import UserError
from fofa.latency import ProtocolRecord
from fofa.runtime.graph import build_model
from fofa.runtime.tensorrt import (
    INSTALL_HINT,
    TensorRt,
    build_engine,
    installed_modules,
    last_message,
    load_tensorrt,
)
from fofa.space import BlockSpec
from profilers.hardware.cuda import CudaDevice, GpuOptions, gpu_availability, open_gpu
from profilers.plugin import Availability, MeasuringPlugin, PluginOptions, Runner, Session
from profilers.plugins.engine_cache import EngineCache, cache_folder, engine_key


class TensorRtPlugin(MeasuringPlugin):
    """Engines on the GPU of this machine."""

    name = "tensorrt"
    summary = "TensorRT or TensorRT-RTX on an NVIDIA GPU, CUDA events"

    def availability(self) -> Availability:
        if not installed_modules():
            return Availability(False, f"TensorRT is not installed: {INSTALL_HINT}")
        return gpu_availability()

    def open(self, options: PluginOptions) -> TensorRtSession:
        chosen = GpuOptions.of(self.name, options, dtype="fp16")
        runtime = load_tensorrt()
        return TensorRtSession(runtime, open_gpu(chosen.l2), chosen, EngineCache(cache_folder()))


class TensorRtSession(Session):
    """The runtime on an opened GPU with fixed options."""

    def __init__(
        self, runtime: TensorRt, device: CudaDevice, options: GpuOptions, cache: EngineCache
    ) -> None:
        self._runtime = runtime
        self._device = device
        self._options = options
        self._cache = cache
        self._gpu: dict[str, Any] = device.hardware()["gpu"]
        self._loader = runtime.module.Runtime(runtime.logger)

    @property
    def protocol(self) -> ProtocolRecord:
        return ProtocolRecord(
            plugin=TensorRtPlugin.name,
            runtime=f"{self._runtime.name} {self._runtime.version}",
            dtype=self._options.dtype,
            batch_size=self._options.batch_size,
            clock="CUDA events",
            tf32=False,
            l2=self._options.l2,
            cuda_graphs=self._options.graphs,
        )

    def lower(self, blocks: Sequence[BlockSpec]) -> Runner:
        model = build_model(blocks, self._options.batch_size, self._options.dtype)
        return self._runner(model.SerializeToString(deterministic=True))

    def load(self, network: Path) -> Runner:
        try:
            model = network.read_bytes()
        except OSError as error:
            raise UserError(f"{network}: cannot read: {error.strerror or error}") from None
        try:
            return self._runner(model)
        except UserError as error:
            raise UserError(f"{network}: {error}") from None

    def environment(self) -> dict[str, Any]:
        return self._device.state()

    def hardware(self) -> dict[str, Any]:
        return {"gpu": self._gpu}

    def _runner(self, model: bytes) -> Runner:
        runtime, batch_size = self._runtime, self._options.batch_size
        capability = self._gpu["compute_capability"] if runtime.builds_without_gpu else None
        key = engine_key(
            model,
            runtime=runtime.name,
            version=runtime.version,
            gpu=self._gpu["name"],
            compute_capability=self._gpu["compute_capability"],
            dtype=self._options.dtype,
            static_batch=batch_size,
        )

        def build() -> bytes:
            return build_engine(
                runtime, model, batch_size=batch_size, compute_capability=capability
            )

        runtime.messages.clear()
        engine = self._loader.deserialize_cuda_engine(self._cache.get(key, build))
        if engine is None:
            raise UserError(f"{runtime.name} cannot load the engine: {last_message(runtime)}")
        return TensorRtRunner(self._runtime, self._device, engine, graphs=self._options.graphs)


class TensorRtRunner:
    """An engine with its buffers; inputs are random."""

    def __init__(self, runtime: TensorRt, device: CudaDevice, engine: Any, *, graphs: bool) -> None:
        context = engine.create_execution_context()
        if context is None:
            raise UserError(f"{runtime.name} cannot start the engine: {last_message(runtime)}")
        stream = device.stream.cuda_stream

        def execute() -> None:
            if not context.execute_async_v3(stream):
                raise UserError(f"{runtime.name} cannot run the engine: {last_message(runtime)}")

        with device.use():
            self._buffers = _bind(runtime, device, engine, context)
        # A graph only knows the addresses of what it uses: weights, workspace and buffers.
        self._memory: tuple[Any, ...] = (engine, context)
        self._device = device
        self._execute: Callable[[], object] | None = device.capture(execute) if graphs else execute

    def run(self) -> float:
        if self._execute is None:
            raise RuntimeError("the runner is closed")
        return self._device.time(self._execute)

    def close(self) -> None:
        self._execute = None
        self._memory = ()
        self._buffers = []


def _bind(runtime: TensorRt, device: CudaDevice, engine: Any, context: Any) -> list[Any]:
    """Give the engine a buffer for each input (random values) and output; returns the buffers."""
    import torch

    generator = torch.Generator(device.name).manual_seed(0)
    buffers = []
    for name in (engine.get_tensor_name(index) for index in range(engine.num_io_tensors)):
        shape = tuple(engine.get_tensor_shape(name))
        dtype = _torch_dtype(runtime, engine.get_tensor_dtype(name))
        if engine.get_tensor_mode(name) == runtime.module.TensorIOMode.INPUT:
            buffer = torch.randn(shape, generator=generator, device=device.name).to(dtype)
        else:
            buffer = torch.empty(shape, dtype=dtype, device=device.name)
        context.set_tensor_address(name, buffer.data_ptr())
        buffers.append(buffer)
    return buffers


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
