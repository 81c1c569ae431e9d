"""From a run and a request to an accuracy table: what `fofa-eval` does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from fofa.accuracy import AccuracyTable, EvaluationRecord, Int8Record, SpaceRecord
from fofa.data import DataSource
from fofa.data.normalising import normalised_as
from fofa.distributed import Processes, device_name
from fofa.errors import UserError
from fofa.evaluate.checkpoint import partial_path
from fofa.evaluate.evaluator import Evaluation, Measured, StatisticsHook
from fofa.evaluate.plan import Plan, Unit
from fofa.outcomes import outcomes_path, write_outcomes
from fofa.progress import Progress
from fofa.recalibration import Statistics, keep_statistics
from fofa.runs import Run
from fofa.runtime.session import OVERFLOW, products_overflow
from fofa.supernet.model import Supernet


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRequest:
    """What to evaluate, with which data, and where the table goes."""

    run: Run
    data: DataSource
    plan: Plan
    out: Path
    keep_statistics: bool = False


def make_table(
    request: TableRequest,
    processes: Processes,
    progress: Progress,
    warn: Callable[[str], None],
    on_forecast: Callable[[float], None] | None = None,
) -> AccuracyTable:
    """Evaluate and write the table, with its outcomes beside it if the plan asks for them.

    Partial results are kept beside it until then.

    Only the main process writes; every process returns the table.

    Raises:
        UserError: if data and run do not fit together, or as `Evaluation.run` does.
    """
    run, data = request.run, request.data
    _check_data(run, data, warn)
    int8 = request.plan.int8
    if int8 is not None and int8.scheme.weight_bits == 8 and products_overflow():
        warn(OVERFLOW)
    data = normalised_as(data, run.record.mean, run.record.std)
    supernet = run.load_supernet(processes.device)
    evaluation = Evaluation(
        supernet=supernet,
        data=data,
        plan=request.plan,
        processes=processes,
        progress=progress,
        settings=request.plan.settings()
        | {"weights": run.weights_checksum(), "data": data.spec, "test set": data.num_test},
        partial=partial_path(request.out),
        on_statistics=_keeper(run, supernet) if request.keep_statistics else None,
        on_forecast=on_forecast,
    )
    measured = evaluation.run()
    table = _table(request, measured, processes.device)
    if processes.is_main:
        outcomes_path(request.out).unlink(missing_ok=True)  # of another evaluation
        table.write(request.out)
        if measured.outcomes is not None:
            write_outcomes(measured.outcomes, request.out)
        partial_path(request.out).unlink(missing_ok=True)
    return table


def _table(request: TableRequest, measured: Measured, device: torch.device) -> AccuracyTable:
    run, plan = request.run, request.plan
    resolutions = tuple({unit.resolution: None for unit in plan.units})
    space = run.record.supernet.space(resolutions)
    return AccuracyTable(
        recipe=run.record.recipe,
        dataset=request.data.name,
        preset=run.record.preset,
        space=SpaceRecord.of(space),
        training=run.record.training,
        evaluation=EvaluationRecord(
            calibration_images=measured.calibrated,
            test_images=measured.tested,
            split="test",
            precision=plan.precision,
            device=device_name(device),
            seconds=round(measured.seconds, 1),
            int8=_int8_record(plan, measured),
        ),
        proxy=run.record.proxy,
        architectures=measured.architectures,
    )


def _int8_record(plan: Plan, measured: Measured) -> Int8Record | None:
    if plan.int8 is None:
        return None
    return Int8Record(
        calibration=plan.int8.scheme.ranges_text,
        granularity=plan.int8.scheme.weights,
        weight_bits=plan.int8.scheme.weight_bits,
        float_parts=plan.int8.scheme.parts_text,
        range_images=plan.int8.num_images,
        checks=list(measured.checks),
    )


def _check_data(run: Run, data: DataSource, warn: Callable[[str], None]) -> None:
    """Classes must agree; other images that were normalised otherwise are worth a warning.

    Not so the run's own, which pretrained weights may be why: all are normalised as in training.
    """
    expected = run.record.class_names
    if len(data.class_names) != len(expected):
        raise UserError(
            f"{data.spec} has {len(data.class_names)} classes, the run was trained on "
            f"{len(expected)}"
        )
    if run.record.status != "imported" and list(data.class_names) != expected:
        raise UserError(f"{data.spec} has other classes than the run was trained on")
    if data.spec == run.record.data_spec:
        return
    own, other = (*data.mean, *data.std), (*run.record.mean, *run.record.std)
    if not all(math.isclose(a, b, abs_tol=1e-3) for a, b in zip(own, other, strict=True)):
        warn(
            f"{data.spec} normalises images otherwise than {run.record.data_spec} in training; "
            "they are normalised as in training"
        )


def _keeper(run: Run, supernet: Supernet) -> StatisticsHook:
    def keep(unit: Unit, statistics: Statistics) -> None:
        for leaf, architecture in enumerate(unit.architectures):
            network = supernet.extract(architecture.subnet).eval()
            statistics.write_to(network, leaf)
            keep_statistics(run, architecture, network)

    return keep
