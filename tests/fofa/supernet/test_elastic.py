"""Smaller kernels: the centre, and OFA's transform of it."""

import torch

from fofa.supernet.elastic import KernelTransform, centre

WEIGHT = torch.arange(2 * 49, dtype=torch.float64).reshape(2, 1, 7, 7)


def test_the_centre_is_a_view_of_the_middle() -> None:
    assert torch.equal(centre(WEIGHT, 3), WEIGHT[:, :, 2:5, 2:5])
    assert centre(WEIGHT, 5).untyped_storage().data_ptr() == WEIGHT.untyped_storage().data_ptr()


def test_a_new_transform_is_the_centre() -> None:
    transform = KernelTransform().double()
    for kernel in (3, 5, 7):
        at = slice((7 - kernel) // 2, (7 + kernel) // 2)
        assert torch.equal(transform(WEIGHT, kernel), WEIGHT[:, :, at, at])
        assert torch.equal(centre(WEIGHT, kernel), WEIGHT[:, :, at, at])


def test_the_3x3_kernel_comes_from_the_transformed_5x5_one() -> None:
    torch.manual_seed(0)
    transform = KernelTransform().double()
    with torch.no_grad():
        transform.to5.copy_(torch.randn(25, 25))
        transform.to3.copy_(torch.randn(9, 9))
    for channel in range(2):
        five = transform.to5 @ WEIGHT[channel, 0, 1:6, 1:6].reshape(25)
        three = transform.to3 @ five.reshape(5, 5)[1:4, 1:4].reshape(9)
        torch.testing.assert_close(transform(WEIGHT, 5)[channel].flatten(), five)
        torch.testing.assert_close(transform(WEIGHT, 3)[channel].flatten(), three)


def test_the_largest_kernel_is_the_weight_itself() -> None:
    assert KernelTransform()(WEIGHT, 7) is WEIGHT
