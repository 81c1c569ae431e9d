"""A run so small that a step takes a tenth of a second, as a command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from in_process import run_here
from waiting import PATIENCE_SECONDS

from fofa.commands.train import main, train

PROGRAM = [sys.executable, "-m", "fofa.commands.train"]

Command = Callable[..., list[str]]
Start = Callable[..., tuple[int, str]]
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
        arguments = [*PROGRAM, "--no-tensorboard"]
        for name, value in values.items():
            arguments += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        return arguments

    return make


@pytest.fixture
def run() -> Runner:
    """Runs a command line to its end with one thread; those of `command` in this process."""

    def wait(arguments: list[str]) -> subprocess.CompletedProcess[str]:
        if arguments[: len(PROGRAM)] == PROGRAM:
            return run_here(main, "fofa-train", *arguments[len(PROGRAM) :])
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


@pytest.fixture
def start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Start:
    """The program `fofa-train` with a tiny run's options; gives its exit code and what it said."""
    monkeypatch.setenv("COLUMNS", "200")
    tiny: dict[str, object] = {
        "recipe": "fofa-n3",
        "preset": "shapes",
        "out": tmp_path / "run",
        "width_mult": 0.25,
        "resolutions": "16,24",
        "batch_size": 8,
        "train_fraction": 0.02,
        "epoch_scale": 0.001,
        "device": "cpu",
        "tensorboard": False,
    }

    def go(**changes: object) -> tuple[int, str]:
        with pytest.raises(typer.Exit) as caught:
            train(**(tiny | changes))  # type: ignore[arg-type]
        return caught.value.exit_code, capsys.readouterr().err

    return go
