"""Animated GIFs, whole, cut and made up: of the frames the first counts, and nothing behind it."""

from __future__ import annotations

import io
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fofa.data import open_data
from fofa.data.images import UnreadableImageError, decode_image

SIZE = (20, 16)
SCREEN, PLACE = 6, 1
"""Where a GIF keeps the size of its canvas, and a frame its place and size in it."""


def animation(frames: int = 4, size: tuple[int, int] = SIZE) -> bytes:
    rng = np.random.default_rng(0)
    shape = (*reversed(size), 3)
    images = [Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)) for _ in range(frames)]
    file = io.BytesIO()
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=20)
    return file.getvalue()


def palette_bytes(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 128 else 0


def frames_in(content: bytes) -> Iterator[tuple[int, int]]:
    """Begin and end of each frame of a GIF, without what stands between them."""
    at = 13 + palette_bytes(content[10])
    while content[at] != ord(";"):
        begin, is_frame = at, content[at] == ord(",")
        at += 11 + palette_bytes(content[at + 9]) if is_frame else 2
        while content[at]:
            at += content[at] + 1
        at += 1
        if is_frame:
            yield begin, at


def changed(content: bytes, at: int, *values: int) -> bytes:
    """With 16-bit numbers written at a place."""
    packed = struct.pack(f"<{len(values)}H", *values)
    return content[:at] + packed + content[at + len(packed) :]


def decoded(content: bytes) -> np.ndarray:
    return np.asarray(decode_image(content))


BEHIND: dict[str, Callable[[bytes, int, int], bytes]] = {
    "nothing": lambda content, end, following: content[:end],
    "a part": lambda content, end, following: content[: following - 50],
    "noise": lambda content, end, following: content[:end] + bytes(range(1, 250)),
    "an endless comment": lambda content, end, following: (
        content[:end] + b"!\xfe" + b"\xff" * 10_000
    ),
    "a huge frame": lambda content, end, following: changed(
        content, content.index(b",", end + 8) + PLACE, 0, 0, 65535, 65535
    ),
}


@pytest.mark.parametrize("what", BEHIND)
def test_what_follows_the_first_frame_does_not_matter(what: str) -> None:
    whole = animation()
    (_, end), (_, following), *_ = frames_in(whole)
    expected = decoded(whole)
    assert expected.shape == (16, 20, 3)
    assert np.array_equal(decoded(BEHIND[what](whole, end, following)), expected)


def test_a_thousand_frames_take_the_memory_of_one() -> None:
    whole = animation(2)
    (_, end), _ = frames_in(whole)
    one, many = whole[:end] + b";", whole[:end] + 1000 * whole[end:-1] + b";"
    assert sum(1 for _ in frames_in(many)) == 1001
    peaks = []
    for content in (one, many):
        decode_image(content)
        tracemalloc.start()
        decode_image(content)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < len(many) + 100_000


def test_what_the_first_frame_leaves_of_the_canvas_is_white() -> None:
    whole = animation()
    (begin, _), *_ = frames_in(whole)
    wide = changed(changed(whole, SCREEN, 30, 40), begin + PLACE, 3, 5)
    pixels = decoded(wide)
    assert pixels.shape == (40, 30, 3)
    assert np.array_equal(pixels[5:21, 3:23], decoded(whole))
    outside = np.ones((40, 30), bool)
    outside[5:21, 3:23] = False
    assert (pixels[outside] == 255).all()


@pytest.mark.parametrize(
    ("canvas", "place"),
    [
        pytest.param((65535, 65535), (0, 0, *SIZE), id="a huge canvas"),
        pytest.param(SIZE, (0, 0, 65535, 65535), id="a huge frame"),
        pytest.param(SIZE, (65535, 65535, *SIZE), id="a frame far outside"),
        pytest.param(SIZE, (0, 0, 0, 0), id="a frame of nothing"),
    ],
)
def test_sizes_that_are_none_are_refused(
    canvas: tuple[int, int], place: tuple[int, int, int, int]
) -> None:
    whole = animation()
    (begin, _), *_ = frames_in(whole)
    with pytest.raises(UnreadableImageError):
        decode_image(changed(changed(whole, SCREEN, *canvas), begin + PLACE, *place))


@pytest.mark.parametrize("kept", ["header", "half of the first frame"])
def test_without_a_whole_frame_there_is_no_image(kept: str) -> None:
    whole = animation()
    (begin, end), *_ = frames_in(whole)
    cut = whole[:begin] + b";" if kept == "header" else whole[: (begin + end) // 2]
    with pytest.raises(UnreadableImageError):
        decode_image(cut)


def test_a_folder_of_animations_is_a_folder_of_images(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for number, name in enumerate(("cat", "dog")):
            place = tmp_path / split / name
            place.mkdir(parents=True)
            (place / "a.gif").write_bytes(animation(2 + number))
            (place / "b.gif").write_bytes(animation(3 + number, (24, 24)))
    source = open_data(f"folder:{tmp_path}")
    ((images, labels),) = source.test_batches(16, 4)
    assert images.shape == (4, 3, 16, 16)
    assert labels.tolist() == [0, 0, 1, 1]
