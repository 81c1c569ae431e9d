"""`fofa-predictor`: accuracy prediction for the elastic space."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from fofa.accuracy import AccuracyTable
from fofa.commands.cli import (
    make_app,
    run_app,
    say,
    say_json,
    stderr_console,
    stdout_console,
)
from fofa.commands.help import ending
from fofa.errors import UserError
from fofa.predictor.model import HeldOutRecord, load_predictor
from fofa.progress import Progress
from fofa.runs import Run
from fofa.space.encoding import encode

app = make_app(
    "Predict accuracy in the elastic space: sample architectures, measure them with fofa-eval, "
    "train a predictor on the result, and give it to fofa-search."
)


@app.command(epilog=ending("fofa-predictor sample runs/elastic -n 1000"))
def sample(
    run: Annotated[Path, typer.Argument(help="Run folder of an elastic supernet.")],
    num: Annotated[int, typer.Option("--num", "-n", help="Architectures to name.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
) -> None:
    """Name random architectures of a run, separated by commas, for fofa-eval --architectures."""
    from fofa.predictor.training import sample_architectures

    names = [a.name for a in sample_architectures(Run.open(run).record.space, num, seed)]
    say(",".join(names))


@app.command(epilog=ending("fofa-predictor train sampled.json --out predictor.safetensors"))
def train(
    tables: Annotated[
        list[Path], typer.Argument(help="Accuracy tables of sampled architectures of one supernet.")
    ],
    out: Annotated[Path, typer.Option(help="Predictor to write (.safetensors).")],
    held_out: Annotated[
        float, typer.Option(help="Share of the architectures kept to judge the predictor.")
    ] = 0.2,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training part.")] = 100,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Seed of the split and the training.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a predictor and store its error on held-out architectures beside it."""
    if out.suffix != ".safetensors":
        raise UserError(f"--out {out}: expected a file ending in .safetensors")
    from fofa.predictor.training import TrainingConfig, train_predictor

    config = TrainingConfig(held_out=held_out, epochs=epochs, seed=seed)
    read = [AccuracyTable.read(path) for path in tables]
    with Progress(stderr_console()) as progress:
        progress.stage("training", total=epochs)
        predictor = train_predictor(read, config, on_epoch=lambda epoch: progress.advance())
    predictor.save(out)
    held = predictor.record.held_out
    assert held is not None  # a trained predictor has been judged
    _show(f"{out}: trained on {predictor.record.trained_on} architectures", held, as_json=as_json)


@app.command(epilog=ending("fofa-predictor check predictor.safetensors others.json"))
def check(
    predictor: Annotated[Path, typer.Argument(help="Predictor (.safetensors, or OFA's .pth).")],
    table: Annotated[Path, typer.Argument(help="Accuracy table that it was not trained on.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Compare a predictor with measured accuracies."""
    from fofa.predictor.training import judge

    loaded, measured = load_predictor(predictor), AccuracyTable.read(table)
    families = loaded.record.space.family, measured.space.family
    if families[0] != families[1]:
        raise UserError(
            f"the predictor is of family {families[0]}, the table of family {families[1]}"
        )
    if loaded.record.space.width_mult != measured.space.width_mult:
        raise UserError(
            f"the predictor is of width {loaded.record.space.width_mult:g}, the table of width "
            f"{measured.space.width_mult:g}"
        )
    rows = measured.architectures
    architectures = [row.architecture for row in rows]
    resolutions = sorted({architecture.resolution for architecture in architectures})
    population = encode(architectures, resolutions, families[1])
    error = judge(loaded.predict(population), np.array([row.top1 / 100 for row in rows]))
    _show(str(predictor), error, as_json=as_json)


def _show(what: str, error: HeldOutRecord, *, as_json: bool) -> None:
    if as_json:
        say_json(error.model_dump())
        return
    tau = "unknown" if error.kendall_tau is None else f"{error.kendall_tau:.3f}"
    console = stdout_console(soft_wrap=True)
    console.print(what)
    console.print(
        f"on {error.architectures} architectures it was not trained on: Kendall tau {tau}, mean "
        f"error {error.mean_error:.2f} points of top-1, largest {error.max_error:.2f}"
    )


def main() -> None:
    """The program `fofa-predictor`."""
    run_app(app, "fofa-predictor")


if __name__ == "__main__":
    main()
