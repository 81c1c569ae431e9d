"""GPU memory that all runners of a session use in turn, as only one of them runs at a time.

Hundreds of networks are open at once. If each had inputs, outputs and scratch memory of its own, a
batch of 64 would need tens of GB; so they share one buffer for each purpose, as large as the
largest of them needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class SharedMemory:
    """One buffer for each purpose and number type; it grows as larger runners come.

    Attributes:
        moves: how often a buffer has been put elsewhere. What was told an address, or was captured
            with one in a CUDA graph, is valid as long as this number stays.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._buffers: dict[tuple[str, torch.dtype], torch.Tensor] = {}
        self.moves = 0

    def reserve(
        self, purpose: str, dtype: torch.dtype, count: int, *, random: bool = False
    ) -> None:
        """Have room for `count` values; `random` ones (normal, of a fixed seed) if asked for."""
        import torch

        key = (purpose, dtype)
        if key in self._buffers and self._buffers[key].numel() >= count:
            return
        self._buffers.pop(key, None)  # not both at once
        if torch.device(self._device).type == "cuda":
            torch.cuda.empty_cache()
        if random:
            generator = torch.Generator(self._device).manual_seed(0)
            values = torch.randn(count, generator=generator, device=self._device).to(dtype)
        else:
            values = torch.empty(count, dtype=dtype, device=self._device)
        self._buffers[key] = values
        self.moves += 1

    def values(self, purpose: str, dtype: torch.dtype, count: int) -> torch.Tensor:
        """The first `count` values of what was reserved, (count,), shared with others."""
        return self._buffers[purpose, dtype][:count]

    def num_bytes(self) -> int:
        """Size of all buffers together."""
        return sum(b.numel() * b.element_size() for b in self._buffers.values())

    def clear(self) -> None:
        """Give all of it back."""
        self._buffers.clear()
        self.moves += 1
