"""Recalibrated statistics kept in a run's folder, so that what is exported is what was evaluated.

RUN/statistics/<architecture>.safetensors holds the running means and variances by the plain
network's keys, and the checksum of the weights they belong to.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fofa.errors import UserError
from fofa.files import write_bytes
from fofa.runs import Run
from fofa.space import Architecture
from fofa.supernet.network import PlainNetwork
from fofa.supernet.weights import load_supernet

SUFFIXES = (".running_mean", ".running_var")


def weights_checksum(run: Run) -> str:
    """SHA-256 of the run's weights file."""
    with run.weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def statistics_path(run: Run, architecture: Architecture) -> Path:
    """Where the statistics of an architecture are kept; the longest name has 83 characters."""
    return run.folder / "statistics" / f"{architecture.name}.safetensors"


def keep_statistics(run: Run, architecture: Architecture, network: PlainNetwork) -> Path:
    """Write the statistics of a calibrated network of this run; return the file."""
    path = statistics_path(run, architecture)
    state = {
        key: tensor.detach().cpu().contiguous()
        for key, tensor in network.state_dict().items()
        if key.endswith(SUFFIXES)
    }
    metadata = {"architecture": architecture.name, "weights_sha256": weights_checksum(run)}
    write_bytes(path, save(state, metadata))
    return path


def load_calibrated(run: Run, architecture: Architecture) -> PlainNetwork | None:
    """The plain network with its kept statistics, in evaluation mode on the CPU.

    None where none were kept, or where they belong to weights that have changed since.

    Raises:
        UserError: if the file of the statistics is damaged.
    """
    path = statistics_path(run, architecture)
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            state: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file: {error}") from None
    expected = {"architecture": architecture.name, "weights_sha256": weights_checksum(run)}
    if metadata != expected:
        return None
    network = load_supernet(run).extract(architecture.subnet).eval()
    own = network.state_dict()
    wanted = {key for key in own if key.endswith(SUFFIXES)}
    if state.keys() != wanted or any(own[key].shape != state[key].shape for key in wanted):
        raise UserError(f"{path}: not the statistics of {architecture}; remove the file")
    with torch.no_grad():
        for key, tensor in state.items():
            own[key].copy_(tensor)
    return network
