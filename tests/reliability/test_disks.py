"""Disks that are full or read-only, and folders that go away: one line, and nothing is damaged.

The disks are small memory file systems of their own where that is allowed (Linux, root); elsewhere
these tests are skipped; `tests/fofa/test_files.py` has the full disk with a limit on file sizes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from fofa.runs import Run
from fofa.train.checkpoint import CHECKPOINT_PATH, load_checkpoint

FULL = "No space left on device"
READ_ONLY = "Read-only file system"


class Disk:
    """A small file system; `resize` and `protect` mount it anew with its files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._mount("size=64k")

    def resize(self, size: str) -> None:
        self._mount(f"remount,size={size}")

    def protect(self) -> None:
        self._mount("remount,ro")

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    def fill(self, free_bytes: int) -> None:
        """Leave only so much free."""
        ballast = self.folder / "ballast"
        ballast.unlink(missing_ok=True)
        ballast.write_bytes(bytes(max(0, shutil.disk_usage(self.folder).free - free_bytes)))

    def _mount(self, options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(self.folder)]
        subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if not sys.platform.startswith("linux") or shutil.which("mount") is None:
        pytest.skip("memory file systems are mounted on Linux only")
    try:
        made = Disk(tmp_path / "disk")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"cannot mount a file system: {error.stderr.decode().strip()}")
    yield made
    made.unmount()


def whole_files(folder: Path) -> list[str]:
    """Names of the files below a folder; a failed write leaves no temporary ones."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.slow
def test_a_training_stopped_by_a_full_disk_goes_on_when_there_is_room(
    programs: Any, tiny_training: Sequence[object], tiny_run: Path, disk: Disk, tmp_path: Path
) -> None:
    def options(out: Path) -> list[object]:
        scale = ("--recipe", "fofa-n3", "--epoch-scale", 0.002, "--checkpoint-steps", 1)
        return ["fofa-train", *scale, *tiny_training, "--out", out]

    folder = disk.folder / "run"
    complaint = programs.run(*options(folder)).complaint()
    assert FULL in complaint
    assert str(folder / "checkpoint" / "latest.safetensors") in complaint
    assert not folder.exists()

    # Room for the first checkpoint and the weights, not for a second checkpoint beside it.
    checkpoint = (tiny_run / CHECKPOINT_PATH).stat().st_size
    disk.resize(str((tiny_run / "weights.safetensors").stat().st_size + checkpoint * 3 // 2))
    assert FULL in programs.run(*options(folder)).complaint()
    kept = load_checkpoint(folder)
    assert kept is not None
    assert kept.state.step >= 1

    disk.resize("64m")
    programs.run(*options(folder)).check(0)
    programs.run(*options(tmp_path / "unbroken")).check(0)
    expected = load_file(tmp_path / "unbroken" / "weights.safetensors")
    found = load_file(folder / "weights.safetensors")
    assert all(found[key].equal(expected[key]) for key in expected)


def commands(run: Path, tables: Path, steady: Sequence[object]) -> dict[str, list[object]]:
    """A command that writes for each program, without its `--out`."""
    lut, accuracy = tables / "luts" / "steady.json", tables / "accuracy" / "tiny.json"
    few = ("--calibration-images", 5)
    return {
        "fofa-eval": [run, "--architectures", "22222@16", *few, "--limit", 5],
        "fofa-export": [run, "--architecture", "22222@16", *few, "--test-images", 0],
        "fofa-profile": [*steady, "--budget-seconds", 0.1],
        "fofa-bench": [
            *("--lut", lut, "--accuracy", accuracy, "--tables", 2, "--figures", "none"),
            *("--luts-dir", tables / "none", "--accuracy-dir", tables / "none"),
        ],
    }


OUTPUTS = {
    "fofa-eval": "table.json",
    "fofa-export": "network.onnx",
    "fofa-profile": "lut.json",
    "fofa-bench": "report",
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_programs_that_cannot_write_say_so_and_leave_nothing_half_done(
    name: str,
    programs: Any,
    tiny_run: Path,
    tiny_tables: Path,
    steady: Sequence[object],
    disk: Disk,
) -> None:
    out = disk.folder / OUTPUTS[name]
    arguments = [*commands(tiny_run, tiny_tables, steady)[name], "--out", out]
    disk.fill(0)
    assert FULL in programs.run(name, *arguments).complaint()
    assert set(whole_files(disk.folder)) <= {"ballast"}
    disk.protect()
    assert READ_ONLY in programs.run(name, *arguments).complaint()


def test_a_read_only_run_folder_is_said(
    programs: Any, tiny_training: Sequence[object], disk: Disk
) -> None:
    disk.protect()
    options = ("fofa-train", "--recipe", "fofa-n3", *tiny_training, "--out", disk.folder / "run")
    assert READ_ONLY in programs.run(*options).complaint()


def test_a_run_folder_that_is_deleted_meanwhile_stops_the_training(
    programs: Any, tiny_training: Sequence[object], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    training = programs.start(
        *("fofa-train", "--recipe", "fofa-n3", "--out", folder, "--epoch-scale", 1),
        *tiny_training,
        *("--checkpoint-steps", 1),
    )
    training.wait_until(lambda: (folder / "run.json").is_file())
    shutil.rmtree(folder, ignore_errors=True)
    complaint = training.wait().complaint()
    assert f"{folder}: the run folder was removed or moved" in complaint
    if (folder / "weights.safetensors").exists():  # the save that was going on is whole
        load_file(folder / "weights.safetensors")


def test_a_run_folder_that_is_moved_meanwhile_is_whole_where_it_is_now(
    programs: Any, tiny_training: Sequence[object], tmp_path: Path
) -> None:
    folder, moved = tmp_path / "run", tmp_path / "moved"
    options = ("--recipe", "fofa-n3", "--epoch-scale", 1, *tiny_training, "--checkpoint-steps", 1)
    training = programs.start("fofa-train", *options, "--out", folder)
    training.wait_until(lambda: (folder / "run.json").is_file())
    folder.rename(moved)
    assert "removed or moved" in training.wait().complaint()
    assert Run.open(moved).record.step >= 1


def test_a_measurement_whose_folder_is_deleted_meanwhile_says_so(
    programs: Any, steady: Sequence[object], tmp_path: Path
) -> None:
    out = tmp_path / "luts" / "lut.json"
    partial = out.with_name("lut.json.partial")
    measuring = programs.start("fofa-profile", *steady, "--out", out)
    measuring.wait_until(partial.is_file)
    shutil.rmtree(out.parent, ignore_errors=True)
    ended = measuring.wait().check(0, 2)
    if ended.code == 2:
        assert f"{partial}: cannot write: No such file or directory" in ended.complaint()
    else:
        assert out.is_file()  # it was on its last round
