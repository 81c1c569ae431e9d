"""`luts/schema.json`: the JSON schema of latency tables, made from the model that reads them.

`python -m profilers.tables.schema luts/schema.json` writes it anew.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from fofa.files import write_text
from fofa.latency import Lut


def lut_schema() -> dict[str, Any]:
    """The JSON schema (2020-12) of a table."""
    schema = Lut.model_json_schema(by_alias=True, mode="validation")
    versions = sorted({*Lut.UPGRADES, Lut.VERSION})
    schema["properties"]["schema"] = {"enum": [f"{Lut.SCHEMA}/{number}" for number in versions]}
    required = sorted({"schema", *schema.get("required", [])})
    return (
        {"$schema": "https://json-schema.org/draft/2020-12/schema"}
        | schema
        | {
            "title": "fofa latency table",
            "required": required,
        }
    )


def schema_text() -> str:
    """The file's content."""
    return json.dumps(lut_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write_text(Path(sys.argv[1]), schema_text())
