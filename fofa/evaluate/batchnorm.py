"""BatchNorm statistics of a whole prefix tree: gathered batch by batch, then used.

Recalibration as in OFA: while every layer normalises with its own batch's statistics, the mean over
batches of each batch's mean and biased variance is taken, batches weighted by their images. What a
layer sees depends only on what comes before it, so one set of statistics per tree node is exact.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fofa.errors import UserError
from fofa.space import NetworkConfig
from fofa.supernet.elastic import Normalise
from fofa.supernet.prefix_tree import Node, PrefixTree, Step, path


def norm_channels(step: Step, config: NetworkConfig) -> tuple[int, ...]:
    """Channels of the batch normalisations of a step, in the order in which they run."""
    spec = step.spec(224, config)  # channels do not depend on the resolution
    match step.position:
        case "stem" | "head":
            return (spec.mid_channels,)
        case "first":
            return (spec.mid_channels, spec.out_channels)
    return (spec.mid_channels, spec.mid_channels, spec.out_channels)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each node's statistics stand in one long vector: `offsets[node.number]`."""

    tree: PrefixTree
    config: NetworkConfig
    offsets: tuple[int, ...]
    size: int

    @classmethod
    def of(cls, tree: PrefixTree, config: NetworkConfig) -> Layout:
        sizes = [sum(norm_channels(node.step, config)) for node in tree.nodes()]
        ends = list(itertools.accumulate(sizes))
        return cls(tree, config, (0, *ends[:-1]), ends[-1])

    def select(self, leaf: int) -> Tensor:
        """Indices [P] of the statistics of one subnet, stem to head."""
        steps = path(self.tree.subnets[leaf])
        node, spans = self.tree.root, []
        for depth in range(len(steps)):
            if depth:
                node = next(child for child in node.children if child.step == steps[depth])
            start = self.offsets[node.number]
            spans.append(torch.arange(start, start + sum(norm_channels(node.step, self.config))))
        return torch.cat(spans)


@dataclass(slots=True)
class Moments:
    """Sums over calibration images, in float64, of batch means and biased batch variances.

    `mean` and `variance` are [layout.size]; `images` counts what they are sums over.
    """

    layout: Layout
    mean: Tensor
    variance: Tensor
    images: int = 0

    @classmethod
    def zeros(cls, layout: Layout, device: torch.device) -> Moments:
        mean, variance = torch.zeros(2, layout.size, dtype=torch.float64, device=device).unbind()
        return cls(layout, mean, variance)

    def observer(self, node: Node, images: int) -> Normalise:
        """Normalise with the statistics of a batch of `images` and add them to the node's sums."""

        def observe(at: slice, layer: nn.BatchNorm2d, x: Tensor) -> Tensor:
            out, mean, variance = normalise_by_batch(layer, x)
            self.mean[at] += images * mean
            self.variance[at] += images * variance
            return out

        return _in_order(self.layout.offsets[node.number], observe)

    def statistics(self, dtype: torch.dtype) -> Statistics:
        """The means over everything observed.

        Raises:
            UserError: if they are not finite, because the weights are not usable.
        """
        mean, variance = self.mean / self.images, self.variance / self.images
        if not (mean.isfinite().all() and variance.isfinite().all()):
            raise UserError(
                "recalibration gave statistics that are not finite: the weights hold NaN or "
                "overflow, as after training that diverged"
            )
        return Statistics(self.layout, mean.to(dtype), variance.to(dtype))


@dataclass(frozen=True, slots=True)
class Statistics:
    """Recalibrated mean and variance of every node, [layout.size] each."""

    layout: Layout
    mean: Tensor
    variance: Tensor

    def normaliser(self, node: Node) -> Normalise:
        """Normalise with the node's statistics."""

        def apply(at: slice, layer: nn.BatchNorm2d, x: Tensor) -> Tensor:
            weight, bias = _affine(layer, x)
            return F.batch_norm(x, self.mean[at], self.variance[at], weight, bias, eps=layer.eps)

        return _in_order(self.layout.offsets[node.number], apply)

    @torch.no_grad()
    def write_to(self, network: nn.Module, leaf: int) -> None:
        """Set the running statistics of the plain network of subnet number `leaf`."""
        index = self.layout.select(leaf).to(self.mean.device)
        mean, variance = self.mean[index], self.variance[index]
        start = 0
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                at = slice(start, start + layer.num_features)
                assert layer.running_mean is not None
                assert layer.running_var is not None
                layer.running_mean.copy_(mean[at])
                layer.running_var.copy_(variance[at])
                start = at.stop


def normalise_by_batch(layer: nn.BatchNorm2d, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """[N, C, H, W] normalised with its own statistics, and these: mean and biased variance [C]."""
    mean, variance = batch_moments(x.to(layer.weight.dtype))
    weight, bias = _affine(layer, x)
    return F.batch_norm(x, mean, variance, weight, bias, eps=layer.eps), mean, variance


def batch_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance [C] of each channel of [N, C, H, W].

    On a CPU, batch normalisation of channels-last memory adds up one value after the other, which
    costs four digits over 100 images of 64 px; these sums are pairwise, and lose none.
    """
    if x.device.type == "cpu":
        rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
        mean = rows.sum(0) / len(rows)
        return mean, (rows - mean).square_().sum(0) / len(rows)
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    return mean, variance


def _affine(layer: nn.BatchNorm2d, x: Tensor) -> tuple[Tensor, Tensor]:
    channels = x.shape[1]
    return layer.weight[:channels], layer.bias[:channels]


def _in_order(start: int, handle: Callable[[slice, nn.BatchNorm2d, Tensor], Tensor]) -> Normalise:
    """A node's layers take their places in the vector in the order in which they run."""
    place = start

    def normalise(layer: nn.BatchNorm2d, x: Tensor) -> Tensor:
        nonlocal place
        at = slice(place, place + x.shape[1])
        place = at.stop
        return handle(at, layer, x)

    return normalise
