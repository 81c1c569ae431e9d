"""Number types: int8 goes with int8 only, and `any` finds the best of all types by brute force."""

import numpy as np
import pytest
from made_up_tables import in_int8, int8_evaluation

from fofa.errors import UserError
from fofa.search.number_types import Source, problems_by_type, solve_types
from fofa.search.pairing import pair, pair_predictor
from fofa.search.problem import Problem, Target


@pytest.fixture
def luts(make_lut):
    """One device in fp32 and, faster, in int8; another one in fp32."""
    plain = make_lut()
    int8 = in_int8(make_lut(slowdown=0.6))
    return {"plain": plain, "int8": int8, "other": make_lut(device="other", slowdown=2)}


@pytest.fixture
def tables(make_accuracy):
    """Distinct accuracies; those of int8 are lower by random points."""
    rng = np.random.default_rng(0)
    plain = make_accuracy(top1=lambda a: float(rng.uniform(40, 80)))
    known = {row.architecture: row.top1 for row in plain.architectures}
    int8 = make_accuracy(
        top1=lambda a: known[a] - float(rng.uniform(0, 15)), evaluation=int8_evaluation()
    )
    return {"plain": plain, "int8": int8}


def plain_problem(tables, luts, limit, names=("plain", "int8", "other"), **options):
    targets = tuple(Target(name=name, lut=luts[name], limit_ms=limit) for name in names)
    return Problem(accuracy=tables["plain"], targets=targets, **options)


def sources(tables):
    return [Source(tables["plain"]), Source(tables["int8"])]


def brute_force(tables, luts, names, limit):
    """The best (top-1, table, architecture) of these tables within the limit."""
    return max(
        (row.top1, name, row.name)
        for name in names
        for row in tables["int8" if name == "int8" else "plain"].architectures
        if luts[name].latency_ms(row.architecture) <= limit
    )


def median_ms(luts, tables):
    rows = tables["plain"].architectures
    return float(np.median(luts["plain"].latencies_ms(row.architecture for row in rows)))


@pytest.mark.parametrize("share", [0.5, 0.7, 1.0, 1.3])
def test_any_finds_the_best_network_and_number_type(luts, tables, share):
    limit = median_ms(luts, tables) * share
    plain = plain_problem(tables, luts, limit, names=("plain", "int8"))
    [row] = solve_types(problems_by_type(plain, sources(tables), "any"), dtype="any").results
    top1, name, architecture = brute_force(tables, luts, ("plain", "int8"), limit)
    assert (row.top1, row.lut, row.architecture) == (top1, name, architecture)
    assert row.dtype == ("int8" if name == "int8" else "fp32")


@pytest.mark.parametrize("share", [0.7, 1.3])
def test_any_says_what_the_other_types_would_give(luts, tables, share):
    limit = median_ms(luts, tables) * share
    plain = plain_problem(tables, luts, limit, names=("plain", "int8"))
    outcome = solve_types(problems_by_type(plain, sources(tables), "any"), dtype="any")
    [row], [other] = outcome.results, outcome.other_types
    assert {row.lut, other.lut} == {"plain", "int8"}
    top1, name, architecture = brute_force(tables, luts, (other.lut,), limit)
    assert (other.top1, other.lut, other.architecture) == (top1, name, architecture)
    assert other.top1 <= row.top1
    note = (
        f"In {other.dtype} on cpu ({other.lut}): at best {top1:.1f}% in {other.latency_ms:.4g} ms "
        f"({architecture})."
    )
    assert note in outcome.notes
    assert outcome.to_dict()["other_types"][0]["architecture"] == architecture
    each = solve_types(problems_by_type(plain, sources(tables), None), dtype=None)
    assert each.other_types == ()
    assert not any("at best" in said for said in each.notes)


def test_any_finds_one_network_for_each_device_or_says_which_has_none(luts, tables):
    limit = median_ms(luts, tables) * 1.5
    problems = problems_by_type(plain_problem(tables, luts, limit), sources(tables), "any")
    rows = {row.device: row for row in solve_types(problems, dtype="any").results}
    assert rows["cpu"].top1 == brute_force(tables, luts, ("plain", "int8"), limit)[0]
    assert rows["other"].top1 == brute_force(tables, luts, ("other",), limit)[0]
    rows = tables["plain"].architectures
    least = min(luts["other"].latency_ms(row.architecture) for row in rows)
    problem = plain_problem(tables, luts, 0.9 * least)
    with pytest.raises(UserError, match=r"no architecture is within .* ms on other"):
        solve_types(problems_by_type(problem, sources(tables), "any"), dtype="any")


def test_without_a_type_there_is_one_network_for_each_table(luts, tables):
    limit = median_ms(luts, tables) * 1.5
    problems = problems_by_type(plain_problem(tables, luts, limit), sources(tables), None)
    rows = {row.lut: row for row in solve_types(problems, dtype=None).results}
    for name in luts:
        top1, _, architecture = brute_force(tables, luts, (name,), limit)
        assert (rows[name].top1, rows[name].architecture) == (top1, architecture)


def test_one_type_leaves_the_other_tables_out(luts, tables):
    limit = median_ms(luts, tables)
    problems = problems_by_type(plain_problem(tables, luts, limit), sources(tables), "int8")
    [row] = solve_types(problems, dtype="int8").results
    assert (row.lut, row.dtype) == ("int8", "int8")
    assert row.architecture == brute_force(tables, luts, ("int8",), limit)[2]


def test_the_front_of_any_is_of_all_types(luts, tables):
    plain = plain_problem(tables, luts, None, names=("plain", "int8"))
    problems = problems_by_type(plain, sources(tables), "any")
    front = solve_types(problems, dtype="any", pareto=True).pareto
    points = [
        (luts[name].latency_ms(row.architecture), row.top1)
        for name in ("plain", "int8")
        for row in tables[name].architectures
    ]
    expected = {
        (ms, top1)
        for ms, top1 in points
        if not any(m <= ms and t >= top1 and (m, t) != (ms, top1) for m, t in points)
    }
    found = [(row.latency_ms, row.top1) for row in front]
    assert found == sorted(found)
    assert [ms for ms, _ in found] == pytest.approx(sorted(ms for ms, _ in expected))
    assert {top1 for _, top1 in found} == {top1 for _, top1 in expected}


def test_a_type_without_a_network_within_the_limit_is_left_out_with_a_note(luts, tables):
    rows = tables["plain"].architectures
    least = min(luts["plain"].latency_ms(row.architecture) for row in rows)
    problem = plain_problem(tables, luts, 0.9 * least, names=("plain", "int8"))
    problems = problems_by_type(problem, sources(tables), "any")
    outcome = solve_types(problems, dtype="any")
    assert [row.dtype for row in outcome.results] == ["int8"]
    assert any(note.startswith("In fp32: no architecture is within") for note in outcome.notes)
    with pytest.raises(UserError, match="no architecture is within"):
        solve_types(problems, dtype=None)
    small = plain_problem(tables, luts, 0.1 * least, names=("plain", "int8"))
    with pytest.raises(UserError, match="no architecture is within"):
        solve_types(problems_by_type(small, sources(tables), "any"), dtype="any")


def test_int8_and_floating_point_are_not_paired(luts, tables, make_predictor):
    for lut, table in (("int8", "plain"), ("plain", "int8")):
        with pytest.raises(UserError, match=r"do not fit: latency in .* accuracy in .*"):
            pair(luts[lut], tables[table])
        noted = pair(luts[lut], tables[table], any_type=True)
        assert any("accuracy in" in note for note in noted.notes)
    assert pair(luts["int8"], tables["int8"]).notes == ()
    with pytest.raises(UserError, match="latency in int8, accuracy in fp32"):
        pair_predictor(luts["int8"], make_predictor())


@pytest.mark.parametrize(
    ("dtype", "names", "given", "options", "message"),
    [
        ("int4", ("plain",), ("plain",), {}, "--dtype 'int4': expected one of fp32"),
        ("int8", ("plain",), ("plain", "int8"), {}, "the latency tables are of fp32"),
        ("int8", ("int8",), ("plain",), {}, "no accuracy of it was given"),
        (None, ("plain",), ("plain", "plain"), {}, "two accuracies in floating point"),
        (None, ("plain",), ("plain", "int8"), {}, "accuracy in int8, but no latency table"),
        ("any", ("plain", "int8"), ("plain", "int8"), {"joint": True}, "of one number type"),
    ],
)
def test_what_cannot_be_is_one_line(luts, tables, dtype, names, given, options, message):
    plain = plain_problem(tables, luts, 5.0, names, **options)
    with pytest.raises(UserError, match=message):
        problems_by_type(plain, [Source(tables[name]) for name in given], dtype)
