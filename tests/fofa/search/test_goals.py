"""The elastic search on the Note10 table with a predictor of OFA's format.

What it reaches with OFA's own predictor, and what a peer's search does, `python -m benchmarks.speed
search --predictor FILE` tells.
"""

from __future__ import annotations

import random
from pathlib import Path

import ofa_files
import pytest

from fofa.latency import Lut
from fofa.predictor.model import Predictor, load_predictor
from fofa.search.problem import Problem, Target
from fofa.search.solve import solve
from fofa.space import SearchSpace, SpaceKind
from fofa.space.encoding import encode

ROOT = Path(__file__).parents[3]
RESOLUTIONS = (160, 176, 192, 208, 224)
LIMITS_MS = (15.0, 20.0, 25.0, 30.0)


@pytest.fixture(scope="module")
def lut() -> Lut:
    return Lut.read(ROOT / "luts" / "note10.json")


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    path = tmp_path_factory.mktemp("predictor") / "ofa_accuracy_predictor.pth"
    return load_predictor(ofa_files.write_predictor(path))


@pytest.fixture(scope="module")
def by_chance(lut: Lut, predictor: Predictor) -> dict[float, float]:
    """The best top-1 within each limit that 5,000 draws find."""
    space = SearchSpace(kind="elastic", resolutions=RESOLUTIONS)
    rng = random.Random(0)
    drawn = [space.sample(rng) for _ in range(5_000)]
    latencies, top1 = lut.latencies_ms(drawn), 100 * predictor.predict(encode(drawn, RESOLUTIONS))
    return {limit: float(top1[latencies <= limit].max(initial=0)) for limit in LIMITS_MS}


def top1(lut: Lut, predictor: Predictor, limit: float, space: SpaceKind, seed: int = 0) -> float:
    target = Target(name="luts/note10.json", lut=lut, limit_ms=limit)
    problem = Problem(
        accuracy=predictor, targets=(target,), resolutions=RESOLUTIONS, space=space, seed=seed
    )
    row = solve(problem).results[0]
    assert row.latency_ms is not None
    assert row.latency_ms <= limit
    return row.top1


@pytest.mark.parametrize("limit", LIMITS_MS)
def test_seed_0_finds_more_than_the_compound_space_has(lut, predictor, by_chance, limit) -> None:
    reached = top1(lut, predictor, limit, "elastic")
    assert reached > top1(lut, predictor, limit, "compound")
    assert reached > by_chance[limit]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
@pytest.mark.parametrize("limit", LIMITS_MS)
def test_other_seeds_do_too(lut, predictor, by_chance, limit, seed) -> None:
    reached = top1(lut, predictor, limit, "elastic", seed)
    assert reached > max(by_chance[limit], top1(lut, predictor, limit, "compound"))
