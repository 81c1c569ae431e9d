"""docs/your-images.md, followed word for word by somebody with two dozen pictures."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from in_process import run_here
from PIL import Image

GUIDE = (Path(__file__).parents[3] / "docs" / "your-images.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    for line in block.splitlines()
]
MODULES = {
    "fofa-import": "fofa.commands.import_checkpoint",
    "fofa-train": "fofa.commands.train",
    "fofa-eval": "fofa.commands.evaluate",
    "fofa-profile": "profilers.commands.profile",
    "fofa-search": "fofa.commands.search",
    "fofa-finetune": "fofa.commands.finetune",
    "fofa-export": "fofa.commands.export",
    "fofa predict": "fofa.commands.predict",
}
FEW = {
    "fofa-train": "--epoch-scale 0.002 --resolutions 32 --threads 1 --workers 0 --no-tensorboard",
    "fofa-eval": "--limit 4 --calibration-images 4 --threads 1",
    "fofa-profile": "--budget-seconds 0.5 --sessions 1",
    "fofa-finetune": "--threads 1 --workers 0 --no-tensorboard",
}
"""What the test adds to programs, so that they are soon done."""
SMALLEST = ("223341@128", "223341@32")
"""The guide's network at the size that the test trains."""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Bright and dark pictures, twelve each."""
    rng = np.random.default_rng(0)
    for name, low in (("bird", 0), ("airplane", 128)):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for number in range(1, 13):
            pixels = rng.integers(low, low + 127, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:04}.jpg")
    return tmp_path


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_the_guide_works_word_for_word(photos: Path) -> None:
    said = {}
    for line in COMMANDS:
        name = next(name for name in MODULES if line.startswith(f"{name} "))
        words = shlex.split(line.removeprefix(name).replace(*SMALLEST)) + shlex.split(
            FEW.get(name, "")
        )
        main = importlib.import_module(MODULES[name]).main
        done = run_here(main, name, *words, cwd=photos)
        assert done.returncode == 0, f"{line}: {done.stderr}"
        said[name] = done.stdout + done.stderr
    assert said.keys() == MODULES.keys()
    assert "a linear layer on the pretrained features is right" in said["fofa-train"]
    assert re.search(r"bird|airplane", said["fofa predict"])
    for file in ("net.onnx", "chosen.onnx"):
        session = onnxruntime.InferenceSession(photos / file, providers=["CPUExecutionProvider"])
        assert session.get_outputs()[0].shape[-1] == 2
