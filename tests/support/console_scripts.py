"""The console scripts of pyproject.toml, and the module that each of them starts."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from typing import Any

from fofa.commands.start import Program
from fofa.commands.umbrella import OWN

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]["scripts"]

PROGRAMS = (*SCRIPTS, *(program.name for program in OWN.values()))
"""Those, and the words after `fofa` that have no script."""


def module_of(script: str) -> Any:
    """The module that a program starts."""
    if script not in SCRIPTS:
        return importlib.import_module(OWN[script.partition(" ")[2]].module)
    package, _, name = SCRIPTS[script].partition(":")
    program: Program = getattr(importlib.import_module(package), name)
    assert program.name == script
    return importlib.import_module(program.module)
