"""Problems that make sense, limits with a margin, and what several limits leave together."""

import numpy as np
import pytest

from fofa.errors import UserError
from fofa.latency import Lut, Validation
from fofa.search.costs import latency_costs
from fofa.search.problem import Constraint, Problem, Target, cheapest_within, within_limits

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


def test_a_latency_at_the_tightened_limit_keeps_the_limit_if_the_table_errs(make_lut) -> None:
    lut = validated(make_lut(), 2.0, 1.0)
    assert target(lut, 10).limit_with_margin("noise") * 1.02 == pytest.approx(10)
    assert target(lut, 10).limit_with_margin("none") == 10


def test_no_margin_without_validation(make_lut) -> None:
    with pytest.raises(UserError, match="was not validated"):
        target(make_lut(), 10).limit_with_margin("noise")


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
