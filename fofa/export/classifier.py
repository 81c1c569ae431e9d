"""A network with what it needs to name the content of an image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fofa.data.decoding import evaluation_crop
from fofa.data.images import UnreadableImageError, decode_image, read_file, to_rgb
from fofa.errors import UserError
from fofa.runs import Run
from fofa.space import Architecture
from fofa.supernet.network import PlainNetwork

WHOLE_IMAGE_DATA = ("cifar10", "shapes")
"""Data sets whose images are resized whole; others are cropped, as in evaluation."""
Numbers = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Prediction:
    """A class and its probability (softmax), 0 to 1."""

    class_name: str
    probability: float


@dataclass(frozen=True, slots=True, eq=False)
class ImageClassifier:
    """A calibrated network in evaluation mode.

    Attributes:
        network: plain module, [N, 3, R, R] normalised images -> [N, classes] logits.
        mean: of RGB values 0 to 1, what they are normalised by.
        std: the same, what is then divided by.
        crops: whether images are cropped to the centre, as evaluation on this data did.
    """

    network: PlainNetwork
    architecture: Architecture
    class_names: tuple[str, ...]
    mean: Numbers
    std: Numbers
    crops: bool

    @classmethod
    def of(cls, run: Run, architecture: Architecture, network: PlainNetwork) -> ImageClassifier:
        """The classifier of a run's network."""
        record = run.record
        return cls(
            network=network,
            architecture=architecture,
            class_names=tuple(record.class_names),
            mean=record.mean,
            std=record.std,
            crops=crops_images(run),
        )

    def predict(
        self, image: str | os.PathLike[str] | Image.Image, *, top: int = 5
    ) -> list[Prediction]:
        """The `top` most probable classes of an image, most probable first.

        Raises:
            UserError: if the file is missing or no image.
        """
        with torch.inference_mode():
            logits = self.network(self.prepare(image)[None])[0]
        return best_classes(logits, self.class_names, top)

    def prepare(self, image: str | os.PathLike[str] | Image.Image) -> Tensor:
        """An image as the network takes it, float32 [3, R, R].

        Raises:
            UserError: if the file is missing or no image.
        """
        size = self.architecture.resolution
        return prepare_image(image, size, self.mean, self.std, crops=self.crops)


def crops_images(run: Run) -> bool:
    """Whether evaluation of a run crops images to the centre; else they are resized whole."""
    return run.record.data_spec.partition(":")[0] not in WHOLE_IMAGE_DATA


def prepare_image(
    image: str | os.PathLike[str] | Image.Image,
    size: int,
    mean: Numbers,
    std: Numbers,
    *,
    crops: bool,
) -> Tensor:
    """An image as a network of `size` pixels takes it, float32 [3, size, size].

    Raises:
        UserError: if the file is missing or no image.
    """
    picture = to_rgb(image) if isinstance(image, Image.Image) else _read(Path(image))
    if crops:
        picture = evaluation_crop(picture, size)
    else:
        picture = picture.resize((size, size), Image.Resampling.BILINEAR)
    values = np.asarray(picture, dtype=np.float32) / 255
    normalised = (values - np.array(mean)) / np.array(std)
    return torch.from_numpy(normalised.astype(np.float32)).permute(2, 0, 1).contiguous()


def best_classes(logits: Tensor, class_names: Sequence[str], top: int) -> list[Prediction]:
    """The `top` most probable classes of an image's logits [classes], most probable first."""
    probabilities = logits.softmax(0)
    best = probabilities.argsort(descending=True, stable=True)[:top]
    return [Prediction(class_names[i], float(probabilities[i])) for i in best.tolist()]


def _read(path: Path) -> Image.Image:
    if not path.exists():
        raise UserError(f"{path}: no such file")
    try:
        return decode_image(read_file(path))
    except UnreadableImageError as error:
        raise UserError(f"{path}: not an image that can be read: {error}") from None
