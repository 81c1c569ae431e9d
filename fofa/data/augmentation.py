"""Batched augmentation of images that are already tensors: crop, flip and resize in one sampling.

Crop, flip and change of resolution are one affine map, applied to the whole batch by a single
bilinear `grid_sample` on the data's device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from fofa.errors import UserError

Crop = Literal["pad", "resized", "mild"]
MILD_AREA = 0.35
"""Least share of an image that short training on few images shows: a small part of a picture, seen
once, teaches the wrong thing as often as not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How training images are varied.

    Attributes:
        crop: `pad` shifts the image by up to `padding` of its side, filling with the mean colour
            (He et al., 2016, for CIFAR: 4 of 32 pixels); `resized` takes a random part of
            `min_area` to 1 of the area with an aspect ratio of 3/4 to 4/3; `mild` the same of at
            least `MILD_AREA`.
        flip: mirror left and right with probability one half.
    """

    crop: Crop = "pad"
    padding: float = 0.125
    min_area: float = 0.08
    flip: bool = True

    def __post_init__(self) -> None:
        if self.crop not in get_args(Crop):
            raise UserError(f"crop {self.crop!r}: expected one of {', '.join(get_args(Crop))}")

    @property
    def least_area(self) -> float:
        """The least share of an image's area that a random part has, of files (never shifted)."""
        return MILD_AREA if self.crop == "mild" else self.min_area

    def affine(self, count: int, size: int, generator: torch.Generator) -> Tensor:
        """Random maps from output to input coordinates (-1 to 1), float32 (count, 2, 3).

        `size` is the side of the stored images: shifts are by whole pixels, so that an image
        trained at its own resolution is not blurred.
        """
        uniform = torch.rand(4, 2, count, generator=generator)
        scale = torch.ones(2, count)
        if self.crop != "pad":
            area = self.least_area + (1 - self.least_area) * uniform[0, 0]
            ratio = torch.exp((2 * uniform[0, 1] - 1) * math.log(4 / 3))
            scale = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()]).clamp(max=1)
            shift = (2 * uniform[1] - 1) * (1 - scale)
        else:
            pixels = round(self.padding * size)
            shift = ((2 * pixels + 1) * uniform[1]).floor().sub(pixels) * (2 / size)
        theta = torch.zeros(count, 2, 3)
        mirrored = (uniform[2, 0] < 0.5) & self.flip
        theta[:, 0, 0] = torch.where(mirrored, -scale[0], scale[0])
        theta[:, 1, 1] = scale[1]
        theta[:, :, 2] = shift.T
        return theta


def sample(images: Tensor, theta: Tensor, resolution: int) -> Tensor:
    """Float images (N, 3, S, S) seen through the maps `theta`, as (N, 3, R, R) channels-last.

    Outside the image is zero, the mean colour of normalised images.
    """
    shape = [len(images), 3, resolution, resolution]
    grid = F.affine_grid(theta, shape, align_corners=False)
    sampled = F.grid_sample(images, grid, mode="bilinear", align_corners=False)
    return sampled.contiguous(memory_format=torch.channels_last)


def resize(images: Tensor, resolution: int) -> Tensor:
    """Float images (N, 3, S, S) interpolated to (N, 3, R, R), channels-last."""
    if images.shape[-1] != resolution:
        images = F.interpolate(
            images, (resolution, resolution), mode="bilinear", align_corners=False
        )
    return images.contiguous(memory_format=torch.channels_last)
