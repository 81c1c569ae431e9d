"""What an exported file says about its network, so that whoever has the file can use it.

In ONNX these are `metadata_props`, in a PyTorch program the extra file `fofa.json`. Lists are JSON.
Inputs are RGB images of `input_size` pixels square, values 0 to 1, less `mean`, over `std`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from fofa.export.formats import DType
from fofa.runs import Run
from fofa.space import Architecture, macs, params


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
    run: Run, architecture: Architecture, dtype: DType, accuracy: Accuracy | None = None
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
        "class_names": json.dumps(record.class_names, ensure_ascii=False),
        "macs": str(macs(architecture, config)),
        "params": str(params(architecture, config)),
    }
    if accuracy is not None:
        described["top1"] = f"{accuracy.top1:.6g}"
        described["top1_test_images"] = str(accuracy.test_images)
        described["top1_data"] = accuracy.data
        described["top1_runtime"] = accuracy.runtime
    return described
