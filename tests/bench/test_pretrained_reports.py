"""The reports of trainings from pretrained weights are those of the files beside them."""

from __future__ import annotations

from pathlib import Path

import pytest
from console_scripts import ROOT
from in_process import run_here

from bench.commands.bench import main

PRETRAINED = ROOT / "reports" / "pretrained"


@pytest.mark.parametrize("name", ["cifar10", "cells"])
def test_the_report_is_what_the_files_give(name: str, tmp_path: Path) -> None:
    folder = PRETRAINED / name
    files = ("--lut", "cpu.json", "--accuracy", "accuracy.json", "--rivals", "rivals.json")
    wanted = ("--tables", "other", "--figures", "none")
    done = run_here(main, "fofa-bench", *wanted, *files, "--out", tmp_path, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.md").read_text() == (folder / "report.md").read_text()
