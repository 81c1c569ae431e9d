"""One evaluation at a time writes a table and its partial file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from fofa.errors import UserError


def lock_path(out: Path) -> Path:
    """The hidden file that is locked while `out` is being made."""
    return out.with_name(f".{out.name}.lock")


@contextmanager
def sole_writer(out: Path) -> Iterator[None]:
    """Hold `out` for the time of the body, so that no second process makes the same table.

    The system lets go of a lock when its process ends, however it ends: a lock file that a kill
    left behind keeps nobody out, and the next evaluation removes it.

    Raises:
        UserError: if another process holds it, or its folder cannot be written.
    """
    path = lock_path(out)
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{out}: another fofa-eval is making this table; wait for it, or choose another --out"
        ) from None
    except OSError as error:
        raise UserError(f"{out}: cannot write: {error.strerror or error}") from None
    try:
        yield
    finally:
        # While it is held: who opened the file before that sees that it has no name any more.
        with suppress(OSError):
            path.unlink()
        lock.release()
