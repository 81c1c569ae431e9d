"""Recipes: every registered one is what the design's table says, and plans keep its proportions."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fofa.errors import UserError
from fofa.recipes import COMPOUND, RECIPES, SMALLEST_STEPS, Phase, Recipe, get_recipe, naive
from fofa.space import MOBILENETV3, Subnet
from fofa.train.schedule import PhasePlan, TrainPlan

EPOCHS = {
    "ofa": 605,
    "compofa": 330,
    "fofa-n3": 185,
    "fofa-n4": 185,
    "fofa-n4-300": 300,
    "sandwich": 185,
    "naive": 185,
    "smallest-first": 185,
}
# (name, warm-up epochs, epochs, subnets per step, learning rate per 2048 images)
PHASES = {
    "ofa": [
        ("teacher", 0, 180, 1, 2.6),
        ("kernel", 5, 120, 1, 2.6),
        ("depth-1", 0, 25, 2, 0.08),
        ("depth-2", 5, 120, 2, 0.24),
        ("expand-1", 0, 25, 4, 0.08),
        ("expand-2", 5, 120, 4, 0.24),
    ],
    "compofa": [
        ("teacher", 0, 180, 1, 2.6),
        ("compound-1", 0, 25, 4, 0.08),
        ("compound-2", 5, 120, 4, 0.24),
    ],
    "fofa-n3": [("warmup", 5, 0, 1, 2.6), ("distillation", 0, 180, 3, 2.6)],
    "fofa-n4": [("warmup", 5, 0, 1, 2.6), ("distillation", 0, 180, 4, 2.6)],
    "fofa-n4-300": [("warmup", 5, 0, 1, 2.6), ("distillation", 0, 295, 4, 2.6)],
    "sandwich": [("warmup", 5, 0, 1, 2.6), ("distillation", 0, 180, 4, 2.6)],
    "naive": [("warmup", 5, 0, 1, 2.6), ("sampling", 0, 180, 1, 2.6)],
    "smallest-first": [("smallest", 1, 92, 1, 2.6), ("sampling", 0, 92, 1, 2.6)],
}

# (depths, expand ratios) that OFA's phases draw from
DRAWN = {
    "kernel": ((4,), (6,)),
    "depth-1": ((3, 4), (6,)),
    "depth-2": ((2, 3, 4), (6,)),
    "expand-1": ((2, 3, 4), (4, 6)),
    "expand-2": ((2, 3, 4), (3, 4, 6)),
}


def plan(recipe: str | Recipe, scale: float = 1.0, steps_per_epoch: int = 10) -> TrainPlan:
    return TrainPlan.of(
        get_recipe(recipe) if isinstance(recipe, str) else recipe,
        resolutions=(24, 32),
        seed=3,
        steps_per_epoch=steps_per_epoch,
        global_batch=256,
        epoch_scale=scale,
    )


def curves(made: TrainPlan) -> list[list[PhasePlan]]:
    """The phases that share a learning rate's curve."""
    found: list[list[PhasePlan]] = []
    for phase in made.phases:
        if phase.phase.continues_rate:
            found[-1].append(phase)
        else:
            found.append([phase])
    return found


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_is_the_table_s(name: str) -> None:
    recipe = get_recipe(name)
    assert recipe.name == name
    assert recipe.epochs == EPOCHS[name]
    assert [
        (p.name, p.warmup_epochs, p.epochs, p.num_subnets, p.learning_rate) for p in recipe.phases
    ] == PHASES[name]
    assert recipe.clip_norm == (None if name in ("ofa", "compofa") else 1.0)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("scale", [1.0, 0.1, 0.003])
def test_scaled_plans_keep_the_proportions(name: str, scale: float) -> None:
    made = plan(name, scale)
    wanted_steps = {p.name: p.total_epochs * scale * 10 for p in get_recipe(name).phases}
    floors = {p.name: p.min_steps for p in get_recipe(name).phases if p.min_steps > 1}
    added = sum(max(0, floor - wanted_steps[name]) for name, floor in floors.items())
    total = EPOCHS[name] * scale * 10 + added
    assert made.num_steps == pytest.approx(total, abs=max(1, len(made.phases)))
    assert [p.first_step for p in made.phases[1:]] == [p.steps.stop for p in made.phases[:-1]]
    for phase in made.phases:
        assert phase.num_steps >= 1
        wanted = max(wanted_steps[phase.phase.name], floors.get(phase.phase.name, 1))
        assert phase.num_steps == pytest.approx(wanted, abs=len(made.phases))


def test_the_full_sized_network_has_learnt_something_before_it_teaches() -> None:
    """At short lengths only: the paper's stay as they are."""
    for name in ("fofa-n3", "fofa-n4", "fofa-n4-300", "sandwich"):
        warmup, distillation = plan(name, 0.02).phases
        assert (warmup.num_steps, warmup.warmup_steps) == (30, 30)
        assert distillation.num_steps == pytest.approx((EPOCHS[name] - 5) * 0.2, abs=1)
        assert warmup.learning_rate(29) == warmup.peak_rate
        assert [p.num_steps for p in plan(name).phases] == [50, EPOCHS[name] * 10 - 50]


def test_the_smallest_subnet_is_alone_for_so_many_steps_at_most() -> None:
    """The others get what it may not have, and the learning rate falls over both as before."""
    short, long = plan("smallest-first", 1.0), plan("smallest-first", 10.0)
    assert [p.num_steps for p in short.phases] == [930, 920]
    assert [p.num_steps for p in long.phases] == [SMALLEST_STEPS, 18500 - SMALLEST_STEPS]
    smallest, sampling = long.phases
    assert smallest.learning_rate(smallest.steps[-1]) > 0.9 * smallest.peak_rate
    assert sampling.learning_rate(sampling.first_step) == pytest.approx(
        smallest.learning_rate(smallest.steps[-1]), rel=0.01
    )
    assert sampling.learning_rate(sampling.steps[-1]) < 0.01 * sampling.peak_rate
    longer = long.rescaled(1000, 2.0)
    assert [p.num_steps for p in longer.phases] == [SMALLEST_STEPS, 2 * (18500 - SMALLEST_STEPS)]


def test_limits_on_steps_that_no_plan_can_keep_are_refused() -> None:
    smallest = get_recipe("smallest-first").phases[0]
    with pytest.raises(ValueError, match="smallest: fewer steps at most than at least"):
        replace(smallest, max_steps=smallest.min_steps - 1)
    with pytest.raises(ValueError, match="no phase after the last to get its steps"):
        replace(get_recipe("smallest-first"), phases=(smallest,))


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("factor", [0.5, 1.0, 1.7])
def test_a_rescaled_plan_keeps_what_was_done_and_ends_its_curves(name: str, factor: float) -> None:
    made = plan(name)
    at = made.num_steps // 3
    again = made.rescaled(at, factor)
    assert [again.draw(step) for step in range(at)] == [made.draw(step) for step in range(at)]
    rates = [[p.phase_at(s).learning_rate(s) for s in range(p.num_steps)] for p in (made, again)]
    assert rates[1][:at] == rates[0][:at]
    left = factor * (made.num_steps - at)
    assert again.num_steps - at == pytest.approx(left, abs=len(made.phases))
    assert [p.first_step for p in again.phases[1:]] == [p.steps.stop for p in again.phases[:-1]]
    # The curve is as long as it was, walked faster or slower: no jump where the pace changes.
    assert rates[1][at] == pytest.approx(rates[0][at], rel=0.05)
    for before, after in zip(made.phases, again.phases, strict=True):
        goes_on, begin = after.section[1] < 1, after.section[0]
        last = after.learning_rate(after.steps[-1])
        assert last <= 0.01 * after.peak_rate or not after.phase.epochs or goes_on
        if not begin:
            assert max(map(after.learning_rate, after.steps)) == pytest.approx(
                before.peak_rate, rel=0.01
            )
    if factor == 1.0:
        assert rates[0] == rates[1]
        assert again.rescaled(at, 2).rescaled(at, 0.5).num_steps == made.num_steps


@pytest.mark.parametrize("name", RECIPES)
def test_learning_rates_rise_linearly_and_fall_as_a_cosine(name: str) -> None:
    for curve in curves(plan(name)):
        rates = [phase.learning_rate(step) for phase in curve for step in phase.steps]
        peak = curve[0].phase.learning_rate * 256 / 2048
        assert max(rates) == pytest.approx(peak)
        warm = curve[0].warmup_steps
        assert warm == curve[0].phase.warmup_epochs * 10
        rises = [after - before for before, after in itertools.pairwise(rates[:warm])]
        assert all(rise == pytest.approx(peak / warm) for rise in rises)
        falling = rates[warm:]
        assert falling == sorted(falling, reverse=True)
        if falling:
            assert falling[0] == pytest.approx(peak)
            assert falling[len(falling) // 2] == pytest.approx(peak / 2)
            assert falling[-1] < 0.01 * peak


@pytest.mark.parametrize("name", RECIPES)
@given(step=st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_every_drawn_subnet_belongs_to_its_phase(name: str, step: int) -> None:
    made = plan(name, 0.5)
    step %= made.num_steps
    phase, draw = made.phase_at(step).phase, made.draw(step)
    assert draw == plan(name, 0.5).draw(step)
    assert draw.resolution == made.resolution(step)
    assert draw.resolution in (24, 32)
    assert len(draw.subnets) == phase.num_subnets
    for which, subnet in zip(phase.anchors, draw.subnets, strict=False):
        assert subnet == made.recipe.anchor(which)
    for subnet in draw.subnets[len(phase.anchors) :]:
        assert phase.choices is not None
        if phase.choices.kind == "compound":
            assert subnet.is_compound
        else:
            depths, expands = DRAWN[phase.name]
            assert set(subnet.depths) <= set(depths)
            blocks = [block for stage in subnet.stages for block in stage]
            assert {b.kernel for b in blocks} <= {3, 5, 7}
            assert {b.expand for b in blocks} <= set(expands)
            assert phase.choices.expands(MOBILENETV3) == expands


def test_the_full_sized_network_is_7x7_for_teachers_only() -> None:
    for name in RECIPES:
        teacher = name in ("ofa", "compofa")
        largest = (
            Subnet.uniform(kernel=7, depth=4, expand=6) if teacher else Subnet.compound([4] * 5)
        )
        assert get_recipe(name).largest() == largest
    assert get_recipe("sandwich").anchor("smallest") == Subnet.compound((2,) * 5)
    assert get_recipe("ofa").smallest() == Subnet.uniform(kernel=3, depth=2, expand=3)


def test_draws_differ_between_steps_and_seeds() -> None:
    made, rng = plan("fofa-n4"), random.Random(0)
    steps = [rng.randrange(100, 1800) for _ in range(20)]
    assert len({made.draw(step) for step in steps}) > 15


def test_coupled_subnets_share_their_first_stages_and_are_drawn_uniformly() -> None:
    recipe = get_recipe("fofa-n3")
    warmup, distillation = recipe.phases
    coupled = replace(recipe, phases=(warmup, replace(distillation, coupled=True)))
    made = plan(coupled)
    phase = made.phases[1].phase
    shared, last = Counter(), Counter()
    for step in range(2000):
        _, first, second = made.subnets_of(phase, step)
        assert second.is_compound
        assert first.stages[0] == second.stages[0]
        pairs = zip(first.stages, second.stages, strict=True)
        shared[sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))] += 1
        last[second.depths[-1]] += 1
    assert min(shared[number] for number in (1, 2, 3, 4)) > 200
    assert all(600 < last[depth] < 733 for depth in (2, 3, 4))


def test_an_unknown_recipe_lists_those_there_are() -> None:
    with pytest.raises(UserError, match="expected one of ofa, compofa, fofa-n3"):
        get_recipe("fofa")


def test_a_phase_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="go together"):
        Phase(name="x", epochs=1, learning_rate=1, num_random=2)
    with pytest.raises(ValueError, match="largest first"):
        Phase(name="x", epochs=1, learning_rate=1, anchors=("smallest",), loss="in-place")
    with pytest.raises(ValueError, match="largest_share needs random subnets"):
        Phase(name="x", epochs=1, learning_rate=1, anchors=("largest",), largest_share=0.1)
    with pytest.raises(ValueError, match="label_weight in-place"):
        Phase(name="x", epochs=1, learning_rate=1, anchors=("largest",), label_weight=0.1)
    with pytest.raises(ValueError, match="two random subnets or more"):
        Phase(name="x", epochs=1, learning_rate=1, num_random=1, choices=COMPOUND, coupled=True)
    with pytest.raises(ValueError, match="has no warm-up"):
        Phase(
            name="x",
            epochs=1,
            warmup_epochs=1,
            learning_rate=1,
            anchors=("largest",),
            continues_rate=True,
        )


@given(st.lists(st.integers(1, 60), min_size=1, max_size=4), st.integers(0, 20))
def test_a_rate_that_goes_on_is_that_of_one_phase(lengths: list[int], warmup: int) -> None:
    first, sampling = naive().phases
    parts = [
        replace(sampling, name=f"part-{number}", epochs=epochs, continues_rate=number > 0)
        for number, epochs in enumerate(lengths)
    ]
    whole = replace(sampling, epochs=sum(lengths))
    start = replace(first, warmup_epochs=warmup) if warmup else None
    rates = []
    for phases in (parts, [whole]):
        recipe = replace(naive(), phases=tuple(filter(None, (start, *phases))))
        made = TrainPlan.of(
            recipe,
            resolutions=(24,),
            seed=0,
            steps_per_epoch=3,
            global_batch=256,
            epoch_scale=1,
        )
        rates.append([made.phase_at(step).learning_rate(step) for step in range(made.num_steps)])
    assert rates[0] == pytest.approx(rates[1], abs=1e-12)


def test_the_largest_subnet_takes_its_share_of_the_draws() -> None:
    warmup, sampling = naive().phases
    recipe = replace(
        naive(), phases=(warmup, replace(sampling, largest_share=0.25, choices=COMPOUND))
    )
    made = TrainPlan.of(
        recipe, resolutions=(24,), seed=1, steps_per_epoch=20, global_batch=256, epoch_scale=1
    )
    drawn = [made.draw(step).subnets[0] for step in made.phases[1].steps]
    share = drawn.count(recipe.largest()) / len(drawn)
    assert share == pytest.approx(0.25 + 0.75 / 243, abs=0.03)
    assert len(set(drawn)) > 200


def test_only_phases_of_one_rate_share_a_curve() -> None:
    warmup, sampling = naive().phases
    other = replace(sampling, name="other", learning_rate=1.0, continues_rate=True)
    with pytest.raises(ValueError, match="continues another rate"):
        replace(naive(), phases=(warmup, sampling, other))
    with pytest.raises(ValueError, match="no phase before the first"):
        replace(naive(), phases=(replace(sampling, continues_rate=True),))


def test_sorting_keeps_the_expand_ratios_that_are_trained_already() -> None:
    trained = {
        (name, phase.name): recipe.trained_expands(phase)
        for name in ("ofa", "compofa")
        for recipe in (get_recipe(name),)
        for phase in recipe.phases
        if phase.sort_channels
    }
    assert trained == {
        ("ofa", "expand-1"): (),
        ("ofa", "expand-2"): (4,),
        ("compofa", "compound-1"): (),
        ("compofa", "compound-2"): (3, 4),
    }
