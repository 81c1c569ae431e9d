import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fofa.errors import UserError
from fofa.space import MOBILENETV3, SearchSpace
from fofa.space.encoding import ABSENT, compound_population, encode, encoding_of

RESOLUTIONS = (160, 192, 224)
ELASTIC = SearchSpace(kind="elastic", resolutions=RESOLUTIONS)


@given(st.integers(0, 2**32))
def test_encoding_and_decoding_give_the_architecture_back(seed: int) -> None:
    rng = random.Random(seed)
    architectures = [ELASTIC.sample(rng) for _ in range(5)]
    population = encode(architectures, RESOLUTIONS)
    assert [population.architecture(row) for row in range(5)] == architectures


def test_every_row_has_as_many_blocks_as_the_depths_say() -> None:
    architectures = [ELASTIC.sample(random.Random(seed)) for seed in range(20)]
    codes = encode(architectures, RESOLUTIONS).codes
    assert codes.shape == (20, 20)
    depths = (codes != ABSENT).reshape(20, 5, 4).sum(axis=2)
    assert [tuple(row) for row in depths] == [a.subnet.depths for a in architectures]


def test_compound_population_is_the_compound_space_in_its_order() -> None:
    population = compound_population(RESOLUTIONS)
    expected = list(SearchSpace(resolutions=RESOLUTIONS).architectures())
    assert [population.architecture(row) for row in range(len(population))] == expected
    assert np.array_equal(encode(expected, RESOLUTIONS).codes, population.codes)


def test_keys_are_equal_for_equal_architectures_only() -> None:
    population = compound_population(RESOLUTIONS)
    assert len(np.unique(population.keys())) == len(population)
    assert np.array_equal(population.keys(), compound_population(RESOLUTIONS).keys())


def test_a_resolution_that_is_not_listed_is_an_error() -> None:
    architecture = ELASTIC.sample(random.Random(0))
    with pytest.raises(UserError, match="no resolution"):
        encode([architecture], (8,))


def test_a_decoded_subnet_without_enough_blocks_is_an_error() -> None:
    with pytest.raises(UserError, match="depth 0"):
        encoding_of(MOBILENETV3).decode(np.full(20, ABSENT, dtype=np.uint8))
