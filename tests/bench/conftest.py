"""Synthetic accuracy tables and latency tables. They are fixtures, never results."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from fofa.accuracy import (
    AccuracyTable,
    ArchitectureAccuracy,
    EvaluationRecord,
    ProxyRecord,
    SpaceRecord,
    TrainingRecord,
)
from fofa.latency import (
    DeviceRecord,
    Lut,
    LutEntry,
    ProtocolRecord,
    Stability,
    Validation,
    required_keys,
)
from fofa.space import NetworkConfig, SearchSpace, macs, params

SMALL = (32, 40, 48, 56)
LARGE = (128, 160, 192, 224)
COST = {"ofa": 40.0, "compofa": 20.0, "fofa-n3": 10.0, "fofa-n4": 12.0, "fofa-n4-300": 20.0}
EPOCHS = {"ofa": 605, "compofa": 330, "fofa-n3": 185, "fofa-n4": 185, "fofa-n4-300": 300}


@functools.cache
def costs_of(space: SearchSpace) -> list[tuple[str, int, int]]:
    """Name, multiply-adds and parameters of every architecture, for 10 classes."""
    config = NetworkConfig(num_classes=10)
    return [(a.name, macs(a, config), params(a, config)) for a in space.architectures()]


def build_accuracy(
    recipe: str = "fofa-n3",
    *,
    seed: int = 0,
    bonus: float = 0.0,
    dataset: str = "cifar10",
    resolutions: Sequence[int] = SMALL,
    scale: int | None = 4,
    **fields: Any,
) -> AccuracyTable:
    """An accuracy table in which larger networks are better, with a little noise by recipe."""
    space = SearchSpace(resolutions=tuple(resolutions))
    noise = random.Random(f"{recipe}-{seed}")
    costs = costs_of(space)
    largest = max(cost for _, cost, _ in costs)
    rows = [
        ArchitectureAccuracy(
            name=name,
            top1=round(60 + 25 * (cost / largest) ** 0.35 + bonus + noise.uniform(-0.3, 0.3), 2),
            top5=99.0,
            macs=cost,
            params=size,
        )
        for name, cost, size in costs
    ]
    proxy = ProxyRecord(resolution_scale=scale, reason="small images for a CPU") if scale else None
    return AccuracyTable(
        **{
            "recipe": recipe,
            "dataset": dataset,
            "preset": "cifar10-small",
            "space": SpaceRecord.of(space),
            "training": TrainingRecord(
                epochs=EPOCHS.get(recipe, 100) / 10,
                gpu_hours=0,
                core_hours=COST.get(recipe, 5.0) + 0.1 * seed,
                device="synthetic CPU",
                images_per_second=100.0,
                seed=seed,
                epoch_scale=0.1,
                train_images=5000,
            ),
            "evaluation": EvaluationRecord(
                calibration_images=2000, test_images=10000, split="test"
            ),
            "proxy": proxy,
            "architectures": rows,
        }
        | fields
    )


def build_lut(
    device: str = "epyc7763",
    *,
    method: str = "measured",
    matches: bool | None = False,
    factor: float = 1.0,
    resolutions: Sequence[int] = LARGE,
    width_mult: float = 1.0,
    hardware: str = "Synthetic CPU 9000",
    mape: float = 1.0,
    stable: bool | None = True,
    **fields: Any,
) -> Lut:
    """A latency table whose blocks cost what their size suggests."""
    space = SearchSpace(resolutions=tuple(resolutions), width_mult=width_mult)
    entries = []
    for resolution in space.resolutions:
        for key in required_keys(space):
            weight = 0.05 if key.stage is None else 0.02 * key.expand * (6 - key.stage) ** 0.5
            entries.append(
                LutEntry(
                    resolution=resolution,
                    position=key.position,
                    stage=key.stage,
                    block=key.block,
                    kernel=key.kernel,
                    expand=key.expand,
                    latency_ms=factor * weight * (resolution / 100) ** 1.6,
                )
            )
    measured = method == "measured"
    return Lut(
        **{
            "device": DeviceRecord(
                requested=device,
                measured_on={"cpu": {"model": hardware}, "gpus": []} if measured else {},
                matches=matches if measured else None,
            ),
            "method": method,
            "protocol": ProtocolRecord(
                plugin={"measured": "onnxruntime", "published": "published"}.get(
                    method, "roofline"
                ),
                runtime="onnxruntime 1.20" if measured else method,
                dtype="fp32",
                batch_size=1,
                threads=1 if measured else None,
            ),
            "space": SpaceRecord.of(space),
            "entries": entries,
            "validation": Validation(
                networks=20,
                mape_percent=mape,
                max_percent=3 * mape,
                within_5_percent=100,
                within_10_percent=100,
                kendall_tau=0.98,
                noise_percent=0.5,
            )
            if measured
            else None,
            "stability": Stability(
                stable=stable, reasons=[] if stable else ["the canary drifted by 30%"]
            )
            if measured and stable is not None
            else None,
        }
        | fields
    )


@pytest.fixture(scope="session")
def make_accuracy() -> Callable[..., AccuracyTable]:
    """The function that makes synthetic accuracy tables."""
    return build_accuracy


@pytest.fixture(scope="session")
def make_lut() -> Callable[..., Lut]:
    """The function that makes synthetic latency tables."""
    return build_lut


@pytest.fixture(scope="session")
def accuracy_tables() -> dict[str, AccuracyTable]:
    """One synthetic accuracy table per file stem: the paper's recipes, sandwich, a second seed."""
    tables = {recipe: build_accuracy(recipe) for recipe in (*COST, "sandwich")}
    tables["fofa-n3-seed1"] = build_accuracy("fofa-n3", seed=1, bonus=0.2)
    return tables


@pytest.fixture(scope="session")
def luts() -> dict[str, Lut]:
    """Synthetic latency tables under the names that the project uses."""
    return {
        "note10": build_lut(
            "note10", method="published", width_mult=1.2, resolutions=(160, 192, 224), factor=4.0
        ),
        "a100": build_lut("a100", method="estimated", factor=0.3),
        "pascal": build_lut("pascal", method="estimated", factor=1.0),
        "epyc": build_lut("epyc7763"),
    }


@pytest.fixture(scope="session")
def write_project(
    accuracy_tables: dict[str, AccuracyTable], luts: dict[str, Lut]
) -> Callable[[Path], Path]:
    """Write the synthetic tables as a project has them: reports/accuracy and luts."""

    def write(folder: Path) -> Path:
        for name, table in accuracy_tables.items():
            table.write(folder / "reports/accuracy" / f"{name}.json")
        for name, lut in luts.items():
            lut.write(folder / "luts" / f"{name}.json")
        return folder

    return write


@pytest.fixture
def project(tmp_path: Path, write_project: Callable[[Path], Path]) -> Path:
    """A folder of one's own with the synthetic tables in it."""
    return write_project(tmp_path)


@pytest.fixture(scope="session")
def shared_project(
    tmp_path_factory: pytest.TempPathFactory, write_project: Callable[[Path], Path]
) -> Path:
    """The same, made once; tests that use it only read."""
    return write_project(tmp_path_factory.mktemp("project"))
