"""CIFAR-10's files: what is accepted, what is refused, and that nothing outside is executed."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fofa.data import cifar10, download, open_data
from fofa.errors import UserError

PNG_NAMES = [name for name in cifar10.PNG_SHA256 if name.endswith(".png")]


def checksums(folder: Path, names: list[str], algorithm: str) -> dict[str, str]:
    import hashlib

    return {
        name: hashlib.new(algorithm, (folder / name).read_bytes()).hexdigest() for name in names
    }


@pytest.fixture
def pixels() -> dict[str, np.ndarray]:
    """Seven images a file, uint8 (7, 3, 32, 32)."""
    rng = np.random.default_rng(0)
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    return {name: rng.integers(0, 256, (7, 3, 32, 32), dtype=np.uint8) for name in names}


@pytest.fixture
def images_folder(
    tmp_path: Path, pixels: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A small data set in the npm package's layout, with checksums to match."""
    for name, images in pixels.items():
        rows = images.transpose(0, 2, 3, 1).reshape(7, 1024, 3)
        Image.fromarray(rows).save(tmp_path / f"{name}.png")
    (tmp_path / "train_lables.json").write_text(json.dumps([i % 10 for i in range(35)]))
    (tmp_path / "test_lables.json").write_text(json.dumps([9 - i for i in range(7)]))
    known = checksums(tmp_path, list(cifar10.PNG_SHA256), "sha256")
    monkeypatch.setattr(cifar10, "PNG_SHA256", known)
    return tmp_path


@pytest.fixture
def pickles_folder(
    tmp_path: Path, pixels: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The same in the original's layout."""
    place = tmp_path / cifar10.PICKLES
    place.mkdir()
    for number, (name, images) in enumerate(pixels.items()):
        first = 7 * number
        labels = [i % 10 for i in range(first, first + 7)]
        if name == "test_batch":
            labels = [9 - i for i in range(7)]
        batch = {"data": images.reshape(7, -1), "labels": labels}
        (place / name).write_bytes(pickle.dumps(batch, protocol=3))
    monkeypatch.setattr(cifar10, "PICKLE_MD5", checksums(place, list(pixels), "md5"))
    return tmp_path


def test_both_layouts_are_read_alike(
    images_folder: Path, pickles_folder: Path, pixels: dict[str, np.ndarray]
) -> None:
    for name in PNG_NAMES:
        assert (images_folder / name).is_file()
    first = cifar10.load_cifar10(images_folder)
    for name in PNG_NAMES:
        (images_folder / name).unlink()
    second = cifar10.load_cifar10(pickles_folder)
    for ours, theirs in zip(first, second, strict=True):
        assert (ours.images == theirs.images).all()
        assert (ours.labels == theirs.labels).all()
    assert (first[0].images[7:14].numpy() == pixels["data_batch_2"]).all()
    assert first[1].labels.tolist() == [9, 8, 7, 6, 5, 4, 3]


def test_opened_by_spec_from_the_package_s_folder(images_folder: Path) -> None:
    source = open_data(f"cifar10:{images_folder}")
    assert (source.name, source.num_train, source.num_test) == ("cifar10", 35, 7)
    assert source.class_names[6] == "frog"


@pytest.mark.parametrize("name", ["data_batch_3.png", "test_lables.json"])
def test_a_changed_file_is_refused_by_name(images_folder: Path, name: str) -> None:
    path = images_folder / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(UserError, match=rf"{name}: not CIFAR-10's file \(sha256"):
        cifar10.load_cifar10(images_folder)


def test_a_missing_file_is_named(images_folder: Path) -> None:
    (images_folder / "data_batch_5.png").unlink()
    with pytest.raises(UserError, match=r"data_batch_5\.png: missing"):
        cifar10.load_cifar10(images_folder)


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_runs_code_does_not(
    pickles_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by its checksum, and not even if that were right."""
    trap = tmp_path / "trap"
    path = pickles_folder / cifar10.PICKLES / "data_batch_1"
    path.write_bytes(pickle.dumps({"data": _Touch(trap), "labels": []}))
    with pytest.raises(UserError, match="not CIFAR-10's file"):
        cifar10.load_cifar10(pickles_folder)
    names = list(cifar10.PICKLE_MD5)
    monkeypatch.setattr(cifar10, "PICKLE_MD5", checksums(path.parent, names, "md5"))
    with pytest.raises(pickle.UnpicklingError, match="mkdir is not allowed"):
        cifar10.load_cifar10(pickles_folder)
    assert not trap.exists()


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_unpacking_writes_the_known_files_and_nothing_else(tmp_path: Path) -> None:
    members = {f"package/{name}": name.encode() for name in cifar10.PNG_SHA256}
    members |= {"package/../../escaped": b"x", "/tmp-escaped": b"x", "package/index.js": b"x"}
    target = tmp_path / "deep" / "target"
    download.unpack_npm(archive(tmp_path / "a.tgz", members), target)
    assert sorted(path.name for path in target.iterdir()) == sorted(cifar10.PNG_SHA256)
    assert not (tmp_path / "escaped").exists()
    assert not (tmp_path / "deep" / "escaped").exists()


def test_an_archive_without_a_file_is_refused(tmp_path: Path) -> None:
    made = archive(tmp_path / "a.tgz", {"package/test_batch.png": b"x"})
    with pytest.raises(UserError, match="has no package/"):
        download.unpack_npm(made, tmp_path / "target")
    assert cifar10.find_cifar10(tmp_path / "target") is None


def test_a_download_that_fails_gives_both_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(folder: Path) -> None:
        raise OSError("no route")

    monkeypatch.setattr(download, "_from_home", unreachable)
    monkeypatch.setattr(download.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=r"no route; .*npm client is not installed"):
        download.download_cifar10(tmp_path / "data")


def test_what_is_there_is_not_downloaded(
    images_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(folder: Path) -> None:
        raise AssertionError("nothing should be fetched")

    monkeypatch.setattr(download, "_from_home", forbidden)
    monkeypatch.setattr(download, "_from_npm", forbidden)
    download.download_cifar10(images_folder)
