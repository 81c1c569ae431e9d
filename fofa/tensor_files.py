"""Tensors on disk: safetensors files, read with every fault as one clear line, written atomically.

Weights, checkpoints, predictors, statistics and interrupted evaluations are such files. Nothing in
them is unpickled. Files that other projects saved with `torch.save` are read here, too, as tensors
and plain values only. Torch is imported only where its tensors are asked for.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from fofa.errors import UserError
from fofa.files import write_bytes

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file by name, on the CPU, and the file's metadata.

    Raises:
        UserError: if the file cannot be read or is damaged.
    """
    from safetensors.torch import load

    content = _content(path)
    with _damage_named(path):
        return load(content), _metadata(content)


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """As `read_tensors`, as numpy arrays and without torch."""
    from safetensors.numpy import load

    content = _content(path)
    with _damage_named(path):
        return load(content), _metadata(content)


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write copies of `tensors`, from whatever device, so that a crash leaves the old file whole.

    Raises:
        UserError: if `path` cannot be written.
    """
    from safetensors.torch import save

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save(plain, metadata))


def write_arrays(
    path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str] | None = None
) -> None:
    """As `write_tensors`, for contiguous numpy arrays and without torch."""
    from safetensors.numpy import save

    write_bytes(path, save(arrays, metadata))


def read_saved(path: Path, expected: str) -> Any:
    """What `torch.save` wrote, if it is made of tensors and plain values; nothing in it is run.

    Of a zip archive, only one as torch writes it is read: nothing compressed, nothing twice. What
    it takes in memory is then no more than it takes on disk.

    Args:
        expected: what it should be, for the message: "a checkpoint of tensors".

    Raises:
        UserError: if it cannot be read, is no such file, or would have to be run to be read.
    """
    import torch

    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                _check_size(path, archive)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, for whoever wrote the file
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror or error}") from None
    except UserError:
        raise
    except pickle.UnpicklingError:
        # torch's own message goes on to say how to run what is in the file.
        raise UserError(
            f"{path}: not {expected}: damaged, or it holds other things, which are not read"
        ) from None
    except Exception as error:  # torch raises many kinds for a foreign file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{path}: not {expected}: {reason[:120]}") from None


def check_plain(tensor: Tensor, source: str) -> None:
    """Refuse a tensor that holds fewer values than its shape says, or other things than numbers.

    A few bytes could otherwise stand for terabytes: a repeated view, or a sparse tensor.
    """
    import torch

    plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
    if not plain or tensor.is_quantized or tensor.is_complex():
        raise UserError(f"{source}: expected a plain tensor of numbers")
    if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
        raise UserError(f"{source}: shape {list(tensor.shape)}, but it holds fewer values")


def _check_size(path: Path, archive: zipfile.ZipFile) -> None:
    entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise UserError(f"{path}: holds compressed parts, which torch does not write")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise UserError(f"{path}: its parts are larger than the file, so they overlap")


def _content(path: Path) -> bytes:
    """The whole file. It is not mapped into memory: whoever wrote it anew in place would change
    the values of tensors that were read, and one that became shorter would end this process."""
    if not path.exists():
        raise UserError(f"{path}: no such file")
    if not path.is_file():
        raise UserError(f"{path}: cannot read: not a regular file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror or error}") from None


def _metadata(content: bytes) -> dict[str, str]:
    """The metadata in the header of a safetensors file."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return dict(header.get("__metadata__") or {})


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """What the library raises for a damaged file as one line that names it."""
    try:
        yield
    except (SafetensorError, TypeError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: damaged or not a safetensors file ({reason})") from None
