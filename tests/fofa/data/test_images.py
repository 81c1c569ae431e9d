"""Image files as people have them: every kind of pixels becomes upright RGB by one fixed rule."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from fofa.data.images import UnreadableImageError, decode_image, read_file, to_rgb


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decoded(content: bytes) -> np.ndarray:
    return np.asarray(decode_image(content))


def level(content: bytes) -> float:
    """The one grey level of a flat image."""
    pixels = decoded(content)
    assert pixels.shape[2] == 3
    assert pixels.min() == pixels.max()
    return int(pixels[0, 0, 0])


def grey16(value: int, kind: str = "PNG", **options: object) -> bytes:
    return encoded(Image.fromarray(np.full((6, 8), value, np.uint16)), kind, **options)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_by_their_range(kind: str) -> None:
    """Two classes that differ in brightness stay apart; clipping made both white."""
    levels = [level(grey16(value, kind)) for value in (0, 257 * 40, 257 * 200, 65535)]
    assert levels == [0, 40, 200, 255]


def test_a_declared_range_counts() -> None:
    tags = ImageFileDirectory_v2()
    tags[281] = 4095
    assert level(grey16(4095, "TIFF", tiffinfo=tags)) == 255
    assert level(grey16(2048, "TIFF", tiffinfo=tags)) == 128


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 51.0, 255.0], [0, 51, 255]),
        ([0.0, 257.0 * 7, 65535.0], [0, 7, 255]),
        ([-3.0, float("nan"), 1.0], [0, 0, 255]),
    ],
)
def test_floats_are_scaled_by_the_usual_range_that_holds_them(
    values: list[float], expected: list[int]
) -> None:
    image = Image.fromarray(np.array([values], np.float32))
    assert decoded(encoded(image, "TIFF"))[0, :, 0].tolist() == expected


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_values_beyond_every_range_are_refused(dtype: type) -> None:
    content = encoded(Image.fromarray(np.full((4, 4), 100_000, dtype)), "TIFF")
    with pytest.raises(UnreadableImageError, match="values up to 100000, and the file does not"):
        decode_image(content)


def test_grey_palette_and_cmyk_become_rgb() -> None:
    red = Image.new("RGB", (8, 6), (250, 10, 20))
    assert np.abs(decoded(encoded(red.quantize(4))).astype(int) - [250, 10, 20]).max() < 30
    assert decoded(encoded(Image.new("L", (8, 6), 77))).tolist() == [[[77] * 3] * 8] * 6
    assert decoded(encoded(Image.new("1", (8, 6), 1))).min() == 255
    cmyk = encoded(red.convert("CMYK"), "JPEG", quality=95)
    assert np.abs(decoded(cmyk).astype(int) - [250, 10, 20]).max() < 12


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_hidden_pixels_are_not_used(kind: str) -> None:
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[..., :3] = [200, 30, 90]
    pixels[:2, :, 3] = 255
    shown = decoded(encoded(Image.fromarray(pixels), kind, lossless=True))
    assert shown[0, 0].tolist() == [200, 30, 90]
    assert shown[3, 3].tolist() == [255, 255, 255]
    other = pixels.copy()
    other[2:, :, :3] = 7
    again = decoded(encoded(Image.fromarray(other), kind, lossless=True))
    assert np.array_equal(shown, again)


def test_transparency_of_palettes_and_of_one_colour_is_laid_on_white() -> None:
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([9, 9, 9, 60, 70, 80])
    assert decoded(encoded(palette, transparency=1)).min() == 255
    assert decoded(encoded(palette, transparency=0))[0, 0].tolist() == [60, 70, 80]
    assert decoded(encoded(Image.new("L", (4, 4), 5), transparency=5)).min() == 255
    key = encoded(Image.new("RGB", (4, 4), (1, 2, 3)), transparency=(1, 2, 3))
    assert decoded(key).min() == 255
    half = Image.new("LA", (2, 2), (0, 128))
    assert np.asarray(to_rgb(half))[0, 0].tolist() == [127] * 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("value", range(1, 9))
def test_images_are_turned_upright(kind: str, value: int) -> None:
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:16, :16] = [255, 0, 0]
    pixels[16:, 32:] = [0, 0, 255]
    exif = Image.Exif()
    exif[0x0112] = value
    content = encoded(Image.fromarray(pixels), kind, exif=exif)
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert np.array_equal(decoded(content), expected)
    assert expected.shape == ((32, 48, 3) if value < 5 else (48, 32, 3))


def test_a_broken_exif_block_does_not_spoil_the_pixels() -> None:
    content = encoded(Image.new("RGB", (8, 8), (10, 20, 30)), exif=b"Exif\x00\x00MM\x00\x2a\xff")
    assert decoded(content).shape == (8, 8, 3)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_counts(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((200, 0, 0), (0, 200, 0))]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
    with Image.open(io.BytesIO(content)) as image:
        assert getattr(image, "n_frames", 1) == 2
    red, green, blue = decoded(content)[4, 4].tolist()
    assert red > 190
    assert green < 10
    assert blue < 10


def test_formats_are_told_by_content(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A PNG called .jpg is read; an EPS called .jpg starts nothing."""

    def started(*arguments: object, **options: object) -> None:
        raise AssertionError(f"a program was started: {arguments}")

    monkeypatch.setattr("subprocess.Popen", started)
    monkeypatch.setattr("subprocess.check_call", started)
    path = tmp_path / "drawing.jpg"
    path.write_bytes(encoded(Image.new("RGB", (8, 8))))
    assert decoded(read_file(path)).shape == (8, 8, 3)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    with pytest.raises(UnreadableImageError, match="no image of a known format"):
        decode_image(eps)


def flat_png(width: int, height: int) -> bytes:
    """A valid one-bit PNG of zeros, small whatever its size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return len(content).to_bytes(4) + kind + content + checksum.to_bytes(4)

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((1 + (width + 7) // 8) * height), 9)
    start = b"\x89PNG\r\n\x1a\n"
    return start + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(1, 60_000_000), (60_000_000, 1), (65_000, 65_000)])
def test_sizes_are_checked_before_anything_is_decoded(size: tuple[int, int]) -> None:
    content = flat_png(8, 8)[:16] + struct.pack(">II", *size) + flat_png(8, 8)[24:]
    at = content.index(b"IHDR")
    content = (
        content[: at + 17] + zlib.crc32(content[at : at + 17]).to_bytes(4) + content[at + 21 :]
    )
    tracemalloc.start()
    with pytest.raises(UnreadableImageError, match="pixels"):
        decode_image(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", Path("/dev/zero"), tmp_path):
        with pytest.raises(UnreadableImageError, match=r"regular file|directory"):
            read_file(path)
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    with pytest.raises(UnreadableImageError, match="symbolic"):
        read_file(tmp_path / "loop.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM"])
def test_damaged_files_are_unreadable_and_nothing_else(kind: str) -> None:
    rng = np.random.default_rng(0)
    whole = encoded(Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)), kind)
    for number in range(150):
        content = bytearray(whole)
        if number % 3:
            for at in rng.integers(0, len(content), 4):
                content[at] = rng.integers(256)
        else:
            del content[int(rng.integers(len(content))) :]
        try:
            pixels = decoded(bytes(content))
        except UnreadableImageError as error:
            assert "\n" not in str(error)
        else:
            assert pixels.dtype == np.uint8
            assert pixels.shape[2] == 3
