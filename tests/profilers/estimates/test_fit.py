"""What tables state is what the published latencies give, and it holds for other hardware."""

from pathlib import Path

import numpy as np
import pytest

from fofa.latency import Lut
from profilers.estimates.calibration import calibration
from profilers.estimates.fit import errors, fit, left_out_errors
from profilers.estimates.judge import host_share, spread_name, spread_of
from profilers.estimates.published import published_latencies

LUTS = Path(__file__).resolve().parents[3] / "luts"
ROWS = published_latencies()


@pytest.fixture(scope="module")
def by_hardware() -> np.ndarray:
    """Logarithmic error of each row, by a fit that saw nothing of its hardware."""
    return left_out_errors(ROWS, "hardware")


def of_kind(found: np.ndarray, name: str) -> np.ndarray:
    return found[[row.machine.factor_name == name for row in ROWS]]


def test_committed_constants_are_those_of_a_new_fit():
    made, committed = fit(ROWS), calibration().constants
    for name, value in committed.model_dump(exclude={"factors"}).items():
        assert getattr(made, name) == pytest.approx(value, rel=1e-3), name
    assert made.factors == pytest.approx(committed.factors, rel=1e-3)


@pytest.mark.parametrize("table", ["a100", "pascal"])
def test_a_table_states_the_error_on_hardware_that_was_left_out(table, by_hardware):
    lut = Lut.read(LUTS / f"{table}.json")
    stated, estimate = lut.validation, lut.validation.estimate
    kind = "fp16" if lut.protocol.dtype == "fp16" else "fp32"
    found = of_kind(by_hardware, f"{estimate.runtime_class}/{kind}")
    percent = 100 * np.abs(np.expm1(found))
    assert len(found) == estimate.measurements
    assert stated.mape_percent == pytest.approx(percent.mean(), abs=0.2)
    assert stated.max_percent == pytest.approx(percent.max(), abs=0.5)
    bias = 100 * np.expm1(np.median(found))
    assert estimate.bias_percent == pytest.approx(bias, abs=0.3)
    assert lut.bound(0.95).factor == pytest.approx(estimate.high_factor)


def test_gpus_that_were_left_out_are_met_within_the_goal(by_hardware):
    gpus = np.array([row.machine.hardware.kind == "gpu" for row in ROWS])
    assert 100 * np.abs(np.expm1(by_hardware[gpus])).mean() <= 30
    committed = calibration()
    inside = [
        abs(error)
        <= committed.spread.half_width(spread_name(row), host_share(row, committed.constants))
        for row, error in zip(ROWS, by_hardware, strict=True)
        if row.machine.hardware.kind == "gpu"
    ]
    assert np.mean(inside) >= 0.9
    for name in ("eager/fp32", "eager/fp16", "fused/fp32", "fused/fp16"):
        stated = committed.judgements[name]
        assert stated.left_out_hardware.inside_interval_percent >= 90
        assert stated.left_out_network.inside_interval_percent >= 90


def test_one_row_that_is_wrong_does_not_carry_the_fit_away():
    wrong = ROWS[0].model_copy(update={"latency_ms": 50 * ROWS[0].latency_ms})
    right, spoilt = fit(ROWS), fit([wrong, *ROWS[1:]])
    rest = ROWS[1:]
    moved = np.abs(errors(rest, spoilt) - errors(rest, right))
    assert moved.max() < 0.15


def test_without_measurements_the_assumptions_stand():
    few = [row for row in ROWS if row.hardware == "gtx1080ti"]
    fitted = fit(few)
    assert fitted.factors["fused/fp16"] == pytest.approx(1.0)
    assert fitted.factors["eager/fp16"] == pytest.approx(1.0)
    assert fitted.factors["cpu"] == 1.0


def test_fewer_gpus_make_a_wider_interval(by_hardware):
    constants = calibration().constants
    excess = {"eager": 0.0, "fused": 0.0}
    some = [i for i, row in enumerate(ROWS) if row.hardware in ("v100", "t4", "rtx4090")]
    few = spread_of([ROWS[i] for i in some], by_hardware[some], constants, excess)
    many = spread_of(ROWS, by_hardware, constants, excess)
    assert few.quantile["eager"] > many.quantile["eager"]
    assert many.half_width("eager", 1.0) > many.half_width("eager", 0.0)
