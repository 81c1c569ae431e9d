"""Reading and writing files so that nothing is lost and every fault is one clear line.

Writing goes to a temporary file beside the target, is flushed to disk, then renamed: a crash
leaves the old file whole. Reading goes through pydantic models with a schema name and version
(`fofa.lut/1`); too old and too new are told apart.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import yaml
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fofa.errors import UserError

TEMPORARY_SUFFIX = ".tmp"
MAX_YAML_BYTES = 100_000


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it over `path` when the body succeeds.

    Of a symbolic link, the file that it leads to is replaced and the link stays.

    Raises:
        UserError: if the folder cannot be made or written (read-only, full, gone), or `path` is
            something that a rename would destroy (a device, a pipe).
    """
    check_replaceable(path)
    target = Path(os.path.realpath(path))
    temporary = Path()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(
            prefix=f".{target.name}.", suffix=TEMPORARY_SUFFIX, dir=target.parent
        )
        os.close(descriptor)
        temporary = Path(name)
        yield temporary
        _sync(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        raise UserError(f"{path}: cannot write: {error.strerror or error}") from error
    finally:
        if temporary.name:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def check_replaceable(path: Path) -> None:
    """Refuse what is there and neither a file nor a folder: renaming over /dev/null removes it.

    Raises:
        UserError: for a device, a pipe or a socket.
    """
    try:
        special = path.exists() and not path.is_file() and not path.is_dir()
    except OSError as error:
        raise UserError(f"{path}: cannot write: {error.strerror or error}") from error
    if special:
        raise UserError(f"{path}: cannot write: not a regular file")


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process was writing in `folder`; only where nobody else writes there."""
    for path in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        with contextlib.suppress(OSError):
            path.unlink()


@contextlib.contextmanager
def locked(path: Path, what: str, *, patience: float = 0.0) -> Iterator[None]:
    """Hold `path`, a file or an existing folder, so that no second process writes it meanwhile.

    The system lets go of a lock when its process ends, however it ends: a lock file that a kill
    left behind keeps nobody out, and whoever locks next removes it.

    Args:
        what: what the other one is doing, for the message: "another fofa-eval makes this table".
        patience: seconds to wait for it to finish.

    Raises:
        UserError: if another process holds it, or its folder cannot be written.
    """
    file = lock_path(path)
    lock = FileLock(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=patience)
    except Timeout:
        raise UserError(f"{path}: {what}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot write: {error.strerror or error}") from None
    try:
        yield
    finally:
        # While it is held: who opened the file before that sees that it has no name any more.
        with contextlib.suppress(OSError):
            file.unlink()
        lock.release()


def lock_path(path: Path) -> Path:
    """The hidden file that `locked` locks: inside a folder, beside a file."""
    return path / ".lock" if path.is_dir() else path.with_name(f".{path.name}.lock")


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, in UTF-8; what is no text (odd file names) is escaped."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_gzip(path: Path, text: str) -> None:
    """Write `text` compressed, atomically; the same text gives the same bytes."""
    write_bytes(path, gzip.compress(text.encode(), mtime=0))


def read_gzip(path: Path, limit_bytes: int) -> str:
    """The text of a compressed file, of which no more than `limit_bytes` are unpacked.

    Raises:
        UserError: if it is damaged, no text, or holds more.
    """
    try:
        with gzip.open(path) as file:
            content = file.read(limit_bytes + 1)
        if len(content) > limit_bytes:
            raise UserError(f"{path}: holds more than {limit_bytes // 2**20} MiB")
        return content.decode("utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file, expected JSON in UTF-8") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: not a readable compressed file: {error}") from None


def read_json(path: Path) -> Any:
    """The JSON value in `path`; NaN, infinity and a name that comes twice are refused.

    Raises:
        UserError: naming the file and what is wrong.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file, expected JSON in UTF-8") from None
    return parse_json(text, path)


def parse_json(text: str, path: Path) -> Any:
    """The JSON value in `text`, which came from `path`, checked as by `read_json`.

    Raises:
        UserError: naming the file and what is wrong.
    """
    try:
        return json.loads(
            text,
            parse_int=_whole_number,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object_of_unique_names,
        )
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise UserError(f"{path}: not JSON: {error.msg} at {place}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not usable JSON: {error}") from None


def read_yaml(path: Path, what: str) -> dict[Any, Any]:
    """The YAML mapping in `path`, read by the safe loader.

    Args:
        what: it describes, for messages, such as "a family".

    Raises:
        UserError: naming the file and what is wrong.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_YAML_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror or error}") from None
    if len(data) > MAX_YAML_BYTES:
        raise UserError(f"{path}: too large to describe {what}")
    content = parse_yaml(str(path), data)
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a YAML mapping that describes {what}")
    return content


def parse_yaml(place: str, data: bytes) -> Any:
    """The content of a YAML file of untrusted origin, given its bytes.

    Raises:
        UserError: one line with the place and the first fault.
    """
    try:
        return yaml.safe_load(data)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "cannot be read"
        raise UserError(f"{place}: not YAML: {problem}{where}") from None


class FileModel(BaseModel):
    """A JSON file with a versioned schema.

    Subclasses set `SCHEMA` (`fofa.<kind>`) and `VERSION`, and may set `UPGRADES`: a function per
    old version that turns its JSON object into that of the next. Unknown fields are refused, so
    that a misspelt one is seen.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    SCHEMA: ClassVar[str]
    VERSION: ClassVar[int] = 1
    UPGRADES: ClassVar[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {}

    schema_name: str = Field(default="", alias="schema")

    def model_post_init(self, context: Any, /) -> None:
        """Fill in the schema name of objects that were made in code."""
        object.__setattr__(self, "schema_name", f"{self.SCHEMA}/{self.VERSION}")

    @classmethod
    def read(cls, path: Path) -> Self:
        """The validated content of `path`.

        Raises:
            UserError: one line with the file, the field and what was expected.
        """
        return cls._validated(read_json(path), path)

    @classmethod
    def parse(cls, text: str, path: Path) -> Self:
        """The validated content of `text`, JSON that was found inside the file `path`.

        Raises:
            UserError: as `read` does.
        """
        return cls._validated(parse_json(text, path), path)

    @classmethod
    def _validated(cls, data: Any, path: Path) -> Self:
        if not isinstance(data, dict):
            raise UserError(
                f"{path}: expected a JSON object with schema {cls.SCHEMA}/{cls.VERSION}"
            )
        data = cls._current(path, data)
        try:
            # Strictly, as JSON: nothing is guessed from a value of another type ("1", true, 2.0).
            return cls.model_validate_json(json.dumps(data, allow_nan=False), strict=True)
        except ValidationError as error:
            raise UserError(f"{path}: {explain(error)}") from None
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        except ValueError:
            raise UserError(f"{path}: holds a number that is out of range") from None

    @classmethod
    def _current(cls, path: Path, data: dict[str, Any]) -> dict[str, Any]:
        """`data` brought to the current version, or a clear refusal."""
        wanted = f"{cls.SCHEMA}/{cls.VERSION}"
        found = data.get("schema")
        match = re.fullmatch(r"(fofa\.[a-z-]+)/([0-9]{1,6})", str(found), re.ASCII)
        if match is None or match[1] != cls.SCHEMA:
            shown = json.dumps(found)[:60]
            raise UserError(f"{path}: schema is {shown}, expected {wanted!r}")
        version = int(match[2])
        if version > cls.VERSION:
            raise UserError(
                f"{path}: schema {found} is newer than this fofa reads ({wanted}); upgrade fofa"
            )
        while version < cls.VERSION:
            if version not in cls.UPGRADES:
                raise UserError(
                    f"{path}: schema {found} is too old ({wanted} is read); make the file anew"
                )
            data = cls.UPGRADES[version](data)
            version += 1
        return data | {"schema": wanted}

    def to_json(self) -> str:
        """The file's text, as `readable_json` writes it, and a final newline."""
        return readable_json(self.model_dump(by_alias=True, mode="json")) + "\n"

    def write(self, path: Path) -> None:
        """Write the file atomically."""
        write_text(path, self.to_json())


def readable_json(value: Any, indent: str = "") -> str:
    """JSON for people: objects indented, lists with one item a line, each item compact.

    A list of plain values stays on one line. A table of a thousand entries so takes a thousand
    lines, and a changed entry is one line of a diff.
    """
    inner = indent + "  "
    if isinstance(value, dict) and value:
        items = [f"{json.dumps(key)}: {readable_json(item, inner)}" for key, item in value.items()]
        opening, closing = "{", "}"
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        items = [json.dumps(item, allow_nan=False) for item in value]
        opening, closing = "[", "]"
    else:
        return json.dumps(value, allow_nan=False)
    lines = ",\n".join(inner + item for item in items)
    return f"{opening}\n{lines}\n{indent}{closing}"


def explain(error: ValidationError) -> str:
    """The first fault of a validation error as `field: what was expected (got value)`."""
    first = error.errors(include_url=False)[0]
    where = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]
    ).lstrip(".")
    got = "" if first["type"] == "missing" else f" (got {_short(first['input'])})"
    more = error.error_count() - 1
    rest = f", and {more} more faults" if more else ""
    return f"field {where or '(top level)'}: {first['msg']}{got}{rest}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _object_of_unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; the standard library would silently take the last of two equal names."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"{twice!r} comes twice in one object")
    return found


def _whole_number(text: str) -> int:
    """A whole number; one that no float comes near would be taken for infinity."""
    number = int(text)
    if abs(number) > sys.float_info.max:
        raise ValueError(f"the number {text[:20]}... is out of range")
    return number


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not allowed")


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
