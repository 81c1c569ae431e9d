"""The lines of the fronts: they rise, and stand at the numbers of the table."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from bench.tables.collect import AccuracySource, LutSource, SettingResults
from bench.tables.devices import WantedLimits, pair_device
from bench.tables.fronts import front_lines
from bench.tables.latency import latency_table
from fofa.accuracy import AccuracyTable
from fofa.latency import Lut


def test_at_a_limit_a_line_stands_at_the_tables_number_and_architectures(
    make_lut: Callable[..., Lut], accuracy_tables: dict[str, AccuracyTable]
) -> None:
    sources = [AccuracySource(Path(f"{name}.json"), t) for name, t in accuracy_tables.items()]
    results = SettingResults.of(sources[0].setting, sources)
    device = pair_device(LutSource(Path("lut.json"), make_lut()), results, WantedLimits())
    lines = {line.recipe: line for line in front_lines(results, device)}
    assert len(lines["fofa-n3"].sources) == 2
    table = latency_table("t", "T", results, [device])
    assert set(lines) == {row.recipe for row in table.rows}
    for row in table.rows:
        steps = lines[row.recipe].steps
        for one, other in pairwise(steps):
            assert one.latency_ms < other.latency_ms
            assert one.top1 < other.top1
        for column, cell in zip(table.columns[1:], row.cells[1:], strict=True):
            assert column.limit_ms is not None
            last = [step for step in steps if step.latency_ms <= column.limit_ms][-1]
            assert last.top1 == pytest.approx(cell.value)
            assert list(last.chosen) == cell.choices
