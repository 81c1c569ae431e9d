"""`fofa predict`: classify images with an exported network."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fofa.commands.cli import make_app, run_app, say_json, stdout_console
from fofa.commands.help import ending
from fofa.errors import UserError

app = make_app("Classify images with an exported network.")
SHOWN = 3


@app.command(
    epilog=ending(
        "fofa predict network.onnx tulip.jpg",
        "fofa predict network.onnx photos/*.jpg --top 1 --json",
    )
)
def predict(
    network: Annotated[Path, typer.Argument(help="ONNX file, written by fofa-export.")],
    images: Annotated[list[Path], typer.Argument(help="Images: JPEG, PNG, WebP and others.")],
    top: Annotated[int, typer.Option(min=1, help="Classes to show of each image.")] = SHOWN,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Name what is on images, with the probability of each class."""
    if not network.is_file():
        raise UserError(f"{network}: no such file; fofa-export writes one")
    from fofa.export.onnx_classifier import OnnxClassifier

    classifier = OnnxClassifier.open(network)
    found = {str(image): classifier.predict(image, top=top) for image in images}
    if as_json:
        say_json({image: [asdict(one) for one in classes] for image, classes in found.items()})
        return
    console = stdout_console(soft_wrap=True)
    for image, classes in found.items():
        named = ", ".join(f"{one.class_name} {100 * one.probability:.1f}%" for one in classes)
        console.print(f"{image}: {named}")


def main() -> None:
    """The program `fofa predict`."""
    run_app(app, "fofa predict")


if __name__ == "__main__":
    main()
