"""Tensors on disk: safetensors files, read with every fault as one clear line, written atomically.

Weights, checkpoints, predictors, statistics and interrupted evaluations are such files. Nothing in
them is unpickled. Torch is imported only where its tensors are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

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
    return _read(path, "pt")


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """As `read_tensors`, as numpy arrays and without torch."""
    return _read(path, "numpy")


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


def _read(path: Path, framework: str) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        with safe_open(path, framework) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror or error}") from None
    except (SafetensorError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: damaged or not a safetensors file ({reason})") from None
