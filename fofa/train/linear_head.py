"""A new classifier that is right from the start: ridge regression on pretrained features.

The features of a pretrained network tell other classes apart, too, if a linear layer is fitted to
them. That takes one forward pass over the images and a closed form, where gradient descent needs
many steps and wears the features out with the errors of a random layer meanwhile.

How strongly the weights are penalised, and by what the answers are scaled to be logits, is chosen
by the cross-entropy of leave-one-out predictions, which ridge regression has in closed form, too.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fofa.data import DataSource
from fofa.distributed import Processes
from fofa.recalibration import calibrate
from fofa.space import Architecture
from fofa.supernet.model import Supernet
from fofa.supernet.network import PlainNetwork

MAX_IMAGES, BATCH_SIZE = 5000, 100
CALIBRATION = 3
"""Batches that recalibrate the network's normalisation first."""
PENALTIES = tuple(10.0 ** (power / 2) for power in range(-4, 7))
"""Times the mean eigenvalue of the features' covariance."""
SCALES = tuple(2.0 ** (power / 2) for power in range(13))


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearHead:
    """A linear layer, weight [C, F] and bias [C], and its top-1 in percent on images left out."""

    weight: Tensor
    bias: Tensor
    top1: float


@torch.no_grad()
def fit_head(supernet: Supernet, data: DataSource, resolution: int, processes: Processes) -> float:
    """Give the supernet the linear layer that is best on its largest subnet's features.

    Args:
        data: at most `MAX_IMAGES` of its training images are looked at, without augmentation, by
            the main process; the others get what it found.

    Returns:
        The top-1 in percent on images left out.
    """
    classifier, top1 = supernet.head.classifier, 0.0
    weight, bias = torch.zeros_like(classifier.weight), torch.zeros_like(classifier.bias)
    if processes.is_main:
        head = best_head(*_features(supernet, data, resolution), len(data.class_names))
        weight.copy_(head.weight)
        bias.copy_(head.bias)
        top1 = head.top1
    classifier.weight.copy_(processes.total(weight))
    classifier.bias.copy_(processes.total(bias))
    return processes.share(top1)


def _features(supernet: Supernet, data: DataSource, resolution: int) -> tuple[Tensor, Tensor]:
    """Features [N, F] and labels [N] of the largest subnet, recalibrated, on the CPU."""
    was_training = supernet.training
    architecture = Architecture(supernet.largest, resolution)
    batches = data.calibration_batches(resolution, MAX_IMAGES, BATCH_SIZE)
    network = calibrate(supernet.eval(), architecture, itertools.islice(batches, CALIBRATION))
    found, labels = [], []
    with torch.inference_mode():
        for images, answers in data.calibration_batches(resolution, MAX_IMAGES, BATCH_SIZE):
            found.append(_pooled(network, images).cpu())
            labels.append(answers.cpu())
    supernet.train(was_training)
    return torch.cat(found), torch.cat(labels)


def _pooled(network: PlainNetwork, images: Tensor) -> Tensor:
    x = network.stages(network.first(network.stem(images)))
    return network.head.features(x).flatten(1)


def best_head(features: Tensor, labels: Tensor, num_classes: int) -> LinearHead:
    """The head for features [N, F] with labels int64 [N], its penalty and scale chosen."""
    targets = F.one_hot(labels, num_classes).double()
    ridge = Ridge.of(features.double(), targets)
    least, best, top1 = torch.inf, (PENALTIES[0], SCALES[0]), 0.0
    for penalty in PENALTIES:
        found = ridge.left_out(targets, penalty)
        for scale in SCALES:
            loss = float(F.cross_entropy(scale * found, labels))
            if loss < least:
                least, best = loss, (penalty, scale)
                top1 = 100 * float((found.argmax(1) == labels).double().mean())
    penalty, scale = best
    weight, bias = ridge.layer(penalty)
    return LinearHead(weight=scale * weight.float(), bias=scale * bias.float(), top1=top1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ridge:
    """Linear regression of targets [N, C] on features [N, F] for any penalty, all in float64.

    Attributes:
        centre, prior: means of the features [F] and of the targets [C], which are not penalised.
        eigenvalues, basis: of the features' covariance, [F] and [F, F].
        turned: the centred features in that basis [N, F].
        projected: their covariance with the targets [F, C].
    """

    centre: Tensor
    prior: Tensor
    eigenvalues: Tensor
    basis: Tensor
    turned: Tensor
    projected: Tensor

    @classmethod
    def of(cls, features: Tensor, targets: Tensor) -> Ridge:
        """What every penalty has in common."""
        centre, prior = features.mean(0), targets.mean(0)
        x = features - centre
        eigenvalues, basis = torch.linalg.eigh(x.T @ x / len(x))
        turned = x @ basis
        return cls(
            centre=centre,
            prior=prior,
            eigenvalues=eigenvalues.clamp(min=0),
            basis=basis,
            turned=turned,
            projected=turned.T @ (targets - prior) / len(x),
        )

    def layer(self, penalty: float) -> tuple[Tensor, Tensor]:
        """Weight [C, F] and bias [C]."""
        weight = (self.basis @ (self._shrunk(penalty)[:, None] * self.projected)).T
        return weight, self.prior - weight @ self.centre

    def left_out(self, targets: Tensor, penalty: float) -> Tensor:
        """What is predicted for each image [N, C] when it is the only one left out of the fit."""
        shrunk = self._shrunk(penalty)
        predicted = self.prior + self.turned @ (shrunk[:, None] * self.projected)
        leverage = (self.turned.square() @ shrunk + 1) / len(targets)
        return targets - (targets - predicted) / (1 - leverage).clamp(min=1e-9)[:, None]

    def _shrunk(self, penalty: float) -> Tensor:
        return 1 / (self.eigenvalues + penalty * self.eigenvalues.mean().clamp(min=1e-12))
