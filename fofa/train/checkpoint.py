"""Checkpoints: one safetensors file with all that resuming needs, replaced atomically.

Tensors are `supernet.*` (weights and statistics), `momentum.*` and `teacher.*`; the header holds a
`CheckpointState`. All random draws follow from the seed and the step, so the position *is* the
random state.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from fofa.files import FileModel
from fofa.tensor_files import read_tensors, write_tensors
from fofa.train.budget import Replan

CHECKPOINT_PATH = Path("checkpoint", "latest.safetensors")


class CheckpointState(FileModel):
    """Where training stands (schema `fofa.checkpoint/1`): `step` steps are done.

    Seconds and core seconds are those spent training so far, over all sessions of the run;
    `wall_seconds` count what came beside it, too (None in older files). `skipped_images` says how
    often the main process left out an image that it could not read, `replans` how the plan was
    rescaled to keep to a budget.
    """

    SCHEMA: ClassVar[str] = "fofa.checkpoint"
    VERSION: ClassVar[int] = 1

    step: int = Field(ge=0)
    seconds: float = Field(ge=0, allow_inf_nan=False)
    core_seconds: float = Field(ge=0, allow_inf_nan=False)
    wall_seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    skipped_images: int = Field(default=0, ge=0)
    replans: tuple[Replan, ...] = ()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A state with its tensors, by group and name."""

    state: CheckpointState
    groups: dict[str, dict[str, Tensor]]


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the run folder's checkpoint.

    Raises:
        UserError: if it cannot be written; the old one is then still whole.
    """
    tensors = {
        f"{group}.{name}": tensor
        for group, members in checkpoint.groups.items()
        for name, tensor in members.items()
    }
    header = {"state": json.dumps(checkpoint.state.model_dump(by_alias=True, mode="json"))}
    write_tensors(folder / CHECKPOINT_PATH, tensors, header)


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """The run folder's checkpoint, None if it has none yet.

    Raises:
        UserError: if it is damaged.
    """
    path = folder / CHECKPOINT_PATH
    if not path.is_file():
        return None
    tensors, header = read_tensors(path)
    state = CheckpointState.parse(header.get("state", "null"), path)
    groups: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        group, _, name = key.partition(".")
        groups.setdefault(group, {})[name] = tensor
    return Checkpoint(state, groups)


def all_finite(tensors: dict[str, Tensor]) -> bool:
    """Whether no weight is infinite or not a number."""
    floats = [tensor for tensor in tensors.values() if tensor.is_floating_point()]
    return bool(torch.stack([tensor.isfinite().all() for tensor in floats]).all())
