"""A family goes through every command, and is refused where it does not belong."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from fofa.accuracy import AccuracyTable
from fofa.commands import evaluate, export, search, train
from fofa.commands.cli import run_app
from fofa.families import family_data, read_family
from fofa.latency import Lut
from fofa.runs import Run
from profilers.commands import profile

ROOT = Path(__file__).parents[3]
PROGRAMS = {
    "fofa-train": train.app,
    "fofa-eval": evaluate.app,
    "fofa-profile": profile.app,
    "fofa-search": search.app,
    "fofa-export": export.app,
}


@pytest.fixture
def call(monkeypatch, capsys):
    """Run a program; its exit code, output and errors."""

    def run(program: str, *arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [program, *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_app(PROGRAMS[program], program)
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


def documented_family(folder: Path) -> Path:
    """The example of docs/families.md, as it stands there."""
    text = (ROOT / "docs" / "families.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    path = folder / "tiny.yaml"
    path.write_text(example, encoding="utf-8")
    return path


def test_the_documented_family_goes_from_training_to_export(tmp_path: Path, call) -> None:
    path = documented_family(tmp_path)
    family = read_family(path)
    run, table, lut = tmp_path / "run", tmp_path / "accuracy.json", tmp_path / "lut.json"
    few = ("--epoch-scale", "0.001", "--train-fraction", "0.05", "--no-tensorboard")
    shapes = ("--preset", "shapes", "--family", path, "--device", "cpu")
    assert call("fofa-train", "--recipe", "fofa-n3", *shapes, "--out", run, *few)[0] == 0
    path.unlink()  # files hold it whole
    record = Run.open(run).record
    assert record.supernet.family == family
    assert json.loads((run / "run.json").read_text())["supernet"]["family"] == family_data(family)
    limits = ("--limit", "20", "--calibration-images", "20", "--device", "cpu")
    assert call("fofa-eval", run, "--out", table, *limits)[0] == 0
    measured = AccuracyTable.read(table)
    assert len(measured.architectures) == 2 * family.num_compound == 24
    assert measured.architectures[-1].architecture.subnet.family == family

    documented_family(tmp_path)
    hardware = ("--device", "roofline", "--source", "epyc7763", "--num-classes", "10")
    at = ("--resolutions", "24,32", "--family", path, "--out", lut)
    assert call("fofa-profile", *hardware, *at)[0] == 0
    assert Lut.read(lut).space.family == family
    found = ("fofa-search", "--lut", lut, "--accuracy", table, "--max-latency", "100", "--json")
    code, output, _ = call(*found)
    assert code == 0
    best = json.loads(output)["results"][0]["architecture"]
    out = tmp_path / "network.onnx"
    given = ("--calibration-images", "20", "--test-images", "20")
    assert call("fofa-export", run, "--architecture", best, "--out", out, *given)[0] == 0


def test_tables_of_two_families_are_not_paired(tmp_path: Path, call) -> None:
    path, lut = documented_family(tmp_path), tmp_path / "lut.json"
    hardware = ("--device", "roofline", "--source", "epyc7763", "--num-classes", "10")
    assert call("fofa-profile", *hardware, "--family", path, "--out", lut)[0] == 0
    accuracy = sorted((ROOT / "reports" / "accuracy").glob("*.json"))[0]
    code, _, errors = call(
        "fofa-search", "--lut", lut, "--accuracy", accuracy, "--max-latency", "5"
    )
    assert code == 2
    assert "family tiny-net and family mobilenetv3" in errors


def test_an_unknown_family_lists_those_there_are(tmp_path: Path, call) -> None:
    for program, *arguments in (
        ("fofa-train", "--recipe", "fofa-n3", "--preset", "shapes"),
        ("fofa-profile", "--device", "roofline", "--source", "a100"),
    ):
        code, _, errors = call(program, *arguments, "--family", "resnet", "--out", tmp_path / "x")
        assert code == 2
        assert "expected one of mobilenetv3, proxyless, efficientnet-lite0" in errors
