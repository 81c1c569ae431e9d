"""Decoding less than the whole JPEG: the same crops, and nearly the same pixels."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from fofa.data import open_data
from fofa.data.augmentation import MILD_AREA, Augmentation
from fofa.data.decoding import (
    BRIGHTNESS,
    MAX_RATIO,
    MIN_AREA,
    SATURATION,
    Ticket,
    decode,
    evaluation_crop,
    random_box,
    vary,
)
from fofa.data.images import UnreadableImageError, decode_image
from fofa.data.jpeg import find_frame, upper_part
from fofa.data.sampling import TrainOrder

SIDES = (500, 375)


def photograph(width: int, height: int, seed: int = 0) -> Image.Image:
    """Noise with a photograph's spectrum: neighbours alike, edges at every scale."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    layers = []
    for _ in range(3):
        phase = rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)
        layer = np.fft.irfft2(phase / frequency**1.3, (height, width))
        layers.append(layer / layer.std())
    grey, red, blue = layers
    pixels = np.stack([grey + 0.3 * red, grey, grey + 0.3 * blue], -1) * 45 + 128
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def jpeg(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **{"quality": 90, **options})
    return file.getvalue()


def plainly(content: bytes, ticket: Ticket) -> np.ndarray:
    """The same augmentation of the whole decoded image."""
    assert ticket.seed is not None
    rng = random.Random(ticket.seed)
    image = decode_image(content)
    size = (ticket.resolution, ticket.resolution)
    box = random_box(*image.size, rng)
    return np.asarray(vary(image.resize(size, Image.Resampling.BILINEAR, box=box), rng))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"subsampling": 0},
        {"subsampling": 1},
        {"progressive": True},
        {"restart_marker_rows": 1},
        {"optimize": True, "quality": 60},
    ],
    ids=str,
)
def test_rows_below_a_crop_are_not_needed(options: dict[str, object]) -> None:
    content = jpeg(photograph(*SIDES), **options)
    whole = np.asarray(decode_image(content))
    frame = find_frame(content)
    assert frame is not None
    assert (frame.width, frame.height) == SIDES
    assert frame.divisible is not options.get("progressive", False)
    for bottom in (1, 30.5, 64, 200, 311, 374, 375):
        part = np.asarray(decode_image(bytes(upper_part(content, frame, bottom))))
        rows = int(np.ceil(bottom))
        assert part.shape[0] >= rows
        assert np.array_equal(part[:rows], whole[:rows])


@pytest.mark.parametrize("exif", range(1, 9))
def test_crops_are_those_of_the_whole_upright_image(exif: int) -> None:
    tags = Image.Exif()
    tags[0x0112] = exif
    content = jpeg(photograph(*SIDES), exif=tags)
    for seed in range(12):
        ticket = Ticket(0, 160, seed)
        ours, expected = decode(content, ticket).astype(int), plainly(content, ticket).astype(int)
        assert np.abs(ours - expected).mean() < 4


def test_scaled_decoding_changes_little() -> None:
    """On average under 1% of the range, and no brighter or darker."""
    differences = []
    for seed in range(60):
        content = jpeg(photograph(*SIDES, seed=seed % 5))
        ticket = Ticket(0, 128, seed)
        ours = decode(content, ticket).astype(float)
        differences.append(ours - plainly(content, ticket))
    assert np.abs(differences).mean() < 2.5
    assert abs(np.mean(differences)) < 0.1


def test_large_photographs_and_grey_and_cmyk_ones_are_decoded_at_a_small_scale() -> None:
    image = photograph(1600, 1200)
    for mode in ("RGB", "L", "CMYK"):
        content = jpeg(image.convert(mode))
        for seed in range(6):
            ticket = Ticket(0, 64, seed)
            ours = decode(content, ticket).astype(int)
            assert ours.shape == (64, 64, 3)
            assert np.abs(ours - plainly(content, ticket)).mean() < 5


def test_boxes_have_the_stated_distribution() -> None:
    """Against the definition: areas uniform from 8%, ratios log-uniform, inside the image."""
    rng = random.Random(0)
    boxes = np.array([random_box(600, 600, rng) for _ in range(20_000)])
    wide, high = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert boxes.min() >= 0
    assert boxes.max() <= 600
    area, ratio = wide * high / 360_000, np.log(wide / high)
    assert abs(np.log(MAX_RATIO) - np.abs(ratio).max()) < 0.02
    # Large boxes of an odd ratio do not fit and are drawn anew, which bends only the upper end.
    small = area[area < 0.5]
    assert abs(small.mean() - (MIN_AREA + 0.5) / 2) < 0.005
    assert abs(small.std() - (0.5 - MIN_AREA) / 12**0.5) < 0.005
    assert abs(ratio.mean()) < 0.01
    assert abs(ratio[area < 0.5].std() - 2 * np.log(MAX_RATIO) / 12**0.5) < 0.01


def test_a_mild_crop_takes_more_of_an_image(tmp_path: Path) -> None:
    """What a source was opened with reaches the worker that decodes."""
    rng = random.Random(0)
    boxes = [random_box(600, 600, rng, MILD_AREA) for _ in range(2000)]
    areas = [(box[2] - box[0]) * (box[3] - box[1]) / 360_000 for box in boxes]
    assert MILD_AREA - 0.01 < min(areas) < MILD_AREA + 0.05
    for label, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        for number in range(5):
            photograph(64, 64, 5 * label + number).save(tmp_path / name / f"{number}.png")
    seen = {}
    for crop in ("resized", "mild"):
        source = open_data(f"folder:{tmp_path}", augmentation=Augmentation(crop=crop))
        order = TrainOrder(num_images=source.num_train, batch_size=2, seed=0)
        seen[crop] = next(iter(source.train_batches(order, range(1), lambda step: 32)))[0]
    assert not seen["mild"].equal(seen["resized"])


def test_boxes_are_torchvisions() -> None:
    """The same quantiles of area, ratio and place as `RandomResizedCrop`'s."""
    import torch
    from torchvision.transforms import RandomResizedCrop

    torch.manual_seed(0)
    image, rng = torch.empty(3, 375, 500), random.Random(1)
    theirs = np.array(
        [RandomResizedCrop.get_params(image, [0.08, 1], [3 / 4, 4 / 3]) for _ in range(6000)]
    )
    drawn = np.array([random_box(500, 375, rng) for _ in range(6000)])
    ours = np.stack(
        [drawn[:, 1], drawn[:, 0], drawn[:, 3] - drawn[:, 1], drawn[:, 2] - drawn[:, 0]], 1
    )
    quantiles = np.linspace(0.1, 0.9, 9)
    gap = np.quantile(ours, quantiles, axis=0) - np.quantile(theirs, quantiles, axis=0)
    assert np.abs(gap).max() < 12


def test_colours_move_as_brightness_then_saturation_would() -> None:
    image = photograph(64, 64)
    flips, ratios = 0, []
    for seed in range(400):
        rng = random.Random(seed)
        varied = vary(image, rng)
        draws = random.Random(seed)
        mirrored = draws.random() < 0.5
        brightness = draws.uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS)
        saturation = draws.uniform(1 - SATURATION, 1 + SATURATION)
        flips += mirrored
        ratios.append((brightness, saturation))
        if seed < 40:
            turned = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else image
            bright = ImageEnhance.Brightness(turned).enhance(brightness)
            expected = np.asarray(ImageEnhance.Color(bright).enhance(saturation)).astype(int)
            # Apart from rounding, and from what the first of the two steps clips to white.
            dark = expected.max(axis=2) < 200
            assert np.abs(np.asarray(varied).astype(int) - expected)[dark].max() <= 2
    assert 160 < flips < 240
    assert np.abs(np.mean(ratios, axis=0) - 1).max() < 0.03
    width = 2 * np.array([BRIGHTNESS, SATURATION]) / 12**0.5
    assert np.abs(np.std(ratios, axis=0) / width - 1).max() < 0.1


def test_the_evaluation_crop_is_resize_then_centre() -> None:
    for size in ((500, 375), (375, 500), (64, 40), (1000, 90)):
        image = photograph(*size)
        for resolution in (32, 160, 224):
            shorter = -(-resolution * 1000 // 875)
            scale = shorter / min(size)
            width, height = (max(shorter, round(side * scale)) for side in size)
            whole = image.resize((width, height), Image.Resampling.BILINEAR)
            left, top = (width - resolution) // 2, (height - resolution) // 2
            expected = whole.crop((left, top, left + resolution, top + resolution))
            crop = np.asarray(evaluation_crop(image, resolution)).astype(int)
            assert np.abs(crop - np.asarray(expected)).max() <= 1


def test_a_strip_is_no_reason_for_gigabytes() -> None:
    strip = Image.new("RGB", (1, 60_000), (9, 8, 7))
    assert np.asarray(evaluation_crop(strip, 224)).tolist() == [[[9, 8, 7]] * 224] * 224
    for content in (jpeg(strip), jpeg(Image.new("RGB", (3, 2)))):
        assert decode(content, Ticket(0, 64, 1)).shape == (64, 64, 3)


def test_a_damaged_jpeg_is_unreadable_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    whole = jpeg(photograph(90, 70))
    for number in range(300):
        content = bytearray(whole)
        if number % 3 == 0:
            del content[int(rng.integers(len(content))) :]
        for at in rng.integers(0, max(1, len(content) // (1 + 9 * (number % 2))), 3):
            content[at : at + 1] = bytes([rng.integers(256)])
        try:
            assert decode(bytes(content), Ticket(0, 32, number)).shape == (32, 32, 3)
        except UnreadableImageError as error:
            assert "\n" not in str(error)


def test_a_jpeg_that_ends_early_is_unreadable_wherever_its_crop_lies() -> None:
    whole = jpeg(photograph(*SIDES))
    for seed in range(10):
        with pytest.raises(UnreadableImageError):
            decode(whole[: len(whole) * 9 // 10], Ticket(0, 64, seed))
