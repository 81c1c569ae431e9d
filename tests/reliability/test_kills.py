"""Programs that are killed at random moments: nothing is damaged, and nothing is different after.

A killed program can do nothing about it (SIGKILL), so what holds here holds for a crash and a lost
battery too, as far as the file system keeps its word.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up_tables import timed_entries
from safetensors.torch import load_file

from fofa.accuracy import AccuracyTable
from fofa.latency import Lut
from fofa.runs import RECORD_NAME, Run, RunRecord
from fofa.train.checkpoint import load_checkpoint
from fofa.train.settings import TrainSettings
from profilers.measuring.samples import read_samples

FEW = 2
MANY = 20
SLOW = (pytest.mark.slow, pytest.mark.timeout(1800))
KILLS = [pytest.param(FEW, id="few"), pytest.param(MANY, id="many", marks=SLOW)]
PHASES = ("teacher", "compound-1", "compound-2")
NUM_STEPS = {"teacher": 7, "compound-1": 1, "compound-2": 5}


@pytest.fixture(scope="module")
def dice() -> random.Random:
    """Draws the moments; the seed is printed when a test fails."""
    seed = int.from_bytes(os.urandom(4))
    print(f"moments drawn with seed {seed}")
    return random.Random(seed)


def train_options(folder: Path, tiny_training: Sequence[object]) -> list[object]:
    """CompOFA with all of its three phases, in 13 steps, a checkpoint after every one."""
    return [
        *("fofa-train", "--recipe", "compofa", "--out", folder, "--epoch-scale", 0.004),
        *tiny_training,
        *("--checkpoint-seconds", 0),
    ]


@pytest.fixture(scope="module")
def unbroken_run(
    programs: Any, tiny_training: Sequence[object], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    programs.run(*train_options(folder, tiny_training)).check(0)
    assert sum(NUM_STEPS.values()) == Run.open(folder).record.step
    return folder


def steps_done(folder: Path) -> int:
    """Steps of the run that are in its record; 0 before there is one."""
    record = folder / RECORD_NAME
    return json.loads(record.read_text())["step"] if record.is_file() else 0


def check_run_is_whole(folder: Path) -> None:
    """Every file of a run folder can be read, whatever the moment of the kill."""
    if (folder / "settings.json").exists():
        TrainSettings.read(folder / "settings.json")
    checkpoint = load_checkpoint(folder)
    if (folder / RECORD_NAME).exists():
        record = RunRecord.read(folder / RECORD_NAME)
        assert checkpoint is not None
        assert record.step <= checkpoint.state.step
        Run.open(folder).load_supernet()


def kill_moments(kills: int, dice: random.Random) -> list[int]:
    """After which step to kill: once in every phase, the rest anywhere; ascending."""
    moments, first = [], 0
    for phase in PHASES:
        moments.append(dice.randrange(first, first + NUM_STEPS[phase]))
        first += NUM_STEPS[phase]
    moments += [dice.randrange(first) for _ in range(kills - len(moments))]
    return sorted(moments)


@pytest.mark.parametrize("kills", KILLS)
def test_a_killed_training_ends_with_the_weights_of_an_unbroken_one(
    kills: int,
    programs: Any,
    unbroken_run: Path,
    tiny_training: Sequence[object],
    tmp_path: Path,
    dice: random.Random,
) -> None:
    folder = tmp_path / "run"
    for moment in kill_moments(kills, dice):
        program = programs.start(*train_options(folder, tiny_training))
        program.wait_until(lambda moment=moment: steps_done(folder) >= moment)
        time.sleep(dice.uniform(0, 0.3))
        program.kill()
        check_run_is_whole(folder)
    programs.run(*train_options(folder, tiny_training)).check(0)

    check_run_is_whole(folder)
    expected = load_file(unbroken_run / "weights.safetensors")
    found = load_file(folder / "weights.safetensors")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    unbroken = [json.loads(line) for line in (unbroken_run / "log.jsonl").read_text().splitlines()]
    assert [(r["step"], r["subnets"]) for r in log] == [(r["step"], r["subnets"]) for r in unbroken]
    assert {path.name for path in folder.rglob(".*")} <= {".lock"}, "temporary files were left"


EVALUATED = [f"{a}{b}{c}22@16" for a in "234" for b in "24" for c in "34"]


def eval_options(run: Path, out: Path) -> list[object]:
    """Twelve architectures, one after the other, each kept when it is done."""
    return [
        *("fofa-eval", run, "--out", out, "--architectures", ",".join(EVALUATED)),
        *("--one-at-a-time", "--calibration-images", 40, "--batch-size", 5, "--device", "cpu"),
    ]


@pytest.mark.parametrize("kills", KILLS)
def test_a_killed_evaluation_ends_with_the_table_of_an_unbroken_one(
    kills: int, programs: Any, tiny_run: Path, tmp_path: Path, dice: random.Random
) -> None:
    expected, out = tmp_path / "expected.json", tmp_path / "table.json"
    start = time.monotonic()
    programs.run(*eval_options(tiny_run, expected)).check(0)
    duration = time.monotonic() - start
    for _ in range(kills):
        program = programs.start(*eval_options(tiny_run, out))
        time.sleep(dice.uniform(0, duration))
        program.kill()
        if out.exists():  # It was written before the kill came; the next one starts over.
            AccuracyTable.read(out)
            out.unlink()
    programs.run(*eval_options(tiny_run, out)).check(0)

    found, wanted = AccuracyTable.read(out), AccuracyTable.read(expected)
    assert found.architectures == wanted.architectures
    assert found.evaluation.test_images == wanted.evaluation.test_images
    assert sorted(visible(tmp_path)) == ["expected.json", "table.json"]


def visible(folder: Path) -> list[str]:
    """Names of the files in a folder, without the temporary ones of a killed program."""
    return [path.name for path in folder.iterdir() if not path.name.startswith(".")]


def profile_options(out: Path, steady: Sequence[object]) -> list[object]:
    return ["fofa-profile", *steady, "--out", out]


@pytest.mark.slow  # tests/profilers/commands/test_profile.py kills one
@pytest.mark.parametrize("kills", KILLS)
def test_a_killed_measurement_ends_with_the_table_of_an_unbroken_one(
    kills: int, programs: Any, steady: Sequence[object], tmp_path: Path, dice: random.Random
) -> None:
    """On a device that takes the same time at every run, so that tables can be equal at all."""
    expected, out = tmp_path / "expected.json", tmp_path / "table.json"
    start = time.monotonic()
    programs.run(*profile_options(expected, steady)).check(0)
    duration = time.monotonic() - start
    resumed = 0
    for _ in range(kills):
        program = programs.start(*profile_options(out, steady))
        time.sleep(dice.uniform(0, duration))
        program.kill()
        if out.exists():
            Lut.read(out)
            out.unlink()
        partial = tmp_path / "table.json.partial"
        resumed += partial.exists() and partial.read_bytes().count(b"\n") > 1
    programs.run(*profile_options(out, steady)).check(0)

    found, wanted = Lut.read(out), Lut.read(expected)
    assert timed_entries(found) == timed_entries(wanted)
    assert found.calibration == wanted.calibration
    assert found.validation == wanted.validation
    measured = found.device.measured_on["measurement"]
    assert kills < MANY or resumed, "no kill fell into a measurement that could be resumed"
    samples = read_samples(tmp_path / found.raw_samples)
    assert [round_.round for round_ in samples.rounds] == list(range(measured["rounds"]))
    assert not (tmp_path / "table.json.partial").exists()


def test_a_killed_bench_writes_the_same_report_when_it_is_run_again(
    programs: Any, tiny_tables: Path, tmp_path: Path, dice: random.Random
) -> None:
    """A few kills; `tests/bench/test_outputs.py` has the many."""
    options = ("fofa-bench", "--accuracy-dir", "accuracy", "--luts-dir", "luts", "--tables", "2")
    options += ("--lut", "luts/steady.json", "--figures", "none", "--out")
    start = time.monotonic()
    programs.run(*options, tmp_path / "expected", cwd=tiny_tables).check(0)
    duration = time.monotonic() - start
    expected = {path.name: path.read_bytes() for path in files(tmp_path / "expected")}
    assert {"table2.json", "report.html"} <= expected.keys()
    out = tmp_path / "report"
    for _ in range(FEW):
        program = programs.start(*options, out, cwd=tiny_tables)
        time.sleep(dice.uniform(0.5, 1) * duration)
        program.kill()
        for path in files(out):
            assert path.read_bytes() == expected[path.name], f"{path} is not whole"
    programs.run(*options, out, cwd=tiny_tables).check(0)
    assert {path.name: path.read_bytes() for path in files(out)} == expected


def files(folder: Path) -> list[Path]:
    """Every file below a folder, but for the temporary ones of a killed program."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in found if not path.name.startswith(".")]
