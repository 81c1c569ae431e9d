"""One training step's forward and backward passes: gradients of all its subnets, summed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fofa.recipes import Loss
from fofa.space import Subnet
from fofa.supernet.model import Supernet
from fofa.train.losses import step_losses, subnet_loss
from fofa.train.settings import Precision


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
    teacher: nn.Module | None = None,
    precision: Precision = "fp32",
) -> Tensor:
    """Add the gradients of all subnets by one forward and one backward over their prefix tree.

    Returns:
        The detached loss of each subnet (n,), on the device.
    """
    with autocast(images.device, precision):
        teacher_logits = _teacher_logits(teacher, images)
        logits = supernet(images, subnets)
    losses = torch.stack(step_losses(loss, logits, labels, teacher_logits))
    losses.sum().backward()
    return losses.detach()


def backward_one_at_a_time(
    supernet: Supernet,
    subnets: tuple[Subnet, ...],
    loss: Loss,
    images: Tensor,
    labels: Tensor,
    *,
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
            (logits,) = supernet(images, (subnet,))
        largest_logits = logits.detach() if position == 0 else largest_logits
        own = subnet_loss(
            loss,
            position,
            logits,
            labels,
            largest_logits=largest_logits,
            teacher_logits=teacher_logits,
        )
        own.backward()
        losses.append(own.detach())
    return torch.stack(losses)


@torch.no_grad()
def _teacher_logits(teacher: nn.Module | None, images: Tensor) -> Tensor | None:
    return None if teacher is None else teacher(images)
