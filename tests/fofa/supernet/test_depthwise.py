"""The depthwise convolution's own backward pass is the library's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from fofa.supernet.depthwise import depthwise_conv, is_better_in_columns, weight_gradient


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_weight_gradient_in_columns_is_the_whole_one(
    kernel: int, stride: int, layout: torch.memory_format
) -> None:
    """Also on maps that are no square, or smaller than the kernel."""
    for height in range((kernel + 1) // 2, 9):
        x = torch.randn(2, 4, height, height + height % 2, dtype=torch.float64)
        x = x.contiguous(memory_format=layout)
        weight = torch.randn(4, 1, kernel, kernel, dtype=torch.float64, requires_grad=True)
        out = F.conv2d(x, weight, stride=stride, padding=kernel // 2, groups=4)
        gradient = torch.randn_like(out)
        (expected,) = torch.autograd.grad(out, weight, gradient)
        found = weight_gradient(x, gradient, kernel, stride)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("side", "kernel", "stride"), [(8, 5, 1), (8, 5, 2), (2, 3, 1), (9, 3, 1)])
def test_a_float32_convolution_has_the_gradients_of_the_library_s(
    side: int, kernel: int, stride: int
) -> None:
    x = torch.randn(2, 8, side, side).contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    weight = torch.randn(8, 1, kernel, kernel, requires_grad=True)
    assert is_better_in_columns(x, kernel, stride) == (side < 9)
    library = F.conv2d(x, weight, stride=stride, padding=kernel // 2, groups=8)
    out = depthwise_conv(x, weight, stride)
    assert torch.equal(out, library)
    gradient = torch.randn_like(out)
    expected = torch.autograd.grad(library, (x, weight), gradient)
    found = torch.autograd.grad(out, (x, weight), gradient)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_only_a_weight_that_learns_gets_a_gradient() -> None:
    x = torch.randn(2, 8, 8, 8, requires_grad=True)
    weight = torch.randn(8, 1, 5, 5)
    depthwise_conv(x, weight, 1).sum().backward()
    assert x.grad is not None
    assert weight.grad is None
