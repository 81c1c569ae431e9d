"""The gate: what holds, what has regressed, what cannot be compared."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.gate.baseline import Baseline, Tolerance, make_baseline
from bench.gate.compare import LimitComparison, Status, compare, exit_code, latency_allowance
from bench.tables.collect import AccuracySource, Collection, LutSource
from bench.tables.devices import WantedLimits
from fofa.accuracy import AccuracyTable
from fofa.errors import UserError
from fofa.latency import Lut
from fofa.search.pairing import pair

REUSED = settings(
    max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


def collection_of(lut: Lut, *tables: AccuracyTable) -> Collection:
    return Collection(
        accuracy=tuple(AccuracySource(Path(f"{t.recipe}.json"), t) for t in tables),
        luts=(LutSource(Path("device.json"), lut),),
        accuracy_dir=Path("reports/accuracy"),
        luts_dir=Path("luts"),
    )


@pytest.fixture(scope="module")
def table(make_accuracy: Callable[..., AccuracyTable]) -> AccuracyTable:
    return make_accuracy("fofa-n3", resolutions=(32, 40))


@pytest.fixture(scope="module")
def lut(make_lut: Callable[..., Lut]) -> Lut:
    return make_lut("epyc7763", resolutions=(128, 160))


@pytest.fixture(scope="module")
def baseline(lut: Lut, table: AccuracyTable) -> Baseline:
    made, notes = make_baseline(collection_of(lut, table), WantedLimits(), Tolerance())
    assert notes == []
    return made


def check(
    baseline: Baseline, lut: Lut, *tables: AccuracyTable
) -> tuple[int, list[LimitComparison]]:
    comparisons = compare(baseline, collection_of(lut, *tables))
    return exit_code(comparisons), comparisons


def changed(table: AccuracyTable, name: str, points: float) -> AccuracyTable:
    """`table` with the top-1 of one architecture changed by `points`."""
    rows = [
        row.model_copy(update={"top1": row.top1 + points}) if row.name == name else row
        for row in table.architectures
    ]
    return table.model_copy(update={"architectures": rows})


def with_noise(lut: Lut, draw: Callable[[], float]) -> Lut:
    """A new measurement: every block's latency times what `draw` gives."""
    entries = [
        entry.model_copy(update={"latency_ms": entry.latency_ms * draw()}) for entry in lut.entries
    ]
    return Lut.model_validate(lut.model_dump(by_alias=True) | {"entries": entries})


def test_unchanged_input_holds(baseline: Baseline, lut: Lut, table: AccuracyTable) -> None:
    code, comparisons = check(baseline, lut, table)
    assert code == 0
    assert len(comparisons) == 4
    assert {comparison.status for comparison in comparisons} == {Status.HELD}
    assert [o.new_architecture for o in comparisons] == [o.old.architecture for o in comparisons]


def test_a_chosen_architecture_that_lost_a_point_is_named(
    baseline: Baseline, lut: Lut, table: AccuracyTable
) -> None:
    for record in baseline.results[0].limits:
        code, comparisons = check(baseline, lut, changed(table, record.architecture, -1))
        assert code == 1
        (found,) = [o for o in comparisons if o.old.limit_ms == record.limit_ms]
        assert found.status is Status.REGRESSED
        assert (found.device, found.old) == ("epyc7763", record)
        assert any(
            f"{record.top1:.2f}" in reason and f"{record.top1 - 1:.2f}" in reason
            for reason in found.reasons
        )


@REUSED
@given(points=st.floats(-0.2, 5))
def test_losses_within_the_tolerance_hold(
    baseline: Baseline, lut: Lut, table: AccuracyTable, points: float
) -> None:
    name = baseline.results[0].limits[0].architecture
    code, comparisons = check(baseline, lut, changed(table, name, points))
    assert code == 0
    assert comparisons[0].improved == (points > 0.2 + 1e-9)


@REUSED
@given(points=st.floats(-30, -0.21))
def test_losses_beyond_the_tolerance_regress(
    baseline: Baseline, lut: Lut, table: AccuracyTable, points: float
) -> None:
    name = baseline.results[0].limits[0].architecture
    assert check(baseline, lut, changed(table, name, points))[0] == 1


@REUSED
@given(factor=st.floats(1.05, 3))
def test_a_slower_device_regresses(
    baseline: Baseline, lut: Lut, table: AccuracyTable, factor: float
) -> None:
    code, comparisons = check(baseline, with_noise(lut, lambda: factor), table)
    assert code == 1
    assert all(
        any("latency of" in reason for reason in comparison.reasons) for comparison in comparisons
    )


@REUSED
@given(seed=st.integers(0, 1000))
def test_noise_within_the_tables_own_error_holds(
    make_lut: Callable[..., Lut], table: AccuracyTable, seed: int
) -> None:
    noisy = make_lut("epyc7763", resolutions=(128, 160), mape=6.0)
    made, _ = make_baseline(collection_of(noisy, table), WantedLimits(), Tolerance())
    noise = random.Random(seed)
    code, comparisons = check(made, with_noise(noisy, lambda: noise.uniform(0.94, 1.06)), table)
    assert code == 0, comparisons


def test_a_limit_at_a_latency_holds_without_any_tolerance(
    lut: Lut, table: AccuracyTable, make_lut: Callable[..., Lut]
) -> None:
    estimated = make_lut("epyc7763", resolutions=(128, 160), method="estimated")
    fastest = pair(estimated, table).latency_ms.min()
    limit = WantedLimits("given", (float(fastest) * (1 - 1e-12),))
    none = Tolerance(accuracy_points=0, latency_percent=0)
    made, _ = make_baseline(collection_of(estimated, table), limit, none)
    code, (comparison,) = check(made, estimated, table)
    assert code == 0, comparison
    assert comparison.new_architecture == comparison.old.architecture


def test_twenty_percent_slower_is_beyond_a_good_tables_error(
    baseline: Baseline, lut: Lut, table: AccuracyTable
) -> None:
    assert check(baseline, with_noise(lut, lambda: 1.2), table)[0] == 1


@given(st.floats(0, 50), st.floats(0, 50), st.floats(0, 50))
def test_the_allowance_is_the_tolerance_or_both_errors_as_far_as_the_baseline_knew(
    tolerance: float, old: float, new: float
) -> None:
    allowed = latency_allowance(Tolerance(latency_percent=tolerance), old, new)
    assert allowed == max(tolerance, old + min(old, new))
    assert allowed <= max(tolerance, 2 * old)


@pytest.mark.parametrize(("claimed", "factor"), [(20.0, 1.2), (150.0, 2.0), (1e6, 100.0)])
def test_a_table_that_claims_a_large_error_does_not_talk_the_gate_into_passing(
    baseline: Baseline,
    table: AccuracyTable,
    make_lut: Callable[..., Lut],
    claimed: float,
    factor: float,
) -> None:
    slower = make_lut("epyc7763", resolutions=(128, 160), factor=factor, mape=claimed)
    code, comparisons = check(baseline, slower, table)
    assert code == 2
    assert f"its own error was 1.00%, is {claimed:.2f}%" in comparisons[0].reasons[0]
    silent = slower.model_copy(update={"validation": None})
    code, comparisons = check(baseline, silent, table)
    assert code == 2
    assert "says no error of its own" in comparisons[0].reasons[0]


def test_an_error_a_little_larger_is_compared_with_what_the_baseline_knew(
    table: AccuracyTable, make_lut: Callable[..., Lut]
) -> None:
    good = make_lut("epyc7763", resolutions=(128, 160), mape=4.0)
    made, _ = make_baseline(collection_of(good, table), WantedLimits(), Tolerance())
    for factor, expected in ((1.079, 0), (1.081, 1)):
        worse = make_lut("epyc7763", resolutions=(128, 160), factor=factor, mape=11.0)
        code, comparisons = check(made, worse, table)
        assert code == expected
        assert {comparison.allowed_percent for comparison in comparisons} == {8.0}


def test_other_classes_calibration_or_precision_are_not_compared(
    baseline: Baseline, lut: Lut, table: AccuracyTable
) -> None:
    heads = [
        entry.model_copy(update={"shape": {"num_classes": 7}})
        if entry.position == "head"
        else entry
        for entry in lut.entries
    ]
    code, comparisons = check(baseline, lut.model_copy(update={"entries": heads}), table)
    assert code == 2
    assert f"num_classes was {lut.num_classes}, is 7" in comparisons[0].reasons[0]
    for name, value in (("calibration_images", 1), ("precision", "bf16")):
        evaluation = table.evaluation.model_copy(update={name: value})
        other = table.model_copy(update={"evaluation": evaluation})
        code, comparisons = check(baseline, lut, other)
        assert code == 2
        was = getattr(table.evaluation, name)
        assert f"{name} was {was}, is {value}" in comparisons[0].reasons[0]


def test_an_older_baseline_compares_what_it_knew(
    baseline: Baseline, lut: Lut, table: AccuracyTable, tmp_path: Path
) -> None:
    content = json.loads(baseline.to_json())
    for entry in content["results"]:
        del entry["lut"]["num_classes"]
        del entry["data"]["calibration_images"], entry["data"]["precision"]
        entry["lut"]["dtype"] = "float32"
    (tmp_path / "older.json").write_text(json.dumps(content))
    assert check(Baseline.read(tmp_path / "older.json"), lut, table)[0] == 0


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"hardware": "Other CPU"}, "hardware was Synthetic CPU 9000, is Other CPU"),
        ({"stable": False}, "unstable measurement: the canary drifted by 30%"),
        ({"method": "estimated"}, "method was measured, is estimated"),
        ({"device": "cpu"}, "no latency table of epyc7763"),
        ({"resolutions": (200, 224)}, "do not fit"),
    ],
)
def test_another_device_or_an_unstable_one_is_not_compared(
    baseline: Baseline,
    table: AccuracyTable,
    make_lut: Callable[..., Lut],
    fields: dict[str, object],
    reason: str,
) -> None:
    other = make_lut(**{"device": "epyc7763", "resolutions": (128, 160)} | fields)
    code, comparisons = check(baseline, other, table)
    assert code == 2
    assert all(reason in comparison.reasons[0] for comparison in comparisons)


def test_other_data_and_missing_tables_are_not_compared(
    baseline: Baseline,
    lut: Lut,
    table: AccuracyTable,
    make_accuracy: Callable[..., AccuracyTable],
) -> None:
    shapes = make_accuracy("fofa-n3", resolutions=(32, 40), dataset="shapes")
    code, comparisons = check(baseline, lut, shapes)
    assert code == 2
    assert "dataset was cifar10, is shapes" in comparisons[0].reasons[0]
    code, comparisons = check(baseline, lut)
    assert code == 2
    assert "no accuracy table of fofa-n3 seed 0" in comparisons[0].reasons[0]
    name = baseline.results[0].limits[0].architecture
    rows = [row for row in table.architectures if row.name != name]
    code, comparisons = check(baseline, lut, table.model_copy(update={"architectures": rows}))
    assert code == 2
    assert f"no {name}" in comparisons[0].reasons[0]


def test_a_regression_weighs_more_than_what_was_not_compared(
    baseline: Baseline, lut: Lut, table: AccuracyTable
) -> None:
    _, regressed = check(baseline, with_noise(lut, lambda: 1.2), table)
    _, missing = check(baseline, lut)
    assert exit_code([*missing, *regressed]) == 1
    assert exit_code([]) == 0


def test_nothing_that_fits_any_more_is_a_regression(
    baseline: Baseline, lut: Lut, table: AccuracyTable
) -> None:
    code, comparisons = check(baseline, with_noise(lut, lambda: 100.0), table)
    assert code == 1
    assert "no architecture fits" in comparisons[0].reasons[0]
    assert comparisons[0].new_top1 is None


def test_two_tables_of_one_device_are_ambiguous(
    baseline: Baseline, lut: Lut, table: AccuracyTable
) -> None:
    one = collection_of(lut, table)
    both = Collection(one.accuracy, one.luts * 2, one.accuracy_dir, one.luts_dir)
    comparisons = compare(baseline, both)
    assert exit_code(comparisons) == 2
    assert "several latency tables" in comparisons[0].reasons[0]


def test_an_unstable_measurement_makes_no_baseline(
    make_lut: Callable[..., Lut], table: AccuracyTable
) -> None:
    unstable = make_lut(resolutions=(128, 160), stable=False)
    with pytest.raises(UserError, match=r"nothing to record.*unstable"):
        make_baseline(collection_of(unstable, table), WantedLimits(), Tolerance())
