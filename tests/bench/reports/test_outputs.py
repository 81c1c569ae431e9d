"""Writing a report: killed at any moment, every file is whole and the next run completes it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest
from in_process import run_here
from waiting import PATIENCE_SECONDS

from bench.commands.bench import main

COMMAND = [sys.executable, "-m", "bench.commands.bench", "--tables", "2,3,5", "--figures", "1,4"]


def fofa_bench(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        COMMAND,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def files_of(folder: Path) -> dict[str, bytes]:
    reports = folder / "reports"
    return {
        str(path.relative_to(reports)): path.read_bytes()
        for path in sorted(reports.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and path.parent.name != "accuracy"
    }


def check_whole(name: str, content: bytes) -> None:
    match Path(name).suffix:
        case ".json":
            json.loads(content)
        case ".svg":
            ElementTree.fromstring(content)
        case ".png":
            assert content.endswith(b"IEND\xaeB`\x82")
        case ".html":
            assert content.rstrip().endswith(b"</html>")
        case _:
            assert content.endswith(b"\n")


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path, write_project: Callable[[Path], Path]) -> None:
    unbroken = write_project(tmp_path / "unbroken")
    start = time.monotonic()
    assert fofa_bench(unbroken).wait(timeout=PATIENCE_SECONDS) == 0
    duration = time.monotonic() - start
    broken = write_project(tmp_path / "broken")
    moments = random.Random(0)
    for _ in range(20):
        process = fofa_bench(broken)
        time.sleep(moments.uniform(0.3, 1.0) * duration)
        process.kill()
        process.wait(timeout=PATIENCE_SECONDS)
        for name, content in files_of(broken).items():
            check_whole(name, content)
    assert fofa_bench(broken).wait(timeout=PATIENCE_SECONDS) == 0
    assert files_of(broken) == files_of(unbroken)


def test_a_place_that_cannot_be_written_is_one_line(project: Path) -> None:
    (project / "reports/tables").write_text("a file where a folder should be")
    done = run_here(main, "fofa-bench", *COMMAND[3:], cwd=project)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "cannot write" in done.stderr
