"""Whole searches: one device, several, joint, by multiply-adds; exact and evolutionary."""

import numpy as np
import pytest

from fofa.errors import UserError
from fofa.latency import DeviceRecord, Lut, Stability
from fofa.search.problem import Problem, Target
from fofa.search.solve import solve, table_notes
from fofa.space import macs, parse_architecture


def target(lut, limit=None, name="a.json") -> Target:
    return Target(name=name, lut=lut, limit_ms=limit)


def brute_force(accuracy, keep) -> str:
    """The best row that `keep` lets pass, by the definition of ties that tables with distinct
    accuracies need."""
    rows = [row for row in accuracy.architectures if keep(row)]
    return max(rows, key=lambda row: row.top1).name


def median_ms(lut, accuracy) -> float:
    return float(np.median(lut.latencies_ms(row.architecture for row in accuracy.architectures)))


@pytest.fixture
def accuracy(make_accuracy):
    """Distinct accuracies that do not simply follow the size."""
    rng = np.random.default_rng(0)
    values = iter(rng.permutation(2 * 243) / 10 + 20)
    return make_accuracy(top1=lambda architecture: float(next(values)))


def test_one_network_for_each_device(make_lut, accuracy) -> None:
    luts = [make_lut(), make_lut(device="slow", slowdown=3)]
    limit = median_ms(luts[1], accuracy)
    outcome = solve(Problem(accuracy=accuracy, targets=tuple(target(lut, limit) for lut in luts)))
    assert [row.device for row in outcome.results] == ["cpu", "slow"]
    for row, lut in zip(outcome.results, luts, strict=True):
        expected = brute_force(accuracy, lambda r, lut=lut: lut.latency_ms(r.architecture) <= limit)
        assert row.architecture == expected
        assert row.limit_ms == limit
        assert row.top1_source == "measured"
        assert row.method == "measured"
    assert outcome.method == "exact"
    assert outcome.seed is None


def test_a_joint_network_keeps_all_limits(make_lut, accuracy) -> None:
    luts = [make_lut(), make_lut(device="slow", slowdown=3)]
    limits = [median_ms(luts[0], accuracy), median_ms(luts[1], accuracy) * 0.8]
    targets = tuple(target(lut, limit) for lut, limit in zip(luts, limits, strict=True))
    rows = solve(Problem(accuracy=accuracy, targets=targets, joint=True)).results
    expected = brute_force(
        accuracy,
        lambda r: all(
            lut.latency_ms(r.architecture) <= limit for lut, limit in zip(luts, limits, strict=True)
        ),
    )
    assert [row.architecture for row in rows] == [expected, expected]
    assert all(row.latency_ms <= row.limit_ms for row in rows)


def test_a_limit_on_multiply_adds_needs_no_table(accuracy) -> None:
    limit = 2e8
    row = solve(Problem(accuracy=accuracy, max_macs=limit)).results[0]
    assert row.architecture == brute_force(accuracy, lambda r: r.macs <= limit)
    assert (row.device, row.latency_ms, row.method) == (None, None, None)
    assert row.macs == macs(parse_architecture(row.architecture))


def test_both_limits_together(make_lut, accuracy) -> None:
    lut, limit = make_lut(), 1.5e8
    ms = median_ms(lut, accuracy)
    row = solve(Problem(accuracy=accuracy, targets=(target(lut, ms),), max_macs=limit)).results[0]
    assert row.architecture == brute_force(
        accuracy, lambda r: r.macs <= limit and lut.latency_ms(r.architecture) <= ms
    )


def test_a_limit_exactly_at_a_latency_includes_it(make_lut, accuracy) -> None:
    lut = make_lut()
    for row in accuracy.architectures[::50]:
        limit = lut.latency_ms(row.architecture)
        found = solve(Problem(accuracy=accuracy, targets=(target(lut, limit),))).results[0]
        assert found.top1 >= row.top1


def test_the_front_rises_and_stays_within_the_limit(make_lut, accuracy) -> None:
    lut = make_lut()
    limit = median_ms(lut, accuracy)
    outcome = solve(Problem(accuracy=accuracy, targets=(target(lut, limit),)), pareto=True)
    latencies = [row.latency_ms for row in outcome.pareto]
    top1 = [row.top1 for row in outcome.pareto]
    assert latencies == sorted(latencies)
    assert top1 == sorted(top1)
    assert latencies[-1] <= limit
    assert outcome.results[0] == outcome.pareto[-1]
    whole = solve(Problem(accuracy=accuracy, targets=(target(lut),)), pareto=True)
    assert whole.results == ()
    assert whole.pareto[-1].top1 == max(row.top1 for row in accuracy.architectures)


def test_unattainable_budgets(make_lut, accuracy) -> None:
    with pytest.raises(UserError, match=r"within 0\.1 ms on cpu: the fastest, 22222@128, takes"):
        solve(Problem(accuracy=accuracy, targets=(target(make_lut(), 0.1),)))
    with pytest.raises(UserError, match="the smallest, 22222@128"):
        solve(Problem(accuracy=accuracy, max_macs=5))


def test_elastic_search(make_lut, make_predictor) -> None:
    lut, predictor = make_lut(kind="elastic"), make_predictor()
    compound = Problem(accuracy=predictor, targets=(target(lut, 10.0),))
    elastic = Problem(accuracy=predictor, targets=(target(lut, 10.0),), space="elastic", seed=1)
    exact, found = solve(compound), solve(elastic)
    assert exact.method == "exact"
    assert (found.method, found.seed) == ("evolution", 1)
    row = found.results[0]
    assert row.top1 >= exact.results[0].top1
    assert row.latency_ms == pytest.approx(lut.latency_ms(parse_architecture(row.timed_as)))
    assert row.latency_ms <= 10.0
    assert row.macs == macs(parse_architecture(row.architecture))
    assert row.top1_source == "predicted"
    assert solve(elastic).results == found.results


def test_a_joint_elastic_search(make_lut, make_predictor) -> None:
    luts = [make_lut(kind="elastic"), make_lut(kind="elastic", device="slow", slowdown=2)]
    targets = (target(luts[0], 12.0), target(luts[1], 16.0))
    problem = Problem(accuracy=make_predictor(), targets=targets, space="elastic", joint=True)
    rows = solve(problem).results
    assert rows[0].architecture == rows[1].architecture
    assert rows[0].latency_ms <= 12.0
    assert rows[1].latency_ms <= 16.0
    with pytest.raises(UserError, match="joint Pareto front"):
        solve(problem, pareto=True)


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
