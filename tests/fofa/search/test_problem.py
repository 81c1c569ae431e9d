"""Problems that make sense, limits with a margin, and what several limits leave together."""

import numpy as np
import pytest

from fofa.errors import UserError
from fofa.latency import Lut
from fofa.search.costs import latency_costs
from fofa.search.problem import Constraint, Problem, Target, cheapest_within, within_limits
from fofa.validation import Validation

RESOLUTIONS = (128, 160)


def target(lut: Lut, limit: float | None = None) -> Target:
    return Target(name="a.json", lut=lut, limit_ms=limit)


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan"), float("inf")])
def test_limits_have_to_be_finite_and_positive(make_lut, make_accuracy, limit) -> None:
    with pytest.raises(UserError, match="expected a finite number above 0"):
        Problem(accuracy=make_accuracy(), targets=(target(make_lut(), limit),))
    with pytest.raises(UserError, match="expected a finite number above 0"):
        Problem(accuracy=make_accuracy(), max_macs=limit)


def test_problems_that_make_no_sense(make_lut, make_accuracy) -> None:
    lut, accuracy = make_lut(), make_accuracy()
    with pytest.raises(UserError, match="two or more latency tables"):
        Problem(accuracy=accuracy, targets=(target(lut, 1.0),), joint=True)
    with pytest.raises(UserError, match="needs a predictor"):
        Problem(accuracy=accuracy, targets=(target(lut, 1.0),), space="elastic")
    with pytest.raises(UserError, match="not validated"):
        Problem(accuracy=accuracy, targets=(target(lut, 1.0),), margin="noise")


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


def test_a_margin_is_a_quantile_of_single_networks_not_the_mean_error(make_lut, make_accuracy):
    lut = validated(make_lut(), 2.0, 1.0)
    levels = {
        margin: Problem(accuracy=make_accuracy(), targets=(target(lut, 10),), margin=margin).level
        for margin in ("none", "90", "95", "noise")
    }
    assert levels == {"none": None, "90": 0.90, "95": 0.95, "noise": 0.95}
    plain, *bounds = (latency_costs(lut, level=level).fixed for level in (None, 0.9, 0.95))
    # A mean error of 2% is a standard deviation of 2.5%.
    assert np.log(bounds[0] / plain) == pytest.approx(1.2816 * 0.02 * np.sqrt(np.pi / 2), rel=1e-3)
    assert np.log(bounds[1] / plain) == pytest.approx(1.6449 * 0.02 * np.sqrt(np.pi / 2), rel=1e-3)


def test_limits_that_exclude_each_other(make_lut) -> None:
    """Each is attainable alone: one device is fast at 128 px only, the other at 160 px only."""
    luts = [make_lut(kind="elastic") for _ in range(2)]
    tables = [latency_costs(lut) for lut in luts]
    for table, slow in zip(tables, (0, 1), strict=True):
        table.fixed[slow] += 1000
    with pytest.raises(UserError, match="together"):
        cheapest_within([Constraint(table, 100, "ms", "x") for table in tables], RESOLUTIONS)


def test_limits_that_the_cheapest_by_their_sum_breaks(make_lut) -> None:
    """One device is slow with large kernels, the other with small ones, least so in late slots."""
    tables = [latency_costs(make_lut(kind="elastic", resolutions=(128,))) for _ in range(2)]
    large = np.arange(9) >= 6
    for slot in range(20):
        tables[0].blocks[0, slot, 1:] = np.where(large, 2.0, 1.0)
        tables[1].blocks[0, slot, 1:] = np.where(large, 1.0, 3.0 - slot / 20)
    # Ten blocks: with five large kernels first, five small ones last, 5 and 6.65 above the least.
    limits = [
        Constraint(table, float(table.of(table.cheapest())[0]) + room, "ms", "x")
        for table, room in zip(tables, (5.0, 7.0), strict=True)
    ]
    by_sum = sum(limit.costs.blocks / limit.limit for limit in limits)
    assert (by_sum[0, :18, 1:].argmin(axis=1) == 6).all()  # the last two are not of depth 2
    found = cheapest_within(limits, (128,))
    assert within_limits(found, limits).all()
