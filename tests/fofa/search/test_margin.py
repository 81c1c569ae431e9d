import pytest

from fofa.errors import UserError
from fofa.latency import Lut, Validation
from fofa.search.margin import error_percent, limit_with_margin


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


def test_the_error_is_the_larger_of_mape_and_noise(make_lut) -> None:
    assert error_percent(validated(make_lut(), 1.5, 0.5)) == 1.5
    assert error_percent(validated(make_lut(), 0.5, 2.0)) == 2.0
    assert error_percent(make_lut()) is None


def test_a_latency_at_the_tightened_limit_keeps_the_limit_if_the_table_errs(make_lut) -> None:
    lut = validated(make_lut(), 2.0, 1.0)
    assert limit_with_margin(lut, 10, "noise") * 1.02 == pytest.approx(10)
    assert limit_with_margin(lut, 10, "none") == 10


def test_no_margin_without_validation(make_lut) -> None:
    with pytest.raises(UserError, match="was not validated"):
        limit_with_margin(make_lut(), 10, "noise")
