"""Image folders (`folder:DIR`, `imagenet:DIR`): train/<class>/ and val/<class>/ with image files.

Worker processes decode. The resolution of a step travels with each image's ticket, so that workers
may run ahead of the trainer by any number of steps.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fofa.data.decoding import Ticket, UnreadableImageError, decode
from fofa.data.sampling import TrainOrder
from fofa.data.source import IMAGENET_MEAN, IMAGENET_STD, Batch, DataSource
from fofa.data.subset import calibration_indices, spread_indices, training_subset
from fofa.errors import UserError
from fofa.seeds import mix

SUFFIXES = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".webp", ".tif", ".tiff"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ImageList:
    """Image files of one split with their labels."""

    paths: list[Path]
    labels: list[int]

    def take(self, indices: Iterable[int]) -> ImageList:
        """The images of these indices, in their order."""
        chosen = list(indices)
        return ImageList([self.paths[i] for i in chosen], [self.labels[i] for i in chosen])


def list_images(folder: Path) -> tuple[tuple[str, ...], ImageList]:
    """The classes of a split's folder, in alphabetical order, and its images.

    Raises:
        UserError: if the folder is missing, or a class has no images.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; expected DIR/train and DIR/val with a "
            "folder of images for each class"
        )
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    if len(classes) < 2:
        raise UserError(f"{folder}: has {len(classes)} class folders, expected at least 2")
    paths: list[Path] = []
    labels: list[int] = []
    for label, place in enumerate(classes):
        found = sorted(p for p in place.rglob("*") if p.suffix.lower() in SUFFIXES)
        if not found:
            raise UserError(f"{place}: this class has no images ({', '.join(sorted(SUFFIXES))})")
        paths += found
        labels += [label] * len(found)
    return tuple(place.name for place in classes), ImageList(paths, labels)


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a worker made of a batch of tickets: uint8 (N, 3, R, R), int64 (N,), and the faults."""

    images: Tensor
    labels: Tensor
    faults: list[str]


class FolderSource(DataSource):
    """A data source over image files.

    Attributes:
        num_skipped: training images left out so far because they could not be read.
    """

    mean, std = IMAGENET_MEAN, IMAGENET_STD

    def __init__(
        self,
        name: str,
        spec: str,
        folder: Path,
        *,
        train_fraction: float = 1.0,
        seed: int = 0,
        device: torch.device | None = None,
        workers: int = 0,
    ) -> None:
        self.name, self.spec = name, spec
        self.class_names, train = list_images(folder / "train")
        test_classes, self._test = list_images(folder / "val")
        if test_classes != self.class_names:
            odd = sorted(set(test_classes) ^ set(self.class_names))[0]
            raise UserError(f"{folder}: class {odd!r} is in only one of train/ and val/")
        self._train = train.take(training_subset(len(train.paths), train_fraction, seed).tolist())
        self.num_train, self.num_test = len(self._train.paths), len(self._test.paths)
        self.num_skipped = 0
        self._device = device or torch.device("cpu")
        self._workers = workers
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
            for step, indices in order.batches(steps):
                resolution = resolution_of(step)
                yield [
                    Ticket(
                        index, resolution, mix(order.seed, "augment", step, order.shard.start + i)
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
        self, images: ImageList, indices: list[int], resolution: int, batch_size: int, *, skip: bool
    ) -> Iterator[Batch]:
        def tickets() -> Iterator[list[Ticket]]:
            for start in range(0, len(indices), batch_size):
                yield [Ticket(index, resolution) for index in indices[start : start + batch_size]]

        yield from self._batches(images, _Lists(tickets), skip=skip)

    def _batches(self, images: ImageList, tickets: _Lists, *, skip: bool) -> Iterator[Batch]:
        loader = DataLoader(
            _Files(images),
            batch_sampler=tickets,
            num_workers=self._workers,
            collate_fn=_collate,
            pin_memory=self._device.type == "cuda",
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


class _Lists:
    """An iterable of ticket lists, as DataLoader takes for its batches."""

    def __init__(self, make: Callable[[], Iterator[list[Ticket]]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[list[Ticket]]:
        return self._make()


class _Files(Dataset[tuple[np.ndarray | str, int]]):
    """Decodes the image of a ticket; a fault comes back as its description."""

    def __init__(self, images: ImageList) -> None:
        self._images = images

    def __getitem__(self, ticket: Ticket) -> tuple[np.ndarray | str, int]:
        path, label = self._images.paths[ticket.index], self._images.labels[ticket.index]
        try:
            return decode(path, ticket), label
        except UnreadableImageError as error:
            return str(error), label


def _collate(items: list[tuple[np.ndarray | str, int]]) -> Decoded:
    arrays = [(pixels, label) for pixels, label in items if not isinstance(pixels, str)]
    faults = [pixels for pixels, _ in items if isinstance(pixels, str)]
    labels = torch.tensor([label for _, label in arrays], dtype=torch.int64)
    if not arrays:
        return Decoded(torch.empty(0, 3, 1, 1, dtype=torch.uint8), labels, faults)
    stacked = torch.from_numpy(np.stack([pixels for pixels, _ in arrays]))
    return Decoded(stacked.permute(0, 3, 1, 2), labels, faults)
