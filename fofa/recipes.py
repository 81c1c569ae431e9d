"""Training recipes as data: phases, what each step samples, teachers, epochs, learning rates.

A recipe is a named function in `RECIPES`; a variant starts from its parent and changes a field.
How a recipe is carried out is the trainer's affair (`fofa.train`), where it trains is the preset's
(`fofa.presets`).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from fofa.errors import UserError
from fofa.space import MOBILENETV3, Family, SpaceKind, Subnet, sample_compound, sample_elastic
from fofa.supernet.config import KernelMode, SupernetConfig

Loss = Literal["labels", "teacher", "in-place"]
"""What a phase's subnets learn from.

`labels`: the labels. `teacher`: the labels and, as much, the softmax of a trained teacher.
`in-place`:
the full-sized network from the labels, every other from the full-sized one (equation 6).
"""

Dropout = Literal["all", "first"]
"""The subnets of a step that have dropout: all of them, or the first alone."""

Anchor = Literal["largest", "smallest"] | Subnet

WARMUP_STEPS = 30
"""What the full-sized network learns alone, at least, before it teaches: after a few steps it is
near chance, while the paper's, after five epochs, is right about nearly half of ImageNet."""
SMALLEST_STEPS = 2500
"""What the smallest subnet learns alone, at most, before random ones do (docs/experiments.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What random subnets of a phase are drawn from, each choice uniformly.

    In the compound space the kernel and the expand ratio follow from the depth, and the other two
    fields play no part.

    Attributes:
        num_depths, num_expands: only so many of a family's choices, the largest; None for all.
    """

    kind: SpaceKind
    num_depths: int | None = None
    num_expands: int | None = None

    def expands(self, family: Family) -> tuple[int, ...]:
        """The expand ratios that are drawn from."""
        return family.expands[-(self.num_expands or 0) :]

    def draw(self, rng: random.Random, family: Family = MOBILENETV3) -> Subnet:
        """One random subnet of a family."""
        if self.kind == "compound":
            return sample_compound(rng, family)
        return sample_elastic(rng, family, num_depths=self.num_depths, expands=self.expands(family))


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of training with one sampling rule.

    Attributes:
        name: unique within the recipe.
        warmup_epochs: the learning rate rises linearly over these, then
        epochs: falls as a cosine over these.
        learning_rate: the highest one, per 2048 images of global batch.
        anchors: subnets in every step, by name or as themselves; "largest" is the supernet's.
        num_random: subnets of a step drawn from `choices`.
        largest_share: how often, 0 to 1, the largest subnet takes the place of a drawn one.
        loss: what they learn from.
        label_weight: of the labels, 0 to 1, in what `in-place` subnets learn from; the full-sized
            network's answers have the rest. The paper's is 0.
        coupled: each random subnet after a step's first keeps the first's stages up to a random
            one, which are then computed once; each is still drawn uniformly.
        dropout: the subnets of a step that have it; the paper's predecessors give it to all.
        becomes_teacher: the largest subnet, as trained when the phase ends, is the later phases'
            teacher.
        sort_channels: order the expanded channels by importance before the phase begins.
        fresh_optimizer: forget the momentum of the phase before.
        continues_rate: the learning rate goes on along the cosine of the phase before, as if both
            were one phase, instead of starting anew.
        min_steps: at least so many steps, however short the schedule is made.
        max_steps: at most so many, however long it is made; the next phase gets the others. None
            for no limit.
    """

    name: str
    epochs: float
    warmup_epochs: float = 0
    learning_rate: float
    anchors: tuple[Anchor, ...] = ()
    num_random: int = 0
    choices: Choices | None = None
    largest_share: float = 0.0
    loss: Loss = "labels"
    label_weight: float = 0.0
    coupled: bool = False
    dropout: Dropout = "all"
    becomes_teacher: bool = False
    sort_channels: bool = False
    fresh_optimizer: bool = True
    continues_rate: bool = False
    min_steps: int = 1
    max_steps: int | None = None

    def __post_init__(self) -> None:
        if self.num_subnets < 1 or bool(self.num_random) != (self.choices is not None):
            raise ValueError(f"phase {self.name}: random subnets and choices go together")
        if self.loss == "in-place" and self.anchors[:1] != ("largest",):
            raise ValueError(f"phase {self.name}: in-place distillation needs the largest first")
        if self.total_epochs <= 0 or self.epochs < 0 or self.warmup_epochs < 0:
            raise ValueError(f"phase {self.name}: epochs must be above 0")
        if self.min_steps < 1:
            raise ValueError(f"phase {self.name}: expected at least one step")
        if self.max_steps is not None and self.max_steps < self.min_steps:
            raise ValueError(f"phase {self.name}: fewer steps at most than at least")
        if not 0 <= self.largest_share <= 1 or not 0 <= self.label_weight <= 1:
            raise ValueError(f"phase {self.name}: shares and weights are between 0 and 1")
        if (self.largest_share and not self.num_random) or (
            self.label_weight and self.loss != "in-place"
        ):
            raise ValueError(
                f"phase {self.name}: largest_share needs random subnets, label_weight in-place"
            )
        if self.coupled and self.num_random < 2:
            raise ValueError(f"phase {self.name}: two random subnets or more are coupled")
        if self.continues_rate and self.warmup_epochs:
            raise ValueError(f"phase {self.name}: a rate that goes on has no warm-up")

    @property
    def total_epochs(self) -> float:
        return self.warmup_epochs + self.epochs

    @property
    def num_subnets(self) -> int:
        """Subnets of one step; the paper's n."""
        return len(self.anchors) + self.num_random


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A training schedule and the supernet it needs.

    Attributes:
        kernel_mode: where it is not `fixed`, the shared weights have the family's largest kernel.
        clip_norm: gradients are scaled down to this norm, None for no limit.
        begins_with_teacher: there is one from outside, before the first phase.
    """

    name: str
    summary: str
    kind: SpaceKind
    kernel_mode: KernelMode
    phases: tuple[Phase, ...]
    clip_norm: float | None = None
    begins_with_teacher: bool = False

    def __post_init__(self) -> None:
        names = [phase.name for phase in self.phases]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"recipe {self.name}: phases need different names")
        has_teacher = self.begins_with_teacher
        for phase in self.phases:
            if phase.loss == "teacher" and not has_teacher:
                raise ValueError(f"recipe {self.name}: phase {phase.name} has no teacher before it")
            has_teacher = has_teacher or phase.becomes_teacher
        if self.phases[-1].max_steps is not None:
            raise ValueError(f"recipe {self.name}: no phase after the last to get its steps")
        if self.phases[0].continues_rate:
            raise ValueError(f"recipe {self.name}: no phase before the first to continue")
        for before, phase in itertools.pairwise(self.phases):
            if phase.continues_rate and phase.learning_rate != before.learning_rate:
                raise ValueError(f"recipe {self.name}: {phase.name} continues another rate")

    def trained_expands(self, phase: Phase, family: Family = MOBILENETV3) -> tuple[int, ...]:
        """Expand ratios below the largest that the phases before `phase` trained, ascending.

        Sorting channels before `phase` must leave the subnets of these ratios as they are.
        """
        before = self.phases[: self.phases.index(phase)]
        trained = {e for p in before if p.choices is not None for e in p.choices.expands(family)}
        return tuple(sorted(trained - {family.expands[-1]}))

    @property
    def epochs(self) -> float:
        """Epochs of all phases, before any scaling."""
        return sum(phase.total_epochs for phase in self.phases)

    @property
    def is_proportional(self) -> bool:
        """Whether each phase keeps its share of the steps when the schedule is made longer."""
        return all(phase.max_steps is None for phase in self.phases)

    def supernet_config(
        self, *, width_mult: float, num_classes: int, family: Family = MOBILENETV3
    ) -> SupernetConfig:
        """The supernet that the recipe trains, from its first phase to its last."""
        return SupernetConfig(
            family=family,
            kind=self.kind,
            width_mult=width_mult,
            num_classes=num_classes,
            max_kernels=self.max_kernels(family),
            kernel_mode=self.kernel_mode,
        )

    def max_kernels(self, family: Family = MOBILENETV3) -> tuple[int, ...]:
        """Kernel of the shared weights by stage: OFA's and CompOFA's are 7x7."""
        if self.kernel_mode == "fixed":
            return family.compound_kernels
        return (family.kernels[-1],) * len(family.stages)

    def largest(self, family: Family = MOBILENETV3) -> Subnet:
        """The full-sized subnet as this recipe means it."""
        return Subnet.largest(family, self.kind, self.max_kernels(family))

    def smallest(self, family: Family = MOBILENETV3) -> Subnet:
        """The smallest subnet of the recipe's space."""
        return Subnet.smallest(family, self.kind)

    def anchor(self, which: Anchor, family: Family = MOBILENETV3) -> Subnet:
        """The subnet that an anchor means."""
        if isinstance(which, Subnet):
            return which
        return self.largest(family) if which == "largest" else self.smallest(family)


COMPOUND = Choices(kind="compound")


def _teacher() -> Phase:
    """The 7x7 full-sized network by itself; OFA and CompOFA begin with it."""
    return Phase(
        name="teacher",
        epochs=180,
        learning_rate=2.6,
        anchors=("largest",),
        becomes_teacher=True,
    )


def _shrinking(name: str, choices: Choices, num_random: int) -> tuple[Phase, Phase]:
    """OFA's pair of phases: a short one at a low learning rate, then the long one."""
    short = Phase(
        name=f"{name}-1",
        epochs=25,
        learning_rate=0.08,
        num_random=num_random,
        choices=choices,
        loss="teacher",
    )
    return short, replace(short, name=f"{name}-2", warmup_epochs=5, epochs=120, learning_rate=0.24)


def ofa() -> Recipe:
    """Once-for-all: progressive shrinking (Cai et al., 2020); 605 epochs."""
    full = Choices(kind="elastic", num_depths=1, num_expands=1)
    kernel = Phase(
        name="kernel",
        warmup_epochs=5,
        epochs=120,
        learning_rate=2.6,
        num_random=1,
        choices=full,
        loss="teacher",
    )
    depth = _shrinking("depth", replace(full, num_depths=None), 2)
    expand = _shrinking("expand", Choices(kind="elastic"), 4)
    narrowed_depth = replace(full, num_depths=2)
    narrowed_expand = Choices(kind="elastic", num_expands=2)
    return Recipe(
        name="ofa",
        summary="progressive shrinking from a 7x7 teacher: kernel, depth, expand",
        kind="elastic",
        kernel_mode="transform",
        phases=(
            _teacher(),
            kernel,
            replace(depth[0], choices=narrowed_depth),
            depth[1],
            replace(expand[0], choices=narrowed_expand, sort_channels=True),
            replace(expand[1], sort_channels=True),
        ),
    )


def compofa() -> Recipe:
    """CompOFA: a 7x7 teacher, then all compound subnets at once (Sahni et al., 2021); 330."""
    short, long = _shrinking("compound", COMPOUND, 4)
    return Recipe(
        name="compofa",
        summary="a 7x7 teacher, then four random compound subnets a step",
        kind="compound",
        kernel_mode="centre",
        phases=(
            _teacher(),
            replace(short, sort_channels=True),
            replace(long, sort_channels=True),
        ),
    )


def fofa_n4() -> Recipe:
    """fOFA with n=4 (paper, Table 1): warm-up, then in-place distillation; 185 epochs."""
    warmup = Phase(
        name="warmup",
        epochs=0,
        warmup_epochs=5,
        learning_rate=2.6,
        anchors=("largest",),
        min_steps=WARMUP_STEPS,
    )
    distillation = Phase(
        name="distillation",
        epochs=180,
        learning_rate=2.6,
        anchors=("largest",),
        num_random=3,
        choices=COMPOUND,
        loss="in-place",
        fresh_optimizer=False,
    )
    return Recipe(
        name="fofa-n4",
        summary="short warm-up, then the full-sized network teaches three random subnets a step",
        kind="compound",
        kernel_mode="fixed",
        phases=(warmup, distillation),
        clip_norm=1.0,
    )


def fofa_n3() -> Recipe:
    """fOFA with n=3: the full-sized network and two random subnets a step."""
    parent = fofa_n4()
    warmup, distillation = parent.phases
    return replace(
        parent,
        name="fofa-n3",
        summary="short warm-up, then the full-sized network teaches two random subnets a step",
        phases=(warmup, replace(distillation, num_random=2)),
    )


def fofa_n4_300() -> Recipe:
    """fOFA with n=4 and 300 epochs in all (paper, Table 2)."""
    parent = fofa_n4()
    warmup, distillation = parent.phases
    return replace(
        parent,
        name="fofa-n4-300",
        summary="fofa-n4 for 300 epochs",
        phases=(warmup, replace(distillation, epochs=295)),
    )


def sandwich() -> Recipe:
    """The sandwich rule (BigNAS; equation 5): the smallest subnet in place of a random one."""
    parent = fofa_n4()
    warmup, distillation = parent.phases
    return replace(
        parent,
        name="sandwich",
        summary="fofa-n4 with the smallest subnet in place of one random one",
        phases=(warmup, replace(distillation, anchors=("largest", "smallest"), num_random=2)),
    )


def naive() -> Recipe:
    """Naive sampling (paper, equation 4): random subnets learn from the labels alone; 185 epochs.

    One subnet a step, the paper's baseline at its cheapest: it takes the most steps for its cost,
    which is what short budgets need (docs/experiments.md).
    """
    parent = fofa_n4()
    warmup, distillation = parent.phases
    sampling = replace(distillation, name="sampling", anchors=(), num_random=1, loss="labels")
    return replace(
        parent,
        name="naive",
        summary="short warm-up, then one random subnet a step, from the labels alone",
        phases=(warmup, sampling),
    )


def smallest_first() -> Recipe:
    """This project's own, for short budgets: the smallest subnet alone, then random ones; 185.

    A step of the smallest subnet costs a third of one of the full-sized network, and what it learns
    the others begin with, because its weights are part of theirs. More steps than `SMALLEST_STEPS`
    bring less than those of larger ones. Then random subnets learn from the labels, and in every
    tenth step the largest, on the same cosine. Found by `benchmarks.ablations`
    (docs/experiments.md).
    """
    warmup, sampling = naive().phases
    smallest = replace(
        warmup,
        name="smallest",
        epochs=92,
        warmup_epochs=1,
        anchors=("smallest",),
        max_steps=SMALLEST_STEPS,
    )
    sampling = replace(sampling, epochs=92, largest_share=0.1, continues_rate=True)
    return replace(
        naive(),
        name="smallest-first",
        summary="the smallest subnet alone for half of the steps, for a limited time, then one "
        "random subnet a step, from the labels alone",
        phases=(smallest, sampling),
    )


RECIPES: dict[str, Callable[[], Recipe]] = {
    "ofa": ofa,
    "compofa": compofa,
    "fofa-n3": fofa_n3,
    "fofa-n4": fofa_n4,
    "fofa-n4-300": fofa_n4_300,
    "sandwich": sandwich,
    "naive": naive,
    "smallest-first": smallest_first,
}


def get_recipe(name: str) -> Recipe:
    """The recipe called `name`.

    Raises:
        UserError: if there is none, listing those there are.
    """
    if name not in RECIPES:
        raise UserError(f"recipe {name!r}: expected one of {', '.join(RECIPES)}")
    return RECIPES[name]()
