"""Several processes: jobs under torchrun that lose or wait for one, and programs side by side.

A worker that is killed while training, with restarts and without, and a second trainer in one run
folder: `tests/fofa/train/test_distributed.py` and `tests/fofa/train/test_resume.py`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from made_up_tables import timed_entries
from safetensors.torch import load_file
from waiting import PATIENCE_SECONDS

from fofa.accuracy import AccuracyTable
from fofa.latency import Lut
from fofa.runs import Run

WORKERS = [2, pytest.param(4, marks=pytest.mark.slow)]


@contextmanager
def torchrun(
    workers: int, module: str, *arguments: object, restarts: int = 0
) -> Iterator[subprocess.Popen[str]]:
    """A job of several processes; whatever is left of it is killed at the end."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={workers}"]
    launcher += [f"--max-restarts={restarts}"]
    job = subprocess.Popen(
        [sys.executable, *launcher, "-m", module, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    with job:
        try:
            yield job
        finally:
            for process in family(job):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            job.kill()


def family(job: subprocess.Popen[str]) -> list[psutil.Process]:
    try:
        return psutil.Process(job.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def workers_of(job: subprocess.Popen[str], module: str) -> list[psutil.Process]:
    return [process for process in family(job) if module in process.cmdline()]


def wait_for(condition: Callable[[], bool], job: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert job.poll() is None, f"the job ended too early: {job.stderr.read()}"  # type: ignore[union-attr]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def train_options(out: Path) -> list[object]:
    return [
        *("--recipe", "fofa-n3", "--preset", "shapes", "--out", out, "--width-mult", 0.25),
        *("--resolutions", 16, "--batch-size", 4, "--train-fraction", 0.02, "--threads", 1),
        *("--epoch-scale", 0.01, "--checkpoint-steps", 4, "--no-tensorboard", "--device", "cpu"),
    ]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("workers", "seconds"), [(2, (2, 2, 2)), (4, (2, 2, 2)), (2, (90,))])
@pytest.mark.parametrize("who", ["a worker", "all"])
def test_a_slow_worker_is_waited_for(
    workers: int, seconds: Sequence[float], who: str, tmp_path: Path
) -> None:
    """A worker that stands still costs time, and changes nothing; so does a whole job, as on a
    machine that is put to sleep."""
    module = "fofa.commands.train"
    slow, steady = tmp_path / "slow", tmp_path / "steady"
    with torchrun(workers, module, *train_options(slow)) as job:
        wait_for(lambda: (slow / "run.json").is_file(), job)
        late = workers_of(job, module)[-1:]
        if who == "all":
            late = [psutil.Process(job.pid), *family(job)]
        for pause in seconds:
            for process in late:
                process.send_signal(signal.SIGSTOP)
            time.sleep(pause)
            for process in late:
                process.send_signal(signal.SIGCONT)
            time.sleep(0.2)
        assert job.wait(PATIENCE_SECONDS) == 0
    with torchrun(workers, module, *train_options(steady)) as job:
        assert job.wait(PATIENCE_SECONDS) == 0
    ours, theirs = (load_file(folder / "weights.safetensors") for folder in (slow, steady))
    assert all(ours[key].equal(theirs[key]) for key in theirs)
    assert Run.open(slow).record.status == "finished"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_job_with_a_worker_that_stands_still_can_be_stopped(tmp_path: Path) -> None:
    """The launcher ends what does not hear it; the same command goes on from the checkpoint."""
    module = "fofa.commands.train"
    stopped, steady = tmp_path / "stopped", tmp_path / "steady"
    with torchrun(2, module, *train_options(stopped)) as job:
        wait_for(lambda: (stopped / "run.json").is_file(), job)
        workers_of(job, module)[-1].send_signal(signal.SIGSTOP)
        time.sleep(1)
        job.terminate()
        assert job.wait(PATIENCE_SECONDS) != 0
    assert Run.open(stopped).record.status == "running"
    for folder in (stopped, steady):
        with torchrun(2, module, *train_options(folder)) as job:
            assert job.wait(PATIENCE_SECONDS) == 0
    ours, theirs = (load_file(folder / "weights.safetensors") for folder in (stopped, steady))
    assert all(ours[key].equal(theirs[key]) for key in theirs)


NAMES = ",".join(f"{name}@16" for name in ("22222", "23423", "32243", "33333", "44444"))


def eval_options(run: Path, out: Path) -> list[object]:
    few = ("--limit", 100, "--calibration-images", 100, "--batch-size", 5, "--device", "cpu")
    return [run, "--out", out, "--architectures", NAMES, "--one-at-a-time", *few]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("workers", [2, 4])
def test_an_evaluation_that_loses_a_worker_ends_and_goes_on(
    workers: int, programs: Any, tiny_run: Path, tmp_path: Path
) -> None:
    """The job ends in bounded time; the same command, on any number of processes, completes it."""
    module, out, expected = "fofa.commands.evaluate", tmp_path / "a.json", tmp_path / "b.json"
    with torchrun(workers, module, *eval_options(tiny_run, out)) as job:
        wait_for(out.with_name("a.json.partial").exists, job)
        workers_of(job, module)[-1].kill()
        assert job.wait(PATIENCE_SECONDS) != 0
    assert not out.exists()
    with torchrun(workers, module, *eval_options(tiny_run, out)) as job:
        assert job.wait(PATIENCE_SECONDS) == 0
    with torchrun(1, module, *eval_options(tiny_run, expected)) as job:
        assert job.wait(PATIENCE_SECONDS) == 0
    found, wanted = AccuracyTable.read(out), AccuracyTable.read(expected)
    assert found.architectures == wanted.architectures


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("lost", [0, 1])
def test_an_evaluation_that_is_restarted_completes_its_table(
    lost: int, tiny_run: Path, tmp_path: Path
) -> None:
    """Also when it was the process that holds the table."""
    module, out, expected = "fofa.commands.evaluate", tmp_path / "a.json", tmp_path / "b.json"
    with torchrun(2, module, *eval_options(tiny_run, out), restarts=2) as job:
        wait_for(out.with_name("a.json.partial").exists, job)
        by_rank = sorted(workers_of(job, module), key=lambda one: one.environ()["RANK"])
        by_rank[lost].kill()
        assert job.wait(PATIENCE_SECONDS) == 0
    with torchrun(1, module, *eval_options(tiny_run, expected)) as job:
        assert job.wait(PATIENCE_SECONDS) == 0
    assert AccuracyTable.read(out).architectures == AccuracyTable.read(expected).architectures
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.json"]


@pytest.mark.slow
def test_two_evaluations_of_one_table_are_kept_apart(
    programs: Any, tiny_run: Path, tmp_path: Path
) -> None:
    """The second is refused, whatever it was asked to measure; the first is not disturbed."""
    out, whole = tmp_path / "table.json", tmp_path / "whole.json"
    programs.run("fofa-eval", *eval_options(tiny_run, whole)).check(0)
    first = programs.start("fofa-eval", *eval_options(tiny_run, out))
    first.wait_until(out.with_name("table.json.partial").exists)
    os.kill(first.number, signal.SIGSTOP)
    try:
        complaint = programs.run("fofa-eval", *eval_options(tiny_run, out)).complaint()
    finally:
        os.kill(first.number, signal.SIGCONT)
    assert f"{out}: another fofa-eval is making this table" in complaint
    first.wait().check(0)
    assert AccuracyTable.read(out).architectures == AccuracyTable.read(whole).architectures
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table.json", "whole.json"]


def test_the_lock_of_a_killed_evaluation_holds_nobody(
    programs: Any, tiny_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "table.json"
    killed = programs.start("fofa-eval", *eval_options(tiny_run, out))
    killed.wait_until(out.with_name("table.json.partial").exists)
    assert killed.kill().code == -signal.SIGKILL
    assert out.with_name(".table.json.lock").exists()
    programs.run("fofa-eval", *eval_options(tiny_run, out)).check(0)
    assert [path.name for path in tmp_path.iterdir()] == ["table.json"]


def test_two_profilers_at_once_notice_each_other(
    programs: Any, steady: Sequence[object], tmp_path: Path
) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    measuring = programs.start("fofa-profile", *steady, "--out", first)
    measuring.wait_until(first.with_name("first.json.partial").exists)
    os.kill(measuring.number, signal.SIGSTOP)
    try:
        ended = programs.run("fofa-profile", *steady, "--out", second).check(0)
    finally:
        os.kill(measuring.number, signal.SIGCONT)
    assert "another profiler is measuring on this machine" in " ".join(ended.stderr.split())
    measuring.wait().check(0)
    stability = Lut.read(second).stability
    assert stability is not None
    assert any("another profiler" in reason for reason in stability.reasons)


@pytest.mark.slow
def test_two_profilers_of_one_table_are_kept_apart(
    programs: Any, steady: Sequence[object], tmp_path: Path
) -> None:
    """The second is refused, even where it would discard what is there; the first ends whole."""
    out, whole = tmp_path / "table.json", tmp_path / "whole.json"
    hasty = ("--sessions", 1, "--budget-seconds", 0.1)
    programs.run("fofa-profile", *steady, *hasty, "--out", whole).check(0)
    first = programs.start("fofa-profile", *steady, *hasty, "--out", out)
    first.wait_until(out.with_name("table.json.partial").exists)
    os.kill(first.number, signal.SIGSTOP)
    try:
        for more in ((), ("--fresh",)):
            complaint = programs.run(
                "fofa-profile", *steady, *hasty, "--out", out, *more
            ).complaint()
            assert f"{out}: another fofa-profile makes this table" in complaint
    finally:
        os.kill(first.number, signal.SIGCONT)
    first.wait().check(0)
    assert timed_entries(Lut.read(out)) == timed_entries(Lut.read(whole))
    assert not out.with_name(".table.json.lock").exists()


def test_two_trainers_in_one_run_folder_are_kept_apart(
    programs: Any, tiny_training: Sequence[object], tmp_path: Path
) -> None:
    """Started at the same moment: one trains, the other is refused, and the run is whole."""
    options = ("--recipe", "fofa-n3", "--epoch-scale", 0.002, "--out", tmp_path / "run")
    both = [programs.start("fofa-train", *options, *tiny_training) for _ in range(2)]
    ended = sorted((one.wait() for one in both), key=lambda one: one.code)
    assert [one.code for one in ended] == [0, 2]
    assert "another fofa-train is working in this folder" in ended[1].complaint()
    assert Run.open(tmp_path / "run").record.status == "finished"
