"""Limits on energy: by each device's own table, exact by brute force, kept by evolution."""

import random

import numpy as np
import pytest
from made_up_tables import with_energies

from fofa.errors import UserError
from fofa.latency import Lut
from fofa.search.costs import energy_costs
from fofa.search.problem import Problem, Target
from fofa.search.solve import solve
from fofa.space.encoding import compound_architectures, compound_population

RESOLUTIONS = (128, 160)


def counted(lut: Lut, seed: int = 0) -> Lut:
    """Energies that do not follow the latencies."""
    rng = random.Random(seed)
    return with_energies(lut, lambda entry: entry.latency_ms * rng.uniform(1, 9))


@pytest.fixture(scope="module")
def accuracy(make_accuracy):
    rng = np.random.default_rng(1)
    return make_accuracy(top1=lambda a: float(rng.uniform(40, 80)))


@pytest.fixture(scope="module")
def luts(make_lut):
    return {"a": counted(make_lut()), "b": counted(make_lut(device="other"), seed=5)}


def targets(luts, *names, limit_ms=None):
    return tuple(Target(name=name, lut=luts[name], limit_ms=limit_ms) for name in names)


def median_mj(lut, accuracy):
    return float(np.median([lut.energy_mj(row.architecture) for row in accuracy.architectures]))


def test_costs_are_the_sums_that_the_table_gives(luts):
    population = compound_population(RESOLUTIONS)
    expected = [luts["a"].energy_mj(a) for r in RESOLUTIONS for a in compound_architectures(r)]
    found = energy_costs(luts["a"], RESOLUTIONS, kind="compound").of(population)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("share", [0.7, 1.0, 1.2])
@pytest.mark.parametrize("joint", [False, True])
def test_the_best_within_energy_and_latency_is_that_of_brute_force(accuracy, luts, share, joint):
    limit_mj = share * median_mj(luts["a"], accuracy)
    limit_ms = 1.1 * float(
        np.median(luts["a"].latencies_ms(row.architecture for row in accuracy.architectures))
    )
    both = targets(luts, "a", "b", limit_ms=limit_ms)
    rows = solve(
        Problem(accuracy=accuracy, targets=both, max_energy_mj=limit_mj, joint=joint)
    ).results

    def best(*names):
        return max(
            (row.top1, row.name)
            for row in accuracy.architectures
            for one in [[luts[name] for name in names]]
            if all(lut.energy_mj(row.architecture) <= limit_mj for lut in one)
            and all(lut.latency_ms(row.architecture) <= limit_ms for lut in one)
        )

    expected = [best("a", "b")] * 2 if joint else [best("a"), best("b")]
    assert [(row.top1, row.architecture) for row in rows] == expected
    known = {row.name: row.architecture for row in accuracy.architectures}
    for row in rows:
        energy = luts[row.lut].energy_mj(known[row.architecture])
        assert row.energy_mj == pytest.approx(energy)
        assert row.max_energy == limit_mj


def test_the_front_is_over_accuracy_latency_and_energy_where_that_is_limited(accuracy, luts):
    plain = Problem(accuracy=accuracy, targets=targets(luts, "a"))
    limited = Problem(accuracy=accuracy, targets=targets(luts, "a"), max_energy_mj=1e9)
    front = {row.architecture for row in solve(limited, pareto=True).pareto}
    lut = luts["a"]
    rows = accuracy.architectures
    costs = [(lut.latency_ms(row.architecture), lut.energy_mj(row.architecture)) for row in rows]
    expected = {
        row.name
        for row, cost in zip(rows, costs, strict=True)
        if not any(
            other.top1 > row.top1
            and all(a <= b * (1 + 1e-12) for a, b in zip(c, cost, strict=True))
            for other, c in zip(rows, costs, strict=True)
        )
    }
    assert front == expected
    assert len(front) > len(solve(plain, pareto=True).pareto)


def test_an_elastic_search_keeps_the_limit(make_lut, make_predictor):
    lut = counted(make_lut(kind="elastic"))
    costs = energy_costs(lut, RESOLUTIONS, kind="elastic")
    least = float(costs.of(costs.cheapest()).min())
    limit = least + (costs.largest() - least) / 3
    problem = Problem(
        accuracy=make_predictor(),
        space="elastic",
        targets=targets({"a": lut}, "a"),
        max_energy_mj=limit,
    )
    [row] = solve(problem).results
    assert row.energy_mj <= limit * (1 + 1e-9)
    [free] = solve(Problem(accuracy=make_predictor(), space="elastic", max_macs=1e12)).results
    assert free.top1 >= row.top1


def test_what_cannot_be_is_one_line(accuracy, luts, make_lut):
    with pytest.raises(UserError, match="the table of cpu has no energies: fofa-profile --energy"):
        Problem(accuracy=accuracy, targets=targets({"a": make_lut()}, "a"), max_energy_mj=1.0)
    with pytest.raises(UserError, match="needs a latency table with energies"):
        Problem(accuracy=accuracy, max_energy_mj=1.0)
    with pytest.raises(UserError, match="a limit on energy of 0: expected a finite number above 0"):
        Problem(accuracy=accuracy, targets=targets(luts, "a"), max_energy_mj=0.0)
    small = Problem(accuracy=accuracy, targets=targets(luts, "a"), max_energy_mj=0.01)
    with pytest.raises(
        UserError, match=r"no architecture is within 0\.01 mJ on cpu: the most frug"
    ):
        solve(small)
