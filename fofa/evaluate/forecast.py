"""How long an evaluation will take, from a try of a second or two before it begins."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from fofa.evaluate.plan import Unit
from fofa.int8.tree import SimulatedTree
from fofa.recalibration import Moments, observe_batch
from fofa.runtime.int8 import Quantisation
from fofa.supernet.model import Supernet
from fofa.supernet.prefix_tree import prefix_tree

TRIED_MACS = 1e10
"""Multiply-adds of a try: about a second of one core's work, in both passes."""
NEIGHBOURS = 9
FEWEST_IMAGES = 8
"""So that starting operations does not count for more than it will."""


def seconds_of_pass(
    supernet: Supernet,
    unit: Unit,
    device: torch.device,
    *,
    batch_size: int = 100,
    bf16: bool = False,
    int8: Quantisation | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """About what one image takes in one pass over `unit`, in seconds, without reading it.

    Tried with some neighbours from the middle of the unit, which share as much as all do, and noise
    for images, recalibrating and counting; the rest is taken to need as long for each multiply-add.
    A rough number: with fewer images than a batch has, it comes out too large.
    """
    config = supernet.network_config
    start = max(0, (len(unit.subnets) - NEIGHBOURS) // 2)
    subnets = unit.subnets[start : start + NEIGHBOURS]
    tried = prefix_tree(subnets).macs(unit.resolution, config)
    number = max(FEWEST_IMAGES, min(batch_size, round(TRIED_MACS / tried)))
    images = torch.randn(number, 3, unit.resolution, unit.resolution, device=device)
    images = images.to(supernet.head.classifier.weight.dtype)
    moments = Moments.zeros(supernet, subnets)
    began = 0.0
    for attempt in range(2):
        if attempt == 1:  # the first one warms up
            began = clock()
        observe_batch(supernet, moments, images, bf16=bf16)
        statistics = moments.statistics(images.dtype)
        found = statistics.logits(supernet, images, bf16=bf16)
        if int8 is not None:
            tree = SimulatedTree.calibrated(
                supernet, statistics, unit.resolution, int8.scheme, [images], number
            )
            found = tree.logits(images)
        for _, logits in found:
            logits.sum().item()  # which waits for a GPU
    each = (clock() - began) / (2 * number)
    return each * unit.macs(config) / tried
