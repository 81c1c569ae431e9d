"""Slices of a pass have the gradients of plain slicing, cast and counted as promised."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks.speed.dispatch import Dispatched
from fofa.supernet.config import SupernetConfig
from fofa.supernet.model import Supernet
from fofa.supernet.prefix_tree import prefix_tree
from fofa.supernet.slices import Cut, Part, cut_all, part_of

ROWS: Part = (slice(2),)
BOTH: Part = (slice(3), slice(2))
MIDDLE: Part = (slice(2), slice(None), slice(1, 4), slice(1, 4))


def shared(*shape: int, layout: torch.memory_format = torch.contiguous_format) -> Tensor:
    made = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return made.contiguous(memory_format=layout).requires_grad_()


def loss(slices: list[tuple[Tensor, ...]]) -> Tensor:
    flat = [part.to(torch.float64) for own in slices for part in own]
    return torch.stack([(n + 1) * (p * p).sum() for n, p in enumerate(flat)]).sum()


@pytest.mark.parametrize(
    "parts",
    [
        ((),),
        ((), ()),
        (ROWS,),
        (ROWS, ROWS),
        ((), ROWS, BOTH),
        (ROWS, BOTH, ()),
        (BOTH, MIDDLE),
        (MIDDLE, (), MIDDLE, ROWS),
    ],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_are_those_of_plain_slicing(
    parts: tuple[Part, ...], layout: torch.memory_format
) -> None:
    tensor = shared(4, 3, 5, 5, layout=layout)
    loss([tuple(tensor[part] for part in parts)]).backward()  # type: ignore[no-untyped-call]
    plain, tensor.grad = tensor.grad, None
    assert plain is not None
    for times in (1, 2):  # gradients of a second pass are added
        loss(cut_all([Cut(tensor, parts)])).backward()  # type: ignore[no-untyped-call]
        torch.testing.assert_close(tensor.grad, times * plain, rtol=1e-14, atol=1e-14)


def test_a_slice_that_is_not_used_has_no_share_and_a_tensor_without_use_no_gradient() -> None:
    first, second = shared(4, 3), shared(4, 3)
    (rows, _), (_, _) = cut_all([Cut(first, (ROWS, BOTH)), Cut(second, (ROWS, BOTH))])
    rows.sum().backward()
    assert first.grad is not None
    assert first.grad.tolist() == [[1.0] * 3] * 2 + [[0.0] * 3] * 2
    assert second.grad is None


def test_gradients_that_others_hold_too_are_not_changed() -> None:
    tensor, other = shared(4, 3), shared(4, 3)
    ((whole, rows),) = cut_all([Cut(tensor, ((), ROWS))])
    # The sum hands one and the same gradient to both of its sides.
    ((whole + other).sum() + rows.sum()).backward()
    assert other.grad is not None
    assert torch.all(other.grad == 1)


def test_weights_are_cast_once_and_their_gradients_add_up_in_their_own_type() -> None:
    tensor = torch.ones(4, 3, requires_grad=True)
    norm = torch.ones(4, requires_grad=True)
    with Dispatched() as counted:
        (a, b, c), (d,) = cut_all(
            [Cut(tensor, ((), ROWS, ROWS)), Cut(norm, (ROWS,), casts=False)], torch.bfloat16
        )
    assert [t.dtype for t in (a, b, c, d)] == [torch.bfloat16] * 3 + [torch.float32]
    assert counted.calls["_foreach_copy_"] == 1
    assert counted.calls["_to_copy"] == 0
    # 1 + 1/256 has no bfloat16: a sum in that type would lose the second addend.
    (a.sum() + b.sum() / 256 + c.sum() / 256 + d.sum()).backward()
    assert tensor.grad is not None
    assert norm.grad is not None
    assert tensor.grad.dtype == torch.float32
    assert tensor.grad.tolist() == [[1 + 2 / 256] * 3] * 2 + [[1.0] * 3] * 2
    assert norm.grad.tolist() == [1.0, 1.0, 0.0, 0.0]


def test_without_gradients_slices_are_views() -> None:
    tensor = shared(4, 3)
    with torch.no_grad():
        ((whole, rows),) = cut_all([Cut(tensor, ((), ROWS))])
    assert whole.data_ptr() == rows.data_ptr() == tensor.data_ptr()


def test_a_whole_tensor_is_known() -> None:
    tensor = shared(4, 3, 5, 5)
    assert part_of(tensor, slice(4), slice(None)) == ()
    assert part_of(tensor, slice(3), slice(None)) == (slice(3), slice(None))


def test_the_largest_subnet_uses_the_parameters_themselves() -> None:
    supernet = Supernet(SupernetConfig(width_mult=0.25, num_classes=3))
    with Dispatched() as counted:
        weights = supernet.tree_weights(prefix_tree([supernet.largest]))
    assert not counted.calls
    parameters = {id(parameter) for parameter in supernet.parameters()}
    assert all(id(tensor) in parameters for own in weights for tensor in own.values())
