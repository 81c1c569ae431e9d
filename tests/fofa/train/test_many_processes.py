"""Real torchrun jobs on the CPU: gradients of two processes, and a worker that dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import make_run
from waiting import PATIENCE_SECONDS, wait_for_file

from fofa.runs import PRETRAINED, Run

Command = Callable[..., list[str]]
Runner = Callable[..., subprocess.CompletedProcess[str]]

WORKER = Path(__file__).with_name("gradient_worker.py")


def torchrun(processes: int, *arguments: str, restarts: int = 0) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    options = [f"--nproc-per-node={processes}", f"--max-restarts={restarts}"]
    return [*launcher, *options, *arguments]


@pytest.mark.parametrize(
    ("recipe", "way"),
    [
        ("fofa-n3", "shared"),
        pytest.param("ofa", "one-at-a-time", marks=pytest.mark.slow),
    ],
)
def test_two_processes_have_the_gradients_of_one(
    run: Runner, tmp_path: Path, recipe: str, way: str
) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    for folder in (alone, together):
        folder.mkdir()
    # Alone it takes the other way through the subnets, which must make no difference either.
    other = "one-at-a-time" if way == "shared" else "shared"
    assert run([sys.executable, str(WORKER), str(alone), recipe, other]).returncode == 0
    result = run(torchrun(2, str(WORKER), str(together), recipe, way))
    assert result.returncode == 0, result.stderr
    expected = load_file(alone / "0.safetensors")
    for rank in (0, 1):
        found = load_file(together / f"{rank}.safetensors")
        assert found.keys() == expected.keys()
        for name, gradient in found.items():
            scale = expected[name].abs().max().clamp(min=1)
            assert torch.allclose(gradient / scale, expected[name] / scale, atol=1e-9), name


@pytest.mark.slow
def test_two_processes_begin_with_the_statistics_that_one_takes(
    command: Command, run: Runner, tmp_path: Path
) -> None:
    """Scale and shift that keep a published network's function, in every process."""
    begun = make_run(tmp_path / "begun", recipe=PRETRAINED, class_names=[*"abcdefghij"])
    options = {"init": begun.folder, "learning_rate": 1e-9, "epoch_scale": 1e-3}
    one = command(tmp_path / "one", "fofa-n3", **options)
    assert run(one).returncode == 0
    two = command(tmp_path / "two", "fofa-n3", batch_size=4, **options)
    result = run(torchrun(2, *two[1:]))
    assert result.returncode == 0, result.stderr
    ours, theirs, before = (
        load_file(folder / "weights.safetensors")
        for folder in (tmp_path / "one", tmp_path / "two", begun.folder)
    )
    scales = [name for name in ours if "bn.weight" in name]
    assert max((ours[name] - before[name]).abs().max() for name in scales) > 0.01
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-6) for name in scales)


def train_arguments(command: Command, out: Path) -> list[str]:
    """The options of `fofa-train` after the interpreter, for two processes."""
    return command(out, "fofa-n3", batch_size=4, checkpoint_steps=4, epoch_scale=0.02)[1:]


def workers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "fofa.commands.train" in child.cmdline()
    ]


@pytest.mark.slow
def test_a_job_goes_on_when_a_worker_was_killed(command: Command, tmp_path: Path) -> None:
    """Kill one worker: the job goes on from its checkpoint, in bounded time, to the same end."""
    folder = tmp_path / "run"
    arguments = torchrun(2, *train_arguments(command, folder), restarts=2)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    log = tmp_path / "log"
    with (
        log.open("wb") as stderr,
        subprocess.Popen(arguments, stderr=stderr, env=environment) as process,
    ):
        wait_for_file(folder / "weights.safetensors", process)
        workers_of(process)[-1].send_signal(signal.SIGKILL)
        assert process.wait(timeout=PATIENCE_SECONDS) == 0, log.read_text()
    record = Run.open(folder).record
    assert record.status == "finished"
    assert all(
        tensor.isfinite().all() for tensor in load_file(folder / "weights.safetensors").values()
    )


@pytest.mark.slow
def test_restarted_and_unbroken_jobs_end_with_equal_weights(
    command: Command, run: Runner, tmp_path: Path
) -> None:
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    assert run(torchrun(2, *train_arguments(command, unbroken))).returncode == 0
    test_a_job_goes_on_when_a_worker_was_killed(command, tmp_path)
    (tmp_path / "run").rename(broken)
    ours, theirs = (load_file(f / "weights.safetensors") for f in (broken, unbroken))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_a_job_without_restarts_ends_when_a_worker_dies(
    command: Command, tmp_path: Path, processes: int
) -> None:
    folder = tmp_path / "run"
    arguments = torchrun(processes, *train_arguments(command, folder))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL, env=environment) as process:
        wait_for_file(folder / "weights.safetensors", process)
        workers_of(process)[-1].send_signal(signal.SIGKILL)
        assert process.wait(timeout=PATIENCE_SECONDS) != 0
    assert Run.open(folder).record.status == "running"
