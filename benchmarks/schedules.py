"""Training schedules that were tried for short budgets, as data: recipes, most of them nameless.

Those that proved themselves are in `fofa.recipes`; docs/experiments.md says what became of all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fofa.recipes import COMPOUND, RECIPES, Phase, Recipe, fofa_n3

TOTAL_EPOCHS = 185.0
"""Of every schedule here, as of fofa-n3's; the budget scales them."""
WARMUP_EPOCHS = 1.0


def labels_first(
    name: str,
    summary: str,
    *,
    distilled: float,
    smallest_first: float = 0.0,
    largest_share: float = 0.1,
    num_random: int = 1,
    label_weight: float = 0.5,
) -> Recipe:
    """Random subnets on labels, then in-place distillation, on one cosine.

    Args:
        distilled: share of the steps that are in-place distillation, the last ones.
        smallest_first: share of the steps that the smallest subnet has to itself, the first ones.
        largest_share: how often the largest subnet takes a random one's place before that.
        num_random: random subnets of a step of distillation, beside the largest.
        label_weight: of the labels in what these learn from.
    """
    parent = fofa_n3()
    warmup = replace(parent.phases[0], warmup_epochs=WARMUP_EPOCHS)
    left = TOTAL_EPOCHS - WARMUP_EPOCHS
    sampling = Phase(
        name="sampling",
        epochs=(1 - smallest_first - distilled) * left,
        learning_rate=2.6,
        num_random=1,
        choices=COMPOUND,
        largest_share=largest_share,
        fresh_optimizer=False,
        continues_rate=bool(smallest_first),
    )
    smallest = replace(warmup, name="smallest", anchors=("smallest",))
    smallest = replace(smallest, epochs=smallest_first * left, warmup_epochs=WARMUP_EPOCHS)
    distillation = (
        Phase(
            name="distillation",
            epochs=distilled * left,
            learning_rate=2.6,
            anchors=("largest",),
            num_random=num_random,
            choices=COMPOUND,
            loss="in-place",
            label_weight=label_weight,
            fresh_optimizer=False,
            continues_rate=True,
        )
        if distilled
        else None
    )
    first = smallest if smallest_first else warmup
    phases = (first, sampling) if distillation is None else (first, sampling, distillation)
    return replace(parent, name=name, summary=summary, phases=phases)


def late_distillation() -> Recipe:
    return labels_first(
        "late-distillation",
        "one random subnet a step (10% the largest), labels; the last 15% of the steps the largest "
        "and one random subnet, half labels",
        distilled=0.15,
    )


def smallest_first_then_distillation() -> Recipe:
    return labels_first(
        "smallest-first-then-distillation",
        "as smallest-first; the last 15% of the steps the largest and one random subnet, half "
        "labels",
        distilled=0.15,
        smallest_first=0.5,
    )


def smallest_for_longer() -> Recipe:
    return labels_first(
        "smallest-for-longer",
        "the smallest subnet alone for 70% of the steps, then one random subnet a step, a quarter "
        "of them the largest, labels",
        distilled=0.0,
        smallest_first=0.7,
        largest_share=0.25,
    )


SCHEDULES: dict[str, Callable[[], Recipe]] = {
    "naive": RECIPES["naive"],
    "fofa-n3": RECIPES["fofa-n3"],
    "smallest-first": RECIPES["smallest-first"],
    "late-distillation": late_distillation,
    "smallest-first-then-distillation": smallest_first_then_distillation,
    "smallest-for-longer": smallest_for_longer,
}
