"""Depthwise convolution, with a weight gradient that is fast on a CPU, too.

oneDNN (3.13, x86) has fast code for that gradient only where a kernel is at most 3 wide and no
taller than the map: a 5x5 kernel took ten times as long as a 3x3 one. A wide kernel is therefore
taken in columns of at most 3, on a copy of the input that starts where they do. That is the same
sum in another order. A copy of a large map costs more than it saves, so those are left alone.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

WIDTH = 3
LARGEST_MAP = 16
"""Side from which on copies cost more than they save, at stride 1; half of it at stride 2."""


def depthwise_conv(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """[N, C, H, W] with [C, 1, k, k], k odd, padded by k // 2 on every side."""
    if torch.is_grad_enabled() and is_better_in_columns(x, weight.shape[-1], stride):
        return cast(Tensor, _Depthwise.apply(x, weight, stride))
    padding = weight.shape[-1] // 2
    return F.conv2d(x, weight, stride=stride, padding=padding, groups=len(weight))


def is_better_in_columns(x: Tensor, kernel: int, stride: int) -> bool:
    """Whether the weight gradient of a float32 convolution is taken in columns."""
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return False
    slow = kernel > WIDTH or kernel > min(x.shape[-2:])
    return slow and kernel > 1 and stride * max(x.shape[-2:]) <= LARGEST_MAP


def weight_gradient(x: Tensor, gradient: Tensor, kernel: int, stride: int) -> Tensor:
    """[C, 1, k, k] for the input [N, C, H, W] and the output's gradient [N, C, H', W']."""
    padding, (height, width) = kernel // 2, x.shape[-2:]
    rows, columns = gradient.shape[-2:]
    low = kernel <= height
    below = (rows - 1) * stride + kernel - padding - height
    parts = []
    for first in range(0, kernel, WIDTH):
        size = min(WIDTH, kernel - first)
        left = padding - first
        right = (columns - 1) * stride + size - left - width
        sides = (left, right) if low else (left, right, padding, below)
        column = x.new_empty(x.shape[1], 1, kernel, size)
        around = (padding if low else 0, 0)
        _, part = _backward(
            gradient, F.pad(x, sides), column, stride, around, to_input=False, to_weight=True
        )
        assert part is not None
        parts.append(part)
    return torch.cat(parts, dim=3)


def _backward(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: int,
    padding: tuple[int, int],
    *,
    to_input: bool,
    to_weight: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of a depthwise convolution that are asked for, as the library has them."""
    found = torch.ops.aten.convolution_backward(
        gradient,
        x,
        weight,
        None,
        [stride, stride],
        list(padding),
        [1, 1],
        False,
        [0, 0],
        len(weight),
        [to_input, to_weight, False],
    )
    return found[0], found[1]


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        padding = weight.shape[-1] // 2
        return F.conv2d(x, weight, stride=stride, padding=padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        (gradient,), (kernel, stride) = gradients, (weight.shape[-1], ctx.stride)
        to_input = to_weight = None
        if ctx.needs_input_grad[0]:
            around = (kernel // 2, kernel // 2)
            to_input, _ = _backward(
                gradient, x, weight, stride, around, to_input=True, to_weight=False
            )
        if ctx.needs_input_grad[1]:
            to_weight = weight_gradient(x, gradient, kernel, stride)
        return to_input, to_weight, None
