"""What a person would train instead, at the same total cost: `python -m benchmarks.rivals`.

A pretrained network with a layer fitted to its features in closed form, and nothing else; the same
fine-tuned alone; and a MobileNetV3-Large from random weights, each at every image size, by the
trainer and the evaluator of this project. The sizes share the cost: whoever does not know which
size will meet the limit has to try all of them, while a supernet has them all.

`--no-latency` stops before the networks are timed, which needs a machine that does nothing else;
the same command without it goes on from there, and writes the file that `fofa-bench --rivals`
reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from bench.tables.rivals import Rival, Rivals
from benchmarks.steps import Steps
from fofa.accuracy import AccuracyTable
from fofa.commands.cli import (
    make_app,
    parse_resolutions,
    run_app,
    stderr_console,
    stdout_console,
)
from fofa.data import open_data
from fofa.data.augmentation import Augmentation
from fofa.distributed import find_place
from fofa.errors import UserError
from fofa.evaluate.plan import Plan, plan_units
from fofa.evaluate.table import TableRequest, make_table
from fofa.export.exporter import ExportRequest, export_network
from fofa.presets import choose_preset
from fofa.progress import Progress
from fofa.recipes import Phase, Recipe
from fofa.runs import Run
from fofa.space import MOBILENETV3, Architecture, Family, SpaceKind, Subnet, parse_subnet
from fofa.train.choices import choose_settings, fitted_preset
from fofa.train.launch import check_place, fit_to_budget
from fofa.train.settings import SETTINGS_NAME, RunOptions, TrainSettings
from fofa.train.setup import Setup
from fofa.train.stopping import INTERRUPTED, stop_signals
from fofa.train.trainer import Trainer

app = make_app("Train what a person would instead of a supernet, at the same total cost.")

MOBILENETV3_LARGE = (
    "3x4+3x3-5x3+5x3+5x3-3x6+3x3+3x3+3x3-3x6+3x6-5x6+5x6+5x6"  # of 2.5 and 2.3, 3 is the nearest
)
"""MobileNetV3-Large (Howard et al., 2019) as a subnet of its family: kernels and expand ratios."""
FINETUNING_RATE = 0.05
"""For 256 images: of 0.05, 0.2, 0.5 and 1, what was best for the largest (experiments.md)."""
NOTHING = 1e-9
"""A learning rate, and a scale of a recipe's epochs: one step that changes no weight."""
CALIBRATION_IMAGES, BATCH_SIZE = 2000, 100
"""As `fofa-eval` has them."""
OPTIONS = RunOptions(trackers=(), validate_share=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What all rivals have in common.

    Attributes:
        weights: the run to begin from.
        core_seconds: that training may cost in all, for each way of training.
        limit: test images to look at; None for all.
        runs: where everything but the result goes.
    """

    data: str
    weights: Path
    core_seconds: float
    resolutions: tuple[int, ...]
    preset: str | None
    train_fraction: float | None
    batch_size: int | None
    seed: int
    limit: int | None
    runs: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One network to be: at its place in its family, by a way of training, at an image size.

    Attributes:
        init: the run to begin from; None for random weights.
        learning_rate: for 256 images; None for the recipe's.
        core_seconds: of its training; None for none.
    """

    what: str
    how: str
    architecture: Architecture
    kind: SpaceKind
    init: Path | None
    learning_rate: float | None
    core_seconds: float | None

    @property
    def name(self) -> str:
        """As tables and folders call it."""
        return f"{self.what} {self.how} at {self.architecture.resolution} px"

    @property
    def folder(self) -> str:
        """Of its run."""
        return self.name.replace(" ", "-").lower()

    @property
    def recipe(self) -> Recipe:
        """The network by itself, from the labels."""
        phase = Phase(
            name="alone",
            warmup_epochs=1,
            epochs=9,
            learning_rate=2.6,
            anchors=(self.architecture.subnet,),
        )
        return Recipe(
            name="alone",
            summary="one network by itself, from the labels",
            kind=self.kind,
            kernel_mode="fixed" if self.kind == "compound" else "centre",
            phases=(phase,),
            clip_norm=1.0,
        )


def contenders(work: Work) -> list[Contender]:
    """Every way at every size."""
    family = Run.open(work.weights).record.supernet.family
    share = work.core_seconds / len(work.resolutions)
    large = parse_subnet(MOBILENETV3_LARGE, MOBILENETV3)
    found = []
    for resolution in work.resolutions:
        pretrained = Architecture(_largest(family), resolution)
        found += [
            Contender(
                what=family.name,
                how="fitted",
                architecture=pretrained,
                kind="compound",
                init=work.weights,
                learning_rate=NOTHING,
                core_seconds=None,
            ),
            Contender(
                what=family.name,
                how="fine-tuned",
                architecture=pretrained,
                kind="compound",
                init=work.weights,
                learning_rate=FINETUNING_RATE,
                core_seconds=share,
            ),
            Contender(
                what="mobilenetv3-large",
                how="from scratch",
                architecture=Architecture(large, resolution),
                kind="elastic",
                init=None,
                learning_rate=None,
                core_seconds=share,
            ),
        ]
    return found


def _largest(family: Family) -> Subnet:
    return Subnet.largest(family, "compound", family.compound_kernels)


def train(wanted: Contender, work: Work, should_stop: Callable[[], bool]) -> Run | None:
    """Train it, or go on; None where that was stopped.

    Raises:
        UserError: for wrong settings or data, or a folder that holds another run.
    """
    folder, processes = work.runs / wanted.folder, find_place("cpu")
    begun = TrainSettings.of_run(folder)
    settings = begun or _settings(wanted, work, folder)
    data = open_data(
        settings.data,
        train_fraction=settings.train_fraction,
        seed=settings.seed,
        augmentation=Augmentation(crop=settings.crop),
    )
    setup = Setup.of(settings, data, processes, wanted.recipe)
    check_place(folder, setup.settings)
    if begun is None:
        if settings.budget_hours is not None:
            setup = fit_to_budget(setup, OPTIONS, processes, stderr_console(), should_stop)
        folder.mkdir(parents=True, exist_ok=True)
        setup.settings.write(folder / SETTINGS_NAME)
    trainer = Trainer(setup, folder, processes=processes, options=OPTIONS, console=stderr_console())
    if not trainer.is_finished:
        trainer.run(should_stop)
    return Run.open(folder) if trainer.is_finished else None


def _settings(wanted: Contender, work: Work, folder: Path) -> TrainSettings:
    """In the preset that `fofa-train` would take."""
    processes, pretrained = find_place("cpu"), wanted.init is not None
    preset = choose_preset(work.preset, work.data)
    fitted = fitted_preset(preset, processes, work.data, folder, pretrained=pretrained)
    record = Run.open(work.weights).record.supernet
    seconds = wanted.core_seconds
    chosen = {
        "recipe": wanted.recipe.name,
        "family": wanted.architecture.subnet.family,
        "init": wanted.init,
        "data": work.data,
        "epoch_scale": NOTHING if seconds is None else None,
        "budget_hours": None if seconds is None else seconds / 3600,
        "learning_rate": wanted.learning_rate,
        "train_fraction": work.train_fraction,
        "batch_size": work.batch_size,
        "seed": work.seed,
        "width_mult": record.width_mult,
        "resolutions": (wanted.architecture.resolution,),
        "crop": None,
        "precision": "fp32",
    }
    return choose_settings(fitted, processes, chosen)


def evaluate(wanted: Contender, run: Run, limit: int | None) -> AccuracyTable:
    """Its accuracy on the test images, as `fofa-eval` measures it, statistics kept; done once."""
    out = run.folder / "accuracy.json"
    if out.is_file():
        return AccuracyTable.read(out)
    space = run.record.supernet.space(tuple(run.record.resolutions))
    plan = Plan(
        units=plan_units(space, [wanted.architecture]),
        batch_size=BATCH_SIZE,
        calibration_images=CALIBRATION_IMAGES,
        limit=limit,
    )
    data = open_data(run.record.data_spec)
    request = TableRequest(run=run, data=data, plan=plan, out=out, keep_statistics=True)
    return make_table(request, find_place("cpu"), Progress(None), stderr_console().print)


def latency_ms(
    wanted: Contender, run: Run, device: str, budget_seconds: float | None, steps: Steps
) -> float:
    """Milliseconds of an image on the device, as `fofa-profile --network` measures them."""
    file = run.folder / "network.onnx"
    if not file.is_file():
        export_network(
            ExportRequest(run=run, architecture=wanted.architecture, out=file, test_images=0)
        )
    words: tuple[object, ...] = ("--network", file.absolute(), "--device", device, "--json")
    if budget_seconds is not None:
        words += ("--budget-seconds", budget_seconds)
    timed = steps.run(f"profile {wanted.folder}", "profilers.commands.profile", *words)
    return float(json.loads(timed)["latency_ms"])


@app.command()
def rivals(
    data: Annotated[str, typer.Option(help="Images, as fofa-train takes them.")],
    weights: Annotated[Path, typer.Option(help="Pretrained run, as fofa-import makes it.")],
    cost: Annotated[
        float, typer.Option(min=1, help="Core-seconds of training for each way, all sizes.")
    ],
    resolutions: Annotated[str, typer.Option(help="Image sizes, such as 96,128.")],
    out: Annotated[Path, typer.Option(help="File to write, for fofa-bench --rivals.")],
    lut_device: Annotated[
        str, typer.Option(help="To time on; the same as of the latency table.")
    ] = "cpu",
    runs: Annotated[
        Path | None, typer.Option(help="Folder for all runs; by default --out without its ending.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="As of fofa-train.")] = None,
    train_fraction: Annotated[float | None, typer.Option(help="As of fofa-train.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="As of fofa-train.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only so many test images, as of fofa-eval.")
    ] = None,
    budget_seconds: Annotated[
        float | None, typer.Option(help="Of timing each network, as of fofa-profile.")
    ] = None,
    latency: Annotated[
        bool, typer.Option(help="Time the networks, and write --out; else train and test only.")
    ] = True,
) -> None:
    """Train, test and time every rival; stopped, the same command goes on."""
    work = Work(
        data=data,
        weights=weights,
        core_seconds=cost,
        resolutions=parse_resolutions(resolutions) or (),
        preset=preset,
        train_fraction=train_fraction,
        batch_size=batch_size,
        seed=seed,
        limit=limit,
        runs=runs or out.with_suffix(""),
    )
    if work.runs == out:
        raise UserError(f"--out {out}: expected a file ending in .json")
    wanted, found = contenders(work), []
    with stop_signals() as should_stop:
        for contender in wanted:
            run = train(contender, work, should_stop)
            if run is None:
                print("stopped; run the same command to go on")
                raise typer.Exit(INTERRUPTED)
            found.append((contender, run, evaluate(contender, run, limit)))
    _show(found)
    if not latency:
        return
    steps = Steps(work.runs / "latency")
    Rivals(
        device=lut_device,
        dataset=found[0][1].record.dataset,
        rivals=[
            Rival(
                name=contender.name,
                latency_ms=latency_ms(contender, run, lut_device, budget_seconds, steps),
                top1=table.architectures[0].top1,
                cost_hours=run.record.training.core_hours or 0.0,
                source=_source(contender, work),
            )
            for contender, run, table in found
        ],
    ).write(out)


def _source(contender: Contender, work: Work) -> str:
    """How it came to be, for the file."""
    begin = f"from {contender.init.name}" if contender.init else "from random weights"
    cost = (
        "its last layer in closed form, no training"
        if contender.core_seconds is None
        else f"{contender.core_seconds:g} of {work.core_seconds:g} core-seconds"
    )
    return f"python -m benchmarks.rivals, seed {work.seed}: alone, {begin}, {cost}"


def _show(found: list[tuple[Contender, Run, AccuracyTable]]) -> None:
    shown = Table("network", "top-1 %", "of the cores, s", "steps", box=None)
    for contender, run, table in found:
        seconds = 3600 * (run.record.training.core_hours or 0.0)
        top1 = f"{table.architectures[0].top1:.1f}"
        shown.add_row(contender.name, top1, f"{seconds:.0f}", str(run.record.step))
    stdout_console(soft_wrap=True).print(shown)


if __name__ == "__main__":
    run_app(app, "python -m benchmarks.rivals")
