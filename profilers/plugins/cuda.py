"""PyTorch on an NVIDIA GPU: the deployed graph as a module, timed by CUDA events.

What a model runs at that is deployed with PyTorch itself. The graph is the one that is exported and
that the other runtimes are given. TF32 is off, so that fp32 means it, and cuDNN picks its kernels
by trying them (benchmark mode) during warm-up. Options: those of `GpuOptions`. Launches are
included unless graphs are on: run kernel by kernel, small batches are as slow as the host.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from fofa.errors import UserError
from fofa.latency import ProtocolRecord
from fofa.runtime.graph import build_model, fix_batch, graph_inputs
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
from profilers.plugins.gpu_options import GpuOptions

if TYPE_CHECKING:
    import torch


class CudaPlugin(MeasuringPlugin):
    """PyTorch modules on the GPU of this machine."""

    name = "cuda"
    summary = "PyTorch on an NVIDIA GPU, CUDA events"

    def availability(self) -> Availability:
        return gpu_availability()

    def open(self, options: PluginOptions) -> CudaSession:
        chosen = GpuOptions.of(self.name, options, dtype="fp32", memory_formats=True)
        return CudaSession(open_gpu(chosen.l2, chosen.launch), chosen)


class CudaSession(Session):
    """An opened GPU with fixed options; cuDNN's settings are put back when it is closed."""

    def __init__(self, device: CudaDevice, options: GpuOptions) -> None:
        import torch

        self._device = device
        self._options = options
        self._memory = SharedMemory(device.name)
        self._settings = contextlib.ExitStack()
        self._settings.enter_context(
            torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False)
        )

    @property
    def protocol(self) -> ProtocolRecord:
        import torch

        return ProtocolRecord(
            plugin=CudaPlugin.name,
            runtime=f"torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}",
            dtype=self._options.dtype,
            batch_size=self._options.batch_size,
            memory_format=self._options.memory_format,
            **self._options.protocol_fields(),
        )

    def lower(self, blocks: Sequence[BlockSpec]) -> Runner:
        return self._runner(build_model(blocks, self._options.batch_size, self._options.dtype))

    def load(self, network: Path) -> Runner:
        if not network.is_file():
            raise UserError(f"{network}: no such file")
        try:
            model = onnx.load(network)
        except Exception as error:  # protobuf raises classes of its own
            raise UserError(f"{network}: cannot read the ONNX model: {error}") from None
        try:
            fix_batch(model, self._options.batch_size)
            return self._runner(model)
        except UserError as error:
            raise UserError(f"{network}: {error}") from None

    def _runner(self, model: onnx.ModelProto) -> Runner:
        import torch

        from fofa.runtime.torch_graph import TORCH_TYPES, load_module

        channels_last = self._options.memory_format == "channels_last"
        layout = torch.channels_last if channels_last else torch.contiguous_format
        [taken] = graph_inputs(model)
        kind = taken.type.tensor_type
        if kind.elem_type not in TORCH_TYPES:
            raise UserError(f"the input {taken.name!r} is no image in fp32 or fp16")
        with self._device.use():
            module = load_module(model).to(self._device.name).to(memory_format=layout)
            images = Images(
                tuple(size.dim_value for size in kind.shape.dim),
                TORCH_TYPES[kind.elem_type],
                channels_last,
            )
            images.reserve(self._memory)
        graphs = self._options.graphs
        return CudaRunner(self._device, self._memory, module, images, graphs=graphs)

    def environment(self) -> dict[str, Any]:
        return self._device.state()

    def energy(self) -> AbstractContextManager[EnergyCounter]:
        return self._device.energy()

    def hardware(self) -> dict[str, Any]:
        return self._device.hardware()

    def close(self) -> None:
        import torch

        self._settings.close()
        self._memory.clear()
        torch.cuda.empty_cache()


@dataclass(frozen=True, slots=True)
class Images:
    """A batch of random images in the session's memory: shape (N, C, H, W), type and order."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    channels_last: bool

    def reserve(self, memory: SharedMemory) -> None:
        """Have room for them."""
        memory.reserve("images", self.dtype, math.prod(self.shape), random=True)

    def view(self, memory: SharedMemory) -> torch.Tensor:
        """The images, where they are now."""
        values = memory.values("images", self.dtype, math.prod(self.shape))
        if not self.channels_last:
            return values.view(self.shape)
        batch_size, channels, height, width = self.shape
        return values.view(batch_size, height, width, channels).permute(0, 3, 1, 2)


class CudaRunner(Runner):
    """A module with the images that it is run on."""

    def __init__(
        self,
        device: CudaDevice,
        memory: SharedMemory,
        module: torch.nn.Module,
        images: Images,
        *,
        graphs: bool,
    ) -> None:
        self._device = device
        self._memory = memory
        self._parts: tuple[torch.nn.Module, Images] | None = (module, images)
        self._graphs = graphs
        self._backlog = Backlog()
        self._work: Callable[[], object] | None = None
        self._made_at = -1

    def run(self) -> float:
        if self._work is None or self._made_at != self._memory.moves:
            self._work = self._make()
        return self._device.time(self._work, self._backlog)

    def close(self) -> None:
        self._work = self._parts = None

    def _make(self) -> Callable[[], object]:
        """What a run does, on the images where they are now; a graph holds their address."""
        import torch

        if self._parts is None:
            raise RuntimeError("the runner is closed")
        module, images = self._parts[0], self._parts[1].view(self._memory)

        @torch.inference_mode()
        def forward() -> object:
            return module(images)

        self._work = None  # the graph of before goes before the new one is made
        self._made_at = self._memory.moves
        return self._device.capture(forward) if self._graphs else forward


PLUGIN = CudaPlugin()
