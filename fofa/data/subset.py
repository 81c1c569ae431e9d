"""Choosing a part of a split: what is trained on, what calibrates, what a short test looks at."""

from __future__ import annotations

import torch
from torch import Tensor

from fofa.errors import UserError
from fofa.seeds import generator


def training_subset(num_images: int, fraction: float, seed: int) -> Tensor:
    """Indices of a random `fraction` of the training images, ascending int64.

    The same seed takes the same images, so that recipes are compared on equal data.

    Raises:
        UserError: if the fraction is not above 0 and at most 1.
    """
    if not 0 < fraction <= 1:
        raise UserError(f"train fraction {fraction:g}: expected a number above 0, up to 1")
    if fraction == 1:
        return torch.arange(num_images)
    order = torch.randperm(num_images, generator=generator(seed, "subset"))
    return order[: max(1, round(fraction * num_images))].sort().values


def held_out(num_images: int, chosen: Tensor, wanted: int, seed: int) -> Tensor:
    """At most `wanted` indices below `num_images` that are not among the `chosen`, in any order."""
    is_left = torch.ones(num_images, dtype=torch.bool)
    is_left[chosen] = False
    left = is_left.nonzero().flatten()
    return left[torch.randperm(len(left), generator=generator(seed, "held out"))[:wanted]]


def calibration_indices(num_images: int, wanted: int, seed: int) -> Tensor:
    """`wanted` distinct indices below `num_images` (all, if there are fewer), drawn by `seed`."""
    return torch.randperm(num_images, generator=generator(seed, "calibration"))[:wanted]


def spread_indices(num_images: int, limit: int | None) -> list[int]:
    """`limit` indices below `num_images` at even distances, ascending; all for None or enough.

    Of images that are sorted by class, this takes every class in its share.
    """
    if limit is None or limit >= num_images:
        return list(range(num_images))
    return [number * num_images // limit for number in range(limit)]
