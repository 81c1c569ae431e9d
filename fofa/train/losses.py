"""What each subnet of a step learns from (paper, equations 2 and 6)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from fofa.recipes import Loss

LABEL_SMOOTHING = 0.1


def label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with smoothed labels: logits (N, C), int64 labels (N,) -> mean over N."""
    return F.cross_entropy(logits.float(), labels, label_smoothing=LABEL_SMOOTHING)


def distillation_loss(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Cross-entropy with the softmax of another network, which gets no gradient."""
    return F.cross_entropy(logits.float(), teacher_logits.detach().float().softmax(dim=1))


def subnet_loss(
    loss: Loss,
    position: int,
    logits: Tensor,
    labels: Tensor,
    *,
    largest_logits: Tensor | None = None,
    teacher_logits: Tensor | None = None,
) -> Tensor:
    """The loss of the subnet at `position` of a step's list.

    Args:
        largest_logits: of the full-sized subnet, which is the step's first (in-place distillation).
        teacher_logits: of the separate teacher (recipes that have one). Its term weighs as much as
            the labels' (beta of equation 2 is 1).

    Raises:
        ValueError: if the logits that this loss needs are not given.
    """
    if loss == "labels" or (loss == "in-place" and position == 0):
        return label_loss(logits, labels)
    target = largest_logits if loss == "in-place" else teacher_logits
    if target is None:
        raise ValueError(f"loss {loss!r} needs the logits it learns from")
    if loss == "in-place":
        return distillation_loss(logits, target)
    return label_loss(logits, labels) + distillation_loss(logits, target)


def step_losses(
    loss: Loss, logits: Sequence[Tensor], labels: Tensor, teacher_logits: Tensor | None = None
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
        )
        for position, own in enumerate(logits)
    ]
