"""Exact search against brute force that is written as plainly as can be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fofa.errors import UserError
from fofa.search.costs import affordable
from fofa.search.exact import best_within, joint_front, pareto_front
from fofa.space import Architecture, compound_subnets

ARCHITECTURES = [Architecture(subnet, 160) for subnet in compound_subnets()][:40]

# Few distinct values, so that ties of accuracy, of cost and of both are common.
tables = st.lists(
    st.tuples(st.integers(0, 6), st.integers(1, 6)), min_size=1, max_size=len(ARCHITECTURES)
)


def arrays(rows: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray, list[Architecture]]:
    # Reversed, so that the order of rows is not the order of names.
    names = ARCHITECTURES[: len(rows)][::-1]
    return np.array([a for a, _ in rows], float), np.array([c for _, c in rows], float), names


@given(tables, st.integers(1, 7))
def test_best_within_is_brute_force(rows: list[tuple[int, int]], limit: int) -> None:
    accuracy, cost, names = arrays(rows)
    within = [row for row in range(len(rows)) if cost[row] <= limit]
    if not within:
        with pytest.raises(UserError, match="no architecture is within"):
            best_within(accuracy, cost, names, limit)
        return
    expected = min(within, key=lambda row: (-accuracy[row], cost[row], names[row].name))
    assert best_within(accuracy, cost, names, limit) == expected


@given(tables)
def test_pareto_front_is_brute_force(rows: list[tuple[int, int]]) -> None:
    accuracy, cost, names = arrays(rows)

    def beaten(row: int) -> bool:
        return any(
            (accuracy[other] > accuracy[row] and cost[other] <= cost[row])
            or (accuracy[other] >= accuracy[row] and cost[other] < cost[row])
            or (
                (accuracy[other], cost[other]) == (accuracy[row], cost[row])
                and names[other].name < names[row].name
            )
            for other in range(len(rows))
        )

    expected = sorted((r for r in range(len(rows)) if not beaten(r)), key=lambda row: cost[row])
    assert pareto_front(accuracy, cost, names).tolist() == expected


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=25))
def test_joint_front_is_brute_force(rows: list[tuple[int, int, int]]) -> None:
    values = np.array(rows, float)
    oriented = [(-a, c, d) for a, c, d in rows]
    expected = {
        row
        for row, own in enumerate(oriented)
        if not any(
            other != own and all(o <= v for o, v in zip(other, own, strict=True))
            for other in oriented
        )
    }
    assert set(joint_front(values[:, 0], values[:, 1:]).tolist()) == expected


def nudged(values: np.ndarray, seed: int) -> np.ndarray:
    """`values` as other orders of summing would give them."""
    noise = np.random.default_rng(seed).integers(-4, 5, values.shape)
    return values + noise * np.spacing(values)


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=25), st.integers(0, 99))
def test_rounding_keeps_no_row_that_is_beaten(rows: list[tuple[int, int, int]], seed: int) -> None:
    values = np.array(rows, float) + 1.1
    accuracy, costs = values[:, 0], values[:, 1:]
    found = joint_front(accuracy, nudged(costs, seed))
    assert sorted(found) == sorted(joint_front(accuracy, costs))
    names = ARCHITECTURES[: len(rows)]
    single = pareto_front(accuracy, nudged(costs[:, 0], seed), names)
    assert single.tolist() == pareto_front(accuracy, costs[:, 0], names).tolist()


def test_a_limit_is_inclusive_and_forgives_rounding_only() -> None:
    cost = np.array([0.1 + 0.2, 0.3, 0.3001])
    assert affordable(cost, 0.3).tolist() == [True, True, False]
    assert affordable(cost, float("inf")).all()


def test_the_error_names_the_fastest_architecture_and_its_latency() -> None:
    accuracy, cost, names = arrays([(3, 4), (5, 2)])
    with pytest.raises(UserError, match=rf"the fastest, {names[1].name}, takes 2 ms"):
        best_within(accuracy, cost, names, 1.5)
    with pytest.raises(UserError, match=r"the smallest, .* takes 2 MACs"):
        best_within(accuracy, cost, names, 1.5, unit="MACs")
