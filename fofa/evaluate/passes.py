"""One batch through a whole prefix tree, depth first: to recalibrate, or to count right answers."""

from __future__ import annotations

import torch
from torch import Tensor

from fofa.evaluate.batchnorm import Moments, Statistics
from fofa.supernet.model import Supernet
from fofa.supernet.prefix_tree import Node, walk


@torch.inference_mode()
def observe_batch(
    supernet: Supernet, moments: Moments, images: Tensor, *, bf16: bool = False
) -> None:
    """Add the batch statistics of [N, 3, R, R] images, in every node, to `moments`."""

    def run(node: Node, x: Tensor) -> Tensor:
        return supernet.run_step(node.step, x, moments.observer(node, len(images)))

    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        for _ in walk(moments.layout.tree.root, _channels_last(images), run):
            pass
    moments.images += len(images)


@torch.inference_mode()
def count_batch(
    supernet: Supernet,
    statistics: Statistics,
    images: Tensor,
    labels: Tensor,
    correct: Tensor,
    *,
    bf16: bool = False,
) -> None:
    """Add every subnet's right answers for a batch to `correct`, int64 [subnets, 2].

    Column 0 counts answers that are right at the first guess, column 1 within five.
    """

    def run(node: Node, x: Tensor) -> Tensor:
        return supernet.run_step(node.step, x, statistics.normaliser(node))

    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        for leaf, features in walk(statistics.layout.tree.root, _channels_last(images), run):
            correct[leaf] += count_correct(supernet.head.classify(features), labels)


def count_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """How many of [N, classes] logits have the label first, and among the first five: int64 [2]."""
    guesses = logits.topk(min(5, logits.shape[1]), dim=1).indices
    hits = guesses == labels[:, None]
    return torch.stack([hits[:, 0].sum(), hits.any(dim=1).sum()])


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)
