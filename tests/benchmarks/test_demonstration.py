"""`python -m benchmarks.demonstration`: its photographs, and its steps on two dozen pictures."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import guides
import pytest

from benchmarks.demonstration import Demonstration, carry_out, unpack_cells
from fofa.accuracy import AccuracyTable
from fofa.errors import UserError
from fofa.runs import Run

LABELS = """\
images/cell0001.png  1.0                 mono
images/cell0002.png  0.0                 poly
images/cell0003.png  0.3333333333333333  mono
images/cell0004.png  0.6666666666666666  poly
"""


def package(folder: Path, labels: str) -> Path:
    """A file of the package's form."""
    wheel = folder / "elpv.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("elpv_dataset/data/labels.csv", labels)
        for number in range(1, 5):
            archive.writestr(f"elpv_dataset/data/images/cell000{number}.png", f"image {number}")
    return wheel


def test_cells_lie_in_a_folder_for_each_grade(tmp_path: Path) -> None:
    wheel = package(tmp_path, LABELS)
    unpack_cells(wheel, tmp_path / "cells", hashlib.sha256(wheel.read_bytes()).hexdigest())
    found = {p.relative_to(tmp_path / "cells").as_posix() for p in tmp_path.rglob("cell*.png")}
    assert found == {
        "defective/cell0001.png",
        "functional/cell0002.png",
        "doubtful/cell0003.png",
        "suspicious/cell0004.png",
    }
    assert (tmp_path / "cells" / "doubtful" / "cell0003.png").read_text() == "image 3"


@pytest.mark.parametrize(
    ("labels", "is_published", "message"),
    [
        (LABELS, False, "not the published file"),
        (LABELS.replace("1.0", "0.9"), True, "is of another form"),
        (LABELS.replace("images/", "images/../"), True, "is of another form"),
    ],
)
def test_another_file_makes_no_folder(
    tmp_path: Path, labels: str, is_published: bool, message: str
) -> None:
    wheel = package(tmp_path, labels)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest() if is_published else 64 * "0"
    with pytest.raises(UserError, match=message):
        unpack_cells(wheel, tmp_path / "cells", digest)
    assert not (tmp_path / "cells").exists()


@pytest.mark.slow
def test_supernet_rivals_and_winner_are_trained_and_tested_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    guides.draw_photos(tmp_path / "photos")
    wanted = Demonstration(
        setting=("--preset", "folder", "--data", "folder:photos"),
        resolutions="32",
        core_seconds=8,
        seed=0,
        limit=4,
    )
    carry_out(wanted, tmp_path, latency=False)
    said = capsys.readouterr().out
    assert "efficientnet-lite0 fine-tuned at 32 px" in said
    table = AccuracyTable.read(tmp_path / "winner.json")
    (winner,) = table.architectures
    assert Run.open(tmp_path / "winner").record.finetuned == winner.name
    best = max(a.top1 for a in AccuracyTable.read(tmp_path / "accuracy.json").architectures)
    costs = json.loads((tmp_path / "costs.json").read_text())["steps"]
    assert [cost["name"] for cost in costs] == [
        *("import", "train", "evaluate", "rivals", "fine-tune", "evaluate the winner"),
    ]
    assert all(cost["core_seconds"] > 0 for cost in costs)
    assert best >= 50  # of four pictures, dark or bright
    carry_out(wanted, tmp_path, latency=False)
    assert capsys.readouterr().out == said
