"""ONNX models in onnxruntime: run, compared with PyTorch, and written once they agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor

from fofa.errors import UserError
from fofa.export.onnx_graph import INPUT_NAME, OUTPUT_NAME, build_model
from fofa.files import write_bytes
from fofa.supernet.network import PlainNetwork

TOLERANCES = {"float32": 1e-4, "float16": 5e-2}
"""Largest difference of a logit: absolute where logits stay within 1, relative to the largest logit
beyond."""
CHECK_IMAGES = 4


def write_onnx(
    network: PlainNetwork,
    resolution: int,
    path: Path,
    metadata: Mapping[str, str],
    *,
    half: bool = False,
) -> float:
    """Write a network in evaluation mode as ONNX; return the largest logit difference.

    Nothing is written unless onnxruntime computes what PyTorch does.

    Raises:
        UserError: if the outputs differ, or the file cannot be written.
    """
    model = build_model(network, resolution, metadata, half=half)
    dtype = "float16" if half else "float32"
    difference = check_outputs(model, network, noise_images(resolution), dtype)
    write_bytes(path, model.SerializeToString())
    return difference


def noise_images(resolution: int, num: int = CHECK_IMAGES) -> Tensor:
    """Standard normal images [num, 3, R, R], the same ones every time."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(num, 3, resolution, resolution, generator=generator)


def session_logits(model: onnx.ModelProto | Path) -> Callable[[Tensor], np.ndarray]:
    """The model in onnxruntime on the CPU, as a function from images to logits (N, classes)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors only
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> np.ndarray:
        logits: np.ndarray = session.run([OUTPUT_NAME], {INPUT_NAME: images.numpy()})[0]
        return logits

    return run


def check_outputs(
    model: onnx.ModelProto, network: PlainNetwork, images: Tensor, dtype: str
) -> float:
    """The largest difference between a logit of the model and of the network.

    Raises:
        UserError: if it is beyond the tolerance of `dtype`.
    """
    with torch.inference_mode():
        expected = network(images).numpy()
    difference = float(np.abs(session_logits(model)(images) - expected).max())
    bound = TOLERANCES[dtype] * max(1.0, float(np.abs(expected).max()))
    if not difference <= bound:
        raise UserError(
            f"the exported network differs from the supernet's: a logit by {difference:.3g}, "
            f"expected at most {bound:.3g}; nothing was written"
        )
    return difference
