"""The decoding benchmark runs on both kinds of input and prints a ratio."""

from pathlib import Path

import pytest

from benchmarks.speed.decode import run, write_photographs


def test_it_prints_a_ratio_for_each_quality(capsys: pytest.CaptureFixture[str]) -> None:
    run(32, width=60, height=50, images=2, rounds=1, quality=[60, 90], folder=None)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "crops of 32 px, one worker, goal 2.00x"
    assert [line.partition(",")[0] for line in lines[1:]] == ["60x50"] * 2
    assert all("ms, torchvision" in line and "x (" in line for line in lines[1:])


def test_it_takes_a_folder_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_photographs(tmp_path, 4, (50, 60), 80)
    run(16, width=0, height=0, images=0, rounds=1, quality=None, folder=tmp_path)
    assert capsys.readouterr().out.splitlines()[1].startswith(str(tmp_path))
