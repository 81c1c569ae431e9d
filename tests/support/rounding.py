"""How far apart two float32 computations of one network may be because of rounding alone.

What one CPU adds up in one order another adds up in another order: with AVX-512 in blocks of 16,
without it in blocks of 8 or 4. A bound that was tried on one machine therefore fails on the next.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn


def rounding_bound(network: nn.Module, outputs: Tensor) -> float:
    """The difference that two orders of summation can make in a network's float32 outputs.

    A dot product of n terms is off by about sqrt(n) machine epsilons of its largest partial sum
    (Higham and Mary 2019, A New Approach to Probabilistic Rounding Error Analysis), and what one
    layer is off by, normalisation hands to the next at the same relative size. So the errors of
    all layers add up: a network of 80 layers may be off by 6e-5 of its largest output.
    """
    lengths = [
        module.weight[0].numel()
        for module in network.modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    epsilons = sum(sqrt(length) for length in lengths)
    return torch.finfo(torch.float32).eps * epsilons * max(1.0, outputs.abs().max().item())


def is_clear(logits: Tensor, bound: float) -> Tensor:
    """Which rows of [N, K] logits keep their first and their first five if moved by `bound`."""
    best = logits.sort(1, descending=True).values
    gaps = [best[:, k - 1] - best[:, k] for k in (1, 5) if k < logits.shape[1]]
    return torch.stack(gaps).amin(0) > 2 * bound
