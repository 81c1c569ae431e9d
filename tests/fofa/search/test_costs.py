import random

import made_up_tables
import numpy as np
import pytest

from fofa.errors import UserError
from fofa.latency import Calibration, Lut
from fofa.search.costs import latency_costs, macs_costs
from fofa.space import Architecture, NetworkConfig, SearchSpace, macs
from fofa.space.encoding import compound_population, encode
from fofa.validation import Uncertainty

SPACE = SearchSpace(kind="elastic", resolutions=(128, 160))


def test_latencies_are_the_tables_own(make_lut) -> None:
    lut = make_lut(kind="elastic", calibration={"128": Calibration(scale=1.25, offset_ms=-0.5)})
    rng = random.Random(0)
    architectures = [SPACE.sample(rng) for _ in range(200)]
    costs = latency_costs(lut).of(encode(architectures, (128, 160)))
    assert costs == pytest.approx(lut.latencies_ms(architectures), rel=1e-12)


def test_a_compound_table_times_the_compound_space(make_lut) -> None:
    lut = make_lut()
    costs = latency_costs(lut).of(compound_population((128, 160)))
    expected = lut.latencies_ms(SearchSpace(resolutions=(128, 160)).architectures())
    assert costs == pytest.approx(expected, rel=1e-12)


def test_multiply_adds_are_the_spaces_own() -> None:
    config = NetworkConfig(width_mult=0.5, num_classes=10)
    rng = random.Random(1)
    architectures = [SPACE.sample(rng) for _ in range(50)]
    counted = macs_costs(config, (128, 160)).of(encode(architectures, (128, 160)))
    assert counted.tolist() == [macs(architecture, config) for architecture in architectures]


def test_the_cheapest_and_the_dearest_bound_all_others(make_lut) -> None:
    costs = latency_costs(make_lut(kind="elastic"))
    rng = random.Random(2)
    values = costs.of(encode([SPACE.sample(rng) for _ in range(500)], (128, 160)))
    assert costs.of(costs.cheapest()).min() <= values.min()
    assert costs.largest() >= values.max()


def test_a_missing_block_is_an_error_that_names_it(make_lut) -> None:
    lut = make_lut()
    without = Lut(**(dict(lut) | {"entries": lut.entries[:-1]}))
    with pytest.raises(UserError, match=f"no entry for {lut.entries[-1].key}"):
        latency_costs(without)
    with pytest.raises(UserError, match="kernel 5"):
        latency_costs(lut, kind="elastic")


def test_a_calibration_that_leaves_no_time_is_refused(make_lut) -> None:
    lut = make_lut(calibration={"160": Calibration(scale=1.0, offset_ms=-100.0)})
    with pytest.raises(UserError, match=r"the table of cpu is wrong: .* at 160 px"):
        latency_costs(lut)


def test_populations_of_other_resolutions_are_refused(make_lut) -> None:
    with pytest.raises(ValueError, match="resolutions"):
        latency_costs(make_lut()).of(compound_population((160,)))


@pytest.mark.parametrize("kind", ["compound", "elastic"])
@pytest.mark.parametrize("level", [0.05, 0.9, 0.95])
def test_bounds_of_all_are_those_of_each(make_lut, kind, level) -> None:
    lut = with_deviations(make_lut(kind=kind))
    rng = random.Random(0)
    architectures = [lut.search_space.sample(rng) for _ in range(50)]
    bound = lut.bound(level)
    each = [
        bound.factor * lut.latency_ms(a) + bound.deviations * lut.deviation_ms(a)
        for a in architectures
    ]
    found = latency_costs(lut, level=level).of(encode(architectures, (128, 160)))
    np.testing.assert_allclose(found, each)
    assert (np.array(each) > lut.latencies_ms(architectures)).all() == (level > 0.5)


def with_deviations(lut):
    """The table with a twentieth of every entry as its deviation, five degrees of freedom."""
    validation = made_up_tables.make_validation(2.0).model_copy(
        update={
            "uncertainty": Uncertainty(
                session_percent=4, moment_percent=3, network_percent=0, degrees_of_freedom=5
            )
        }
    )
    entries = [
        entry.model_copy(update={"deviation_ms": entry.latency_ms / 20}) for entry in lut.entries
    ]
    return lut.model_copy(update={"entries": entries, "validation": validation})


def test_intervals_hold_what_students_distribution_says(make_lut) -> None:
    lut = with_deviations(make_lut())
    architecture = Architecture(lut.search_space.smallest, 128)
    latency = lut.latency_ms(architecture)
    low, high = lut.interval_ms(architecture)
    assert low / latency == pytest.approx(1 - 2.571 / 20, rel=1e-3)
    assert high / latency == pytest.approx(1 + 2.571 / 20, rel=1e-3)
    assert make_lut().interval_ms(architecture) is None
