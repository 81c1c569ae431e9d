"""The side file of outcomes: what is written reads back, and only beside its own table."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fofa.accuracy import AccuracyTable, EvaluationRecord
from fofa.errors import UserError
from fofa.outcomes import Outcomes, outcomes_path, read_outcomes, write_outcomes

IMAGES = 21
LABELS = "a" * 64


@pytest.fixture
def table(make_accuracy: Callable[..., AccuracyTable], tmp_path: Path) -> Path:
    """An accuracy table of 21 images with its outcomes beside it."""
    rng = np.random.default_rng(0)
    whole = make_accuracy(resolutions=(32,))
    right = {row.name: rng.random(IMAGES) < 0.7 for row in whole.architectures}
    evaluation = EvaluationRecord(calibration_images=1, test_images=IMAGES, split="test")
    rows = [
        row.model_copy(update={"top1": 100 * float(right[row.name].mean())})
        for row in whole.architectures
    ]
    path = tmp_path / "accuracy.json"
    whole.model_copy(update={"evaluation": evaluation, "architectures": rows}).write(path)
    write_outcomes(Outcomes.of(LABELS, right), path)
    return path


def read(path: Path) -> Outcomes | None:
    return read_outcomes(path, AccuracyTable.read(path))


def change(path: Path, **fields: object) -> None:
    side = outcomes_path(path)
    data = json.loads(gzip.decompress(side.read_bytes()))
    side.write_bytes(gzip.compress(json.dumps(data | fields).encode()))


def test_outcomes_read_back_bit_by_bit(table: Path) -> None:
    found = read(table)
    assert found is not None
    names = list(found.right)
    rows = np.array([found.row(name) for name in names])
    assert rows.shape == (243, IMAGES)
    assert found.mean(names) == pytest.approx(rows.mean(axis=0))
    assert Outcomes.of(LABELS, dict(zip(names, rows, strict=True))) == found
    before = outcomes_path(table).read_bytes()
    write_outcomes(found, table)
    assert outcomes_path(table).read_bytes() == before


def test_a_table_without_a_side_file_has_no_outcomes(table: Path) -> None:
    outcomes_path(table).unlink()
    assert read(table) is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"test_images": 20}, r"is right for .*|have 3 bytes|is of 20 images"),
        ({"test_images": 10**9}, "test_images"),
        ({"images": "../../x"}, "images"),
        ({"right": {"22222@32": "AAAA"}}, "is right for 0%|has no outcomes"),
        ({"right": {"22222@32": "AA"}}, "not base64"),
        ({"right": {"22222@32": "AAAAAAAA"}}, "6 bytes, expected 3 for 21 images"),
        ({"right": {}}, "right"),
        ({"schema": "fofa.outcomes/2"}, "newer"),
        ({"more": 1}, "more"),
    ],
)
def test_what_does_not_belong_to_the_table_is_one_line(
    table: Path, fields: dict[str, object], message: str
) -> None:
    change(table, **fields)
    with pytest.raises(UserError, match=message) as error:
        read(table)
    assert "accuracy.outcomes.json.gz" in str(error.value)
    assert "\n" not in str(error.value)


def test_damaged_and_swollen_files_are_refused(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = outcomes_path(table)
    whole = side.read_bytes()
    for damaged in (b"", b"no gzip", whole[:-20], whole[:20] + b"x" * 40):
        side.write_bytes(damaged)
        with pytest.raises(UserError, match=r"accuracy\.outcomes\.json\.gz: "):
            read(table)
    side.write_bytes(whole)
    monkeypatch.setattr("fofa.outcomes.MAX_BYTES", 1000)
    with pytest.raises(UserError, match="holds more than"):
        read(table)
