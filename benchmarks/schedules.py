"""Training schedules that were tried for short budgets, as data: recipes, most of them nameless.

Those that proved themselves are in `fofa.recipes`; docs/experiments.md says what became of all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from fofa.recipes import COMPOUND, RECIPES, Phase, Recipe, compofa, fofa_n3, naive

TOTAL_EPOCHS = 185.0
"""Of every schedule here, as of fofa-n3's; the budget scales them."""
WARMUP_EPOCHS = 1.0
ANNEALED_WEIGHTS = (0.9, 0.6, 0.3, 0.0)
SMALLEST_SHARES = {"half": 0.5, "a-quarter": 0.25, "an-eighth": 0.125}
HIGHER_RATE = 3.84
"""Per 2048 images, so 0.06 for a batch of 32."""


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
        "as smallest-for-half; the last 15% of the steps the largest and one random subnet, half "
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


def smallest_for(share: str) -> Recipe:
    """`smallest-first` with a share of the steps, however many these are."""
    return labels_first(
        f"smallest-for-{share}",
        f"the smallest subnet alone for {share.replace('-', ' ')} of the steps, then one random "
        "subnet a step (10% the largest), labels",
        distilled=0.0,
        smallest_first=SMALLEST_SHARES[share],
    )


def growing() -> Recipe:
    """The smallest subnet, then the largest, which begins with what it learned and then teaches.

    About a third of the cost each.
    """
    parent = smallest_first_then_distillation()
    smallest, sampling, distillation = parent.phases
    largest = replace(
        sampling, name="largest", anchors=("largest",), num_random=0, choices=None, largest_share=0
    )
    shares = (0.63, 0.22, 0.15)
    left = TOTAL_EPOCHS - WARMUP_EPOCHS
    phases = (
        replace(phase, epochs=share * left)
        for phase, share in zip((smallest, largest, distillation), shares, strict=True)
    )
    return replace(
        parent,
        name="growing",
        summary="the smallest subnet alone, then the largest alone, then the largest and one "
        "random subnet, half labels",
        phases=tuple(phases),
    )


def _changed(name: str, summary: str, *phases: Phase) -> Recipe:
    """fofa-n3 with other phases after its warm-up."""
    parent = fofa_n3()
    return replace(parent, name=name, summary=summary, phases=(parent.phases[0], *phases))


def dropout_on_the_largest() -> Recipe:
    return _changed(
        "fofa-n3-dropout-first",
        "fofa-n3 with dropout on the largest subnet alone, as AlphaNet has it",
        replace(fofa_n3().phases[1], dropout="first"),
    )


def coupled_draws() -> Recipe:
    return _changed(
        "fofa-n3-coupled",
        "fofa-n3 whose second random subnet keeps some of the first's first stages",
        replace(fofa_n3().phases[1], coupled=True),
    )


def half_labels() -> Recipe:
    return _changed(
        "fofa-n3-half-labels",
        "fofa-n3 whose random subnets learn half from the labels, half from the largest",
        replace(fofa_n3().phases[1], label_weight=0.5),
    )


def annealed_labels() -> Recipe:
    distillation = fofa_n3().phases[1]
    quarters = [
        replace(
            distillation,
            name=f"distillation-{number}",
            epochs=distillation.epochs / len(ANNEALED_WEIGHTS),
            label_weight=weight,
            continues_rate=number > 1,
        )
        for number, weight in enumerate(ANNEALED_WEIGHTS, 1)
    ]
    return _changed(
        "fofa-n3-annealed-labels",
        "fofa-n3 whose random subnets learn from the labels first, by quarters of the steps "
        f"{', '.join(f'{weight:g}' for weight in ANNEALED_WEIGHTS)}, else from the largest",
        *quarters,
    )


def naive_at_a_higher_rate() -> Recipe:
    parent = naive()
    phases = tuple(replace(phase, learning_rate=HIGHER_RATE) for phase in parent.phases)
    summary = "naive at 1.5 times its learning rate per image, for batches of 32"
    return replace(parent, name="naive-higher-rate", summary=summary, phases=phases)


def compofa_with_a_shorter_teacher() -> Recipe:
    """A quarter of its epochs; the students have the rest."""
    parent = compofa()
    teacher, short, long = parent.phases
    epochs = teacher.epochs / 4
    phases = (
        replace(teacher, epochs=epochs),
        short,
        replace(long, epochs=long.epochs + teacher.epochs - epochs),
    )
    summary = "compofa whose teacher has a quarter of its epochs, and its students the rest"
    return replace(parent, name="compofa-short-teacher", summary=summary, phases=phases)


def compofa_with_faster_students() -> Recipe:
    """At fofa-n3's rate, clipped as there."""
    parent, other = compofa(), fofa_n3()
    teacher, *students = parent.phases
    rate = other.phases[-1].learning_rate
    return replace(
        parent,
        name="compofa-fast-students",
        summary="compofa whose students learn at fofa-n3's rate, clipped as there",
        phases=(teacher, *(replace(phase, learning_rate=rate) for phase in students)),
        clip_norm=other.clip_norm,
    )


SCHEDULES: dict[str, Callable[[], Recipe]] = {
    "naive": RECIPES["naive"],
    "fofa-n3": RECIPES["fofa-n3"],
    "smallest-first": RECIPES["smallest-first"],
    "late-distillation": late_distillation,
    "smallest-first-then-distillation": smallest_first_then_distillation,
    "smallest-for-longer": smallest_for_longer,
    **{f"smallest-for-{share}": partial(smallest_for, share) for share in SMALLEST_SHARES},
    "growing": growing,
    "fofa-n3-dropout-first": dropout_on_the_largest,
    "fofa-n3-coupled": coupled_draws,
    "fofa-n3-half-labels": half_labels,
    "fofa-n3-annealed-labels": annealed_labels,
    "naive-higher-rate": naive_at_a_higher_rate,
    "compofa": RECIPES["compofa"],
    "compofa-short-teacher": compofa_with_a_shorter_teacher,
    "compofa-fast-students": compofa_with_faster_students,
}
