"""Latency and accuracy tables made up for tests, with every number known, and tiny runs.

torch takes seconds to import, and most tests need none: fixtures import it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fofa.accuracy import (
    AccuracyTable,
    ArchitectureAccuracy,
    EvaluationRecord,
    ProxyRecord,
    SpaceRecord,
    TrainingRecord,
)
from fofa.latency import Calibration, DeviceRecord, Lut, LutEntry, ProtocolRecord, required_keys
from fofa.space import Architecture, SearchSpace, macs, params

if TYPE_CHECKING:
    from fofa.runs import Run
    from fofa.supernet.model import Supernet

MakeLut = Callable[..., Lut]
MakeAccuracy = Callable[..., AccuracyTable]
MakeRun = Callable[..., "Run"]


def block_latency(resolution: int, stage: int | None, expand: int | None) -> float:
    """A made-up latency that grows with resolution, expand ratio and, gently, stage."""
    return resolution / 1000 * (expand or 1) * (1 + (stage or 0) / 10)


@pytest.fixture
def make_lut() -> MakeLut:
    """A factory of LUTs whose entries follow `block_latency`."""

    def make(
        *,
        kind: str = "compound",
        width_mult: float = 1.0,
        resolutions: tuple[int, ...] = (128, 160),
        method: str = "measured",
        device: str = "cpu",
        calibration: dict[str, Calibration] | None = None,
        slowdown: float = 1.0,
    ) -> Lut:
        space = SearchSpace(kind=kind, width_mult=width_mult, resolutions=resolutions)  # type: ignore[arg-type]
        entries = [
            LutEntry(
                resolution=resolution,
                position=key.position,
                stage=key.stage,
                block=key.block,
                kernel=key.kernel,
                expand=key.expand,
                latency_ms=slowdown * block_latency(resolution, key.stage, key.expand),
            )
            for resolution in resolutions
            for key in required_keys(space)
        ]
        return Lut(
            device=DeviceRecord(requested=device, measured_on={"cpu": "made up"}, matches=None),
            method=method,  # type: ignore[arg-type]
            protocol=ProtocolRecord(
                plugin="onnxruntime", runtime="none", dtype="fp32", batch_size=1, threads=1
            ),
            space=SpaceRecord.of(space),
            entries=entries,
            calibration=calibration or {},
        )

    return make


@pytest.fixture
def make_accuracy() -> MakeAccuracy:
    """A factory of accuracy tables: top-1 rises with multiply-adds unless a function says other."""

    def make(
        *,
        recipe: str = "fofa-n3",
        resolutions: tuple[int, ...] = (128, 160),
        top1: Callable[[Architecture], float] | None = None,
        proxy: ProxyRecord | None = None,
        width_mult: float = 1.0,
    ) -> AccuracyTable:
        space = SearchSpace(width_mult=width_mult, resolutions=resolutions)
        architectures = list(space.architectures())
        most = max(macs(architecture) for architecture in architectures)
        score = top1 or (lambda architecture: 60 + 20 * macs(architecture) / most)
        return AccuracyTable(
            recipe=recipe,
            dataset="made-up",
            space=SpaceRecord.of(space),
            training=TrainingRecord(
                epochs=1, gpu_hours=0, device="none", images_per_second=1, seed=0
            ),
            evaluation=EvaluationRecord(calibration_images=10, test_images=10, split="test"),
            proxy=proxy,
            architectures=[
                ArchitectureAccuracy(
                    name=a.name, top1=score(a), top5=100, macs=macs(a), params=params(a)
                )
                for a in architectures
            ],
        )

    return make


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch on one thread: results repeat, and tests leave the other cores alone."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make_run() -> MakeRun:
    """A factory of run folders on `shapes`, by default of an untrained supernet of width 0.25."""
    import torch

    from fofa.data import shapes
    from fofa.runs import RECORD_NAME, WEIGHTS_NAME, Run, RunRecord
    from fofa.supernet.config import SupernetConfig
    from fofa.supernet.model import Supernet
    from fofa.supernet.weights import save_weights

    def make(folder: Path, supernet: Supernet | None = None, **fields: Any) -> Run:
        if supernet is None:
            torch.manual_seed(0)
            num_classes = len(shapes.CLASS_NAMES)
            supernet = Supernet(SupernetConfig(width_mult=0.25, num_classes=num_classes))
        save_weights(supernet, folder / WEIGHTS_NAME)
        record = {
            "recipe": "fofa-n3",
            "preset": "shapes",
            "dataset": "shapes",
            "data_spec": "shapes",
            "class_names": list(shapes.CLASS_NAMES),
            "mean": shapes.MEAN,
            "std": shapes.STD,
            "supernet": supernet.config,
            "resolutions": [24, 32],
            "training": TrainingRecord(
                epochs=0, gpu_hours=0, device="none", images_per_second=0, seed=0
            ),
            "status": "finished",
            "step": 0,
        }
        RunRecord(**record | fields).write(folder / RECORD_NAME)
        return Run.open(folder)

    return make
