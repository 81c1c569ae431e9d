"""`fofa-eval` as a user has it: output, exit codes, interruption, several processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from waiting import PATIENCE_SECONDS

from fofa.accuracy import AccuracyTable
from fofa.commands.evaluate import main
from fofa.distributed import WorkerLostError
from fofa.evaluate import table as tables
from fofa.recalibration import load_calibrated
from fofa.runs import Run
from fofa.space import parse_architecture

Call = Callable[..., tuple[int | str | None, str, str]]
pytestmark = pytest.mark.usefixtures("one_thread")
COMMAND = [sys.executable, "-m", "fofa.commands.evaluate"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
FEW = ("--calibration-images", "50", "--limit", "70", "--batch-size", "32", "--device", "cpu")


@pytest.fixture(scope="module")
def run(make_run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "tiny").folder


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """The command in this process: its exit code, standard output and standard error."""

    def run_main(*arguments: object) -> tuple[int | str | None, str, str]:
        monkeypatch.setattr(sys, "argv", ["fofa-eval", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return run_main


def evaluate(*arguments: object, launcher: list[str] | None = None) -> subprocess.CompletedProcess:
    command = [*launcher, *COMMAND[1:]] if launcher else COMMAND
    words = [*command, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT, check=False)


def test_named_architectures(run: Path, tmp_path: Path, call: Call) -> None:
    out = tmp_path / "accuracy.json"
    names = ("22222@24", "44444@24", "23432@32")
    code, output, _ = call("--out", out, run, "--architectures", *names, *FEW, "--keep-statistics")
    assert code == 0
    assert "3 architectures measured on 70 test images of shapes" in output
    table = AccuracyTable.read(out)
    assert [entry.name for entry in table.architectures] == list(names)
    assert table.space.resolutions == [24, 32]
    assert table.evaluation.test_images == 70
    assert table.evaluation.calibration_images == 50
    assert table.evaluation.precision == "fp32"
    assert not list(tmp_path.glob("*.partial"))
    for name in names:
        assert load_calibrated(Run.open(run), parse_architecture(name)) is not None

    alone = ("--one-at-a-time", "--architectures", ",".join(names))
    assert call("--out", out, run, *alone, *FEW)[0] == 0
    assert AccuracyTable.read(out).architectures == table.architectures


@pytest.mark.parametrize("bits", [8, 7])
def test_int8_is_said_in_the_table_with_its_checks(
    run: Path, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch, bits: int
) -> None:
    """Of 8-bit weights it is said where they overflow; of 7-bit ones nothing is."""
    monkeypatch.setattr("fofa.evaluate.table.products_overflow", lambda: True)
    out, names = tmp_path / "int8.json", ("22222@24", "44444@24")
    int8 = ("--dtype", "int8", "--quantisation-images", "20", "--calibration", "percentile:99.9")
    int8 = (*int8, "--weight-bits", str(bits))
    code, output, errors = call("--out", out, run, "--architectures", *names, *FEW, *int8)
    assert ("warning: ONNX Runtime adds 8-bit products in 16 bits" in errors) == (bits == 8)
    assert code == 0
    table = AccuracyTable.read(out)
    assert table.dtype == table.evaluation.precision == "int8"
    record = table.evaluation.int8
    assert record is not None
    words = (record.calibration, record.granularity, record.float_parts, record.weight_bits)
    assert words == ("percentile:99.9", "channel", "none", bits)
    assert record.range_images == 20
    assert [check.name for check in record.checks] == list(names)
    for check in record.checks:
        assert check.test_images == 70
        assert abs(check.simulated_top1 - check.exact_top1) <= record.error_points
        assert f"{check.name}: simulated {check.simulated_top1:.2f}%" in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dtype", "fp16"], "--dtype 'fp16': expected one of fp32, bf16, int8"),
        (["--dtype", "int8", "--bf16"], "--bf16 and --dtype int8 exclude each other"),
        (["--dtype", "int8", "--granularity", "row"], "--granularity 'row'"),
        (["--dtype", "int8", "--weight-bits", "6"], "int8 weight bits 6: expected 7 or 8"),
    ],
)
def test_number_types_that_cannot_be(run: Path, tmp_path: Path, call: Call, words, message) -> None:
    code, _, err = call("--out", tmp_path / "a.json", run, *words)
    assert code == 2
    assert message in err


@pytest.mark.slow
def test_two_processes_measure_the_same(run: Path, tmp_path: Path, call: Call) -> None:
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    arguments = ("--architectures", "22222@24", "22224@24", *FEW)
    assert call(run, "--out", one, *arguments)[0] == 0
    done = evaluate(run, "--out", two, *arguments, launcher=[*TORCHRUN, "-m"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("architectures measured") == 1
    assert AccuracyTable.read(one).architectures == AccuracyTable.read(two).architectures


@pytest.mark.slow  # three kills at any moment: tests/reliability/test_kills.py
def test_a_killed_evaluation_goes_on(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "accuracy.json"
    names = [f"{depths}@24" for depths in ("22222", "22223", "22224", "22232", "22233", "22234")]
    arguments = [str(run), "--architectures", *names, *FEW, "--one-at-a-time", "--out"]
    whole = tmp_path / "whole.json"
    assert evaluate(*arguments, whole).returncode == 0
    process = subprocess.Popen(
        [*COMMAND, *arguments, str(out)], env=ENVIRONMENT, stdout=subprocess.DEVNULL
    )
    partial = tmp_path / "accuracy.json.partial"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not partial.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.wait()
    if not out.exists():  # else it was done before it could be killed
        assert partial.exists()
    assert evaluate(*arguments, out).returncode == 0
    assert AccuracyTable.read(out).architectures == AccuracyTable.read(whole).architectures
    assert not partial.exists()


@pytest.mark.slow
def test_all_compound_subnets_of_a_run(run: Path, tmp_path: Path, call: Call) -> None:
    out = tmp_path / "accuracy.json"
    assert call(run, "--out", out, *FEW)[0] == 0
    assert len(AccuracyTable.read(out).architectures) == 486


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--architectures", "22225@24"), "architecture name '22225'"),
        (("--architectures", "22222@24", "22222@24"), "named twice"),
        (("--architectures", "22222@24", "--resolutions", "24"), "leave out --resolutions"),
        (("--resolutions", "24px"), "expected sizes in pixels"),
        (("--keep-statistics",), "needs --architectures"),
        (("--data", "moons"), "expected shapes, cifar10:DIR"),
        (("--device", "tpu"), "expected auto, cpu"),
        (("--architectures", "3x3+3x3-3x3+3x3-3x3+3x3-3x3+3x3-3x3+3x3@24"), "not in the compound"),
    ],
)
def test_what_is_wrong_is_one_line(
    run: Path, tmp_path: Path, call: Call, arguments: tuple[str, ...], message: str
) -> None:
    code, output, errors = call(run, "--out", tmp_path / "a.json", *arguments)
    assert (code, output) == (2, "")
    assert message in errors
    assert errors.startswith("fofa-eval: ")
    assert len(errors.splitlines()) == 1


def test_no_run(tmp_path: Path) -> None:
    done = evaluate(tmp_path / "absent", "--out", tmp_path / "a.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no such run folder" in done.stderr


def test_a_pipe_is_refused_before_anything_is_measured(
    run: Path, tmp_path: Path, call: Call
) -> None:
    os.mkfifo(tmp_path / "pipe")
    code, output, error = call(run, "--out", tmp_path / "pipe", *FEW)
    assert (code, output) == (2, "")
    assert error.endswith("pipe: cannot write: not a regular file\n")
    assert error.count("\n") == 1


def test_a_lost_process_is_one_line_that_says_how_to_go_on(
    run: Path, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(*_: object) -> None:
        raise WorkerLostError("lost another process of this job: connection closed")

    monkeypatch.setattr(tables, "make_table", lose)
    code, _, errors = call("--out", tmp_path / "a.json", run, "--architectures", "22222@24", *FEW)
    assert code == 2
    assert errors.splitlines() == [
        "fofa-eval: lost another process of this job: connection closed; the same command goes on "
        "where it stopped"
    ]


def test_it_says_at_once_how_long_it_will_take(
    run: Path, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []
    count = torch.set_num_threads
    monkeypatch.setattr(torch, "set_num_threads", lambda n: (counted.append(n), count(n)))
    arguments = (run, "--out", tmp_path / "t.json", "--architectures", "22222@24", *FEW)
    code, _, errors = call(*arguments, "--threads", "1")
    assert code == 0
    assert counted == [1]
    assert re.search(r"1 architectures: about \d+ s with 1 thread,", errors)
    code, _, errors = call(*arguments, "--threads", "0")
    assert code == 2
    assert "--threads" in errors
