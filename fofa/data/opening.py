"""From a spec such as `cifar10:DIR` to a data source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from fofa.data.augmentation import Augmentation
from fofa.data.source import DataSource
from fofa.errors import UserError

EXAMPLES = "shapes, cifar10:DIR, folder:DIR or imagenet:DIR"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOptions:
    """What `open_data` was asked for, as each data set's opener takes it."""

    spec: str
    folder: Path
    download: bool
    train_fraction: float
    seed: int
    device: torch.device
    augmentation: Augmentation | None
    workers: int


def open_data(
    spec: str,
    *,
    download: bool = False,
    train_fraction: float = 1.0,
    seed: int = 0,
    device: torch.device | None = None,
    augmentation: Augmentation | None = None,
    workers: int = 0,
) -> DataSource:
    """Open the data set that `spec` names.

    Args:
        spec: `shapes`, `cifar10:DIR`, `folder:DIR` or `imagenet:DIR`.
        download: fetch CIFAR-10 into DIR if it is not there.
        train_fraction: the share of the training images to use, drawn by `seed`.
        device: where batches are wanted; the CPU by default.
        augmentation: of data sets that are kept in memory; each has its own default.
        workers: processes that decode images, where there are image files.

    Raises:
        UserError: if the spec or the data is not usable, in one line.
    """
    kind, separator, place = spec.partition(":")
    if kind not in DATA_SETS or (kind == "shapes") == bool(separator) or (separator and not place):
        raise UserError(f"data {spec!r}: expected {EXAMPLES}")
    return DATA_SETS[kind](
        OpenOptions(
            spec=spec,
            folder=Path(place).expanduser(),
            download=download,
            train_fraction=train_fraction,
            seed=seed,
            device=device or torch.device("cpu"),
            augmentation=augmentation,
            workers=workers,
        )
    )


def _open_shapes(options: OpenOptions) -> DataSource:
    from fofa.data import shapes
    from fofa.data.tensors import TensorSource

    return TensorSource(
        "shapes",
        options.spec,
        # The pictures are the same for every run's seed: it is one data set.
        shapes.draw_shapes(shapes.NUM_TRAIN, seed=0),
        shapes.draw_shapes(shapes.NUM_TEST, seed=1),
        class_names=shapes.CLASS_NAMES,
        mean=shapes.MEAN,
        std=shapes.STD,
        train_fraction=options.train_fraction,
        seed=options.seed,
        device=options.device,
        augmentation=options.augmentation or Augmentation(padding=0.0625),
    )


def _open_cifar10(options: OpenOptions) -> DataSource:
    from fofa.data import cifar10
    from fofa.data.tensors import TensorSource

    if options.download:
        from fofa.data.download import download_cifar10

        download_cifar10(options.folder)
    train, test = cifar10.load_cifar10(options.folder)
    return TensorSource(
        "cifar10",
        options.spec,
        train,
        test,
        class_names=cifar10.CLASS_NAMES,
        mean=cifar10.MEAN,
        std=cifar10.STD,
        train_fraction=options.train_fraction,
        seed=options.seed,
        device=options.device,
        augmentation=options.augmentation,
    )


def _open_folder(options: OpenOptions) -> DataSource:
    from fofa.data.folder import FolderSource

    return FolderSource(
        options.spec.partition(":")[0],
        options.spec,
        options.folder,
        train_fraction=options.train_fraction,
        seed=options.seed,
        device=options.device,
        workers=options.workers,
    )


DATA_SETS: dict[str, Callable[[OpenOptions], DataSource]] = {
    "shapes": _open_shapes,
    "cifar10": _open_cifar10,
    "folder": _open_folder,
    "imagenet": _open_folder,
}
