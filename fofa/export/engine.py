"""TensorRT engines, built from the ONNX model.

TensorRT builds on the GPU that is to run the engine. TensorRT-RTX, used where only that is
installed, also builds for a compute capability with no GPU there. An engine runs on the kind of GPU
and the version of TensorRT that it was built for.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from fofa.errors import UserError
from fofa.export.onnx_graph import INPUT_NAME
from fofa.files import write_bytes

MODULES = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")
INSTALL = "install fofa[tensorrt], or fofa[tensorrt-rtx] on a GeForce RTX or RTX PRO"


def write_engine(
    model: bytes,
    resolution: int,
    path: Path,
    *,
    max_batch: int,
    compute_capability: str | None = None,
) -> None:
    """Build an engine for batches of 1 to `max_batch` images, best at the largest, and write it.

    Args:
        model: ONNX, already checked; its own types are kept (a strongly typed network).
        compute_capability: such as `8.6`, to build for that without the GPU (TensorRT-RTX only).

    Raises:
        UserError: if TensorRT or a GPU is missing, or TensorRT refuses the model.
    """
    trt = _runtime(needs_gpu=compute_capability is None)
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        reason = parser.get_error(0).desc() if parser.num_errors else "no reason given"
        raise UserError(f"TensorRT does not take the network: {reason}")
    profile = builder.create_optimization_profile()
    shapes = [(batch, 3, resolution, resolution) for batch in (1, max_batch, max_batch)]
    profile.set_shape(INPUT_NAME, *shapes)
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # float32 means it, as in latency tables
    config.add_optimization_profile(profile)
    if compute_capability is not None:
        _build_for(trt, config, compute_capability)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise UserError("TensorRT could not build an engine; its messages are above")
    write_bytes(path, bytes(engine))


def _build_for(trt: ModuleType, config: Any, compute_capability: str) -> None:
    """Set the GPU to build for.

    Raises:
        UserError: if the installed runtime cannot build for it.
    """
    members = trt.ComputeCapability.__members__ if hasattr(trt, "ComputeCapability") else {}
    known = {name: name[2:-1] + "." + name[-1] for name in members if name.startswith("SM")}
    wanted = next((name for name, shown in known.items() if shown == compute_capability), None)
    if wanted is None:
        raise UserError(
            f"{trt.__name__} does not build for compute capability {compute_capability} without "
            f"its GPU; it knows {', '.join(known.values()) or 'none'}"
        )
    config.num_compute_capabilities = 1
    config.set_compute_capability(members[wanted], 0)


def _runtime(*, needs_gpu: bool) -> ModuleType:
    """TensorRT, else TensorRT-RTX.

    Raises:
        UserError: if neither is installed or loads, or there is no GPU where one is needed.
    """
    import torch

    reasons = []
    for name in MODULES:
        if importlib.util.find_spec(name) is None:
            continue
        try:
            module = importlib.import_module(name)
        except (ImportError, OSError, RuntimeError) as error:
            reasons.append(f"{name}: {error}")
            continue
        if needs_gpu and not torch.cuda.is_available():
            raise UserError(
                "no NVIDIA GPU to build an engine for; TensorRT-RTX builds without one when "
                "--compute-capability names it"
            )
        return module
    why = f" ({'; '.join(reasons)})" if reasons else ""
    raise UserError(f"TensorRT is not installed{why}: {INSTALL}")
