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
    try:
        state = load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror or error}") from None
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file: {error}") from None
    check_state(network, state, str(path))
    network.load_state_dict(state)


def check_state(
    network: nn.Module,
    state: Mapping[str, torch.Tensor],
    source: str,
    names: Mapping[str, str] | None = None,
) -> None:
    """Raise `UserError` unless `state` has exactly the network's keys and shapes.

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
    ]
    if any(faults):
        raise UserError(f"{source}: not this network's weights: {'; '.join(filter(None, faults))}")


def load_supernet(run: Run, device: torch.device | str = "cpu") -> Supernet:
    """The supernet of a run with its weights, on `device`, in evaluation mode.

    Raises:
        UserError: if the run's weights are missing or do not fit its record.
    """
    supernet = Supernet(run.record.supernet)
    load_weights(supernet, run.weights)
    return supernet.to(device).eval()


def _listed(what: str, names: list[str], limit: int = 4) -> str:
    if not names:
        return ""
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{what}: {', '.join(names[:limit])}{rest}"
