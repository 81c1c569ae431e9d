"""A run folder: the product of training, taken by evaluation, search and export.

run.json               this file's `RunRecord`, rewritten as training goes on
weights.safetensors    the supernet's state, as of the record's step
checkpoint/            what resuming needs beyond that (optimiser, random state)
log.jsonl, tensorboard/
statistics/            BatchNorm statistics kept for chosen architectures
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from fofa.accuracy import Positive, ProxyRecord, TrainingRecord
from fofa.errors import UserError
from fofa.files import FileModel
from fofa.hub import local_folder
from fofa.space import SearchSpace, check_resolutions
from fofa.supernet.config import SupernetConfig

if TYPE_CHECKING:  # which loads torch
    import torch

    from fofa.supernet.model import Supernet

Shift = Annotated[float, Field(allow_inf_nan=False)]

RECORD_NAME = "run.json"
WEIGHTS_NAME = "weights.safetensors"
PRETRAINED = "pretrained"
"""The recipe of a run that is one published network, its largest; no other subnet was trained."""


class RunRecord(FileModel):
    """What a run is and how far it got (schema `fofa.run/1`).

    `mean` and `std` are the normalisation of the images (RGB, of values 0 to 1). `finetuned` names
    the only architecture that the weights are for, where there is one.
    """

    SCHEMA: ClassVar[str] = "fofa.run"
    VERSION: ClassVar[int] = 1

    recipe: str
    preset: str | None
    dataset: str
    data_spec: str
    class_names: list[str] = Field(min_length=2)
    mean: tuple[Shift, Shift, Shift]
    std: tuple[Positive, Positive, Positive]
    supernet: SupernetConfig
    resolutions: list[int] = Field(min_length=1)
    training: TrainingRecord
    status: Literal["running", "finished", "imported"]
    step: int = Field(ge=0)
    proxy: ProxyRecord | None = None
    finetuned: str | None = None

    @model_validator(mode="after")
    def _check_classes(self) -> RunRecord:
        if len(self.class_names) != self.supernet.num_classes:
            raise ValueError(
                f"{len(self.class_names)} class_names, but the supernet has "
                f"{self.supernet.num_classes} classes"
            )
        check_resolutions(self.resolutions)
        return self

    @classmethod
    def of(cls, folder: Path) -> RunRecord:
        """The record of a run folder, which need not have weights yet.

        Raises:
            UserError: if it is no run folder.
        """
        folder = local_folder(folder)
        if not folder.is_dir():
            raise UserError(f"{folder}: no such run folder")
        record = folder / RECORD_NAME
        if not record.is_file():
            raise UserError(f"{folder}: not a run folder, it has no {RECORD_NAME}")
        return cls.read(record)

    @property
    def space(self) -> SearchSpace:
        """The search space of the run."""
        return self.supernet.space(tuple(self.resolutions))


@dataclass(frozen=True, slots=True)
class Run:
    """An opened run folder."""

    folder: Path
    record: RunRecord

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Open `folder`, or `hf:user/name` from the Hugging Face Hub (`fofa.hub`).

        Raises:
            UserError: if it is no run folder or has no weights yet.
        """
        folder = local_folder(folder)
        run = cls(folder, RunRecord.of(folder))
        if not run.weights.is_file():
            raise UserError(f"{folder}: the run has no {WEIGHTS_NAME} yet; train it first")
        return run

    @property
    def weights(self) -> Path:
        """The file of the supernet's weights."""
        return self.folder / WEIGHTS_NAME

    def weights_checksum(self) -> str:
        """SHA-256 of the file of the weights."""
        with self.weights.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def load_supernet(self, device: torch.device | str = "cpu") -> Supernet:
        """The supernet with its weights, on `device`, in evaluation mode.

        Memory for a network is taken only once the weights fit the record.

        Raises:
            UserError: if the weights are missing or damaged, or do not fit the record.
        """
        from fofa.supernet.weights import supernet_of
        from fofa.tensor_files import read_tensors

        state, _ = read_tensors(self.weights)
        return supernet_of(self.record.supernet, state, str(self.weights)).to(device).eval()
