"""Atomic writing and validated reading, with real faults."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fofa.errors import UserError
from fofa.files import FileModel, lock_path, locked, read_json, readable_json, replacing, write_text


class Sample(FileModel):
    SCHEMA: ClassVar[str] = "fofa.sample"
    VERSION: ClassVar[int] = 3
    UPGRADES: ClassVar = {2: lambda data: {**data, "count": data["count"] + 1}}

    count: int


def test_written_files_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "sample.json"
    Sample(count=3).write(path)
    assert json.loads(path.read_text())["schema"] == "fofa.sample/3"
    assert Sample.read(path) == Sample(count=3)
    assert [file.name for file in path.parent.iterdir()] == ["sample.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[]", "expected a JSON object"),
        ("{}", "schema is null"),
        (
            '{"schema": "fofa.lut/3", "count": 1}',
            "schema is \"fofa.lut/3\", expected 'fofa.sample/3'",
        ),
        ('{"schema": "fofa.sample/4", "count": 1}', "newer"),
        ('{"schema": "fofa.sample/1", "count": 1}', "too old"),
        ('{"schema": "fofa.sample/3"}', "field count"),
        ('{"schema": "fofa.sample/3", "count": "many"}', "field count.*'many'"),
        ('{"schema": "fofa.sample/3", "count": 1, "cuont": 1}', "field cuont"),
        ('{"schema": "fofa.sample/3", "count": NaN}', "NaN"),
        ('{"schema": "fofa.sample/3", "count": 1, "count": 2}', "'count' comes twice"),
        ("[" * 100_000, "not usable JSON|not JSON"),
    ],
)
def test_wrong_content_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "sample.json"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        Sample.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_older_version_is_upgraded(tmp_path: Path) -> None:
    path = tmp_path / "sample.json"
    path.write_text('{"schema": "fofa.sample/2", "count": 1}')
    assert Sample.read(path).count == 2


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    path = Path(f"/dev/shm/fofa-test-{os.getpid()}") if Path("/dev/shm").is_dir() else None
    if path is None:
        pytest.skip("needs a memory file system")
    try:
        path.write_bytes(data)
        Sample.read(path)
    except UserError as error:
        assert "\n" not in str(error)
    finally:
        path.unlink(missing_ok=True)


def test_a_failed_body_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def crash() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError):
        crash()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_kill_in_mid_write_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    code = (
        "import os, signal, sys; from pathlib import Path; from fofa.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"


@pytest.mark.parametrize("place", ["file.txt/inside.json", "folder"])
def test_unwritable_places_are_one_line(tmp_path: Path, place: str) -> None:
    (tmp_path / "file.txt").write_text("a file, not a folder")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="cannot write"):
        write_text(tmp_path / place, "text")


def test_what_a_rename_would_destroy_is_refused(tmp_path: Path) -> None:
    """As root, renaming a file over /dev/null takes it away from the whole machine."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="pipe: cannot write: not a regular file"):
        write_text(tmp_path / "pipe", "text")
    assert (tmp_path / "pipe").is_fifo()
    assert len(list(tmp_path.iterdir())) == 1


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    file, link = tmp_path / "elsewhere" / "file.txt", tmp_path / "link.txt"
    file.write_text("old")
    link.symlink_to(file)
    write_text(link, "new")
    assert link.is_symlink()
    assert file.read_text() == "new"


def test_a_full_disk_is_one_line_and_keeps_the_old_file(tmp_path: Path) -> None:
    """A file-size limit of the process stands in for the full disk: writing fails half-way."""
    path = tmp_path / "file.txt"
    path.write_text("old")
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from fofa.files import write_text\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from fofa.errors import UserError\n"
        "try: write_text(Path(sys.argv[1]), 'x' * 5000)\n"
        "except UserError as error: print(error); sys.exit(2)\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stdout.startswith(f"{path}: cannot write:")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.json: no such file"):
        read_json(tmp_path / "nothing.json")


@pytest.mark.parametrize(
    "value", [{}, [], {"a": []}, {"a": {"b": [1, 2.5, None, "x\n"]}}, {"rows": [{"a": [1]}, {}]}, 3]
)
def test_readable_json_reads_back_and_gives_each_item_a_line(value: object) -> None:
    assert json.loads(readable_json(value)) == value
    rows = readable_json({"rows": [{"a": 1, "b": [2]}] * 3}).splitlines()
    assert rows[2] == rows[3] == '    {"a": 1, "b": [2]},'


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_one_at_a_time_holds_a_path(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "new" / "table.json" if kind == "file" else tmp_path
    with locked(path, "another one is at it"):
        hidden = lock_path(path)
        assert hidden.is_file()
        assert hidden.name.startswith(".")
        with pytest.raises(UserError) as raised, locked(path, "another one is at it"):
            pass
        assert str(raised.value) == f"{path}: another one is at it"
    assert not hidden.exists()
    with locked(path, "another one is at it"):
        pass


def test_the_lock_of_a_killed_process_holds_nobody(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    code = f"""
import os, signal
from pathlib import Path
from fofa.files import locked
with locked(Path({str(path)!r}), ""):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert lock_path(path).exists()
    with locked(path, "another one is at it"):
        pass
    assert not lock_path(path).exists()


def test_patience_outlasts_the_other_process(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    code = f"""
import time
from pathlib import Path
from fofa.files import locked
with locked(Path({str(path)!r}), ""):
    print("held", flush=True)
    time.sleep(0.3)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with locked(path, "another one is at it", patience=60):
            other.wait()
    assert not lock_path(path).exists()
