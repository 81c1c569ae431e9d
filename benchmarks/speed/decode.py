"""Training images from JPEG files, against torchvision's ImageFolder with Pillow.

Processor time of one worker's part: reading, decoding, augmenting, stacking to a batch. Both sides
take turns in this process, the same files in the same order, so a busy machine disturbs both.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from torch.utils.data import default_collate

from fofa.data.decoding import BRIGHTNESS, MIN_AREA, SATURATION, Ticket
from fofa.data.listing import ImageList, list_images
from fofa.data.loading import DecodedImages, collate
from fofa.data.source import IMAGENET_MEAN, IMAGENET_STD
from fofa.seeds import mix

GOAL = 2.0
SHARPNESS = 1.2
"""Exponent by which the spectrum of the made images falls; photographs have 1 to 1.3."""


def run(
    resolution: Annotated[int, typer.Option(min=8, help="Side of the crops in pixels.")] = 160,
    width: Annotated[int, typer.Option(min=8, help="Of the images, in pixels.")] = 500,
    height: Annotated[int, typer.Option(min=8, help="Of the images, in pixels.")] = 375,
    images: Annotated[int, typer.Option(min=1, help="Images of each quality.")] = 64,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the median counts.")] = 9,
    quality: Annotated[
        list[int] | None, typer.Option(min=1, max=100, help="JPEG quality, repeatable.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="A folder of class folders of one's own, instead.")
    ] = None,
) -> None:
    """Time decoding and augmenting, here and by torchvision, for one worker."""
    torch.set_num_threads(1)
    print(f"crops of {resolution} px, one worker, goal {GOAL:.2f}x")
    if folder is not None:
        _report(str(folder), folder, resolution, rounds)
        return
    for value in quality or (75, 90):
        with tempfile.TemporaryDirectory() as place:
            write_photographs(Path(place), images, (width, height), value)
            _report(f"{width}x{height}, quality {value}", Path(place), resolution, rounds)


def write_photographs(folder: Path, count: int, size: tuple[int, int], quality: int) -> None:
    """Noise with a photograph's spectrum and colours, in two classes."""
    width, height = size
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    for name in ("a", "b"):
        (folder / name).mkdir()
    for number in range(count):
        layers = []
        for _ in range(3):
            wave = rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)
            layer = np.fft.irfft2(wave / frequency**SHARPNESS, (height, width))
            layers.append(layer / layer.std())
        grey, red, blue = layers
        pixels = np.stack([grey + 0.3 * red, grey, grey + 0.3 * blue], -1) * 50 + 128
        image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        image.save(folder / "ab"[number % 2] / f"{number:04}.jpg", quality=quality)


def _report(what: str, folder: Path, resolution: int, rounds: int) -> None:
    _, files = list_images(folder)
    ways: dict[str, Callable[[int], object]] = {
        "here": _here(files, resolution),
        "torchvision": _torchvision(folder, resolution),
    }
    milliseconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            began = time.process_time()
            way(number)
            elapsed = 1000 * (time.process_time() - began) / len(files)
            if number:  # the first is a warm-up
                milliseconds[name].append(elapsed)
    median = {name: statistics.median(values) for name, values in milliseconds.items()}
    ratios = [t / h for h, t in zip(milliseconds["here"], milliseconds["torchvision"], strict=True)]
    size = sum(len(files.read(index)) for index in range(len(files))) / len(files)
    print(
        f"{what}, {size / 1000:.0f} kB each: {median['here']:.2f} ms, torchvision "
        f"{median['torchvision']:.2f} ms an image, {statistics.median(ratios):.2f}x "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )


def _here(files: ImageList, resolution: int) -> Callable[[int], object]:
    dataset = DecodedImages(files)

    def batch(number: int) -> object:
        tickets = (Ticket(i, resolution, mix(0, "augment", number, i)) for i in range(len(files)))
        return collate([dataset[ticket] for ticket in tickets])

    return batch


def _torchvision(folder: Path, resolution: int) -> Callable[[int], object]:
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    dataset = ImageFolder(
        str(folder),
        transforms.Compose(
            [
                transforms.RandomResizedCrop(resolution, scale=(MIN_AREA, 1)),
                transforms.RandomHorizontalFlip(),
                transforms.ColorJitter(brightness=BRIGHTNESS, saturation=SATURATION),
                transforms.ToTensor(),
                transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            ]
        ),
    )

    def batch(number: int) -> object:
        torch.manual_seed(number)
        return default_collate([dataset[index] for index in range(len(dataset))])

    return batch
