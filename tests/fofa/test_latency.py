"""The latency table: sums, calibration, what it refuses, and files that come back the same."""

import json
from pathlib import Path

import numpy as np
import pytest

from fofa.errors import UserError
from fofa.latency import Calibration, Lut, block_keys, required_keys
from fofa.space import SearchSpace, compound_subnets, parse_architecture


def test_latency_is_the_calibrated_sum_of_the_blocks(make_lut) -> None:
    lut = make_lut(calibration={"160": Calibration(scale=0.5, offset_ms=1.0)})
    architecture = parse_architecture("23432@160")
    total = sum(lut.block_ms(160, key) for key in block_keys(architecture))
    assert len(block_keys(architecture)) == 3 + 2 + 3 + 4 + 3 + 2
    assert lut.sum_ms(architecture) == pytest.approx(total)
    assert lut.latency_ms(architecture) == pytest.approx(0.5 * total + 1.0)
    assert lut.latency_ms(parse_architecture("23432@128")) == pytest.approx(
        lut.sum_ms(parse_architecture("23432@128"))
    )


def test_all_compound_latencies_at_once_equal_one_by_one(make_lut) -> None:
    lut = make_lut(kind="elastic", calibration={"128": Calibration(scale=1.1, offset_ms=-0.2)})
    for resolution in (128, 160):
        single = [
            lut.latency_ms(parse_architecture(f"{subnet}@{resolution}"))
            for subnet in compound_subnets()
        ]
        np.testing.assert_allclose(lut.compound_latencies_ms(resolution), single, rtol=1e-12)


def test_a_missing_entry_is_an_error_that_names_the_block(make_lut) -> None:
    lut = make_lut(device="toaster")
    with pytest.raises(UserError, match="toaster has no resolution 224"):
        lut.latency_ms(parse_architecture("22222@224"))
    elastic = parse_architecture("7x4+3x4-5x4+5x4-3x4+3x4-3x4+3x4-5x4+5x4@160")
    with pytest.raises(UserError, match="stage 1 first block, kernel 7, expand 4 at 160 px"):
        lut.latency_ms(elastic)


def test_required_keys_are_those_of_the_space() -> None:
    assert len(required_keys(SearchSpace())) == 33
    assert len(required_keys(SearchSpace(kind="elastic"))) == 93


def test_a_written_table_reads_back_the_same(make_lut, tmp_path: Path) -> None:
    lut = make_lut(calibration={"128": Calibration(scale=1.02, offset_ms=0.1)})
    lut.write(tmp_path / "lut.json")
    assert Lut.read(tmp_path / "lut.json") == lut


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("latency_ms", 0, "entries.*latency_ms"),
        ("latency_ms", -1, "entries.*latency_ms"),
        ("latency_ms", "fast", "entries.*latency_ms"),
        ("kernel", 4, "kernel"),
        ("stage", None, "stage"),
        ("resolution", 96, "96"),
    ],
)
def test_wrong_entries_are_refused_by_name(make_lut, tmp_path: Path, field, value, message) -> None:
    data = json.loads(make_lut().to_json())
    row = next(entry for entry in data["entries"] if entry["position"] == "stage")
    row[field] = value
    path = tmp_path / "lut.json"
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match=message):
        Lut.read(path)


def test_an_entry_that_comes_twice_is_refused(make_lut, tmp_path: Path) -> None:
    data = json.loads(make_lut().to_json())
    data["entries"].append(data["entries"][0])
    path = tmp_path / "lut.json"
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match="comes twice"):
        Lut.read(path)
