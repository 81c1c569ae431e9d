"""`python -m benchmarks.rivals`: every way is trained, within its share, tested and timed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_runs import make_run

from bench.tables.rivals import Rivals
from benchmarks import rivals
from fofa.errors import UserError
from fofa.runs import PRETRAINED, Run
from fofa.space import Architecture, macs, parse_subnet
from fofa.train.settings import TrainSettings

WAYS = ("fitted", "fine-tuned", "from-scratch")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A published network, as far as its run says, of classes that are not the data's."""
    return make_run(tmp_path / "weights", recipe=PRETRAINED, class_names=[*"abcdefghij"]).folder


def go(folder: Path, **options: object) -> None:
    """The program, on a few drawn shapes."""
    tiny: dict[str, object] = {
        "data": "shapes",
        "weights": folder / "weights",
        "cost": 4.0,
        "resolutions": "24",
        "out": folder / "rivals.json",
        "train_fraction": 0.02,
        "batch_size": 8,
        "limit": 50,
    }
    rivals.rivals(**(tiny | options))  # type: ignore[arg-type]


def test_mobilenetv3_large_is_about_as_large_as_published() -> None:
    """219 million multiply-adds at 224 px; here two of its expand ratios are rounded up."""
    subnet = parse_subnet(rivals.MOBILENETV3_LARGE)
    assert 219e6 < macs(Architecture(subnet, 224)) < 240e6


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_every_way_is_trained_and_tested_once(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    go(tmp_path, latency=False)
    said = capsys.readouterr().out
    assert not (tmp_path / "rivals.json").exists()
    runs = {path.name: Run.open(path) for path in (tmp_path / "rivals").iterdir()}
    assert set(runs) == {
        "mobilenetv3-fitted-at-24-px",
        "mobilenetv3-fine-tuned-at-24-px",
        "mobilenetv3-large-from-scratch-at-24-px",
    }
    spent = {name: 3600 * (run.record.training.core_hours or 0) for name, run in runs.items()}
    for name, run in runs.items():
        assert run.record.status == "finished"
        settings = TrainSettings.of_run(run.folder)
        assert settings is not None
        assert (settings.init is None) == ("scratch" in name)
        if "fitted" in name:
            assert run.record.step == 1
        else:
            assert settings.budget_hours == pytest.approx(4 / 3600)
            assert 1 < spent[name] < 16
    fitted = runs["mobilenetv3-fitted-at-24-px"].load_supernet()
    before = Run.open(weights).load_supernet()
    for ours, theirs in zip(fitted.stages.parameters(), before.stages.parameters(), strict=True):
        if ours.dim() > 1:  # the norms have taken the images' statistics
            shared = torch.sort(ours.abs().flatten()).values
            assert torch.allclose(shared, torch.sort(theirs.abs().flatten()).values, atol=1e-6)

    go(tmp_path, latency=False)
    assert capsys.readouterr().out == said
    with pytest.raises(UserError, match=r"ending in \.json"):
        go(tmp_path, out=tmp_path / "rivals")


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_networks_are_timed_and_written_for_the_report(tmp_path: Path, weights: Path) -> None:
    go(tmp_path, budget_seconds=0.5)
    found = Rivals.read(tmp_path / "rivals.json")
    assert (found.device, found.dataset) == ("cpu", "shapes")
    assert len(found.rivals) == len(WAYS)
    for rival in found.rivals:
        assert rival.latency_ms > 0
        assert rival.cost_hours > 0
        assert "benchmarks.rivals" in rival.source
    costs = json.loads((tmp_path / "rivals" / "latency" / "costs.json").read_text())
    assert all(step["core_seconds"] > 0 for step in costs["steps"])
