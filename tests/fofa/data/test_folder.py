"""Image folders: the layout, worker processes, and files that are not what they should be."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fofa.data import DataSource, TrainOrder, open_data
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
