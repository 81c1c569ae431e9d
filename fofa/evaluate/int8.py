"""Accuracy in int8: simulated for all subnets of a unit at once, checked on a few.

A few networks are run exactly, too: the int8 graph that `fofa-export` writes, with ranges of its
own from the same images, in ONNX Runtime. What the table says of its error comes from there.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from fofa.accuracy import Int8Check
from fofa.data import DataSource
from fofa.evaluate.plan import Plan, Unit
from fofa.int8.network import find_ranges
from fofa.int8.ranges import IMAGES_SEED
from fofa.int8.tree import SimulatedTree
from fofa.recalibration import Statistics
from fofa.runtime.folding import folded_weights
from fofa.runtime.graph import build_model
from fofa.runtime.int8 import Quantisation
from fofa.runtime.session import session_logits
from fofa.space import Architecture, NetworkConfig, architecture_blocks, macs
from fofa.supernet.model import Supernet

NUM_CHECKS = 3
CHECK_TESTS = 1000
"""Test images that exact networks are run on, at most."""


def simulated_unit(
    supernet: Supernet, statistics: Statistics, unit: Unit, data: DataSource, plan: Plan
) -> SimulatedTree:
    """The subnets of a unit in int8, their ranges from training images.

    Every process looks at all of these images, so that all find the same ranges.

    Raises:
        UserError: if there are no images, or values are not finite.
    """
    quantisation = _of(plan)
    device = supernet.head.classifier.weight.device
    return SimulatedTree.calibrated(
        supernet,
        statistics,
        unit.resolution,
        quantisation.scheme,
        (images.to(device) for images, _ in _range_batches(data, unit.resolution, plan)),
        quantisation.num_images,
    )


def checked_architectures(plan: Plan, config: NetworkConfig) -> tuple[Architecture, ...]:
    """The few of a plan that are run exactly: the smallest, the largest and some between."""
    by_size = sorted(plan.architectures, key=lambda each: (macs(each, config), each.name))
    last = len(by_size) - 1
    rows = {round(number * last / (NUM_CHECKS - 1)) for number in range(NUM_CHECKS)}
    return tuple(by_size[row] for row in sorted(rows))


def check_exactly(
    tree: SimulatedTree, unit: Unit, architecture: Architecture, data: DataSource, plan: Plan
) -> Int8Check:
    """A subnet of the tree beside its exported graph, on as many test images as the plan's limit
    and `CHECK_TESTS` leave."""
    quantisation, leaf = _of(plan), unit.subnets.index(architecture.subnet)
    network = tree.supernet.extract(architecture.subnet).eval()
    tree.statistics.write_to(network, leaf)
    ranges = find_ranges(
        network,
        unit.resolution,
        _range_batches(data, unit.resolution, plan),
        quantisation.num_images,
        quantisation.scheme,
    )
    model = build_model(
        architecture_blocks(architecture, tree.supernet.network_config),
        None,
        "int8",
        weights=folded_weights(network),
        scheme=quantisation.scheme,
        ranges=ranges,
    )
    exact = session_logits(model)
    limit = min(plan.limit or CHECK_TESTS, CHECK_TESTS)
    counts, total = torch.zeros(3, dtype=torch.int64), 0
    device = tree.supernet.head.classifier.weight.device
    for images, labels in data.test_batches(unit.resolution, plan.tested_at_once, limit):
        here = torch.from_numpy(exact(images.cpu()).argmax(axis=1))
        there = next(tree.logits(images.to(device), leaf))[1].argmax(dim=1).cpu()
        hits = (there == labels.cpu(), here == labels.cpu(), here == there)
        counts += torch.stack([hit.sum() for hit in hits])
        total += len(images)
    simulated, right, same = (100 * int(count) / total for count in counts)
    return Int8Check(
        name=architecture.name,
        test_images=total,
        simulated_top1=simulated,
        exact_top1=right,
        same_percent=same,
    )


def _of(plan: Plan) -> Quantisation:
    assert plan.int8 is not None  # asked for in int8 only
    return plan.int8


def _range_batches(
    data: DataSource, resolution: int, plan: Plan
) -> Iterator[tuple[Tensor, Tensor]]:
    return data.calibration_batches(resolution, _of(plan).num_images, plan.batch_size, IMAGES_SEED)
