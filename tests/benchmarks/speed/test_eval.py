"""`python -m benchmarks.speed eval` compares ways that give the same answers."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import torch

from benchmarks.speed.eval import Work, macs_ratio, one_by_one, one_by_one_plain, tree
from fofa.space import compound_subnets
from fofa.supernet.config import SupernetConfig
from fofa.supernet.model import Supernet


def make_work(every: int, resolution: int) -> Work:
    torch.manual_seed(0)
    supernet = Supernet(SupernetConfig(width_mult=0.25, num_classes=10)).eval()
    images = torch.randn(4, 3, resolution, resolution)
    return Work(supernet, list(compound_subnets())[::every], images, torch.tensor([1, 2, 3, 4]))


def test_all_ways_count_the_same() -> None:
    work = make_work(30, 32)
    counts = tree(work)
    assert counts.shape == (9, 2)
    assert torch.equal(counts, one_by_one(work))
    assert torch.equal(counts, one_by_one_plain(work))


def test_the_multiply_adds_saved_are_those_of_the_space() -> None:
    supernet = Supernet(SupernetConfig())
    work = Work(supernet, list(compound_subnets()), torch.empty(1, 3, 224, 224), torch.empty(1))
    assert macs_ratio(work) == pytest.approx(3.37, abs=0.005)


@pytest.mark.slow
def test_the_command_prints_ratios() -> None:
    small = ["--resolution", "32", "--width-mult", "0.25", "--rounds", "1", "--every", "60"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.speed", "eval", *small, "--device", "cpu"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("5 subnets, width 0.25, 32 px, 4 images")
    for way in ("tree", "one by one", "one by one, plain"):
        assert re.search(rf"^{way} +[0-9.]+ s +[0-9.]+x +same counts$", done.stdout, re.MULTILINE)
    assert re.search(r"^multiply-adds +[0-9.]+x$", done.stdout, re.MULTILINE)
