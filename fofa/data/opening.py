"""From a spec such as `cifar10:DIR` to a data source."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from fofa.data.augmentation import Augmentation
from fofa.data.source import DataSource
from fofa.errors import UserError

EXAMPLES = "shapes, cifar10:DIR, folder:DIR, imagenet:DIR or wds:TRAIN.tar,VAL.tar"
VAL_SHARE = re.compile(r"\?val_share=([^?]*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOptions:
    """What `open_data` was asked for, as each data set's opener takes it."""

    spec: str
    place: str
    val_share: float | None
    download: bool
    train_fraction: float
    seed: int
    device: torch.device
    augmentation: Augmentation | None
    workers: int

    @property
    def folder(self) -> Path:
        """The place, where it is a folder."""
        return Path(self.place).expanduser()


def with_val_share(spec: str | None, val_share: float | None) -> str | None:
    """The spec of the same data with that share held out (`--val-share`), for `open_data`.

    None stays None. In the spec it is recorded with the run, and everything that opens the run's
    data splits alike.

    Raises:
        UserError: if the spec is not of an image folder, or names another share already.
    """
    if val_share is None:
        return spec
    if spec is None:
        raise UserError("--val-share needs the data by name: --data folder:DIR")
    if spec.partition(":")[0] not in ("folder", "imagenet"):
        raise UserError(f"--val-share is for image folders (folder:DIR), not for {spec!r}")
    if VAL_SHARE.search(spec):
        raise UserError(f"data {spec!r} names a share itself; leave out --val-share")
    return f"{spec}?val_share={val_share:g}"


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
        spec: `shapes`, `cifar10:DIR`, `folder:DIR`, `imagenet:DIR` or `wds:TRAIN,VAL`. A folder
            without train/ and val/ may say `folder:DIR?val_share=0.3`.
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
    share = VAL_SHARE.search(place) if kind in ("folder", "imagenet") else None
    return DATA_SETS[kind](
        OpenOptions(
            spec=spec,
            place=place[: share.start()] if share else place,
            val_share=_number(share[1]) if share else None,
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
    from fofa.data.listing import list_splits
    from fofa.data.loading import DecodingSource

    splits = list_splits(options.folder, options.val_share)
    return DecodingSource(
        options.spec.partition(":")[0],
        options.spec,
        splits.class_names,
        splits.train,
        splits.val,
        train_fraction=options.train_fraction,
        seed=options.seed,
        device=options.device,
        augmentation=options.augmentation,
        workers=options.workers,
    )


def _open_shards(options: OpenOptions) -> DataSource:
    from fofa.data.loading import DecodingSource
    from fofa.data.shards import open_shards

    class_names, train, val = open_shards(options.place)
    return DecodingSource(
        "wds",
        options.spec,
        class_names,
        train,
        val,
        train_fraction=options.train_fraction,
        seed=options.seed,
        device=options.device,
        augmentation=options.augmentation,
        workers=options.workers,
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"val_share={text}: expected a number between 0 and 1") from None


DATA_SETS: dict[str, Callable[[OpenOptions], DataSource]] = {
    "shapes": _open_shapes,
    "cifar10": _open_cifar10,
    "folder": _open_folder,
    "imagenet": _open_folder,
    "wds": _open_shards,
}
