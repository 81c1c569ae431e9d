"""From options to a finished run, in this process: every recipe, defaults and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from made_up_tables import make_accuracy, make_training
from PIL import Image

from fofa.data import open_data
from fofa.errors import UserError
from fofa.presets import PRESETS, Preset
from fofa.recipes import RECIPES
from fofa.runs import Run
from fofa.train import learner
from fofa.train.settings import TrainSettings

Start = Callable[..., tuple[int, str]]


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_trains_a_tiny_run(start: Start, tmp_path: Path, recipe: str) -> None:
    code, text = start(recipe=recipe)
    assert code == 0, text
    record = Run.open(tmp_path / "run").record
    assert (record.recipe, record.status, record.dataset) == (recipe, "finished", "shapes")
    assert record.training.core_hours
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    names = [phase.name for phase in RECIPES[recipe]().phases]
    assert list(dict.fromkeys(json.loads(line)["phase"] for line in lines)) == names
    assert all(name in text for name in names)


def test_without_a_recipe_it_is_the_presets_said_recorded_and_resumed(
    start: Start, tmp_path: Path
) -> None:
    code, text = start(recipe=None)
    wanted = PRESETS["shapes"].recipe
    assert code == 0
    assert f"recipe {wanted}, as the preset shapes has it; --recipe names another" in text
    assert TrainSettings.read(tmp_path / "run" / "settings.json").recipe == wanted
    assert Run.open(tmp_path / "run").record.recipe == wanted
    for same in (None, wanted):
        code, text = start(recipe=same)
        assert (code, "nothing to do" in text) == (0, True)
        assert ("--recipe names another" in text) == (same is None)
    with pytest.raises(UserError, match=f"recipe is {wanted} there and compofa here"):
        start(recipe="compofa")


def test_a_run_at_the_pace_of_a_table_has_the_steps_of_that_training(
    start: Start, tmp_path: Path
) -> None:
    """Elsewhere 2 epochs of 400 images took 0.1 core-hours, so 0.05 buy 400 images."""
    path = tmp_path / "elsewhere.json"
    training = {"epochs": 2.0, "core_hours": 0.1, "train_images": 400, "device": "elsewhere"}

    def write(**fields: object) -> None:
        make_accuracy(preset="shapes", training=make_training(**training), **fields).write(path)

    write()
    at_pace = {"epoch_scale": None, "budget": 0.05, "pace": path}
    code, text = start(**at_pace)
    assert code == 0, text
    assert "as many as 0.05 core-hours buy on elsewhere" in text
    record = Run.open(tmp_path / "run").record.training
    assert record.epochs * record.train_images == pytest.approx(400, rel=0.05)
    assert record.spent == (pytest.approx(0.05, rel=0.05), "core-hours")
    assert (record.pace.device, record.spent_on) == ("elsewhere", "elsewhere")
    assert start(**at_pace)[1].endswith("nothing to do\n")
    with pytest.raises(UserError, match="pace is 8000 images in core-hours of elsewhere there"):
        start(**at_pace | {"pace": None})
    with pytest.raises(UserError, match="--pace needs --budget"):
        start(**at_pace | {"budget": None})
    write(recipe="ofa")
    with pytest.raises(UserError, match="--pace: that table is of recipe ofa, this run of fofa-n3"):
        start(**at_pace)
    training["core_hours"] = None
    write()
    with pytest.raises(UserError, match=r"elsewhere\.json: the table does not record"):
        start(**at_pace)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_every_preset_names_a_recipe_that_there_is(preset: Preset) -> None:
    assert preset.recipe in RECIPES


@pytest.mark.parametrize("recipe", [pytest.param("fofa-n4", marks=pytest.mark.slow), "compofa"])
def test_one_subnet_at_a_time_trains_alike(start: Start, tmp_path: Path, recipe: str) -> None:
    start(recipe=recipe, out=tmp_path / "shared", epoch_scale=0.0005)
    start(recipe=recipe, out=tmp_path / "single", epoch_scale=0.0005, one_at_a_time=True)
    losses = [
        json.loads((tmp_path / name / "log.jsonl").read_text().splitlines()[-1])["loss"]
        for name in ("shared", "single")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_a_folder_of_classes_trains_and_is_split_alike_afterwards(
    start: Start, tmp_path: Path
) -> None:
    """A mistyped folder or share first: the right command into the same --out is not refused."""
    for name, colour in (("night", 20), ("noon", 240)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(10):
            picture = Image.new("RGB", (20 + number, 24), (colour, colour - number, 0))
            picture.save(tmp_path / "photos" / name / f"{number}.jpg")
    options = {"preset": "imagenet", "train_fraction": 1.0, "batch_size": 4, "workers": 0}
    for wrong in ({"data": "folder:typo"}, {"data": f"folder:{tmp_path}"}, {"batch_size": 900}):
        given = options | {"data": f"folder:{tmp_path / 'photos'}", "val_share": 0.3} | wrong
        with pytest.raises(UserError):
            start(**given)
        assert not (tmp_path / "run").exists()
    code, text = start(**options, data=f"folder:{tmp_path / 'photos'}", val_share=0.3)
    assert code == 0, text
    record = Run.open(tmp_path / "run").record
    assert record.class_names == ["night", "noon"]
    assert record.data_spec == f"folder:{tmp_path / 'photos'}?val_share=0.3"
    again = open_data(record.data_spec)
    assert (again.num_train, again.num_test) == (14, 6)


def test_tensorboard_files_and_memory_are_recorded(start: Start, tmp_path: Path) -> None:
    start(tensorboard=True)
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))
    last = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert last["peak_memory_bytes"] > 1e7
    assert last["images_per_second"] > 0


def test_a_loss_that_is_no_number_stops_and_keeps_the_good_checkpoint(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = learner.backward_shared
    calls = []

    def poisoned(*arguments: object, **options: object) -> torch.Tensor:
        calls.append(1)
        losses = good(*arguments, **options)  # type: ignore[arg-type]
        return losses * float("nan") if len(calls) == 4 else losses

    monkeypatch.setattr(learner, "backward_shared", poisoned)
    code, text = start(epoch_scale=0.004, checkpoint_steps=1)
    assert code == 1
    assert "the loss at step 3 is nan" in " ".join(text.split())
    record = Run.open(tmp_path / "run").record
    assert (record.step, record.status) == (3, "running")
    monkeypatch.undo()
    assert start(epoch_scale=0.004, checkpoint_steps=1)[0] == 0


def test_weights_that_are_no_numbers_are_never_saved(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = learner.backward_shared

    def poisoned(supernet: torch.nn.Module, *arguments: object, **options: object) -> torch.Tensor:
        losses = good(supernet, *arguments, **options)  # type: ignore[arg-type]
        for parameter in supernet.parameters():
            if parameter.grad is not None:
                parameter.grad.fill_(float("inf"))
        return losses

    monkeypatch.setattr(learner, "backward_shared", poisoned)
    code, text = start(recipe="ofa", checkpoint_steps=1)
    assert code == 1
    assert "not finite" in text
    assert not (tmp_path / "run" / "weights.safetensors").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": "best"}, "recipe 'best': expected one of"),
        ({"preset": "big"}, "preset 'big': expected one of"),
        ({"preset": "imagenet"}, "has no data of its own; name it, such as --data imagenet:DIR"),
        ({"data": "cifar10:x"}, "preset shapes is for shapes, not for 'cifar10:x'"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 10**6}, "fewer than the 1000000 of one step"),
        ({"epoch_scale": float("nan")}, "epoch_scale"),
        ({"epoch_scale": 0.0}, "epoch_scale"),
        ({"train_fraction": 2.0}, "train_fraction"),
        ({"width_mult": -1.0}, "width_mult"),
        ({"resolutions": "24,24"}, "each once"),
        ({"resolutions": "4"}, "8 to 4096 px"),
        ({"crop": "round"}, "crop"),
        ({"precision": "fp8"}, "precision"),
        ({"device": "tpu"}, "expected auto, cpu, cuda"),
    ],
)
def test_wrong_options_are_one_clear_line(
    start: Start, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        start(**changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_said(start: Start) -> None:
    with pytest.raises(UserError, match="no GPU that torch can use"):
        start(device="cuda")


def test_a_folder_that_holds_another_kind_of_run_is_left_alone(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    with pytest.raises(UserError, match="was not trained here"):
        start()


def test_an_out_that_is_a_file_is_said(start: Start, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(UserError, match="cannot make this folder"):
        start()


def test_presets_are_usable_as_they_are() -> None:
    for name, preset in PRESETS.items():
        assert preset.name == name
        assert preset.resolutions == tuple(sorted(preset.resolutions))
        assert preset.data is None or preset.data.partition(":")[0] in preset.data_sets
    assert PRESETS["cifar10-small"].proxy is not None
