"""The same data set with another normalisation: that of the weights it is shown to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch

from fofa.data.sampling import TrainOrder
from fofa.data.source import Batch, Channels, DataSource


def normalised_as(source: DataSource, mean: Channels, std: Channels) -> DataSource:
    """`source` with images normalised by `mean` and `std`; itself where it does so already.

    Weights expect the normalisation that they were trained with, whatever is usual for the data.
    """
    own, wanted = (*source.mean, *source.std), (*mean, *std)
    if all(math.isclose(a, b, abs_tol=1e-6) for a, b in zip(own, wanted, strict=True)):
        return source
    return Renormalised(source, mean, std)


class Renormalised(DataSource):
    """A source whose batches are brought from its own normalisation to another one."""

    def __init__(self, source: DataSource, mean: Channels, std: Channels) -> None:
        self.source, self.mean, self.std = source, mean, std
        self.name, self.spec, self.class_names = source.name, source.spec, source.class_names
        self.num_train, self.num_test = source.num_train, source.num_test
        self.validated_on = source.validated_on
        own_mean, own_std = torch.tensor(source.mean), torch.tensor(source.std)
        self._scale = (own_std / torch.tensor(std)).view(1, 3, 1, 1)
        self._shift = ((own_mean - torch.tensor(mean)) / torch.tensor(std)).view(1, 3, 1, 1)

    @property
    def num_skipped(self) -> int:
        """How often the source left out an image."""
        return self.source.num_skipped

    @num_skipped.setter
    def num_skipped(self, number: int) -> None:
        self.source.num_skipped = number

    def train_batches(
        self, order: TrainOrder, steps: range, resolution_of: Callable[[int], int]
    ) -> Iterator[Batch]:
        return self._renormalised(self.source.train_batches(order, steps, resolution_of))

    def calibration_batches(
        self, resolution: int, num_images: int, batch_size: int, seed: int = 0
    ) -> Iterator[Batch]:
        batches = self.source.calibration_batches(resolution, num_images, batch_size, seed)
        return self._renormalised(batches)

    def test_batches(
        self, resolution: int, batch_size: int, limit: int | None = None
    ) -> Iterator[Batch]:
        return self._renormalised(self.source.test_batches(resolution, batch_size, limit))

    def validation_batches(self, resolution: int, batch_size: int, limit: int) -> Iterator[Batch]:
        return self._renormalised(self.source.validation_batches(resolution, batch_size, limit))

    def _renormalised(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for images, labels in batches:
            scale, shift = self._scale.to(images.device), self._shift.to(images.device)
            yield torch.addcmul(shift, images, scale), labels
