"""`python -m benchmarks.speed predecessor` times the same networks in both codes."""

from __future__ import annotations

import sys

import pytest

from benchmarks.speed.predecessor import run, their_way
from fofa.errors import UserError
from fofa.space import NetworkConfig, params, parse_architecture

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:Implicit dimension choice:UserWarning"),
]


def test_a_subnet_has_as_many_parameters_there_as_here() -> None:
    theirs = their_way(classes=10)
    for name in ("22222", "23432", "44444"):
        architecture = parse_architecture(f"{name}@64")
        theirs.choose(architecture.subnet)
        network = theirs.network.get_active_subnet()
        counted = sum(parameter.numel() for parameter in network.parameters())
        assert counted == params(architecture, NetworkConfig(num_classes=10))


def test_it_prints_both(capsys: pytest.CaptureFixture[str]) -> None:
    run(resolutions="32", batch_size=2, rounds=1)
    printed = capsys.readouterr().out
    assert "once-for-all" in printed
    assert "ratio" in printed


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ofa.utils", None)
    with pytest.raises(UserError, match="pip install --no-deps ofa"):
        their_way(classes=10)
