"""Classifying images with an exported ONNX file, as anybody would who has nothing else of the run.

Everything that is needed stands in the file's metadata (`fofa.export.onnx_file`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, Json, ValidationError

from fofa.accuracy import Positive
from fofa.errors import UserError
from fofa.export.classifier import Prediction, best_classes, prepare_image
from fofa.export.onnx_file import CROP
from fofa.files import explain
from fofa.runtime.session import Logits, session_logits
from fofa.space import check_resolutions

Number = Annotated[float, Field(allow_inf_nan=False)]


class Description(BaseModel):
    """What a file has to say of its network for images to be shown to it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    architecture: str
    input_size: int
    mean: Json[tuple[Number, Number, Number]]
    std: Json[tuple[Positive, Positive, Positive]]
    class_names: Json[list[str]]
    crop: Literal["centre", "whole"] = CROP
    """Files written before do not say it."""


@dataclass(frozen=True, slots=True, eq=False)
class OnnxClassifier:
    """An exported network with its classes."""

    description: Description
    logits: Logits

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read an ONNX file that `fofa-export` wrote.

        Raises:
            UserError: if it is missing, no ONNX file, or does not say what it takes.
        """
        import onnx

        content = path.read_bytes()
        try:
            model = onnx.load_model_from_string(content)
        except Exception:  # protobuf's, whose types differ between its implementations
            raise UserError(f"{path}: not an ONNX file") from None
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        try:
            description = Description.model_validate(metadata)
            check_resolutions([description.input_size])
        except ValidationError as error:
            raise UserError(
                f"{path}: not a file of fofa-export: metadata, {explain(error)}"
            ) from None
        except UserError as error:
            raise UserError(f"{path}: metadata, input_size: {error}") from None
        classifier = cls(description, _logits(model, path))
        classifier.check(path)
        return classifier

    def check(self, path: Path) -> None:
        """Compute once.

        Raises:
            UserError: if the network does not take what the metadata says, or gives other classes.
        """
        size, classes = self.description.input_size, len(self.description.class_names)
        try:
            found = self.logits(torch.zeros(1, 3, size, size)).shape
        except Exception as error:  # of onnxruntime, which has no common class of errors
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{path}: cannot be run on images of {size} px: {reason}") from None
        if found != (1, classes):
            raise UserError(f"{path}: gives {list(found)[1:]} logits for {classes} class_names")

    def predict(
        self, image: str | os.PathLike[str] | Image.Image, *, top: int = 5
    ) -> list[Prediction]:
        """The `top` most probable classes of an image, most probable first.

        Raises:
            UserError: if the file is missing or no image.
        """
        told = self.description
        images = prepare_image(image, told.input_size, told.mean, told.std, crops=told.crop == CROP)
        return best_classes(torch.from_numpy(self.logits(images[None]))[0], told.class_names, top)


def _logits(model: Any, path: Path) -> Logits:
    try:
        return session_logits(model)
    except Exception as error:  # of onnxruntime, which has no common class of errors
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: onnxruntime cannot load it: {reason}") from None
