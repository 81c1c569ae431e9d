"""The elastic search on the Note10 with OFA's predictor, against what a peer's search predicts."""

from __future__ import annotations

from pathlib import Path

import pytest

from fofa.latency import Lut
from fofa.predictor.model import Predictor, load_predictor
from fofa.search.problem import Problem, Target
from fofa.search.solve import solve
from fofa.space import SpaceKind

ROOT = Path(__file__).parents[3]
RESOLUTIONS = (160, 176, 192, 208, 224)
GOALS = {15.0: 78.40, 20.0: 80.20, 25.0: 81.89, 30.0: 82.50}


@pytest.fixture(scope="module")
def lut() -> Lut:
    return Lut.read(ROOT / "luts" / "note10.json")


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    path = ROOT.parent / "shared" / "data" / "ofa_accuracy_predictor.pth"
    if not path.is_file():
        pytest.skip("OFA's predictor is not beside this checkout")
    return load_predictor(path)


def top1(lut: Lut, predictor: Predictor, limit: float, space: SpaceKind, seed: int = 0) -> float:
    target = Target(name="luts/note10.json", lut=lut, limit_ms=limit)
    problem = Problem(
        accuracy=predictor, targets=(target,), resolutions=RESOLUTIONS, space=space, seed=seed
    )
    row = solve(problem).results[0]
    assert row.latency_ms is not None
    assert row.latency_ms <= limit
    return row.top1


@pytest.mark.parametrize("limit", GOALS)
def test_seed_0_reaches_the_peers_accuracy(lut, predictor, limit) -> None:
    reached = top1(lut, predictor, limit, "elastic")
    assert reached >= GOALS[limit]
    assert reached >= top1(lut, predictor, limit, "compound")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
@pytest.mark.parametrize("limit", GOALS)
def test_other_seeds_do_too(lut, predictor, limit, seed) -> None:
    assert top1(lut, predictor, limit, "elastic", seed) >= GOALS[limit]
