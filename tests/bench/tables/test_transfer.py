"""The matrix of devices: nothing is lost at home, what is lost elsewhere is by brute force."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.tables.collect import AccuracySource, LutSource, SettingResults
from bench.tables.devices import limits_by_share
from bench.tables.transfer import (
    Matrix,
    most_accurate,
    relation,
    transfer_matrix,
    transfer_table,
)
from fofa.accuracy import AccuracyTable
from fofa.errors import UserError
from fofa.latency import Lut
from fofa.search.pairing import pair

MakeLut = Callable[..., Lut]


def reshaped(lut: Lut, last_stages: float) -> Lut:
    """The same device with slower or faster late stages: another order of networks."""
    entries = [
        entry.model_copy(
            update={"latency_ms": entry.latency_ms * (last_stages if (entry.stage or 0) > 3 else 1)}
        )
        for entry in lut.entries
    ]
    return lut.model_copy(update={"entries": entries})


@pytest.fixture(scope="module")
def results(make_accuracy: Callable[..., AccuracyTable]) -> SettingResults:
    tables = [
        make_accuracy("ofa", resolutions=(32, 40)),
        make_accuracy("fofa-n3", resolutions=(32, 40), bonus=5),
        make_accuracy("fofa-n3", seed=1, resolutions=(32, 40), bonus=5),
    ]
    sources = [AccuracySource(Path(f"{number}.json"), table) for number, table in enumerate(tables)]
    return SettingResults.of(sources[0].setting, sources)


@pytest.fixture(scope="module")
def luts(make_lut: MakeLut) -> list[LutSource]:
    plain = make_lut("cpu", resolutions=(128, 160), matches=None)
    made = {
        "plain": plain,
        "slower": make_lut("cpu", resolutions=(128, 160), factor=3.0, matches=None),
        "late": reshaped(plain, 6.0),
        "early": reshaped(plain, 0.05),
    }
    return [LutSource(Path(f"{name}.json"), lut) for name, lut in made.items()]


@pytest.fixture(scope="module")
def matrix(results: SettingResults, luts: list[LutSource]) -> Matrix:
    return transfer_matrix(results, luts)


def test_by_default_the_most_accurate_recipe_is_taken(
    results: SettingResults, matrix: Matrix
) -> None:
    assert most_accurate(results) == matrix.recipe == "fofa-n3"
    assert len(matrix.sources) == 2
    assert matrix.num_architectures == 486


def test_at_home_and_on_a_device_of_the_same_shape_nothing_is_lost(matrix: Matrix) -> None:
    for place in range(4):
        home = matrix.transfers[place][place]
        assert (home.changed, home.lost_points, home.over_percent) == (0, 0, 0)
    # Three times slower everywhere: the same networks are the best. Limits are rounded up.
    assert matrix.transfers[0][1].lost_points == pytest.approx(0, abs=0.05)
    assert matrix.transfers[0][1].over_percent == pytest.approx(0, abs=0.05)


def test_losses_elsewhere_are_those_of_brute_force(
    results: SettingResults, luts: list[LutSource], matrix: Matrix
) -> None:
    expected: dict[str, list[float]] = {"lost": [], "changed": [], "over": []}
    for source in results.of_recipe("fofa-n3"):
        there, here = (pair(luts[place].lut, source.table) for place in (2, 3))
        assert there.architectures == here.architectures
        top1 = there.top1
        front = [
            row
            for row in range(len(top1))
            if not np.any(
                (there.latency_ms <= there.latency_ms[row])
                & (top1 >= top1[row])
                & ((there.latency_ms < there.latency_ms[row]) | (top1 > top1[row]))
            )
        ]
        limits = zip(
            limits_by_share(there.latency_ms), limits_by_share(here.latency_ms), strict=True
        )
        for limit_there, limit_here in limits:
            chosen = max(np.flatnonzero(there.latency_ms <= limit_there), key=lambda r: top1[r])
            own = max(np.flatnonzero(here.latency_ms <= limit_here), key=lambda r: top1[r])
            kept = [top1[row] for row in front if here.latency_ms[row] <= limit_here]
            expected["lost"].append(top1[own] - max(kept))
            expected["changed"].append(chosen != own)
            expected["over"].append(max(0, 100 * (here.latency_ms[chosen] / limit_here - 1)))
    found = matrix.transfers[2][3]
    assert found.lost_points == pytest.approx(np.mean(expected["lost"]))
    assert found.changed == pytest.approx(np.mean(expected["changed"]))
    assert found.over_percent == pytest.approx(np.mean(expected["over"]))
    assert found.lost_points > 0
    assert found.over_percent > 0


def test_the_table_names_every_device_and_how_it_was_obtained(matrix: Matrix) -> None:
    table = transfer_table("devices", "Devices", matrix)
    assert table.row_title == "Chosen for"
    assert [row.method for row in table.rows] == ["plain", "slower", "late", "early"]
    assert [table.rows[place].cells[place].note for place in range(4)] == ["itself"] * 4
    cell = table.rows[2].cells[3]
    assert cell.value == matrix.transfers[2][3].lost_points
    assert "% change, +" in (cell.note or "")
    text = " ".join(table.caption)
    assert "the 486 architectures that all devices time, and over 2 seeds" in text
    assert "measured on Synthetic CPU 9000" in text
    assert "one standard error of a top-1" in text


def test_what_tells_tables_apart_is_named(make_lut: MakeLut) -> None:
    def source(**protocol: object) -> LutSource:
        lut = make_lut("cpu", resolutions=(128,), matches=None)
        changed = lut.protocol.model_copy(update=protocol)
        return LutSource(Path("x.json"), lut.model_copy(update={"protocol": changed}))

    one = source()
    other = LutSource(Path("y.json"), make_lut("cpu", resolutions=(128,), hardware="Other CPU"))
    assert relation(one, other) == "devices"
    assert relation(one, source(runtime="openvino")) == "runtimes"
    assert relation(one, source(dtype="int8")) == "number types"
    assert relation(one, source(batch_size=4)) == "other settings"


def test_the_order_of_tables_changes_only_the_order(
    results: SettingResults, luts: list[LutSource], matrix: Matrix
) -> None:
    turned = transfer_matrix(results, luts[::-1])
    for row in range(4):
        for column in range(4):
            assert turned.transfers[3 - row][3 - column] == matrix.transfers[row][column]


def test_what_cannot_be_made_is_one_line(
    results: SettingResults, luts: list[LutSource], make_lut: MakeLut
) -> None:
    with pytest.raises(UserError, match=r"needs two latency tables or more .*found 1"):
        transfer_matrix(results, luts[:1])
    with pytest.raises(UserError, match="no accuracy table of the recipe 'mine'; there are ofa"):
        transfer_matrix(results, luts, "mine")
    wide = make_lut("cpu", resolutions=(128, 160), width_mult=1.5, matches=None)
    made = transfer_matrix(results, [*luts, LutSource(Path("wide.json"), wide)], "ofa")
    assert len(made.luts) == 4
    assert made.left_out[0].startswith("Left out: wide.json: ")


def test_int8_latencies_take_the_int8_accuracies_of_the_same_supernet(
    results: SettingResults, luts: list[LutSource], make_accuracy: Callable[..., AccuracyTable]
) -> None:
    plain = luts[0].lut
    protocol = plain.protocol.model_copy(update={"dtype": "int8"})
    small = LutSource(Path("small.json"), plain.model_copy(update={"protocol": protocol}))
    alone = transfer_matrix(results, [luts[0], small], "ofa")
    assert alone.transfers[1][0].changed == 0
    assert "On cpu: latency in int8, accuracy in fp32." in alone.notes
    table = make_accuracy("ofa", resolutions=(32, 40))
    # Quantised, the large networks are worse than the small ones.
    rows = [a.model_copy(update={"top1": 100 - a.top1}) for a in table.architectures]
    evaluation = table.evaluation.model_copy(update={"precision": "int8"})
    update = {"architectures": rows, "evaluation": evaluation}
    twin = AccuracySource(Path("int8.json"), table.model_copy(update=update))
    both = transfer_matrix(results, [luts[0], small], "ofa", others=[twin])
    assert both.transfers[1][0].changed == 1
    assert not any("int8" in note for note in both.notes)
