"""The weights that a run starts from."""

from __future__ import annotations

import torch

from fofa.seeds import mix
from fofa.supernet.config import SupernetConfig
from fofa.supernet.model import Supernet


def fresh_supernet(
    config: SupernetConfig, seed: int, *, zero_init_residual: bool = False
) -> Supernet:
    """A supernet with random weights that depend on `seed` only, the same in every process.

    With `zero_init_residual` the blocks of every stage but its first add nothing at the start (the
    scale of their last norm is zero; Goyal et al., 2017), which lets a deep network learn within
    its first hundred steps. Short schedules need that, the recipes' own lengths do not.
    """
    torch.manual_seed(mix(seed, "initialisation"))
    supernet = Supernet(config)
    if zero_init_residual:
        for stage in supernet.stages:
            blocks = list(stage.children())
            for block in blocks[1:]:
                torch.nn.init.zeros_(block.get_submodule("project_bn").get_parameter("weight"))
    return supernet
