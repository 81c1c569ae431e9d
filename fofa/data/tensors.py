"""A data set that is kept on the device as one uint8 tensor and augmented there in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fofa.data.augmentation import Augmentation, resize, sample
from fofa.data.sampling import TrainOrder
from fofa.data.source import Batch, Channels, DataSource
from fofa.data.subset import calibration_indices, held_out, training_subset
from fofa.errors import UserError
from fofa.seeds import generator

MAX_HELD_OUT = 2000


@dataclass(frozen=True, slots=True)
class Split:
    """Images, uint8 (N, 3, S, S), with their labels, int64 (N,)."""

    images: Tensor
    labels: Tensor

    def check(self, name: str, num_classes: int) -> None:
        """Refuse what training would only stumble over later.

        Raises:
            UserError: for an empty split, unequal lengths or a label out of range.
        """
        if not len(self.images) or len(self.images) != len(self.labels):
            raise UserError(f"{name}: {len(self.images)} images with {len(self.labels)} labels")
        wrong = self.labels[(self.labels < 0) | (self.labels >= num_classes)]
        if len(wrong):
            raise UserError(
                f"{name}: label {int(wrong[0])} is out of range, expected 0 to {num_classes - 1}"
            )

    def take(self, indices: Tensor) -> Split:
        """The images of these indices (N,), in their order."""
        return Split(self.images[indices], self.labels[indices])

    def to(self, device: torch.device) -> Split:
        """The same on `device`."""
        return Split(self.images.to(device), self.labels.to(device))


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor on `device`; the caller does not wait for a GPU to have it.

    Only a copy from pinned memory runs beside the program.
    """
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class TensorSource(DataSource):
    """A data source over two splits in memory."""

    def __init__(
        self,
        name: str,
        spec: str,
        train: Split,
        test: Split,
        *,
        class_names: tuple[str, ...],
        mean: Channels,
        std: Channels,
        train_fraction: float = 1.0,
        seed: int = 0,
        device: torch.device | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        train.check(f"{spec}: training split", len(class_names))
        test.check(f"{spec}: test split", len(class_names))
        device = self._device = device or torch.device("cpu")
        self.name, self.spec, self.class_names = name, spec, class_names
        self.mean, self.std = mean, std
        chosen = training_subset(len(train.labels), train_fraction, seed)
        others = held_out(len(train.labels), chosen, MAX_HELD_OUT, seed)
        # Where all are trained on, it is some of them that show how training goes.
        self.validated_on = "held-out training images" if len(others) else "training images"
        watched = others if len(others) else calibration_indices(len(train.labels), MAX_HELD_OUT, 1)
        self._watched = train.take(watched).to(device)
        self._train = train.take(chosen)
        self._train, self._test = self._train.to(device), test.to(device)
        self.num_train, self.num_test = len(self._train.labels), len(test.labels)
        self._augmentation = augmentation or Augmentation()
        self._scale = (1 / (255 * torch.tensor(std))).view(1, 3, 1, 1).to(device)
        self._shift = (-torch.tensor(mean) / torch.tensor(std)).view(1, 3, 1, 1).to(device)

    def train_batches(
        self, order: TrainOrder, steps: range, resolution_of: Callable[[int], int]
    ) -> Iterator[Batch]:
        size = self._train.images.shape[-1]
        for step, indices in order.batches(steps):
            # Drawn for the whole global batch, then cut: n processes augment as one would.
            draw = generator(order.seed, "augment", step)
            theta = self._augmentation.affine(order.global_batch, size, draw)[order.shard]
            chosen = self._train.take(send(indices, self._device))
            images = self._normalised(chosen.images)
            yield sample(images, send(theta, self._device), resolution_of(step)), chosen.labels

    def calibration_batches(
        self, resolution: int, num_images: int, batch_size: int, seed: int = 0
    ) -> Iterator[Batch]:
        indices = calibration_indices(self.num_train, num_images, seed)
        chosen = self._train.take(send(indices, self._device))
        yield from self._evaluation_batches(chosen, resolution, batch_size)

    def test_batches(
        self, resolution: int, batch_size: int, limit: int | None = None
    ) -> Iterator[Batch]:
        chosen = Split(self._test.images[:limit], self._test.labels[:limit])
        yield from self._evaluation_batches(chosen, resolution, batch_size)

    def validation_batches(self, resolution: int, batch_size: int, limit: int) -> Iterator[Batch]:
        chosen = Split(self._watched.images[:limit], self._watched.labels[:limit])
        yield from self._evaluation_batches(chosen, resolution, batch_size)

    def _evaluation_batches(
        self, split: Split, resolution: int, batch_size: int
    ) -> Iterator[Batch]:
        size = min(batch_size, len(split.labels))
        for images, labels in zip(split.images.split(size), split.labels.split(size), strict=True):
            yield resize(self._normalised(images), resolution), labels

    def _normalised(self, images: Tensor) -> Tensor:
        return images.float().mul_(self._scale).add_(self._shift)
