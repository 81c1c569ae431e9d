"""Beginning from another run: the same largest network, a fitting head, recorded and resumable."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import make_run

from fofa.data import open_data
from fofa.distributed import find_place
from fofa.errors import UserError
from fofa.recipes import get_recipe
from fofa.runs import RECORD_NAME, Run, RunRecord
from fofa.supernet.config import SupernetConfig
from fofa.supernet.model import Supernet
from fofa.train.pretrained import without_warmup
from fofa.train.settings import TrainSettings
from fofa.train.setup import Setup

Start = Callable[..., tuple[int, str]]
NO_SHAPES = ["wolf", "bear", "lynx"]


@pytest.fixture
def begun(tmp_path: Path) -> Run:
    """An untrained run with every weight at random, the norms' too."""
    torch.manual_seed(3)
    supernet = Supernet(SupernetConfig(width_mult=0.25, num_classes=10))
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return make_run(tmp_path / "begun", supernet, recipe="imported")


def setup(init: Path, recipe: str = "fofa-n3", **changes: object) -> Setup:
    values = {"recipe": recipe, "data": "shapes", "width_mult": 0.25, "resolutions": (16, 24)}
    values |= {"batch_size": 8, "epoch_scale": 0.01, "init": str(init)}
    settings = TrainSettings.model_validate(values | changes)
    return Setup.of(settings, open_data("shapes", train_fraction=0.02), find_place("cpu"))


def logits(supernet: Supernet, name: str = "largest") -> torch.Tensor:
    images = torch.randn(4, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    recipe = get_recipe("fofa-n3")
    subnet = recipe.largest() if name == "largest" else recipe.smallest()
    with torch.no_grad():
        return supernet.eval()(images, [subnet])[0]


def test_the_largest_computes_what_it_did_and_important_channels_come_first(begun: Run) -> None:
    made = setup(begun.folder)
    assert made.pretrained is not None
    ours = made.pretrained.supernet(made.config, seed=0)
    assert torch.allclose(logits(ours), logits(begun.load_supernet()), atol=1e-5)
    importance = ours.block(2, 1).project.weight.abs().sum((0, 2, 3))
    assert importance.tolist() == sorted(importance.tolist(), reverse=True)


def test_smaller_subnets_that_were_trained_stay_as_they_are(begun: Run) -> None:
    record = begun.record.model_copy(update={"recipe": "fofa-n3"})
    record.write(begun.folder / RECORD_NAME)
    made = setup(begun.folder)
    assert made.pretrained is not None
    ours = made.pretrained.supernet(made.config, seed=0)
    for name in ("largest", "smallest"):
        assert torch.allclose(logits(ours, name), logits(begun.load_supernet(), name), atol=1e-5)


def test_a_good_largest_needs_no_warm_up_and_has_a_new_head_for_other_classes(begun: Run) -> None:
    kept = setup(begun.folder)
    assert [p.phase.name for p in kept.plan.phases] == ["distillation"]
    rates = [kept.plan.phases[0].learning_rate(step) for step in range(3)]
    assert 0 < rates[0] < rates[1]
    record = begun.record.model_copy(update={"class_names": [*"abcdefghij"]})
    record.write(begun.folder / RECORD_NAME)
    new = setup(begun.folder)
    assert [p.phase.name for p in new.plan.phases] == ["distillation"]
    assert new.settings.init_head == "fitted"
    assert new.pretrained is not None
    ours, theirs = new.pretrained.supernet(new.config, 0), begun.load_supernet()
    assert not torch.equal(ours.head.classifier.weight, theirs.head.classifier.weight)
    assert torch.equal(ours.stem.conv.weight, theirs.stem.conv.weight)
    older = setup(begun.folder, init_head="new")  # whose head was at random
    assert [p.phase.name for p in older.plan.phases] == ["warmup", "distillation"]
    total = get_recipe("fofa-n3").epochs
    assert without_warmup(get_recipe("fofa-n3")).epochs == total
    assert without_warmup(get_recipe("ofa")) == get_recipe("ofa")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width_mult": 0.5}, "its supernet is of width 0.25, fofa-n3 trains one of width 0.5"),
        (
            {"recipe": "compofa"},
            "is of kernel mode fixed, compofa trains one of kernel mode centre",
        ),
        ({"recipe": "ofa"}, "is of the space compound, ofa trains one of the space elastic"),
        ({"family": "proxyless"}, "of the family mobilenetv3, fofa-n3 trains one of the family"),
    ],
)
def test_weights_that_do_not_fit_are_one_clear_line(
    begun: Run, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        setup(begun.folder, **changes)
    assert "\n" not in str(caught.value)


def test_it_is_recorded_and_resumed(start: Start, begun: Run, tmp_path: Path) -> None:
    """Width and family are the run's where nothing else is said; the rate is a lower one."""
    folder = tmp_path / "run"
    options = {"init": begun.folder, "width_mult": None, "epoch_scale": 0.005}
    assert start(**options, checkpoint_steps=1)[0] == 0
    settings = TrainSettings.read(folder / "settings.json")
    assert (settings.init, settings.init_head) == (str(begun.folder), "kept")
    assert settings.width_mult == 0.25
    assert settings.learning_rate == 0.2
    assert len(settings.init_sha256 or "") == 64
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert {line["phase"] for line in log} == {"distillation"}
    assert "nothing to do" in start(**options)[1]
    before = load_file(folder / "weights.safetensors")
    assert RunRecord.read(folder / RECORD_NAME).mean == begun.record.mean

    (folder / RECORD_NAME).unlink()
    torch.manual_seed(4)
    make_run(begun.folder, recipe="imported")
    with pytest.raises(UserError, match="its weights have changed since this run began"):
        start(**options)
    assert before


def test_a_run_that_is_not_there_is_named(start: Start, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such run folder"):
        start(init=tmp_path / "typo")
    assert not (tmp_path / "run").exists()
