"""PyTorch on an NVIDIA GPU: modules in eval mode, channels-last, timed by CUDA events.

What a model runs at that is deployed with PyTorch itself. TF32 is off, so that fp32 means it, and
cuDNN picks its kernels by trying them (benchmark mode) during warm-up. Options: `l2=cold` empties
the L2 cache before each run; `graphs=on` replays a CUDA graph, without the host's launch costs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fofa.errors import UserError
from fofa.latency import ProtocolRecord
from fofa.space import BlockSpec
from profilers.hardware.cuda import CudaDevice, GpuOptions, gpu_availability, open_gpu
from profilers.plugin import Availability, MeasuringPlugin, PluginOptions, Runner, Session


class CudaPlugin(MeasuringPlugin):
    """PyTorch modules on the GPU of this machine."""

    name = "cuda"
    summary = "PyTorch on an NVIDIA GPU, CUDA events"

    def availability(self) -> Availability:
        return gpu_availability()

    def open(self, options: PluginOptions) -> CudaSession:
        chosen = GpuOptions.of(self.name, options, dtype="fp32")
        return CudaSession(open_gpu(chosen.l2), chosen)


class CudaSession(Session):
    """An opened GPU with fixed options; cuDNN's settings are put back when it is closed."""

    def __init__(self, device: CudaDevice, options: GpuOptions) -> None:
        import torch

        self._device = device
        self._options = options
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
            clock="CUDA events",
            memory_format="channels_last",
            tf32=False,
            l2=self._options.l2,
            cuda_graphs=self._options.graphs,
        )

    def lower(self, blocks: Sequence[BlockSpec]) -> Runner:
        import torch

        from fofa.runtime.torch_graph import TORCH_DTYPES, build_module

        dtype, layout = TORCH_DTYPES[self._options.dtype], torch.channels_last
        with self._device.use():
            module = build_module(blocks).to(self._device.name, dtype).to(memory_format=layout)
            first = blocks[0]
            images = torch.randn(
                (self._options.batch_size, first.in_channels, first.in_size, first.in_size),
                generator=torch.Generator(self._device.name).manual_seed(0),
                device=self._device.name,
            ).to(dtype=dtype, memory_format=layout)
        return CudaRunner(self._device, module, images, graphs=self._options.graphs)

    def load(self, network: Path) -> Runner:
        raise UserError(
            f"{network}: the plugin cuda runs PyTorch modules, no ONNX files; "
            "time this one with --device tensorrt or --device cpu"
        )

    def environment(self) -> dict[str, Any]:
        return self._device.state()

    def hardware(self) -> dict[str, Any]:
        return self._device.hardware()

    def close(self) -> None:
        import torch

        self._settings.close()
        torch.cuda.empty_cache()


class CudaRunner:
    """A module with the images that it is run on."""

    def __init__(self, device: CudaDevice, module: Any, images: Any, *, graphs: bool) -> None:
        import torch

        @torch.inference_mode()
        def forward() -> object:
            return module(images)

        self._device = device
        # A graph only knows the addresses of what it reads.
        self._memory: tuple[Any, ...] = (module, images)
        self._forward: Callable[[], object] | None = device.capture(forward) if graphs else forward

    def run(self) -> float:
        if self._forward is None:
            raise RuntimeError("the runner is closed")
        return self._device.time(self._forward)

    def close(self) -> None:
        self._forward = None
        self._memory = ()


PLUGIN = CudaPlugin()
