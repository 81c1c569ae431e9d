"""`python -m benchmarks.quantisation`: every way is shown, and its columns are what they say."""

from __future__ import annotations

import numpy as np
import pytest
from in_process import run_here

from benchmarks import quantisation
from benchmarks.quantisation import TITLES, WIDTH, Classes, schemes

pytestmark = pytest.mark.usefixtures("one_thread")


def test_columns_are_shares_of_equal_classes() -> None:
    truth, plain = np.array([0, 1, 2, 3]), np.array([0, 1, 2, 0])
    simulated, ort = np.array([0, 1, 0, 3]), np.array([0, 0, 0, 3])
    found = Classes(truth, plain, simulated, ort, None)
    assert found.columns == [75, 50, 25, 75, None, None, None]
    with_openvino = Classes(truth, plain, simulated, ort, np.array([0, 1, 2, 3]))
    assert with_openvino.columns == [75, 50, 25, 75, 100, 75, 50]
    assert len(TITLES) == len(found.columns)


@pytest.mark.slow
def test_a_line_for_each_way(make_run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(quantisation, "CALIBRATION_IMAGES", 64)
    monkeypatch.setattr(quantisation, "RANGE_IMAGES", 20)
    run = make_run(tmp_path / "tiny")
    words = [run.folder, "--architectures", "22222@24", "--test-images", 40]
    done = run_here(quantisation.main, "quantisation", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "22222@24: fp32" in lines[1]
    assert [line[:WIDTH].strip() for line in lines[2:]] == [scheme.text for scheme in schemes()]
    assert len({scheme.text for scheme in schemes()}) == len(lines[2:])
