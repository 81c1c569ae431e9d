"""`fofa-export`: one network of a run as a file that runs anywhere, checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fofa.commands.cli import make_app, run_app, stderr_console
from fofa.errors import UserError
from fofa.export.formats import DType, Format
from fofa.files import check_replaceable
from fofa.space import parse_architecture

app = make_app("Write one network of a run to a file that runs without fofa, and check it.")
ENDINGS: dict[Format, tuple[str, ...]] = {
    "onnx": (".onnx",),
    "torch": (".pt2",),
    "tensorrt": (".plan", ".engine"),
}
DTYPES: tuple[DType, ...] = ("float32", "float16", "int8")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Run folder, made by fofa-train or fofa-import.")],
    architecture: Annotated[
        str, typer.Option(help="The network, such as 23432@160, as fofa-search names it.")
    ],
    out: Annotated[Path, typer.Option(help="File to write: .onnx, .pt2, or .plan.")],
    format_: Annotated[
        str | None,
        typer.Option("--format", help="onnx, torch or tensorrt; by default from --out's ending."),
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32, float16 or int8 (ONNX).")] = "float32",
    data: Annotated[
        str | None,
        typer.Option(
            help="shapes, cifar10:DIR, folder:DIR or imagenet:DIR; the run's own by default."
        ),
    ] = None,
    no_data: Annotated[
        bool,
        typer.Option("--no-data", help="Use kept BatchNorm statistics and measure no accuracy."),
    ] = False,
    calibration_images: Annotated[
        int, typer.Option(min=1, help="Training images that recalibrate BatchNorm.")
    ] = 2000,
    quantisation_images: Annotated[
        int, typer.Option(min=1, help="Training images that set the ranges of int8 activations.")
    ] = 200,
    test_images: Annotated[
        int | None,
        typer.Option(min=0, help="Test images to measure the file on; 0 for none. Default: all."),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Images in a batch, and largest batch of an engine.")
    ] = 100,
    compute_capability: Annotated[
        str | None,
        typer.Option(help="Of the GPU that an engine is for, such as 8.6; else the GPU here."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write one network of a run to a file that runs without fofa, and check it."""
    chosen = _format(format_, out)
    named = parse_architecture(architecture)
    number_type = _dtype(dtype)
    if no_data and data is not None:
        raise UserError("--data and --no-data exclude each other")
    if out.is_dir():
        raise UserError(f"{out}: is a folder, expected a file to write")
    check_replaceable(out)

    from fofa.data import open_data
    from fofa.export.exporter import deliver
    from fofa.export.request import ExportRequest
    from fofa.runs import Run

    opened = Run.open(run)
    request = ExportRequest(
        run=opened,
        architecture=named,
        out=out,
        format=chosen,
        dtype=number_type,
        data=None if no_data else open_data(data or opened.record.data_spec),
        calibration_images=calibration_images,
        batch_size=batch_size,
        quantisation_images=quantisation_images,
        test_images=test_images,
        max_batch=batch_size,
        compute_capability=compute_capability,
    )
    console = stderr_console()
    if named.resolution not in opened.record.resolutions:
        console.print(f"warning: the run was not trained at {named.resolution} px")
    with console.status(f"exporting {named.name}"):
        result = deliver(request)
    if as_json:
        print(json.dumps(result.to_dict(), indent=2, allow_nan=False))
        return
    lines = Console(highlight=False, soft_wrap=True)
    lines.print(f"{named.name} as {chosen}, {dtype}: {out}")
    lines.print(f"BatchNorm statistics: {result.statistics}")
    if result.max_difference is not None:
        lines.print(f"largest difference of a logit from PyTorch: {result.max_difference:.2g}")
    if result.accuracy is not None:
        beside = ""
        if result.reference_top1 is not None:
            beside = f" (float32: {result.reference_top1:.2f}%)"
        measured = "the engine's ONNX model" if chosen == "tensorrt" else "this file"
        lines.print(
            f"top-1 of {measured}, measured on {result.accuracy.test_images} test images of "
            f"{result.accuracy.data}: {result.accuracy.top1:.2f}%{beside}"
        )


def _format(name: str | None, out: Path) -> Format:
    """The format, named or from the file's ending; the ending has to be one of the format's."""
    found = next((f for f, endings in ENDINGS.items() if out.suffix.lower() in endings), None)
    if name is not None and name not in ENDINGS:
        raise UserError(f"--format {name!r}: expected one of {', '.join(ENDINGS)}")
    if found is None or (name is not None and found != name):
        wanted = [e for f, endings in ENDINGS.items() if name in (None, f) for e in endings]
        raise UserError(f"--out {out}: expected a file ending in {' or '.join(wanted)}")
    return found


def _dtype(name: str) -> DType:
    for known in DTYPES:
        if name == known:
            return known
    raise UserError(f"--dtype {name!r}: expected one of {', '.join(DTYPES)}")


def main() -> None:
    """The program `fofa-export`."""
    run_app(app, "fofa-export")


if __name__ == "__main__":
    main()
