"""Latency and accuracy tables made up for tests, with every number known: fixtures, no results."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fofa.accuracy import (
    AccuracyTable,
    ArchitectureAccuracy,
    EvaluationRecord,
    Int8Record,
    SpaceRecord,
    TrainingRecord,
)
from fofa.latency import DeviceRecord, EnergyRecord, Lut, LutEntry, ProtocolRecord
from fofa.space import (
    Architecture,
    BlockSpec,
    NetworkConfig,
    SearchSpace,
    SpaceKind,
    macs,
    params,
)
from fofa.validation import Validation


def block_ms(block: BlockSpec, resolution: int) -> float:
    """A latency that grows with resolution and expand ratio, and gently with the stage."""
    key = block.key
    return resolution / 1000 * (key.expand or 1) * (1 + (key.stage or 0) / 10)


def make_lut(
    *,
    kind: SpaceKind = "compound",
    width_mult: float = 1.0,
    resolutions: Sequence[int] = (128, 160),
    device: str = "cpu",
    slowdown: float = 1.0,
    **fields: Any,
) -> Lut:
    """A table whose blocks take `slowdown` times their `block_ms`; `fields` are those of `Lut`."""
    space = SearchSpace(kind=kind, width_mult=width_mult, resolutions=tuple(resolutions))
    config = NetworkConfig(width_mult=width_mult)
    values = {
        "device": DeviceRecord(requested=device, measured_on={"cpu": "made up"}, matches=None),
        "method": "measured",
        "protocol": ProtocolRecord(
            plugin="onnxruntime", runtime="none", dtype="fp32", batch_size=1, threads=1
        ),
        "space": SpaceRecord.of(space),
        "entries": [
            LutEntry.of(block, slowdown * block_ms(block, resolution), resolution=resolution)
            for resolution in resolutions
            for block in space.unique_blocks(resolution, config)
        ],
    }
    return Lut(**values | fields)


def in_int8(lut: Lut) -> Lut:
    """The same table, of networks in int8."""
    protocol = lut.protocol.model_copy(update={"dtype": "int8"})
    return lut.model_copy(update={"protocol": protocol})


def int8_evaluation(**fields: Any) -> EvaluationRecord:
    """That an accuracy table was made of int8 networks; `fields` are those of `Int8Record`."""
    values = {
        "calibration": "minmax",
        "granularity": "channel",
        "float_parts": "none",
        "range_images": 9,
        "checks": [],
    }
    return EvaluationRecord(
        calibration_images=50,
        test_images=10,
        split="test",
        precision="int8",
        int8=Int8Record(**values | fields),
    )


def with_energies(lut: Lut, block_mj: Callable[[LutEntry], float]) -> Lut:
    """The table with an energy for each entry, and an offset that rises with the resolution."""
    entries = [e.model_copy(update={"energy_mj": block_mj(e)}) for e in lut.entries]
    record = EnergyRecord(
        source="made up",
        idle_watts=1.0,
        window_seconds=1.0,
        noise_percent=0.5,
        networks=1,
        mape_percent=1.0,
        max_percent=2.0,
        offset_mj={str(resolution): resolution / 100 for resolution in lut.space.resolutions},
        measured_mj={},
    )
    return Lut.model_validate(lut.model_dump() | {"entries": entries, "energy": record})


def make_validation(mape_percent: float, noise_percent: float = 0.5) -> Validation:
    """The validation of a table that is off by `mape_percent` on the average."""
    return Validation(
        networks=20,
        mape_percent=mape_percent,
        max_percent=3 * mape_percent,
        within_5_percent=100,
        within_10_percent=100,
        kendall_tau=0.98,
        noise_percent=noise_percent,
    )


@functools.cache
def cost_of(architecture: Architecture, config: NetworkConfig) -> tuple[int, int]:
    """Multiply-adds and parameters, counted once for all tables."""
    return macs(architecture, config), params(architecture, config)


def make_accuracy(
    *,
    kind: SpaceKind = "compound",
    width_mult: float = 1.0,
    num_classes: int = 1000,
    resolutions: Sequence[int] = (128, 160),
    architectures: Iterable[Architecture] | None = None,
    top1: Callable[[Architecture], float] | None = None,
    **fields: Any,
) -> AccuracyTable:
    """A table in which top-1 rises with multiply-adds, or is what `top1` says.

    It holds every compound architecture unless `architectures` are given; `fields` are those of
    `AccuracyTable`.
    """
    space = SearchSpace(kind=kind, width_mult=width_mult, resolutions=tuple(resolutions))
    config = NetworkConfig(width_mult=width_mult, num_classes=num_classes)
    chosen = list(space.architectures() if architectures is None else architectures)
    costs = {architecture: cost_of(architecture, config) for architecture in chosen}
    most = max(cost for cost, _ in costs.values())
    values = {
        "recipe": "fofa-n3",
        "dataset": "made-up",
        "space": SpaceRecord.of(space),
        "training": make_training(),
        "evaluation": EvaluationRecord(calibration_images=10, test_images=10, split="test"),
        "architectures": [
            ArchitectureAccuracy(
                name=a.name,
                top1=top1(a) if top1 else 60 + 20 * cost / most,
                top5=100,
                macs=cost,
                params=size,
            )
            for a, (cost, size) in costs.items()
        ],
    }
    return AccuracyTable(**values | fields)


def make_training(**fields: Any) -> TrainingRecord:
    """The record of a training that nobody did; `fields` are those of `TrainingRecord`."""
    values = {"epochs": 1, "gpu_hours": 0, "device": "none", "images_per_second": 1, "seed": 0}
    return TrainingRecord(**values | fields)


def timed_entries(lut: Lut) -> list[LutEntry]:
    """A table's entries without how often each block ran, which follows from the wall time left."""
    return [entry.model_copy(update={"samples": 0}) for entry in lut.entries]
