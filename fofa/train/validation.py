"""Seeing it learn: the largest and the smallest subnet on held-out images, now and then.

Both are recalibrated first, as they would be evaluated. It changes nothing that training sees: no
weight, no running statistic, no random state. It costs a small share of the time, which is not
counted as training.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from fofa.data import DataSource
from fofa.recalibration import Moments, observe_batch
from fofa.space import Subnet
from fofa.supernet.model import Supernet

CALIBRATION_IMAGES, VALIDATION_IMAGES, BATCH_SIZE = 200, 500, 100
FORWARD_SHARE = 1 / 3
"""Of a training step's time, that its forward pass takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Top-1 in percent of each role's subnet, at `resolution`, on so many `images`."""

    top1: dict[str, float]
    resolution: int
    images: int

    def __str__(self) -> str:
        return ", ".join(f"{role} {top1:.0f}%" for role, top1 in self.top1.items()) + " right"


class Validator:
    """Validates within a share of the time that training takes.

    Args:
        subnets: by role, such as "largest"; different ones.
        share: of the time, 0 for never.
        calibration_images, validation_images: that each validation takes.
    """

    def __init__(
        self,
        data: DataSource,
        subnets: dict[str, Subnet],
        resolution: int,
        share: float,
        *,
        calibration_images: int = CALIBRATION_IMAGES,
        validation_images: int = VALIDATION_IMAGES,
    ) -> None:
        self._data, self._subnets, self._resolution, self._share = data, subnets, resolution, share
        self._calibration, self._validation = calibration_images, validation_images
        self._spent = 0.0
        self._last: float | None = None

    def is_due(self, training_seconds: float, image_seconds: float) -> bool:
        """Whether one more keeps within the share.

        Args:
            training_seconds: of this session, without validating.
            image_seconds: what an image costs in training, for a full-sized network.
        """
        if self._share <= 0:
            return False
        forward = FORWARD_SHARE * image_seconds * len(self._subnets)
        cost = forward * (self._calibration + self._validation)
        if self._last is not None:
            cost = self._last
        return self._spent + cost <= self._share * training_seconds

    def validate(self, supernet: Supernet, *, bf16: bool = False) -> Validation:
        """Recalibrate and count."""
        began = time.monotonic()
        random_state, skipped = torch.get_rng_state(), self._data.num_skipped
        was_training = supernet.training
        supernet.eval()  # no dropout; batch normalisation is given its statistics
        try:
            return self._validate(supernet, bf16)
        finally:
            supernet.train(was_training)
            self._data.num_skipped = skipped
            torch.set_rng_state(random_state)  # data workers draw their seed from it
            self._last = time.monotonic() - began
            self._spent += self._last

    def _validate(self, supernet: Supernet, bf16: bool) -> Validation:
        subnets = list(self._subnets.values())
        moments = Moments.zeros(supernet, subnets)
        for images, _ in self._data.calibration_batches(
            self._resolution, self._calibration, BATCH_SIZE
        ):
            observe_batch(supernet, moments, images, bf16=bf16)
        statistics = moments.statistics(supernet.head.classifier.weight.dtype)
        right, seen = torch.zeros(len(subnets)), 0
        for images, labels in self._data.validation_batches(
            self._resolution, BATCH_SIZE, self._validation
        ):
            seen += len(labels)
            for leaf, logits in statistics.logits(supernet, images, bf16=bf16):
                right[leaf] += _count(logits, labels)
        shares = (100 * right / max(seen, 1)).tolist()
        return Validation(
            top1=dict(zip(self._subnets, shares, strict=True)),
            resolution=self._resolution,
            images=seen,
        )


def _count(logits: Tensor, labels: Tensor) -> int:
    return int((logits.argmax(dim=1) == labels).sum())
