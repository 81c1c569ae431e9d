"""Families in files: named where they come with the project, embedded as data where they do not.

A file that names no family means `mobilenetv3`, and a file of it says nothing, so that files of
before there were families and those of today read alike.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    model_serializer,
)

from fofa.errors import UserError
from fofa.files import explain, read_yaml
from fofa.space.family import FAMILIES, MOBILENETV3, Family

_ADAPTER: TypeAdapter[Family] = TypeAdapter(Family)


def find_family(named: str) -> Family:
    """The family of this name, or the one described in the YAML file of this path.

    Raises:
        UserError: if there is neither, or the file is no family's, in one line.
    """
    if named in FAMILIES:
        return FAMILIES[named]
    path = Path(named)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return read_family(path)
    raise UserError(
        f"family {named!r}: expected one of {', '.join(FAMILIES)}, or a YAML file of one's own"
    )


def read_family(path: Path) -> Family:
    """The family that a YAML file describes.

    Raises:
        UserError: naming the file, the field and what was expected.
    """
    content = read_yaml(path, "a family")
    try:
        return family_of(content)
    except (UserError, ValueError) as error:
        raise UserError(f"{path}: {error}") from None


def family_of(value: Any) -> Family:
    """The family that a file's value names or describes.

    Raises:
        UserError: if there is none of the name, or a field is wrong.
        ValueError: likewise.
    """
    if isinstance(value, Family):
        return value
    if isinstance(value, str):
        if value not in FAMILIES:
            raise ValueError(f"no family {value[:40]!r} is known, only {', '.join(FAMILIES)}")
        return FAMILIES[value]
    if not isinstance(value, dict):
        raise ValueError("expected a family's name or its description")
    try:
        family = _ADAPTER.validate_json(json.dumps(value, allow_nan=False), strict=True)
    except ValidationError as error:
        raise ValueError(explain(error)) from None
    except TypeError:
        raise ValueError("expected names, numbers and lists only") from None
    if FAMILIES.get(family.name, family) != family:
        raise ValueError(f"name: {family.name} is another family; choose another name")
    return family


def family_data(family: Family) -> str | dict[str, Any]:
    """A family as files hold it: its name if it comes with the project, else its description."""
    if FAMILIES.get(family.name) == family:
        return family.name
    data: dict[str, Any] = _ADAPTER.dump_python(family, mode="json")
    return data


FamilyField = Annotated[
    Family,
    BeforeValidator(family_of, json_schema_input_type=str | dict[str, Any]),
    PlainSerializer(family_data, return_type=str | dict[str, Any]),
]
"""A family as a field of a file."""


class WithFamily(BaseModel):
    """A part of a file that is about one family, which it names unless it is `mobilenetv3`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: FamilyField = MOBILENETV3

    @model_serializer(mode="wrap")
    def _without_default(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = serialize(self)
        if self.family == MOBILENETV3:
            data.pop("family", None)
        return data
