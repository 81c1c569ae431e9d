"""Predictors made up for tests: one of ours, and one as OFA publishes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import ofa_files
import pytest

from fofa.accuracy import SpaceRecord
from fofa.predictor.model import Predictor, PredictorRecord, num_block_features
from fofa.space import MOBILENETV3


@pytest.fixture
def predictor() -> Predictor:
    """Two layers of random weights."""
    rng = np.random.default_rng(0)
    widths = ((num_block_features(MOBILENETV3) + 2, 8), (8, 1))
    return Predictor(
        record=PredictorRecord(
            recipe="ofa",
            dataset="made-up",
            space=SpaceRecord(kind="elastic", width_mult=1.0, resolutions=[128, 160]),
        ),
        weights=tuple(rng.standard_normal(shape).astype(np.float32) for shape in widths),
        biases=tuple(rng.standard_normal(out).astype(np.float32) for _, out in widths),
    )


@pytest.fixture
def ofa_predictor_file(tmp_path: Path) -> Path:
    """A predictor in the format of OFA's published one."""
    return ofa_files.write_predictor(tmp_path / "ofa_accuracy_predictor.pth")
