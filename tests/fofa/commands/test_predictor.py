"""`fofa-predictor` as a user has it."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest
from made_up_tables import make_accuracy
from tiny_runs import make_record

from fofa.commands.predictor import main
from fofa.predictor.model import load_predictor
from fofa.runs import RECORD_NAME, WEIGHTS_NAME
from fofa.space import SearchSpace, macs, parse_architecture
from fofa.supernet.config import SupernetConfig

ELASTIC = SupernetConfig(
    kind="elastic", num_classes=2, max_kernels=(7,) * 5, kernel_mode="transform"
)
SPACE = SearchSpace(kind="elastic", resolutions=(128, 160))


@pytest.fixture
def call(capsys, monkeypatch):
    """Run the program in this process: exit code, standard output, standard error."""

    def run(*arguments: str) -> tuple[int | str | None, str, str]:
        monkeypatch.setattr(sys, "argv", ["fofa-predictor", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code, *capsys.readouterr()

    return run


def write_table(path: Path, seed: int = 0, num: int = 40) -> None:
    rng = random.Random(seed)
    drawn = {SPACE.sample(rng): None for _ in range(num)}
    make_accuracy(
        recipe="ofa", kind="elastic", architectures=drawn, top1=lambda a: 50 + macs(a) / 2e7
    ).write(path)


def write_run(folder: Path, kind: str) -> Path:
    folder.mkdir()
    (folder / WEIGHTS_NAME).write_bytes(b"not looked at")
    supernet = ELASTIC if kind == "elastic" else SupernetConfig(num_classes=2)
    make_record(class_names=["a", "b"], supernet=supernet).write(folder / RECORD_NAME)
    return folder


def test_samples_are_names_for_fofa_eval(call, tmp_path) -> None:
    run = write_run(tmp_path / "run", "elastic")
    code, out, err = call("sample", str(run), "-n", "5", "--seed", "1")
    assert (code, err) == (0, "")
    names = out.strip().split(",")
    assert len({parse_architecture(name) for name in names}) == 5
    assert {parse_architecture(name).resolution for name in names} <= {24, 32}


@pytest.mark.usefixtures("one_thread")
def test_training_and_checking(call, tmp_path) -> None:
    write_table(tmp_path / "a.json")
    write_table(tmp_path / "b.json", seed=1)
    out_file = tmp_path / "p.safetensors"
    code, out, _ = call(
        "train", str(tmp_path / "a.json"), "--out", str(out_file), "--epochs", "2", "--json"
    )
    assert code == 0
    held = json.loads(out)
    assert held["architectures"] == 8
    assert load_predictor(out_file).record.held_out.model_dump() == held
    code, out, _ = call("check", str(out_file), str(tmp_path / "b.json"))
    assert code == 0
    assert "on 40 architectures it was not trained on: Kendall tau" in out


def test_mistakes_are_one_line_and_exit_code_2(call, tmp_path) -> None:
    run = write_run(tmp_path / "run", "compound")
    write_table(tmp_path / "few.json", num=3)
    few, good = str(tmp_path / "few.json"), str(tmp_path / "p.safetensors")
    for arguments, message in (
        (("sample", str(run)), "needs no predictor"),
        (("sample", str(tmp_path)), "not a run folder"),
        (("train", few, "--out", good), "too few"),
        (("train", few, "--out", "p.pth"), "ending in .safetensors"),
        (("train", few, "--out", good, "--held-out", "2"), "held-out share 2"),
        (("train", str(tmp_path / "none.json"), "--out", good), "no such file"),
        (("check", good, few), "no such file"),
    ):
        code, out, err = call(*arguments)
        assert (code, out) == (2, ""), arguments
        assert message in err
        assert err.count("\n") == 1
    assert not Path(good).exists()
