"""What training changes: shared weights and their momentum; and the teacher that stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD

from fofa.distributed import Processes
from fofa.errors import UserError
from fofa.recipes import Phase, Recipe
from fofa.space import Family, Subnet
from fofa.space.network import stage_sizes
from fofa.supernet.channel_sorting import sort_channels
from fofa.supernet.model import Supernet
from fofa.supernet.network import PlainNetwork
from fofa.supernet.weights import check_state, check_tensors
from fofa.train.schedule import get_momentum, make_optimizer, set_learning_rate, set_momentum
from fofa.train.settings import Precision
from fofa.train.step import backward_one_at_a_time, backward_shared

Network = TypeVar("Network", bound=nn.Module)
Groups = dict[str, dict[str, Tensor]]


@dataclass(slots=True, kw_only=True)
class Learner:
    """A supernet in training.

    Attributes:
        one_at_a_time: a forward and backward pass for each subnet, for small memories.
        teacher: what phases with a teacher learn from, if there is one yet.
    """

    recipe: Recipe
    supernet: Supernet
    optimizer: SGD
    processes: Processes
    precision: Precision = "fp32"
    one_at_a_time: bool = False
    teacher: nn.Module | None = None

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        supernet: Supernet,
        processes: Processes,
        *,
        precision: Precision = "fp32",
        one_at_a_time: bool = False,
        teacher: nn.Module | None = None,
    ) -> Learner:
        """With a new optimiser, on the processes' device."""
        placed = on_device(supernet, processes.device).train()
        return cls(
            recipe=recipe,
            supernet=placed,
            optimizer=make_optimizer(placed),
            processes=processes,
            precision=precision,
            one_at_a_time=one_at_a_time,
            teacher=None if teacher is None else on_device(teacher, processes.device),
        )

    def train_step(
        self,
        phase: Phase,
        subnets: tuple[Subnet, ...],
        learning_rate: float,
        images: Tensor,
        labels: Tensor,
        seed: int,
    ) -> Tensor:
        """One optimiser step; returns the loss of each subnet (n,), on the device."""
        set_learning_rate(self.optimizer, learning_rate)
        self.optimizer.zero_grad(set_to_none=True)
        # Dropout is all that draws from torch's own generator.
        torch.manual_seed(seed)
        backward = backward_one_at_a_time if self.one_at_a_time else backward_shared
        losses = backward(
            self.supernet,
            subnets,
            phase.loss,
            images,
            labels,
            label_weight=phase.label_weight,
            dropout=phase.dropout,
            teacher=self.teacher if phase.loss == "teacher" else None,
            precision=self.precision,
        )
        self.processes.average_gradients(self.supernet.parameters())
        if self.recipe.clip_norm is not None:
            clip_grad_norm_(self.supernet.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        return losses

    def enter(self, phase: Phase, previous: Phase | None) -> None:
        """Turn from the phase before to this one: the teacher, the channels, the optimiser."""
        if previous is not None and previous.becomes_teacher:
            self.take_teacher()
        if phase.sort_channels:
            trained = self.recipe.trained_expands(phase, self.supernet.config.family)
            sort_channels(self.supernet, trained)
        if phase.fresh_optimizer:
            self.optimizer = make_optimizer(self.supernet)

    def take_teacher(self) -> None:
        """Let the largest subnet, as it is now, be the teacher."""
        self.teacher = on_device(self._extract_teacher(), self.processes.device).train()

    def groups(self) -> Groups:
        """The tensors of a checkpoint."""
        groups = {
            "supernet": self.supernet.state_dict(),
            "momentum": get_momentum(self.supernet, self.optimizer),
        }
        if self.teacher is not None:
            groups["teacher"] = self.teacher.state_dict()
        return groups

    def restore(self, groups: Groups, source: str) -> None:
        """Take the tensors of a checkpoint.

        Raises:
            UserError: if they are not those of such a supernet, naming `source`.
        """
        check_state(self.supernet, groups.get("supernet", {}), source)
        parameters, momentum = dict(self.supernet.named_parameters()), groups.get("momentum", {})
        check_tensors(parameters, momentum, f"{source}'s momentum")
        if "teacher" in groups:
            teacher = self._extract_teacher()
            check_state(teacher, groups["teacher"], f"{source}'s teacher")
            teacher.load_state_dict(groups["teacher"])
            trains = self.teacher is None or self.teacher.training
            self.teacher = on_device(teacher, self.processes.device).train(trains)
        self.supernet.load_state_dict(groups["supernet"])
        set_momentum(self.supernet, self.optimizer, momentum)

    def _extract_teacher(self) -> PlainNetwork:
        """The largest subnet as it is now, without dropout, as OFA's and CompOFA's teachers are."""
        teacher = self.supernet.extract(self.supernet.largest)
        teacher.head.dropout.p = 0.0
        return teacher


def on_device(network: Network, device: torch.device) -> Network:
    """On the device and channels-last, which is about twice as fast on a CPU, too."""
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def check_enough(images: Tensor, step: int, family: Family) -> None:
    """Refuse a batch whose last feature map is a single value, which has no variance.

    Raises:
        UserError: saying what to change.
    """
    resolution = images.shape[-1]
    if len(images) == 1 and stage_sizes(resolution, family)[-1] == 1:
        raise UserError(
            f"step {step} has one image of {resolution} px, too little for batch normalisation; "
            "take a larger --batch-size (or mend the images that cannot be read)"
        )
