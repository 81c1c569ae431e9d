"""What fixes the result of a run; kept in its folder, so that only the same run is resumed."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from fofa.errors import UserError
from fofa.files import FileModel

SETTINGS_NAME = "settings.json"

Precision = Literal["fp32", "bf16"]


class TrainSettings(FileModel):
    """Everything that the final weights depend on (schema `fofa.training/1`).

    Where it runs (device, threads, workers, one subnet at a time) may change when a run is resumed;
    these may not. `batch_size` counts one process's images, `processes` the processes.
    """

    SCHEMA: ClassVar[str] = "fofa.training"
    VERSION: ClassVar[int] = 1

    recipe: str
    preset: str | None = None
    data: str
    train_fraction: float = Field(default=1.0, gt=0, le=1)
    crop: Literal["pad", "resized"] = "pad"
    width_mult: float = Field(default=1.0, gt=0, le=16)
    resolutions: tuple[int, ...] = Field(min_length=1)
    batch_size: int = Field(ge=1)
    processes: int = Field(default=1, ge=1)
    epoch_scale: float = Field(default=1.0, gt=0, le=1000, allow_inf_nan=False)
    zero_init_residual: bool = False
    seed: int = 0
    precision: Precision = "fp32"

    @property
    def global_batch(self) -> int:
        """Images of one step over all processes."""
        return self.batch_size * self.processes

    def claim(self, folder: Path) -> None:
        """Write these settings into a new run folder, or check that they are those of an old one.

        Raises:
            UserError: if the folder holds a run with other settings, naming the differences.
        """
        path = folder / SETTINGS_NAME
        if not path.is_file():
            self.write(path)
            return
        found = TrainSettings.read(path)
        differences = [
            f"{name} is {getattr(found, name)} there and {getattr(self, name)} here"
            for name in type(self).model_fields
            if name != "schema_name" and getattr(found, name) != getattr(self, name)
        ]
        if differences:
            raise UserError(
                f"{folder}: holds a run with other settings: {'; '.join(differences)}; "
                "give the same ones to resume it, or another --out"
            )
