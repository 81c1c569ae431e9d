"""A run so small that a step takes a tenth of a second, as a command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from waiting import PATIENCE_SECONDS

Command = Callable[..., list[str]]
Runner = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Every test here."""


@pytest.fixture
def command() -> Command:
    """`fofa-train` with tiny settings, as a list of arguments; keywords change options."""

    def make(out: Path, recipe: str = "compofa", **options: object) -> list[str]:
        values: dict[str, object] = {
            "recipe": recipe,
            "out": out,
            "width-mult": 0.25,
            "resolutions": "16,24",
            "batch-size": 8,
            "train-fraction": 0.02,
            "epoch-scale": 0.006,
            "threads": 1,
            "checkpoint-steps": 1,
        }
        values |= {name.replace("_", "-"): value for name, value in options.items()}
        arguments = [sys.executable, "-m", "fofa.commands.train", "--no-tensorboard"]
        for name, value in values.items():
            arguments += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        return arguments

    return make


@pytest.fixture
def run() -> Runner:
    """Runs a command line to its end with one thread."""

    def wait(arguments: list[str]) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run(
            arguments,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            env=environment,
            check=False,
        )

    return wait
