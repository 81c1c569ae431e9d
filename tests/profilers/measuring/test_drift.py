import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profilers.measuring.drift import correct, estimate_drift
from profilers.measuring.samples import Visit


def visits(course, items=("canary", "a", "b")):
    """Items of 1, 2, 3 ms in turn, slowed down by `course` (one value a visit)."""
    return [
        Visit(items[k % len(items)], float(k), ((1.0 + k % len(items)) * slow,) * 3)
        for k, slow in enumerate(course)
    ]


def test_a_steady_machine_has_no_drift():
    drift = estimate_drift(visits([1.0] * 60), "canary")
    assert drift.network_slowness == pytest.approx(np.ones(60))
    assert drift.canary_percent == drift.residual_percent == 0


def test_a_slower_second_half_is_seen_and_taken_out():
    made = visits([1.0] * 90 + [1.3] * 90)
    drift = estimate_drift(made, "canary")
    assert drift.canary_percent == pytest.approx(30)
    assert drift.at(170, "a") / drift.at(10, "a") == pytest.approx(1.3)
    corrected = [correct(visit, drift)[0] for visit in made if visit.item == "a"]
    middle = len(corrected) // 2
    assert np.median(corrected[:middle]) == pytest.approx(np.median(corrected[middle:]))


def test_what_only_networks_feel_is_taken_out_of_networks_alone():
    """A neighbour takes cache: the networks "canary" and "a" slow down, the block "b" does not."""
    slow = [1.0] * 90 + [1.2] * 90
    made = [
        Visit(visit.item, visit.seconds, tuple(ms * slow[k] for ms in visit.samples_ms))
        if visit.item != "b"
        else visit
        for k, visit in enumerate(visits([1.0] * 60 + [1.5] * 120))
    ]
    drift = estimate_drift(made, "canary", blocks={"b"})
    assert drift.residual_percent < 2 < 50 < drift.canary_percent
    for item, size in (("canary", 1.0), ("a", 2.0), ("b", 3.0)):
        corrected = np.array([correct(visit, drift)[0] for visit in made if visit.item == item])
        scatter = np.abs(corrected / np.median(corrected) - 1)
        assert np.median(scatter) < 0.01, (item, size)


@given(st.lists(st.floats(min_value=0.5, max_value=2), min_size=6, max_size=60))
def test_any_course_gives_a_finite_positive_correction(course):
    drift = estimate_drift(visits(course), "canary")
    slowness = drift.network_slowness
    assert np.all(np.isfinite(slowness) & (slowness > 0))
    assert drift.canary_percent >= 0


@given(st.floats(min_value=0.1, max_value=10))
def test_the_machines_speed_as_such_is_no_drift(factor):
    rng = np.random.default_rng(0)
    course = rng.uniform(0.9, 1.1, 60)
    one = estimate_drift(visits(course), "canary")
    other = estimate_drift(visits(course * factor), "canary")
    assert other.network_slowness == pytest.approx(one.network_slowness)


def test_the_canary_must_have_been_visited():
    with pytest.raises(ValueError, match="no visit of the canary"):
        estimate_drift(visits([1.0] * 5), "somebody else")
