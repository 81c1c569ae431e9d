"""Predictors whose weights are numbers and whose predictions are no accuracies are refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest

from fofa.errors import UserError
from fofa.latency import Lut
from fofa.predictor.model import Predictor
from fofa.search.problem import Problem, Target
from fofa.search.report import Outcome
from fofa.search.solve import solve
from fofa.space import SpaceKind

SPACES: tuple[SpaceKind, ...] = ("elastic", "compound")


@pytest.fixture
def search(
    make_lut: Callable[..., Lut], make_predictor: Callable[..., Predictor]
) -> Callable[..., Outcome]:
    """A search with all of a predictor's weights and biases multiplied, or its bias set."""
    lut = make_lut(kind="elastic")

    def run(space: SpaceKind, scales: tuple[float, float], bias: float | None) -> Outcome:
        found = make_predictor()
        weights = tuple(
            weight * np.float32(scale) for weight, scale in zip(found.weights, scales, strict=True)
        )
        biases = found.biases if bias is None else (found.biases[0], np.float32([bias]))
        predictor = Predictor(found.record, weights, biases)
        target = Target(name="lut.json", lut=lut, limit_ms=6.0)
        problem = Problem(accuracy=predictor, targets=(target,), space=space)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return solve(problem, pareto=True)

    return run


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(
    ("scales", "bias", "said"),
    [
        pytest.param((1e30, 1e30), None, "-?inf|nan", id="overflow"),
        pytest.param((1e37, 1e38), -3e38, "-?inf|nan", id="no number"),
        pytest.param((1, 1), 3e38, r"3e\+38", id="enormous"),
        pytest.param((1, 1), -50.0, "-50", id="negative"),
        pytest.param((1, 1), 76.5, "76|77", id="a percentage"),
    ],
)
def test_what_is_no_accuracy_is_refused(
    search: Callable[..., Outcome],
    space: SpaceKind,
    scales: tuple[float, float],
    bias: float | None,
    said: str,
) -> None:
    with pytest.raises(UserError, match=rf"the predictor gives ({said}).* for .*@.*a fraction"):
        search(space, scales, bias)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(("scales", "bias"), [((0, 0), 0.7), ((1e-40, 1e-40), 1e-45), ((1, 1), 1)])
def test_one_that_tells_little_still_gives_a_network_within_the_limit(
    search: Callable[..., Outcome], space: SpaceKind, scales: tuple[float, float], bias: float
) -> None:
    (best,) = search(space, scales, bias).results
    assert best.latency_ms is not None
    assert best.latency_ms <= 6.0
    assert np.isfinite(best.top1)
