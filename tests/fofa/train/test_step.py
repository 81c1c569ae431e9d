"""One step: losses of the paper, shared and separate gradients, the optimiser's groups."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from fofa.distributed import find_place
from fofa.recipes import RECIPES, Dropout, get_recipe
from fofa.supernet.weights import fresh_supernet
from fofa.train.learner import Learner
from fofa.train.schedule import (
    TrainPlan,
    get_momentum,
    make_optimizer,
    set_learning_rate,
    set_momentum,
)
from fofa.train.step import (
    backward_one_at_a_time,
    backward_shared,
    distillation_loss,
    label_loss,
    step_losses,
    subnet_loss,
)

Backward = Callable[..., torch.Tensor]


def logits(seed: int) -> torch.Tensor:
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(seed), requires_grad=True)


LABELS = torch.tensor([0, 1, 2, 3, 0, 1])


def test_label_loss_smooths_by_a_tenth() -> None:
    x = logits(0)
    target = torch.full((6, 4), 0.1 / 4)
    target[torch.arange(6), LABELS] += 0.9
    expected = -(target * F.log_softmax(x, dim=1)).sum(dim=1).mean()
    assert torch.allclose(label_loss(x, LABELS), expected)


def test_distillation_is_cross_entropy_with_a_detached_softmax() -> None:
    x, teacher = logits(0), logits(1)
    expected = -(teacher.softmax(dim=1) * F.log_softmax(x, dim=1)).sum(dim=1).mean()
    loss = distillation_loss(x, teacher)
    loss.backward()
    assert torch.allclose(loss, expected)
    assert teacher.grad is None
    assert x.grad is not None


def test_in_place_the_largest_learns_from_labels_and_the_rest_from_it() -> None:
    largest, other = logits(0), logits(1)
    losses = step_losses("in-place", [largest, other], LABELS)
    assert torch.equal(losses[0], label_loss(largest, LABELS))
    assert torch.equal(losses[1], distillation_loss(other, largest))
    losses[1].backward()
    assert largest.grad is None


def test_labels_can_weigh_beside_the_largest() -> None:
    largest, other = logits(0), logits(1)
    ends = (distillation_loss(other, largest), label_loss(other, LABELS))
    for weight, expected in ((0.0, ends[0]), (0.25, 0.75 * ends[0] + 0.25 * ends[1])):
        losses = step_losses("in-place", [largest, other], LABELS, label_weight=weight)
        assert torch.equal(losses[0], label_loss(largest, LABELS))
        assert torch.allclose(losses[1], expected)


def test_a_teacher_weighs_as_much_as_the_labels() -> None:
    x, teacher = logits(0), logits(1)
    (loss,) = step_losses("teacher", [x], LABELS, teacher)
    assert torch.allclose(loss, label_loss(x, LABELS) + distillation_loss(x, teacher))


def test_a_missing_teacher_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs the logits"):
        subnet_loss("teacher", 0, logits(0), LABELS)


@pytest.mark.parametrize("name", RECIPES)
def test_both_ways_have_the_same_losses_and_gradients(name: str) -> None:
    recipe = get_recipe(name)
    config = recipe.supernet_config(width_mult=0.25, num_classes=4)
    plan = TrainPlan.of(
        recipe, resolutions=(24,), seed=0, steps_per_epoch=1, global_batch=6, epoch_scale=1
    )
    step = plan.num_steps - 1
    phase, subnets = plan.phase_at(step).phase, plan.draw(step).subnets
    images = torch.randn(6, 3, 24, 24, dtype=torch.float64)
    results = []
    for backward in (backward_shared, backward_one_at_a_time):
        supernet = fresh_supernet(config, seed=1).double().train()
        supernet.head.dropout.p = 0.0
        teacher = fresh_supernet(config, seed=2).double().extract(recipe.largest()).train()
        teacher.head.dropout.p = 0.0
        losses = backward(
            supernet,
            subnets,
            phase.loss,
            images,
            LABELS,
            label_weight=phase.label_weight,
            teacher=teacher if phase.loss == "teacher" else None,
        )
        gradients = {n: p.grad for n, p in supernet.named_parameters() if p.grad is not None}
        results.append((losses, gradients))
        assert all(parameter.grad is None for parameter in teacher.parameters())
    (shared, shared_gradients), (single, single_gradients) = results
    assert torch.allclose(shared, single, atol=1e-9)
    assert shared_gradients.keys() == single_gradients.keys()
    for key, gradient in shared_gradients.items():
        scale = gradient.abs().max().clamp(min=1)
        assert torch.allclose(gradient / scale, single_gradients[key] / scale, atol=1e-9), key


@pytest.mark.parametrize("backward", [backward_shared, backward_one_at_a_time])
def test_dropout_on_the_first_subnet_alone_leaves_the_others_without(backward: Backward) -> None:
    """What they learn then follows from the labels and images only, whatever the masks are."""
    recipe = get_recipe("naive")
    config = recipe.supernet_config(width_mult=0.25, num_classes=4)
    subnets = (recipe.largest(), recipe.smallest(), recipe.largest())
    images = torch.randn(6, 3, 24, 24)
    losses: dict[Dropout, list[torch.Tensor]] = {"all": [], "first": []}
    for dropout, seed in itertools.product(losses, (1, 2)):
        supernet = fresh_supernet(config, seed=1).train()
        supernet.head.dropout.p = 0.5
        torch.manual_seed(seed)
        losses[dropout].append(
            backward(supernet, subnets, "labels", images, LABELS, dropout=dropout)
        )
    changed = {name: (one != other).tolist() for name, (one, other) in losses.items()}
    assert changed == {"all": [True, True, True], "first": [True, False, True]}


def test_norms_and_biases_do_not_decay() -> None:
    supernet = fresh_supernet(
        get_recipe("ofa").supernet_config(width_mult=0.25, num_classes=4), seed=0
    )
    optimizer = make_optimizer(supernet)
    decays = {
        id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
    }
    for name, parameter in supernet.named_parameters():
        plain = name.endswith("bias") or "_bn" in name or ".bn" in name
        assert decays[id(parameter)] == (0 if plain else 3e-5), name


def test_fused_momentum_is_the_formula_s_also_for_weights_that_join_late() -> None:
    layer = torch.nn.Linear(3, 2)
    start = {name: p.detach().clone() for name, p in layer.named_parameters()}
    optimizer = make_optimizer(layer)
    set_learning_rate(optimizer, 0.1)
    layer.weight.grad = torch.ones(2, 3)
    optimizer.step()
    layer.bias.grad = torch.ones(2)
    optimizer.step()
    # Nesterov: a step of (gradient + 0.9 buffer), the buffer being the sum of decayed gradients.
    assert torch.allclose(layer.bias, start["bias"] - 0.1 * 1.9)
    expected = start["weight"] - 0.1 * (1.9 + 1 + 0.9 * 1.9)
    assert torch.allclose(layer.weight, expected, atol=1e-4)
    momentum = {name: tensor.clone() for name, tensor in get_momentum(layer, optimizer).items()}
    other = make_optimizer(layer)
    set_momentum(layer, other, momentum)
    assert all(torch.equal(momentum[n], t) for n, t in get_momentum(layer, other).items())


def test_residual_blocks_can_start_as_identities() -> None:
    config = get_recipe("fofa-n3").supernet_config(width_mult=0.25, num_classes=4)
    supernet = fresh_supernet(config, seed=0, zero_init_residual=True)
    for stage in supernet.stages:
        scales = [block.project_bn.weight.detach().abs().max().item() for block in stage.children()]
        assert scales == [1.0, 0.0, 0.0, 0.0]


def test_the_separate_teacher_has_no_dropout() -> None:
    """OFA's and CompOFA's have none: the same images get the same answers, in training mode too."""
    recipe = get_recipe("compofa")
    config = recipe.supernet_config(width_mult=0.25, num_classes=4)
    assert config.dropout > 0
    learner = Learner.of(recipe, fresh_supernet(config, seed=1), find_place("cpu"))
    learner.take_teacher()
    assert learner.teacher is not None
    assert learner.teacher.training
    images = torch.randn(4, 3, 24, 24)
    with torch.no_grad():
        assert torch.equal(learner.teacher(images), learner.teacher(images))
