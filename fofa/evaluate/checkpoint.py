"""The file that an interrupted evaluation leaves beside its output, and goes on from.

Safetensors: the sums of the unit of work that was going on, and as metadata a JSON record of what
was finished before and which settings all of it belongs to.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from fofa.accuracy import ArchitectureAccuracy, Int8Check
from fofa.errors import UserError
from fofa.evaluate.plan import Plan
from fofa.evaluate.right import NAMES as RIGHT_ANSWERS
from fofa.files import explain
from fofa.tensor_files import read_tensors, write_tensors

Phase = Literal["calibration", "evaluation"]
Settings = dict[str, str | int | None]
TENSORS = ("mean", "variance", "correct")
Count = Annotated[int, Field(ge=0, le=2**40)]


class PartialRecord(BaseModel):
    """Where an evaluation stands.

    Attributes:
        units: units of work that are finished, with what they measured in `finished`.
        phase, batches: pass over the current unit, and its batches that are done.
        calibrated, tested: images seen by the two passes over the current unit.
        checks: of the finished units, where networks are evaluated in int8.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    settings: Settings
    seconds: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    units: Count = 0
    finished: list[ArchitectureAccuracy] = []
    phase: Phase = "calibration"
    batches: Count = 0
    calibrated: Count = 0
    tested: Count = 0
    checks: list[Int8Check] = []


def partial_path(out: Path) -> Path:
    """Where the partial results of the evaluation that writes `out` are kept."""
    return out.with_name(out.name + ".partial")


def write_partial(path: Path, record: PartialRecord, tensors: dict[str, Tensor]) -> None:
    """Write atomically; `tensors` are of the current unit, or empty between two units."""
    write_tensors(path, tensors, {"fofa.partial": record.model_dump_json()})


def read_partial(path: Path, settings: Settings) -> tuple[PartialRecord, dict[str, Tensor]]:
    """What `write_partial` wrote, or the beginning where there is no file.

    Raises:
        UserError: if the file is damaged, or belongs to an evaluation with other settings.
    """
    if not path.exists():
        return PartialRecord(settings=settings), {}
    try:
        tensors, metadata = read_tensors(path)
        record = PartialRecord.model_validate_json(metadata.get("fofa.partial", ""), strict=True)
    except UserError as error:
        raise UserError(f"{error}; remove it to start over") from None
    except ValidationError as error:
        raise UserError(f"{path}: damaged ({explain(error)}); remove it to start over") from None
    for key in record.settings.keys() | settings.keys():
        if record.settings.get(key) != settings.get(key):
            raise UserError(
                f"{path}: an interrupted evaluation with other settings (another {key}); "
                "go on with the same options, or remove it to start over"
            )
    kept = set(RIGHT_ANSWERS) if settings.get("outcomes") else set()
    if tensors.keys() not in ({*TENSORS, *kept}, kept):
        raise UserError(f"{path}: damaged (tensors {sorted(tensors)}); remove it to start over")
    return record, tensors


def check_progress(path: Path, record: PartialRecord, plan: Plan, num_tests: int) -> None:
    """Refuse a record that is no place within `plan`, whose units test `num_tests` images each.

    Raises:
        UserError: naming the file and the fault.
    """
    done = [a.name for unit in plan.units[: record.units] for a in unit.architectures]
    size = plan.tested_at_once
    if record.units > len(plan.units) or [entry.name for entry in record.finished] != done:
        fault = f"its architectures are not those of its {record.units} finished units"
    elif record.phase == "evaluation" and record.tested != min(record.batches * size, num_tests):
        fault = f"{record.tested} images tested in {record.batches} batches of {size}"
    elif record.batches and record.phase == "calibration" and record.tested:
        fault = f"{record.tested} images tested before the calibration was done"
    elif record.units and not record.batches and record.tested != num_tests:
        fault = f"{record.tested} images tested, expected {num_tests}"
    elif not record.calibrated and (record.units or record.batches):
        fault = "no images to calibrate with"
    else:
        return
    raise UserError(f"{path}: damaged ({fault}); remove it to start over")


def check_sums(
    path: Path, tensors: dict[str, Tensor], expected: dict[str, Tensor], tested: int
) -> None:
    """Refuse sums of another shape or type than `expected`, and values that no images can give.

    Args:
        tested: test images that `correct`, [subnets, 2] of top-1 and top-5, was counted over.

    Raises:
        UserError: naming the file and the tensor.
    """
    for name, wanted in expected.items():
        found = tensors[name]
        if found.shape != wanted.shape or found.dtype != wanted.dtype:
            fault = (
                f"{name} is {list(found.shape)} of {found.dtype}, expected "
                f"{list(wanted.shape)} of {wanted.dtype}"
            )
            raise UserError(f"{path}: damaged ({fault}); remove it to start over")
    top1, top5 = tensors["correct"].unbind(1)
    if not torch.all((top1 >= 0) & (top1 <= top5) & (top5 <= tested)):
        raise UserError(
            f"{path}: damaged (correct is no count of {tested}); remove it to start over"
        )
    if torch.any(tensors["variance"] < 0):
        raise UserError(f"{path}: damaged (a variance is negative); remove it to start over")
