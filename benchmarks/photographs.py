"""1,200 photographs to a checked network in a quarter of an hour, against HOG features.

Four classes of CIFAR-10, 300 pictures each, enlarged to JPEGs of 160 px in class folders, stand for
the photographs that a person has. The commands of docs/your-images.md run one after the other with
their default settings; the exported network and the baseline (histograms of oriented gradients with
logistic regression) name 800 pictures of the test split that neither has seen.
`python -m benchmarks.photographs --cifar10 DIR --out DIR`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from rich.table import Table
from skimage.feature import hog
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from benchmarks.steps import Steps
from fofa.commands.cli import make_app, run_app, stdout_console
from fofa.data.cifar10 import CLASS_NAMES, load_cifar10
from fofa.data.tensors import Split
from fofa.export.onnx_classifier import OnnxClassifier

app = make_app("Train, search and export on 1,200 photographs, and compare with HOG features.")

NUM_CLASSES, TRAIN_IMAGES, TEST_IMAGES = 4, 300, 200
"""Images of each class: `TRAIN_IMAGES` that a person has, `TEST_IMAGES` to compare on."""
SIDE, QUALITY = 160, 90
HOG_SIDE, CELL = 64, 8
PENALTIES, FOLDS = (0.03, 0.1, 0.3, 1.0), 5
"""Of logistic regression, chosen by cross-validation."""
GOAL_MINUTES, GOAL_POINTS = 15.0, 10.0


@app.command()
def photographs(
    cifar10: Annotated[Path, typer.Option(help="Folder of CIFAR-10, as cifar10:DIR takes it.")],
    out: Annotated[Path, typer.Option(help="Folder for pictures, runs and tables.")],
    max_latency: Annotated[
        float, typer.Option(help="Limit in ms that the network is chosen for, one thread.")
    ] = 5.0,
    seed: Annotated[int, typer.Option(help="Of the training.")] = 0,
) -> None:
    """Print what each step took, and how often the network and the baseline are right.

    Stopped, the same command goes on.
    """
    steps = Steps(out)
    if not steps.costs:
        write_photographs(cifar10, out)
    architecture = make_network(steps, max_latency, seed)
    began = time.process_time()
    baseline = hog_top1(out / "photos", out / "test")
    hog_seconds = time.process_time() - began
    top1 = exported_top1(out / "net.onnx", out / "test")
    shown = Table("command", "by the clock, s", "of the cores, s", box=None)
    for cost in steps.costs:
        shown.add_row(cost.name, f"{cost.wall_seconds:.0f}", f"{cost.core_seconds:.0f}")
    minutes = sum(cost.wall_seconds for cost in steps.costs) / 60
    shown.add_row(
        "in all", f"{60 * minutes:.0f}", f"{sum(cost.core_seconds for cost in steps.costs):.0f}"
    )
    stdout_console().print(shown)
    print(f"HOG and logistic regression: {baseline:.1f}% in {hog_seconds:.0f} s of a core")
    print(
        f"exported {architecture}: {top1:.1f}%, {top1 - baseline:+.1f} points (goal "
        f"{GOAL_POINTS:+.0f}), in {minutes:.1f} minutes (goal {GOAL_MINUTES:.0f})"
    )


def make_network(steps: Steps, max_latency: float, seed: int) -> str:
    """Run the commands that are not done yet; the architecture that was exported.

    Raises:
        UserError: if one fails.
    """

    def run(module: str, *arguments: object) -> str:
        package, name = module.split(".")
        return steps.run(name, f"{package}.commands.{name}", *arguments)

    run("fofa.import_checkpoint", "efficientnet-lite0", "--out", "lite0")
    start = ("--preset", "folder", "--data", "folder:photos", "--init", "lite0")
    run("fofa.train", *start, "--seed", seed, "--out", "run")
    run("fofa.evaluate", "run", "--out", "accuracy.json")
    run("profilers.profile", "--device", "cpu", "--run", "run", "--out", "cpu.json")
    tables = ("--lut", "cpu.json", "--accuracy", "accuracy.json")
    found = run("fofa.search", *tables, "--max-latency", max_latency, "--json")
    architecture = str(json.loads(found)["results"][0]["architecture"])
    run("fofa.export", "run", "--architecture", architecture, "--out", "net.onnx")
    return architecture


def write_photographs(cifar10: Path, out: Path) -> None:
    """`photos/` and `test/` with a folder of JPEGs for each class."""
    train, test = load_cifar10(cifar10)
    for name, split, count in (("photos", train, TRAIN_IMAGES), ("test", test, TEST_IMAGES)):
        for class_name, number, image in _first_of_classes(split, count):
            folder = out / name / class_name
            folder.mkdir(parents=True, exist_ok=True)
            large = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            large.save(folder / f"{number:04}.jpg", quality=QUALITY)


def _first_of_classes(split: Split, count: int) -> Iterator[tuple[str, int, Image.Image]]:
    for label in range(NUM_CLASSES):
        images = split.images[split.labels == label][:count]
        for number, pixels in enumerate(images.permute(0, 2, 3, 1).numpy()):
            yield CLASS_NAMES[label], number, Image.fromarray(pixels)


def hog_top1(train: Path, test: Path) -> float:
    """Top-1 in percent of logistic regression on HOG features of class folders."""
    features, labels = _hog_features(train)
    wanted, answers = _hog_features(test)
    model = GridSearchCV(LogisticRegression(max_iter=2000), {"C": PENALTIES}, cv=FOLDS)
    model.fit(features, labels)
    return 100 * float(model.score(wanted, answers))


def _hog_features(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    found, labels = [], []
    for label, path in files_of(folder):
        image = Image.open(path).resize((HOG_SIDE, HOG_SIDE), Image.Resampling.BOX)
        cells = (CELL, CELL)
        found.append(hog(np.asarray(image), pixels_per_cell=cells, channel_axis=-1))
        labels.append(label)
    return np.stack(found), np.array(labels)


def files_of(folder: Path) -> list[tuple[int, Path]]:
    """Labels, in the order of the folders' names, with the files in them."""
    names = sorted(path.name for path in folder.iterdir())
    return [
        (label, path)
        for label, name in enumerate(names)
        for path in sorted((folder / name).iterdir())
    ]


def exported_top1(network: Path, test: Path) -> float:
    """Top-1 in percent of an exported file on class folders."""
    classifier, names = OnnxClassifier.open(network), sorted(path.name for path in test.iterdir())
    right = [
        classifier.predict(path, top=1)[0].class_name == names[label]
        for label, path in files_of(test)
    ]
    return 100 * float(np.mean(right))


if __name__ == "__main__":
    run_app(app, "photographs")
