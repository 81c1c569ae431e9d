"""One network: the ranges that images show in it, and what it computes in int8."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from fofa.int8.blocks import NO_STEP, Recording, Rounding, run_block
from fofa.int8.ranges import RangeRecorder
from fofa.runtime.folding import folded_weights
from fofa.runtime.int8 import ActivationRange, Int8Scheme, PointRanges
from fofa.space import BlockSpec, network_blocks
from fofa.supernet.elastic import Weights
from fofa.supernet.network import PlainNetwork


def find_ranges(
    network: PlainNetwork,
    resolution: int,
    batches: Iterable[tuple[Tensor, Tensor]],
    num_images: int,
    scheme: Int8Scheme,
) -> dict[str, ActivationRange]:
    """The ranges of a network's points in floating point, `<block>.<point>`, on the CPU.

    Args:
        network: in evaluation mode.
        batches: at most `num_images` images [N, 3, R, R] in all, with labels (not used).

    Raises:
        UserError: if there are no images, or values are not finite.
    """
    recorder = RangeRecorder(scheme, num_images)
    blocks = folded_blocks(network, resolution)
    for images, _ in batches:
        x = _laid_out(images)
        with torch.inference_mode():
            for index, (block, weights) in enumerate(blocks):
                x = run_block(block, x, Recording(block, weights, scheme, recorder, f"{index}."))
    return recorder.ranges()


def simulate(
    network: PlainNetwork, resolution: int, scheme: Int8Scheme, ranges: PointRanges
) -> Callable[[Tensor], Tensor]:
    """The network in int8: [N, 3, R, R] images to [N, classes] logits, on the CPU."""
    blocks = folded_blocks(network, resolution)

    def logits(images: Tensor) -> Tensor:
        x, step = _laid_out(images), NO_STEP
        with torch.inference_mode():
            for index, (block, weights) in enumerate(blocks):
                mode = Rounding(block, weights, scheme, ranges, f"{index}.", step)
                x, step = run_block(block, x, mode), mode.step
        return x

    return logits


def folded_blocks(network: PlainNetwork, resolution: int) -> list[tuple[BlockSpec, Weights]]:
    """The blocks with their weights, BatchNorm folded."""
    blocks = network_blocks(network.subnet, resolution, network.network_config)
    own: list[dict[str, Tensor]] = [{} for _ in blocks]
    for name, values in folded_weights(network).items():
        index, _, part = name.partition(".")
        own[int(index)][part] = torch.from_numpy(values)
    return list(zip(blocks, own, strict=True))


def _laid_out(images: Tensor) -> Tensor:
    return images.cpu().contiguous(memory_format=torch.channels_last)
