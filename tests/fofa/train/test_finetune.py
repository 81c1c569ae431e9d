"""One network of a run trained alone: distilled from the largest, resumable, and exported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import typer
from safetensors.torch import load_file
from tiny_runs import make_run

from fofa.commands.finetune import finetune
from fofa.data import open_data
from fofa.errors import UserError
from fofa.export.exporter import ExportRequest, export_network
from fofa.runs import Run
from fofa.space import parse_architecture
from fofa.train.settings import TrainSettings

CHOSEN = "23232@24"
Go = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """An untrained run of width 0.25 on a few of the shapes."""
    made = make_run(tmp_path / "run")
    TrainSettings(
        recipe="fofa-n3",
        data="shapes",
        train_fraction=0.02,
        width_mult=0.25,
        resolutions=(24, 32),
        batch_size=8,
    ).write(made.folder / "settings.json")
    return made


@pytest.fixture
def go(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Go:
    """The program with a tiny run's options; gives its exit code."""

    def start(**changes: object) -> int:
        given = {"run": run.folder, "architecture": CHOSEN, "out": tmp_path / "out", "epochs": 1.0}
        given |= {"device": "cpu", "tensorboard": False, "checkpoint_seconds": 0.0}
        with pytest.raises(typer.Exit) as caught:
            finetune(**(given | changes))  # type: ignore[arg-type]
        return caught.value.exit_code

    return start


def test_only_the_chosen_network_learns_and_it_is_exported(
    go: Go, run: Run, tmp_path: Path
) -> None:
    assert go() == 0
    made = Run.open(tmp_path / "out")
    assert (made.record.recipe, made.record.finetuned) == ("finetune", CHOSEN)
    assert made.record.training.core_hours
    assert made.record.step == 10
    before, after = run.load_supernet(), made.load_supernet()
    chosen = parse_architecture(CHOSEN).subnet
    # Stage 1 has depth 2 and expand ratio 3: what is beyond stays as it was.
    assert torch.equal(before.block(1, 3).project.weight, after.block(1, 3).project.weight)
    own = before.extract(chosen).stages[0][0].project.weight.shape[1]
    moved = before.block(1, 0).project.weight != after.block(1, 0).project.weight
    assert moved[:, :own].any()
    data = open_data("shapes", train_fraction=0.02)

    def request(name: str) -> ExportRequest:
        return ExportRequest(
            run=made,
            architecture=parse_architecture(name),
            out=tmp_path / "network.onnx",
            data=data,
            test_images=20,
        )

    result = export_network(request(CHOSEN))
    assert result.accuracy is not None
    with pytest.raises(UserError, match=f"is fine-tuned for {CHOSEN} only, not for 44444@24"):
        request("44444@24")


@pytest.mark.slow
def test_a_stopped_fine_tuning_ends_like_an_unbroken_one(
    go: Go, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fofa.train import trainer

    assert go(out=tmp_path / "unbroken") == 0
    real = trainer.check_enough

    def fail(images: torch.Tensor, step: int, family: object) -> None:
        if step == 6:
            raise RuntimeError("killed")
        real(images, step, family)  # type: ignore[arg-type]

    monkeypatch.setattr(trainer, "check_enough", fail)
    with pytest.raises(RuntimeError, match="killed"):
        finetune(  # type: ignore[call-arg]
            run=run.folder,
            architecture=CHOSEN,
            out=tmp_path / "out",
            epochs=1.0,
            device="cpu",
            tensorboard=False,
            checkpoint_seconds=0.0,
        )
    monkeypatch.undo()
    assert Run.open(tmp_path / "out").record.status == "running"
    assert go() == 0
    ours, theirs = (
        load_file(tmp_path / name / "weights.safetensors") for name in ("out", "unbroken")
    )
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 1.0, "budget": 0.1}, "exclude each other"),
        ({"architecture": "3x3+3x3-3x3+3x3-3x3+3x3-3x3+3x3-3x3+3x4@24"}, "not in the run's space"),
        ({"architecture": "fast"}, "23432@160"),
        ({"epochs": -1.0}, "epoch_scale"),
    ],
)
def test_wrong_options_are_one_clear_line(
    go: Go, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        go(**changes)
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_run_itself_is_not_written_over(go: Go, run: Run) -> None:
    with pytest.raises(UserError, match="is the run itself"):
        go(out=run.folder)


def test_other_classes_are_refused(go: Go, run: Run, tmp_path: Path) -> None:
    other = run.record.model_copy(update={"class_names": [*"abcdefghij"]})
    other.write(run.folder / "run.json")
    with pytest.raises(UserError, match="was trained on other classes"):
        go()


def test_its_help_names_the_exit_codes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fofa.commands.finetune", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Exit codes: 0 done" in done.stdout
