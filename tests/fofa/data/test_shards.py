"""WebDataset shards: what they hold, in which order it comes, and files that are not shards."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fofa.data import DataSource, TrainOrder, open_data
from fofa.data import shards as module
from fofa.data.shards import expand, open_shards
from fofa.errors import UserError


def image(seed: int, kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three shards to train on with ten images each, one to validate on, two classes."""
    for number in range(3):
        members: dict[str, bytes] = {}
        for i in range(10 * number, 10 * number + 10):
            members[f"part/{i:04}.png"] = image(i)
            members[f"part/{i:04}.cls"] = str(i % 2).encode()
        write_tar(tmp_path / f"train-{number:03}.tar", members)
    write_tar(
        tmp_path / "val-000.tar",
        {
            "a.json": json.dumps({"label": "dog", "more": [1]}).encode(),
            "a.jpg": image(100, "JPEG"),
            "b.cls": b"0\n",
            "b.seg.png": image(7),
            "b.PNG": image(101),
            "README": b"not an image",
        },
    )
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    return tmp_path


def patterns(folder: Path) -> str:
    return f"{folder}/train-{{000..002}}.tar,{folder}/val-*.tar"


def train(source: DataSource, steps: range, **changes: int) -> list[torch.Tensor]:
    values = {"batch_size": 4, "seed": 0} | changes
    order = TrainOrder(num_images=source.num_train, **values)
    return [images for images, _ in source.train_batches(order, steps, lambda step: 16)]


@pytest.mark.parametrize("whole_folder", [True, False])
def test_images_and_labels_are_found(folder: Path, whole_folder: bool) -> None:
    source = open_data(f"wds:{folder if whole_folder else patterns(folder)}")
    assert (source.name, source.class_names) == ("wds", ("cat", "dog"))
    assert (source.num_train, source.num_test) == (30, 2)
    assert torch.cat([labels for _, labels in source.test_batches(16, 2)]).tolist() == [1, 0]
    names, images, _ = open_shards(str(folder))
    assert names == ("cat", "dog")
    assert images.labels.tolist() == [0, 1] * 15
    assert [images.read(i) for i in (0, 11, 29)] == [image(i) for i in (0, 11, 29)]


def test_a_step_is_the_same_however_it_is_reached(folder: Path) -> None:
    """Resumed, with workers, on two processes."""
    source = open_data(f"wds:{folder}")
    whole = train(source, range(12))
    assert torch.equal(train(source, range(9, 12))[0], whole[9])
    helped = train(open_data(f"wds:{folder}", workers=2), range(12))
    assert all(torch.equal(one, other) for one, other in zip(whole, helped, strict=True))
    parts = [train(source, range(3), batch_size=2, rank=r, world_size=2) for r in (0, 1)]
    for step in range(3):
        assert torch.equal(whole[step], torch.cat([part[step] for part in parts]))
    assert not torch.equal(train(source, range(1), seed=1)[0], whole[0])


def test_an_epoch_has_every_image_once_in_nearly_sequential_order(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WINDOW", 6)
    _, images, _ = open_shards(str(folder))
    orders = [images.arrange(30, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    for order in orders:
        assert order.sort().values.tolist() == list(range(30))
    assert len({tuple(order.tolist()) for order in orders}) == 3
    assert torch.equal(orders[0], images.arrange(30, 0, 0))
    # No image comes before it has been read into the window.
    turns = images.shard[orders[0].numpy()]
    shards = list(dict.fromkeys(turns.tolist()))
    incoming = [i for shard in shards for i in range(30) if images.shard[i] == shard]
    places = {index: place for place, index in enumerate(incoming)}
    assert all(places[i] < place + 6 for place, i in enumerate(orders[0].tolist()))


def test_a_part_of_the_training_images_is_the_same_each_time(folder: Path) -> None:
    sources = [open_data(f"wds:{folder}", train_fraction=0.5, seed=seed) for seed in (3, 3, 4)]
    assert [source.num_train for source in sources] == [15, 15, 15]
    first, again, other = (train(source, range(3)) for source in sources)
    assert torch.equal(first[2], again[2])
    assert not torch.equal(first[2], other[2])


def test_class_names_are_numbers_where_no_file_names_them(folder: Path) -> None:
    (folder / "classes.txt").unlink()
    with pytest.raises(UserError, match=r"val-000\.tar: image 'a' has no label"):
        open_data(f"wds:{folder}")  # which called its class by name
    write_tar(folder / "val-000.tar", {"a.png": image(1), "a.cls": b"2"})
    assert open_data(f"wds:{folder}").class_names == ("0", "1", "2")
    (folder / "classes.json").write_text('{"1": "b", "0": "a", "2": "c"}')
    assert open_data(f"wds:{folder}").class_names == ("a", "b", "c")


def test_a_damaged_training_image_is_skipped_and_a_test_image_named(folder: Path) -> None:
    write_tar(folder / "train-000.tar", {"a.png": b"x", "a.cls": b"0"})
    source = open_data(f"wds:{folder}")
    assert sum(len(labels) for _, labels in source.calibration_batches(16, 99, 7)) == 20
    assert source.num_skipped == 1
    write_tar(folder / "val-000.tar", {"a.png": b"x", "a.cls": b"0"})
    with pytest.raises(UserError, match=r"test image: .*val-000\.tar: image at byte 512: no image"):
        list(open_data(f"wds:{folder}").test_batches(16, 2))


def test_a_shard_that_changed_meanwhile_is_a_fault_of_its_images(folder: Path) -> None:
    source = open_data(f"wds:{folder}")
    os.truncate(folder / "train-001.tar", 2000)
    assert sum(len(labels) for _, labels in source.calibration_batches(16, 99, 30)) < 30
    assert source.num_skipped > 0


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.png": b"x"}, r"image 'a' has no label \(a\.cls or a\.json\)"),
        ({"a.png": b"x", "a.cls": b"bird"}, "'a.cls' names no class"),
        ({"a.png": b"x", "a.cls": b"-1"}, "'a.cls' names no class"),
        ({"a.png": b"x", "a.json": b"{"}, "has no label"),
        ({"a.png": b"x", "a.json": b"[" * 100_000}, "has no label"),
        ({"a.png": b"x", "a.cls": b"7"}, "class 7 of an image, but 2 class names"),
        ({"a.png": b"x", "a.cls": b"1" * 2_000_000}, "is too large for a label"),
        ({"a.txt": b"x"}, "holds no images with a label"),
        ({}, "holds no images with a label"),
    ],
)
def test_wrong_members_are_named(folder: Path, members: dict[str, bytes], message: str) -> None:
    write_tar(folder / "val-000.tar", members)
    with pytest.raises(UserError, match=message):
        open_data(f"wds:{folder}")


def test_names_and_links_in_an_archive_lead_nowhere(folder: Path, tmp_path: Path) -> None:
    """Nothing is extracted, and what is no regular file is passed over."""
    path = folder / "val-000.tar"
    with tarfile.open(path, "w") as tar:
        for name, kind in (("a.png", tarfile.SYMTYPE), ("b.png", tarfile.FIFOTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
        for name, content in (("../../up.png", image(3)), ("../../up.cls", b"1")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    before = sorted(tmp_path.rglob("*"))
    source = open_data(f"wds:{folder}")
    assert source.num_test == 1
    assert len(list(source.test_batches(16, 4))) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_files_that_are_no_shards_are_named(folder: Path) -> None:
    path = folder / "train-001.tar"
    whole = path.read_bytes()
    for content in (gzip.compress(whole), b"x" * 5000, whole[:700]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"train-001\.tar: (not an uncompressed tar|ends with)"):
            open_data(f"wds:{folder}")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match=r"train-001\.tar: not a regular file"):
        open_data(f"wds:{folder}")


def test_damaged_shards_are_a_fault_in_one_line_or_none(folder: Path) -> None:
    rng = np.random.default_rng(0)
    path = folder / "train-001.tar"
    whole = path.read_bytes()
    for _ in range(150):
        content = bytearray(whole)
        for at in rng.integers(0, 6000, 3):
            content[at] = rng.integers(256)
        path.write_bytes(content)
        try:
            open_data(f"wds:{folder}")
        except UserError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("{folder}/train-*.tar", "expected two patterns"),
        ("{folder}/train-*.tar,", "expected two patterns"),
        ("{folder}/none", "expected two patterns"),
        ("{folder}/train-*.tar,{folder}/test-*.tar", "no such shards"),
        ("{folder}/train-{{000..003}}.tar,{folder}/val-*.tar", "train-003.tar: no such shards"),
        ("{folder}/train-{{3..0}}.tar,{folder}/val-*.tar", "expected a range"),
        ("{folder}/train-{{0..99999999}}.tar,{folder}/val-*.tar", "expected a range"),
    ],
)
def test_wrong_patterns_are_named(folder: Path, place: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_data(f"wds:{place.format(folder=folder)}")


def test_ranges_keep_their_zeros(folder: Path) -> None:
    found = expand(f"{folder}/train-{{001..002}}.tar")
    assert [path.name for path in found] == ["train-001.tar", "train-002.tar"]


@pytest.mark.parametrize("content", ["[1, 2]", "{", '["a", "a"]', '{"x": "a"}'])
def test_a_wrong_file_of_class_names_is_named(folder: Path, content: str) -> None:
    (folder / "classes.txt").unlink()
    (folder / "classes.json").write_text(content)
    with pytest.raises(UserError, match=r"classes\.json"):
        open_data(f"wds:{folder}")
