"""What fixes the result of a run, which its folder keeps, and how the run is carried out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, ValidationError

from fofa.accuracy import Pace
from fofa.errors import UserError
from fofa.families import WithFamily
from fofa.files import FileModel, explain

SETTINGS_NAME = "settings.json"
RATE_IMAGES = 256
"""Learning rates that a person gives are for a step of this many images (linear scaling rule)."""

Precision = Literal["fp32", "bf16"]
InitHead = Literal["kept", "new", "fitted"]


class TrainSettings(WithFamily, FileModel):
    """Everything that the final weights depend on (schema `fofa.training/1`).

    A run is resumed with the same settings only. `batch_size` counts one process's images,
    `processes` the processes. `learning_rate` is the recipe's highest, for 256 images.

    Of a run with `budget_hours` (of cores or GPUs), `epoch_scale` and `step_seconds` (what a step
    of each phase and resolution costs) were found on the machine where it began. With a `pace` its
    hours are of another machine, so that it has as many steps as it would have there.
    `init` is the run whose weights, of checksum `init_sha256`, it began from, with its head, one
    fitted to the data, or (older runs) one at random; `architecture` the only network that is
    trained, of a fine-tuning.
    """

    SCHEMA: ClassVar[str] = "fofa.training"
    VERSION: ClassVar[int] = 1

    recipe: str
    preset: str | None = None
    data: str
    train_fraction: float = Field(default=1.0, gt=0, le=1)
    crop: Literal["pad", "resized", "mild"] = "pad"
    width_mult: float = Field(default=1.0, gt=0, le=16)
    resolutions: tuple[int, ...] = Field(min_length=1)
    batch_size: int = Field(ge=1)
    processes: int = Field(default=1, ge=1)
    epoch_scale: float = Field(default=1.0, gt=0, le=1000, allow_inf_nan=False)
    budget_hours: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    step_seconds: dict[str, float] | None = None
    pace: Pace | None = None
    learning_rate: float | None = Field(default=None, gt=0, le=100, allow_inf_nan=False)
    init: str | None = None
    init_sha256: str | None = None
    init_head: InitHead | None = None
    architecture: str | None = None
    zero_init_residual: bool = False
    seed: int = 0
    precision: Precision = "fp32"

    @property
    def global_batch(self) -> int:
        """Images of one step over all processes."""
        return self.batch_size * self.processes

    @classmethod
    def checked(cls, values: Mapping[str, object]) -> Self:
        """Settings of values that a person chose.

        Raises:
            UserError: if one is wrong.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UserError(f"options: {explain(error)}") from None

    @classmethod
    def of_run(cls, folder: Path) -> TrainSettings | None:
        """The settings of the run in `folder`; None where there are none.

        Raises:
            UserError: if their file is damaged.
        """
        path = folder / SETTINGS_NAME
        return cls.read(path) if path.is_file() else None

    def check_agrees(self, folder: Path, found: TrainSettings) -> None:
        """Refuse to go on with a run in `folder` that was begun with other settings.

        Raises:
            UserError: naming the differences.
        """
        skipped = {"schema_name", "step_seconds", "init_sha256", "init_head"}
        if found.budget_hours != self.budget_hours:
            skipped.add("epoch_scale")  # which follows from the budget
        differences = [
            f"{name} is {getattr(found, name)} there and {getattr(self, name)} here"
            for name in type(self).model_fields
            if name not in skipped and getattr(found, name) != getattr(self, name)
        ]
        if differences:
            raise UserError(
                f"{folder}: holds a run with other settings: {'; '.join(differences)}; "
                "give the same ones to resume it, or another --out"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a run is carried out; may change when it is resumed, and changes nothing that comes out.

    Attributes:
        download: fetch the data set if it is not there and can be fetched.
        workers: processes that decode image files; None for as many as there are cores, at most 8.
        one_at_a_time: a forward and backward pass for each subnet, for small memories.
        compile_blocks: let torch compile the blocks, each kind when it is first met.
        checkpoint_seconds, checkpoint_steps: how often to save (and at the end of each phase).
        trackers: what the course of training is written for (`fofa.train.tracking`).
        validate_share: of the time, to watch two subnets on held-out images; 0 for never.
    """

    download: bool = False
    workers: int | None = None
    one_at_a_time: bool = False
    compile_blocks: bool = False
    checkpoint_seconds: float = 120.0
    checkpoint_steps: int | None = None
    trackers: tuple[str, ...] = ("tensorboard",)
    validate_share: float = 0.05
