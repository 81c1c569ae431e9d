import numpy as np
import pytest

from fofa.search.costs import latency_costs
from fofa.search.local_search import Found, climb, neighbours, race
from fofa.search.problem import Constraint, within_limits
from fofa.space import parse_architecture
from fofa.space.encoding import encode

RESOLUTIONS = (128, 160)


def start(name: str = "22222@128"):
    return encode([parse_architecture(name)], RESOLUTIONS)


def test_neighbours_differ_in_one_choice_and_are_all_different() -> None:
    one = start("23432@160")
    moves, claimed = neighbours(one)
    names = {moves.architecture(row).name for row in range(len(moves))}
    assert len(names) == len(moves)
    assert one.architecture(0).name not in names
    for row in range(len(moves)):
        changed = moves.codes[row] != one.codes[0]
        if moves.resolution_index[row] == one.resolution_index[0]:
            assert changed.sum() == 1
        else:
            assert not changed.any()
        assert claimed[row][changed].all()
    # 14 blocks with 8 other choices; deepen 4 stages by 9; shorten 3; one other resolution.
    assert len(moves) == 14 * 8 + 4 * 9 + 3 + 1


def test_climbing_improves_within_the_limits(make_lut, make_predictor) -> None:
    predictor, costs = make_predictor(), latency_costs(make_lut(kind="elastic"))
    one = start()
    limit = 1.5 * float(costs.of(one)[0])
    begin = float(predictor.predict(one)[0])
    found = climb(predictor.predict, one, begin, [Constraint(costs, limit)])
    assert found.score > begin
    assert within_limits(found.best, [Constraint(costs, limit)]).all()
    assert found.score == pytest.approx(float(predictor.predict(found.best)[0]), rel=1e-6)
    again = climb(predictor.predict, found.best, found.score, [Constraint(costs, limit)])
    assert again.score == found.score


def test_a_trade_is_found_where_no_single_move_is_allowed() -> None:
    """The limit is reached: only giving up one block's expand ratio pays for another's."""
    wanted, given = 0, 5

    def score(population) -> np.ndarray:
        # Slot `wanted` is worth a lot more with expand 6 than slot `given` is.
        return 10.0 * (population.codes[:, wanted] == 3) + (population.codes[:, given] == 3)

    one = start("3x3+3x3-5x3+3x6-3x3+3x3-3x3+3x3-5x3+5x3@128")

    class Expands:
        """Each block costs its expand ratio; other resolutions cost more."""

        @staticmethod
        def of(population) -> np.ndarray:
            expand = np.array([0] + [3, 4, 6] * 3)[population.codes].sum(axis=1)
            return expand + 100.0 * (population.resolution_index != 0)

    limit = float(Expands.of(one)[0])
    found = climb(score, one, 1.0, [Constraint(Expands, limit)])  # type: ignore[arg-type]
    assert found.score == 10.0
    assert found.best.codes[0, wanted] == 3


def test_a_race_ends_no_lower_than_its_best_start(make_lut, make_predictor) -> None:
    predictor, costs = make_predictor(), latency_costs(make_lut(kind="elastic"))
    names = ("22222@128", "23222@128", "22223@128", "22222@160", "32222@128")
    starts = [Found(one, float(predictor.predict(one)[0]), 0) for one in map(start, names)]
    limit = [Constraint(costs, costs.largest())]
    found = race(predictor.predict, starts, limit)
    assert found.score >= max(begin.score for begin in starts)
    assert found.evaluated > 0
