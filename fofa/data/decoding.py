"""One image's content to one array: the paper's augmentation, or the evaluation crop.

Runs in worker processes. What it needs to know comes with the ticket: the image, the resolution and
the seed of its augmentation. There is no state to set beforehand.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np
from PIL import Image

from fofa.data.images import (
    TURNS,
    check_size,
    decode_image,
    opened,
    orientation,
    to_rgb,
)
from fofa.data.jpeg import Frame, find_frame, upper_part

MIN_AREA = 0.08
MAX_RATIO = 4 / 3
BRIGHTNESS = 32 / 255
SATURATION = 0.5
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R 601), as Pillow's and torchvision's jitter."""
EVALUATION_CROP = 0.875
TRIES = 10

Box = tuple[float, float, float, float]
"""Left, top, right and lower edge, in pixels."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What to make of an image: its place in the list, a size, and a seed to augment with.

    Without a seed it is the evaluation transform. `min_area` is the least share of the image's area
    that a random crop takes.
    """

    index: int
    resolution: int
    seed: int | None = None
    min_area: float = MIN_AREA


def decode(content: bytes, ticket: Ticket) -> np.ndarray:
    """The image of a file's content as uint8 (R, R, 3).

    Raises:
        UnreadableImageError: if it is damaged, empty, too large or no image.
    """
    if ticket.seed is None:
        return np.asarray(evaluation_crop(decode_image(content), ticket.resolution))
    rng = random.Random(ticket.seed)
    frame = find_frame(content)
    if frame is None:
        image = decode_image(content)
        box = random_box(*image.size, rng, ticket.min_area)
        part = _resized(image, box, ticket.resolution)
    else:
        part = _jpeg_part(content, frame, ticket, rng)
    return np.asarray(vary(part, rng))


def vary(image: Image.Image, rng: random.Random) -> Image.Image:
    """The image perhaps mirrored, its brightness and its saturation moved.

    Both are linear in a pixel's colour, so one matrix does it.
    """
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    brightness = rng.uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS)
    saturation = rng.uniform(1 - SATURATION, 1 + SATURATION)
    own = brightness * saturation
    red, green, blue = (brightness * (1 - saturation) * weight for weight in LUMA)
    matrix = (
        *(own + red, green, blue, 0.0),
        *(red, own + green, blue, 0.0),
        *(red, green, own + blue, 0.0),
    )
    return image.convert("RGB", matrix)


def random_box(width: int, height: int, rng: random.Random, min_area: float = MIN_AREA) -> Box:
    """A box of `min_area` to all of the area with an aspect ratio of 3/4 to 4/3, inside the image.

    Where ten draws do not fit, the largest centred box of an allowed ratio.
    """
    for _ in range(TRIES):
        area = width * height * rng.uniform(min_area, 1)
        ratio = math.exp(rng.uniform(-math.log(MAX_RATIO), math.log(MAX_RATIO)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = rng.randint(0, width - w), rng.randint(0, height - h)
            return left, top, left + w, top + h
    wide, high = min(width, height * MAX_RATIO), min(height, width * MAX_RATIO)
    return (width - wide) / 2, (height - high) / 2, (width + wide) / 2, (height + high) / 2


def evaluation_crop(image: Image.Image, resolution: int) -> Image.Image:
    """Resize the shorter side to ceil(R / 0.875), take the centre.

    Only the centre is computed: a thin strip would otherwise become an image of gigabytes.
    """
    shorter = math.ceil(resolution / EVALUATION_CROP)
    scale = shorter / min(image.size)
    width, height = (max(shorter, round(side * scale)) for side in image.size)
    left, top = (width - resolution) // 2, (height - resolution) // 2
    across, down = image.width / width, image.height / height
    box = (left * across, top * down, (left + resolution) * across, (top + resolution) * down)
    return _resized(image, box, resolution)


def _jpeg_part(content: bytes, frame: Frame, ticket: Ticket, rng: random.Random) -> Image.Image:
    """A random box of a JPEG, decoded no further and no larger than it needs.

    At half the scale, or a quarter or an eighth, where the box still has the ticket's resolution.
    The box is drawn on the upright image and turned to where it is stored.
    """
    width, height = frame.width, frame.height
    check_size(width, height)
    turned = 1
    if frame.has_metadata:
        with opened(content) as image:
            turned = orientation(image)
    upright = (height, width) if turned >= 5 else (width, height)
    box = _stored(random_box(*upright, rng, ticket.min_area), turned, width, height)
    with opened(upper_part(content, frame, box[3])) as image:
        scale = min(box[2] - box[0], box[3] - box[1]) / ticket.resolution
        if scale >= 2:
            image.draft(None, (math.ceil(width / scale), math.ceil(image.height / scale)))
            factor = round(width / image.width)
            box = (box[0] / factor, box[1] / factor, box[2] / factor, box[3] / factor)
        part = _resized(to_rgb(image), box, ticket.resolution)
    return part.transpose(TURNS[turned]) if turned in TURNS else part


def _stored(box: Box, turned: int, width: int, height: int) -> Box:
    """Where a box of the upright image lies in the stored one, of this width and height."""
    left, top, right, bottom = box
    if turned >= 5:
        left, top, right, bottom = top, left, bottom, right
    if turned in (2, 3, 7, 8):
        left, right = width - right, width - left
    if turned in (3, 4, 6, 7):
        top, bottom = height - bottom, height - top
    return left, top, right, bottom


def _resized(image: Image.Image, box: Box, resolution: int) -> Image.Image:
    return image.resize((resolution, resolution), Image.Resampling.BILINEAR, box=box)
