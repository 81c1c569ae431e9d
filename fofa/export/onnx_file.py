"""Networks as ONNX files: built, described, run by onnxruntime, and compared with PyTorch.

What a file says about its network, so that whoever has it can use it, stands in `metadata_props`
(in a PyTorch program in the extra file `fofa.json`); lists are JSON. Inputs are RGB images of
`input_size` pixels square, values 0 to 1, less `mean`, over `std`; `crop` says whether they are
cropped to the `centre` first (resized to 256/224 of the size) or resized `whole`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from torch import Tensor

from fofa.errors import UserError
from fofa.export.classifier import crops_images
from fofa.families import family_data
from fofa.files import write_bytes
from fofa.precision import Precision
from fofa.runs import Run
from fofa.runtime.folding import folded_weights
from fofa.runtime.graph import build_model
from fofa.runtime.int8 import Int8Scheme, PointRanges
from fofa.runtime.session import Logits, session_logits
from fofa.space import MOBILENETV3, Architecture, macs, network_blocks, params
from fofa.supernet.network import PlainNetwork

TOLERANCES = {"fp32": 1e-4, "fp16": 5e-2}
"""Largest difference of a logit: absolute where logits stay within 1, relative to the largest logit
beyond."""
CHECK_IMAGES = 4
CROP: Final = "centre"
WHOLE: Final = "whole"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Top-1 accuracy, in percent, of the exported file itself, or of an engine's ONNX model.

    `runtime` is what ran it: an engine needs its own GPU, so its model is run by onnxruntime.
    """

    top1: float
    test_images: int
    data: str
    runtime: str


def describe(
    run: Run, architecture: Architecture, dtype: Precision, accuracy: Accuracy | None = None
) -> dict[str, str]:
    """Name, input, normalisation, classes, size and, where it was measured, accuracy."""
    record = run.record
    config = record.supernet.network
    described = {
        "name": f"{record.recipe} {architecture.name}",
        "architecture": architecture.name,
        "recipe": record.recipe,
        "dataset": record.dataset,
        "width_mult": f"{config.width_mult:g}",
        "dtype": dtype,
        "input_size": str(architecture.resolution),
        "mean": json.dumps(record.mean),
        "std": json.dumps(record.std),
        "crop": CROP if crops_images(run) else WHOLE,
        "class_names": json.dumps(record.class_names, ensure_ascii=False),
        "macs": str(macs(architecture, config)),
        "params": str(params(architecture, config)),
    }
    if config.family != MOBILENETV3:
        described["family"] = json.dumps(family_data(config.family))
    if accuracy is not None:
        described["top1"] = f"{accuracy.top1:.6g}"
        described["top1_test_images"] = str(accuracy.test_images)
        described["top1_data"] = accuracy.data
        described["top1_runtime"] = accuracy.runtime
    return described


def network_model(
    network: PlainNetwork,
    resolution: int,
    metadata: Mapping[str, str],
    *,
    dtype: Precision = "fp32",
    batch_size: int | None = None,
    scheme: Int8Scheme | None = None,
    ranges: PointRanges | None = None,
) -> onnx.ModelProto:
    """The graph that latency tables are measured with, holding the weights of `network`.

    Args:
        batch_size: None leaves it free.
        scheme, ranges: of int8, as `build_model` takes them.

    Raises:
        UserError: if a weight does not fit into fp16.
    """
    blocks = network_blocks(network.subnet, resolution, network.network_config)
    model = build_model(
        blocks,
        batch_size,
        dtype,
        weights=folded_weights(network),
        scheme=scheme,
        ranges=ranges,
        name=metadata.get("name", "network"),
    )
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    return model


def write_onnx(
    network: PlainNetwork,
    resolution: int,
    path: Path,
    metadata: Mapping[str, str],
    *,
    dtype: Precision = "fp32",
    batch_size: int | None = None,
) -> float:
    """Write a network in evaluation mode as ONNX; return the largest logit difference.

    Nothing is written unless onnxruntime computes what PyTorch does.

    Raises:
        UserError: if the outputs differ, or the file cannot be written.
    """
    model = network_model(network, resolution, metadata, dtype=dtype, batch_size=batch_size)
    difference = check_outputs(model, network, noise_images(resolution), dtype)
    write_bytes(path, model.SerializeToString())
    return difference


def noise_images(resolution: int, num: int = CHECK_IMAGES) -> Tensor:
    """Standard normal images [num, 3, R, R], the same ones every time."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(num, 3, resolution, resolution, generator=generator)


def check_outputs(
    model: onnx.ModelProto, network: PlainNetwork, images: Tensor, dtype: Precision
) -> float:
    """The largest difference between a logit of the model and of the network.

    Raises:
        UserError: if it is beyond the tolerance of `dtype`.
    """
    return check_logits(session_logits(model), network, images, dtype)


def check_logits(logits: Logits, network: PlainNetwork, images: Tensor, dtype: Precision) -> float:
    """The same for a network that any runtime runs.

    Raises:
        UserError: if the difference is beyond the tolerance of `dtype`.
    """
    with torch.inference_mode():
        expected = network(images).numpy()
    difference = float(np.abs(logits(images) - expected).max())
    bound = TOLERANCES[dtype] * max(1.0, float(np.abs(expected).max()))
    if not difference <= bound:
        raise UserError(
            f"the exported network differs from the supernet's: a logit by {difference:.3g}, "
            f"expected at most {bound:.3g}; nothing was written"
        )
    return difference
