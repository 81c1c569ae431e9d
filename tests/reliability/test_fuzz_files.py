"""Every file that is read, damaged in every way: read as it stands, or refused in one line.

Valid files are mutated (`tests/support/damage.py`): fields dropped, renamed, retyped, repeated;
files truncated, bits flipped.
What is read all the same must be what the file says (`same_values`), and using it must give finite
numbers or a refusal.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from damage import (
    damage_bytes,
    damage_json,
    damage_lines,
    damage_safetensors,
    damage_yaml,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from bench.gate.baseline import Baseline
from bench.gate.compare import compare
from bench.tables.collect import collect
from fofa.accuracy import AccuracyTable, SpaceRecord
from fofa.data import open_data
from fofa.errors import UserError
from fofa.evaluate.checkpoint import PartialRecord, read_partial, write_partial
from fofa.latency import Lut
from fofa.predictor.model import (
    Predictor,
    PredictorRecord,
    load_predictor,
    num_block_features,
)
from fofa.runs import RECORD_NAME, WEIGHTS_NAME, Run, RunRecord
from fofa.search.pairing import pair, pair_predictor, predict_compound
from fofa.space import MOBILENETV3, NetworkConfig, SearchSpace, parse_architecture
from fofa.supernet.config import SupernetConfig
from fofa.supernet.foreign import read_checkpoint
from fofa.supernet.model import Supernet
from fofa.supernet.weights import check_state, save_weights
from fofa.tensor_files import read_tensors
from fofa.train.checkpoint import Checkpoint, CheckpointState, load_checkpoint, save_checkpoint
from fofa.train.settings import TrainSettings
from profilers.measuring.measurement import evaluate
from profilers.measuring.samples import PartialFile, Round, SchedulePlan, Visit
from profilers.tables.ofa_yaml import layer_names, parse_table

FEW, MANY = 10, 2000
SLOW = (pytest.mark.slow, pytest.mark.timeout(3600))
EXAMPLES = [pytest.param(FEW, id="few"), pytest.param(MANY, id="many", marks=SLOW)]
SMALLEST = SupernetConfig(width_mult=0.1, num_classes=4)


def same_values(given_: Any, kept: Any) -> bool:
    """Whether everything that the file says was taken over as it stands; kept may have defaults."""
    if isinstance(given_, dict):
        return isinstance(kept, dict) and all(
            key in kept and same_values(item, kept[key]) for key, item in given_.items()
        )
    if isinstance(given_, list):
        return (
            isinstance(kept, list)
            and len(given_) == len(kept)
            and all(same_values(a, b) for a, b in zip(given_, kept, strict=True))
        )
    numbers = isinstance(given_, int | float) and isinstance(kept, int | float)
    if numbers and not isinstance(given_, bool) and not isinstance(kept, bool):
        return given_ == kept
    return type(given_) is type(kept) and given_ == kept


def check_model(path: Path, model: Any) -> None:
    """A file that was read holds what the file says."""
    kept = model.model_dump(by_alias=True, mode="json")
    assert same_values(json.loads(path.read_bytes()), kept)


def block_sum_ms(path: Path, name: str) -> float:
    """Latency of a compound architecture by a LUT's JSON, calculated in the plainest way."""
    table, architecture = json.loads(path.read_bytes()), parse_architecture(name)

    def entry(**wanted: Any) -> float:
        wanted["resolution"] = architecture.resolution
        (found,) = [
            e for e in table["entries"] if all(e.get(k) == value for k, value in wanted.items())
        ]
        return found["latency_ms"]

    total = sum(entry(position=position) for position in ("stem", "first", "head"))
    for stage, blocks in enumerate(architecture.subnet.stages, start=1):
        for index, block in enumerate(blocks):
            order = "later" if index else "first"
            total += entry(
                stage=stage, block=order, kernel=block.kernel, expand=block.expand, position="stage"
            )
    calibration = table.get("calibration", {}).get(str(architecture.resolution))
    return calibration["scale"] * total + calibration["offset_ms"] if calibration else total


@dataclass(frozen=True, slots=True)
class Format:
    """A file format: a valid file, how it is damaged, and how it is read and used."""

    name: str
    valid: bytes
    damage: Callable[[bytes, st.DataObject], bytes]
    use: Callable[[Path], None]


@pytest.fixture(scope="module")
def formats(
    tiny_tables: Path, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Format]:
    folder = tmp_path_factory.mktemp("valid")
    makers = (json_formats, run_formats, tensor_formats, table_formats)
    found = [one for make in makers for one in make(folder, tiny_tables, tiny_run)]
    return {one.name: one for one in found}


def json_formats(folder: Path, tables: Path, run: Path) -> Iterator[Format]:
    lut_path, accuracy_path = tables / "luts" / "steady.json", tables / "accuracy" / "tiny.json"
    lut, accuracy = Lut.read(lut_path), AccuracyTable.read(accuracy_path)

    def use_lut(path: Path) -> None:
        found = Lut.read(path)
        check_model(path, found)
        rows = pair(found, accuracy)
        assert np.isfinite(rows.latency_ms).all()
        for architecture, latency in zip(rows.timed_as, rows.latency_ms, strict=True):
            assert latency == pytest.approx(block_sum_ms(path, architecture.name))

    def use_accuracy(path: Path) -> None:
        found = AccuracyTable.read(path)
        check_model(path, found)
        rows = pair(lut, found)
        given_ = {row["name"]: row for row in json.loads(path.read_bytes())["architectures"]}
        for number, architecture in enumerate(rows.architectures):
            assert rows.top1[number] == given_[architecture.name]["top1"]
            assert np.isfinite(rows.latency_ms[number])
        assert 0 <= found.mean_top1 <= 100

    yield Format("latency table", lut_path.read_bytes(), damage_json, use_lut)
    yield Format("accuracy table", accuracy_path.read_bytes(), damage_json, use_accuracy)

    baseline_path = tables / "baseline.json"
    collection = collect(
        accuracy_dir=tables / "accuracy", luts_dir=tables / "none", luts=[lut_path]
    )

    def use_baseline(path: Path) -> None:
        found = Baseline.read(path)
        check_model(path, found)
        for outcome in compare(found, collection):
            assert outcome.new_top1 is None or math.isfinite(outcome.new_top1)

    yield Format("baseline", baseline_path.read_bytes(), damage_json, use_baseline)

    def use_settings(path: Path) -> None:
        check_model(path, TrainSettings.read(path))

    yield Format(
        "training settings", (run / "settings.json").read_bytes(), damage_json, use_settings
    )


def run_formats(folder: Path, tables: Path, run: Path) -> Iterator[Format]:
    """The record of a run, its weights and its checkpoint."""
    record = RunRecord.read(run / RECORD_NAME).model_copy(update={"supernet": SMALLEST})
    record = record.model_copy(update={"class_names": ["a", "b", "c", "d"]})
    supernet = Supernet(SMALLEST)
    save_weights(supernet, folder / WEIGHTS_NAME)
    record.write(folder / RECORD_NAME)
    weights, text = (folder / WEIGHTS_NAME).read_bytes(), (folder / RECORD_NAME).read_bytes()

    def use_record(path: Path) -> None:
        place = path.parent / "run"
        place.mkdir(exist_ok=True)
        (place / WEIGHTS_NAME).write_bytes(weights)
        (place / RECORD_NAME).write_bytes(path.read_bytes())
        opened = Run.open(place)
        check_model(path, opened.record)
        assert opened.record.space.resolutions
        opened.load_supernet()

    yield Format("run record", text, damage_json, use_record)

    # Reading is the same for every network; a small one leaves time for many examples.
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    save_weights(network, folder / "small.safetensors")

    def use_weights(path: Path) -> None:
        check_state(network, read_tensors(path)[0], str(path))

    small = (folder / "small.safetensors").read_bytes()
    yield Format("weights", small, damage_safetensors, use_weights)

    groups = {"supernet": network.state_dict(), "momentum": {"a": torch.zeros(3)}}
    save_checkpoint(folder, Checkpoint(CheckpointState(step=3, seconds=1, core_seconds=1), groups))
    checkpoint = (folder / "checkpoint" / "latest.safetensors").read_bytes()

    def use_checkpoint(path: Path) -> None:
        place = path.parent / "resumed"
        (place / "checkpoint").mkdir(parents=True, exist_ok=True)
        (place / "checkpoint" / "latest.safetensors").write_bytes(path.read_bytes())
        found = load_checkpoint(place)
        assert found is not None
        assert found.state.step >= 0
        assert math.isfinite(found.state.seconds + found.state.core_seconds)
        check_state(network, found.groups.get("supernet", {}), "checkpoint")

    yield Format("checkpoint", checkpoint, damage_safetensors, use_checkpoint)


def tensor_formats(folder: Path, tables: Path, run: Path) -> Iterator[Format]:
    """The predictor, files of PyTorch's that others made, and a partial evaluation."""
    resolutions = (16, 24)
    rng, width = np.random.default_rng(0), num_block_features(MOBILENETV3) + len(resolutions)
    shapes = [(width, 8), (8, 1)]
    predictor = Predictor(
        PredictorRecord(
            recipe="ofa",
            dataset="shapes",
            num_classes=10,
            space=SpaceRecord(kind="elastic", width_mult=0.25, resolutions=list(resolutions)),
        ),
        tuple(rng.normal(size=shape).astype(np.float32) for shape in shapes),
        tuple(np.zeros(shape[1], np.float32) for shape in shapes),
    )
    predictor.save(folder / "predictor.safetensors")

    def use_predictor(path: Path) -> None:
        found = load_predictor(path)
        rows = predict_compound(None, found, pair_predictor(None, found))
        assert rows.top1.dtype == np.float64

    valid = (folder / "predictor.safetensors").read_bytes()
    yield Format("predictor", valid, damage_safetensors, use_predictor)

    sizes = [(8, num_block_features(MOBILENETV3) + 8), (1, 8)]
    state = {f"{2 * n}.weight": torch.zeros(size) for n, size in enumerate(sizes)}
    state |= {f"{2 * n}.bias": torch.zeros(size[0]) for n, size in enumerate(sizes)}
    buffer = io.BytesIO()
    torch.save(state, buffer)

    def use_ofa_predictor(path: Path) -> None:
        renamed = path.with_suffix(".pth")
        renamed.write_bytes(path.read_bytes())
        load_predictor(renamed)

    yield Format("OFA's predictor", buffer.getvalue(), damage_bytes, use_ofa_predictor)

    def use_foreign_checkpoint(path: Path) -> None:
        assert read_checkpoint(path)

    wrapped = io.BytesIO()
    torch.save({"state_dict": state}, wrapped)
    yield Format("OFA's checkpoint", wrapped.getvalue(), damage_bytes, use_foreign_checkpoint)

    plan: dict[str, str | int | None] = {"batch size": 5, "limit": None}
    sums = {"mean": torch.zeros(4), "variance": torch.ones(4), "correct": torch.zeros(2, 2)}
    record = PartialRecord(settings=plan, units=1, batches=2, calibrated=10)
    write_partial(folder / "partial", record, sums)

    def use_partial(path: Path) -> None:
        found, tensors = read_partial(path, plan)
        assert {key: found.settings.get(key) for key in plan} == plan
        assert set(tensors) <= set(sums)

    yield Format(
        "partial evaluation", (folder / "partial").read_bytes(), damage_safetensors, use_partial
    )


def table_formats(folder: Path, tables: Path, run: Path) -> Iterator[Format]:
    """OFA's YAML tables, and images."""
    space, config = SearchSpace(resolutions=(32,)), NetworkConfig(width_mult=1.2)
    names = [name for block in space.unique_blocks(32, config) for name in layer_names(block)]
    times = {name: {"count": 50, "mean": 1.0 + i, "std": 0.1} for i, name in enumerate(names)}

    def use_yaml(path: Path) -> None:
        table = parse_table(str(path), path.read_bytes())
        given_ = yaml.safe_load(path.read_bytes())
        for block, latency, _ in table.blocks(table.kind):
            expected = math.fsum(given_[name]["mean"] for name in layer_names(block))
            assert latency == expected
            assert 0 < latency < math.inf

    yield Format("YAML table", yaml.safe_dump(times).encode(), damage_yaml, use_yaml)

    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    good = buffer.getvalue()

    def use_image(path: Path) -> None:
        place = path.parent / "images"
        for split in ("train", "val"):
            for name in ("cat", "dog"):
                (place / split / name).mkdir(parents=True, exist_ok=True)
                (place / split / name / "good.png").write_bytes(good)
                (place / split / name / "some.png").write_bytes(path.read_bytes())
        source = open_data(f"folder:{place}")
        for batches in (source.calibration_batches(16, 4, 4), source.test_batches(16, 4)):
            for images, labels in batches:
                assert images.shape[1:] == (3, 16, 16)
                assert len(images) == len(labels) >= 2
                assert images.isfinite().all()
                assert set(labels.tolist()) <= {0, 1}

    yield Format("image folder", good, damage_bytes, use_image)
    yield partial_measurement(folder)


def partial_measurement(folder: Path) -> Format:
    """The rounds that an interrupted `fofa-profile` leaves."""
    items, identity, rng = ["canary", "a", "b"], {"device": "x"}, np.random.default_rng(0)
    plan = SchedulePlan(warmup_runs=1, rounds=5, canary_every=1, samples={"a": 3, "b": 3})
    made = PartialFile(folder / "lut.json.partial", items)
    made.start(identity, plan, [])
    for number in range(4):
        visits = tuple(
            Visit(name, number + place / 4, tuple(map(float, rng.uniform(1, 1.1, 3))))
            for place, name in enumerate(items)
        )
        made.append(Round(number=number, visits=visits, other_cpu_percent=1.0))

    def use(path: Path) -> None:
        found = PartialFile(path, items).read(identity)
        assert found is not None
        plan, rounds = found
        for round_, line in zip(rounds, path.read_bytes().split(b"\n")[1:], strict=False):
            kept = [[items.index(v.item), v.seconds, list(v.samples_ms)] for v in round_.visits]
            assert same_values(json.loads(line)["visits"], kept)
        if rounds:
            summaries = evaluate(plan, rounds, items[0]).summaries
            assert summaries.keys() == {*items}
            assert all(0 < one.median_ms < math.inf for one in summaries.values())

    return Format("partial measurement", made.path.read_bytes(), damage_lines, use)


NAMES = (
    "latency table",
    "accuracy table",
    "baseline",
    "training settings",
    "run record",
    "weights",
    "checkpoint",
    "predictor",
    "OFA's predictor",
    "OFA's checkpoint",
    "partial evaluation",
    "YAML table",
    "image folder",
    "partial measurement",
)


def test_every_format_is_damaged(formats: dict[str, Format]) -> None:
    assert tuple(formats) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_valid_file_is_read(name: str, formats: dict[str, Format], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(formats[name].valid)
    formats[name].use(path)


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_read_as_it_stands_or_refused_in_one_line(
    name: str, examples: int, formats: dict[str, Format], tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    one, path, tried = formats[name], tmp_path / "file", 0

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def check(data: st.DataObject) -> None:
        nonlocal tried
        tried += 1
        path.write_bytes(one.damage(one.valid, data))
        try:
            one.use(path)
        except UserError as error:
            assert str(error).strip()
            assert "\n" not in str(error)

    check()
    assert tried >= examples


@pytest.mark.parametrize("examples", EXAMPLES)
def test_a_damaged_architecture_name_is_refused_or_means_what_it_says(examples: int) -> None:
    valid = ("23432@160", "3x4+5x6-7x3+3x3-3x6+3x6-5x4+5x4+5x4-7x6+3x3@192")

    @settings(max_examples=examples, deadline=None, database=None)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(valid))
        text = damage_bytes(name.encode(), data).decode("latin-1")
        try:
            architecture = parse_architecture(text)
        except UserError as error:
            assert valid[0] in str(error)
            assert "\n" not in str(error)
        else:
            assert architecture.name == text or architecture.subnet.is_compound
            assert parse_architecture(architecture.name) == architecture

    check()
