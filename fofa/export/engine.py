"""TensorRT engines, built from the ONNX model on the GPU that is to run them.

An engine runs on the kind of GPU and the TensorRT version that built it. TensorRT-RTX is used where
only that is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

from fofa.errors import UserError
from fofa.export.onnx_graph import INPUT_NAME
from fofa.files import write_bytes

INSTALL = "install fofa[tensorrt] (or fofa[tensorrt-rtx]) on a machine with an NVIDIA GPU"


def write_engine(model: bytes, resolution: int, path: Path, *, max_batch: int) -> None:
    """Build an engine for batches of 1 to `max_batch` images, best at the largest, and write it.

    Args:
        model: ONNX, already checked; float16 weights give a float16 engine.

    Raises:
        UserError: if TensorRT or a GPU is missing, or TensorRT refuses the model.
    """
    trt = _runtime()
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    if builder is None:
        raise UserError(f"TensorRT found no GPU to build for: {INSTALL}")
    # Types are taken from the model, not chosen by the builder.
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        reason = parser.get_error(0).desc() if parser.num_errors else "no reason given"
        raise UserError(f"TensorRT does not take the network: {reason}")
    profile = builder.create_optimization_profile()
    shapes = [(batch, 3, resolution, resolution) for batch in (1, max_batch, max_batch)]
    profile.set_shape(INPUT_NAME, *shapes)
    config = builder.create_builder_config()
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise UserError("TensorRT could not build an engine; its messages are above")
    write_bytes(path, bytes(plan))


def _runtime() -> ModuleType:
    """TensorRT, else TensorRT-RTX.

    Raises:
        UserError: if neither is installed or a driver is missing.
    """
    import torch

    for name in ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings"):
        if importlib.util.find_spec(name) is None:
            continue
        if not torch.cuda.is_available():
            raise UserError(f"no NVIDIA GPU was found, and an engine is built on one: {INSTALL}")
        try:
            return importlib.import_module(name)
        except (ImportError, OSError) as error:
            raise UserError(f"{name} does not load: {error}") from None
    raise UserError(f"TensorRT is not installed: {INSTALL}")
