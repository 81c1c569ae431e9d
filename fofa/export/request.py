"""What `fofa-export` is asked for, and what it hands back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from fofa.data import DataSource
from fofa.errors import UserError
from fofa.export.formats import DType, Format
from fofa.export.metadata import Accuracy
from fofa.runs import Run
from fofa.space import Architecture

Statistics = Literal["kept", "recalibrated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """What to export and how.

    Attributes:
        data: training images for BatchNorm and int8, test images for the accuracy; None where
            kept statistics are to do and no accuracy is to be measured.
        calibration_images, batch_size: for BatchNorm, as `fofa-eval` uses them.
        quantisation_images: for the ranges of int8 activations.
        test_images: how many to measure accuracy on; None for all, 0 for no measurement.
        max_batch: largest batch of a TensorRT engine.
        compute_capability: of the GPU that a TensorRT engine is for; None for the one that is here.
    """

    run: Run
    architecture: Architecture
    out: Path
    format: Format = "onnx"
    dtype: DType = "float32"
    data: DataSource | None = None
    calibration_images: int = 2000
    batch_size: int = 100
    quantisation_images: int = 200
    test_images: int | None = None
    max_batch: int = 1
    compute_capability: str | None = None

    def __post_init__(self) -> None:
        config = self.run.record.supernet
        if config.kind == "compound" and not self.architecture.subnet.is_compound:
            raise UserError(
                f"{self.architecture.name} is not in the run's space, which is compound: "
                "a name looks like 23432@160"
            )
        if self.format == "torch" and self.dtype != "float32":
            raise UserError("PyTorch programs are exported in float32; use --format onnx")
        if self.format == "tensorrt" and self.dtype == "int8":
            raise UserError("TensorRT engines are exported in float32 or float16")
        if self.format != "tensorrt" and self.compute_capability is not None:
            raise UserError("--compute-capability goes with TensorRT engines")
        if self.dtype == "int8" and self.data is None:
            raise UserError("int8 needs calibration images: give --data")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """What was written.

    Attributes:
        statistics: `kept` where evaluation's own were used, else `recalibrated`.
        max_difference: of a logit from the supernet's network; None for int8, which differs.
        accuracy: of the file (of an engine's ONNX model); None where it was not measured.
        reference_top1: percent, of the float32 network on the same images, for other types.
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
