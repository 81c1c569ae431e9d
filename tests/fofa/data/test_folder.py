"""Image folders: the layout, worker processes, and files that are not what they should be."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fofa.data import DataSource, TrainOrder, open_data, with_val_share
from fofa.data.listing import list_images, list_splits
from fofa.data.loading import Decoded
from fofa.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 3)):
        for name in ("cat", "dog"):
            place = tmp_path / split / name
            place.mkdir(parents=True)
            for number in range(count):
                size = (int(rng.integers(20, 60)), int(rng.integers(20, 60)), 3)
                pixels = rng.integers(0, 256, size, dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.png")
    return tmp_path


def train(source: DataSource, steps: range, **changes: int) -> list[tuple[torch.Tensor, ...]]:
    values = {"batch_size": 4, "seed": 0} | changes
    order = TrainOrder(num_images=source.num_train, **values)
    return list(source.train_batches(order, steps, lambda step: 16 + 8 * (step % 2)))


def test_classes_are_folders_in_alphabetical_order(folder: Path) -> None:
    source = open_data(f"folder:{folder}")
    assert source.class_names == ("cat", "dog")
    assert (source.num_train, source.num_test) == (12, 6)
    labels = torch.cat([labels for _, labels in source.test_batches(16, 4)])
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_part_of_the_test_images_is_of_all_classes(folder: Path) -> None:
    source = open_data(f"folder:{folder}")
    parts = {limit: list(source.test_batches(16, 4, limit)) for limit in (1, 2, 4, 6, 100)}
    labels = {
        limit: torch.cat([labels for _, labels in batches]).tolist()
        for limit, batches in parts.items()
    }
    assert labels == {
        1: [0],
        2: [0, 1],
        4: [0, 0, 1, 1],
        6: [0, 0, 0, 1, 1, 1],
        100: [0, 0, 0, 1, 1, 1],
    }
    again = list(source.test_batches(16, 4, 4))
    assert torch.equal(parts[4][0][0], again[0][0])


def test_workers_do_not_change_what_is_trained_on(folder: Path) -> None:
    alone = train(open_data(f"imagenet:{folder}", workers=0), range(5))
    helped = train(open_data(f"imagenet:{folder}", workers=2), range(5))
    assert [images.shape[-1] for images, _ in alone] == [16, 24, 16, 24, 16]
    for ours, theirs in zip(alone, helped, strict=True):
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])


def test_a_batch_depends_on_its_step_only_and_shards_make_it_up(folder: Path) -> None:
    source = open_data(f"folder:{folder}")
    whole, tail = train(source, range(4)), train(source, range(3, 4))
    assert torch.equal(whole[3][0], tail[0][0])
    parts = [train(source, range(1), batch_size=2, rank=r, world_size=2)[0][0] for r in (0, 1)]
    assert torch.equal(whole[0][0], torch.cat(parts))


def test_evaluation_images_are_normalised_centre_crops(folder: Path) -> None:
    flat = Image.new("RGB", (64, 40), (255, 0, 0))
    flat.save(folder / "val" / "cat" / "0.png")
    images, _ = next(open_data(f"folder:{folder}").test_batches(16, 1))
    assert images.shape == (1, 3, 16, 16)
    expected = (torch.tensor([1.0, 0, 0]) - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor(
        [0.229, 0.224, 0.225]
    )
    assert torch.allclose(images[0, :, 8, 8], expected, atol=1e-5)


@pytest.mark.parametrize("content", [b"", b"not an image", "truncated"])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_training_image_is_skipped_and_counted(
    folder: Path, content: bytes | str, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = folder / "train" / "cat" / "0.png"
    path.write_bytes(path.read_bytes()[:200] if isinstance(content, str) else content)
    source = open_data(f"folder:{folder}", workers=workers)
    with caplog.at_level(logging.WARNING):
        sizes = [len(labels) for _, labels in train(source, range(3))]
    assert sorted(sizes) == [3, 4, 4]
    assert "skipped image 1 that cannot be read" in caplog.text
    assert str(path) in caplog.text


def test_a_batch_without_any_readable_image_stops(folder: Path) -> None:
    for path in (folder / "train").rglob("*.png"):
        path.write_bytes(b"x")
    with pytest.raises(UserError, match="no image of a batch can be read"):
        train(open_data(f"folder:{folder}"), range(1))


def test_a_damaged_test_image_stops_the_evaluation(folder: Path) -> None:
    (folder / "val" / "dog" / "1.png").write_bytes(b"x")
    source = open_data(f"folder:{folder}")
    with pytest.raises(UserError, match=r"cannot read a test image: .*dog/1\.png"):
        list(source.test_batches(16, 2))


def test_an_empty_class_is_named(folder: Path) -> None:
    (folder / "train" / "bird").mkdir()
    with pytest.raises(UserError, match=r"train/bird: this class has no images"):
        open_data(f"folder:{folder}")


def test_a_class_in_one_split_only_is_named(folder: Path) -> None:
    (folder / "val" / "dog").rename(folder / "val" / "cow")
    with pytest.raises(UserError, match="class 'cow' is in only one of"):
        open_data(f"folder:{folder}")


@pytest.mark.parametrize("missing", ["train", "val"])
def test_a_missing_split_is_named(folder: Path, missing: str) -> None:
    (folder / missing).rename(folder / "elsewhere")
    with pytest.raises(UserError, match=f"{missing}: no such folder"):
        open_data(f"folder:{folder}")


def test_what_is_hidden_or_no_file_is_no_part_of_the_data(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Notebook folders, archives' leavings, pipes, and links that lead in circles."""
    cats = folder / "train" / "cat"
    for name in (".ipynb_checkpoints", "__MACOSX", ".git"):
        (folder / "train" / name).mkdir()
        shutil.copy(cats / "0.png", folder / "train" / name / "0.png")
        (cats / name).mkdir()
        shutil.copy(cats / "0.png", cats / name / "0.png")
    shutil.copy(cats / "0.png", cats / "._0.png")
    os.mkfifo(cats / "pipe.png")
    (cats / "device.png").symlink_to("/dev/zero")
    (cats / "loop").symlink_to(folder / "train", target_is_directory=True)
    (cats / "notes.txt").write_text("x")
    with caplog.at_level(logging.WARNING):
        source = open_data(f"folder:{folder}")
    assert source.class_names == ("cat", "dog")
    assert source.num_train == 12
    assert "pipe.png: not a regular file" in caplog.text
    assert "device.png: not a regular file" in caplog.text


def test_links_to_files_and_to_whole_classes_are_followed(folder: Path) -> None:
    place = folder / "train"
    (place / "dog").rename(folder / "elsewhere")
    (place / "dog").symlink_to(folder / "elsewhere", target_is_directory=True)
    (place / "cat" / "linked.png").symlink_to(folder / "elsewhere" / "0.png")
    (place / "cat" / "lost.png").symlink_to(folder / "nowhere.png")
    source = open_data(f"folder:{folder}")
    assert source.num_train == 14
    batches = list(source.calibration_batches(16, 100, 5))
    assert sum(len(labels) for _, labels in batches) == 13
    assert source.num_skipped == 1  # the one that leads nowhere


def test_a_class_that_holds_the_others_is_refused(folder: Path) -> None:
    (folder / "train" / "all").symlink_to(folder / "train", target_is_directory=True)
    with pytest.raises(UserError, match=r"train/all: is a link to a folder that it lies in"):
        open_data(f"folder:{folder}")


def test_names_of_any_bytes_are_kept(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    odd = os.fsdecode(b"\xff caf\xc3\xa9.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "a" / odd)
    Image.new("RGB", (9, 9)).save(tmp_path / "b" / "1.png")
    _, images = list_images(tmp_path)
    assert images.name(0) == str(tmp_path / "a" / odd)
    assert len(images.read(0)) == (tmp_path / "a" / odd).stat().st_size


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Three class folders of 10, 25 and 40 images, without train/ and val/."""
    rng = np.random.default_rng(1)
    for name, count in (("cat", 10), ("dog", 25), ("owl", 40)):
        place = tmp_path / "photos" / name
        place.mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / f"{number}.png")
    return tmp_path / "photos"


def sides(folder: Path, share: float | None = None) -> tuple[set[bytes], set[bytes]]:
    splits = list_splits(folder, share)
    train, val = (
        {images.read(index) for index in range(len(images))}
        for images in (splits.train, splits.val)
    )
    return train, val


@pytest.mark.parametrize(("share", "held_out"), [(None, [2, 5, 8]), (0.5, [5, 12, 20])])
def test_a_share_of_each_class_is_held_out(
    classes: Path, share: float | None, held_out: list[int]
) -> None:
    source = open_data(with_val_share(f"folder:{classes}", share))
    assert source.class_names == ("cat", "dog", "owl")
    assert source.num_train + source.num_test == 75
    labels = torch.cat([labels for _, labels in source.test_batches(16, 32)])
    assert labels.bincount().tolist() == held_out
    train, val = sides(classes, share)
    assert not train & val


def test_the_split_is_of_contents_not_of_names_places_or_seeds(
    classes: Path, tmp_path: Path
) -> None:
    expected = sides(classes)
    moved = tmp_path / "moved"
    for number, path in enumerate(sorted(classes.rglob("*.png"), reverse=True)):
        place = moved / path.parent.name / "below"
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place / f"x{number}.png")
    assert sides(moved) == expected
    batches = [
        torch.cat([b for b, _ in open_data(f"folder:{classes}", seed=seed).test_batches(12, 99)])
        for seed in (0, 1)
    ]
    assert torch.equal(*batches)


def test_equal_files_stay_on_one_side(classes: Path) -> None:
    """Copies in the class and in another one: nothing that is tested on was trained on."""
    for path in sorted(classes.rglob("*.png")):
        if int(path.stem) % 3 == 0:
            shutil.copy(path, path.with_name(f"copy of {path.name}"))
        if int(path.stem) % 7 == 0:
            shutil.copy(path, classes / "dog" / f"{path.parent.name} {path.name}")
    train, val = sides(classes)
    assert not train & val
    splits = list_splits(classes, None)
    for label in range(3):
        count = (splits.val.labels == label).sum()
        total = count + (splits.train.labels == label).sum()
        assert 0.1 * total <= count <= 0.3 * total


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: [f.unlink() for f in sorted((p / "cat").iterdir())[1:]], "its 1 images"),
        (
            lambda p: [
                shutil.copy(p / "cat" / "0.png", f)
                for f in (p / "cat").iterdir()
                if f.name != "0.png"
            ],
            r"its 10 images \(1 different ones\) cannot be split",
        ),
        (lambda p: shutil.rmtree(p / "cat") or shutil.rmtree(p / "dog"), "has 1 class folders"),
        (shutil.rmtree, "no such folder"),
    ],
)
def test_a_folder_that_cannot_be_split_says_why(
    classes: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(classes)
    with pytest.raises(UserError, match=message):
        open_data(f"folder:{classes}")


@pytest.mark.parametrize("share", ["0", "1", "-0.5", "nan", "much", ""])
def test_a_wrong_share_is_refused(classes: Path, share: str) -> None:
    with pytest.raises(UserError, match="expected a number between 0 and 1"):
        open_data(f"folder:{classes}?val_share={share}")


def test_a_share_is_only_for_folders_without_a_split(folder: Path) -> None:
    with pytest.raises(UserError, match=r"has train/ and val/, so that --val-share"):
        open_data(f"folder:{folder}?val_share=0.3")
    with pytest.raises(UserError, match="is for image folders"):
        with_val_share("shapes", 0.3)
    with pytest.raises(UserError, match="names a share itself"):
        with_val_share("folder:x?val_share=0.3", 0.3)
    assert with_val_share("folder:x", 0.25) == "folder:x?val_share=0.25"
    assert with_val_share("shapes", None) == "shapes"


def test_train_may_be_a_class(classes: Path) -> None:
    """Locomotives: a folder `train` that holds images, not classes."""
    (classes / "owl").rename(classes / "train")
    assert open_data(f"folder:{classes}").class_names == ("cat", "dog", "train")


def test_batches_are_pinned_where_a_gpu_waits_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loader pins the tensors of tuples; of other classes it pins none, silently."""
    from torch.utils.data._utils.pin_memory import pin_memory

    asked: list[tuple[int, ...]] = []

    def pinned(tensor: torch.Tensor, *_: object) -> torch.Tensor:
        asked.append(tuple(tensor.shape))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pinned)
    batch = Decoded(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(2), ["a fault"])
    again = pin_memory(batch)
    assert asked == [(2, 3, 8, 8), (2,)]
    assert isinstance(again, Decoded)
    assert again.faults == ["a fault"]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_huge_image_is_one_line_for_calibration_and_a_stop_for_testing(
    folder: Path, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A small file of 1 x 60,000,000 pixels."""
    path = folder / "train" / "cat" / "0.png"
    strip = Image.new("1", (1, 70_000))
    strip.save(path)
    source = open_data(f"folder:{folder}", workers=workers)
    with caplog.at_level(logging.WARNING):
        assert sum(len(labels) for _, labels in source.calibration_batches(16, 12, 4)) == 11
    assert f"{path}: 1 x 70000 pixels; at most" in caplog.text
    strip.save(folder / "val" / "cat" / "0.png")
    with pytest.raises(UserError, match=r"cannot read a test image: .*val/cat/0\.png: 1 x 70000"):
        list(source.test_batches(16, 4))
