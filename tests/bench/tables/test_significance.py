"""Intervals: nominal coverage, clear differences found, noise not crowned, equal inputs zero."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from bench.tables.model import Cell, mark_apart
from bench.tables.significance import Difference, Score, Spread, against_best, difference

IMAGES = 1000


def made_up(
    rng: np.random.Generator,
    true: Sequence[float],
    *,
    seeds: int,
    seed_points: float = 0.5,
    paired: bool = True,
) -> list[Score]:
    """One score per true top-1: images of unlike difficulty, the same for every recipe."""
    difficulty = rng.normal(size=IMAGES)
    chances = 1 / (1 + np.exp(-(1.5 * difficulty + 0.57)))
    scores = []
    for top1 in true:
        shifts = (top1 - 60 + seed_points * rng.normal(size=(seeds, 1))) / 100
        right = rng.random((seeds, IMAGES)) < np.clip(chances + shifts, 0, 1)
        values = tuple(100 * right.mean(axis=1))
        kept = (right.astype(float), "images") if paired else (None, None)
        scores.append(Score(values, IMAGES, *kept))
    return scores


@pytest.mark.parametrize(
    ("recipes", "seeds", "seed_points"), [(2, 1, 0.0), (2, 2, 0.5), (2, 3, 1.5), (5, 3, 0.5)]
)
def test_intervals_cover_the_true_difference_about_as_often_as_they_say(
    recipes: int, seeds: int, seed_points: float
) -> None:
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(200):
        true = [60.4, *[60.0] * (recipes - 1)]
        scores = made_up(rng, true, seeds=seeds, seed_points=seed_points)
        found = difference(scores[0], scores[1], Spread.pooled(scores))
        held += found.low <= 0.4 <= found.high
    assert 0.90 <= held / 200 <= 0.99


@pytest.mark.parametrize("kept", [1, 2])
def test_outcomes_of_some_seeds_are_enough_to_pair_images(kept: int) -> None:
    """One leaves the interval too wide, two show what seeds have of their own."""
    rng = np.random.default_rng(9)
    held, shares = 0, []
    for _ in range(100):
        scores = made_up(rng, [60.4, 60.0], seeds=3, seed_points=0.5)
        spread = Spread.pooled(scores)
        some = [
            Score(s.seeds, IMAGES, None if s.right is None else s.right[:kept], "images")
            for s in scores
        ]
        none = [Score(s.seeds, IMAGES) for s in scores]
        found, wide = difference(*some, spread), difference(*none, spread)
        held += found.low <= 0.4 <= found.high
        shares.append((found.high - found.low) / (wide.high - wide.low))
    assert held >= 90
    assert np.mean(shares) < 0.9


def test_without_outcomes_the_interval_is_an_upper_bound() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        paired = made_up(rng, [61, 60], seeds=2)
        apart = [Score(score.seeds, IMAGES) for score in paired]
        narrow = difference(paired[0], paired[1], Spread.pooled(paired))
        wide = difference(apart[0], apart[1], Spread.pooled(apart))
        assert wide.value == narrow.value
        assert wide.high - wide.low > 0.9 * (narrow.high - narrow.low)


@pytest.mark.parametrize("paired", [True, False])
def test_a_clear_difference_is_found(paired: bool) -> None:
    rng = np.random.default_rng(1)
    scores = made_up(rng, [60, 70, 60], seeds=3, paired=paired)
    found = against_best(scores)
    assert [d is not None and d.told_apart for d in found] == [True, False, True]
    assert found[1] == Difference(0.0, 0.0, 0.0)
    rows = [[Cell(value=score.mean)] for score in scores]
    mark_apart(rows, 0, found)
    assert [(row[0].best, row[0].alike) for row in rows] == [
        (False, False),
        (True, False),
        (False, False),
    ]


@pytest.mark.parametrize(("seeds", "recipes"), [(1, 2), (2, 2), (3, 2), (3, 6)])
def test_noise_is_not_crowned(seeds: int, recipes: int) -> None:
    rng = np.random.default_rng(11)
    crowned = 0
    for _ in range(100):
        scores = made_up(rng, [60.0] * recipes, seeds=seeds, seed_points=0.5 if seeds > 1 else 0)
        crowned += sum(d is not None and not d.told_apart for d in against_best(scores)) == 1
    assert crowned <= 10


def test_equal_outcomes_differ_by_exactly_nothing() -> None:
    rng = np.random.default_rng(5)
    (score,) = made_up(rng, [60], seeds=2)
    twin = Score(score.seeds, IMAGES, score.right, "images")
    assert score.right is not None
    assert difference(score, twin, Spread(4.0, 1)) == Difference(0.0, 0.0, 0.0)
    assert difference(score, score, Spread(4.0, 1)) == Difference(0.0, 0.0, 0.0)
    without = [Score((61.0, 60.0), 100), Score((60.0, 61.0), 100)]
    found = difference(*without, Spread.pooled(without))
    assert found.value == 0
    assert found.low < 0 < found.high


def test_other_images_are_not_paired() -> None:
    rng = np.random.default_rng(2)
    one, other = made_up(rng, [60, 60], seeds=1)
    assert one.paired_with(other)
    assert not one.paired_with(Score(other.seeds, IMAGES, other.right, "other images"))
    assert not one.paired_with(Score(other.seeds, IMAGES))


def test_the_order_of_recipes_does_not_matter() -> None:
    scores = made_up(np.random.default_rng(8), [60, 62, 61.5], seeds=2)
    forth, back = against_best(scores), against_best(scores[::-1])
    assert forth == back[::-1]


def test_rows_without_a_number_are_left_alone_and_one_alone_is_not_crowned() -> None:
    score = Score((60.0,), 100)
    assert against_best([None, None]) == [None, None]
    assert against_best([None, score]) == [None, Difference(0.0, 0.0, 0.0)]
    rows = [[Cell(note="no accuracy table")], [Cell(value=60.0)]]
    mark_apart(rows, 0, against_best([None, score]))
    assert not any(row[0].best or row[0].alike for row in rows)


def test_the_spread_is_pooled_over_recipes_with_several_seeds() -> None:
    scores = [Score((60.0, 62.0), 100), Score((50.0, 51.0, 52.0), 100), Score((40.0,), 100)]
    assert Spread.pooled(scores) == Spread((2.0 + 2 * 1.0) / 3, 3)
    assert Spread.pooled(scores[2:]) is None
