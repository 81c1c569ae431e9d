"""Pointwise convolution as a matrix product, by the faster library on a CPU.

Torch multiplies float32 matrices with MKL, which makes no use of AVX-512 on AMD's processors and is
slow at tall, narrow matrices. oneDNN, which torch has for convolutions, multiplies them as well:
2.2 times as fast on an AMD EPYC with AVX-512, a tenth faster when limited to AVX2, twice as fast at
24 channels of a large map (docs/performance.md). It wants weights without gaps, and copies a first
factor that has any.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

LEAST = 2**20
"""Multiply-adds from which on oneDNN gains more than a call of it costs (10 microseconds)."""


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """1x1 convolution of [N, C, H, W] with [D, C, 1, 1] and bias [D].

    Where channels are stored last it is a matrix product on the very same memory, also for a slice
    of a weight. That is up to 1.7 times faster than a convolution on a CPU, far more on small maps.
    """
    if not x.is_contiguous(memory_format=torch.channels_last):
        return F.conv2d(x, weight, bias)
    rows, matrix = x.permute(0, 2, 3, 1), weight.flatten(1)
    if not is_better_in_onednn(rows, matrix):
        product = F.linear(rows, matrix, bias)
    elif torch.is_grad_enabled():
        product = cast(Tensor, _Product.apply(rows, matrix, bias))
    else:
        product = multiply(rows, matrix, bias)
    return product.permute(0, 3, 1, 2)


def is_better_in_onednn(rows: Tensor, matrix: Tensor) -> bool:
    """Whether [..., C] times the transpose of [D, C] is left to oneDNN: large, and torch has MKL.

    Autocast's bfloat16 products are oneDNN's anyway, and torch.compile chooses for itself.
    """
    if rows.device.type != "cpu" or not rows.dtype == matrix.dtype == torch.float32:
        return False
    if torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
        return False
    if rows.numel() * len(matrix) < LEAST:
        return False
    return torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()


def multiply(rows: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """[..., C] times the transpose of [D, C], plus [D]: [..., D], in oneDNN.

    `rows` is copied unless it is contiguous, `matrix` unless it or its transpose is.
    """
    if not matrix.t().is_contiguous():
        matrix = matrix.contiguous()  # a slice, which oneDNN has no fast code for
    return cast(Tensor, torch.ops.mkldnn._linear_pointwise(rows, matrix, bias, "none", [], ""))


def weight_gradient(rows: Tensor, gradient: Tensor) -> Tensor:
    """[D, C] for the factor [M, C] and the product's gradient [M, D].

    Of the two, both tall and to be transposed, oneDNN copies the first: that is the narrower one.
    """
    if gradient.shape[1] <= rows.shape[1]:
        return multiply(gradient.t(), rows.t())
    return multiply(rows.t(), gradient.t()).t()


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
        matrix = matrix.contiguous()
        ctx.save_for_backward(rows, matrix)
        return multiply(rows, matrix, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, matrix = ctx.saved_tensors
        (gradient,) = gradients
        to_rows = to_matrix = to_bias = None
        if ctx.needs_input_grad[0]:
            to_rows = multiply(gradient, matrix.t())
        gradient = gradient.flatten(0, -2)
        if ctx.needs_input_grad[1]:
            to_matrix = weight_gradient(rows.flatten(0, -2), gradient)
        if ctx.needs_input_grad[2]:
            to_bias = gradient.sum(0)
        return to_rows, to_matrix, to_bias
