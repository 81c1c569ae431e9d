"""Faults of the data, as a person meets them: a folder of images and the real command line.

In more detail: `tests/fofa/data/test_folder.py` (images), `tests/fofa/data/test_sources.py` (labels
out of range), `tests/fofa/train/test_launch.py` (a loss or weights that are no numbers).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fofa.accuracy import AccuracyTable
from fofa.runs import Run
from fofa.train.checkpoint import load_checkpoint


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two classes, four training and two test images each."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "images"
    for split, count in (("train", 4), ("val", 2)):
        for name in ("cat", "dog"):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 255, (20, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")
    return folder


@pytest.fixture
def train(programs: Any, images: Path, tmp_path: Path) -> Callable[..., Any]:
    """Trains two steps or so on the images."""

    def run(*options: object, batch_size: int = 4) -> Any:
        return programs.run(
            *("fofa-train", "--recipe", "fofa-n3", "--preset", "imagenet"),
            *("--data", f"folder:{images}", "--resolutions", 16, "--width-mult", 0.25),
            *("--batch-size", batch_size, "--epoch-scale", 0.006, "--workers", 0),
            *("--device", "cpu", "--no-tensorboard", "--out", tmp_path / "run"),
            *options,
        )

    return run


def test_sound_images_train(train: Callable[..., Any], tmp_path: Path) -> None:
    train().check(0)
    assert Run.open(tmp_path / "run").record.status == "finished"


def test_a_corrupt_training_image_is_left_out_and_named(
    train: Callable[..., Any], images: Path, tmp_path: Path
) -> None:
    damaged = images / "train" / "cat" / "0.png"
    damaged.write_bytes(damaged.read_bytes()[:100])
    ended = train().check(0)
    assert str(damaged) in ended.stderr
    assert Run.open(tmp_path / "run").record.status == "finished"
    checkpoint = load_checkpoint(tmp_path / "run")
    assert checkpoint is not None
    times = checkpoint.state.skipped_images
    assert times == ended.stderr.count(str(damaged)) > 0
    assert f"images that cannot be read were left out {times} times" in ended.stderr


def test_a_corrupt_test_image_stops_the_evaluation_by_name(
    train: Callable[..., Any], programs: Any, images: Path, tmp_path: Path
) -> None:
    train().check(0)
    damaged = images / "val" / "dog" / "1.png"
    damaged.write_bytes(b"no image")
    complaint = programs.run(
        *("fofa-eval", tmp_path / "run", "--out", tmp_path / "table.json"),
        *("--architectures", "22222@16", "--calibration-images", 4),
    ).complaint()
    assert str(damaged) in complaint
    assert not (tmp_path / "table.json").exists()


def test_a_corrupt_training_image_is_left_out_of_a_recalibration_and_named(
    train: Callable[..., Any], programs: Any, images: Path, tmp_path: Path
) -> None:
    train().check(0)
    damaged = images / "train" / "cat" / "2.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    ended = programs.run(
        *("fofa-eval", tmp_path / "run", "--out", tmp_path / "table.json"),
        *("--architectures", "22222@16", "--calibration-images", 8, "--batch-size", 4),
    ).check(0)
    assert f"that cannot be read: {damaged}" in ended.stderr
    assert AccuracyTable.read(tmp_path / "table.json").evaluation.calibration_images == 7


def empty_class(images: Path) -> str:
    shutil.rmtree(images / "train" / "dog")
    (images / "train" / "dog").mkdir()
    return f"{images / 'train' / 'dog'}: this class has no images"


def class_in_one_split(images: Path) -> str:
    (images / "val" / "dog").rename(images / "val" / "wolf")
    return "is in only one of train/ and val/"


def no_training_images(images: Path) -> str:
    shutil.rmtree(images / "train")
    return f"{images / 'train'}: no such folder"


def nothing_readable(images: Path) -> str:
    for path in (images / "train").rglob("*.png"):
        path.write_bytes(b"")
    return "no image of a batch can be read"


@pytest.mark.parametrize(
    "fault", [empty_class, class_in_one_split, no_training_images, nothing_readable]
)
def test_a_folder_that_cannot_be_trained_on_is_one_line(
    fault: Callable[[Path], str], train: Callable[..., Any], images: Path
) -> None:
    message = fault(images)
    assert message in train().complaint()


def test_a_data_set_smaller_than_a_batch_is_one_line(train: Callable[..., Any]) -> None:
    assert "has 8 images, fewer than the 9 of one step" in train(batch_size=9).complaint()


def test_a_batch_of_a_single_small_image_is_one_line(train: Callable[..., Any]) -> None:
    """Batch normalisation needs two values; one image of 16 px ends in one."""
    assert "too little for batch normalisation" in train(batch_size=1).complaint()
