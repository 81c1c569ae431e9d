"""PyTorch on an NVIDIA GPU: the deployed graph as a module, channels-last, timed by CUDA events.

What a model runs at that is deployed with PyTorch itself. The graph is the one that is exported and
that the other runtimes are given. TF32 is off, so that fp32 means it, and
cuDNN picks its kernels by trying them (benchmark mode) during warm-up. Options: `l2=cold` empties
the L2 cache before each run; `graphs=on` replays a CUDA graph, without the host's launch costs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx

from fofa.errors import UserError
from fofa.latency import ProtocolRecord
from fofa.runtime.graph import build_model, fix_batch, graph_inputs
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

        device, layout = self._device.name, torch.channels_last
        [taken] = graph_inputs(model)
        kind = taken.type.tensor_type
        if kind.elem_type not in TORCH_TYPES:
            raise UserError(f"the input {taken.name!r} is no image in fp32 or fp16")
        with self._device.use():
            module = load_module(model).to(device).to(memory_format=layout)
            images = torch.randn(
                [size.dim_value for size in kind.shape.dim],
                generator=torch.Generator(device).manual_seed(0),
                device=device,
            ).to(dtype=TORCH_TYPES[kind.elem_type], memory_format=layout)
        return CudaRunner(self._device, module, images, graphs=self._options.graphs)

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
