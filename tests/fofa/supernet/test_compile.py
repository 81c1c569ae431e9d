"""Compiled blocks compute the same, and are compiled once a kind."""

from __future__ import annotations

import copy

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from fofa.data import open_data
from fofa.distributed import find_place
from fofa.space import parse_subnet
from fofa.supernet.config import SupernetConfig
from fofa.supernet.model import Supernet
from fofa.train.settings import RunOptions, TrainSettings
from fofa.train.setup import Setup
from fofa.train.step import backward_shared


@pytest.mark.slow
def test_gradients_and_statistics_are_those_of_plain_blocks() -> None:
    """With autograd traced by torch, but without its code generator, which takes minutes."""
    torch.manual_seed(0)
    config = SupernetConfig(width_mult=0.25, num_classes=4, dropout=0)
    plain = Supernet(config).double().train()
    compiled = copy.deepcopy(plain)
    counter = CompileCounterWithBackend("aot_eager")
    compiled.compile_blocks(counter)
    images, labels = torch.randn(4, 3, 24, 24, dtype=torch.float64), torch.arange(4)
    subnets = (parse_subnet("22222"), parse_subnet("22223"))
    kinds = []
    for _ in range(2):
        losses = [
            backward_shared(network, subnets, "in-place", images, labels)
            for network in (plain, compiled)
        ]
        torch.testing.assert_close(*losses, rtol=1e-12, atol=1e-12)
        kinds.append(counter.frame_count)
    # The first block of the network and two of each stage; the last stage's also for expand 4: one
    # kind each, and of that one's second and third block, which are alike, one.
    assert kinds == [1 + 2 * 5 + 2] * 2
    own = dict(plain.named_parameters())
    for name, parameter in compiled.named_parameters():
        torch.testing.assert_close(parameter.grad, own[name].grad, rtol=1e-9, atol=1e-9)
    buffers = dict(plain.named_buffers())
    for name, buffer in compiled.named_buffers():
        torch.testing.assert_close(buffer, buffers[name], rtol=1e-12, atol=1e-12)


def test_training_compiles_when_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Supernet] = []
    monkeypatch.setattr(Supernet, "compile_blocks", lambda supernet: asked.append(supernet))
    settings = TrainSettings(
        recipe="fofa-n3", data="shapes", width_mult=0.25, resolutions=(24,), batch_size=4
    )
    setup = Setup.of(settings, open_data("shapes", train_fraction=0.02), find_place("cpu"))
    setup.learner(find_place("cpu"), RunOptions())
    assert not asked
    learner = setup.learner(find_place("cpu"), RunOptions(compile_blocks=True))
    assert asked == [learner.supernet]
