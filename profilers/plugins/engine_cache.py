"""Built engines on disk, so that a second measurement starts at once, and what building learned.

An entry's name is a digest of everything that decides the engine; its content begins with a digest
of itself. A damaged or half-written entry is therefore noticed and built anew. An engine is machine
code: one that another user could have put there is not loaded. The folder is
`$FOFA_CACHE_DIR/engines`, else `$XDG_CACHE_HOME/fofa/engines`, else `~/.cache/fofa/engines`.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fofa.errors import UserError
from fofa.files import write_bytes

SUFFIX = ".engine"
DIGEST_BYTES = hashlib.sha256().digest_size
DEFAULT_LIMIT_BYTES = 8 * 2**30

_log = logging.getLogger(__name__)


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where engines are kept, after the rules of the XDG base directories."""
    own, shared = environment.get("FOFA_CACHE_DIR"), environment.get("XDG_CACHE_HOME")
    if own:
        return Path(own) / "engines"
    return (Path(shared) if shared else Path.home() / ".cache") / "fofa" / "engines"


def engine_key(model: bytes, **settings: object) -> str:
    """Digest of a model and everything else that decides its engine."""
    digest = hashlib.sha256(repr(sorted(settings.items())).encode())
    digest.update(model)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class EngineCache:
    """A folder of engines. When it outgrows `limit_bytes`, the longest unused ones go."""

    folder: Path
    limit_bytes: int = DEFAULT_LIMIT_BYTES

    def get(self, key: str, build: Callable[[], bytes]) -> bytes:
        """The engine of `key`: from disk if it is there and whole, else built and kept.

        A folder that cannot be written costs time, not the measurement: it is logged.
        """
        path = self.folder / f"{key}{SUFFIX}"
        engine = _read(path)
        if engine is None:
            engine = build()
            self._keep(path, engine)
            self._make_room(path)
        return engine

    def discard(self, key: str) -> None:
        """Forget the engine of `key`."""
        with contextlib.suppress(OSError):
            (self.folder / f"{key}{SUFFIX}").unlink()

    def read_notes(self, name: str) -> bytes:
        """What was noted under `name`; nothing if it is not there or damaged."""
        return _read(self.folder / name) or b""

    def note(self, name: str, content: bytes) -> None:
        """Keep something small that saves time in further builds or loads, until it is replaced."""
        self._keep(self.folder / name, content)

    def _keep(self, path: Path, content: bytes) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if hasattr(os, "getuid") and not _is_private(self.folder.stat()):
                raise UserError(f"{self.folder}: another user can write it")
            write_bytes(path, hashlib.sha256(content).digest() + content)
        except (OSError, UserError) as error:
            _log.warning("%s not kept: %s", path.suffix.removeprefix("."), error)

    def _make_room(self, newest: Path) -> None:
        sizes = {}
        for path in self.folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(OSError):  # another process may have removed it
                status = path.stat()
                sizes[path] = (status.st_mtime, status.st_size)
        total = sum(size for _, size in sizes.values())
        for path, (_, size) in sorted(sizes.items(), key=lambda item: item[1]):
            if total <= self.limit_bytes:
                return
            if path != newest:
                with contextlib.suppress(OSError):
                    path.unlink()
                total -= size


def _is_own(path: Path) -> bool:
    """Whether only this user (or the system's) can change the file `path`, which is no link, and
    its folder.

    Raises:
        OSError: if one of them is not there.
    """
    if not hasattr(os, "getuid"):
        return True
    return _is_private(path.parent.stat()) and _is_private(path.lstat())


def _is_private(status: os.stat_result) -> bool:
    is_plain = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
    return is_plain and status.st_uid in (os.getuid(), 0) and not status.st_mode & stat.S_IWOTH


def _read(path: Path) -> bytes | None:
    """The engine in a cache file, None if there is none or it is damaged."""
    try:
        if not _is_own(path):
            _log.warning("%s: another user can write it, built anew", path)
            return None
        data = path.read_bytes()
    except OSError:
        return None
    digest, engine = data[:DIGEST_BYTES], data[DIGEST_BYTES:]
    if not engine or hashlib.sha256(engine).digest() != digest:
        _log.warning("%s: damaged, built anew", path)
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # the time of last use
    return engine
