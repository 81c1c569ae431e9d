"""The accuracy table: what it derives and what it refuses."""

import json
from pathlib import Path

import pytest

from fofa.accuracy import AccuracyTable
from fofa.errors import UserError


def test_mean_top1_is_over_the_largest_resolution(make_accuracy) -> None:
    table = make_accuracy(top1=lambda a: 70.0 if a.resolution == 160 else 10.0)
    assert table.mean_top1 == pytest.approx(70.0)


def test_a_written_table_reads_back_the_same(make_accuracy, tmp_path: Path) -> None:
    table = make_accuracy()
    table.write(tmp_path / "accuracy.json")
    assert AccuracyTable.read(tmp_path / "accuracy.json") == table


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "22222"}, "architecture name"),
        ({"name": "22222@999"}, "not in the table's space"),
        ({"name": "44444@160"}, "twice"),
        ({"top1": 101}, "top1"),
        ({"top1": None}, "top1"),
        ({"macs": 0}, "macs"),
        ({"macs": 2**64}, "macs"),
        ({"params": 10**400}, "out of range"),
    ],
)
def test_wrong_rows_are_refused(make_accuracy, tmp_path: Path, change, message) -> None:
    data = json.loads(make_accuracy().to_json())
    data["architectures"][0].update(change)
    path = tmp_path / "accuracy.json"
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match=message):
        AccuracyTable.read(path)
