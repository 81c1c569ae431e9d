"""Files of the right form with wrong contents, through the programs that read them.

`tests/reliability/test_fuzz_files.py` damages files anywhere and reads them; here every field and
every tensor is taken away, renamed, of another type, shape or size, one at a time, and a whole
program has to take it or refuse it in one line: run records, settings, weights, checkpoints,
predictors, tables.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from damage import Fault, array_faults, structural_faults
from safetensors.numpy import load, save

from fofa.predictor.model import METADATA_KEY
from fofa.runs import RECORD_NAME, WEIGHTS_NAME, RunRecord
from fofa.train.checkpoint import CHECKPOINT_PATH
from fofa.train.settings import SETTINGS_NAME

FEW, MANY = 1, 40
TRIES = 5
WRITTEN_ANEW = "record of a stopped run"
"""Going on, a run makes its record of its settings and checkpoint: what was there is replaced."""
SLOW = (pytest.mark.slow, pytest.mark.timeout(3600))
COUNTS = [pytest.param(FEW, id="few"), pytest.param(MANY, id="many", marks=SLOW)]


@dataclass(frozen=True, slots=True)
class Subject:
    """A file in a folder of its own, and a program that reads it.

    Attributes:
        folder: is copied for every fault.
        file: in it, which gets the fault.
        words: of the program, in the copied folder.
    """

    program: str
    folder: Path
    file: str
    words: Sequence[object]


@pytest.fixture(scope="module")
def stopped_run(
    programs: Any, tiny_training: Sequence[object], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder that holds a run which was stopped after its first steps."""
    for _ in range(TRIES):
        folder = tmp_path_factory.mktemp("stopped")
        program = programs.start("fofa-train", *training(tiny_training), cwd=folder)
        program.wait_until((folder / "run" / RECORD_NAME).is_file)
        program.send(signal.SIGTERM)
        if program.wait().check(0, 130).code:
            return folder
    raise AssertionError(f"{TRIES} times the signal came after the last step")


@pytest.fixture(scope="module")
def finished_run(
    programs: Any,
    tiny_training: Sequence[object],
    stopped_run: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The same, gone on with to the end."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copytree(stopped_run, folder, dirs_exist_ok=True)
    programs.run("fofa-train", *training(tiny_training), cwd=folder).check(0)
    return folder


def training(tiny: Sequence[object]) -> list[object]:
    more = ("--recipe", "fofa-n3", "--out", "run", "--epoch-scale", 0.003, "--checkpoint-steps", 1)
    return [*more, *tiny]


@pytest.fixture(scope="module")
def subjects(
    programs: Any,
    tiny_run: Path,
    tiny_tables: Path,
    tiny_training: Sequence[object],
    stopped_run: Path,
    finished_run: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Subject]:
    folder = tmp_path_factory.mktemp("whole")
    shutil.copytree(tiny_run, folder / "run")
    for name in ("luts/steady.json", "accuracy/tiny.json", "baseline.json"):
        shutil.copy(tiny_tables / name, folder)
    train = ("train", folder / "tiny.json", "--out", folder / "p.safetensors", "--epochs", 2)
    programs.run("fofa-predictor", *train).check(0)
    few = ("--calibration-images", 5, "--batch-size", 5)
    evaluation = ("run", "--architectures", "22222@16", "--limit", 5, "--out", "t.json", *few)
    export = ("run", "--architecture", "22222@16", "--out", "n.onnx", "--test-images", 0, *few)
    search = ("--lut", "steady.json", "--accuracy", "tiny.json", "--max-latency", 100)
    guided = ("--predictor", "p.safetensors", "--max-macs", "1e9")
    again = training(tiny_training)
    return {
        "run record": Subject("fofa-eval", folder, f"run/{RECORD_NAME}", evaluation),
        "weights": Subject("fofa-export", folder, f"run/{WEIGHTS_NAME}", export),
        "settings": Subject("fofa-train", stopped_run, f"run/{SETTINGS_NAME}", again),
        WRITTEN_ANEW: Subject("fofa-train", stopped_run, f"run/{RECORD_NAME}", again),
        "record of a finished run": Subject(
            "fofa-train", finished_run, f"run/{RECORD_NAME}", again
        ),
        "checkpoint": Subject("fofa-train", stopped_run, f"run/{CHECKPOINT_PATH}", again),
        "predictor": Subject("fofa-search", folder, "p.safetensors", guided),
        "latency table": Subject("fofa-search", folder, "steady.json", search),
        "accuracy table": Subject("fofa-search", folder, "tiny.json", search),
        "baseline": Subject(
            *("fofa-bench", folder, "baseline.json"),
            (
                *("--check", "baseline.json", "--lut", "steady.json", "--accuracy", "tiny.json"),
                *("--luts-dir", "none", "--accuracy-dir", "none"),
            ),
        ),
    }


NAMES = (
    *("run record", "weights", "settings", WRITTEN_ANEW, "record of a finished run", "checkpoint"),
    *("predictor", "latency table", "accuracy table", "baseline"),
)


def faults_of(content: bytes) -> Iterator[Fault]:
    """The faults of a file, JSON or safetensors with JSON in its metadata; each makes a file."""
    if content.startswith(b"{"):
        for what, make in structural_faults(json.loads(content)):
            yield what, partial(as_json, make)
        return
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata, arrays = header.get("__metadata__"), load(content)
    for what, make in array_faults(arrays):
        yield what, partial(as_tensors, make, metadata)
    for name, text in (metadata or {}).items():
        rest = {key: value for key, value in metadata.items() if key != name}
        yield f"metadata without {name}", partial(save, arrays, rest)
        for what, make in structural_faults(json.loads(text)):
            yield f"metadata {what}", partial(with_metadata, arrays, metadata, name, make)


def as_json(make: Callable[[], Any]) -> bytes:
    return json.dumps(make()).encode()


def as_tensors(make: Callable[[], Any], metadata: dict[str, str] | None) -> bytes:
    return save(make(), metadata)


def with_metadata(
    arrays: Any, metadata: dict[str, str], name: str, make: Callable[[], Any]
) -> bytes:
    return save(arrays, metadata | {name: json.dumps(make())})


def chosen(name: str, faults: Sequence[Fault], count: int) -> Sequence[Fault]:
    """Some of the faults, the same at every time."""
    if len(faults) <= count:
        return faults
    return random.Random(f"{name} {count}").sample(faults, count)


def test_every_subject_is_tried(subjects: dict[str, Subject]) -> None:
    assert tuple(subjects) == NAMES


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", NAMES)
def test_a_fault_is_taken_or_refused_in_one_line(
    name: str, count: int, subjects: dict[str, Subject], programs: Any, tmp_path: Path
) -> None:
    subject = subjects[name]
    faults = list(faults_of((subject.folder / subject.file).read_bytes()))
    assert len(faults) > 10
    wrong, refused = [], 0
    for what, make in chosen(name, faults, count):
        place = tmp_path / "place"
        shutil.copytree(subject.folder, place)
        (place / subject.file).write_bytes(make())
        ended = programs.run(subject.program, *subject.words, cwd=place)
        # 1 where a gate does not hold, and where weights are numbers that cannot be trained.
        codes = (0, 1, 2) if name in ("baseline", "checkpoint") else (0, 2)
        try:
            ended.check(*codes)
            if ended.code == 2 and name != "baseline":
                ended.complaint()
            if name == WRITTEN_ANEW:
                assert RunRecord.read(place / subject.file).status == "finished"
        except AssertionError:
            wrong.append(f"{what}: code {ended.code}: {ended.stderr.strip()[-300:]}")
        refused += ended.code == 2
        shutil.rmtree(place)
    assert not wrong, "\n".join(wrong)
    assert refused or count < MANY or name == WRITTEN_ANEW, "nothing was refused"


def test_a_predictor_has_its_record_in_its_metadata(subjects: dict[str, Subject]) -> None:
    """Else its faults would not be among those that are tried."""
    content = (subjects["predictor"].folder / "p.safetensors").read_bytes()
    assert any(what.startswith("metadata space") for what, _ in faults_of(content))
    assert METADATA_KEY.encode() in content
