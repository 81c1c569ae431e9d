"""docs/your-images.md, followed word for word by somebody with two dozen pictures."""

from __future__ import annotations

import re
from pathlib import Path

import guides
import onnxruntime
import pytest

COMMANDS = guides.commands(guides.page("docs/your-images.md"))
FEW = {
    "fofa-train": "--epoch-scale 0.002 --resolutions 32 --threads 1 --workers 0 --no-tensorboard",
    "fofa-eval": "--limit 4 --calibration-images 4 --threads 1",
    "fofa-profile": "--budget-seconds 0.5 --sessions 1",
    "fofa-finetune": "--threads 1 --workers 0 --no-tensorboard",
}
"""What the test adds to programs, so that they are soon done."""
SMALLEST = {"223341@128": "223341@32"}
"""The guide's network at the size that the test trains."""


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_the_guide_works_word_for_word(tmp_path: Path) -> None:
    guides.draw_photos(tmp_path / "photos")
    said = guides.follow(COMMANDS, tmp_path, FEW, SMALLEST)
    assert len(said) == 8
    assert "a linear layer on the pretrained features is right" in said["fofa-train"]
    assert re.search(r"bird|airplane", said["fofa predict"])
    assert "normalises images otherwise" not in said["fofa-eval"]
    for file in ("net.onnx", "chosen.onnx"):
        session = onnxruntime.InferenceSession(tmp_path / file, providers=["CPUExecutionProvider"])
        assert session.get_outputs()[0].shape[-1] == 2
