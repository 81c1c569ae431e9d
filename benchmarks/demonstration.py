"""A real data set from pretrained weights, and what a person would do instead at the same cost.

`python -m benchmarks.demonstration cifar10 --cifar10 DIR --out DIR` takes 10,000 images of
CIFAR-10; `python -m benchmarks.demonstration elpv --out DIR` 2,624 photographs of solar cells in
four grades of defect (the package `elpv-dataset`, licence CC BY-NC-SA 4.0, fetched by pip and kept
in `--out`). Each trains a supernet from EfficientNet-Lite0 within a budget, evaluates all subnets,
and trains the rivals (`benchmarks.rivals`) and, from the most accurate subnet, one more network for
the same budget each. `--no-latency` ends there; without it the device's table is measured, networks
are timed, and front and rivals stand in one report.

Every step is done once: stopped, the same command goes on. What each cost stands in `costs.json`.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from bench.tables.rivals import Rival, Rivals
from benchmarks.steps import Steps
from fofa.accuracy import AccuracyTable
from fofa.commands.cli import make_app, run_app, stdout_console
from fofa.errors import UserError
from fofa.runs import Run

app = make_app("Real data from pretrained weights, and what a person would do instead.")

ELPV = "elpv-dataset==1.0.0.post1"
ELPV_SHA256 = "85e31c1126ee9b48e62d3a0232c58f58b2d189b0814a45c13642fa0415af4a4c"
ELPV_FOLDER = "elpv_dataset/data/"
GRADES = {"0.0": "functional", "0.33": "doubtful", "0.66": "suspicious", "1.0": "defective"}
"""Classes by how likely a cell is defective, as far as the label's digits go."""
LABEL = re.compile(r"images/(cell\d{4}\.png)\s+(\d\.\d{1,2})\d*\s+(mono|poly)", re.ASCII)
CIFAR10_SHARE = 0.2
"""Of the training images: 10,000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """What is done, in a folder.

    Attributes:
        setting: options that training the supernet and the rivals have in common.
        core_seconds: of the supernet's training, of each way of training rivals, and of
            fine-tuning the winner.
        limit: test images to look at; None for all.
        timing_seconds: of each session of `fofa-profile`; None for its own.
    """

    setting: tuple[str, ...]
    resolutions: str
    core_seconds: float
    seed: int
    limit: int | None
    timing_seconds: float | None = None

    @property
    def budget(self) -> str:
        """In core-hours, as an option."""
        return f"{self.core_seconds / 3600:.6g}"

    @property
    def limits(self) -> tuple[str, ...]:
        """The limit of test images as options."""
        return () if self.limit is None else ("--limit", str(self.limit))

    def train(self, steps: Steps) -> str:
        """The supernet and everything beside it, up to accuracy; the winner.

        Raises:
            UserError: if a step fails.
        """
        seed = ("--seed", self.seed)
        sizes = ("--resolutions", self.resolutions)
        steps.run("import", "fofa.commands.import_checkpoint", "efficientnet-lite0", "--out=lite0")
        steps.run(
            "train",
            "fofa.commands.train",
            *(*self.setting, *sizes, "--init", "lite0", "--budget", self.budget, *seed),
            *("--no-tensorboard", "--out", "supernet"),
        )
        steps.run(
            "evaluate",
            "fofa.commands.evaluate",
            *("supernet", "--out", "accuracy.json", *self.limits),
        )
        steps.run("rivals", "benchmarks.rivals", *self._rivals, "--no-latency")
        table = AccuracyTable.read(steps.folder / "accuracy.json")
        winner = max(table.architectures, key=lambda found: (found.top1, -found.macs)).name
        steps.run(
            "fine-tune",
            "fofa.commands.finetune",
            *("supernet", "--architecture", winner, "--budget", self.budget, *seed),
            *("--no-tensorboard", "--out", "winner"),
        )
        steps.run(
            "evaluate the winner",
            "fofa.commands.evaluate",
            *("winner", "--out", "winner.json", "--keep-statistics"),
            *("--architectures", winner, *self.limits),
        )
        return winner

    def time(self, steps: Steps, winner: str) -> None:
        """The device's table, the rivals' latencies, the front, the report; after `train`.

        Raises:
            UserError: if a step fails.
        """
        seconds = self.timing_seconds
        timing = () if seconds is None else ("--budget-seconds", str(seconds))
        device = ("--device", "cpu", *timing)
        steps.run(
            "profile", "profilers.commands.profile", "--run=supernet", "--out=cpu.json", *device
        )
        steps.run("time the rivals", "benchmarks.rivals", *self._rivals, *timing)
        steps.run(
            "export the winner",
            "fofa.commands.export",
            *("winner", "--architecture", winner, "--out", "winner.onnx", "--test-images", 0),
        )
        timed = steps.run(
            "time the winner",
            "profilers.commands.profile",
            *("--network", "winner.onnx", *device, "--json"),
        )
        found = Rivals.read(steps.folder / "rivals.json")
        own = self._winner_as_rival(steps, winner, float(json.loads(timed)["latency_ms"]))
        found.model_copy(update={"rivals": [*found.rivals, own]}).write(
            steps.folder / "beside.json"
        )
        tables = ("--lut", "cpu.json", "--accuracy", "accuracy.json")
        steps.run("search", "fofa.commands.search", *tables, "--pareto", "--json")
        steps.run(
            "report",
            "bench.commands.bench",
            *("--tables", "other", "--figures", "none", *tables),
            *("--rivals", "beside.json", "--out", "report"),
        )

    @property
    def _rivals(self) -> tuple[object, ...]:
        """Options of `benchmarks.rivals`."""
        return (
            *(*self.setting, "--weights", "lite0", "--cost", self.core_seconds),
            *("--resolutions", self.resolutions, "--seed", self.seed, *self.limits),
            *("--lut-device", "cpu", "--out", "rivals.json"),
        )

    def _winner_as_rival(self, steps: Steps, winner: str, latency_ms: float) -> Rival:
        """The most accurate subnet after more training, with the cost of both."""
        table = AccuracyTable.read(steps.folder / "winner.json")
        return Rival(
            name=f"{winner} fine-tuned",
            latency_ms=latency_ms,
            top1=table.architectures[0].top1,
            cost_hours=sum(core_hours(steps.folder / run) for run in ("supernet", "winner")),
            source="the most accurate subnet, trained alone after the supernet, whose cost is in",
        )


def core_hours(run: Path) -> float:
    """Of a run's training."""
    return Run.open(run).record.training.core_hours or 0.0


def fetch_cells(folder: Path) -> Path:
    """The photographs of solar cells in class folders, fetched by pip where they are not there.

    Raises:
        UserError: if they cannot be fetched, or are others.
    """
    cells = folder / "cells"
    if cells.is_dir():
        return cells
    place = folder / "fetched"
    words = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(place), ELPV]
    if subprocess.run(words, check=False, stdout=sys.stderr).returncode:
        raise UserError(f"pip could not fetch {ELPV}")
    (wheel,) = place.glob("*.whl")
    unpack_cells(wheel, cells, ELPV_SHA256)
    return cells


def unpack_cells(wheel: Path, out: Path, sha256: str) -> None:
    """The images of the package in a folder for each grade; whole, or not at all.

    Raises:
        UserError: if the file is not the one of this checksum, or has labels of another form.
    """
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != sha256:
        raise UserError(f"{wheel}: not the published file: SHA-256 is {digest}")
    partial = out.with_name(f"{out.name}.partial")
    with zipfile.ZipFile(wheel) as archive:
        for line in archive.read(f"{ELPV_FOLDER}labels.csv").decode().splitlines():
            found = LABEL.fullmatch(line.strip())
            if found is None or found[2] not in GRADES:
                raise UserError(f"{wheel}: label {line[:80]!r} is of another form")
            place = partial / GRADES[found[2]]
            place.mkdir(parents=True, exist_ok=True)
            content = archive.read(f"{ELPV_FOLDER}images/{found[1]}")
            (place / found[1]).write_bytes(content)
    partial.rename(out)


Out = Annotated[Path, typer.Option(help="Folder for everything.")]
Cost = Annotated[float, typer.Option("--cost", min=1, help="Core-seconds of each training.")]
Sizes = Annotated[str, typer.Option(help="Image sizes, such as 96,128.")]
Seed = Annotated[int, typer.Option(help="Of all trainings.")]
Latency = Annotated[bool, typer.Option(help="Time networks, too; else train and test only.")]


@app.command()
def cifar10(
    data: Annotated[Path, typer.Option("--cifar10", help="As cifar10:DIR takes it.")],
    out: Out,
    cost: Cost = 3600,
    resolutions: Sizes = "96,128",
    limit: Annotated[int, typer.Option(min=1, help="Test images.")] = 1000,
    seed: Seed = 0,
    latency: Latency = True,
) -> None:
    """10,000 images of CIFAR-10 from EfficientNet-Lite0."""
    share = ("--train-fraction", str(CIFAR10_SHARE), "--batch-size", "32")
    wanted = Demonstration(
        setting=("--preset", "cifar10", "--data", f"cifar10:{data.absolute()}", *share),
        resolutions=resolutions,
        core_seconds=cost,
        seed=seed,
        limit=limit,
    )
    carry_out(wanted, out, latency=latency)


@app.command()
def elpv(
    out: Out,
    cost: Cost = 1800,
    resolutions: Sizes = "96,128",
    seed: Seed = 0,
    latency: Latency = True,
) -> None:
    """Photographs of solar cells, four grades of defect, from EfficientNet-Lite0."""
    out.mkdir(parents=True, exist_ok=True)
    fetch_cells(out)
    wanted = Demonstration(
        setting=("--preset", "folder", "--data", "folder:cells"),
        resolutions=resolutions,
        core_seconds=cost,
        seed=seed,
        limit=None,
    )
    carry_out(wanted, out, latency=latency)


def carry_out(wanted: Demonstration, out: Path, *, latency: bool) -> None:
    """Do what is not done yet, and print what each step cost.

    Raises:
        UserError: if a step fails.
    """
    steps = Steps(out)
    winner = wanted.train(steps)
    if latency:
        wanted.time(steps, winner)
    shown = Table("step", "by the clock, s", "of the cores, s", box=None)
    for cost in steps.costs:
        shown.add_row(cost.name, f"{cost.wall_seconds:.0f}", f"{cost.core_seconds:.0f}")
    stdout_console(soft_wrap=True).print(shown)
    for name in ("rivals", "evaluate", "evaluate the winner", *(["report"] if latency else [])):
        print(next(cost.output for cost in steps.costs if cost.name == name))


if __name__ == "__main__":
    run_app(app, "python -m benchmarks.demonstration")
