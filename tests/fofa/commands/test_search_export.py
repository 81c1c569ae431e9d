"""`fofa-search --export`: the winner in a file, checked, in the same command."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from in_process import run_here
from made_up_tables import in_int8, int8_evaluation

from fofa.accuracy import EvaluationRecord
from fofa.commands import search
from fofa.latency import Lut
from fofa.runs import Run

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run(make_run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture
def tables(make_lut, make_accuracy, tmp_path: Path) -> list[str]:
    lut, accuracy = tmp_path / "lut.json", tmp_path / "accuracy.json"
    make_lut(width_mult=0.25, resolutions=(24, 32)).write(lut)
    evaluation = EvaluationRecord(calibration_images=200, test_images=10, split="test")
    table = make_accuracy(width_mult=0.25, resolutions=(24, 32), evaluation=evaluation)
    table.write(accuracy)
    return ["--lut", str(lut), "--accuracy", str(accuracy)]


def test_the_winner_is_written(run: Run, tables: list[str], tmp_path: Path) -> None:
    options = ["--max-latency", 1000, "--run", run.folder, "--export", "best.onnx", "--json"]
    done = run_here(search.main, "fofa-search", *tables, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = {entry.key: entry.value for entry in onnx.load(tmp_path / "best.onnx").metadata_props}
    assert f'"architecture": "{said["architecture"]}"' in done.stdout
    assert f"best.onnx: {said['architecture']}, checked, top-1 " in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--max-latency 9 --export a.onnx", "--export needs --run and a limit"),
        ("--pareto --export a.onnx --run RUN", "--export needs --run and a limit"),
        ("--max-latency 9 --export a.pt2 --run RUN", "expected a file ending in .onnx"),
        ("--max-latency 9 --export a.onnx --run nowhere", "nowhere: no such run folder"),
        ("--max-latency 1000 --lut LUT --export a.onnx --run RUN", ""),
    ],
)
def test_what_cannot_be_exported(
    options: str, message: str, run: Run, tables: list[str], tmp_path: Path
) -> None:
    words = options.replace("RUN", str(run.folder)).replace("LUT", tables[1]).split()
    done = run_here(search.main, "fofa-search", *tables, *words, cwd=tmp_path)
    assert done.returncode == (2 if message else 0)
    assert message in done.stderr


def test_an_int8_winner_is_exported_in_int8(
    run: Run, make_lut, make_accuracy, tmp_path: Path
) -> None:
    lut, accuracy = tmp_path / "lut.json", tmp_path / "accuracy.json"
    in_int8(make_lut(width_mult=0.25, resolutions=(24, 32))).write(lut)
    evaluation = int8_evaluation(
        calibration="percentile:99.9", granularity="tensor", float_parts="first", range_images=20
    )
    make_accuracy(width_mult=0.25, resolutions=(24, 32), evaluation=evaluation).write(accuracy)
    options = ["--max-latency", 1000, "--run", run.folder, "--export", "best.onnx", "--json"]
    tables = ["--lut", lut, "--accuracy", accuracy]
    done = run_here(search.main, "fofa-search", *tables, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"dtype": "int8"' in done.stdout
    said = {entry.key: entry.value for entry in onnx.load(tmp_path / "best.onnx").metadata_props}
    assert said["dtype"] == "int8"
    expected = "ranges percentile:99.9; weights by tensor; in float first; ranges of 20 training"
    assert said["quantisation"].startswith(expected)


def test_int8_latencies_need_int8_accuracies(tables: list[str], tmp_path: Path) -> None:
    in_int8(Lut.read(Path(tables[1]))).write(Path(tables[1]))
    done = run_here(search.main, "fofa-search", *tables, "--max-latency", 99, cwd=tmp_path)
    assert done.returncode == 2
    assert "do not fit: latency in int8, accuracy in fp32; fofa-eval --dtype" in done.stderr
