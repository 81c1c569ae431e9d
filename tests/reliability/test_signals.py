"""Programs that are asked to stop at any moment: one line and 130, or done; nothing half written.

Training, evaluation and measurement save what they have: `tests/fofa/train/test_stopping.py` and
`tests/reliability/test_kills.py`. How a program is stopped that hears nothing:
`tests/fofa/commands/test_start.py`.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fofa.files import TEMPORARY_SUFFIX

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
SLOW = (pytest.mark.slow, pytest.mark.timeout(3600))
TIMES = [pytest.param(1, id="once"), pytest.param(10, id="often", marks=SLOW)]
NAMES = ("fofa-bench", "fofa-export", "fofa-search", "fofa-predictor", "fofa-import")

Words = Callable[[Path], list[object]]


@pytest.fixture(scope="module")
def dice() -> random.Random:
    """Draws the moments; the seed is printed when a test fails."""
    seed = int.from_bytes(os.urandom(4))
    print(f"moments drawn with seed {seed}")
    return random.Random(seed)


@pytest.fixture(scope="module")
def lines(tiny_run: Path, tiny_tables: Path, foreign_checkpoint: Path) -> dict[str, Words]:
    """For each program, the words of a command line that writes into a folder."""
    lut, accuracy = tiny_tables / "luts" / "steady.json", tiny_tables / "accuracy" / "tiny.json"
    tables = ("--lut", lut, "--accuracy", accuracy)
    none = ("--luts-dir", "none", "--accuracy-dir", "none")
    few = ("--calibration-images", 5, "--batch-size", 5, "--test-images", 5)
    return {
        "fofa-bench": lambda out: [
            *tables,
            *none,
            "--tables",
            2,
            "--figures",
            "none",
            "--out",
            out,
        ],
        "fofa-export": lambda out: [
            *(tiny_run, "--architecture", "22222@16", "--out", out / "n.onnx", *few)
        ],
        "fofa-search": lambda out: [*tables, "--plot", out / "front.png"],
        "fofa-predictor": lambda out: [
            *("train", accuracy, "--out", out / "p.safetensors", "--epochs", 5)
        ],
        "fofa-import": lambda out: [foreign_checkpoint, "--out", out / "run"],
    }


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, but for the hidden one that a program was writing which ended at
    once, because the signal came in the middle of an import."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    found = [path for path in found if not path.name.endswith(TEMPORARY_SUFFIX)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("name", NAMES)
def test_a_signal_leaves_whole_files_or_none(
    name: str,
    times: int,
    lines: dict[str, Words],
    programs: Any,
    tmp_path: Path,
    dice: random.Random,
) -> None:
    words = lines[name]
    for place in ("expected", "stopped"):
        (tmp_path / place).mkdir()
    start = time.monotonic()
    programs.run(name, *words(tmp_path / "expected")).check(0)
    duration = time.monotonic() - start
    expected = content(tmp_path / "expected")
    assert expected
    out = tmp_path / "stopped"
    for kind in SIGNALS * times:
        program = programs.start(name, *words(out))
        time.sleep(dice.uniform(0, duration))
        program.send(getattr(signal, kind))
        ended = program.wait().check(0, 130)
        if ended.code == 130:
            assert ended.stderr.splitlines()[-1].startswith(f"{name}: stopped"), ended.stderr
        found = content(out)
        assert {n: found[n] for n in found} == {n: expected[n] for n in found}, f"after {kind}"
        if ended.code == 0:
            shutil.rmtree(out)
            out.mkdir()
    programs.run(name, *words(out)).check(0)
    assert content(out) == expected


STUDY = (
    *("--preset", "shapes", "--recipes", "fofa-n3", "--epoch-scale", 0.001),
    *("--train-fraction", 0.01, "--device", "cpu", "--threads", 1, "--limit", 20),
    *("--calibration-images", 5),
)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_study_that_is_stopped_in_any_step_goes_on(
    programs: Any, tmp_path: Path, dice: random.Random
) -> None:
    """Training, evaluation and the report; each signal reaches the step that runs."""
    for kind in SIGNALS * 3:
        program = programs.start("fofa-reproduce", *STUDY, cwd=tmp_path)
        time.sleep(dice.uniform(0.5, 15))
        program.send(getattr(signal, kind))
        program.wait().check(0, 130)
    programs.run("fofa-reproduce", *STUDY, cwd=tmp_path).check(0)
    assert (tmp_path / "reports" / "report.html").is_file()
