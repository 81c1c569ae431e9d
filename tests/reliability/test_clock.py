"""A clock that jumps by days while programs work: nothing is longer, shorter, lost or different.

The system's clock is left alone: a library that is loaded before all others (LD_PRELOAD) adds what
a file says to every time of day that a process asks for. It is compiled here.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from waiting import PATIENCE_SECONDS

from fofa.accuracy import AccuracyTable
from fofa.latency import Lut
from fofa.runs import Run

DAY = 86400
JUMPS = (DAY, -DAY, 400 * DAY, 0, -3600, 3600)
SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long jump(void) {
    char text[32] = {0};
    const char *path = getenv("JUMP_FILE");
    int file = path ? open(path, O_RDONLY) : -1;
    if (file < 0) return 0;
    long found = read(file, text, sizeof text - 1) > 0 ? atol(text) : 0;
    close(file);
    return found;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(clock, now);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) now->tv_sec += jump();
    return done;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (now) *now = precise.tv_sec;
    return precise.tv_sec;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("needs Linux and a C compiler")
    folder = tmp_path_factory.mktemp("clock")
    (folder / "clock.c").write_text(SOURCE)
    path = folder / "clock.so"
    options = ["-shared", "-fPIC", "-O1", "-o", path, folder / "clock.c", "-ldl"]
    subprocess.run([compiler, *map(str, options)], check=True)
    return path


@contextmanager
def jumping(library: Path, folder: Path) -> Iterator[dict[str, str]]:
    """The environment of a process whose clock jumps five times a second."""
    file, done = folder / "jump", threading.Event()

    def work() -> None:
        for jump in itertools.cycle(JUMPS):
            fresh = file.with_name("next-jump")
            fresh.write_text(str(jump))
            fresh.replace(file)
            if done.wait(0.2):
                return

    worker = threading.Thread(target=work)
    worker.start()
    try:
        lean = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200"}
        yield {**os.environ, **lean, "LD_PRELOAD": str(library), "JUMP_FILE": str(file)}
    finally:
        done.set()
        worker.join()


def run(command: Sequence[object], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_the_clock_does_jump(library: Path, tmp_path: Path) -> None:
    code = (
        "import time\n"
        "seen, end = set(), time.monotonic() + 2\n"
        "while time.monotonic() < end: seen.add(round(time.time() / 86400)); time.sleep(0.01)\n"
        "print(len(seen))"
    )
    with jumping(library, tmp_path) as environment:
        assert int(run(["-c", code], environment).stdout) >= 3


TRAINING = (
    *("--recipe", "fofa-n3", "--preset", "shapes", "--width-mult", 0.25, "--resolutions", 16),
    *("--batch-size", 4, "--train-fraction", 0.02, "--threads", 1, "--epoch-scale", 0.005),
    *("--checkpoint-seconds", 0.5, "--no-tensorboard", "--device", "cpu"),
)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_training_is_the_same(workers: int, library: Path, tmp_path: Path) -> None:
    """Under torchrun, too, whose processes meet by a deadline."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={workers}"]
    command = [*(launcher if workers > 1 else ()), "-m", "fofa.commands.train", *TRAINING, "--out"]
    with jumping(library, tmp_path) as environment:
        run([*command, tmp_path / "jumped"], environment)
        steady = {k: v for k, v in environment.items() if k not in ("LD_PRELOAD", "JUMP_FILE")}
    run([*command, tmp_path / "steady"], steady)
    ours, theirs = (
        load_file(tmp_path / name / "weights.safetensors") for name in ("jumped", "steady")
    )
    assert all(ours[key].equal(theirs[key]) for key in theirs)
    record = Run.open(tmp_path / "jumped").record
    assert record.status == "finished"
    assert record.training.wall_hours is not None
    assert 0 < record.training.wall_hours < 0.5


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_an_evaluation_is_the_same(library: Path, tiny_run: Path, tmp_path: Path) -> None:
    few = ("--calibration-images", 20, "--limit", 20, "--batch-size", 5, "--device", "cpu")
    command = ("-m", "fofa.commands.evaluate", tiny_run, "--architectures", "22222@16,33333@16")
    with jumping(library, tmp_path) as environment:
        run([*command, *few, "--out", tmp_path / "jumped.json"], environment)
        steady = {k: v for k, v in environment.items() if k not in ("LD_PRELOAD", "JUMP_FILE")}
    run([*command, *few, "--out", tmp_path / "steady.json"], steady)
    jumped, unmoved = (
        AccuracyTable.read(tmp_path / f"{name}.json") for name in ("jumped", "steady")
    )
    assert jumped.architectures == unmoved.architectures
    assert 0 < jumped.evaluation.seconds < 1800


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_measurement_takes_its_time_and_no_other(library: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.json"
    tiny = ("--resolutions", 32, "--width-mult", 0.25, "--num-classes", 10, "--device", "cpu")
    brief = ("--budget-seconds", 3, "--session-gap", 0, "--json", "--out", out)
    with jumping(library, tmp_path) as environment:
        done = subprocess.run(
            [sys.executable, "-m", "profilers.commands.profile", *map(str, (*tiny, *brief))],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
    if "not written, because" in done.stderr:
        pytest.skip("this machine is too busy to measure anything on it")
    assert done.returncode == 0, done.stderr
    lut = Lut.read(out)
    facts: dict[str, Any] = lut.device.measured_on["measurement"]
    assert 0 < facts["seconds"] < 600
    assert all(entry.latency_ms < 1000 for entry in lut.entries)
    assert "another profiler" not in json.dumps(lut.stability.model_dump() if lut.stability else "")
