"""Evolutionary search of the elastic space under limits (after Real et al., 2019).

A population is an array; mutation, crossover, cost and predicted accuracy are each one operation on
all of it. Instead of the publication's tournaments, the best quarter of a generation are parents
together (as OFA does), which suits arrays. They are the best of each resolution, because the
resolutions are separate hills, and the one that is climbed first is often not the highest.

Every architecture that is scored is within the limits: the first ones are moved towards the
cheapest architecture until they are, later ones are drawn in surplus and dropped where they are
not, or where they were scored before. Every generation is scored, the last one included.

Evolution finds the region quickly and the last tenths slowly, so local searches from the best
architectures of each resolution end it (`fofa.search.local_search`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fofa.errors import UserError
from fofa.search.local_search import Found, race
from fofa.search.problem import Constraint, Score, cheapest_within, within_limits
from fofa.space import MOBILENETV3, Family
from fofa.space.encoding import ABSENT, Encoding, Population, encoding_of


@dataclass(frozen=True, slots=True, kw_only=True)
class EvolutionConfig:
    """Sizes of the search. The defaults take a fraction of a second with OFA's predictor.

    Attributes:
        population: architectures in a generation, parents included.
        generations: after the first one.
        parent_share: of the population that has children and lives on.
        mutation_share: of the children that are mutants; the others are crossovers.
        mutation_probability: of each block, each stage's depth and the resolution, in a mutant.
        surplus: children drawn for each one needed, as some break a limit or are not new.
        climbers: architectures of each resolution that local search starts from.
    """

    population: int = 512
    generations: int = 40
    parent_share: float = 0.25
    mutation_share: float = 0.5
    mutation_probability: float = 0.1
    surplus: int = 2
    climbers: int = 4

    def __post_init__(self) -> None:
        if self.population < 4 or self.generations < 0 or min(self.surplus, self.climbers) < 1:
            raise UserError("evolution needs a population of at least 4, and positive sizes")
        if not 0 < self.parent_share <= 1 or not 0 <= self.mutation_share <= 1:
            raise UserError("evolution needs shares of parents and mutants between 0 and 1")


def evolve(
    score: Score,
    constraints: Sequence[Constraint],
    resolutions: Sequence[int],
    rng: np.random.Generator,
    config: EvolutionConfig | None = None,
) -> Found:
    """The best elastic architecture within all constraints that the search finds.

    Args:
        score: the predicted accuracy of a population.
        resolutions: of the populations, one for each row of the constraints' cost tables.

    Raises:
        UserError: if no architecture is within a limit, naming the cheapest and its cost.
    """
    config = config or EvolutionConfig()
    cheapest = cheapest_within(constraints, resolutions)
    population = _first_generation(cheapest, constraints, rng, config.population)
    scores = score(population)
    seen = np.sort(population.keys())
    parents_each = max(1, int(config.parent_share * config.population) // len(cheapest))
    for _ in range(config.generations):
        elite = best_of_each_resolution(population, scores, parents_each)
        parents, parent_scores = population[elite], scores[elite]
        drawn = _children(parents, rng, config)
        children = _new_ones(drawn[np.flatnonzero(within_limits(drawn, constraints))], seen)
        children = children[: config.population - len(parents)]
        if not len(children):
            continue
        seen = np.sort(np.concatenate((seen, children.keys())))
        population = _join(parents, children)
        scores = np.concatenate((parent_scores, score(children)))
    chosen = best_of_each_resolution(population, scores, config.climbers)
    starts = [Found(population[row : row + 1], float(scores[row]), 0) for row in chosen]
    finish = race(score, starts, constraints)
    return Found(finish.best, finish.score, len(seen) + finish.evaluated)


def random_population(
    num: int,
    resolutions: Sequence[int],
    rng: np.random.Generator,
    family: Family = MOBILENETV3,
) -> Population:
    """`num` architectures with every elastic choice drawn uniformly."""
    encoding = encoding_of(family)
    codes, depths = encoding.draw_codes(rng, num), encoding.draw_depths(rng, num)
    index = rng.integers(len(resolutions), size=num)
    return Population(encoding.cut(codes, depths), index, tuple(resolutions), family)


def best_of_each_resolution(population: Population, scores: np.ndarray, num: int) -> np.ndarray:
    """Rows of the `num` best architectures of each resolution, resolution by resolution."""
    order = np.lexsort((-scores, population.resolution_index))
    groups = population.resolution_index[order]
    rank = np.arange(len(order)) - np.searchsorted(groups, groups)
    return order[rank < num]


def _first_generation(
    cheapest: Population, constraints: Sequence[Constraint], rng: np.random.Generator, num: int
) -> Population:
    """Random architectures, each moved towards its resolution's cheapest until it is affordable.

    Args:
        cheapest: one architecture within the limits for each resolution that has any.
    """
    base = cheapest[rng.integers(len(cheapest), size=num)]
    codes = random_population(num, base.resolutions, rng, base.family).codes
    for step in range(_APPROACH_STEPS + 1):
        drawn = base.replaced(codes, base.resolution_index)
        outside = ~within_limits(drawn, constraints)
        if not outside.any():
            break
        mixed = _mix(base.encoding, codes, base.codes, step / _APPROACH_STEPS, rng)
        codes = np.where(outside[:, None], mixed, codes)
    return base.replaced(codes, base.resolution_index)


def _children(parents: Population, rng: np.random.Generator, config: EvolutionConfig) -> Population:
    """A surplus of mutants and crossovers, shuffled."""
    num = (config.population - len(parents)) * config.surplus
    num_mutants = round(num * config.mutation_share)
    mutants = _mutate(
        parents[rng.integers(len(parents), size=num_mutants)], rng, config.mutation_probability
    )
    one = parents[rng.integers(len(parents), size=num - num_mutants)]
    other = parents[rng.integers(len(parents), size=num - num_mutants)]
    children = _join(mutants, _cross(one, other, rng))
    return children[rng.permutation(len(children))]


def _mutate(parents: Population, rng: np.random.Generator, probability: float) -> Population:
    """Each block, depth and resolution redrawn with this probability."""
    num, encoding = len(parents), parents.encoding
    drawn = encoding.draw_codes(rng, num)
    redrawn = rng.random(parents.codes.shape) < probability
    codes = np.where(redrawn | (parents.codes == ABSENT), drawn, parents.codes)
    depths = np.where(
        rng.random((num, encoding.num_stages)) < probability,
        encoding.draw_depths(rng, num),
        encoding.depths_of(parents.codes),
    )
    index = np.where(
        rng.random(num) < probability,
        rng.integers(len(parents.resolutions), size=num),
        parents.resolution_index,
    )
    return parents.replaced(encoding.cut(codes, depths), index)


def _cross(one: Population, other: Population, rng: np.random.Generator) -> Population:
    """Each block, depth and resolution from either parent with equal probability."""
    index = np.where(rng.random(len(one)) < 0.5, other.resolution_index, one.resolution_index)
    return one.replaced(_mix(one.encoding, one.codes, other.codes, 0.5, rng), index)


def _mix(
    encoding: Encoding,
    one: np.ndarray,
    other: np.ndarray,
    probability: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Codes whose blocks and depths come from `other` with this probability, else from `one`."""
    codes = np.where(rng.random(one.shape) < probability, other, one)
    # A block that its parent lacks comes from the parent that has it; the depth decides below.
    codes = np.where(codes == ABSENT, np.where(one == ABSENT, other, one), codes)
    depths = np.where(
        rng.random((len(one), encoding.num_stages)) < probability,
        encoding.depths_of(other),
        encoding.depths_of(one),
    )
    return encoding.cut(codes, depths)


def _new_ones(population: Population, seen: np.ndarray) -> Population:
    """The rows that are not among the sorted keys `seen`, each once, in their order."""
    keys = population.keys()
    _, first = np.unique(keys, return_index=True)
    rows = np.sort(first)
    return population[rows[~np.isin(keys[rows], seen, assume_unique=True)]]


def _join(first: Population, second: Population) -> Population:
    return first.replaced(
        np.concatenate((first.codes, second.codes)),
        np.concatenate((first.resolution_index, second.resolution_index)),
    )


_APPROACH_STEPS = 10
