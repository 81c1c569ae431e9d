"""The console scripts of pyproject.toml, and the module that each of them starts."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]["scripts"]


def module_of(script: str) -> Any:
    """The module that a console script starts."""
    package, _, function = SCRIPTS[script].partition(":")
    begins = importlib.import_module(package)
    with patch.object(begins, "start") as start:
        getattr(begins, function)()
    name, module, *_ = start.call_args.args
    assert name == script
    return importlib.import_module(module)
