"""PyTorch programs (`torch.export`, .pt2): run without this package, and hold no pickled code."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from fofa.errors import UserError
from fofa.files import write_bytes
from fofa.runtime.folding import folded
from fofa.supernet.network import PlainNetwork

EXTRA_FILE = "fofa.json"
TOLERANCE = 1e-4


def write_program(
    network: PlainNetwork, resolution: int, path: Path, metadata: Mapping[str, str]
) -> float:
    """Write a network as a program for `torch.export.load`; return the largest logit difference.

    The batch is a free dimension. The program is loaded again and compared before it is kept.

    Raises:
        UserError: if its output differs, or the file cannot be written.
    """
    plain = folded(network)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, resolution, resolution, generator=generator)
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        program = torch.export.export(plain, (images,), dynamic_shapes={"images": {0: batch}})
    with tempfile.TemporaryDirectory(prefix="fofa-program-") as folder:
        file = Path(folder) / "network.pt2"
        torch.export.save(program, file, extra_files={EXTRA_FILE: json.dumps(dict(metadata))})
        loaded = torch.export.load(file).module()
        with torch.inference_mode():
            difference = (loaded(images[:1]) - network(images[:1])).abs().max().item()
            largest = network(images[:1]).abs().max().item()
        if not difference <= TOLERANCE * max(1.0, largest):
            raise UserError(
                f"the exported program differs from the supernet's network: a logit by "
                f"{difference:.3g}; nothing was written"
            )
        write_bytes(path, file.read_bytes())
    return difference
