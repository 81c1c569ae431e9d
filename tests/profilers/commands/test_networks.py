"""Which networks a table is of: the run's, unless an option says otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from fofa.errors import UserError
from fofa.runs import Run
from fofa.space import DEFAULT_RESOLUTIONS, MOBILENETV3, PROXYLESS, NetworkConfig
from fofa.supernet.config import SupernetConfig
from profilers.commands.networks import wanted_networks


@pytest.fixture(scope="module")
def run(make_run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    from fofa.supernet.model import Supernet

    config = SupernetConfig(
        family=PROXYLESS,
        kind="elastic",
        width_mult=0.25,
        max_kernels=(7,) * 6,
        kernel_mode="centre",
        num_classes=10,
    )
    return make_run(tmp_path_factory.mktemp("runs") / "tiny", Supernet(config))


def test_without_anything_the_papers() -> None:
    wanted = wanted_networks(None, None, None, None, None, None)
    assert wanted.config == NetworkConfig()
    assert (wanted.space.kind, wanted.space.resolutions) == ("compound", DEFAULT_RESOLUTIONS)
    assert wanted.resolutions is None


def test_all_is_the_runs(run: Run) -> None:
    wanted = wanted_networks(run.folder, None, None, None, None, None)
    assert wanted.config == run.record.supernet.network
    assert wanted.space == run.record.space
    assert wanted.resolutions == (24, 32)


def test_options_say_otherwise(run: Run) -> None:
    wanted = wanted_networks(run.folder, "compound", "96,128", "mobilenetv3", 0.5, 7)
    assert wanted.config == NetworkConfig(family=MOBILENETV3, width_mult=0.5, num_classes=7)
    assert (wanted.space.kind, wanted.space.resolutions) == ("compound", (96, 128))
    assert wanted.space.width_mult == 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((Path("nowhere"), None, None, None, None, None), "nowhere: no such run folder"),
        ((None, "wide", None, None, None, None), "--space 'wide': expected one of"),
        ((None, None, None, None, -1.0, None), "width_mult -1.0: expected a number above 0"),
        ((None, None, None, None, None, 1), "num_classes 1: expected at least 2"),
    ],
)
def test_what_cannot_be(options: tuple, message: str) -> None:
    with pytest.raises(UserError, match=message):
        wanted_networks(*options)
