"""What a training step asks of the library: counts, so that no GPU is needed and no clock."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import torch
import typer
from torch.utils._python_dispatch import TorchDispatchMode

from fofa.recipes import get_recipe
from fofa.space import Subnet
from fofa.supernet.elastic import Weights
from fofa.supernet.model import Supernet
from fofa.supernet.prefix_tree import PrefixTree, Step
from fofa.train.schedule import TrainPlan
from fofa.train.step import backward_shared

NO_KERNEL = frozenset(
    [
        *("view", "_unsafe_view", "view_as", "reshape", "_reshape_alias", "permute", "transpose"),
        *("t", "slice", "select", "expand", "as_strided", "detach", "alias", "unsqueeze"),
        *("squeeze", "split", "unbind", "lift_fresh", "is_same_size", "promote_types"),
        *("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"),
    ]
)
"""Operations that compute nothing: views, and memory that is not filled."""
CASTS = ("_to_copy", "_foreach_copy_")
ZEROS = ("slice_backward", "select_backward", "zeros", "zeros_like", "new_zeros", "_foreach_zero_")


class PlainlySliced(Supernet):
    """Slices taken where they are used, as one writes it first; kept to compare with."""

    def tree_weights(self, tree: PrefixTree) -> list[Weights]:
        return [self._sliced(node.step) for node in tree.nodes()]

    def _sliced(self, step: Step) -> Weights:
        return {
            name: parameter[part] if part else parameter
            for name, (parameter, part) in self._places(step).items()
        }


class Dispatched(TorchDispatchMode):
    """Counts what reaches the library, by the operation's name."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.calls[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))

    def row(self) -> tuple[int, int, int, int]:
        """Dispatches, those that compute something, tensors filled with zeros, casts."""
        computing = sum(n for name, n in self.calls.items() if name not in NO_KERNEL)
        zeros = sum(self.calls[name] for name in ZEROS)
        return self.calls.total(), computing, zeros, sum(self.calls[name] for name in CASTS)


def run(
    recipe: Annotated[str, typer.Option(help="A recipe with in-place distillation.")] = "fofa-n3",
    width_mult: Annotated[
        float, typer.Option(help="Width multiplier; counts hardly differ.")
    ] = 0.5,
    resolution: Annotated[int, typer.Option(help="Input size in pixels.")] = 64,
    steps: Annotated[int, typer.Option(min=1, help="Steps; the mean is printed.")] = 3,
) -> None:
    """Count the calls of bf16 steps (forward and backward) with the same subnets, both ways."""
    chosen = get_recipe(recipe)
    config = chosen.supernet_config(width_mult=width_mult, num_classes=10)
    plan = TrainPlan.of(chosen, resolutions=(8,), seed=0, steps_per_epoch=steps, global_batch=2048)
    first = plan.phases[-1].first_step
    draws = [plan.draw(first + step).subnets for step in range(steps)]
    print(f"{recipe}, bf16, mean of {steps} steps: calls of the library on a CPU")
    print(f"{'slices':24}{'dispatches':>12}{'computing':>12}{'zero-filled':>12}{'casts':>12}")
    for name, kind in (("where they are used", PlainlySliced), ("cut at once", Supernet)):
        supernet = kind(config)
        supernet.to(memory_format=torch.channels_last)
        rows = [count(supernet, subnets, resolution).row() for subnets in draws]
        means = (sum(column) / steps for column in zip(*rows, strict=True))
        print(f"{name:24}" + "".join(f"{mean:12.0f}" for mean in means))
    print("one call for many tensors (_foreach_...) counts once: a GPU has a few kernels for it")


def count(supernet: Supernet, subnets: tuple[Subnet, ...], resolution: int) -> Dispatched:
    """The calls of one step's forward and backward pass in bf16, of four images."""
    supernet.train().zero_grad()
    images = torch.randn(4, 3, resolution, resolution)
    images = images.contiguous(memory_format=torch.channels_last)
    with Dispatched() as counted:
        backward_shared(supernet, subnets, "in-place", images, torch.arange(4), precision="bf16")
    return counted
