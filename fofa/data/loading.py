"""Lists of image files to batches: tickets to worker processes, decoded batches to the device.

The resolution of a step travels with each image's ticket, so that workers may run ahead of the
trainer by any number of steps.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fofa.data.augmentation import Augmentation
from fofa.data.decoding import Ticket, decode
from fofa.data.images import UnreadableImageError
from fofa.data.sampling import TrainOrder
from fofa.data.source import IMAGENET_MEAN, IMAGENET_STD, Batch, DataSource
from fofa.data.subset import calibration_indices, spread_indices, training_subset
from fofa.errors import UserError
from fofa.seeds import mix

logger = logging.getLogger(__name__)


class Images(Protocol):
    """Encoded images of one split with their labels, int64 (N,)."""

    @property
    def labels(self) -> np.ndarray: ...

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """What an image is called in messages."""

    def read(self, index: int) -> bytes:
        """The content of its file; raises `UnreadableImageError`."""

    def take(self, indices: Iterable[int]) -> Self:
        """The images of these indices, in their order."""

    def arrange(self, num_images: int, seed: int, epoch: int) -> Tensor:
        """The order of an epoch, as `fofa.data.sampling.Arrange`."""


class Decoded(NamedTuple):
    """What a worker made of a batch of tickets: uint8 (N, 3, R, R), int64 (N,), and the faults.

    A tuple, because the loader pins the tensors of tuples only.
    """

    images: Tensor
    labels: Tensor
    faults: list[str]


class DecodingSource(DataSource):
    """A data source over encoded images, of which training sees random parts.

    Attributes:
        num_skipped: training images left out so far because they could not be read.
    """

    mean, std = IMAGENET_MEAN, IMAGENET_STD

    def __init__(
        self,
        name: str,
        spec: str,
        class_names: tuple[str, ...],
        train: Images,
        test: Images,
        *,
        train_fraction: float = 1.0,
        seed: int = 0,
        device: torch.device | None = None,
        augmentation: Augmentation | None = None,
        workers: int = 0,
    ) -> None:
        self.name, self.spec, self.class_names = name, spec, class_names
        self._train = train
        if train_fraction != 1:
            self._train = train.take(training_subset(len(train), train_fraction, seed).tolist())
        self._test = test
        self.num_train, self.num_test = len(self._train), len(test)
        self.num_skipped = 0
        self._device = device or torch.device("cpu")
        self._workers = workers
        self._min_area = (augmentation or Augmentation(crop="resized")).least_area
        self._scale = (1 / (255 * torch.tensor(self.std))).view(1, 3, 1, 1).to(self._device)
        shift = -torch.tensor(self.mean) / torch.tensor(self.std)
        self._shift = shift.view(1, 3, 1, 1).to(self._device)

    def train_batches(
        self, order: TrainOrder, steps: range, resolution_of: Callable[[int], int]
    ) -> Iterator[Batch]:
        """As every source; an image that cannot be read is left out of its batch and reported.

        Raises:
            UserError: if no image of a batch can be read.
        """

        def tickets() -> Iterator[list[Ticket]]:
            for step, indices in order.batches(steps, self._train.arrange):
                resolution = resolution_of(step)
                yield [
                    Ticket(
                        index,
                        resolution,
                        mix(order.seed, "augment", step, order.shard.start + i),
                        self._min_area,
                    )
                    for i, index in enumerate(indices.tolist())
                ]

        yield from self._batches(self._train, _Lists(tickets), skip=True)

    def calibration_batches(
        self, resolution: int, num_images: int, batch_size: int, seed: int = 0
    ) -> Iterator[Batch]:
        indices = calibration_indices(self.num_train, num_images, seed).tolist()
        yield from self._evaluation(self._train, indices, resolution, batch_size, skip=True)

    def test_batches(
        self, resolution: int, batch_size: int, limit: int | None = None
    ) -> Iterator[Batch]:
        """As every source; accuracy is of known images, so one that cannot be read stops it.

        Raises:
            UserError: naming the file.
        """
        indices = spread_indices(self.num_test, limit)
        yield from self._evaluation(self._test, indices, resolution, batch_size, skip=False)

    def _evaluation(
        self, images: Images, indices: list[int], resolution: int, batch_size: int, *, skip: bool
    ) -> Iterator[Batch]:
        def tickets() -> Iterator[list[Ticket]]:
            for start in range(0, len(indices), batch_size):
                yield [Ticket(index, resolution) for index in indices[start : start + batch_size]]

        yield from self._batches(images, _Lists(tickets), skip=skip)

    def _batches(self, images: Images, tickets: _Lists, *, skip: bool) -> Iterator[Batch]:
        loader = DataLoader(
            DecodedImages(images),
            batch_sampler=tickets,
            num_workers=self._workers,
            collate_fn=collate,
            pin_memory=self._device.type == "cuda",
            worker_init_fn=leave_signals_to_parent,
        )
        for decoded in loader:
            for fault in decoded.faults:
                if not skip:
                    raise UserError(f"cannot read a test image: {fault}")
                self.num_skipped += 1
                logger.warning("skipped image %d that cannot be read: %s", self.num_skipped, fault)
            if not len(decoded.labels):
                raise UserError(f"no image of a batch can be read; the last: {decoded.faults[-1]}")
            pixels = decoded.images.to(self._device, non_blocking=True).float()
            normalised = pixels.mul_(self._scale).add_(self._shift)
            labels = decoded.labels.to(self._device, non_blocking=True)
            yield normalised.contiguous(memory_format=torch.channels_last), labels


def leave_signals_to_parent(_: int) -> None:
    """A worker ends when its parent does: a signal to the whole group leaves the decision there."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


class _Lists:
    """An iterable of ticket lists, as DataLoader takes for its batches."""

    def __init__(self, make: Callable[[], Iterator[list[Ticket]]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[list[Ticket]]:
        return self._make()


class DecodedImages(Dataset[tuple[np.ndarray | str, int]]):
    """Decodes the image of a ticket; a fault comes back as its description."""

    def __init__(self, images: Images) -> None:
        self._images = images

    def __getitem__(self, ticket: Ticket) -> tuple[np.ndarray | str, int]:
        label = int(self._images.labels[ticket.index])
        try:
            return decode(self._images.read(ticket.index), ticket), label
        except UnreadableImageError as error:
            return f"{self._images.name(ticket.index)}: {error}", label


def collate(items: list[tuple[np.ndarray | str, int]]) -> Decoded:
    """A worker's batch, without the images that could not be decoded."""
    arrays = [(pixels, label) for pixels, label in items if not isinstance(pixels, str)]
    faults = [pixels for pixels, _ in items if isinstance(pixels, str)]
    labels = torch.tensor([label for _, label in arrays], dtype=torch.int64)
    if not arrays:
        return Decoded(torch.empty(0, 3, 1, 1, dtype=torch.uint8), labels, faults)
    stacked = torch.from_numpy(np.stack([pixels for pixels, _ in arrays]))
    return Decoded(stacked.permute(0, 3, 1, 2), labels, faults)
