"""Budgets of parameters, file and memory: the best within all, and fronts, by brute force."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fofa.errors import UserError
from fofa.runtime.footprint import file_bytes, peak_bytes
from fofa.search.budgets import Budgets, Deployed, parse_bytes
from fofa.search.problem import Problem, Target
from fofa.search.solve import solve
from fofa.space import Architecture, architecture_blocks, params, sample_elastic
from fofa.space.encoding import encode

RESOLUTIONS = (128, 160)


@pytest.fixture(scope="module")
def accuracy(make_accuracy):
    """Distinct accuracies that do not simply follow the size."""
    rng = np.random.default_rng(1)
    return make_accuracy(top1=lambda a: float(rng.uniform(40, 80)), width_mult=0.25, num_classes=10)


@pytest.fixture(scope="module")
def amounts(accuracy):
    """What each architecture takes, block by block: (parameters, bytes of file, of memory)."""
    config = accuracy.network_config
    found = {}
    for row in accuracy.architectures[::7]:
        blocks = architecture_blocks(row.architecture, config)
        found[row.name] = (
            params(row.architecture, config),
            sum(file_bytes(block, "fp32") for block in blocks),
            max(peak_bytes(block, "fp32") for block in blocks),
        )
    return found


@pytest.fixture(scope="module")
def few(accuracy):
    """The same table with a seventh of its rows."""
    return accuracy.model_copy(update={"architectures": accuracy.architectures[::7]})


@settings(max_examples=25, deadline=None)
@given(shares=st.tuples(*[st.one_of(st.none(), st.floats(0.3, 1.0))] * 3))
def test_the_best_within_all_budgets_is_that_of_brute_force(few, amounts, shares):
    names = ("params", "size", "memory")
    least, most = np.min(list(amounts.values()), 0), np.max(list(amounts.values()), 0)
    limits = [
        None if share is None else least[i] + share * (most[i] - least[i])
        for i, share in enumerate(shares)
    ]
    budgets = Budgets(**dict(zip(names, limits, strict=True)))
    if not budgets.limited:
        return
    rows = [
        row
        for row in few.architectures
        if all(v <= m for v, m in zip(amounts[row.name], limits, strict=True) if m is not None)
    ]
    problem = Problem(accuracy=few, budgets=budgets)
    if not rows:
        with pytest.raises(UserError, match="no architecture is within"):
            solve(problem)
        return
    [found] = solve(problem).results
    assert found.architecture == max(rows, key=lambda row: row.top1).name
    told = (found.params, found.size_bytes, found.memory_bytes)
    for value, limit, expected in zip(told, limits, amounts[found.architecture], strict=True):
        assert value == (None if limit is None else expected)


def test_the_front_is_over_accuracy_latency_and_what_is_limited(few, amounts, make_lut):
    lut = make_lut(width_mult=0.25)
    problem = Problem(
        accuracy=few, targets=(Target(name="a", lut=lut),), budgets=Budgets(memory=1e12)
    )
    front = {row.architecture for row in solve(problem, pareto=True).pareto}
    points = {
        row.name: (-row.top1, lut.latency_ms(row.architecture), amounts[row.name][2])
        for row in few.architectures
    }
    expected = {
        name
        for name, one in points.items()
        if not any(
            all(a <= b * (1 + 1e-12) for a, b in zip(other, one, strict=True))
            and any(a < b * (1 - 1e-9) for a, b in zip(other, one, strict=True))
            for other in points.values()
        )
    }
    assert front == expected
    assert len(front) > len(
        solve(Problem(accuracy=few, targets=problem.targets), pareto=True).pareto
    )


def test_elastic_architectures_are_counted_alike(make_accuracy):
    rng = random.Random(0)
    chosen = [Architecture(sample_elastic(rng), RESOLUTIONS[i % 2]) for i in range(20)]
    table = make_accuracy(kind="elastic", architectures=chosen, width_mult=0.25, num_classes=10)
    deployed = Deployed.of(table, "fp16")
    population = encode(chosen, RESOLUTIONS, deployed.config.family)
    for kind, of in (
        ("size", lambda blocks: sum(file_bytes(b, "fp16") for b in blocks)),
        ("memory", lambda blocks: max(peak_bytes(b, "fp16") for b in blocks)),
    ):
        found = deployed.amounts(kind, population, space="elastic")
        expected = [of(architecture_blocks(a, deployed.config)) for a in chosen]
        assert found.tolist() == pytest.approx(expected)


def test_an_elastic_search_keeps_parameters_and_refuses_memory(make_predictor):
    predictor = make_predictor()
    limit = 4e6
    problem = Problem(accuracy=predictor, space="elastic", budgets=Budgets(params=limit))
    [row] = solve(problem).results
    assert row.params <= limit
    with pytest.raises(UserError, match="--max-memory needs the compound space"):
        Problem(accuracy=predictor, space="elastic", budgets=Budgets(memory=limit))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("4e6", 4e6), ("500kB", 5e5), ("4 MB", 4e6), ("4MiB", 4 * 2**20), ("1.5GB", 1.5e9), ("7B", 7)],
)
def test_sizes_are_bytes_with_or_without_a_unit(text, expected):
    assert parse_bytes(text, "--max-size") == expected


@pytest.mark.parametrize("text", ["", "MB", "4mb", "-4", "4 MB a", "1.2.3", "1e"])
def test_other_sizes_are_refused(text):
    with pytest.raises(UserError, match=r"--max-size .*: expected bytes, such as 4e6"):
        parse_bytes(text, "--max-size")


@pytest.mark.parametrize("limit", [0.0, -1.0, float("inf"), float("nan")])
def test_limits_are_finite_and_above_0(limit):
    with pytest.raises(UserError, match="expected a finite number above 0"):
        Budgets(size=limit)
