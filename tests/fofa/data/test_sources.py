"""Data sources: what every source promises, checked on those that need no download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fofa.data import DataSource, TrainOrder, open_data
from fofa.data.tensors import Split, TensorSource, send
from fofa.errors import UserError


@pytest.fixture(scope="module")
def shapes() -> DataSource:
    return open_data("shapes", train_fraction=0.05)


def order(source: DataSource, **changes: int) -> TrainOrder:
    values = {"batch_size": 16, "seed": 0} | changes
    return TrainOrder(num_images=source.num_train, **values)


def collect(source: DataSource, steps: range, **changes: int) -> list[torch.Tensor]:
    batches = source.train_batches(
        order(source, **changes), steps, lambda step: 24 + 8 * (step % 2)
    )
    return [images for images, _ in batches]


def test_training_images_have_the_resolution_of_their_step(shapes: DataSource) -> None:
    assert [batch.shape for batch in collect(shapes, range(2))] == [
        (16, 3, 24, 24),
        (16, 3, 32, 32),
    ]


def test_a_batch_depends_on_its_step_only(shapes: DataSource) -> None:
    whole, tail = collect(shapes, range(15)), collect(shapes, range(13, 15))
    assert torch.equal(whole[13], tail[0])
    assert torch.equal(whole[14], tail[1])


def test_epochs_are_augmented_and_ordered_anew(shapes: DataSource) -> None:
    per_epoch = order(shapes).steps_per_epoch
    first, later = collect(shapes, range(0, 2 * per_epoch + 2, 2 * per_epoch))
    assert not torch.equal(first, later)


def test_two_shards_are_the_batch_of_one_process(shapes: DataSource) -> None:
    whole = collect(shapes, range(3))
    shards = [collect(shapes, range(3), batch_size=8, rank=rank, world_size=2) for rank in (0, 1)]
    for step, batch in enumerate(whole):
        assert torch.equal(batch, torch.cat([shard[step] for shard in shards]))


def test_normalisation_uses_the_stated_mean_and_deviation(shapes: DataSource) -> None:
    images = torch.cat([images for images, _ in shapes.test_batches(32, 500)])
    raw = images * torch.tensor(shapes.std).view(3, 1, 1) + torch.tensor(shapes.mean).view(3, 1, 1)
    assert raw.min() >= -1e-6
    assert raw.max() <= 1 + 1e-6
    assert images.mean().abs() < 0.5
    assert 0.5 < images.std() < 1.5


def test_test_batches_come_in_order_and_can_be_limited(shapes: DataSource) -> None:
    batches = list(shapes.test_batches(24, 40, limit=100))
    assert [len(labels) for _, labels in batches] == [40, 40, 20]
    assert torch.cat([labels for _, labels in batches]).tolist() == [i % 10 for i in range(100)]


def test_calibration_images_are_few_distinct_and_repeatable(shapes: DataSource) -> None:
    def draw(seed: int) -> torch.Tensor:
        return torch.cat([images for images, _ in shapes.calibration_batches(32, 50, 20, seed)])

    assert draw(0).shape == (50, 3, 32, 32)
    assert torch.equal(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))
    assert len(draw(0).flatten(1).unique(dim=0)) == 50


def test_more_calibration_images_than_there_are_is_all_of_them(shapes: DataSource) -> None:
    batches = shapes.calibration_batches(24, 10_000, 64)
    assert sum(len(labels) for _, labels in batches) == shapes.num_train


def test_shapes_are_the_same_each_time_and_balanced() -> None:
    first, second = open_data("shapes"), open_data("shapes", seed=5)
    images, labels = next(first.test_batches(32, 1000))
    again, _ = next(second.test_batches(32, 1000))
    assert torch.equal(images, again)
    assert labels.bincount().tolist() == [100] * 10


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_a_train_fraction_is_the_same_part_for_the_same_seed(fraction: float) -> None:
    sources = [open_data("shapes", train_fraction=fraction, seed=seed) for seed in (1, 1, 2)]
    parts = [next(s.calibration_batches(24, 8, 8))[0] for s in sources]
    assert sources[0].num_train == 4000 * fraction
    assert torch.equal(parts[0], parts[1])
    assert not torch.equal(parts[0], parts[2])


@pytest.mark.parametrize("fraction", [0.0, -1.0, 1.5])
def test_a_wrong_train_fraction_is_refused(fraction: float) -> None:
    with pytest.raises(UserError, match="train fraction"):
        open_data("shapes", train_fraction=fraction)


@pytest.mark.parametrize("spec", ["", "shape", "shapes:x", "cifar10", "cifar10:", "mnist:x", "::"])
def test_a_wrong_spec_shows_right_ones(spec: str) -> None:
    with pytest.raises(UserError, match="expected shapes, cifar10:DIR"):
        open_data(spec)


def test_a_data_set_smaller_than_a_batch_is_refused(shapes: DataSource) -> None:
    with pytest.raises(UserError, match="has 200 images, fewer than the 512 of one step"):
        order(shapes, batch_size=256, world_size=2)


def tensor_source(labels: list[int]) -> TensorSource:
    images = torch.zeros(len(labels), 3, 8, 8, dtype=torch.uint8)
    good = Split(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]))
    return TensorSource(
        "own",
        "own",
        Split(images, torch.tensor(labels)),
        good,
        class_names=("a", "b"),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )


@pytest.mark.parametrize(("labels", "wrong"), [([0, 1, 2], 2), ([0, -1], -1)])
def test_a_label_out_of_range_is_refused(labels: list[int], wrong: int) -> None:
    with pytest.raises(UserError, match=f"training split: label {wrong} is out of range"):
        tensor_source(labels)


@pytest.mark.parametrize("make", [lambda path: path, lambda path: path / "none"])
def test_a_folder_without_cifar10_says_what_is_missing(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    with pytest.raises(UserError, match=r"no CIFAR-10 here.*--download"):
        open_data(f"cifar10:{make(tmp_path)}")


def test_indices_and_maps_go_to_a_gpu_from_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the program does not wait for the copy; told by what is asked, without a GPU."""
    asked: list[str] = []

    def pinned(tensor: torch.Tensor) -> torch.Tensor:
        asked.append("pinned")
        return tensor

    def moved(tensor: torch.Tensor, device: torch.device, non_blocking: bool = False) -> object:
        asked.append(f"{device.type} {non_blocking}")
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pinned)
    monkeypatch.setattr(torch.Tensor, "to", moved)
    send(torch.zeros(2), torch.device("cuda"))
    send(torch.zeros(2), torch.device("cpu"))
    assert asked == ["pinned", "cuda True", "cpu False"]
