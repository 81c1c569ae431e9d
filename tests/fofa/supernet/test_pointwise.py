"""The pointwise convolution is the library's, whichever multiplies its matrices."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fofa.supernet.pointwise import is_better_in_onednn, multiply, pointwise

LARGE, SMALL = (8, 96, 10), (2, 24, 3)
needs_mkl = pytest.mark.skipif(
    not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()),
    reason="torch has no MKL here to do better than, or no oneDNN",
)


def image(images: int, channels: int, side: int) -> Tensor:
    x = torch.randn(images, channels, side, side)
    return x.contiguous(memory_format=torch.channels_last).requires_grad_()


def chosen(x: Tensor, weight: Tensor) -> bool:
    return is_better_in_onednn(x.permute(0, 2, 3, 1), weight.flatten(1))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [LARGE, SMALL])
@pytest.mark.parametrize("outputs", [24, 144])
@pytest.mark.parametrize("with_bias", [True, False])
def test_values_and_gradients_are_those_of_a_convolution(
    layout: torch.memory_format, size: tuple[int, int, int], outputs: int, *, with_bias: bool
) -> None:
    """Narrower, wider, small enough for a plain product; the weight a slice of a larger one."""
    x = image(*size).detach().contiguous(memory_format=layout).requires_grad_()
    whole = torch.randn(200, 120, 1, 1, requires_grad=True)
    bias = torch.randn(outputs, requires_grad=True) if with_bias else None
    weight = whole[:outputs, : size[1]]
    expected, found = F.conv2d(x, weight, bias), pointwise(x, weight, bias)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert found.is_contiguous(memory_format=layout)
    with torch.no_grad():
        torch.testing.assert_close(pointwise(x, weight, bias), expected, rtol=1e-4, atol=1e-4)
    wanted = [x, whole] if bias is None else [x, whole, bias]
    gradient = torch.randn_like(expected)
    for one, other in zip(
        torch.autograd.grad(found, wanted, gradient),
        torch.autograd.grad(expected, wanted, gradient),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)


@needs_mkl
def test_only_large_float32_products_on_a_cpu_are_left_to_onednn() -> None:
    large, weight = image(*LARGE), torch.randn(144, 96, 1, 1)
    assert chosen(large, weight)
    assert not chosen(image(*SMALL), torch.randn(144, 24, 1, 1))
    assert not chosen(large.double(), weight.double())
    assert not chosen(large, weight.double())
    assert not chosen(large.to("meta"), weight.to("meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not chosen(large, weight)


@needs_mkl
def test_a_product_of_slices_and_of_transposed_matrices() -> None:
    rows, matrix = torch.randn(600, 50)[:, :40], torch.randn(90, 60)[:, :40]
    expected = rows.double() @ matrix.double().t()
    for one, other in ((rows, matrix), (rows.contiguous(), matrix.t().contiguous().t())):
        torch.testing.assert_close(multiply(one, other).double(), expected, rtol=1e-4, atol=1e-4)


def test_only_what_learns_gets_a_gradient() -> None:
    x, weight = image(*LARGE), torch.randn(144, 96, 1, 1)
    pointwise(x, weight).sum().backward()
    assert x.grad is not None
    assert weight.grad is None
    fixed = x.detach()
    weight.requires_grad_()
    pointwise(fixed, weight).sum().backward()
    assert weight.grad is not None
    assert fixed.grad is None
