"""luts/schema.json is the schema of the model, and every table in luts/ keeps to it."""

import copy
import json
from pathlib import Path

import jsonschema
import pytest

from profilers.tables.schema import lut_schema, schema_text

LUTS = Path(__file__).resolve().parents[3] / "luts"
TABLES = sorted(path for path in LUTS.glob("*.json") if path.name != "schema.json")


def test_the_committed_schema_is_that_of_the_model():
    assert (LUTS / "schema.json").read_text(encoding="utf-8") == schema_text()


def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(lut_schema())


def test_there_are_tables():
    assert TABLES


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_table_keeps_to_it(path):
    jsonschema.validate(json.loads(path.read_text(encoding="utf-8")), lut_schema())


def test_a_wrong_table_does_not():
    table = json.loads(TABLES[0].read_text(encoding="utf-8"))
    for spoil in (
        lambda t: t.pop("schema"),
        lambda t: t.update(schema="fofa.lut/99"),
        lambda t: t.update(method="guessed"),
        lambda t: t["entries"][0].update(latency_ms=-1),
        lambda t: t.update(extra=1),
    ):
        wrong = copy.deepcopy(table)
        spoil(wrong)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, lut_schema())
