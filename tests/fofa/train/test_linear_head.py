"""The head that is fitted to pretrained features: the closed form, and what a run makes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tiny_runs import make_run

from fofa.data import open_data
from fofa.distributed import find_place
from fofa.recipes import get_recipe
from fofa.runs import RECORD_NAME, Run
from fofa.supernet.config import SupernetConfig
from fofa.supernet.model import Supernet
from fofa.train.budget import Budget, kind
from fofa.train.linear_head import Ridge, best_head, fit_head
from fofa.train.schedule import TrainPlan
from fofa.train.settings import TrainSettings

Start = Callable[..., tuple[int, str]]


@pytest.fixture
def others(tmp_path: Path) -> Run:
    """An untrained run of classes that the drawn shapes do not have."""
    torch.manual_seed(3)
    run = make_run(tmp_path / "others", recipe="imported")
    record = run.record.model_copy(update={"class_names": [*"abcdefghij"]})
    record.write(run.folder / RECORD_NAME)
    return Run.open(run.folder)


def clusters(count: int, spread: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Features around one centre a class, far from zero."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 3
    centres = torch.randn(3, 20, generator=draw)
    return 5 + centres[labels] + spread * torch.randn(count, 20, generator=draw), labels


def test_what_is_predicted_of_an_image_left_out_is_what_a_fit_without_it_says() -> None:
    features, labels = clusters(40, 1.0)
    x, targets = features.double(), F.one_hot(labels, 3).double()
    ridge = Ridge.of(x, targets)
    found = ridge.left_out(targets, 0.3)
    absolute = 0.3 * ridge.eigenvalues.mean() * len(x)
    for number in range(0, len(x), 7):
        rest = torch.arange(len(x)) != number
        centre, prior = x[rest].mean(0), targets[rest].mean(0)
        own = x[rest] - centre
        penalised = own.T @ own + absolute * torch.eye(20)
        weight = torch.linalg.solve(penalised, own.T @ (targets[rest] - prior))
        assert torch.allclose(found[number], prior + (x[number] - centre) @ weight, atol=1e-10)


@pytest.mark.parametrize("count", [12, 300])  # fewer images than features, and more
def test_the_head_tells_classes_apart_and_knows_how_well(count: int) -> None:
    features, labels = clusters(count, 0.3)
    head = best_head(features, labels, 3)
    logits = features @ head.weight.T + head.bias
    assert (logits.argmax(1) == labels).double().mean() > 0.95
    assert head.top1 > 75
    assert F.cross_entropy(logits, labels) < 0.5


def test_noise_gets_a_head_that_says_little() -> None:
    draw = torch.Generator().manual_seed(1)
    features = torch.randn(200, 50, generator=draw)
    labels = torch.randint(4, (200,), generator=draw)
    head = best_head(features, labels, 4)
    others = torch.randn(200, 50, generator=draw)
    logits = others @ head.weight.T + head.bias
    assert head.top1 < 45
    assert F.cross_entropy(logits, labels) < 1.6  # of which chance has 1.39


def test_all_images_of_one_class_are_no_division_by_zero() -> None:
    head = best_head(torch.ones(5, 8), torch.zeros(5, dtype=torch.int64), 2)
    assert head.weight.isfinite().all()
    assert head.bias.isfinite().all()


def test_nothing_but_the_classifier_changes() -> None:
    torch.manual_seed(0)
    supernet = Supernet(SupernetConfig(width_mult=0.25, num_classes=10)).train()
    before = {key: value.clone() for key, value in supernet.state_dict().items()}
    data = open_data("shapes", train_fraction=0.05)
    top1 = fit_head(supernet, data, 24, find_place("cpu"))
    assert 5 < top1 < 60  # with random features; chance is 10
    changed = {k for k, v in supernet.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"head.classifier.weight", "head.classifier.bias"}
    assert supernet.training


def test_a_run_begins_with_it_says_so_and_resumes_without_another(
    start: Start, others: Run, tmp_path: Path
) -> None:
    options = {"init": others.folder, "epoch_scale": 0.004, "checkpoint_steps": 1}
    code, text = start(**options)
    assert code == 0
    assert "a linear layer on the pretrained features is right about" in text
    assert TrainSettings.read(tmp_path / "run" / "settings.json").init_head == "fitted"
    assert "nothing to do" in start(**options)[1]


def test_a_budget_pays_for_it() -> None:
    """What was spent before the first step is taken from all phases alike, and from no other."""
    plan = TrainPlan.of(
        get_recipe("fofa-n3"), resolutions=(24,), seed=0, steps_per_epoch=10, global_batch=8
    )
    budget = Budget(seconds=plan.num_steps, step_seconds={kind(p, 24): 1.0 for p in plan.phases})
    found = budget.after(plan.num_steps / 4)
    rest = plan.rescaled(found.step, found.factor)
    assert rest.num_steps == pytest.approx(0.75 * plan.num_steps, abs=1)
    steady = budget.replan(rest, 100, found.spent + 100, (found,))
    assert steady.factor == pytest.approx(1, abs=0.01)
    assert budget.after(2 * plan.num_steps).factor == 0
