"""Tables 3 to 5: right choices, notes in place of misleading numbers, seeds, captions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from bench.tables.collect import AccuracySource, LutSource, SettingResults
from bench.tables.devices import Limits, PairedDevice, WantedLimits, pair_device
from bench.tables.latency import latency_table, meaningless
from bench.tables.model import Table
from fofa.accuracy import AccuracyTable
from fofa.errors import UserError
from fofa.latency import Lut


def source_of(table: AccuracyTable, name: str | None = None) -> AccuracySource:
    return AccuracySource(Path(f"{name or table.recipe}.json"), table)


def table_of(
    lut: Lut, tables: Sequence[AccuracyTable], wanted: WantedLimits | None = None
) -> tuple[Table, PairedDevice]:
    sources = [source_of(t, f"{t.recipe}-seed{t.training.seed}") for t in tables]
    source = LutSource(Path("device.json"), lut)
    results = SettingResults.of(sources[0].setting, sources)
    device = pair_device(source, results, wanted or WantedLimits())
    return latency_table("table5", "Table 5", results, [device]), device


def test_each_cell_is_the_true_optimum(
    make_lut: Callable[..., Lut], make_accuracy: Callable[..., AccuracyTable]
) -> None:
    table, device = table_of(make_lut(), [make_accuracy("ofa"), make_accuracy("compofa")])
    for row in table.rows[:2]:
        candidates = device.candidates[f"accuracy-{row.recipe}-seed0"]
        for column, cell in list(zip(table.columns, row.cells, strict=True))[1:]:
            assert column.limit_ms is not None
            within = candidates.latency_ms <= column.limit_ms
            assert cell.value == candidates.top1[within].max()
            (choice,) = cell.choices
            assert choice.latency_ms <= column.limit_ms
            assert choice.top1 == cell.value
            assert choice.timed_as.split("@")[0] == choice.architecture.split("@")[0]


def test_the_best_of_a_column_is_marked(
    make_lut: Callable[..., Lut], make_accuracy: Callable[..., AccuracyTable]
) -> None:
    tables = [make_accuracy("compofa", bonus=3.0), make_accuracy("fofa-n3")]
    table, _ = table_of(make_lut(), tables)
    best = {row.recipe: [cell.best for cell in row.cells] for row in table.rows}
    assert best["compofa"] == [False, True, True, True, True]
    assert best["fofa-n3"] == [False] * 5


def test_missing_recipes_keep_their_row_with_the_papers_numbers(
    make_lut: Callable[..., Lut], make_accuracy: Callable[..., AccuracyTable]
) -> None:
    table, _ = table_of(make_lut(), [make_accuracy("fofa-n3")])
    (ofa,) = [row for row in table.rows if row.recipe == "ofa"]
    assert [cell.value for cell in ofa.cells] == [None] * 5
    assert {cell.note for cell in ofa.cells} == {"no accuracy table"}
    assert [cell.paper for cell in ofa.cells] == [605, 74.34, 74.92, 74.92, 76.05]


def test_limits_that_select_nothing_say_so(
    make_lut: Callable[..., Lut], make_accuracy: Callable[..., AccuracyTable]
) -> None:
    wanted = WantedLimits("given", (0.001, 5.0, 1e6))
    table, _ = table_of(make_lut(), [make_accuracy("fofa-n3")], wanted)
    (row,) = [row for row in table.rows if row.recipe == "fofa-n3"]
    none, some, every = row.cells[1:]
    assert none.value is None
    assert (none.note or "").startswith("none fits; the fastest takes ")
    assert some.value is not None
    assert every.value is None
    assert (every.note or "").startswith("all 972 fit")


def test_seeds_become_mean_and_spread(
    make_lut: Callable[..., Lut], make_accuracy: Callable[..., AccuracyTable]
) -> None:
    tables = [make_accuracy("fofa-n3", seed=0), make_accuracy("fofa-n3", seed=7, bonus=1.0)]
    table, _ = table_of(make_lut(), tables)
    (row,) = [row for row in table.rows if row.recipe == "fofa-n3"]
    for cell in row.cells[1:]:
        values = [choice.top1 for choice in cell.choices]
        assert [choice.seed for choice in cell.choices] == [0, 7]
        assert cell.value == pytest.approx(np.mean(values))
        assert cell.spread == pytest.approx(np.std(values, ddof=1))
    assert any("seeds (fOFA (n=3) 2)" in sentence for sentence in table.caption)


def test_matched_columns_stand_beside_the_papers_of_the_same_rank(
    make_lut: Callable[..., Lut], make_accuracy: Callable[..., AccuracyTable]
) -> None:
    table, device = table_of(make_lut(), [make_accuracy("ofa")])
    assert device.limits.origin == "matched"
    assert [column.paper_title for column in table.columns[1:]] == [
        "22 ms",
        "25 ms",
        "28 ms",
        "31 ms",
    ]
    given_table, _ = table_of(
        make_lut(), [make_accuracy("ofa")], WantedLimits("given", (3.0, 25.0))
    )
    assert [cell.paper for cell in given_table.rows[0].cells[1:]] == [None, 74.92]


def test_captions_repeat_every_note_and_name_the_hardware(
    make_lut: Callable[..., Lut], make_accuracy: Callable[..., AccuracyTable]
) -> None:
    published = make_lut(
        "note10", method="published", width_mult=1.2, resolutions=(160, 192, 224), factor=4.0
    )
    table, device = table_of(published, [make_accuracy("ofa")])
    text = " ".join(table.caption)
    assert len(device.notes) == 3
    assert all(note in text for note in device.notes)
    assert "published table, not measured here" in text
    measured, _ = table_of(make_lut(hardware="Toaster 3000", stable=False), [make_accuracy("ofa")])
    text = " ".join(measured.caption)
    assert "measured on Toaster 3000" in text
    assert "not the hardware that epyc7763 stands for" in text
    assert "UNSTABLE measurement: the canary drifted by 30%" in text
    assert measured.columns[1].group == "Toaster 3000 (measured as epyc7763)"
    estimated, _ = table_of(make_lut("a100", method="estimated"), [make_accuracy("ofa")])
    assert "ESTIMATED" in " ".join(estimated.caption)


def test_a_device_that_nothing_was_expected_of_is_called_after_its_hardware(
    make_lut: Callable[..., Lut], make_accuracy: Callable[..., AccuracyTable]
) -> None:
    here = make_lut("note10", matches=None, hardware="Toaster 3000")
    table, _ = table_of(here, [make_accuracy("ofa")])
    assert table.columns[1].group == "Toaster 3000 (measured as note10)"
    assert "Nothing says that this is what note10 stands for" in " ".join(table.caption)


def test_only_devices_of_the_paper_have_its_limits_beside_theirs(
    make_lut: Callable[..., Lut], make_accuracy: Callable[..., AccuracyTable]
) -> None:
    table, _ = table_of(make_lut("cpu", matches=None), [make_accuracy("ofa")])
    assert "Limits: matched" in " ".join(table.caption)
    assert "the paper's limit of the same rank" not in " ".join(table.caption)


def test_a_matched_limit_stands_by_its_rank_even_if_it_equals_another_of_the_paper(
    make_lut: Callable[..., Lut], make_accuracy: Callable[..., AccuracyTable]
) -> None:
    lut, ofa = make_lut("epyc7763"), make_accuracy("ofa")
    _, device = table_of(lut, [ofa])
    # The same table, slower by what makes its first limit the paper's second.
    slower = make_lut("epyc7763", factor=25 / device.limits.values_ms[0])
    table, device = table_of(slower, [ofa])
    assert device.limits.values_ms[0] == pytest.approx(25, rel=1e-3)
    exact = PairedDevice(
        device.source,
        device.title,
        Limits((25.0, *device.limits.values_ms[1:]), "matched"),
        device.candidates,
    )
    sources = [source_of(ofa, "ofa-seed0")]
    results = SettingResults.of(sources[0].setting, sources)
    table = latency_table("table5", "Table 5", results, [exact])
    assert [cell.paper for cell in table.rows[0].cells[1:]] == [74.34, 74.92, 74.92, 76.05]


def test_a_limit_at_a_latency_lets_it_through_whatever_rounding_did(
    make_lut: Callable[..., Lut], make_accuracy: Callable[..., AccuracyTable]
) -> None:
    _, device = table_of(make_lut(), [make_accuracy("ofa")])
    (candidates,) = device.candidates.values()
    fastest, slowest = candidates.latency_ms.min(), candidates.latency_ms.max()
    assert meaningless(candidates, float(fastest) * (1 - 1e-12)) is None
    assert (meaningless(candidates, float(fastest) * 0.999) or "").startswith("none fits")
    assert (meaningless(candidates, float(slowest) * (1 - 1e-12)) or "").startswith("all")


def test_one_table_that_does_not_fit_is_a_note_and_none_that_fits_an_error(
    make_lut: Callable[..., Lut], make_accuracy: Callable[..., AccuracyTable]
) -> None:
    space = {"kind": "compound", "width_mult": 1.5, "resolutions": [32, 40, 48, 56]}
    wide = make_accuracy("wide", space=space)
    table, _ = table_of(make_lut(), [make_accuracy("ofa"), wide])
    (row,) = [row for row in table.rows if row.recipe == "wide"]
    assert "width 1 and width 1.5" in (row.cells[1].note or "")
    with pytest.raises(UserError, match="do not fit"):
        table_of(make_lut(), [wide])
