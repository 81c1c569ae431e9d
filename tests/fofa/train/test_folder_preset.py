"""The preset `folder`: chosen by itself, fitted to images and machine, and honest about memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fofa.errors import UserError
from fofa.presets import choose_preset, folder_preset
from fofa.runs import Run
from fofa.train import memory
from fofa.train.settings import TrainSettings

Start = Callable[..., tuple[int, str]]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of twelve pictures, as a person has them."""
    rng = np.random.default_rng(0)
    for name in ("night", "noon"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(0, 255, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


def options(photos: Path) -> dict[str, object]:
    """Those of a tiny run that the preset does not choose."""
    return {
        "preset": None,
        "data": f"folder:{photos}",
        "train_fraction": None,
        "batch_size": None,
        "workers": 0,
        "epoch_scale": 0.002,
    }


def test_a_folder_needs_no_preset_and_says_first_what_it_takes(
    start: Start, photos: Path, tmp_path: Path
) -> None:
    code, text = start(**options(photos))
    assert code == 0, text
    first = " ".join(text.split())
    assert "images of 2 classes" in first
    assert "GB of memory" in first
    assert first.index("GB of memory") < first.index("steps,")
    assert "fofa-import efficientnet-lite0" in first
    settings = TrainSettings.read(tmp_path / "run" / "settings.json")
    assert (settings.preset, settings.batch_size) == ("folder", 8)
    assert Run.open(tmp_path / "run").record.status == "finished"
    assert "nothing to do" in start(**options(photos))[1]


def test_what_does_not_fit_in_memory_is_refused_before_anything_is_written(
    start: Start, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda device: 1e8)
    with pytest.raises(UserError) as caught:
        start(**options(photos))
    assert "0.1 are free: take a smaller --batch-size (it is 8)" in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("images", "on_gpu", "pretrained"),
    [
        (20, False, True),
        (960, False, True),
        (960, False, False),
        (960, True, True),
        (10**6, True, True),
    ],
)
def test_choices_follow_images_and_hardware(images: int, on_gpu: bool, pretrained: bool) -> None:
    made = folder_preset(images, on_gpu=on_gpu, pretrained=pretrained)
    assert 1 <= made.batch_size <= images
    assert made.batch_size <= (128 if on_gpu else 32)
    assert max(made.resolutions) == (224 if on_gpu else 128)
    assert made.budget_hours is not None
    assert 120 <= 3600 * made.budget_hours + 0.4 <= 8 * 3600 + 1
    twice = folder_preset(images, on_gpu=on_gpu, pretrained=pretrained, processors=2)
    assert twice.budget_hours == pytest.approx(2 * made.budget_hours, abs=2e-4)
    more = folder_preset(10 * images, on_gpu=on_gpu, pretrained=pretrained)
    assert max(more.resolutions) >= max(made.resolutions)
    assert (more.budget_hours or 0) >= made.budget_hours


def test_data_without_a_preset_gets_the_one_that_works() -> None:
    assert choose_preset(None, None).name == "shapes"
    assert choose_preset(None, "folder:x").name == "folder"
    assert choose_preset(None, "wds:a,b").name == "folder"
    assert choose_preset(None, "imagenet:x").name == "imagenet"
    assert choose_preset("imagenet", "folder:x").name == "imagenet"
    with pytest.raises(UserError, match="--preset cifar10 or cifar10-small"):
        choose_preset(None, "cifar10:x")


def test_a_preset_for_other_data_names_the_one_that_works(start: Start, photos: Path) -> None:
    with pytest.raises(UserError, match="which goes with --preset imagenet or folder"):
        start(data=f"folder:{photos}")
