"""Slices of shared weights for one forward pass: cut once, cast once, their gradients put together.

Plain slicing gives every slice a gradient of the full tensor's size, mostly zeros, which is then
added to the others; and automatic mixed precision casts every slice anew. Here one node of the
autograd graph cuts all slices of a pass, and receives all their gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Part = tuple[slice, ...]
"""What is taken of a tensor's first dimensions; `()` is the whole tensor."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Slices wanted of one tensor, one for each use; `casts`: in the pass's number type."""

    tensor: Tensor
    parts: tuple[Part, ...]
    casts: bool = True


def part_of(tensor: Tensor, *wanted: slice) -> Part:
    """The part that `wanted` means; `()` where that is the whole tensor."""
    sizes = tensor.shape[: len(wanted)]
    ranges = [one.indices(size)[:2] for one, size in zip(wanted, sizes, strict=True)]
    whole = all(found == (0, size) for found, size in zip(ranges, sizes, strict=True))
    return () if whole else wanted


def cut_all(cuts: Sequence[Cut], dtype: torch.dtype | None = None) -> list[tuple[Tensor, ...]]:
    """The slices of each tensor, in the order of its parts, in `dtype` where the cut casts.

    They share memory with the tensor, or with its one copy in `dtype`, and are not to be changed.
    Gradients add up in the tensor's own number type.
    """
    if not torch.is_grad_enabled():
        sources = _sources(cuts, dtype)
        return [
            tuple(source[part] if part else source for part in cut.parts)
            for cut, source in zip(cuts, sources, strict=True)
        ]
    found: list[tuple[Tensor, ...]] = [(cut.tensor,) * len(cut.parts) for cut in cuts]
    # A tensor that is used whole and as it is needs nothing: autograd adds its gradients up.
    chosen = [n for n, cut in enumerate(cuts) if any(cut.parts) or _is_cast(cut, dtype)]
    if chosen:
        rest = tuple(cuts[n] for n in chosen)
        tensors = (cut.tensor for cut in rest)
        slices = iter(cast("tuple[Tensor, ...]", _Slices.apply(rest, dtype, *tensors)))
        for n in chosen:
            found[n] = tuple(next(slices) for _ in cuts[n].parts)
    return found


def _is_cast(cut: Cut, dtype: torch.dtype | None) -> bool:
    return dtype is not None and cut.casts and cut.tensor.dtype != dtype


def _sources(cuts: Sequence[Cut], dtype: torch.dtype | None) -> list[Tensor]:
    """What slices are taken of: the tensors, or their copies in `dtype`, made all at once."""
    sources = [cut.tensor for cut in cuts]
    places = [n for n, cut in enumerate(cuts) if _is_cast(cut, dtype)]
    if places:
        copies = [torch.empty_like(sources[n], dtype=dtype) for n in places]
        torch._foreach_copy_(copies, [sources[n] for n in places])
        for n, copy in zip(places, copies, strict=True):
            sources[n] = copy
    return sources


class _Slices(torch.autograd.Function):
    """All slices of a pass; backward gets their gradients at once, None where one was not used."""

    @staticmethod
    def forward(
        ctx: Any, cuts: tuple[Cut, ...], dtype: torch.dtype | None, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)
        ctx.parts = [cut.parts for cut in cuts]
        slices = []
        for cut, source in zip(cuts, _sources(cuts, dtype), strict=True):
            if cut.parts == ((),):
                slices.append(source)
            else:
                slices += [source[part] if part else source.view_as(source) for part in cut.parts]
        return tuple(slices)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        tensors, rest = ctx.saved_tensors, iter(gradients)
        uses = [
            [_Use(part, gradient) for part in own if (gradient := next(rest)) is not None]
            for own in ctx.parts
        ]
        return None, None, *_sums(tensors, uses)


@dataclass(slots=True)
class _Use:
    """The gradient of one slice; `own`: nobody else has this tensor, so it may be changed."""

    part: Part
    gradient: Tensor
    own: bool = False


def _sums(tensors: Sequence[Tensor], uses: Sequence[list[_Use]]) -> list[Tensor | None]:
    """The gradient of each tensor from those of its slices; None where there are none.

    A whole gradient, or else zeros, is what the others are added to: the first of every tensor in
    one call, then the second of every tensor, and so on, since slices of one tensor overlap.
    """
    _cast_back(tensors, uses)
    totals: list[Tensor | None] = []
    empty: list[Tensor] = []
    copied: list[tuple[Tensor, Tensor]] = []
    added: list[list[tuple[Tensor, Tensor]]] = []
    for tensor, own in zip(tensors, uses, strict=True):
        if not own:
            totals.append(None)
            continue
        own.sort(key=lambda use: bool(use.part))
        first, others = own[0], own[1:]
        if first.part:
            total, others = torch.empty_like(tensor), own
            empty.append(total)
        elif first.own or not others:
            total = first.gradient
        else:
            total = torch.empty_like(tensor)
            copied.append((total, first.gradient))
        totals.append(total)
        for level, use in enumerate(others):
            if level == len(added):
                added.append([])
            added[level].append((total[use.part] if use.part else total, use.gradient))
    if empty:
        torch._foreach_zero_(empty)
    _copy_all(copied)
    for pairs in added:
        _add_all(pairs)
    return totals


def _cast_back(tensors: Sequence[Tensor], uses: Sequence[list[_Use]]) -> None:
    """Put every gradient into its tensor's number type, so that sums lose nothing."""
    pairs = []
    for tensor, own in zip(tensors, uses, strict=True):
        for use in own:
            if use.gradient.dtype != tensor.dtype:
                copy = torch.empty_like(use.gradient, dtype=tensor.dtype)
                pairs.append((copy, use.gradient))
                use.gradient, use.own = copy, True
    _copy_all(pairs)


def _copy_all(pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
    if pairs:
        torch._foreach_copy_([to for to, _ in pairs], [tensor for _, tensor in pairs])


def _add_all(pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Add each second tensor to the first, in one kernel for all that a GPU can take together.

    Those are the ones of equal layout and without gaps; columns of a matrix have gaps.
    """
    together: list[tuple[Tensor, Tensor]] = []
    for to, gradient in pairs:
        dense = to.is_contiguous() or to.is_contiguous(memory_format=torch.channels_last)
        if dense and _same_places(to, gradient):
            together.append((to, gradient.as_strided(to.shape, to.stride())))
        else:
            to.add_(gradient)
    if together:
        torch._foreach_add_([to for to, _ in together], [gradient for _, gradient in together])


def _same_places(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one shape are laid out alike; a stride of one entry means nothing."""
    strides = zip(one.shape, one.stride(), other.stride(), strict=True)
    return all(size == 1 or first == second for size, first, second in strides)
