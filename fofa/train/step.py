"""One training step: what each subnet learns from, and the gradients of all of them, summed.

The losses are those of the paper's equations 2 (a teacher) and 6 (in-place distillation).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fofa.recipes import Dropout, Loss
from fofa.space import Subnet
from fofa.supernet.model import Supernet
from fofa.train.settings import Precision

LABEL_SMOOTHING = 0.1


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context that runs matrix products in `precision`; weights stay float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def backward_shared(
    supernet: Supernet,
    subnets: tuple[Subnet, ...],
    loss: Loss,
    images: Tensor,
    labels: Tensor,
    *,
    label_weight: float = 0.0,
    dropout: Dropout = "all",
    teacher: nn.Module | None = None,
    precision: Precision = "fp32",
) -> Tensor:
    """Add the gradients of all subnets by one forward and one backward over their prefix tree.

    Returns:
        The detached loss of each subnet (n,), on the device.
    """
    with autocast(images.device, precision):
        teacher_logits = _teacher_logits(teacher, images)
        spared = set(subnets[1:]) - {subnets[0]} if dropout == "first" else ()
        logits = supernet(images, subnets, without_dropout=spared)
    losses = torch.stack(
        step_losses(loss, logits, labels, teacher_logits, label_weight=label_weight)
    )
    losses.sum().backward()
    return losses.detach()


def backward_one_at_a_time(
    supernet: Supernet,
    subnets: tuple[Subnet, ...],
    loss: Loss,
    images: Tensor,
    labels: Tensor,
    *,
    label_weight: float = 0.0,
    dropout: Dropout = "all",
    teacher: nn.Module | None = None,
    precision: Precision = "fp32",
) -> Tensor:
    """The same gradients with the memory of one subnet: each has its own forward and backward.

    Dropout draws its masks in the same order, so that both ways differ by rounding only.
    """
    with autocast(images.device, precision):
        teacher_logits = _teacher_logits(teacher, images)
    largest_logits: Tensor | None = None
    losses = []
    for position, subnet in enumerate(subnets):
        with autocast(images.device, precision):
            spared = (subnet,) if dropout == "first" and subnet != subnets[0] else ()
            (logits,) = supernet(images, (subnet,), without_dropout=spared)
        largest_logits = logits.detach() if position == 0 else largest_logits
        own = subnet_loss(
            loss,
            position,
            logits,
            labels,
            largest_logits=largest_logits,
            teacher_logits=teacher_logits,
            label_weight=label_weight,
        )
        own.backward()
        losses.append(own.detach())
    return torch.stack(losses)


@torch.no_grad()
def _teacher_logits(teacher: nn.Module | None, images: Tensor) -> Tensor | None:
    return None if teacher is None else teacher(images)


def label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with smoothed labels: logits (N, C), int64 labels (N,) -> mean over N."""
    return F.cross_entropy(_exact(logits), labels, label_smoothing=LABEL_SMOOTHING)


def distillation_loss(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Cross-entropy with the softmax of another network, which gets no gradient."""
    return F.cross_entropy(_exact(logits), _exact(teacher_logits.detach()).softmax(dim=1))


def _exact(logits: Tensor) -> Tensor:
    """In float32 where they have less."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def subnet_loss(
    loss: Loss,
    position: int,
    logits: Tensor,
    labels: Tensor,
    *,
    largest_logits: Tensor | None = None,
    teacher_logits: Tensor | None = None,
    label_weight: float = 0.0,
) -> Tensor:
    """The loss of the subnet at `position` of a step's list.

    Args:
        largest_logits: of the full-sized subnet, which is the step's first (in-place distillation).
        teacher_logits: of the separate teacher (recipes that have one). Its term weighs as much as
            the labels' (beta of equation 2 is 1).
        label_weight: of the labels beside the full-sized subnet (`fofa.recipes.Phase`).

    Raises:
        ValueError: if the logits that this loss needs are not given.
    """
    if loss == "labels" or (loss == "in-place" and position == 0):
        return label_loss(logits, labels)
    target = largest_logits if loss == "in-place" else teacher_logits
    if target is None:
        raise ValueError(f"loss {loss!r} needs the logits it learns from")
    if loss == "in-place":
        distilled = distillation_loss(logits, target)
        if not label_weight:
            return distilled
        return (1 - label_weight) * distilled + label_weight * label_loss(logits, labels)
    return label_loss(logits, labels) + distillation_loss(logits, target)


def step_losses(
    loss: Loss,
    logits: Sequence[Tensor],
    labels: Tensor,
    teacher_logits: Tensor | None = None,
    *,
    label_weight: float = 0.0,
) -> list[Tensor]:
    """The losses of all subnets of a step, in their order; their gradients are to be summed."""
    return [
        subnet_loss(
            loss,
            position,
            own,
            labels,
            largest_logits=logits[0],
            teacher_logits=teacher_logits,
            label_weight=label_weight,
        )
        for position, own in enumerate(logits)
    ]
