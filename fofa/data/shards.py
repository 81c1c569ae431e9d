"""`wds:TRAIN,VAL`: WebDataset shards, tar files that hold KEY.jpg beside KEY.cls or KEY.json.

The headers of every shard are read once, so that each image is known by where it lies: the number
of images, their classes and any step of training are then known without reading through the
shards. An epoch takes the shards in random order and mixes within a window of images, so that
reading stays almost sequential and no image waits in memory. Nothing is extracted: no name in an
archive becomes a path on this machine.
"""

from __future__ import annotations

import json
import os
import re
import stat
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from glob import glob
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fofa.data.images import MAX_FILE_BYTES, SUFFIXES, UnreadableImageError
from fofa.errors import UserError
from fofa.seeds import generator

LABEL_BYTES = 1 << 20
"""The most that a file with an image's label may have."""
JSON_KEYS = ("cls", "label", "class")
WINDOW = 8192
"""Images that are mixed with each other; at 100 kB each, 0.8 GB of a shard's length."""
CLASS_FILES = ("classes.txt", "classes.json")
MAX_SHARDS = 1_000_000
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True, slots=True, eq=False)
class ShardImages:
    """Images of one split, by their place in the shards.

    Attributes:
        labels: int64 (N,).
        shard, start, size: of each image, the shard's index, first byte and length, int64 (N,).
    """

    shards: tuple[Path, ...]
    labels: np.ndarray
    shard: np.ndarray
    start: np.ndarray
    size: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, index: int) -> str:
        """The shard and the place in it."""
        return f"{self.shards[self.shard[index]]}: image at byte {self.start[index]}"

    def read(self, index: int) -> bytes:
        """The content of an image's file; raises `UnreadableImageError`."""
        size = int(self.size[index])
        if size > MAX_FILE_BYTES:
            raise UnreadableImageError(f"larger than {MAX_FILE_BYTES >> 20} MiB")
        try:
            with self.shards[self.shard[index]].open("rb") as file:
                file.seek(int(self.start[index]))
                content = file.read(size)
        except OSError as error:
            raise UnreadableImageError(error.strerror or str(error)) from None
        if len(content) < size:
            raise UnreadableImageError("the shard ends before it")
        return content

    def take(self, indices: Iterable[int]) -> ShardImages:
        """The images of these indices, in their order."""
        chosen = np.fromiter(indices, np.int64)
        fields = (self.labels, self.shard, self.start, self.size)
        return ShardImages(self.shards, *(field[chosen] for field in fields))

    def arrange(self, num_images: int, seed: int, epoch: int) -> Tensor:
        """An epoch's order, int64 (N,): shards at random, then a window of images mixed.

        As a buffer of `WINDOW` images does it that is filled from the shards one after the other
        and gives a random one for each that comes in.
        """
        draw = generator(seed, "order", epoch)
        turn = torch.randperm(len(self.shards), generator=draw).numpy()
        incoming = np.argsort(turn[self.shard[:num_images]], kind="stable")
        window = incoming[:WINDOW].copy()
        order = np.empty(num_images, dtype=np.int64)
        picks = torch.randint(len(window), (num_images,), generator=draw).numpy()
        for place, (image, pick) in enumerate(zip(incoming[WINDOW:], picks, strict=False)):
            order[place], window[pick] = window[pick], image
        rest = torch.randperm(len(window), generator=draw).numpy()
        order[num_images - len(window) :] = window[rest]
        return torch.from_numpy(order)


def open_shards(place: str) -> tuple[tuple[str, ...], ShardImages, ShardImages]:
    """The class names and both splits of `TRAIN,VAL`, two patterns, or of a folder.

    A pattern may have `*`, `?`, `[...]` and ranges like `{000..146}`; a folder has `train*.tar` and
    `val*.tar`. Class names stand beside the shards, one a line in classes.txt, or as a list or
    {"0": name, ...} in classes.json; without either, classes are called by their numbers.

    Raises:
        UserError: naming the pattern, shard or member that is wrong.
    """
    patterns = [pattern.strip() for pattern in place.split(",")]
    if len(patterns) == 1 and Path(place).expanduser().is_dir():
        patterns = [f"{place}/train*.tar", f"{place}/val*.tar"]
    if len(patterns) != 2 or not all(patterns):
        raise UserError(
            f"data 'wds:{place}': expected two patterns, such as "
            "wds:DIR/train-{000..146}.tar,DIR/val-*.tar, or a folder of train*.tar and val*.tar"
        )
    found = [expand(pattern) for pattern in patterns]
    names = _class_names(found[0][0].parent)
    train, val = (_index(shards, names) for shards in found)
    if names is None:
        num_classes = 1 + max(int(train.labels.max()), int(val.labels.max()))
        names = tuple(str(number) for number in range(num_classes))
    for shards, split in zip(found, (train, val), strict=True):
        wrong = split.labels[split.labels >= len(names)]
        if len(wrong):
            raise UserError(
                f"{shards[0].parent}: class {wrong[0]} of an image, but {len(names)} class names"
            )
    if len(names) < 2:
        raise UserError(f"{found[0][0].parent}: has {len(names)} class, expected at least 2")
    return names, train, val


def expand(pattern: str) -> tuple[Path, ...]:
    """The shards of a pattern, in alphabetical order.

    Raises:
        UserError: if there are none, or one of a range is missing.
    """
    pattern = str(Path(pattern).expanduser())
    match = RANGE.search(pattern)
    if match is None:
        found = tuple(sorted(Path(path) for path in glob(pattern)))  # noqa: PTH207
        if not found:
            raise UserError(f"{pattern}: no such shards")
        return found
    first, last = int(match[1]), int(match[2])
    if not 0 <= last - first < MAX_SHARDS:
        raise UserError(f"{pattern}: expected a range such as {{000..146}}")
    before, after = pattern[: match.start()], pattern[match.end() :]
    numbers = (f"{number:0{len(match[1])}}" for number in range(first, last + 1))
    return tuple(path for number in numbers for path in expand(before + number + after))


def _class_names(folder: Path) -> tuple[str, ...] | None:
    """The names beside the shards, in the order of the labels."""
    for path in (folder / name for name in CLASS_FILES):
        if not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
            content: Any = json.loads(text) if path.suffix == ".json" else text.split("\n")
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot read: {error}") from None
        if isinstance(content, dict) and sorted(content) == sorted(map(str, range(len(content)))):
            content = [content[str(number)] for number in range(len(content))]
        if not isinstance(content, list) or not all(isinstance(name, str) for name in content):
            raise UserError(f"{path}: expected a list of class names")
        names = tuple(name.strip() for name in content if name.strip())
        if len(set(names)) != len(names):
            raise UserError(f"{path}: a class name stands there twice")
        return names
    return None


def _index(shards: tuple[Path, ...], names: tuple[str, ...] | None) -> ShardImages:
    rows = [
        (label, number, start, size)
        for number, path in enumerate(shards)
        for label, start, size in _images_of(path, names)
    ]
    if not rows:
        raise UserError(f"{shards[0]}: holds no images with a label (KEY.jpg and KEY.cls)")
    columns = np.array(rows, dtype=np.int64).T
    return ShardImages(shards, *(np.ascontiguousarray(column) for column in columns))


def _images_of(path: Path, names: tuple[str, ...] | None) -> Iterator[tuple[int, int, int]]:
    """Label, first byte and length of each image of a shard.

    Raises:
        UserError: if the shard is damaged, or an image has no label.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{path}: not a regular file")
            with tarfile.open(fileobj=file, mode="r:") as tar:
                images: dict[str, tuple[int, int]] = {}
                last = -1
                labels: dict[str, int] = {}
                for member in tar:
                    tar.members = []  # type: ignore[attr-defined] # it keeps all of them otherwise
                    if member.size < 0 or member.offset_data <= last:
                        raise UserError(f"{path}: a header that leads back or nowhere")
                    last = member.offset_data
                    if not member.isreg() or member.issparse():
                        continue
                    key, ending = _key(member.name)
                    if member.offset_data + member.size > status.st_size:
                        raise UserError(f"{path}: ends within {member.name!r}")
                    if f".{ending}" in SUFFIXES:
                        images[key] = (member.offset_data, member.size)
                    elif ending in ("cls", "json"):
                        text = tar.extractfile(member)
                        if text is None or member.size > LABEL_BYTES:
                            raise UserError(f"{path}: {member.name!r} is too large for a label")
                        label = _label(text.read(), ending, names)
                        if label is None and ending == "cls":
                            raise UserError(f"{path}: {member.name!r} names no class")
                        if label is not None:
                            labels[key] = label
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror or error}") from None
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise UserError(f"{path}: not an uncompressed tar file: {error}") from None
    for key, (start, size) in images.items():
        if key not in labels:
            raise UserError(f"{path}: image {key!r} has no label ({key}.cls or {key}.json)")
        yield labels[key], start, size


def _key(name: str) -> tuple[str, str]:
    """A member's name up to the first dot of its last part, and what follows, in lower case."""
    member = PurePosixPath(name)
    stem, _, ending = member.name.partition(".")
    return str(member.parent / stem), ending.lower()


def _label(content: bytes, ending: str, names: tuple[str, ...] | None) -> int | None:
    """The class of a label file, by number or by name; None where it has none."""
    try:
        value: Any = json.loads(content) if ending == "json" else content.decode().strip()
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict):
        value = next((value[key] for key in JSON_KEYS if key in value), None)
    if isinstance(value, str) and names and value in names:
        return names.index(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9:
        return value
    return None
