"""The range of values that images show at each point of a network.

Of a share of the values on either side, only those beyond it are kept, so that a percentile is
exact and does not depend on how the images are batched.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fofa.errors import UserError
from fofa.runtime.int8 import ActivationRange, Int8Scheme

IMAGES_SEED = 1
"""Of which training images show the ranges: others than those that recalibrate BatchNorm."""


@dataclass(slots=True)
class _Tails:
    """The `least` and the `largest` values of a point, sorted from the outside, of `count`."""

    least: Tensor
    largest: Tensor
    count: int


@dataclass(slots=True)
class RangeRecorder:
    """What was seen at each point.

    Attributes:
        num_images: how many there are to be at most.
    """

    scheme: Int8Scheme
    num_images: int
    _points: dict[str, _Tails] = field(default_factory=dict)

    def see(self, name: str, x: Tensor) -> None:
        """Look at the values [N, C, H, W] of N images at a point.

        Raises:
            ValueError: if there are more images than announced.
        """
        flat = x.permute(0, 2, 3, 1).reshape(-1)  # as they mostly are stored
        most = len(flat) // len(x) * self.num_images
        kept = self._outside(most) + 1
        before = self._points.get(name)
        least, largest = _ends(flat, kept, largest=False), _ends(flat, kept, largest=True)
        if before is not None:
            least = _ends(torch.cat([before.least, least]), kept, largest=False)
            largest = _ends(torch.cat([before.largest, largest]), kept, largest=True)
        count = len(flat) + (before.count if before is not None else 0)
        if count > most:
            raise ValueError(f"more than {self.num_images} images were shown")
        self._points[name] = _Tails(least, largest, count)

    def ranges(self) -> dict[str, ActivationRange]:
        """The range of each point.

        Raises:
            UserError: if there were no images, or a value is not finite.
        """
        if not self._points:
            raise UserError("int8 needs calibration images, and there are none")
        found = {}
        for name, seen in self._points.items():
            place = self._outside(seen.count)
            low, high = float(seen.least[place]), float(seen.largest[place])
            if not (math.isfinite(low) and math.isfinite(high)):
                raise UserError(
                    f"int8: the values at {name} are not finite, as after training that diverged"
                )
            found[name] = ActivationRange(low, high)
        return found

    def _outside(self, count: int) -> int:
        """How many of so many values are beyond each end of the range."""
        if self.scheme.ranges == "minmax":
            return 0
        return int(count * (100 - self.scheme.percentile) / 200)


def _ends(values: Tensor, number: int, *, largest: bool) -> Tensor:
    """The least or largest values (number,) of (N,), sorted from the outside."""
    if number == 1:
        return (values.max() if largest else values.min())[None]
    return values.topk(min(number, len(values)), largest=largest).values
