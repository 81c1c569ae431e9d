"""Pretrained batch normalisation on other images: their statistics, the same function.

Subnets in training normalise by the batch, and are evaluated with statistics of the training
images. A pretrained network was made with others: a channel that hardly varies in the new images is
scaled up to the variance of one that says something, and the features lose much of what they knew
(docs/experiments.md). Scale and shift of each layer can undo that beforehand.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from fofa.data import DataSource
from fofa.distributed import Processes
from fofa.recalibration import Moments, observe_batch
from fofa.supernet.model import Supernet

NUM_BATCHES, BATCH_SIZE = 5, 100
"""Of training images, that the statistics are taken from."""


@torch.no_grad()
def take_statistics(
    supernet: Supernet, data: DataSource, resolution: int, processes: Processes
) -> None:
    """Give the supernet the statistics of `data`, and its largest subnet the function that it had.

    What the largest computed with the running statistics, scale and shift that were there, it
    computes with those of the data's training images, which become the running ones. What it
    computes with a batch's own is the same but for how the batch differs.

    Args:
        data: some hundred of its training images are looked at, without augmentation, by the main
            process; the others get what it found.
    """
    layers = [layer for layer in supernet.modules() if isinstance(layer, nn.BatchNorm2d)]
    found = {}
    if processes.is_main:
        found = _statistics(supernet, data, resolution)
    for layer in layers:
        for tensor, value in _same_function(layer, found.get(layer)).items():
            target = getattr(layer, tensor)
            target.copy_(processes.total(value.to(target)))


def _statistics(
    supernet: Supernet, data: DataSource, resolution: int
) -> dict[nn.BatchNorm2d, tuple[Tensor, Tensor]]:
    """Mean and variance [C], float64, of what each layer gets while all use their running ones."""
    was_training = supernet.training
    moments = Moments.zeros(supernet.eval(), [supernet.largest])
    batches = data.calibration_batches(resolution, NUM_BATCHES * BATCH_SIZE, BATCH_SIZE)
    for images, _ in itertools.islice(batches, NUM_BATCHES):
        observe_batch(supernet, moments, images, by_running=True)
    supernet.train(was_training)
    mean, variance = moments.mean / moments.images, moments.variance / moments.images
    places = moments.layout.places_of(0)
    return {
        layer: (mean[places[key]], variance[places[key]])
        for layer, key in moments.layout.keys.items()
    }


def _same_function(layer: nn.BatchNorm2d, found: tuple[Tensor, Tensor] | None) -> dict[str, Tensor]:
    """The layer's tensors [C] by name, for these statistics in place of its own.

    Zeros for None.
    """
    names = ("running_mean", "running_var", "weight", "bias")
    before = {name: getattr(layer, name).double() for name in names}
    if found is None:
        return {name: torch.zeros_like(value) for name, value in before.items()}
    mean, variance = found
    deviation = (before["running_var"] + layer.eps).sqrt()
    scale = (variance + layer.eps).sqrt() / deviation
    shift = (mean - before["running_mean"]) / deviation
    return {
        "running_mean": mean,
        "running_var": variance,
        "weight": before["weight"] * scale,
        "bias": before["bias"] + before["weight"] * shift,
    }
