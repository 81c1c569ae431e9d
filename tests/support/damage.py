"""Ways of damaging a file: in its structure, if it has one that is known, or anywhere in its bytes.

Each takes the bytes of a valid file, draws the damage from `data` and returns a damaged copy.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import yaml
from hypothesis import strategies as st

HOSTILE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 300),
    st.sampled_from([10**400, -(2**63), 2**64, 1e308, 5e-324, -0.0, 0.5]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from(["", "1", "2.5", "nan", "true", "22222@16", "../../x", "\x00", "\ud800", "é"]),
    st.text(max_size=8),
    st.sampled_from([[], {}, [[]], {"a": 1}, [1, 2]]),
)


def places(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every value inside `value`."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*at, key)
        if isinstance(item, dict | list):
            yield from places(item, (*at, key))


def damage_value(original: Any, data: st.DataObject) -> Any:
    """A copy of a JSON or YAML value with one to three faults in its structure."""
    damaged = copy.deepcopy(original)
    for _ in range(data.draw(st.integers(1, 3))):
        known = list(places(damaged))
        if not known:
            break
        *path, last = data.draw(st.sampled_from(known))
        parent = damaged
        for key in path:
            parent = parent[key]
        match data.draw(st.sampled_from(["drop", "replace", "repeat", "rename", "scale"])):
            case "drop":
                del parent[last]
            case "replace":
                parent[last] = copy.deepcopy(data.draw(HOSTILE))
            case "repeat" if isinstance(parent, list):
                parent.append(copy.deepcopy(parent[last]))
            case "rename" if isinstance(parent, dict):
                parent[data.draw(st.text(max_size=6))] = parent.pop(last)
            case "scale" if isinstance(parent[last], int | float) and abs(parent[last]) < 1e290:
                parent[last] = parent[last] * data.draw(st.sampled_from([-1, 0, 1e-9, 1e9]))
    return damaged


def damage_bytes(original: bytes, data: st.DataObject) -> bytes:
    """A copy of a file that is cut, flipped or overwritten somewhere, rather near its start."""
    damaged = bytearray(original)
    end = data.draw(st.sampled_from([16, 300, len(damaged)]))
    at = data.draw(st.integers(0, min(end, len(damaged)) - 1))
    match data.draw(st.sampled_from(["truncate", "cut", "flip", "overwrite", "insert"])):
        case "truncate":
            del damaged[at:]
        case "cut":
            del damaged[at : at + data.draw(st.integers(1, 40))]
        case "flip":
            damaged[at] ^= 1 << data.draw(st.integers(0, 7))
        case "overwrite":
            piece = data.draw(st.binary(min_size=1, max_size=8))
            damaged[at : at + len(piece)] = piece
        case "insert":
            damaged[at:at] = data.draw(st.binary(min_size=1, max_size=8))
    return bytes(damaged)


def damage_json(original: bytes, data: st.DataObject) -> bytes:
    if data.draw(st.integers(0, 3)) == 0:
        return damage_bytes(original, data)
    return json.dumps(damage_value(json.loads(original), data)).encode()


def damage_yaml(original: bytes, data: st.DataObject) -> bytes:
    if data.draw(st.integers(0, 3)) == 0:
        return damage_bytes(original, data)
    value = damage_value(yaml.safe_load(original), data)
    return yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "surrogatepass")


def damage_safetensors(original: bytes, data: st.DataObject) -> bytes:
    """Damage anywhere, in the header's structure, or in the JSON that its metadata holds."""
    kind = data.draw(st.sampled_from(["bytes", "header", "metadata"]))
    if kind == "bytes":
        return damage_bytes(original, data)
    length = int.from_bytes(original[:8], "little")
    header, tensors = json.loads(original[8 : 8 + length]), original[8 + length :]
    if kind == "header" or "__metadata__" not in header:
        header = damage_value(header, data)
    else:
        for name, text in header["__metadata__"].items():
            damaged = damage_value(json.loads(text), data)
            header["__metadata__"][name] = json.dumps(damaged)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + tensors


def damage_lines(original: bytes, data: st.DataObject) -> bytes:
    """Damage anywhere, or in the structure of one line of JSON."""
    if data.draw(st.integers(0, 3)) == 0:
        return damage_bytes(original, data)
    lines = original.split(b"\n")
    number = data.draw(st.integers(0, len(lines) - 2))
    lines[number] = json.dumps(damage_value(json.loads(lines[number]), data)).encode()
    return b"\n".join(lines)


Fault = tuple[str, Callable[[], Any]]
"""What is wrong, and a function that makes a copy of the whole with that fault."""


def structural_faults(value: Any) -> Iterator[Fault]:
    """For every place in a JSON value: it is removed, null, of another type or out of range."""
    for place in places(value):
        name = ".".join(map(str, place))
        yield f"{name} removed", partial(without, value, place)
        for fault, change in FAULTS.items():
            yield f"{name} {fault}", partial(with_change, value, place, change)


def without(value: Any, place: tuple[str | int, ...]) -> Any:
    damaged, parent = parent_in_copy(value, place)
    del parent[place[-1]]
    return damaged


def with_change(value: Any, place: tuple[str | int, ...], change: Callable[[Any], Any]) -> Any:
    damaged, parent = parent_in_copy(value, place)
    parent[place[-1]] = change(parent[place[-1]])
    return damaged


def parent_in_copy(value: Any, place: tuple[str | int, ...]) -> tuple[Any, Any]:
    """A copy of a value, and what holds `place` in it."""
    parent = damaged = copy.deepcopy(value)
    for key in place[:-1]:
        parent = parent[key]
    return damaged, parent


def another_type(value: Any) -> Any:
    match value:
        case bool():
            return "yes"
        case int() | float():
            return str(value)
        case str():
            return 5
        case dict():
            return list(value)
        case list():
            return dict(enumerate(map(str, value)))
    return [value]


def scaled(factor: int) -> Callable[[Any], Any]:
    """Multiplies numbers; of other things it makes a number."""
    return lambda value: value * factor if type(value) in (int, float) else factor


FAULTS: dict[str, Callable[[Any], Any]] = {
    "null": lambda value: None,
    "of another type": another_type,
    "negative": scaled(-1),
    "a thousand times": scaled(1000),
}


def array_faults(arrays: dict[str, np.ndarray]) -> Iterator[Fault]:
    """For every array: it is removed, renamed, there twice, of another shape, type or value."""
    for name, array in arrays.items():
        for fault, change in ARRAY_FAULTS.items():
            yield f"{name} {fault}", partial(_with_array, arrays, name, change)
        if array.dtype.kind == "f":
            for strange in (np.nan, np.inf, 1e38):
                filled = partial(np.full_like, fill_value=strange)
                change = partial(_changed_array, filled)
                yield f"{name} of {strange}", partial(_with_array, arrays, name, change)


Changed = Callable[[str, np.ndarray], dict[str, np.ndarray]]


def _with_array(arrays: dict[str, np.ndarray], name: str, change: Changed) -> dict[str, np.ndarray]:
    others = {key: other for key, other in arrays.items() if key != name}
    return others | change(name, arrays[name])


def _changed_array(
    change: Callable[[np.ndarray], np.ndarray], name: str, array: np.ndarray
) -> dict[str, np.ndarray]:
    return {name: np.ascontiguousarray(change(array))}


ARRAY_FAULTS: dict[str, Changed] = {
    "removed": lambda name, array: {},
    "renamed": lambda name, array: {f"{name}x": array},
    "twice": lambda name, array: {name: array, f"{name}x": array},
    "flat": partial(_changed_array, lambda array: array.reshape(-1, 1)),
    "longer": partial(_changed_array, lambda array: np.concatenate([array.reshape(-1)] * 2)),
    "empty": partial(_changed_array, lambda array: np.zeros((0,), array.dtype)),
    "of another type": partial(_changed_array, lambda array: array.astype(np.int16)),
}
