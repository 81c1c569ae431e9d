"""`python -m benchmarks.speed NAME`: the other modules of this package, by their `run`."""

from __future__ import annotations

import importlib
import pkgutil

import typer

import benchmarks.speed
from fofa.commands.cli import make_app, run_app


def build_app() -> typer.Typer:
    """A subcommand for each module, called like the module."""
    app = make_app("Measure speed against the alternative, side by side, as a ratio.")
    app.callback()(lambda: None)  # keeps the subcommand's name even if there is only one
    for module in pkgutil.iter_modules(benchmarks.speed.__path__):
        if not module.name.startswith("_"):
            loaded = importlib.import_module(f"benchmarks.speed.{module.name}")
            app.command(module.name)(loaded.run)
    return app


if __name__ == "__main__":
    run_app(build_app(), "python -m benchmarks.speed")
