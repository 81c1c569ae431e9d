"""`fofa-import` makes a run that the other commands take."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fofa.accuracy import AccuracyTable
from fofa.commands import evaluate, import_checkpoint
from fofa.runs import Run
from fofa.supernet.config import SupernetConfig
from fofa.supernet.foreign import legacy_names
from fofa.supernet.model import Supernet

PROGRAMS = {"fofa-import": import_checkpoint.main, "fofa-eval": evaluate.main}
Call = Callable[..., tuple[int | str | None, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """A command in this process: its exit code, standard output and standard error."""

    def run_main(name: str, *arguments: object) -> tuple[int | str | None, str, str]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as ended:
            PROGRAMS[name]()
        return ended.value.code, *capsys.readouterr()

    return run_main


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """An elastic checkpoint of ten classes, in the older form of the names."""
    torch.manual_seed(0)
    config = SupernetConfig(
        kind="elastic",
        width_mult=0.25,
        num_classes=10,
        max_kernels=(7,) * 5,
        kernel_mode="transform",
    )
    supernet = Supernet(config)
    state = supernet.state_dict()
    path = tmp_path / "ofa.pth"
    renamed = {theirs: state[ours] for ours, theirs in legacy_names(supernet).items()}
    torch.save({"state_dict": renamed}, path)
    return path


def test_an_imported_run_is_evaluated(checkpoint: Path, tmp_path: Path, call: Call) -> None:
    folder = tmp_path / "run"
    code, output, _ = call("fofa-import", checkpoint, "--out", folder)
    assert code == 0
    assert "elastic supernet, width 0.25, 10 classes" in output
    run = Run.open(folder)
    assert run.record.status == "imported"
    assert run.record.recipe == "ofa"
    assert run.record.resolutions == [128, 160, 192, 224]
    assert run.record.class_names == [str(number) for number in range(10)]
    assert run.record.mean == (0.485, 0.456, 0.406)
    assert run.load_supernet().config.kernel_mode == "transform"

    out = tmp_path / "accuracy.json"
    elastic = "3x4+5x6-7x3+3x3-3x6+3x6-5x4+5x4+5x4-7x6+3x3@32"
    few = ("--calibration-images", "20", "--limit", "20", "--data", "shapes", "--device", "cpu")
    names = (elastic, "22222@32")
    code, _, errors = call("fofa-eval", folder, "--out", out, "--architectures", *names, *few)
    assert code == 0
    assert "warning: the run was not trained at 32 px" in errors
    assert "normalises images otherwise" in errors
    table = AccuracyTable.read(out)
    assert [entry.name for entry in table.architectures] == [elastic, "22222@32"]
    assert table.space.kind == "elastic"


def test_what_is_wrong_is_one_line(checkpoint: Path, tmp_path: Path, call: Call) -> None:
    folder = tmp_path / "run"
    bad = tmp_path / "bad.pth"
    bad.write_bytes(b"not a checkpoint")
    for source, message in [
        (bad, "not a checkpoint of tensors"),
        (tmp_path / "absent", "no such file"),
    ]:
        code, _, errors = call("fofa-import", source, "--out", folder)
        assert code == 2
        assert message in errors
        assert len(errors.splitlines()) == 1
        assert not folder.exists()
    assert call("fofa-import", checkpoint, "--out", folder)[0] == 0
    code, _, errors = call("fofa-import", checkpoint, "--out", folder)
    assert code == 2
    assert "holds a run already" in errors


class Evil:
    """Would make a file if it were unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.marker, "w")


def test_nothing_is_unpickled(tmp_path: Path, call: Call) -> None:
    marker, path = tmp_path / "ran", tmp_path / "evil.pth"
    torch.save({"state_dict": Evil(marker)}, path)
    code, _, errors = call("fofa-import", path, "--out", tmp_path / "run")
    assert code == 2
    assert "not a checkpoint of tensors" in errors
    assert not marker.exists()
