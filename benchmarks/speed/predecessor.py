"""CompOFA's training step here, against the layers and the loop of its predecessor's own code.

The package `ofa` of once-for-all's authors (`pip install --no-deps ofa`) has the elastic layers
that CompOFA's code is a fork of; CompOFA changed which subnets are drawn. The step is that of its
loop: the teacher's answers, then forward and backward of one subnet after the other.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import ModuleType
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn
from torch.optim import SGD

from benchmarks.speed.train import OwnWay, Way, draw_steps, interleaved, report
from fofa.distributed import device_name
from fofa.errors import UserError
from fofa.recipes import get_recipe
from fofa.space import MOBILENETV3, Subnet
from fofa.supernet.weights import fresh_supernet
from fofa.train.schedule import make_optimizer, set_learning_rate
from fofa.train.settings import Precision
from fofa.train.step import backward_shared

GOAL = 2.0
LEARNING_RATE = 0.01


@dataclass(frozen=True, slots=True)
class TheirWay:
    """A step of the package: subnet by subnet, in NCHW layout."""

    name: str
    network: Any
    teacher: nn.Module
    optimizer: SGD
    losses: ModuleType

    def step(
        self, subnets: tuple[Subnet, ...], images: Tensor, labels: Tensor, precision: Precision
    ) -> float:
        """Seconds of a whole step: forward, backward, optimiser.

        Raises:
            ValueError: for another precision than fp32.
        """
        if precision != "fp32":
            raise ValueError("their step is timed in fp32")
        began = time.perf_counter()
        with torch.no_grad():
            answers = self.teacher(images).softmax(dim=1)
        self.network.zero_grad()
        for subnet in subnets:
            self.choose(subnet)
            logits = self.network(images)
            distilled = self.losses.cross_entropy_loss_with_soft_target(logits, answers)
            own = self.losses.cross_entropy_with_label_smoothing(logits, labels)
            (distilled + own).backward()
        self.optimizer.step()
        return time.perf_counter() - began

    def choose(self, subnet: Subnet) -> None:
        """Let a compound subnet be the one that computes."""
        stages = zip(MOBILENETV3.stages, subnet.stages, strict=True)
        expands = [blocks[0].expand for stage, blocks in stages for _ in range(stage.max_depth)]
        self.network.set_active_subnet(e=expands, d=list(subnet.depths))


def run(
    resolutions: Annotated[str, typer.Option(help="Input sizes in pixels.")] = "128,56",
    classes: Annotated[int, typer.Option(min=2, help="Number of classes.")] = 10,
    batch_size: Annotated[int, typer.Option(min=1, help="Images of a step.")] = 32,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the median counts.")] = 12,
    threads: Annotated[int, typer.Option(min=1, help="Threads on a CPU.")] = 1,
) -> None:
    """Time CompOFA's steps of the same subnets on the same images, both ways in turn."""
    torch.set_num_threads(threads)
    ways: list[Way] = [our_way(classes), their_way(classes)]
    recipe = get_recipe("compofa")
    print(
        f"compofa, {batch_size} images a step, {rounds} rounds, {threads} thread(s) of "
        f"{device_name(torch.device('cpu'))}, torch {torch.__version__}"
    )
    for resolution in (int(part) for part in resolutions.split(",")):
        images = torch.randn(batch_size, 3, resolution, resolution)
        labels = torch.randint(classes, (batch_size,))
        seconds = interleaved(ways, draw_steps(recipe, rounds), images, labels, "fp32")
        report(resolution, "fp32", batch_size, seconds)
    print(f"goal {GOAL:g}x")


def our_way(classes: int) -> OwnWay:
    """This project's supernet of the recipe, with the largest subnet as a teacher."""
    config = get_recipe("compofa").supernet_config(width_mult=1.0, num_classes=classes)
    supernet = fresh_supernet(config, seed=0).to(memory_format=torch.channels_last).train()
    teacher = supernet.extract(supernet.largest).to(memory_format=torch.channels_last).train()
    optimizer = make_optimizer(supernet)
    set_learning_rate(optimizer, LEARNING_RATE)
    layout = torch.channels_last
    return OwnWay("fofa", supernet, optimizer, layout, backward_shared, "teacher", teacher)


def their_way(classes: int) -> TheirWay:
    """Their supernet with CompOFA's fixed kernels, and the full-sized 7x7 network as a teacher.

    Raises:
        UserError: if the package is not there.
    """
    try:
        from ofa.imagenet_classification.elastic_nn.modules.dynamic_op import DynamicSeparableConv2d
        from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3
        from ofa.utils import pytorch_utils
    except ImportError as error:
        raise UserError(f"{error}; the comparison needs `pip install --no-deps ofa`") from None

    def build() -> Any:
        return OFAMobileNetV3(
            n_classes=classes,
            bn_param=(0.1, 1e-5),
            dropout_rate=0.1,
            ks_list=[7],
            expand_ratio_list=[3, 4, 6],
            depth_list=[2, 3, 4],
        ).train()

    network, teacher = build(), build()
    teacher.set_max_net()
    for stage, places in zip(MOBILENETV3.stages, network.block_group_info, strict=True):
        for block in (network.blocks[place].conv for place in places):
            old = block.depth_conv.conv
            kernel = stage.kernel
            block.depth_conv.conv = DynamicSeparableConv2d(
                old.max_in_channels, [kernel], old.stride
            )
            block.active_kernel_size = kernel
    optimizer = SGD(
        network.parameters(), LEARNING_RATE, momentum=0.9, nesterov=True, weight_decay=3e-5
    )
    return TheirWay("once-for-all", network, teacher, optimizer, pytorch_utils)
