"""Predictors made up for tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from fofa.accuracy import SpaceRecord
from fofa.predictor.model import Predictor, PredictorRecord, num_block_features
from fofa.space import MOBILENETV3

MakePredictor = Callable[..., Predictor]


@pytest.fixture
def make_predictor() -> MakePredictor:
    """A factory of small random networks that predict around 70%."""

    def make(
        *, resolutions: tuple[int, ...] = (128, 160), width_mult: float = 1.0, seed: int = 0
    ) -> Predictor:
        rng = np.random.default_rng(seed)
        widths = (num_block_features(MOBILENETV3) + len(resolutions), 16, 1)
        scales = (0.3, 0.02)
        weights = tuple(
            (scale * rng.standard_normal(shape)).astype(np.float32)
            for scale, shape in zip(scales, itertools.pairwise(widths), strict=True)
        )
        biases = (np.zeros(16, np.float32), np.array([0.7], np.float32))
        space = SpaceRecord(kind="elastic", width_mult=width_mult, resolutions=list(resolutions))
        record = PredictorRecord(recipe="ofa", dataset="made-up", space=space)
        return Predictor(record, weights, biases)

    return make
