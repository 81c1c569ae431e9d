"""Size and accuracy: what of their correlation the noise of a test set hides."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.tables.collect import AccuracySource
from bench.tables.trend import SubnetMeans, Trend, reliability
from fofa.accuracy import AccuracyTable
from fofa.outcomes import Outcomes


def outcomes_of(true: np.ndarray, images: int, *, alike: float, seed: int = 0) -> np.ndarray:
    """Outcomes [len(true), images] of networks of these accuracies, a share of images in common."""
    rng = np.random.default_rng(seed)
    common = rng.random(images) < alike
    draws = np.where(common, rng.random(images), rng.random((len(true), images)))
    return draws < true[:, None]


def test_reliability_is_the_correlation_with_another_sample() -> None:
    true = np.linspace(0.62, 0.68, 200)
    for images in (500, 2000, 8000):
        one, other = (outcomes_of(true, images, alike=0.7, seed=seed) for seed in (0, 1))
        seen = np.corrcoef(one.mean(axis=1), other.mean(axis=1))[0, 1]
        assert reliability(one.astype(float)) == pytest.approx(seen, abs=0.12)
    assert reliability(outcomes_of(np.full(200, 0.6), 2000, alike=0.7).astype(float)) < 0.25
    assert reliability(np.ones((3, 10))) == 0


def test_the_corrected_correlation_is_that_of_true_accuracies() -> None:
    rng = np.random.default_rng(3)
    macs = np.linspace(1, 2, 300)
    true = 0.6 + 0.03 * macs + rng.normal(0, 0.008, 300)
    right = outcomes_of(true, 2000, alike=0.8).astype(float)
    means = SubnetMeans(tuple(map(str, macs)), macs, 100 * right.mean(axis=1), 1, right)
    trend = means.trend()
    assert trend is not None
    wanted = np.corrcoef(macs, true)[0, 1]
    assert trend.correlation < wanted - 0.03
    assert trend.corrected == pytest.approx(wanted, abs=0.06)
    assert trend.text.startswith(f"{trend.correlation:.2f}, without the noise of the test images")


def test_nothing_is_corrected_where_networks_are_alike() -> None:
    assert Trend(1.0, 0.0, 0.2, 0.1).text == (
        "0.20, but they are too alike to be told apart on these test images"
    )
    assert Trend(1.0, 0.0, 0.2, None).text == "0.20"
    assert Trend(-1.0, 0.0, -0.9, 0.5).corrected == -1.0


def test_outcomes_of_every_seed_are_needed(
    trained_within: Callable[..., AccuracyTable],
) -> None:
    table = trained_within("compofa", 0.1, resolutions=(56,))
    names = [row.architecture.name for row in table.architectures]
    right = outcomes_of(np.array([row.top1 / 100 for row in table.architectures]), 40, alike=0.5)
    images = hashlib.sha256(b"labels").hexdigest()
    outcomes = Outcomes.of(images, dict(zip(names, right, strict=True)))
    kept = AccuracySource(Path("a.json"), table, outcomes=outcomes)
    means = SubnetMeans.of([kept], 56)
    assert means.right is not None
    for name, row in zip(means.names, means.right, strict=True):
        assert np.array_equal(row, right[names.index(name)])
    elsewhere = outcomes.model_copy(update={"images": "0" * 64})
    for other in (None, elsewhere):
        assert SubnetMeans.of([kept, replace(kept, outcomes=other)], 56).right is None
    both = SubnetMeans.of([kept, kept], 56)
    assert np.array_equal(both.right, means.right)
