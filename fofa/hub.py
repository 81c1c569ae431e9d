"""Runs on the Hugging Face Hub, as `hf:user/name`, where `huggingface-hub` is installed.

What goes there and comes from there is the record, the weights and kept statistics: no checkpoint,
no log, nothing that is run. The library is imported when such a name is given; where one has logged
in with it (`hf auth login`), private runs open, too.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fofa.errors import UserError
from fofa.plain_text import one_line

PREFIX = "hf:"
EXTRA = "hub"
LIBRARY = "huggingface_hub"
RUN_FILES = ("run.json", "weights.safetensors", "statistics/*")
NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_hub_name(name: Path | str) -> bool:
    """Whether a run is named as one on the hub."""
    return str(name).startswith(PREFIX)


def local_folder(name: Path) -> Path:
    """The folder of a run: itself, or where `hf:user/name` lies once it is downloaded.

    Raises:
        UserError: if there is no such run, the hub cannot be reached, or the library is missing.
    """
    if not is_hub_name(name):
        return name
    repository = repository_of(name)
    with hub_errors(name):
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(repo_id=repository, allow_patterns=list(RUN_FILES)))


def upload_run(folder: Path, name: str, *, private: bool = True) -> str:
    """Put a run folder's files on the hub as `hf:user/name`; where it is to be seen.

    The repository is made if there is none; one that is there stays as public as it is.

    Raises:
        UserError: if the name is none, nobody is logged in, the hub cannot be reached, or the
            library is missing.
    """
    repository = repository_of(name)
    with hub_errors(name):
        from huggingface_hub import HfApi

        hub = HfApi()
        place = hub.create_repo(repository, private=private, exist_ok=True)
        hub.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=list(RUN_FILES),
            commit_message="A run of fofa",
        )
    return str(place)


def repository_of(name: Path | str) -> str:
    """`user/name` of `hf:user/name`.

    Raises:
        UserError: if it is another name.
    """
    repository = str(name).removeprefix(PREFIX)
    if not is_hub_name(name) or not NAME.fullmatch(repository):
        raise UserError(f"{str(name)!r}: expected a name such as {PREFIX}user/name")
    return repository


@contextmanager
def hub_errors(name: Path | str) -> Iterator[None]:
    """Failures of the hub and of the way to it, in one line.

    Raises:
        UserError: in their place.
    """
    if importlib.util.find_spec(LIBRARY) is None:
        raise UserError(f"{name}: needs huggingface-hub: pip install 'fofa-nas[{EXTRA}]'")
    from huggingface_hub.errors import HFValidationError, HTTPError, LocalTokenNotFoundError

    failures = (HFValidationError, HTTPError, LocalTokenNotFoundError, OSError)
    try:
        yield
    except failures as error:
        reason = one_line(" ".join(str(error).split())) or type(error).__name__
        raise UserError(f"{name}: {reason}") from error
