"""All compound subnets evaluated through the prefix tree, against one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
import typer
from torch import Tensor

from fofa.distributed import choose_device, device_name
from fofa.evaluate.evaluator import count_batch, count_correct
from fofa.recalibration import Moments, calibrate, observe_batch
from fofa.space import Architecture, Subnet, compound_subnets, macs
from fofa.supernet.config import SupernetConfig
from fofa.supernet.model import Supernet
from fofa.supernet.prefix_tree import prefix_tree

GOAL = 3.0


@dataclass(frozen=True, slots=True)
class Work:
    """One batch to recalibrate with and to count on, for these subnets of a supernet."""

    supernet: Supernet
    subnets: Sequence[Subnet]
    images: Tensor
    labels: Tensor

    @property
    def resolution(self) -> int:
        return int(self.images.shape[-1])


def run(
    resolution: Annotated[int, typer.Option(min=8, help="Input size in pixels.")] = 128,
    width_mult: Annotated[float, typer.Option(help="Width multiplier.")] = 1.0,
    classes: Annotated[int, typer.Option(min=2, help="Number of classes.")] = 10,
    images: Annotated[int, typer.Option(min=1, help="Images in the batch of each pass.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the fastest of each counts.")] = 2,
    every: Annotated[int, typer.Option(min=1, help="Only every n-th subnet; 1 is all 243.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:<number>.")] = "auto",
) -> None:
    """Time recalibrating and evaluating the compound subnets, shared and one by one."""
    place = choose_device(device)
    torch.manual_seed(0)
    config = SupernetConfig(width_mult=width_mult, num_classes=classes)
    work = Work(
        Supernet(config).to(place).eval(),
        tuple(compound_subnets())[::every],
        torch.randn(images, 3, resolution, resolution, device=place),
        torch.randint(classes, (images,), device=place),
    )
    ways = {"tree": tree, "one by one": one_by_one, "one by one, plain": one_by_one_plain}
    warm_up = Work(work.supernet, work.subnets[:1], work.images, work.labels)
    for way in ways.values():
        way(warm_up)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    counts: dict[str, Tensor] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            elapsed, counts[name] = _timed(way, work)
            seconds[name].append(elapsed)
    best = {name: min(values) for name, values in seconds.items()}
    saved = macs_ratio(work)
    print(
        f"{len(work.subnets)} subnets, width {width_mult}, {resolution} px, {images} images "
        f"recalibrated and evaluated on {device_name(place)}, torch {torch.__version__}"
    )
    for name, value in best.items():
        agree = "same counts" if torch.equal(counts[name], counts["tree"]) else "OTHER COUNTS"
        print(f"{name:18} {value:8.2f} s   {value / best['tree']:5.2f}x   {agree}")
    print(f"multiply-adds      {'':10}   {saved:5.2f}x")
    print(f"goal               {'':10}   {GOAL:5.2f}x")


def macs_ratio(work: Work) -> float:
    """Multiply-adds of all subnets one by one, over those of their prefix tree."""
    config = work.supernet.network_config
    single = sum(macs(Architecture(s, work.resolution), config) for s in work.subnets)
    return single / prefix_tree(work.subnets).macs(work.resolution, config)


def tree(work: Work) -> Tensor:
    """Right answers [subnets, 2], through the prefix tree of all subnets."""
    moments = Moments.zeros(work.supernet, work.subnets)
    observe_batch(work.supernet, moments, work.images)
    correct = torch.zeros(len(work.subnets), 2, dtype=torch.int64, device=work.images.device)
    statistics = moments.statistics(torch.float32)
    count_batch(work.supernet, statistics, work.images, work.labels, correct)
    return correct


def one_by_one(work: Work) -> Tensor:
    """The same for each subnet alone, by the same operations."""
    return torch.cat(
        [tree(Work(work.supernet, [s], work.images, work.labels)) for s in work.subnets]
    )


def one_by_one_plain(work: Work) -> Tensor:
    """The same by calibrating and running each extracted plain network."""
    correct = []
    images = work.images.contiguous(memory_format=torch.channels_last)
    for subnet in work.subnets:
        architecture = Architecture(subnet, work.resolution)
        network = calibrate(work.supernet, architecture, [(work.images, work.labels)])
        with torch.inference_mode():
            correct.append(count_correct(network(images), work.labels))
    return torch.stack(correct)


def _timed(way: Callable[[Work], Tensor], work: Work) -> tuple[float, Tensor]:
    began = time.perf_counter()
    counts = way(work).cpu()  # waits for the device
    return time.perf_counter() - began, counts
