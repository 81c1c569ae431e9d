"""From a recipe's epochs to steps: phases, the learning rate of every step, and its optimiser."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.optim import SGD

from fofa.recipes import Choices, Phase, Recipe
from fofa.seeds import mix
from fofa.space import MOBILENETV3, Family, Subnet

IMAGES_PER_LEARNING_RATE = 2048
"""Recipes state learning rates for a global batch of this size (linear scaling rule)."""
MOMENTUM = 0.9
WEIGHT_DECAY = 3e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class PhasePlan:
    """A phase with its place in the run: steps `first_step` to `first_step + num_steps - 1`.

    Attributes:
        warmup_steps, scheduled_steps: of the learning rate's curve as it was laid out at first.
        num_steps: steps that run over this curve; others than `scheduled_steps` after a rescaling.
        section: of the cosine, from 0 at its top to 1 at its bottom, that the phase runs over; more
            than one phase share a curve where the rate goes on (`Phase.continues_rate`).
        bends: (steps done, place on the curve) where the pace along the curve changed.
    """

    phase: Phase
    first_step: int
    warmup_steps: int
    scheduled_steps: int
    num_steps: int
    peak_rate: float
    section: tuple[float, float] = (0.0, 1.0)
    bends: tuple[tuple[int, float], ...] = ()

    @property
    def steps(self) -> range:
        return range(self.first_step, self.first_step + self.num_steps)

    @property
    def step_work(self) -> float:
        """Rough cost of a step, for telling the time left: a full-sized network's is 1.

        A random subnet has about half the multiply-adds of the full-sized one, and a teacher's
        forward pass is a third of a step.
        """
        teacher = 0.33 if self.phase.loss == "teacher" else 0.0
        drawn = 0.55 + 0.45 * self.phase.largest_share
        return len(self.phase.anchors) + drawn * self.phase.num_random + teacher

    def learning_rate(self, step: int) -> float:
        """Linear rise over the warm-up, then a cosine to zero; `step` counts from the run's first.

        Of the cosine, the phase's section.

        The first step of the warm-up has one share of the peak already, its last the whole.
        """
        place = self._place(step - self.first_step)
        if place < self.warmup_steps:
            return self.peak_rate * min(1.0, (place + 1) / self.warmup_steps)
        progress = (place - self.warmup_steps) / (self.scheduled_steps - self.warmup_steps)
        begin, end = self.section
        progress = begin + (end - begin) * progress
        return self.peak_rate * (1 + math.cos(math.pi * progress)) / 2

    def _place(self, done: int) -> float:
        """Where on the curve the step after `done` steps is, 0 to `scheduled_steps`."""
        corners = [(0, 0.0), *self.bends, (self.num_steps, float(self.scheduled_steps))]
        for (start, low), (stop, high) in itertools.pairwise(corners):
            if done < stop:
                return low + (done - start) * (high - low) / (stop - start)
        return float(self.scheduled_steps)

    def rescaled(self, first_step: int, done: int, factor: float) -> PhasePlan:
        """With `factor` times the steps after the first `done`; what was done stays as it was."""
        left = max(1, self.phase.min_steps - done, round((self.num_steps - done) * factor))
        if self.phase.max_steps is not None:
            left = min(left, self.phase.max_steps - done)
        bends = (*self.bends, (done, self._place(done))) if done else self.bends
        return replace(self, first_step=first_step, num_steps=done + left, bends=bends)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """What a step trains: one resolution for the batch, and the subnets, anchors first."""

    resolution: int
    subnets: tuple[Subnet, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainPlan:
    """All steps of a run. Everything drawn follows from (seed, step), so any step can be replayed.

    Epochs are scaled and turned into steps by rounding the *cumulative* count, so that phases keep
    their proportions and the total is right to one step. A phase keeps at least one; what it is
    lengthened by because it needs more (`Phase.min_steps`) comes on top, and what it may not have
    (`Phase.max_steps`) goes to the next.
    """

    recipe: Recipe
    family: Family = MOBILENETV3
    resolutions: tuple[int, ...]
    seed: int
    phases: tuple[PhasePlan, ...]

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        *,
        resolutions: tuple[int, ...],
        seed: int,
        steps_per_epoch: int,
        global_batch: int,
        epoch_scale: float = 1.0,
        family: Family = MOBILENETV3,
    ) -> TrainPlan:
        """Lay out `recipe` for a data set of `steps_per_epoch` steps of `global_batch` images."""
        phases: list[PhasePlan] = []
        epochs, first, added = 0.0, 0, 0
        for phase in recipe.phases:
            epochs += phase.total_epochs
            end = max(first + 1, added + round(epochs * epoch_scale * steps_per_epoch))
            if end - first < phase.min_steps:
                added += first + phase.min_steps - end
                end = first + phase.min_steps
            if phase.max_steps is not None:
                end = min(end, first + phase.max_steps)
            warmup = round((end - first) * phase.warmup_epochs / phase.total_epochs)
            phases.append(
                PhasePlan(
                    phase=phase,
                    first_step=first,
                    warmup_steps=warmup,
                    scheduled_steps=end - first,
                    num_steps=end - first,
                    peak_rate=phase.learning_rate * global_batch / IMAGES_PER_LEARNING_RATE,
                )
            )
            first = end
        return cls(
            recipe=recipe,
            family=family,
            resolutions=resolutions,
            seed=seed,
            phases=_on_shared_curves(phases),
        )

    @property
    def num_steps(self) -> int:
        return self.phases[-1].steps.stop

    def rescaled(self, step: int, factor: float) -> TrainPlan:
        """The plan with `factor` times the steps from `step` on, phase by phase.

        Steps before it stay as they were, and the learning rate goes on from where it is.
        """
        phases: list[PhasePlan] = []
        first = 0
        for plan in self.phases:
            if plan.steps.stop > step:
                plan = plan.rescaled(first, max(0, step - plan.first_step), factor)
            phases.append(plan)
            first = plan.steps.stop
        return replace(self, phases=tuple(phases))

    def work(self, start: int, stop: int) -> float:
        """About how much work the steps from `start` to before `stop` are, in full-sized passes."""
        return sum(
            plan.step_work * len(range(max(start, plan.steps.start), min(stop, plan.steps.stop)))
            for plan in self.phases
        )

    def work_left(self, step: int) -> float:
        """`work` from `step` to the end."""
        return self.work(step, self.num_steps)

    def phase_at(self, step: int) -> PhasePlan:
        """The phase that `step` belongs to."""
        return next(plan for plan in self.phases if step in plan.steps)

    def resolution(self, step: int) -> int:
        """The image size of a step's batch, the same for all subnets and processes."""
        return random.Random(mix(self.seed, "resolution", step)).choice(self.resolutions)

    def draw(self, step: int) -> Draw:
        """The resolution and subnets of `step`."""
        subnets = self.subnets_of(self.phase_at(step).phase, step)
        return Draw(resolution=self.resolution(step), subnets=subnets)

    def subnets_of(self, phase: Phase, step: int) -> tuple[Subnet, ...]:
        """The subnets that `step` would train, were it one of `phase`."""
        rng = random.Random(mix(self.seed, "subnets", step))
        subnets = [self.recipe.anchor(which, self.family) for which in phase.anchors]
        if phase.choices is not None:
            drawn = [
                self._random_subnet(phase, phase.choices, rng) for _ in range(phase.num_random)
            ]
            if phase.coupled:
                drawn[1:] = [_coupled(drawn[0], other, rng) for other in drawn[1:]]
            subnets += drawn
        return tuple(subnets)

    def _random_subnet(self, phase: Phase, choices: Choices, rng: random.Random) -> Subnet:
        if phase.largest_share and rng.random() < phase.largest_share:
            return self.recipe.largest(self.family)
        return choices.draw(rng, self.family)


def _coupled(first: Subnet, other: Subnet, rng: random.Random) -> Subnet:
    """`other` with the first stages of `first`: one of them at least, and not all."""
    shared = rng.randrange(1, len(first.stages))
    return Subnet(first.stages[:shared] + other.stages[shared:], first.family)


def _on_shared_curves(phases: Sequence[PhasePlan]) -> tuple[PhasePlan, ...]:
    """Phases whose learning rate goes on get their sections of one cosine, by their steps."""
    curves: list[list[PhasePlan]] = []
    for plan in phases:
        if plan.phase.continues_rate:
            curves[-1].append(plan)
        else:
            curves.append([plan])
    placed: list[PhasePlan] = []
    for curve in curves:
        falling = [plan.num_steps - plan.warmup_steps for plan in curve]
        ends = [0, *itertools.accumulate(falling)]
        for plan, (begin, end) in zip(curve, itertools.pairwise(ends), strict=True):
            section = (begin / ends[-1], end / ends[-1]) if ends[-1] else (0.0, 1.0)
            placed.append(replace(plan, section=section))
    return tuple(placed)


def make_optimizer(network: nn.Module) -> SGD:
    """SGD over the network's parameters; norms and biases, which are vectors, do not decay."""
    groups: list[dict[str, Any]] = [
        {"params": [p for p in network.parameters() if p.dim() > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in network.parameters() if p.dim() <= 1]},
    ]
    optimizer = SGD(groups, lr=0.0, momentum=MOMENTUM, nesterov=True, fused=True)
    # Momentum begins as zero for all, the same as beginning with a parameter's first gradient: the
    # fused step cannot mix parameters with and without momentum, which shrinking phases do.
    set_momentum(
        network, optimizer, {n: torch.zeros_like(p) for n, p in network.named_parameters()}
    )
    return optimizer


def set_learning_rate(optimizer: SGD, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def get_momentum(network: nn.Module, optimizer: SGD) -> dict[str, torch.Tensor]:
    """The momentum of each parameter, by the parameter's name."""
    return {
        name: optimizer.state[parameter]["momentum_buffer"]
        for name, parameter in network.named_parameters()
    }


def set_momentum(network: nn.Module, optimizer: SGD, momentum: dict[str, torch.Tensor]) -> None:
    """Give the optimiser the momentum that `get_momentum` returned, in the parameters' layout."""
    for name, parameter in network.named_parameters():
        if name in momentum:
            buffer = torch.empty_like(parameter, requires_grad=False).copy_(momentum[name])
            optimizer.state[parameter]["momentum_buffer"] = buffer
