"""Memory stays where it is: no growth over hundreds of steps of training or of evaluation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

MIB = 2**20
ALLOWED_MIB = 24
"""What an allocator may still gather after it has warmed up; a leaked 16 px batch takes 100 kB."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def resident_mib(number: int) -> float:
    return psutil.Process(number).memory_info().rss / MIB


def steps_logged(folder: Path) -> int:
    log = folder / "log.jsonl"
    return log.read_bytes().count(b"\n") * 10 if log.is_file() else 0


def test_training_does_not_grow_over_500_steps(
    programs: Any, tiny_training: Sequence[object], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    program = programs.start(
        *("fofa-train", "--recipe", "fofa-n3", "--out", folder, "--epoch-scale", 1),
        *tiny_training,
        *("--checkpoint-seconds", 1e6),
    )
    used = {}
    for steps in (100, 200, 300, 400, 500, 600):
        code = program.wait_until(lambda steps=steps: steps_logged(folder) >= steps, timeout=600)
        assert code is None, program.stderr.read_text()
        used[steps] = resident_mib(program.number)
    program.kill()
    print({steps: f"{value:.1f} MiB" for steps, value in used.items()})
    assert used[600] - used[100] < ALLOWED_MIB


def test_evaluation_does_not_grow_over_500_batches(
    programs: Any, tiny_run: Path, tmp_path: Path
) -> None:
    """Sixty architectures of 18 batches each; seen at every architecture that is done."""
    names = [f"{a}{b}{c}{d}2@16" for a in "234" for b in "234" for c in "234" for d in "234"]
    program = programs.start(
        *("fofa-eval", tiny_run, "--out", tmp_path / "table.json", "--one-at-a-time"),
        *("--architectures", ",".join(names[:60]), "--calibration-images", 40),
        *("--batch-size", 5, "--device", "cpu"),
    )
    partial, used, changed = tmp_path / "table.json.partial", [], 0.0
    while program.poll() is None:
        if partial.exists() and (now := partial.stat().st_mtime) != changed:
            changed = now
            used.append(resident_mib(program.number))
        time.sleep(0.01)
    assert (tmp_path / "table.json").exists()
    early, late = max(used[5:15]), max(used[-10:])
    print(f"{early:.1f} MiB early, {late:.1f} MiB late")
    assert late - early < ALLOWED_MIB
