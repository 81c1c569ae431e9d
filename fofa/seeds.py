"""Seeds for everything drawn: a function of the run's seed and of what is drawn when.

No generator lives longer than the draw it serves, so there is no random state to store: step 812
of a run can be replayed by itself, and a resumed run draws what an unbroken one would have drawn.
"""

from __future__ import annotations

import hashlib

import torch


def mix(seed: int, *parts: int | str) -> int:
    """A 63-bit seed for one purpose, such as `mix(seed, "order", epoch)`.

    Different parts give independent seeds; the same parts always the same one, on every machine.
    """
    text = "/".join(str(part) for part in (seed, *parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def generator(seed: int, *parts: int | str) -> torch.Generator:
    """A CPU generator for one purpose; draws go to the device afterwards, so that they agree."""
    return torch.Generator().manual_seed(mix(seed, *parts))
