"""Pages for users, followed word for word: their commands, called one after the other."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from console_scripts import PROGRAMS, ROOT, module_of
from in_process import run_here
from PIL import Image

FEW = {
    "fofa-train": "--epoch-scale 0.0005 --train-fraction 0.1 --threads 1 --workers 0",
    "fofa-eval": "--limit 20 --threads 1 --calibration-images 20",
    "fofa-profile": "--budget-seconds 0.5 --sessions 1",
}
"""What tests of the first steps add to programs, so that they are soon done."""


def page(name: str) -> str:
    """The text of a page, such as `docs/your-images.md`."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str = "sh") -> list[str]:
    """The code blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[str]:
    """The command lines of a page's shell blocks, but for comments."""
    lines = [line for block in blocks(text) for line in block.splitlines()]
    return [line for line in lines if line.strip() and not line.startswith("#")]


def program_of(line: str) -> str:
    """The program that a command line calls; `fofa-...` and words after `fofa`."""
    return next(name for name in PROGRAMS if name != "fofa" and line.startswith(f"{name} "))


def follow(
    lines: list[str], place: Path, few: Mapping[str, str], wording: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Call each line's program in the folder `place`; what each said at its last call.

    Args:
        few: what is added to a program's words, so that it is soon done.
        wording: texts to replace by others, such as the sizes that `few` trains.

    Raises:
        AssertionError: if one does not end with 0.
    """
    said = {}
    for line in lines:
        name = program_of(line)
        text = line.removeprefix(name)
        for old, new in (wording or {}).items():
            text = text.replace(old, new)
        words = shlex.split(text, comments=True) + shlex.split(few.get(name, ""))
        done = run_here(module_of(name).main, name, *words, cwd=place)
        if "not written, because" in done.stderr:
            pytest.skip("this machine is too busy to measure anything on it")
        assert done.returncode == 0, f"{line}: {done.stderr}"
        said[name] = done.stdout + done.stderr
    return said


def draw_photos(folder: Path, num: int = 12) -> None:
    """Bright and dark pictures in a folder for each class, `num` each."""
    rng = np.random.default_rng(0)
    for name, low in (("bird", 0), ("airplane", 128)):
        place = folder / name
        place.mkdir(parents=True)
        for number in range(1, num + 1):
            pixels = rng.integers(low, low + 127, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / f"{number:04}.jpg")
