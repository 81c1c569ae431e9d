"""The whole path in Python, for notebooks and scripts.

    from fofa import api

    run = api.open_run("runs/flowers")
    lut = api.load_lut("luts/laptop.json")
    table = api.load_accuracy("reports/accuracy/flowers.json")
    best = api.search(lut, table, max_latency_ms=5.0)
    network = api.extract(run, best.architecture)
    network.predict("tulip.jpg")
    api.export(run, best.architecture, "flowers.onnx")

Functions here only put together what the packages do; everything they raise for a person to mend is
a `fofa.errors.UserError` of one line.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fofa.accuracy import AccuracyTable
from fofa.data import DataSource, open_data
from fofa.errors import UserError
from fofa.export.classifier import ImageClassifier, Prediction
from fofa.export.exporter import (
    ExportRequest,
    ExportResult,
    calibrated_network,
    export_network,
)
from fofa.latency import Lut
from fofa.precision import Precision
from fofa.predictor.model import Predictor
from fofa.predictor.model import load_predictor as _load_predictor
from fofa.recalibration import load_calibrated
from fofa.runs import Run
from fofa.search.budgets import Budgets
from fofa.search.problem import Problem, Target
from fofa.search.report import Outcome, Row
from fofa.search.solve import solve
from fofa.space import Architecture, SpaceKind, parse_architecture
from fofa.validation import Margin

__all__ = [
    "Budgets",
    "ImageClassifier",
    "Outcome",
    "Prediction",
    "Row",
    "export",
    "extract",
    "load_accuracy",
    "load_lut",
    "load_predictor",
    "open_run",
    "pareto_front",
    "search",
]

PathLike = str | os.PathLike[str]


def open_run(folder: PathLike) -> Run:
    """A run folder, made by `fofa-train` or `fofa-import`."""
    return Run.open(Path(folder))


def load_lut(path: PathLike) -> Lut:
    """A device's latency table, made by `fofa-profile`."""
    return Lut.read(Path(path))


def load_accuracy(path: PathLike) -> AccuracyTable:
    """The accuracies of a run's subnets, made by `fofa-eval`."""
    return AccuracyTable.read(Path(path))


def load_predictor(path: PathLike) -> Predictor:
    """An accuracy predictor, made by `fofa-predictor`, or OFA's."""
    return _load_predictor(Path(path))


def search(
    lut: Lut | None,
    accuracy: AccuracyTable | Predictor,
    *,
    max_latency_ms: float | None = None,
    max_macs: float | None = None,
    max_energy_mj: float | None = None,
    budgets: Budgets | None = None,
    space: SpaceKind = "compound",
    resolutions: Sequence[int] | None = None,
    margin: Margin = "none",
    seed: int = 0,
) -> Row:
    """The most accurate network within all limits that are given.

    Args:
        max_energy_mj: of one image, by a latency table that has energies.
        budgets: of parameters, the file's size and memory.

    Raises:
        UserError: if no limit is given, the tables do not fit each other, or nothing is within the
            limit.
    """
    limits = budgets or Budgets()
    single = (max_latency_ms, max_macs, max_energy_mj)
    if all(limit is None for limit in single) and not limits.limited:
        raise UserError("give max_latency_ms, max_macs or max_energy_mj, or budgets")
    problem = _problem(lut, accuracy, max_latency_ms, max_macs, space, resolutions, margin, seed)
    return solve(replace(problem, budgets=limits, max_energy_mj=max_energy_mj)).results[0]


def pareto_front(
    lut: Lut | None,
    accuracy: AccuracyTable | Predictor,
    *,
    space: SpaceKind = "compound",
    resolutions: Sequence[int] | None = None,
    seed: int = 0,
) -> tuple[Row, ...]:
    """The networks that no other beats in both latency and accuracy, by rising latency.

    Over multiply-adds where there is no latency table. In the elastic space it is the front that
    the search finds, not a proven one.

    Raises:
        UserError: if the tables do not fit each other.
    """
    problem = _problem(lut, accuracy, None, None, space, resolutions, "none", seed)
    return solve(problem, pareto=True).pareto


def extract(
    run: Run, architecture: Architecture | str, *, data: DataSource | str | None = None
) -> ImageClassifier:
    """One network of a run, ready to classify images.

    Args:
        data: training images to recalibrate BatchNorm with, as a spec such as `folder:DIR`; by
            default the run's own. Not opened where `fofa-eval` kept the network's statistics.

    Raises:
        UserError: if the architecture is not in the run's space, or the images are not there.
    """
    chosen = _architecture(run, architecture)
    network = load_calibrated(run, chosen)
    if network is None:
        request = ExportRequest(run=run, architecture=chosen, out=Path(), data=_data(run, data))
        network, _ = calibrated_network(request)
    return ImageClassifier.of(run, chosen, network)


def export(
    run: Run,
    architecture: Architecture | str,
    out: PathLike,
    *,
    dtype: Precision = "fp32",
    fixed_batch: int | None = None,
    data: DataSource | str | None = None,
    test_images: int | None = None,
) -> ExportResult:
    """Write one network to an ONNX file, checked, as `fofa-export` does.

    Args:
        fixed_batch: images that the file always takes at once, as a latency table is measured with;
            None for any number.
        data: training and test images, as a spec such as `folder:DIR`; by default the run's own.
        test_images: how many to measure the file's accuracy on; None for all, 0 for none.

    Raises:
        UserError: if the file would not compute what the run's network does, data is missing, or it
            cannot be written.
    """
    return export_network(
        ExportRequest(
            run=run,
            architecture=_architecture(run, architecture),
            out=Path(out),
            dtype=dtype,
            fixed_batch=fixed_batch,
            data=_data(run, data),
            test_images=test_images,
        )
    )


def _problem(
    lut: Lut | None,
    accuracy: AccuracyTable | Predictor,
    max_latency_ms: float | None,
    max_macs: float | None,
    space: SpaceKind,
    resolutions: Sequence[int] | None,
    margin: Margin,
    seed: int,
) -> Problem:
    if lut is None and max_latency_ms is not None:
        raise UserError("a latency limit needs a latency table")
    targets = (
        ()
        if lut is None
        else (Target(name=lut.device.requested, lut=lut, limit_ms=max_latency_ms),)
    )
    return Problem(
        accuracy=accuracy,
        targets=targets,
        max_macs=max_macs,
        space=space,
        resolutions=None if resolutions is None else tuple(resolutions),
        margin=margin,
        seed=seed,
    )


def _architecture(run: Run, named: Architecture | str) -> Architecture:
    if isinstance(named, str):
        return parse_architecture(named, run.record.supernet.family)
    return named


def _data(run: Run, data: DataSource | str | None) -> DataSource:
    if isinstance(data, DataSource):
        return data
    return open_data(data or run.record.data_spec)
