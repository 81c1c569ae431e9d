"""The paper's numbers agree with each other and with its text."""

from __future__ import annotations

import pytest

from bench.tables import paper


@pytest.mark.parametrize("row", paper.METHODS, ids=lambda row: row.recipe)
def test_ratios_follow_from_the_costs(row: paper.PaperMethod) -> None:
    assert round(paper.METHODS[0].gpu_hours / row.gpu_hours, 1) == row.ratio


@pytest.mark.parametrize("device", paper.DEVICES, ids=lambda device: device.device)
def test_looser_limits_never_cost_accuracy(device: paper.PaperDevice) -> None:
    assert list(device.limits_ms) == sorted(set(device.limits_ms))
    for values in device.top1.values():
        assert list(values) == sorted(values)


def test_tables_have_their_devices() -> None:
    found = {n: [d.device for d in paper.devices_of_table(n)] for n in (3, 4, 5)}
    assert found == {3: ["note10"], 4: ["a100", "pascal"], 5: ["epyc7763"]}
    assert paper.device("toaster") is None


def test_the_text_of_section_4_3_holds_for_the_data() -> None:
    note10 = paper.device("note10")
    assert note10 is not None
    for column in (1, 2, 3):
        best = max(note10.top1, key=lambda recipe: note10.top1[recipe][column])
        assert best == "fofa-n3"
    assert max(note10.top1, key=lambda recipe: note10.top1[recipe][0]) == "compofa"


def test_order_is_the_papers_then_the_sandwich_rule_then_by_name() -> None:
    recipes = ["zebra", "sandwich", "fofa-n4-300", "apple", "compofa", "ofa"]
    ordered = sorted(recipes, key=paper.recipe_order)
    assert ordered == ["ofa", "compofa", "fofa-n4-300", "sandwich", "apple", "zebra"]
    assert [paper.label(name) for name in ("fofa-n3", "apple")] == ["fOFA (n=3)", "apple"]
