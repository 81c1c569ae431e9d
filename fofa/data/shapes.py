"""`shapes`: ten kinds of drawn shapes, made on the spot. Nothing to download.

For tests and a first try: colours, position, size and noise vary, so that a network has to look,
and a minute of training on two cores is enough to see that it learns.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from fofa.data.tensors import Split
from fofa.seeds import mix

SIDE = 32
NUM_TRAIN, NUM_TEST = 4000, 1000
HUE_SPREAD = 0.12
BLOCK = 32
"""Images whose pixels are worked out together, for them to stay in the processor's cache."""

Field = np.ndarray
"""Coordinates or a signed field over the pixels of each image, float32 (N, S, S)."""


def _angular(x: Field, y: Field, points: int, depth: float) -> Field:
    """A star: the radius swings with the angle."""
    return 1 - depth * (1 + np.cos(points * np.arctan2(y, x))) / 2 - np.hypot(x, y)


# Positive inside the shape, in units of its radius; `x` and `y` are relative to its centre.
_SHAPES: dict[str, Callable[[Field, Field], Field]] = {
    "disc": lambda x, y: 1 - np.hypot(x, y),
    "ring": lambda x, y: 0.3 - np.abs(np.hypot(x, y) - 0.75),
    "square": lambda x, y: 0.8 - np.maximum(np.abs(x), np.abs(y)),
    "diamond": lambda x, y: 1.1 - np.abs(x) - np.abs(y),
    "triangle": lambda x, y: np.minimum(0.7 - y, 0.45 * (y + 1.1) - np.abs(x)),
    "plus": lambda x, y: np.maximum(
        np.minimum(1 - np.abs(x), 0.3 - np.abs(y)), np.minimum(0.3 - np.abs(x), 1 - np.abs(y))
    ),
    "star": lambda x, y: _angular(x, y, 5, 0.65),
    "bars": lambda x, y: np.minimum(np.sin(6.5 * y), 1.1 - np.hypot(x, y)),
    "columns": lambda x, y: np.minimum(np.sin(6.5 * x), 1.1 - np.hypot(x, y)),
    "checks": lambda x, y: np.minimum(np.sin(4.5 * x) * np.sin(4.5 * y), 1.1 - np.hypot(x, y)),
}
CLASS_NAMES = tuple(_SHAPES)
MEAN = (0.35, 0.35, 0.35)
STD = (0.25, 0.25, 0.25)


def _colour(hue: np.ndarray, value: np.ndarray) -> np.ndarray:
    """RGB of saturated colours, hue in turns: (N,) and (N,) -> float64 (N, 3, 1, 1)."""
    turns = hue[:, None] + np.array([0, 2 / 3, 1 / 3])
    channels = (0.5 + np.cos(2 * np.pi * turns)).clip(0, 1)
    return (value[:, None] * channels)[..., None, None]


def draw_shapes(count: int, seed: int) -> Split:
    """`count` images, classes in turn, the same for the same seed on every machine."""
    rng = np.random.default_rng(mix(seed, "shapes"))
    labels = np.arange(count) % len(CLASS_NAMES)
    centre = rng.uniform(-0.25, 0.25, (2, count, 1, 1)).astype(np.float32)
    radius = rng.uniform(0.5, 0.75, (count, 1, 1)).astype(np.float32)
    angle = rng.uniform(-0.2, 0.2, (count, 1, 1)).astype(np.float32)
    axis = np.linspace(-1, 1, SIDE, dtype=np.float32)
    x = (axis[None, None, :] - centre[0]) / radius
    y = (axis[None, :, None] - centre[1]) / radius
    x, y = np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y
    field = np.empty((count, SIDE, SIDE), dtype=np.float32)
    for label, shape in enumerate(_SHAPES.values()):
        chosen = labels == label
        field[chosen] = shape(x[chosen], y[chosen])
    edge = radius * SIDE / 2
    inside = np.clip(field * edge + 0.5, 0, 1)[:, None]
    # Each class has a favourite hue that its neighbours may have, too: a hint, not an answer.
    hue = labels / len(CLASS_NAMES) + rng.uniform(-HUE_SPREAD, HUE_SPREAD, count)
    foreground = _colour(hue, rng.uniform(0.6, 1, count))
    background = rng.uniform(0, 0.5, (count, 1, 1, 1)) + rng.uniform(0, 0.1, (count, 3, 1, 1))
    contrast = foreground - background
    pixels = np.empty((count, 3, SIDE, SIDE), dtype=np.uint8)
    for start in range(0, count, BLOCK):
        some = slice(start, start + BLOCK)
        images = inside[some] * contrast[some]
        images += background[some]
        images += rng.normal(0, 0.05, images.shape)
        images *= 255
        pixels[some] = np.clip(np.rint(images, out=images), 0, 255, out=images)
    return Split(torch.from_numpy(pixels), torch.from_numpy(labels))
