"""Runs on the hub, against a stand-in of its client that keeps repositories in a folder."""

from __future__ import annotations

import fnmatch
import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import HTTPError, RepositoryNotFoundError, Response
from in_process import run_here

from fofa.commands import evaluate, push
from fofa.errors import UserError
from fofa.hub import local_folder, repository_of
from fofa.runs import Run


class Hub:
    """What `huggingface_hub` offers of the hub, on a disk here."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.private: dict[str, bool] = {}

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> str:
        assert exist_ok or repo_id not in self.private
        self.private.setdefault(repo_id, private)
        return f"https://hub.invalid/{repo_id}"

    def upload_folder(
        self, *, repo_id: str, folder_path: Path, allow_patterns: list[str], commit_message: str
    ) -> None:
        for path in sorted(folder_path.rglob("*")):
            name = str(path.relative_to(folder_path))
            if path.is_file() and any(fnmatch.fnmatch(name, one) for one in allow_patterns):
                target = self.place / repo_id / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)

    def snapshot_download(self, *, repo_id: str, allow_patterns: list[str]) -> str:
        if repo_id not in self.private:
            response = Response(404, request=SimpleNamespace(headers={}))
            raise RepositoryNotFoundError(f"Repository Not Found:\n{repo_id}", response=response)
        return str(self.place / repo_id)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: made)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", made.snapshot_download)
    return made


@pytest.fixture
def run(make_run: Callable[..., Run], tmp_path: Path) -> Run:
    """A run folder with what training leaves beside its product."""
    made = make_run(tmp_path / "mine")
    for name in ("checkpoint/state.safetensors", "log.jsonl", "statistics/some.safetensors"):
        (made.folder / name).parent.mkdir(exist_ok=True)
        (made.folder / name).write_text(name)
    return made


def pushed(*words: object) -> Any:
    return run_here(push.main, "fofa push", *words)


def test_a_run_that_was_pushed_opens_by_its_name(hub: Hub, run: Run) -> None:
    done = pushed(run.folder, "hf:somebody/flowers")
    assert done.returncode == 0, done.stderr
    assert "https://hub.invalid/somebody/flowers" in done.stdout
    assert hub.private == {"somebody/flowers": True}
    there = hub.place / "somebody" / "flowers"
    assert {str(path.relative_to(there)) for path in there.rglob("*") if path.is_file()} == {
        *("run.json", "weights.safetensors", "statistics/some.safetensors")
    }
    opened = Run.open(Path("hf:somebody/flowers"))
    assert opened.folder == there
    assert opened.record == run.record
    assert opened.weights_checksum() == run.weights_checksum()


def test_a_public_one_is_asked_for(hub: Hub, run: Run) -> None:
    assert pushed(run.folder, "hf:somebody/flowers", "--public").returncode == 0
    assert hub.private == {"somebody/flowers": False}
    assert pushed(run.folder, "hf:somebody/flowers").returncode == 0
    assert hub.private == {"somebody/flowers": False}, "one that is there stays as it is"


@pytest.mark.usefixtures("one_thread")
def test_programs_take_such_a_name_for_a_run(hub: Hub, run: Run, tmp_path: Path) -> None:
    pushed(run.folder, "hf:somebody/flowers")
    words = "--data shapes --architectures 22222@24 --limit 4 --calibration-images 4 --threads 1"
    done = run_here(
        evaluate.main,
        "fofa-eval",
        *("hf:somebody/flowers", *words.split(), "--out", "table.json"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "table.json").is_file()


def test_what_is_not_there_is_one_line(hub: Hub) -> None:
    with pytest.raises(UserError, match=r"^hf:somebody/none: Repository Not Found: somebody/none$"):
        Run.open(Path("hf:somebody/none"))


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise HTTPError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(UserError, match="hf:a/b: Name or service not known"):
        local_folder(Path("hf:a/b"))


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'fofa-nas\[hub\]'"):
        local_folder(Path("hf:a/b"))


@pytest.mark.parametrize("name", ["hf:", "hf:alone", "hf:a/b/c", "hf:../x", "hf:a/..", "a/b"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="expected a name such as hf:user/name"):
        repository_of(name)


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert local_folder(tmp_path) == tmp_path
