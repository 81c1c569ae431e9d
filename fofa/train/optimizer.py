"""The optimiser of all recipes: SGD with Nesterov momentum, weight decay on weights only."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import SGD

MOMENTUM = 0.9
WEIGHT_DECAY = 3e-5


def make_optimizer(network: nn.Module) -> SGD:
    """SGD over the network's parameters; norms and biases, which are vectors, do not decay."""
    groups: list[dict[str, Any]] = [
        {"params": [p for p in network.parameters() if p.dim() > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in network.parameters() if p.dim() <= 1]},
    ]
    optimizer = SGD(groups, lr=0.0, momentum=MOMENTUM, nesterov=True, fused=True)
    # Momentum begins as zero for all, the same as beginning with a parameter's first gradient: the
    # fused step cannot mix parameters with and without momentum, which shrinking phases do.
    set_momentum(
        network, optimizer, {n: torch.zeros_like(p) for n, p in network.named_parameters()}
    )
    return optimizer


def set_learning_rate(optimizer: SGD, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def get_momentum(network: nn.Module, optimizer: SGD) -> dict[str, torch.Tensor]:
    """The momentum of each parameter, by the parameter's name."""
    return {
        name: optimizer.state[parameter]["momentum_buffer"]
        for name, parameter in network.named_parameters()
    }


def set_momentum(network: nn.Module, optimizer: SGD, momentum: dict[str, torch.Tensor]) -> None:
    """Give the optimiser the momentum that `get_momentum` returned, in the parameters' layout."""
    for name, parameter in network.named_parameters():
        if name in momentum:
            buffer = torch.empty_like(parameter, requires_grad=False).copy_(momentum[name])
            optimizer.state[parameter]["momentum_buffer"] = buffer
