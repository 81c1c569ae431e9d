"""From a run and an architecture to a checked file: what `fofa-export` does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import torch
from torch import Tensor

from fofa.errors import UserError
from fofa.evaluate.calibrate import calibrate
from fofa.evaluate.kept import load_calibrated
from fofa.export.metadata import Accuracy, describe
from fofa.export.onnx_file import check_outputs, noise_images, session_logits
from fofa.export.onnx_graph import build_model
from fofa.export.request import ExportRequest, ExportResult, Statistics
from fofa.files import write_bytes
from fofa.supernet.network import PlainNetwork
from fofa.supernet.weights import load_supernet

QUANTISATION_BATCH, QUANTISATION_SEED = 10, 1

Logits = Callable[[Tensor], np.ndarray]
"""Images [N, 3, R, R] to logits (N, classes)."""


def deliver(request: ExportRequest) -> ExportResult:
    """Calibrate, build, check, measure, and only then write.

    Raises:
        UserError: if the file would not compute what the supernet does, data is missing, or it
            cannot be written.
    """
    network, statistics = calibrated_network(request)
    if request.format == "torch":
        return _deliver_program(request, network, statistics)
    model, difference = _typed_model(request, network)
    accuracy = _accuracy(request, session_logits(model), "onnxruntime")
    reference = None
    if accuracy is not None and request.dtype != "float32":
        reference = _accuracy(request, torch_logits(network), "pytorch")
    described = describe(request.run, request.architecture, request.dtype, accuracy)
    onnx.helper.set_model_props(model, described)
    model.graph.name = described["name"]
    data = model.SerializeToString()
    if request.format == "tensorrt":
        from fofa.export.engine import write_engine

        size = request.architecture.resolution
        write_engine(
            data,
            size,
            request.out,
            max_batch=request.max_batch,
            compute_capability=request.compute_capability,
        )
    else:
        write_bytes(request.out, data)
    return ExportResult(
        out=request.out,
        statistics=statistics,
        max_difference=difference,
        accuracy=accuracy,
        reference_top1=reference.top1 if reference else None,
    )


def calibrated_network(request: ExportRequest) -> tuple[PlainNetwork, Statistics]:
    """The plain network with the statistics kept by evaluation, else recalibrated on `data`.

    Raises:
        UserError: if none were kept and there is no data.
    """
    kept = load_calibrated(request.run, request.architecture)
    if kept is not None:
        return kept, "kept"
    if request.data is None:
        raise UserError(
            f"no BatchNorm statistics of {request.architecture.name} are kept in the run: give "
            "--data, or keep them with fofa-eval --keep-statistics"
        )
    batches = request.data.calibration_batches(
        request.architecture.resolution, request.calibration_images, request.batch_size
    )
    supernet = load_supernet(request.run)
    return calibrate(supernet, request.architecture, batches), "recalibrated"


def torch_logits(network: PlainNetwork) -> Logits:
    """The network as a function on arrays."""

    def run(images: Tensor) -> np.ndarray:
        with torch.inference_mode():
            return network(images).numpy()

    return run


def _deliver_program(
    request: ExportRequest, network: PlainNetwork, statistics: Statistics
) -> ExportResult:
    """A PyTorch program, which is the float32 network itself."""
    from fofa.export.program import write_program

    accuracy = _accuracy(request, torch_logits(network), "pytorch")
    described = describe(request.run, request.architecture, request.dtype, accuracy)
    size = request.architecture.resolution
    return ExportResult(
        out=request.out,
        statistics=statistics,
        max_difference=write_program(network, size, request.out, described),
        accuracy=accuracy,
        reference_top1=None,
    )


def _typed_model(
    request: ExportRequest, network: PlainNetwork
) -> tuple[onnx.ModelProto, float | None]:
    """The model in the type asked for, checked against PyTorch; int8 is judged by its accuracy."""
    size = request.architecture.resolution
    if request.dtype == "float16":
        model = build_model(network, size, {}, half=True)
        return model, check_outputs(model, network, _check_images(request), "float16")
    model = build_model(network, size, {})
    difference = check_outputs(model, network, _check_images(request), "float32")
    if request.dtype == "float32":
        return model, difference
    from fofa.export.quantise import quantise

    assert request.data is not None  # such a request is refused when it is made
    batches = request.data.calibration_batches(
        size, request.quantisation_images, QUANTISATION_BATCH, QUANTISATION_SEED
    )
    return quantise(model, batches), None


def _check_images(request: ExportRequest) -> Tensor:
    """A batch of test images, or noise where there is no data."""
    size = request.architecture.resolution
    if request.data is None:
        return noise_images(size)
    return next(iter(request.data.test_batches(size, batch_size=8, limit=8)))[0].cpu()


def _accuracy(request: ExportRequest, logits: Logits, runtime: str) -> Accuracy | None:
    """Top-1 on the test images; None where none is to be measured."""
    if request.data is None or request.test_images == 0:
        return None
    correct = total = 0
    for images, labels in request.data.test_batches(
        request.architecture.resolution, request.batch_size, request.test_images
    ):
        predicted = logits(images.cpu()).argmax(axis=1)
        correct += int((predicted == labels.cpu().numpy()).sum())
        total += len(predicted)
    if not total:
        raise UserError(f"{request.data.name} has no test images")
    return Accuracy(
        top1=100 * correct / total, test_images=total, data=request.data.name, runtime=runtime
    )
