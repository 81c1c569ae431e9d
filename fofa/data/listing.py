"""Which image files a data set has, of which class, and on which side of the split.

DIR/train/<class>/ and DIR/val/<class>/, or only DIR/<class>/: then a share of each class is held
out, chosen by the files' contents, so that equal files are never on both sides and a renamed or
copied folder is split alike.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from fofa.data.images import SUFFIXES, UnreadableImageError, read_file
from fofa.data.sampling import shuffled
from fofa.errors import UserError

DEFAULT_VAL_SHARE = 0.2
HASHED_BYTES = 1 << 16
"""Of each end and the middle of a file, to tell equal files; smaller ones are hashed whole."""
IGNORED = ("__MACOSX",)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class ImageList:
    """Image files with their labels.

    Paths lie in one block of bytes: as millions of objects they would be copied, little by little,
    into every worker process.

    Attributes:
        labels: int64 (N,).
    """

    labels: np.ndarray
    _names: bytes
    _ends: np.ndarray

    @classmethod
    def of(cls, paths: Iterable[Path], labels: Iterable[int]) -> ImageList:
        """The list of these files."""
        names = [os.fsencode(path) for path in paths]
        ends = np.cumsum([0, *(len(name) for name in names)])
        return cls(np.fromiter(labels, np.int64), b"".join(names), ends)

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, index: int) -> str:
        """The path of an image, for messages."""
        return os.fsdecode(self._names[self._ends[index] : self._ends[index + 1]])

    def read(self, index: int) -> bytes:
        """The content of an image's file; raises `UnreadableImageError`."""
        return read_file(self.name(index))

    def take(self, indices: Iterable[int]) -> ImageList:
        """The images of these indices, in their order."""
        chosen = list(indices)
        return ImageList.of((Path(self.name(i)) for i in chosen), self.labels[chosen].tolist())

    def arrange(self, num_images: int, seed: int, epoch: int) -> Tensor:
        """The order of an epoch: any image may follow any other."""
        return shuffled(num_images, seed, epoch)


@dataclass(frozen=True, slots=True)
class Splits:
    """The classes of an image folder and its images on both sides."""

    class_names: tuple[str, ...]
    train: ImageList
    val: ImageList


def list_splits(folder: Path, val_share: float | None) -> Splits:
    """The images of a folder, split as it is, or by `val_share` where it has only class folders.

    Raises:
        UserError: naming the place, if classes or images are missing, or `val_share` is for
            another layout.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    if _is_split(folder / "train") or _is_split(folder / "val"):
        if val_share is not None:
            raise UserError(f"{folder}: has train/ and val/, so that --val-share has no meaning")
        class_names, train = list_images(folder / "train")
        val_names, val = list_images(folder / "val")
        if val_names != class_names:
            odd = sorted(set(val_names) ^ set(class_names))[0]
            raise UserError(f"{folder}: class {odd!r} is in only one of train/ and val/")
        return Splits(class_names, train, val)
    class_names, images = list_images(folder)
    held_out = _held_out(images, class_names, DEFAULT_VAL_SHARE if val_share is None else val_share)
    return Splits(
        class_names,
        images.take(np.flatnonzero(~held_out).tolist()),
        images.take(np.flatnonzero(held_out).tolist()),
    )


def list_images(folder: Path) -> tuple[tuple[str, ...], ImageList]:
    """The classes of a split's folder, in alphabetical order, and its images.

    Hidden folders and files are no part of it. Links to files are followed, links to folders only
    where they stand for a class, so that no loop is walked.

    Raises:
        UserError: if the folder is missing, or a class has no images.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; expected DIR/train and DIR/val with a "
            "folder of images for each class, or such folders in DIR itself"
        )
    classes = sorted(p for p in folder.iterdir() if p.is_dir() and not _is_hidden(p.name))
    if len(classes) < 2:
        raise UserError(f"{folder}: has {len(classes)} class folders, expected at least 2")
    here = folder.resolve()
    paths: list[Path] = []
    labels: list[int] = []
    for label, place in enumerate(classes):
        if here.is_relative_to(place.resolve()):
            raise UserError(f"{place}: is a link to a folder that it lies in")
        found = sorted(_image_files(place))
        if not found:
            raise UserError(f"{place}: this class has no images ({', '.join(sorted(SUFFIXES))})")
        paths += found
        labels += [label] * len(found)
    return tuple(place.name for place in classes), ImageList.of(paths, labels)


def _is_split(place: Path) -> bool:
    """Whether a folder called train or val is a side of a split, not a class of that name."""
    return place.is_dir() and any(p.is_dir() and not _is_hidden(p.name) for p in place.iterdir())


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in IGNORED


def _image_files(place: Path) -> Iterator[Path]:
    """Files with an image's suffix at any depth; pipes, devices and sockets are left out."""
    with os.scandir(place) as entries:
        for entry in entries:
            if _is_hidden(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _image_files(Path(entry.path))
            elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:  # noqa: PTH122
                if entry.is_file(follow_symlinks=False) or _is_file_or_missing(entry):
                    yield Path(entry.path)
                else:
                    logger.warning("left out %s: not a regular file", entry.path)


def _is_file_or_missing(entry: os.DirEntry[str]) -> bool:
    """Whether a link leads to a file, or nowhere: that image is reported when it is read."""
    if not entry.is_symlink():
        return False
    try:
        return stat.S_ISREG(entry.stat().st_mode)
    except OSError:
        return True


def _held_out(images: ImageList, class_names: tuple[str, ...], share: float) -> np.ndarray:
    """Which images are held out: of each class the share, rounded, that comes first by content.

    Equal files are decided once, also where they lie in two classes.

    Raises:
        UserError: if the share is not between 0 and 1, or leaves a class no image on one side.
    """
    if not 0 < share < 1:
        raise UserError(f"--val-share {share:g}: expected a number between 0 and 1")
    keys = [_content_key(images, index) for index in range(len(images))]
    decided: dict[bytes, bool] = {}
    held_out = np.zeros(len(images), dtype=bool)
    for label, name in enumerate(class_names):
        groups: dict[bytes, list[int]] = {}
        for index in np.flatnonzero(images.labels == label).tolist():
            groups.setdefault(keys[index], []).append(index)
        shared = decided.keys() & groups.keys()
        total = sum(map(len, groups.values()))
        wanted = min(max(1, round(share * total)), total - 1)
        count = sum(len(group) for key, group in groups.items() if decided.get(key))
        for key in sorted(groups.keys() - decided.keys()):
            decided[key] = count + len(groups[key]) <= wanted
            count += len(groups[key]) * decided[key]
        if not count:
            # Every group is larger than the share: the smallest that this class decides alone.
            own = [key for key in groups if key not in shared]
            if own:
                key = min(own, key=lambda key: (len(groups[key]), key))
                decided[key], count = True, len(groups[key])
        for key, group in groups.items():
            held_out[group] = decided[key]
        if not 0 < count < total:
            raise UserError(
                f"class {name!r}: its {total} images ({len(groups)} different ones) cannot be "
                "split; at least 2 different ones are needed"
            )
    return held_out


def _content_key(images: ImageList, index: int) -> bytes:
    """Equal for files of equal content. Different files may share one: they stay together, too."""
    path = Path(images.name(index))
    try:
        size = path.stat().st_size
        if size <= 3 * HASHED_BYTES:
            content = read_file(path)
        else:
            with path.open("rb") as file:
                content = size.to_bytes(8)
                for at in (0, (size - HASHED_BYTES) // 2, size - HASHED_BYTES):
                    file.seek(at)
                    content += file.read(HASHED_BYTES)
    except (OSError, UnreadableImageError):
        content = os.fsencode(path.name)  # it is reported when it is to be decoded
    return hashlib.blake2b(content, digest_size=16).digest()
