"""`python -m benchmarks.photographs`: its pictures, its baseline, its commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import photographs
from benchmarks.photographs import files_of, hog_top1, write_photographs
from fofa.data.tensors import Split


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stripes whose direction is that of the class; six for training and four to test on."""
    monkeypatch.setattr(photographs, "TRAIN_IMAGES", 6)
    monkeypatch.setattr(photographs, "TEST_IMAGES", 4)
    draw = np.random.default_rng(0)

    def split(count: int) -> Split:
        labels = np.arange(count) % 5
        rows, columns = np.mgrid[:32, :32]
        angle = labels[:, None, None] * np.pi / 5
        waves = np.sin(rows * np.cos(angle) + columns * np.sin(angle))
        pixels = 128 + 80 * waves[:, None] + draw.normal(0, 20, (count, 3, 32, 32))
        images = torch.from_numpy(pixels.clip(0, 255).astype(np.uint8))
        return Split(images, torch.from_numpy(labels))

    monkeypatch.setattr(photographs, "load_cifar10", lambda folder: (split(60), split(40)))
    write_photographs(Path("nowhere"), tmp_path)
    return tmp_path


def test_four_classes_are_written_as_a_person_has_them(pictures: Path) -> None:
    folders = sorted(path.name for path in (pictures / "photos").iterdir())
    assert folders == ["airplane", "automobile", "bird", "cat"]
    assert len(files_of(pictures / "photos")) == 24
    assert len(files_of(pictures / "test")) == 16
    with Image.open(pictures / "photos" / "cat" / "0005.jpg") as image:
        assert image.size == (160, 160)


def test_the_baseline_tells_directions_apart(pictures: Path) -> None:
    assert hog_top1(pictures / "photos", pictures / "test") > 80
