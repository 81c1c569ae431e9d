"""How long an evaluation will take, from a try of a second or two before it begins."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from fofa.evaluate.plan import Unit
from fofa.recalibration import Moments, observe_batch
from fofa.space import Architecture, macs
from fofa.supernet.model import Supernet
from fofa.supernet.prefix_tree import prefix_tree

TRIED_IMAGES = 8


def seconds_of_pass(
    supernet: Supernet,
    unit: Unit,
    device: torch.device,
    *,
    bf16: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """About what one image takes in one pass over `unit`, in seconds, without reading it.

    Tried with the unit's smallest and largest subnet, noise for images, recalibrating and counting;
    the rest is taken to need as long for each multiply-add. A rough number.
    """
    config = supernet.network_config

    def size(architecture: Architecture) -> int:
        return macs(architecture, config)

    ends = (min(unit.architectures, key=size), max(unit.architectures, key=size))
    subnets = tuple(dict.fromkeys(end.subnet for end in ends))
    images = torch.randn(TRIED_IMAGES, 3, unit.resolution, unit.resolution, device=device)
    images = images.to(supernet.head.classifier.weight.dtype)
    moments = Moments.zeros(supernet, subnets)
    began = 0.0
    for attempt in range(2):
        if attempt == 1:  # the first one warms up
            began = clock()
        observe_batch(supernet, moments, images, bf16=bf16)
        statistics = moments.statistics(images.dtype)
        for _, logits in statistics.logits(supernet, images, bf16=bf16):
            logits.sum().item()  # which waits for a GPU
    tried = prefix_tree(subnets).macs(unit.resolution, config)
    each = (clock() - began) / (2 * TRIED_IMAGES)
    return each * unit.macs(config) / tried
