"""`fofa-export` as a user has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from waiting import PATIENCE_SECONDS

from fofa.commands.export import main

pytestmark = pytest.mark.usefixtures("one_thread")
FEW = ("--calibration-images", "50", "--test-images", "50", "--batch-size", "25")


@pytest.fixture(scope="module")
def run(make_run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "tiny").folder


def test_a_file_is_written_and_described(run, tmp_path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "fofa.commands.export", str(run)),
            *("--architecture", "22222@24", "--out", "net.onnx", *FEW),
        ],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "22222@24 as onnx, fp32: net.onnx" in done.stdout
    assert "measured on 50 test images of shapes" in done.stdout
    onnx.checker.check_model(tmp_path / "net.onnx", full_check=True)


@pytest.fixture
def call(capsys, monkeypatch):
    """Run the program in this process: exit code, standard output, standard error."""

    def command(*arguments: str) -> tuple[int | str | None, str, str]:
        monkeypatch.setattr(sys, "argv", ["fofa-export", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code, *capsys.readouterr()

    return command


def test_json(run, tmp_path, call) -> None:
    out = tmp_path / "half.onnx"
    arguments = (
        str(run),
        "--architecture",
        "22222@24",
        "--out",
        str(out),
        "--dtype",
        "float16",
    )  # an older word
    code, printed, _ = call(*arguments, *FEW, "--json")
    assert code == 0
    result = json.loads(printed)
    assert result["accuracy"]["test_images"] == 50
    assert result["reference_top1"] is not None
    assert result["statistics"] == "recalibrated"
    said = {p.key: p.value for p in onnx.load(out).metadata_props}
    assert said["dtype"] == "fp16"


def test_a_file_for_batches_of_one_size(run, tmp_path, call) -> None:
    out = tmp_path / "two.onnx"
    arguments = (str(run), "--architecture", "22222@24", "--out", str(out), "--fixed-batch", "2")
    assert call(*arguments, *FEW)[0] == 0
    [taken] = onnx.load(out).graph.input
    assert [size.dim_value for size in taken.type.tensor_type.shape.dim] == [2, 3, 24, 24]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--architecture 99999@24 --out n.onnx", "stage 1 has depth 9, expected one of (2, 3, 4)"),
        ("--architecture 22222 --out n.onnx", "a right one looks like 23432@160"),
        ("--architecture 3x3+3x4-3x3+3x3-3x3+3x3-3x3+3x3-3x3+3x3@24 --out n.onnx", "compound"),
        ("--architecture 22222@24 --out n.bin", "expected a file ending in .onnx or .pt2"),
        ("--architecture 22222@24 --out n.onnx --format torch", "expected a file ending in .pt2"),
        ("--architecture 22222@24 --out n.onnx --format tf", "--format 'tf'"),
        ("--architecture 22222@24 --out n.onnx --dtype int4", "--dtype 'int4'"),
        ("--architecture 22222@24 --out n.onnx --calibration max", "--calibration 'max'"),
        ("--architecture 22222@24 --out n.onnx --calibration minmax:9", "--calibration 'minmax:9'"),
        ("--architecture 22222@24 --out n.onnx --calibration percentile:x", "no percentage"),
        ("--architecture 22222@24 --out n.onnx --calibration percentile:7", "expected above 50"),
        ("--architecture 22222@24 --out n.onnx --granularity row", "--granularity 'row'"),
        ("--architecture 22222@24 --out n.onnx --float-parts stem", "int8 float parts 'stem'"),
        ("--architecture 22222@24 --out n.onnx --data nothing", "data 'nothing'"),
        ("--architecture 22222@24 --out n.onnx --no-data", "no BatchNorm statistics"),
        ("--architecture 22222@24 --out n.onnx --no-data --data shapes", "exclude each other"),
        ("--architecture 22222@24 --out n.onnx --no-data --dtype int8", "calibration images"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    run, tmp_path, call, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(str(run), *arguments.split())
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_run(tmp_path, call) -> None:
    code, _, err = call(str(tmp_path), "--architecture", "22222@24", "--out", "n.onnx")
    assert code == 2
    assert "not a run folder" in err
