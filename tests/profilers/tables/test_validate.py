import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profilers.tables.validate import noise_percent, validation_record

latencies = st.lists(st.integers(1, 1000), min_size=2, max_size=30, unique=True)


def test_errors_are_percentages_of_the_measured_time():
    record = validation_record([10.9, 19.2, 30.6], [10.0, 20.0, 30.0], [(10.0, 10.2)])
    assert record.networks == 3
    assert record.mape_percent == pytest.approx(5)  # of 9%, 4% and 2%
    assert record.max_percent == pytest.approx(9)
    assert record.within_5_percent == pytest.approx(200 / 3)
    assert record.within_10_percent == pytest.approx(100)
    assert record.kendall_tau == 1
    assert record.noise_percent == pytest.approx(100 * 0.2 / 10.1)


@given(latencies)
def test_a_perfect_table_has_no_error(measured):
    record = validation_record(measured, measured, [])
    assert (record.mape_percent, record.max_percent, record.noise_percent) == (0, 0, 0)
    assert record.kendall_tau == pytest.approx(1)


@given(latencies)
def test_a_table_in_reverse_order_has_tau_minus_one(measured):
    record = validation_record(2000 - np.array(measured), measured, [])
    assert record.kendall_tau == pytest.approx(-1)


def test_a_single_network_has_no_rank():
    assert validation_record([1.0], [1.0], []).kendall_tau is None


def test_noise_is_symmetric():
    assert noise_percent([(1.0, 1.1)]) == noise_percent([(1.1, 1.0)])
