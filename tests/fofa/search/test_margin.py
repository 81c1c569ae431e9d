import pytest

from fofa.errors import UserError
from fofa.latency import DeviceRecord, Lut, Stability, Validation
from fofa.search.margin import limit_with_margin, table_notes


def validated(lut: Lut, mape: float, noise: float) -> Lut:
    validation = Validation(
        networks=10,
        mape_percent=mape,
        max_percent=9,
        within_5_percent=90,
        within_10_percent=100,
        kendall_tau=0.99,
        noise_percent=noise,
    )
    return Lut(**(dict(lut) | {"validation": validation}))


def test_a_latency_at_the_tightened_limit_keeps_the_limit_if_the_table_errs(make_lut) -> None:
    lut = validated(make_lut(), 2.0, 1.0)
    assert limit_with_margin(lut, 10, "noise") * 1.02 == pytest.approx(10)
    assert limit_with_margin(lut, 10, "none") == 10


def test_no_margin_without_validation(make_lut) -> None:
    with pytest.raises(UserError, match="was not validated"):
        limit_with_margin(make_lut(), 10, "noise")


def test_other_hardware_and_unstable_measurements_are_said(make_lut) -> None:
    lut = make_lut()
    assert table_notes(lut) == ()
    device = DeviceRecord(
        requested="epyc7763", measured_on={"cpu": {"model": "A CPU"}}, matches=False
    )
    other = Lut(**(dict(lut) | {"device": device}))
    assert table_notes(other) == (
        "The epyc7763 table was measured on A CPU, which is not what its name expects.",
    )
    stability = Stability(stable=False, reasons=["the clock moved"])
    (note,) = table_notes(Lut(**(dict(lut) | {"stability": stability})))
    assert "unstable: the clock moved" in note
