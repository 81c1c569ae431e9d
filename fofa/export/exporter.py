"""From a run and an architecture to a checked file: what `fofa-export` does."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import onnx
import torch
from torch import Tensor

from fofa.data import DataSource
from fofa.data.normalising import normalised_as
from fofa.errors import UserError
from fofa.export.int8_model import int8_model
from fofa.export.onnx_file import (
    Accuracy,
    check_logits,
    check_outputs,
    describe,
    network_model,
    noise_images,
)
from fofa.files import write_bytes
from fofa.int8.ranges import IMAGES_SEED
from fofa.latency import MAX_BATCH_SIZE, Lut
from fofa.precision import Precision, parse_precision
from fofa.recalibration import calibrate, load_calibrated
from fofa.runs import Run
from fofa.runtime.graph import BUILT_TYPES
from fofa.runtime.int8 import Int8Scheme, Quantisation
from fofa.runtime.session import Logits, session_logits
from fofa.runtime.tensorrt import DEFAULT_BATCH_SIZE, build_engine, load_tensorrt
from fofa.space import Architecture
from fofa.supernet.network import PlainNetwork

QUANTISATION_BATCH = 10

Format = Literal["onnx", "torch", "openvino", "mnn", "tensorrt", "timm"]
Statistics = Literal["kept", "recalibrated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """What to export and how.

    Attributes:
        fixed_batch: images that the file always takes at once, as a latency table is measured with;
            by default any number, and 64 for an engine.
        data: training images for BatchNorm and int8, test images for the accuracy; None where
            kept statistics are to do and no accuracy is to be measured.
        calibration_images, batch_size: for BatchNorm, as `fofa-eval` uses them.
        quantisation_images: for the ranges of int8 activations.
        scheme: of int8.
        test_images: how many to measure accuracy on; None for all, 0 for no measurement.
        compute_capability: of the GPU that a TensorRT engine is for; None for the one that is here.
        luts: latency tables whose predictions a model card states.
    """

    run: Run
    architecture: Architecture
    out: Path
    format: Format = "onnx"
    dtype: Precision = "fp32"
    fixed_batch: int | None = None
    data: DataSource | None = None
    calibration_images: int = 2000
    batch_size: int = 100
    quantisation_images: int = 200
    scheme: Int8Scheme = field(default_factory=Int8Scheme)
    test_images: int | None = None
    compute_capability: str | None = None
    luts: tuple[Lut, ...] = ()

    def __post_init__(self) -> None:
        precision = parse_precision(self.dtype, BUILT_TYPES)
        object.__setattr__(self, "dtype", precision)  # an older word becomes today's
        config = self.run.record.supernet
        if config.kind == "compound" and not self.architecture.subnet.is_compound:
            raise UserError(
                f"{self.architecture.name} is not in the run's space, which is compound: "
                "a name looks like 23432@160"
            )
        if self.run.record.finetuned not in (None, self.architecture.name):
            raise UserError(
                f"{self.run.folder}: is fine-tuned for {self.run.record.finetuned} only, not for "
                f"{self.architecture.name}"
            )
        if (self.fixed_batch or 0) > MAX_BATCH_SIZE:
            raise UserError(f"fixed batch {self.fixed_batch}: expected {MAX_BATCH_SIZE} at most")
        if self.format == "torch" and (self.dtype != "fp32" or self.fixed_batch is not None):
            raise UserError(
                "PyTorch programs are exported in fp32, for batches of any size; use --format onnx"
            )
        if self.format == "timm" and (self.dtype != "fp32" or self.fixed_batch is not None):
            raise UserError("folders for timm are exported in fp32, for batches of any size")
        if self.format != "timm" and self.luts:
            raise UserError("--lut goes with --format timm, whose model card states latencies")
        if self.format == "tensorrt" and self.dtype == "int8":
            raise UserError("TensorRT engines are exported in fp32 or fp16")
        if self.format == "openvino" and self.dtype == "fp16":
            raise UserError("OpenVINO files are exported in fp32 or int8")
        if self.format == "mnn" and self.dtype != "fp32":
            raise UserError("MNN files are exported in fp32")
        if self.format != "tensorrt" and self.compute_capability is not None:
            raise UserError("--compute-capability goes with TensorRT engines")
        if self.dtype == "int8" and self.data is None:
            raise UserError("int8 needs calibration images: give --data")
        if self.data is not None:
            record = self.run.record
            data = normalised_as(self.data, record.mean, record.std)
            object.__setattr__(self, "data", data)

    @property
    def file_batch(self) -> int | None:
        """The batch size of the file; None where it is free."""
        if self.fixed_batch is None and self.format == "tensorrt":
            return DEFAULT_BATCH_SIZE
        return self.fixed_batch

    @property
    def quantisation(self) -> Quantisation:
        """How an int8 network is made."""
        return Quantisation(self.scheme, self.quantisation_images)

    def describe(self, accuracy: Accuracy | None = None) -> dict[str, str]:
        """What the file says of itself."""
        described = describe(self.run, self.architecture, self.dtype, accuracy)
        if self.dtype == "int8":
            described["quantisation"] = self.quantisation.text
        return described


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """What was written.

    Attributes:
        statistics: `kept` where evaluation's own were used, else `recalibrated`.
        max_difference: of a logit from the supernet's network in PyTorch, in int8 from the same
            network simulated in int8; None for OpenVINO's int8, whose arithmetic is its own.
        accuracy: of the file (of an engine's ONNX model); None where it was not measured.
        reference_top1: percent, of the fp32 network on the same images, for other types.
    """

    out: Path
    statistics: Statistics
    max_difference: float | None
    accuracy: Accuracy | None
    reference_top1: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `--json` prints them."""
        return {
            "out": str(self.out),
            "statistics": self.statistics,
            "max_difference": self.max_difference,
            "accuracy": asdict(self.accuracy) if self.accuracy else None,
            "reference_top1": self.reference_top1,
        }


def export_network(request: ExportRequest) -> ExportResult:
    """Calibrate, build, check, measure, and only then write.

    Raises:
        UserError: if the file would not compute what the supernet does, data is missing, or it
            cannot be written.
    """
    network, statistics = calibrated_network(request)
    if request.format == "torch":
        return _write_program(request, network, statistics)
    if request.format == "timm":
        return _write_timm(request, network, statistics)
    model, difference = _typed_model(request, network)
    if request.format in ("openvino", "mnn"):
        return _write_converted(request, network, statistics, model)
    accuracy, reference_top1 = _judged(request, network, session_logits(model), "onnxruntime")
    described = request.describe(accuracy)
    onnx.helper.set_model_props(model, described)
    model.graph.name = described["name"]
    data = model.SerializeToString()
    if request.format == "tensorrt":
        data = _engine(data, request)
    write_bytes(request.out, data)
    return ExportResult(
        out=request.out,
        statistics=statistics,
        max_difference=difference,
        accuracy=accuracy,
        reference_top1=reference_top1,
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
    supernet = request.run.load_supernet()
    return calibrate(supernet, request.architecture, batches), "recalibrated"


def torch_logits(network: PlainNetwork) -> Logits:
    """The network as a function on arrays."""

    def run(images: Tensor) -> np.ndarray:
        with torch.inference_mode():
            return network(images).numpy()

    return run


def _write_program(
    request: ExportRequest, network: PlainNetwork, statistics: Statistics
) -> ExportResult:
    """A PyTorch program, which is the fp32 network itself."""
    from fofa.export.program import write_program

    accuracy = _accuracy(request, torch_logits(network), "pytorch")
    described = request.describe(accuracy)
    size = request.architecture.resolution
    return ExportResult(
        out=request.out,
        statistics=statistics,
        max_difference=write_program(network, size, request.out, described),
        accuracy=accuracy,
        reference_top1=None,
    )


def _write_timm(
    request: ExportRequest, network: PlainNetwork, statistics: Statistics
) -> ExportResult:
    """A folder with the fp32 network's own weights under timm's names."""
    from fofa.export.timm_folder import write_folder

    accuracy = _accuracy(request, torch_logits(network), "pytorch")
    described = describe(request.run, request.architecture, request.dtype, accuracy)
    write_folder(network, request.architecture, request.out, described, request.luts)
    return ExportResult(
        out=request.out,
        statistics=statistics,
        max_difference=None,
        accuracy=accuracy,
        reference_top1=None,
    )


class _Converted(Protocol):
    """A network in the format of another runtime."""

    def logits(self) -> Logits:
        """What that runtime makes of it."""
        ...

    def write(self, path: Path) -> None:
        """Write its file or files."""
        ...


def _converted(
    request: ExportRequest, model: onnx.ModelProto, accuracy: Accuracy | None = None
) -> _Converted:
    """The model in the format asked for.

    Raises:
        UserError: if the runtime is not installed or does not take the model.
    """
    if request.format == "mnn":
        from fofa.export.mnn_file import MnnFile

        return MnnFile.of(model, request.describe(accuracy))
    from fofa.export.openvino_file import convert

    return convert(model, request.describe(accuracy))


def _write_converted(
    request: ExportRequest,
    network: PlainNetwork,
    statistics: Statistics,
    model: onnx.ModelProto,
) -> ExportResult:
    """A runtime's own files of a model, judged by what that runtime makes of them."""
    logits = _converted(request, model).logits()
    quantised = request.dtype == "int8"
    images = _check_images(request)
    difference = None if quantised else check_logits(logits, network, images, request.dtype)
    accuracy, reference_top1 = _judged(request, network, logits, request.format)
    _converted(request, model, accuracy).write(request.out)
    return ExportResult(
        out=request.out,
        statistics=statistics,
        max_difference=difference,
        accuracy=accuracy,
        reference_top1=reference_top1,
    )


def _typed_model(request: ExportRequest, network: PlainNetwork) -> tuple[onnx.ModelProto, float]:
    """The model in the type asked for, checked against PyTorch."""
    size, dtype, batch_size = request.architecture.resolution, request.dtype, request.file_batch
    images = _check_images(request)
    if dtype != "int8":
        model = network_model(network, size, {}, dtype=dtype, batch_size=batch_size)
        return model, check_outputs(model, network, images, dtype)
    check_outputs(network_model(network, size, {}), network, images, "fp32")
    assert request.data is not None  # such a request is refused when it is made
    return int8_model(
        network,
        size,
        request.data.calibration_batches(
            size, request.quantisation_images, QUANTISATION_BATCH, IMAGES_SEED
        ),
        request.quantisation,
        check=images,
        batch_size=batch_size,
    )


def _engine(model: bytes, request: ExportRequest) -> bytes:
    """The TensorRT engine of a model: the one that the profiler's plugin builds and times.

    Raises:
        UserError: if TensorRT or a GPU is missing, or TensorRT refuses the model.
    """
    runtime = load_tensorrt()
    if request.compute_capability is None and not torch.cuda.is_available():
        raise UserError(
            "no NVIDIA GPU to build an engine for; TensorRT-RTX builds without one when "
            "--compute-capability names it"
        )
    return build_engine(
        runtime,
        model,
        batch_size=request.file_batch or DEFAULT_BATCH_SIZE,
        compute_capability=request.compute_capability,
    )


def _check_images(request: ExportRequest) -> Tensor:
    """A batch of test images, or noise where there is no data."""
    size = request.architecture.resolution
    if request.data is None:
        return noise_images(size)
    return next(iter(request.data.test_batches(size, batch_size=8, limit=8)))[0].cpu()


def _judged(
    request: ExportRequest, network: PlainNetwork, logits: Logits, runtime: str
) -> tuple[Accuracy | None, float | None]:
    """Top-1 of the file, and of the fp32 network where the file is of another type."""
    accuracy = _accuracy(request, logits, runtime)
    if accuracy is None or request.dtype == "fp32":
        return accuracy, None
    reference = _accuracy(request, torch_logits(network), "pytorch")
    return accuracy, None if reference is None else reference.top1


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
