"""Real kills of the real command line: what is left is whole, and resuming changes nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from waiting import PATIENCE_SECONDS, wait_for_file

from fofa.runs import Run

Command = Callable[..., list[str]]
Runner = Callable[..., subprocess.CompletedProcess[str]]

NUM_STEPS = {"compofa": 20, "fofa-n3": 40, "ofa": 36}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "weights.safetensors")


def assert_same_result(broken: Path, unbroken: Path) -> None:
    ours, theirs = weights(broken), weights(unbroken)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    records = [Run.open(folder).record for folder in (broken, unbroken)]
    assert [record.status for record in records] == ["finished", "finished"]
    assert records[0].step == records[1].step
    logs = [logged(folder) for folder in (broken, unbroken)]
    assert logs[0][-1]["loss"] == logs[1][-1]["loss"]
    steps = [record["step"] for record in logs[0]]
    assert steps == sorted(set(steps))


def logged(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def run_and_kill(arguments: list[str], folder: Path, at_step: int) -> None:
    """Start the command; kill -9 it once the log says that `at_step` is done."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, env=environment) as process:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            log = folder / "log.jsonl"
            if log.is_file() and log.read_bytes().count(b"\n") >= at_step:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)


def kill_often(
    command: Command, run: Runner, tmp_path: Path, recipe: str, kills: int, seed: int
) -> None:
    rng = random.Random(seed)
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    assert run(command(unbroken, recipe)).returncode == 0
    for _ in range(kills):
        done = len(logged(broken)) if (broken / "log.jsonl").is_file() else 0
        run_and_kill(command(broken, recipe), broken, rng.randint(done, NUM_STEPS[recipe] - 1))
        if (broken / "weights.safetensors").is_file():
            assert all(t.isfinite().all() for t in weights(broken).values())
    result = run(command(broken, recipe))
    assert result.returncode == 0, result.stderr
    assert_same_result(broken, unbroken)


@pytest.mark.slow  # three kills, one in every phase: tests/reliability/test_kills.py
def test_two_kills_in_compofa_s_phases_change_nothing(
    command: Command, run: Runner, tmp_path: Path
) -> None:
    kill_often(command, run, tmp_path, "compofa", kills=2, seed=0)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("recipe", ["compofa", "ofa", "fofa-n3"])
def test_many_kills_change_nothing(
    command: Command, run: Runner, tmp_path: Path, recipe: str
) -> None:
    kill_often(command, run, tmp_path, recipe, kills=22 if recipe == "compofa" else 8, seed=1)


@pytest.mark.slow
def test_a_finished_run_says_so(command: Command, run: Runner, tmp_path: Path) -> None:
    arguments = command(tmp_path / "run", "fofa-n3", epoch_scale=0.002)
    assert run(arguments).returncode == 0
    before = weights(tmp_path / "run")
    again = run(arguments)
    assert again.returncode == 0
    assert "this run is finished; nothing to do" in again.stderr
    after = weights(tmp_path / "run")
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_other_settings_in_the_same_folder_are_named(
    command: Command, run: Runner, tmp_path: Path
) -> None:
    assert run(command(tmp_path / "run", "fofa-n3", epoch_scale=0.001)).returncode == 0
    result = run(command(tmp_path / "run", "fofa-n4", epoch_scale=0.001, seed=7))
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "recipe is fofa-n3 there and fofa-n4 here; seed is 0 there and 7 here" in result.stderr


@pytest.mark.slow  # a signal: test_stopping.py; going on: tests/reliability/test_kills.py
def test_a_terminated_run_saves_and_goes_on(command: Command, run: Runner, tmp_path: Path) -> None:
    folder, unbroken = tmp_path / "run", tmp_path / "unbroken"
    arguments = command(folder, "fofa-n3", checkpoint_steps=1000)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=environment) as process:
        wait_for_file(folder / "weights.safetensors", process)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    if process.returncode == 130:
        assert "run the same command to go on" in stderr
    assert run(arguments).returncode == 0
    assert run(command(unbroken, "fofa-n3", checkpoint_steps=1000)).returncode == 0
    ours, theirs = weights(folder), weights(unbroken)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.slow  # tests/reliability/test_processes.py has two
def test_a_second_trainer_in_the_same_folder_is_refused(
    command: Command, run: Runner, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    first = command(folder, "fofa-n3", epoch_scale=10)
    with subprocess.Popen(first, stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            wait_for_file(folder / "run.json", process)
            second = run(first)
        finally:
            process.kill()
    assert second.returncode == 2
    assert "another fofa-train is working in this folder" in second.stderr
    assert len(second.stderr.splitlines()) == 1


def test_a_damaged_checkpoint_is_one_clear_line(
    command: Command, run: Runner, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    arguments = command(folder, "fofa-n3", epoch_scale=0.001)
    assert run(arguments).returncode == 0
    path = folder / "checkpoint" / "latest.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    result = run(arguments)
    assert result.returncode == 2
    assert "latest.safetensors: damaged" in result.stderr
    assert len(result.stderr.splitlines()) == 1
