"""Weights of supernets on disk: safetensors, nothing unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from fofa.errors import UserError
from fofa.files import write_bytes
from fofa.runs import Run
from fofa.supernet.config import SupernetConfig
from fofa.supernet.model import Supernet


def save_weights(network: nn.Module, path: Path) -> None:
    """Write the network's state (weights and statistics) to `path` atomically.

    Raises:
        UserError: if `path` cannot be written.
    """
    state = network.state_dict()
    write_bytes(path, save({key: tensor.detach().contiguous() for key, tensor in state.items()}))


def load_weights(network: nn.Module, path: Path) -> None:
    """Read what `save_weights` wrote into a network of the same configuration.

    Raises:
        UserError: if the file cannot be read, or keys or shapes are not the network's.
    """
    state = _read_state(path)
    check_state(network, state, str(path))
    network.load_state_dict(state)


def check_state(
    network: nn.Module,
    state: Mapping[str, torch.Tensor],
    source: str,
    names: Mapping[str, str] | None = None,
) -> None:
    """Raise `UserError` unless `state` has exactly the network's keys and shapes.

    Integers are not taken for weights, nor the other way round. The network may be one of shapes
    only (device `meta`).

    `names` gives the names that keys have in the source, where these are others.
    """
    own = network.state_dict()
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


def load_supernet(run: Run, device: torch.device | str = "cpu") -> Supernet:
    """The supernet of a run with its weights, on `device`, in evaluation mode.

    Memory for a network is taken only once the weights fit the record.

    Raises:
        UserError: if the run's weights are missing or do not fit its record.
    """
    state = _read_state(run.weights)
    supernet = supernet_of(run.record.supernet, state, str(run.weights))
    return supernet.to(device).eval()


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


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file.

    Raises:
        UserError: if the file cannot be read.
    """
    try:
        return load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror or error}") from None
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file: {error}") from None


def _listed(what: str, names: list[str], limit: int = 4) -> str:
    if not names:
        return ""
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{what}: {', '.join(names[:limit])}{rest}"
