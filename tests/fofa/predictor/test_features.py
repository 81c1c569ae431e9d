import random

import numpy as np
import pytest

from fofa.errors import UserError
from fofa.predictor.features import features
from fofa.space import EXPANDS, KERNELS, Architecture, SearchSpace
from fofa.space.encoding import encode

OFA = tuple(range(112, 225, 16))
SPACE = SearchSpace(kind="elastic", resolutions=(160, 176, 192, 208, 224))


def as_the_facts_define(architecture: Architecture) -> list[float]:
    """20 x one-hot kernel, 20 x one-hot expand, zero where a block is left out, then one-hot of
    (resolution - 112) / 16."""
    kernels: list[float] = []
    expands: list[float] = []
    for stage in architecture.subnet.stages:
        for place in range(4):
            block = stage[place] if place < len(stage) else None
            kernels += [float(block is not None and block.kernel == k) for k in KERNELS]
            expands += [float(block is not None and block.expand == e) for e in EXPANDS]
    resolution = [0.0] * 8
    resolution[(architecture.resolution - 112) // 16] = 1.0
    return kernels + expands + resolution


def test_features_are_those_that_the_facts_define() -> None:
    architectures = [SPACE.sample(random.Random(seed)) for seed in range(50)]
    made = features(encode(architectures, SPACE.resolutions), OFA)
    assert made.dtype == np.float32
    assert made.tolist() == [as_the_facts_define(a) for a in architectures]


def test_unknown_resolutions_are_refused() -> None:
    population = encode([SPACE.sample(random.Random(0))], SPACE.resolutions)
    with pytest.raises(UserError, match=r"no resolution \[176, 208\]"):
        features(population, (160, 192, 224))


def test_no_architectures_have_no_features() -> None:
    assert features(encode([], (160,)), (160,)).shape == (0, 121)
