"""Smaller depthwise kernels out of a larger shared one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class KernelTransform(nn.Module):
    """OFA's learned transforms 7 -> 5 and 5 -> 3, shared by all channels of a block.

    The centre of the larger kernel, flattened, goes through a linear map; identities at first, so
    that the transform starts as the plain centre. The 3x3 kernel is made from the 5x5 one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.to5 = nn.Parameter(torch.eye(25))
        self.to3 = nn.Parameter(torch.eye(9))

    def forward(self, weight: Tensor, kernel: int) -> Tensor:
        """[C, 1, K, K] -> [C, 1, kernel, kernel]."""
        for size, matrix in ((5, self.to5), (3, self.to3)):
            if kernel <= size < weight.shape[-1]:
                flat = centre(weight, size).flatten(1)
                weight = F.linear(flat, matrix).unflatten(1, (1, size, size))
        return weight


def centre(weight: Tensor, kernel: int) -> Tensor:
    """The central [C, 1, kernel, kernel] of a [C, 1, K, K] weight, as a view."""
    border = (weight.shape[-1] - kernel) // 2
    return weight[..., border : border + kernel, border : border + kernel]


def shrink(weight: Tensor, kernel: int, transform: KernelTransform | None) -> Tensor:
    """The depthwise weight of size `kernel`; `weight` itself where that is its size already."""
    if weight.shape[-1] == kernel:
        return weight
    return centre(weight, kernel) if transform is None else transform(weight, kernel)
