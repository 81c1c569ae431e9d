"""Watching training changes nothing of it, shows the two ends of the space, and costs its share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fofa.data import open_data
from fofa.distributed import find_place
from fofa.runs import RunRecord
from fofa.train.settings import RunOptions, TrainSettings
from fofa.train.setup import Setup
from fofa.train.trainer import Trainer
from fofa.train.validation import Validator


def train(folder: Path, **options: Any) -> list[dict[str, Any]]:
    """Forty steps of width 0.25, with dropout; what was logged."""
    folder.mkdir()
    settings = TrainSettings(
        recipe="fofa-n3",
        data="shapes",
        train_fraction=0.02,
        width_mult=0.25,
        resolutions=(16, 24),
        batch_size=8,
        epoch_scale=0.005,
    )
    place = find_place("cpu")
    setup = Setup.of(settings, open_data("shapes", train_fraction=0.02), place)
    trainer = Trainer(setup, folder, processes=place, options=RunOptions(trackers=(), **options))
    trainer.run()
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_it_is_seen_and_changes_no_bit(tmp_path: Path) -> None:
    watched = train(tmp_path / "watched", validate_share=100.0)
    alone = train(tmp_path / "alone", validate_share=0.0)
    ours, theirs = (
        load_file(tmp_path / name / "weights.safetensors") for name in ("watched", "alone")
    )
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert [record["loss"] for record in watched] == [record["loss"] for record in alone]
    seen = [record for record in watched if "top1_largest" in record]
    assert seen
    assert all(0 <= record["top1_smallest"] <= 100 for record in seen)
    assert {record["validated_on"] for record in seen} == {"held-out training images"}
    assert not any("top1_largest" in record for record in alone)


def test_losses_are_told_by_role_and_wall_time_beside_core_time(tmp_path: Path) -> None:
    log = train(tmp_path / "run", validate_share=100.0)
    assert "loss_largest" in log[0]
    assert "loss_random" not in log[0]
    last = log[-1]
    assert last["loss"] == pytest.approx(last["loss_largest"] + 2 * last["loss_random"], abs=1e-4)
    assert last["wall_seconds"] >= last["seconds"]
    training = RunRecord.read(tmp_path / "run" / "run.json").training
    assert training.wall_hours is not None
    assert training.core_hours is not None
    # What validation took is in the wall time only.
    assert training.wall_hours * 3600 > last["seconds"]


def test_held_out_images_are_not_trained_on_and_never_of_the_test_set() -> None:
    data = open_data("shapes", train_fraction=0.5)
    (held_out,) = (images for images, _ in data.validation_batches(32, 50, 50))
    others = [images for images, _ in data.test_batches(32, 1000)]
    others += [images for images, _ in data.calibration_batches(32, 4000, 4000)]
    known = {image.numpy().tobytes() for batch in others for image in batch}
    assert len(held_out) == 50
    assert not known & {image.numpy().tobytes() for image in held_out}
    assert open_data("shapes").validated_on == "training images"


def test_it_keeps_within_its_share() -> None:
    setup = Setup.of(
        TrainSettings(recipe="fofa-n3", data="shapes", resolutions=(16,), batch_size=8),
        open_data("shapes"),
        find_place("cpu"),
    )
    for share, due_at in ((0.0, None), (0.05, 47), (0.5, 5)):
        validator = Validator(setup.data, setup.watched, 16, share)
        due = [s for s in range(100) if validator.is_due(s, image_seconds=0.005)]
        assert (due[0] if due else None) == due_at
