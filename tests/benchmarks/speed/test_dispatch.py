"""`python -m benchmarks.speed dispatch` counts what a step asks of the library."""

from __future__ import annotations

import pytest
import torch

from benchmarks.speed.dispatch import PlainlySliced, count, run
from fofa.space import parse_subnet
from fofa.supernet.config import SupernetConfig
from fofa.supernet.model import Supernet

pytestmark = pytest.mark.usefixtures("one_thread")


def test_slices_that_are_cut_at_once_are_cast_once_and_not_filled_with_zeros() -> None:
    config = SupernetConfig(width_mult=0.25, num_classes=4, dropout=0)
    torch.manual_seed(0)
    plain, cut = PlainlySliced(config), Supernet(config)
    cut.load_state_dict(plain.state_dict())
    subnets = tuple(parse_subnet(name) for name in ("44444", "22222", "23332"))
    rows = []
    for supernet in (plain, cut):
        torch.manual_seed(1)
        rows.append(count(supernet, subnets, 128).row())
    (_, before, zeros, casts), (_, after, none, few) = rows
    assert after < 0.75 * before
    assert zeros > 80
    assert none == 0  # at 128 px no map is smaller than a kernel
    assert casts > 300
    assert few < 20
    for (name, one), other in zip(plain.named_parameters(), cut.parameters(), strict=True):
        assert one.grad is not None, name
        assert other.grad is not None, name
        # bf16 has three digits, and its rounding adds up over the layers.
        assert torch.cosine_similarity(one.grad.flatten(), other.grad.flatten(), 0) > 0.9, name


def test_it_prints_both(capsys: pytest.CaptureFixture[str]) -> None:
    run(recipe="fofa-n3", width_mult=0.25, resolution=32, steps=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["fofa-n3,", "slices", "where", "cut", "one"]
