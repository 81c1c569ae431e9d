"""How much memory a training step takes: an estimate before anything is computed."""

from __future__ import annotations

import psutil
import torch

from fofa.errors import UserError
from fofa.space import Architecture, BlockSpec, network_blocks, params
from fofa.train.setup import Setup

BYTES = 4
COPIES = 3.0
"""Of an activation, that a step holds: what a layer reads, its normalised output, its gradient."""
STATES = 4
"""Of a weight: itself, gradient, momentum, the copy that a checkpoint writes."""
PROGRAM_BYTES = 600e6
"""Of Python with torch, without any network."""
SAFE_SHARE = 0.9


def step_bytes(setup: Setup, *, one_at_a_time: bool) -> float:
    """About what the largest step of a run takes on its device, in bytes.

    Activations are counted from the description of the network: three feature maps of an MBConv
    (expanded, depthwise, projected) for every subnet of a step, as if they shared nothing.
    """
    settings = setup.settings
    resolution = max(settings.resolutions)
    largest = setup.config.largest
    network = setup.config.network
    blocks = network_blocks(largest, resolution, network)
    activations = sum(_floats(block) for block in blocks)
    most = max(_subnets(len(p.phase.anchors), p.phase.num_random) for p in setup.plan.phases)
    together = 1.0 if one_at_a_time else most
    image = BYTES * COPIES * activations * together
    weights = BYTES * STATES * params(Architecture(largest, resolution), network)
    return settings.batch_size * image + weights + PROGRAM_BYTES


def check_memory(setup: Setup, device: torch.device, *, one_at_a_time: bool) -> str:
    """Refuse a run that does not fit.

    Returns:
        What it takes and what there is, in words.

    Raises:
        UserError: naming both, and what to change.
    """
    needed, there = step_bytes(setup, one_at_a_time=one_at_a_time), available_bytes(device)
    words = f"about {needed / 1e9:.1f} GB of memory, {there / 1e9:.1f} are free"
    if needed > SAFE_SHARE * there:
        raise UserError(
            f"a step takes {words}: take a smaller --batch-size (it is "
            f"{setup.settings.batch_size}), smaller --resolutions, or --one-at-a-time"
        )
    return words


def available_bytes(device: torch.device) -> float:
    """Memory that is free, of the GPU or of the machine."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return float(psutil.virtual_memory().available)


def _subnets(anchors: int, random: int) -> float:
    """Full-sized networks' worth of activations: a random subnet has about 0.6 of them."""
    return anchors + 0.6 * random


def _floats(block: BlockSpec) -> int:
    """Values of an image that a block's feature maps hold."""
    expanded = block.mid_channels * block.in_size**2 if block.expands else 0
    if block.key.position == "stem":
        return block.out_channels * block.out_size**2
    if block.key.position == "head":
        return block.mid_channels * block.in_size**2
    return expanded + (block.mid_channels + block.out_channels) * block.out_size**2
