"""One image file to one array: decoding, the paper's augmentation, the evaluation crop.

Runs in worker processes. What it needs to know comes with the ticket: the image, the resolution and
the seed of its augmentation. There is no state to set beforehand.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, UnidentifiedImageError

MIN_AREA = 0.08
MAX_RATIO = 4 / 3
BRIGHTNESS = 32 / 255
SATURATION = 0.5
EVALUATION_CROP = 0.875
TRIES = 10


@dataclass(frozen=True, slots=True)
class Ticket:
    """What to make of an image: its place in the list, a size, and a seed to augment with.

    Without a seed it is the evaluation transform.
    """

    index: int
    resolution: int
    seed: int | None = None


class UnreadableImageError(Exception):
    """The file is not an image that can be decoded."""


def decode(path: Path, ticket: Ticket) -> np.ndarray:
    """The image as uint8 (R, R, 3).

    Raises:
        UnreadableImageError: if the file is damaged, empty, missing or no image.
    """
    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise UnreadableImageError(f"{path}: {error}") from None
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(f"{path}: {error}") from None
    if ticket.seed is None:
        return np.asarray(evaluation_crop(image, ticket.resolution))
    return np.asarray(augment(image, ticket.resolution, random.Random(ticket.seed)))


def augment(image: Image.Image, resolution: int, rng: random.Random) -> Image.Image:
    """A random part of the image, resized, perhaps mirrored, brightness and saturation moved."""
    image = image.resize(
        (resolution, resolution), Image.Resampling.BILINEAR, box=random_box(*image.size, rng)
    )
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    jitters = [(ImageEnhance.Brightness, BRIGHTNESS), (ImageEnhance.Color, SATURATION)]
    rng.shuffle(jitters)
    for enhance, strength in jitters:
        image = enhance(image).enhance(rng.uniform(1 - strength, 1 + strength))
    return image


def random_box(width: int, height: int, rng: random.Random) -> tuple[float, float, float, float]:
    """A box of 8% to 100% of the area with an aspect ratio of 3/4 to 4/3, inside the image.

    Where ten draws do not fit, the largest centred box of an allowed ratio.
    """
    for _ in range(TRIES):
        area = width * height * rng.uniform(MIN_AREA, 1)
        ratio = math.exp(rng.uniform(-math.log(MAX_RATIO), math.log(MAX_RATIO)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = rng.randint(0, width - w), rng.randint(0, height - h)
            return left, top, left + w, top + h
    wide, high = min(width, height * MAX_RATIO), min(height, width * MAX_RATIO)
    return (width - wide) / 2, (height - high) / 2, (width + wide) / 2, (height + high) / 2


def evaluation_crop(image: Image.Image, resolution: int) -> Image.Image:
    """Resize the shorter side to ceil(R / 0.875), take the centre."""
    shorter = math.ceil(resolution / EVALUATION_CROP)
    scale = shorter / min(image.size)
    width, height = (max(shorter, round(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - resolution) // 2, (height - resolution) // 2
    return image.crop((left, top, left + resolution, top + resolution))
