"""`fofa-export`: one network of a run as a file that runs anywhere, checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fofa.commands.cli import (
    make_app,
    run_app,
    say_json,
    stderr_console,
    stdout_console,
)
from fofa.commands.help import ending
from fofa.commands.int8_options import Int8Options, with_int8_options
from fofa.errors import UserError
from fofa.files import check_replaceable
from fofa.precision import parse_precision
from fofa.space import parse_architecture

if TYPE_CHECKING:
    from fofa.export.exporter import Format

app = make_app("Write one network of a run to a file that runs without fofa, and check it.")
ENDINGS: dict[Format, tuple[str, ...]] = {
    "onnx": (".onnx",),
    "torch": (".pt2",),
    "openvino": (".xml",),
    "mnn": (".mnn",),
    "tensorrt": (".plan", ".engine"),
}
FOLDER: Format = "timm"
"""The format that is no file."""


@app.command(
    epilog=ending(
        "fofa-export runs/mine --architecture 23432@160 --out network.onnx",
        "fofa-export runs/mine --architecture 23432@160 --out small.onnx --dtype int8",
        "fofa-export runs/mine --architecture 23432@160 --format timm --lut cpu.json --out card",
    )
)
@with_int8_options
def export(
    *,
    run: Annotated[Path, typer.Argument(help="Run folder, made by fofa-train or fofa-import.")],
    architecture: Annotated[
        str, typer.Option(help="The network, such as 23432@160, as fofa-search names it.")
    ],
    out: Annotated[
        Path, typer.Option(help="File to write: .onnx, .pt2, .xml, .mnn, .plan; or a folder.")
    ],
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="onnx, torch, openvino, mnn or tensorrt; by default from --out's ending. Or timm: "
            "a folder of weights, configuration and model card.",
        ),
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="fp32, fp16 (ONNX, TensorRT) or int8 (ONNX, OpenVINO).")
    ] = "fp32",
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
    int8: Int8Options,
    test_images: Annotated[
        int | None,
        typer.Option(min=0, help="Test images to measure the file on; 0 for none. Default: all."),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Images in a batch, of calibration and measuring.")
    ] = 100,
    fixed_batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Images that the file always takes at once, as the latency table's --batch-size. "
            "Default: any number, and 64 for an engine.",
        ),
    ] = None,
    compute_capability: Annotated[
        str | None,
        typer.Option(help="Of the GPU that an engine is for, such as 8.6; else the GPU here."),
    ] = None,
    lut: Annotated[
        list[Path] | None,
        typer.Option(help="Latency table for timm's model card; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write one network of a run to a file that runs without fofa, and check it."""
    chosen = _format(format_, out)
    if no_data and data is not None:
        raise UserError("--data and --no-data exclude each other")
    if chosen == FOLDER:
        check_folder(out)
    elif out.is_dir():
        raise UserError(f"{out}: is a folder, expected a file to write")
    else:
        check_replaceable(out)

    from fofa.data import open_data
    from fofa.export.exporter import ExportRequest, export_network
    from fofa.latency import Lut
    from fofa.runs import Run
    from fofa.runtime.graph import BUILT_TYPES
    from fofa.runtime.session import OVERFLOW, products_overflow

    opened = Run.open(run)
    named = parse_architecture(architecture, opened.record.supernet.family)
    request = ExportRequest(
        run=opened,
        architecture=named,
        out=out,
        format=chosen,
        dtype=parse_precision(dtype, BUILT_TYPES),
        fixed_batch=fixed_batch,
        data=None if no_data else open_data(data or opened.record.data_spec),
        calibration_images=calibration_images,
        batch_size=batch_size,
        quantisation_images=int8.quantisation_images,
        scheme=int8.scheme(),
        test_images=test_images,
        compute_capability=compute_capability,
        luts=tuple(Lut.read(path) for path in lut or ()),
    )
    console = stderr_console()
    if named.resolution not in opened.record.resolutions:
        console.print(f"warning: the run was not trained at {named.resolution} px")
    in_onnx = request.dtype == "int8" and request.format == "onnx"
    if in_onnx and request.scheme.weight_bits == 8 and products_overflow():
        console.print(f"warning: {OVERFLOW}", soft_wrap=True)
    with console.status(f"exporting {named.name}"):
        result = export_network(request)
    if as_json:
        say_json(result.to_dict())
        return
    lines = stdout_console(soft_wrap=True)
    lines.print(f"{named.name} as {chosen}, {request.dtype}: {out}")
    lines.print(f"BatchNorm statistics: {result.statistics}")
    if result.max_difference is not None:
        simulated = ", simulated in int8" if request.dtype == "int8" else ""
        lines.print(
            f"largest difference of a logit from PyTorch{simulated}: {result.max_difference:.2g}"
        )
    if result.accuracy is not None:
        beside = ""
        if result.reference_top1 is not None:
            beside = f" (fp32: {result.reference_top1:.2f}%)"
        measured = "the engine's ONNX model" if chosen == "tensorrt" else "this file"
        lines.print(
            f"top-1 of {measured}, measured on {result.accuracy.test_images} test images of "
            f"{result.accuracy.data}: {result.accuracy.top1:.2f}%{beside}"
        )


def check_folder(folder: Path) -> None:
    """Refuse a file, and a folder that is not empty.

    Raises:
        UserError: naming it.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file, expected a folder to write")
    if folder.is_dir() and (others := sorted(path.name for path in folder.iterdir())):
        raise UserError(f"{folder}: holds {others[0]}; give an empty or a new folder")


def _format(name: str | None, out: Path) -> Format:
    """The format, named or from the file's ending; the ending has to be one of the format's."""
    if name == FOLDER:
        return FOLDER
    found = next((f for f, endings in ENDINGS.items() if out.suffix.lower() in endings), None)
    if name is not None and name not in ENDINGS:
        raise UserError(f"--format {name!r}: expected one of {', '.join((*ENDINGS, FOLDER))}")
    if found is None or (name is not None and found != name):
        wanted = [e for f, endings in ENDINGS.items() if name in (None, f) for e in endings]
        raise UserError(f"--out {out}: expected a file ending in {' or '.join(wanted)}")
    return found


def main() -> None:
    """The program `fofa-export`."""
    run_app(app, "fofa-export")


if __name__ == "__main__":
    main()
