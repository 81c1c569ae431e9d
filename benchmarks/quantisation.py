"""What int8 costs in accuracy: ranges, scales and float parts, on networks of a trained run.

    python -m benchmarks.quantisation RUN [--architectures 22222@32,44444@32] [--test-images N]

Each line is one way to quantise. Top-1 is of the exported int8 graph in ONNX Runtime and, where it
is installed, in OpenVINO, on the same test images, beside that of the fp32 network; `same` is the
share of images that a runtime gives the class that the fp32 network does, `agree` that of images
that both runtimes give the same class.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from fofa.commands.cli import make_app, run_app
from fofa.data import DataSource, open_data
from fofa.data.normalising import normalised_as
from fofa.export.onnx_file import network_model
from fofa.int8.network import find_ranges, simulate
from fofa.int8.ranges import IMAGES_SEED
from fofa.recalibration import calibrate
from fofa.runs import Run
from fofa.runtime.int8 import FloatPart, Int8Scheme
from fofa.runtime.session import session_logits
from fofa.space import Architecture, parse_architecture
from fofa.supernet.network import PlainNetwork

app = make_app("What int8 costs in the accuracy of a trained run's networks.")

RANGE_IMAGES, CALIBRATION_IMAGES, BATCH_SIZE = 200, 2000, 100
PARTS: tuple[FloatPart, ...] = ("first", "last", "squeeze", "h_swish")
WIDTH = 82
PERCENTILES = (99.99, 99.9, 99.0)


@dataclass(frozen=True, slots=True)
class Classes:
    """What networks make of the test images, and what these show, each (images,)."""

    truth: np.ndarray
    plain: np.ndarray
    simulated: np.ndarray
    onnxruntime: np.ndarray
    openvino: np.ndarray | None

    @property
    def columns(self) -> list[float | None]:
        """As the table has them, in percent."""
        other = self.openvino
        return [
            _share(self.simulated, self.truth),
            _share(self.onnxruntime, self.truth),
            _share(self.onnxruntime, self.plain),
            _share(self.onnxruntime, self.simulated),
            None if other is None else _share(other, self.truth),
            None if other is None else _share(other, self.plain),
            None if other is None else _share(other, self.onnxruntime),
        ]


TITLES = ("simulated", "ORT", "ORT=fp32", "ORT=sim.", "OpenVINO", "OV=fp32", "OV=ORT")


def schemes() -> Iterator[Int8Scheme]:
    """All that are compared: the default first, then one thing changed at a time."""
    yield Int8Scheme()
    for percentile in PERCENTILES:
        yield Int8Scheme(ranges="percentile", percentile=percentile)
    yield Int8Scheme(weights="tensor")
    for part in PARTS:
        yield Int8Scheme(float_parts=(part,))
    yield Int8Scheme(float_parts=PARTS)


def classes(
    network: PlainNetwork,
    resolution: int,
    data: DataSource,
    scheme: Int8Scheme,
    test_images: int | None = None,
) -> Classes:
    """The classes that a network in fp32 and in int8 gives the test images."""
    shown = data.calibration_batches(resolution, RANGE_IMAGES, BATCH_SIZE, IMAGES_SEED)
    ranges = find_ranges(network, resolution, shown, RANGE_IMAGES, scheme)
    model = network_model(network, resolution, {}, dtype="int8", scheme=scheme, ranges=ranges)
    ways = {"simulated": simulate(network, resolution, scheme, ranges)}
    exact = {"onnxruntime": session_logits(model)}
    if find_spec("openvino") is not None:
        from fofa.export.openvino_file import convert

        exact["openvino"] = convert(model, {}).logits()
    found: dict[str, list[np.ndarray]] = {}
    for images, labels in data.test_batches(resolution, BATCH_SIZE, test_images):
        with torch.inference_mode():
            logits = {"plain": network(images).numpy()}
        logits |= {name: way(images).numpy() for name, way in ways.items()}
        logits |= {name: way(images) for name, way in exact.items()}
        found.setdefault("truth", []).append(labels.numpy())
        for name, values in logits.items():
            found.setdefault(name, []).append(values.argmax(axis=1))
    whole = {name: np.concatenate(parts) for name, parts in found.items()}
    return Classes(
        truth=whole["truth"],
        plain=whole["plain"],
        simulated=whole["simulated"],
        onnxruntime=whole["onnxruntime"],
        openvino=whole.get("openvino"),
    )


def report(
    run: Run, architecture: Architecture, data: DataSource, test_images: int | None = None
) -> None:
    """Print the table of one network."""
    size = architecture.resolution
    batches = data.calibration_batches(size, CALIBRATION_IMAGES, BATCH_SIZE)
    network = calibrate(run.load_supernet(), architecture, batches)
    print(f"{'':{WIDTH}}" + "".join(f"{title:>11}" for title in TITLES))
    for number, scheme in enumerate(schemes()):
        found = classes(network, size, data, scheme, test_images)
        if number == 0:
            print(
                f"{architecture.name}: fp32 {_share(found.plain, found.truth):.2f}% of "
                f"{len(found.truth)} test images"
            )
        cells = (f"{'-' if value is None else f'{value:.2f}':>11}" for value in found.columns)
        print(f"{scheme.text:{WIDTH}}" + "".join(cells), flush=True)


def _share(found: np.ndarray, expected: np.ndarray) -> float:
    return 100 * float(np.mean(found == expected))


@app.command()
def quantisation(
    run: Annotated[Path, typer.Argument(help="Run folder of a trained supernet.")],
    architectures: Annotated[
        str, typer.Option(help="Networks, such as 22222@32,44444@32.")
    ] = "22222@32,23432@32,44444@32",
    test_images: Annotated[int | None, typer.Option(help="Only so many test images.")] = None,
) -> None:
    """What int8 costs in accuracy, way by way."""
    opened = Run.open(run)
    record = opened.record
    data = normalised_as(open_data(record.data_spec), record.mean, record.std)
    for name in architectures.split(","):
        report(opened, parse_architecture(name, record.supernet.family), data, test_images)


def main() -> None:
    """The command line."""
    run_app(app, "python -m benchmarks.quantisation")


if __name__ == "__main__":
    main()
