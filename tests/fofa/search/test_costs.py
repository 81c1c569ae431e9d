import random

import pytest

from fofa.errors import UserError
from fofa.latency import Calibration, Lut
from fofa.search.costs import latency_costs, macs_costs
from fofa.space import NetworkConfig, SearchSpace, macs
from fofa.space.encoding import compound_population, encode

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
