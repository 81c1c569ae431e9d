"""Signals while training: to the process or its whole group, with data workers, under torchrun."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from waiting import PATIENCE_SECONDS

from fofa.runs import RECORD_NAME, Run
from fofa.train.checkpoint import load_checkpoint

Command = Callable[..., list[str]]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of eight training and two validation images."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 2)):
        for name in ("cat", "dog"):
            folder = tmp_path / "pictures" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 255, (20, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "pictures"


@contextmanager
def started(arguments: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a process group of its own; nothing of the group is left afterwards."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            arguments, stderr=stderr, stdout=stderr, env=environment, start_new_session=True
        ) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def wait_for_first_save(folder: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (folder / RECORD_NAME).is_file():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    "name", ["SIGTERM", *(pytest.param(n, marks=pytest.mark.slow) for n in ("SIGINT", "SIGHUP"))]
)
def test_a_signal_to_the_group_saves_and_ends_with_130(
    command: Command, pictures: Path, tmp_path: Path, name: str
) -> None:
    """With two data workers, which get the signal, too; and twice, as torchrun passes it on."""
    folder, log = tmp_path / "run", tmp_path / "log"
    options = {"preset": "imagenet", "data": f"folder:{pictures}", "workers": 2}
    options |= {"train_fraction": 1, "epoch_scale": 10, "checkpoint_steps": 1}
    with started(command(folder, "fofa-n3", **options), log) as process:
        wait_for_first_save(folder, process, log)
        family = psutil.Process(process.pid).children(recursive=True)
        number = getattr(signal, name)
        os.killpg(process.pid, number)
        time.sleep(0.05)
        if process.poll() is None:
            os.killpg(process.pid, number)
        assert process.wait(PATIENCE_SECONDS) == 130, log.read_text()
        _, alive = psutil.wait_procs(family, timeout=PATIENCE_SECONDS)
    assert family
    assert not alive
    assert "Traceback" not in log.read_text()
    assert "run the same command to go on" in log.read_text()
    state = load_checkpoint(folder)
    assert state is not None
    assert state.state.step == Run.open(folder).record.step


@pytest.mark.slow
def test_under_torchrun_a_signal_to_one_process_stops_all_at_one_step(
    command: Command, tmp_path: Path
) -> None:
    folder, log = tmp_path / "run", tmp_path / "log"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    training = command(folder, "fofa-n3", batch_size=4, epoch_scale=10)[1:]
    with started([*launcher, *training], log) as job:
        wait_for_first_save(folder, job, log)
        workers = [
            child
            for child in psutil.Process(job.pid).children(recursive=True)
            if "fofa.commands.train" in child.cmdline()
        ]
        assert len(workers) == 2
        workers[-1].send_signal(signal.SIGTERM)
        assert job.wait(PATIENCE_SECONDS) != 0
    text = log.read_text()
    assert text.count("exitcode  : 130") == 2 or text.count("exitcode: 130") >= 1, text
    assert text.count("stopped at step") == 1
    assert Run.open(folder).record.status == "running"


@pytest.mark.slow
def test_an_out_that_differs_between_processes_is_refused(command: Command, tmp_path: Path) -> None:
    wrapper = tmp_path / "each.py"
    wrapper.write_text(
        "import os, sys\n"
        "from fofa.commands.train import main\n"
        "sys.argv = [word.replace('RANK', os.environ['RANK']) for word in sys.argv]\n"
        "main()\n"
    )
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    training = command(tmp_path / "runRANK", "fofa-n3", batch_size=4)[3:]
    log = tmp_path / "log"
    with started([*launcher, str(wrapper), *training], log) as job:
        assert job.wait(PATIENCE_SECONDS) != 0
    assert "--out differs between the processes of this job" in log.read_text()
    assert not list(tmp_path.glob("run*"))
