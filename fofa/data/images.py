"""An image file of any raster format as upright RGB with 8 bits a channel.

The one place where image files are opened. Formats are told by content, never by the file's name,
and only those of `FORMATS` are tried: Pillow would start Ghostscript for an EPS file. Sizes are
checked before anything is decoded. What becomes of other kinds of pixels is a fixed rule, the same
for every image, so that a class that is darker than another stays darker:

* 16-bit values are divided by their declared range, 65535 unless a TIFF declares another
  (SMaxSampleValue or MaxSampleValue: 4095 for a 12-bit camera);
* 32-bit integers and floating-point values have no range of their own: the declared one, or else
  the smallest of the usual ones (1 for floats, 255, 65535) that holds the image's largest value;
* what is transparent is laid on white, as image viewers show it, and so is what the frame of a GIF
  leaves of its canvas;
* of an animation, the first frame, whatever follows it; of EXIF's orientation, what the
  photographer saw.
"""

from __future__ import annotations

import os
import stat
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jfif", ".mpo", ".png", ".apng", ".webp", ".tif", ".tiff"),
        *(".bmp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm"),
    )
)
MAX_PIXELS = 89_478_485
"""Decoded, a quarter of a gibibyte; Pillow itself warns above it."""
MAX_SIDE = 65_535
MAX_FILE_BYTES = 1 << 29
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns an image upright, by its EXIF orientation."""
DECLARED_RANGE = (341, 281)  # TIFF's SMaxSampleValue and MaxSampleValue
TRANSPARENT_MODES = ("RGBA", "LA", "PA", "RGBa", "La")


DAMAGE = (
    *(OSError, ValueError, TypeError, SyntaxError, LookupError, EOFError, ArithmeticError),
    *(AttributeError, RuntimeError, MemoryError, struct.error, Image.DecompressionBombError),
)
"""What Pillow's readers raise for damaged files."""


class UnreadableImageError(Exception):
    """Not an image that can be decoded; one line says why."""


def read_file(path: Path | str) -> bytes:
    """The content of a regular file; pipes and devices are refused, not waited for.

    Raises:
        UnreadableImageError: if it is not such a file, cannot be read or is above 512 MiB.
    """
    try:
        # A pipe that nobody writes to would hang in an ordinary open.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableImageError("not a regular file")
            if status.st_size > MAX_FILE_BYTES:
                raise UnreadableImageError(f"larger than {MAX_FILE_BYTES >> 20} MiB")
            return file.read(status.st_size)
    except OSError as error:
        raise UnreadableImageError(error.strerror or str(error)) from None


def decode_image(content: bytes) -> Image.Image:
    """The whole image of a file's content, upright RGB.

    Raises:
        UnreadableImageError: if it cannot be decoded.
    """
    with opened(content) as image:
        turn = TURNS.get(orientation(image))
        tiles = getattr(image, "tile", None)  # of images that come from files
        frame = tiles[0][1] if image.format == "GIF" and tiles else None
        rgb = to_rgb(image)
        if frame is not None and frame != (0, 0, *rgb.size):
            ground = Image.new("RGB", rgb.size, (255, 255, 255))
            ground.paste(rgb.crop(frame), frame)
            rgb = ground
        # A TIFF is upright once its pixels are loaded.
        if turn is None or image.format == "TIFF":
            return rgb
        return rgb.transpose(turn)


@contextmanager
def opened(content: bytes | bytearray) -> Iterator[Image.Image]:
    """The image of a file's content, its size checked but its pixels not decoded yet.

    Raises:
        UnreadableImageError: for any fault, also one that shows while it is decoded within.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes and tags; what matters is raised
            with Image.open(BytesIO(content), formats=FORMATS) as image:
                check_size(*image.size)
                yield image
    except UnidentifiedImageError:
        raise UnreadableImageError(f"no image of a known format ({', '.join(FORMATS)})") from None
    except DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableImageError(reason[:200]) from None


def check_size(width: int, height: int) -> None:
    """Refuse an image that would take more than a quarter of a gibibyte, or is a mere strip.

    Raises:
        UnreadableImageError: with its size.
    """
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise UnreadableImageError(
            f"{width} x {height} pixels; at most {MAX_PIXELS:,} in all and {MAX_SIDE:,} a side "
            "are decoded"
        )


def orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1, upright, where there is none or it cannot be read."""
    if "exif" not in image.info and image.format not in ("TIFF", "PNG", "WEBP"):
        return 1
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # a broken EXIF block, which raises anything, does not spoil the pixels
        return 1
    return value if isinstance(value, int) and value in TURNS else 1


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB with 8 bits a channel, by this module's rules; decodes the image."""
    image.load()
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in ("F", "I") or image.mode.startswith("I;"):
        return _scaled(image).convert("RGB")
    if image.mode in TRANSPARENT_MODES or "transparency" in image.info:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, layer).convert("RGB")
    return image.convert("RGB")


def _scaled(image: Image.Image) -> Image.Image:
    """Values of more than 8 bits as 8 bits, mode L."""
    values = np.asarray(image).astype(np.float32)
    if image.mode == "F":
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    top = _declared_range(image)
    if top is None:
        usual = (65535,) if image.mode.startswith("I;16") else (255, 65535)
        if image.format in ("PNG", "PPM"):  # which have no more than 16 bits
            usual = (65535,)
        if image.mode == "F":
            usual = (1, *usual)
        largest = float(values.max(initial=0))
        top = next((limit for limit in usual if largest <= limit), None)
        if top is None:
            raise UnreadableImageError(
                f"values up to {largest:g}, and the file does not declare their range "
                "(TIFF: SMaxSampleValue)"
            )
    return Image.fromarray((values * (255 / top)).round().clip(0, 255).astype(np.uint8))


def _declared_range(image: Image.Image) -> float | None:
    """The largest value that a TIFF says its pixels may have."""
    tags = getattr(image, "tag_v2", {})
    for tag in DECLARED_RANGE:
        value = tags.get(tag)
        value = value[0] if isinstance(value, tuple) and value else value
        if isinstance(value, int | float) and value > 0:
            return float(value)
    return None
