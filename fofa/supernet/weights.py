"""Weights of supernets: fresh ones, and those that come from a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from fofa.errors import UserError
from fofa.seeds import mix
from fofa.supernet.config import SupernetConfig
from fofa.supernet.model import Supernet
from fofa.tensor_files import write_tensors


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


def save_weights(network: nn.Module, path: Path) -> None:
    """Write the network's state (weights and statistics) to `path` atomically.

    Raises:
        UserError: if `path` cannot be written.
    """
    write_tensors(path, network.state_dict())


def check_state(
    network: nn.Module,
    state: Mapping[str, torch.Tensor],
    source: str,
    names: Mapping[str, str] | None = None,
) -> None:
    """Raise `UserError` unless `state` has exactly the network's keys and shapes.

    The network may be one of shapes only (device `meta`). `names` gives the names that keys have
    in the source, where these are others.
    """
    check_tensors(network.state_dict(), state, source, names)


def check_tensors(
    own: Mapping[str, torch.Tensor],
    state: Mapping[str, torch.Tensor],
    source: str,
    names: Mapping[str, str] | None = None,
) -> None:
    """Raise `UserError` unless `state` has exactly the keys and shapes of a network's `own`.

    Integers are not taken for weights, nor the other way round. `names` as in `check_state`.
    """
    called = {key: (names or {}).get(key, key) for key in own}
    faults = [
        _listed("missing", sorted(called[key] for key in own.keys() - state.keys())),
        _listed("left over", sorted(state.keys() - own.keys())),
        _listed(
            "of another shape",
            [
                f"{called[key]} ({list(state[key].shape)}, expected {list(own[key].shape)})"
                for key in sorted(own.keys() & state.keys())
                if own[key].shape != state[key].shape
            ],
        ),
        _listed(
            "of another type",
            [
                f"{called[key]} ({state[key].dtype}, expected {own[key].dtype})"
                for key in sorted(own.keys() & state.keys())
                if own[key].is_floating_point() != state[key].is_floating_point()
            ],
        ),
    ]
    if any(faults):
        raise UserError(f"{source}: not this network's weights: {'; '.join(filter(None, faults))}")


def supernet_of(
    config: SupernetConfig,
    state: Mapping[str, torch.Tensor],
    source: str,
    names: Mapping[str, str] | None = None,
) -> Supernet:
    """The supernet of `config` with the tensors of `state`, which it copies.

    `source` and `names` say in an error where the tensors are from, as in `check_state`.

    Raises:
        UserError: if keys or shapes are not those of such a supernet, before it takes memory: a
            damaged width makes gigabytes.
    """
    with torch.device("meta"):
        supernet = Supernet(config)
    check_state(supernet, state, source, names)
    supernet.to_empty(device="cpu").load_state_dict(state)
    return supernet


def _listed(what: str, names: list[str], limit: int = 4) -> str:
    if not names:
        return ""
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{what}: {', '.join(names[:limit])}{rest}"
