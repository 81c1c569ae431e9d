"""Synthetic accuracy tables and latency tables. They are fixtures, never results."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import made_up_tables
import pytest

from fofa.accuracy import AccuracyTable, EvaluationRecord, ProxyRecord
from fofa.latency import DeviceRecord, Lut, ProtocolRecord, Stability
from fofa.space import Architecture, NetworkConfig, SearchSpace, macs

SMALL = (32, 40, 48, 56)
LARGE = (128, 160, 192, 224)
COST = {"ofa": 40.0, "compofa": 20.0, "fofa-n3": 10.0, "fofa-n4": 12.0, "fofa-n4-300": 20.0}
EPOCHS = {"ofa": 605, "compofa": 330, "fofa-n3": 185, "fofa-n4": 185, "fofa-n4-300": 300}
PLUGINS = {"measured": "onnxruntime", "published": "published", "estimated": "roofline"}


@functools.cache
def shares_of_the_largest(resolutions: tuple[int, ...]) -> dict[Architecture, float]:
    """Multiply-adds of every architecture, as shares of the most, for 10 classes."""
    config = NetworkConfig(num_classes=10)
    found = {a: macs(a, config) for a in SearchSpace(resolutions=resolutions).architectures()}
    most = max(found.values())
    return {architecture: cost / most for architecture, cost in found.items()}


def build_accuracy(
    recipe: str = "fofa-n3",
    *,
    seed: int = 0,
    bonus: float = 0.0,
    resolutions: Sequence[int] = SMALL,
    scale: int | None = 4,
    **fields: Any,
) -> AccuracyTable:
    """An accuracy table in which larger networks are better, with a little noise by recipe."""
    noise = random.Random(f"{recipe}-{seed}")
    shares = shares_of_the_largest(tuple(resolutions))
    proxy = ProxyRecord(resolution_scale=scale, reason="small images for a CPU") if scale else None
    values = {
        "recipe": recipe,
        "dataset": "cifar10",
        "preset": "cifar10-small",
        "training": made_up_tables.make_training(
            epochs=EPOCHS.get(recipe, 100) / 10,
            core_hours=COST.get(recipe, 5.0) + 0.1 * seed,
            device="synthetic CPU",
            images_per_second=100.0,
            seed=seed,
            epoch_scale=0.1,
            train_images=5000,
        ),
        "evaluation": EvaluationRecord(calibration_images=2000, test_images=10000, split="test"),
        "proxy": proxy,
    }
    return made_up_tables.make_accuracy(
        num_classes=10,
        resolutions=resolutions,
        top1=lambda a: round(60 + 25 * shares[a] ** 0.35 + bonus + noise.uniform(-0.3, 0.3), 2),
        **values | fields,
    )


def build_trained_within(
    recipe: str,
    budget: float | None,
    *,
    seed: int = 0,
    epochs: float = 3.0,
    epoch_scale: float | None = 0.1,
    **fields: Any,
) -> AccuracyTable:
    """An accuracy table of a training that kept to `budget` core-hours within a few percent."""
    off = random.Random(f"{recipe}-{seed}-{budget}").uniform(-0.03, 0.03)
    training = made_up_tables.make_training(
        epochs=epochs,
        core_hours=(budget or COST.get(recipe, 5.0)) * (1 + off),
        budget_hours=budget,
        device="synthetic CPU",
        seed=seed,
        epoch_scale=epoch_scale,
        train_images=10_000,
    )
    return build_accuracy(recipe, seed=seed, **{"training": training} | fields)


def build_lut(
    device: str = "epyc7763",
    *,
    method: str = "measured",
    matches: bool | None = False,
    factor: float = 1.0,
    resolutions: Sequence[int] = LARGE,
    hardware: str = "Synthetic CPU 9000",
    mape: float = 1.0,
    stable: bool | None = True,
    **fields: Any,
) -> Lut:
    """A latency table that says where it is from, as published, estimated or measured ones do.

    Its networks take 2 to 12 ms times `factor`.
    """
    measured = method == "measured"
    reasons = [] if stable else ["the canary drifted by 30%"]
    values = {
        "device": DeviceRecord(
            requested=device,
            measured_on={"cpu": {"model": hardware}, "gpus": []} if measured else {},
            matches=matches if measured else None,
        ),
        "method": method,
        "protocol": ProtocolRecord(
            plugin=PLUGINS[method],
            runtime="onnxruntime 1.20" if measured else method,
            dtype="fp32",
            batch_size=1,
            threads=1 if measured else None,
        ),
        "validation": made_up_tables.make_validation(mape) if measured else None,
        "stability": Stability(stable=stable, reasons=reasons)
        if measured and stable is not None
        else None,
    }
    lut = made_up_tables.make_lut(resolutions=resolutions, slowdown=0.35 * factor, **fields)
    return lut.model_copy(update=values)


@pytest.fixture(scope="session")
def make_accuracy() -> Callable[..., AccuracyTable]:
    """The function that makes synthetic accuracy tables."""
    return build_accuracy


@pytest.fixture(scope="session")
def trained_within() -> Callable[..., AccuracyTable]:
    """The function that makes accuracy tables of trainings within a budget."""
    return build_trained_within


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
