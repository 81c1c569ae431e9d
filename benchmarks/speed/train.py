"""A training step that shares work, channels-last, against one subnet at a time in NCHW layout."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

import torch
import typer
from torch import Tensor, nn
from torch.optim import SGD

from fofa.distributed import choose_device, device_name
from fofa.recipes import Loss, Recipe, get_recipe
from fofa.space import Subnet
from fofa.supernet.model import Supernet
from fofa.supernet.weights import fresh_supernet
from fofa.train.schedule import TrainPlan, make_optimizer, set_learning_rate
from fofa.train.settings import Precision
from fofa.train.step import backward_one_at_a_time, backward_shared

GOAL = 1.6
WARM_UP_ROUNDS = 3
"""Not counted: the first steps of a process take twice as long, until its memory has grown."""


class Way(Protocol):
    """One way of taking a step, with weights of its own."""

    @property
    def name(self) -> str: ...

    def step(
        self, subnets: tuple[Subnet, ...], images: Tensor, labels: Tensor, precision: Precision
    ) -> float:
        """Seconds of a whole step: forward, backward, optimiser."""
        ...


@dataclass(frozen=True, slots=True)
class OwnWay:
    """A step of this project: a memory layout, a backward, and the teacher that the loss needs."""

    name: str
    supernet: Supernet
    optimizer: SGD
    memory_format: torch.memory_format
    backward: Callable[..., Tensor]
    loss: Loss = "in-place"
    teacher: nn.Module | None = None

    def step(
        self, subnets: tuple[Subnet, ...], images: Tensor, labels: Tensor, precision: Precision
    ) -> float:
        """Seconds of a whole step: forward, backward, optimiser."""
        images = images.contiguous(memory_format=self.memory_format)
        _wait(images.device)
        began = time.perf_counter()
        self.optimizer.zero_grad(set_to_none=True)
        options = {"teacher": self.teacher, "precision": precision}
        self.backward(self.supernet, subnets, self.loss, images, labels, **options)
        self.optimizer.step()
        _wait(images.device)
        return time.perf_counter() - began


def run(
    resolutions: Annotated[str, typer.Option(help="Input sizes in pixels.")] = "128,56",
    recipe: Annotated[str, typer.Option(help="A recipe with in-place distillation.")] = "fofa-n4",
    width_mult: Annotated[float, typer.Option(help="Width multiplier.")] = 1.0,
    classes: Annotated[int, typer.Option(min=2, help="Number of classes.")] = 10,
    batch_size: Annotated[int, typer.Option(min=1, help="Images of a step.")] = 32,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the median counts.")] = 12,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:<number>.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads on a CPU.")] = None,
) -> None:
    """Time training steps of the same subnets on the same images, both ways in turn."""
    if threads is not None:
        torch.set_num_threads(threads)
    place, chosen = choose_device(device), get_recipe(recipe)
    precisions: tuple[Precision, ...] = ("fp32",)
    if place.type == "cuda" and torch.cuda.is_bf16_supported(False):
        precisions = ("fp32", "bf16")
    print(
        f"{recipe}, width {width_mult:g}, {batch_size} images a step, {rounds} rounds, on "
        f"{device_name(place)}, torch {torch.__version__}"
    )
    for resolution in (int(part) for part in resolutions.split(",")):
        for precision in precisions:
            ways = _ways(chosen, width_mult, classes, place)
            images = torch.randn(batch_size, 3, resolution, resolution, device=place)
            labels = torch.randint(classes, (batch_size,), device=place)
            seconds = interleaved(ways, draw_steps(chosen, rounds), images, labels, precision)
            report(resolution, precision, batch_size, seconds)
    print(f"goal {GOAL:g}x on a CPU")


def _ways(recipe: Recipe, width_mult: float, classes: int, device: torch.device) -> list[OwnWay]:
    config = recipe.supernet_config(width_mult=width_mult, num_classes=classes)
    start = fresh_supernet(config, seed=0)

    def way(name: str, layout: torch.memory_format, backward: Callable[..., Tensor]) -> OwnWay:
        supernet = copy.deepcopy(start).to(device=device, memory_format=layout).train()  # type: ignore[call-overload]
        optimizer = make_optimizer(supernet)
        set_learning_rate(optimizer, 0.01)
        return OwnWay(name, supernet, optimizer, layout, backward)

    return [
        way("shared, channels-last", torch.channels_last, backward_shared),
        way("one at a time, NCHW", torch.contiguous_format, backward_one_at_a_time),
    ]


def draw_steps(recipe: Recipe, rounds: int) -> list[tuple[Subnet, ...]]:
    """The subnets of the last phase's first steps, as training would draw them; with a warm-up."""
    steps = WARM_UP_ROUNDS + rounds
    plan = TrainPlan.of(recipe, resolutions=(8,), seed=0, steps_per_epoch=steps, global_batch=2048)
    first = plan.phases[-1].first_step
    return [plan.draw(first + number).subnets for number in range(steps)]


def interleaved(
    ways: Sequence[Way],
    draws: list[tuple[Subnet, ...]],
    images: Tensor,
    labels: Tensor,
    precision: Precision,
) -> dict[str, list[float]]:
    """Seconds of every round's step, way by way, the warm-up left out."""
    seconds: dict[str, list[float]] = {way.name: [] for way in ways}
    for number, subnets in enumerate(draws):
        for way in ways if number % 2 == 0 else reversed(ways):
            seconds[way.name].append(way.step(subnets, images, labels, precision))
    return {name: values[WARM_UP_ROUNDS:] for name, values in seconds.items()}


def report(
    resolution: int, precision: str, batch_size: int, seconds: dict[str, list[float]]
) -> None:
    """Print images a second of both ways, and how much faster the first is, round by round."""
    shared, single = seconds.values()
    ratios = [slow / fast for slow, fast in zip(single, shared, strict=True)]
    for name, values in seconds.items():
        speed = batch_size / statistics.median(values)
        print(f"{resolution:4} px {precision}  {name:22} {speed:8.1f} images/s")
    print(
        f"{resolution:4} px {precision}  ratio {statistics.median(ratios):.2f}x "
        f"(rounds {min(ratios):.2f} to {max(ratios):.2f})"
    )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
