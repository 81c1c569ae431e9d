"""`fofa-reproduce` as a user has it; the slow test runs a real study and stops it once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import PATIENCE_SECONDS

from fofa.recipes import RECIPES

ARGUMENTS = ["-m", "bench.commands.reproduce"]


def fofa_reproduce(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *ARGUMENTS, *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


def test_a_dry_run_says_what_remains_and_does_nothing(tmp_path: Path) -> None:
    done = fofa_reproduce(tmp_path, "--preset", "shapes", "--seeds", "0,1", "--dry-run")
    assert done.returncode == 0
    assert f"0 of {4 * len(RECIPES)} steps done" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_is_one_line_and_code_2(tmp_path: Path) -> None:
    done = fofa_reproduce(tmp_path, "--preset", "mars")
    assert done.returncode == 2
    assert done.stderr.startswith("fofa-reproduce: preset 'mars'")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_real_study_that_was_stopped_ends_like_any_other(tmp_path: Path) -> None:
    arguments = ["--preset", "shapes", "--recipes", "fofa-n3", "--epoch-scale", "0.01"]
    arguments += ["--train-fraction", "0.1", "--device", "cpu", "--threads", "1"]
    first = subprocess.Popen(
        [sys.executable, *ARGUMENTS, *arguments],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    time.sleep(8)
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=PATIENCE_SECONDS) in (0, 1, 130, -signal.SIGTERM, 143)
    done = fofa_reproduce(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 steps done" in done.stderr
    table = json.loads((tmp_path / "reports/tables/table2.json").read_text())
    (row,) = [row for row in table["rows"] if row["recipe"] == "fofa-n3"]
    assert row["cells"][3]["value"] > 0
    assert (tmp_path / "reports/report.html").is_file()
