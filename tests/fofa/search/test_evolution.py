import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fofa.errors import UserError
from fofa.search.costs import latency_costs
from fofa.search.evolution import (
    EvolutionConfig,
    best_of_each_resolution,
    evolve,
    random_population,
)
from fofa.search.problem import Constraint, cheapest_within, within_limits
from fofa.space.encoding import ABSENT, Population, compound_population

RESOLUTIONS = (128, 160)
SMALL = EvolutionConfig(population=32, generations=5)


@pytest.fixture
def constraint(make_lut):
    """A limit in the lower third of the space."""
    costs = latency_costs(make_lut(kind="elastic"))
    least = float(costs.of(costs.cheapest()).min())
    return Constraint(costs, least + (costs.largest() - least) / 3, "ms", "cpu")


def test_the_result_is_within_the_limit_and_seeded(make_predictor, constraint) -> None:
    predictor = make_predictor()
    first, again, other = (
        evolve(predictor.predict, [constraint], RESOLUTIONS, np.random.default_rng(seed), SMALL)
        for seed in (3, 3, 4)
    )
    assert first.score == again.score
    assert first.best.architecture(0) == again.best.architecture(0)
    assert within_limits(other.best, [constraint]).all()
    assert constraint.costs.of(first.best)[0] <= constraint.limit
    assert first.score == pytest.approx(predictor.predict(first.best)[0], rel=1e-6)


def test_everything_that_is_scored_first_is_within_the_limit(make_predictor, constraint) -> None:
    seen: list[Population] = []

    def score(population: Population) -> np.ndarray:
        seen.append(population)
        return make_predictor().predict(population)

    evolve(score, [constraint], RESOLUTIONS, np.random.default_rng(0), SMALL)
    for generation in seen[: SMALL.generations + 1]:
        assert within_limits(generation, [constraint]).all()
        assert len(np.unique(generation.keys())) > 1


def test_the_last_generation_counts(constraint) -> None:
    """A score that prefers what comes later finds its best in the last generation."""
    calls = 0

    def score(population: Population) -> np.ndarray:
        nonlocal calls
        calls += 1
        # After the last generation nothing improves, so that local search keeps its start.
        return np.full(len(population), float(calls if calls <= SMALL.generations + 1 else 0))

    found = evolve(score, [constraint], RESOLUTIONS, np.random.default_rng(0), SMALL)
    assert found.score == SMALL.generations + 1


def test_evolution_beats_the_compound_space(make_predictor, constraint) -> None:
    predictor = make_predictor()
    compound = compound_population(RESOLUTIONS)
    inside = compound[np.flatnonzero(within_limits(compound, [constraint]))]
    found = evolve(predictor.predict, [constraint], RESOLUTIONS, np.random.default_rng(0), SMALL)
    assert found.score >= predictor.predict(inside).max()


def test_the_tightest_limit_is_met_exactly(make_predictor, constraint) -> None:
    cheapest = constraint.costs.cheapest()
    least = float(constraint.costs.of(cheapest).min())
    tight = Constraint(constraint.costs, least, "ms", "cpu")
    found = evolve(make_predictor().predict, [tight], RESOLUTIONS, np.random.default_rng(0), SMALL)
    assert constraint.costs.of(found.best)[0] == pytest.approx(least)


def test_an_unattainable_limit_names_the_fastest(make_predictor, constraint) -> None:
    costs = constraint.costs
    cheapest = costs.cheapest()
    best = int(costs.of(cheapest).argmin())
    with pytest.raises(UserError) as error:
        cheapest_within([Constraint(costs, 0.001, "ms", "cpu")], RESOLUTIONS)
    name = Population(cheapest.codes, cheapest.resolution_index, RESOLUTIONS).architecture(best)
    assert f"the fastest, {name.name}, takes {costs.of(cheapest)[best]:.6g} ms" in str(error.value)


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_random_populations_are_valid(seed: int, num: int) -> None:
    population = random_population(num, RESOLUTIONS, np.random.default_rng(seed))
    for row in range(num):
        subnet = population.architecture(row).subnet  # raises where it is none
        assert [code for code in population.codes[row] if code != ABSENT] != []
        assert len(subnet.stages) == 5


def test_the_best_of_each_resolution() -> None:
    population = random_population(6, (1, 2), np.random.default_rng(0))
    population = Population(population.codes, np.array([0, 1, 0, 1, 0, 0]), (1, 2))
    rows = best_of_each_resolution(population, np.array([1.0, 5, 3, 4, 2, 0]), 2)
    assert rows.tolist() == [2, 4, 1, 3]


@pytest.mark.parametrize(
    "sizes", [{"population": 3}, {"climbers": 0}, {"parent_share": 0.0}, {"generations": -1}]
)
def test_impossible_sizes_are_refused(sizes) -> None:
    with pytest.raises(UserError):
        EvolutionConfig(**sizes)
