"""Robust statistics: properties that must hold for any samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profilers.measuring.statistics import (
    huber_weights,
    mad,
    noise_percent,
    running_median,
    summarise,
)

times = st.floats(min_value=1e-3, max_value=1e3)
visits = st.lists(st.lists(times, min_size=1, max_size=6), min_size=1, max_size=20)


@given(visits)
def test_the_summary_lies_within_the_samples(values):
    summary = summarise(values)
    flat = [sample for visit in values for sample in visit]
    assert min(flat) <= summary.median_ms <= max(flat)
    assert 0 <= summary.mad_ms <= max(flat) - min(flat)
    assert (summary.visits, summary.samples) == (len(values), len(flat))


@given(visits, st.floats(min_value=0.01, max_value=100))
def test_the_summary_scales_with_the_unit(values, factor):
    scaled = summarise([[factor * sample for sample in visit] for visit in values])
    assert scaled.median_ms == pytest.approx(factor * summarise(values).median_ms)
    assert scaled.mad_ms == pytest.approx(factor * summarise(values).mad_ms, abs=1e-9)


@given(st.lists(times, min_size=5, max_size=30), st.floats(min_value=1, max_value=1e6))
def test_wild_visits_short_of_half_stay_within_the_good_ones(good, wild):
    bad = [[max(good) * (1 + wild)]] * (len(good) - 1)
    summary = summarise([[value] for value in good] + bad)
    assert min(good) <= summary.median_ms <= max(good)


@given(visits, st.randoms())
def test_order_does_not_matter(values, rng):
    shuffled = [rng.sample(visit, len(visit)) for visit in rng.sample(values, len(values))]
    assert summarise(shuffled) == summarise(values)


def test_an_empty_visit_is_a_fault():
    with pytest.raises(ValueError, match="no samples"):
        summarise([])
    with pytest.raises(ValueError, match="no samples"):
        summarise([[1.0], []])


@given(st.lists(times, min_size=1, max_size=40), st.sampled_from([1, 3, 9, 15]))
def test_running_median_follows_its_definition(values, window):
    reach = window // 2
    expected = [np.median(values[max(0, i - reach) : i + reach + 1]) for i in range(len(values))]
    assert running_median(np.array(values), window) == pytest.approx(expected)


def test_mad_is_the_median_deviation():
    assert mad([1.0, 2.0, 4.0, 8.0, 100.0]) == 3.0


@given(st.lists(st.floats(min_value=-1, max_value=1), min_size=1, max_size=20))
def test_huber_weights_fall_with_the_residual(values):
    residuals = np.array(values)
    weights = huber_weights(residuals, floor=0.01)
    assert np.all((weights > 0) & (weights <= 1))
    order = np.argsort(np.abs(residuals), kind="stable")
    assert np.all(np.diff(weights[order]) <= 1e-12)


def test_noise_is_symmetric():
    assert noise_percent([(1.0, 1.1)]) == noise_percent([(1.1, 1.0)])
