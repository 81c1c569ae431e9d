"""The latency table: sums, calibration, what it refuses, and files that come back the same."""

import json
from pathlib import Path

import numpy as np
import pytest

from fofa.errors import UserError
from fofa.latency import (
    Calibration,
    Lut,
    LutEntry,
    Stability,
    block_keys,
    required_keys,
)
from fofa.space import NetworkConfig, SearchSpace, parse_architecture
from fofa.validation import Validation


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


def test_latencies_of_many_are_those_of_each(make_lut) -> None:
    lut = make_lut(kind="elastic", calibration={"128": Calibration(scale=1.1, offset_ms=-0.2)})
    architectures = list(SearchSpace(resolutions=(128, 160)).architectures())
    single = [lut.latency_ms(architecture) for architecture in architectures]
    np.testing.assert_array_equal(lut.latencies_ms(architectures), single)


def validated(lut: Lut, mape: float, noise: float) -> Lut:
    validation = Validation(
        networks=8,
        mape_percent=mape,
        max_percent=2 * mape,
        within_5_percent=100,
        within_10_percent=100,
        kendall_tau=1.0,
        noise_percent=noise,
    )
    return lut.model_copy(update={"validation": validation})


def test_the_error_is_the_larger_of_mape_and_noise(make_lut) -> None:
    assert validated(make_lut(), 1.5, 0.5).error_percent == 1.5
    assert validated(make_lut(), 0.5, 2.0).error_percent == 2.0
    assert make_lut().error_percent is None


@pytest.mark.parametrize(
    ("stability", "instability"),
    [
        (None, None),
        (Stability(stable=True), None),
        (Stability(stable=False, reasons=["drift", "noise"]), "drift; noise"),
        (Stability(stable=False), "no reason recorded"),
    ],
)
def test_a_table_says_why_it_is_not_to_be_trusted(
    make_lut, stability: Stability | None, instability: str | None
) -> None:
    lut = make_lut().model_copy(update={"stability": stability})
    assert lut.instability == instability


@pytest.mark.parametrize(
    ("measured_on", "drift_percent"),
    [
        ({"measurement": {"drift_percent": 3}}, 3.0),
        ({"measurement": {}}, None),
        ({"measurement": None}, None),
        ({}, None),
    ],
)
def test_a_table_tells_its_drift(make_lut, measured_on, drift_percent: float | None) -> None:
    lut = make_lut()
    device = lut.device.model_copy(update={"measured_on": measured_on})
    assert lut.model_copy(update={"device": device}).drift_percent == drift_percent


@pytest.mark.parametrize(
    ("word", "dtype"), [("float16", "fp16"), ("fp32", "fp32"), ("q4", "q4"), (None, None)]
)
def test_older_words_for_number_types_are_read(
    make_lut, tmp_path: Path, word: str | None, dtype: str | None
) -> None:
    data = json.loads(make_lut().to_json())
    data["protocol"]["dtype"] = word
    path = tmp_path / "lut.json"
    path.write_text(json.dumps(data))
    assert Lut.read(path).protocol.dtype == dtype


def test_an_entry_of_a_block_is_looked_up_as_the_block() -> None:
    for block in SearchSpace(kind="elastic").unique_blocks(160, NetworkConfig()):
        entry = LutEntry.of(block, 1.5, resolution=160, samples=3)
        assert entry.key == block.key
        assert (entry.latency_ms, entry.samples, entry.alone_ms) == (1.5, 3, None)
        assert entry.shape == block.shape()


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
