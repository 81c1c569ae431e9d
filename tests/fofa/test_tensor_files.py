"""Tensors come back as they were, for torch and for numpy; every fault is one line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fofa.errors import UserError
from fofa.tensor_files import read_arrays, read_tensors, write_arrays, write_tensors

ROOT = Path(__file__).parents[2]
READERS = [read_tensors, read_arrays]


def test_tensors_and_metadata_come_back(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.safetensors"
    tensors = {"a": torch.arange(6.0).view(2, 3).t(), "b": torch.tensor(3, dtype=torch.int64)}
    write_tensors(path, tensors, {"what": "a test"})
    found, metadata = read_tensors(path)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert metadata == {"what": "a test"}
    arrays, metadata = read_arrays(path)
    assert all(np.array_equal(arrays[name], tensors[name].numpy()) for name in tensors)
    assert metadata == {"what": "a test"}


def test_arrays_come_back_without_metadata(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_arrays(path, {"a": np.ones((2, 2), np.float32)})
    tensors, metadata = read_tensors(path)
    assert torch.equal(tensors["a"], torch.ones(2, 2))
    assert metadata == {}


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "content", [b"", b"no tensors at all", b"\x02\0\0\0\0\0\0\0{", b"\xff" * 99]
)
def test_a_damaged_file_is_one_line(
    read: Callable[[Path], object], content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(
        UserError, match=r"a\.safetensors: damaged or not a safetensors file"
    ) as error:
        read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("read", READERS)
def test_a_missing_file_and_a_folder_are_said(
    read: Callable[[Path], object], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="absent: no such file"):
        read(tmp_path / "absent")
    with pytest.raises(UserError, match=r"cannot read|damaged"):
        read(tmp_path)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("shorter", [False, True])
def test_what_was_read_stays_when_the_file_is_written_in_place(
    read: Callable[[Path], tuple[dict, dict]], shorter: bool, tmp_path: Path
) -> None:
    """As `cp` writes it; in a process of its own, which a mapped file that shrinks would end."""
    path = tmp_path / "a.safetensors"
    write_arrays(path, {"a": np.ones(100_000, np.float32)})
    code = (
        "import sys; from pathlib import Path; from fofa.tensor_files import *;"
        f"path = Path({str(path)!r}); tensors, _ = {read.__name__}(path);"
        f"path.write_bytes(b'') if {shorter} else path.write_bytes(bytes(path.stat().st_size));"
        "print(float(tensors['a'].sum()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stdout) == (0, "100000.0\n"), done.stderr


@pytest.mark.parametrize("read", READERS)
def test_what_is_no_file_is_not_waited_for(read: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(UserError, match="cannot read: not a regular file"):
            read(path)


def test_arrays_need_no_torch(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a", {"a": np.ones(2, np.float32)})
    code = (
        "import sys; from pathlib import Path; from fofa.tensor_files import read_arrays;"
        f"read_arrays(Path({str(tmp_path / 'a')!r})); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
