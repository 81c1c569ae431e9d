"""Errors of tables within and between sessions, and bounds that hold for single networks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fofa.space import Architecture, compound_subnets
from fofa.validation import Validation, bound
from profilers.tables.validate import (
    OtherSession,
    additive_deviations,
    centres,
    session_errors,
    uncertainty,
)

SUBNETS = list(compound_subnets())
NETWORKS = [Architecture(subnet, size) for size in (128, 160) for subnet in SUBNETS[:8]]
latencies = st.lists(st.integers(1, 1000), min_size=2, max_size=30, unique=True)


def errors_of(predicted, measured):
    return session_errors([160] * len(measured), predicted, measured)


def test_errors_are_percentages_of_the_measured_time():
    record = session_errors([128, 160, 160], [10.9, 19.2, 30.6], [10.0, 20.0, 30.0])
    assert record.networks == 3
    assert record.mape_percent == pytest.approx(5)  # of 9%, 4% and 2%
    assert record.max_percent == pytest.approx(9)
    assert record.within_5_percent == pytest.approx(200 / 3)
    assert record.within_10_percent == pytest.approx(100)
    assert record.kendall_tau == 1
    assert record.bias_percent == {"128": pytest.approx(9), "160": pytest.approx(-1)}
    assert record.slower_95_percent == pytest.approx(100 * (20 / 19.2 - 1))


@given(latencies)
def test_a_perfect_table_has_no_error(measured):
    record = errors_of(measured, measured)
    assert (record.mape_percent, record.max_percent, record.slower_95_percent) == (0, 0, 0)
    assert record.kendall_tau == pytest.approx(1)


@given(latencies)
def test_a_table_in_reverse_order_has_tau_minus_one(measured):
    assert errors_of(2000 - np.array(measured), measured).kendall_tau == pytest.approx(-1)


def test_a_single_network_has_no_rank():
    assert errors_of([1.0], [1.0]).kendall_tau is None


def another(factor, spread=0.0):
    """A session `factor` as slow as the table's, whose moments differ by `spread`."""
    times = {network: 1.0 + index for index, network in enumerate(NETWORKS)}
    rng = np.random.default_rng(0)
    visits = {n: ms * factor * np.exp(spread * rng.standard_normal(40)) for n, ms in times.items()}
    return OtherSession(visits_ms=visits, again=times)


def test_a_slower_session_is_seen_as_such_and_the_middle_is_half_way():
    sessions = [another(1.04)]
    assert sessions[0].shifts() == {size: pytest.approx(np.log(1.04)) for size in (128, 160)}
    assert centres(sessions) == {size: pytest.approx(1.04**0.5) for size in (128, 160)}
    assert centres([]) == {}


def test_sessions_that_differ_more_and_a_restless_machine_widen_the_bound():
    residuals, posterior = np.array([0.005, -0.005] * 8), np.full(16, 1e-6)

    def known(sessions, drift=0.0):
        return uncertainty(residuals, posterior, sessions, drift)

    calm, apart, restless = (
        known(sessions) for sessions in ([another(1.0)], [another(1.1)], [another(1.0, 0.03)])
    )
    assert calm.session_percent < apart.session_percent
    assert restless.moment_percent == pytest.approx(3, rel=0.2)
    assert calm.moment_percent == pytest.approx(0)
    assert calm.network_percent == pytest.approx(0.5)
    # One session alone: what is assumed of others, and the drift that was seen.
    assert known([]).session_percent > calm.session_percent
    assert known([], drift=3.29).moment_percent == pytest.approx(1, rel=0.01)


@given(st.integers(0, 2**32 - 1))
def test_shares_of_blocks_add_up_to_at_least_every_networks_deviation(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, (60, 12)).astype(float)
    counts[:, 0] = 1
    base = rng.uniform(0.1, 2, 12)
    wanted = 0.03 * (counts @ base) * rng.uniform(0.8, 1.3, 60)
    shares = additive_deviations(counts, base, wanted)
    assert np.all(shares >= 0)
    assert np.all(counts @ shares >= wanted * (1 - 1e-9))
    assert (counts @ shares).sum() <= 1.3 / 0.8 * wanted.sum()


def validation(**fields):
    values = {
        "networks": 10,
        "mape_percent": 2.0,
        "max_percent": 9.0,
        "within_5_percent": 90,
        "within_10_percent": 100,
        "kendall_tau": 0.99,
        "noise_percent": 1.0,
    }
    return Validation(**values | fields)


def test_a_table_of_one_session_is_bounded_by_its_mean_error_and_its_drift():
    plain, drifting = (bound(validation(), 0.95, drift) for drift in (None, 8.0))
    assert plain.factor == pytest.approx(np.exp(1.645 * 0.02 * np.sqrt(np.pi / 2)), rel=1e-3)
    assert drifting.factor > plain.factor
    assert bound(validation(), 0.05, None).factor == pytest.approx(1 / plain.factor)
