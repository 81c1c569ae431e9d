"""Files as OFA publishes them, made here: latency tables in YAML, a predictor in a state dict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from fofa.latency import Lut
from fofa.space import NetworkConfig
from profilers.tables.ofa_yaml import layer_names

NOTE10 = Path(__file__).parents[2] / "luts" / "note10.json"


def write_tables(folder: Path, *, resolutions: Sequence[int] | None = None) -> Path:
    """Write the committed Note10 table as the folder of `<resolution>.yaml` that it came from.

    A block of several layers has its time split in halves, so that the sum is exactly the table's.
    """
    lut = Lut.read(NOTE10)
    config = NetworkConfig(width_mult=lut.space.width_mult)
    entries = {(entry.resolution, entry.key): entry for entry in lut.entries}
    folder.mkdir(parents=True, exist_ok=True)
    for resolution in resolutions or lut.space.resolutions:
        layers = {}
        for block in lut.search_space.unique_blocks(resolution, config):
            entry, names = entries[resolution, block.key], layer_names(block)
            for number, name in enumerate(names, start=1):
                share = 0.5 ** min(number, len(names) - 1)
                layers[name] = {"count": entry.samples, "mean": share * entry.latency_ms}
        (folder / f"{resolution}.yaml").write_text(yaml.safe_dump(layers))
    return folder


def write_predictor(path: Path) -> Path:
    """Write random weights by the names and shapes of OFA's predictor.

    They are such that larger kernels, expand ratios and resolutions and more blocks predict more,
    from 70% for the smallest to 86% for the largest architecture.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    grades = torch.cat(
        [
            torch.tensor([1.0, 1.2, 1.3]).repeat(20),  # kernel 3, 5, 7 of each block
            torch.tensor([1.0, 1.6, 2.4]).repeat(20),  # expand ratio 3, 4, 6 of each block
            torch.linspace(0, 12, 8),  # 112 to 224 px
        ]
    )
    widths = (400, 400, 400, 1)
    state, size = {}, len(grades)
    for number, width in enumerate(widths):
        state[f"{2 * number}.weight"] = torch.rand(width, size, generator=generator) / size
        state[f"{2 * number}.bias"] = torch.zeros(width)
        size = width
    state["0.weight"] *= grades

    def predict(x: torch.Tensor) -> torch.Tensor:
        for number in range(len(widths)):
            x = x @ state[f"{2 * number}.weight"].T + state[f"{2 * number}.bias"]
        return x

    one_block = torch.zeros(2, 20, 3)
    one_block[0, [block for stage in range(5) for block in (4 * stage, 4 * stage + 1)], 0] = 1
    one_block[1, :, 2] = 1
    resolution = torch.eye(8)[[0, 7]]
    x = torch.cat([one_block.flatten(1), one_block.flatten(1), resolution], 1)
    smallest, largest = predict(x)[:, 0].tolist()
    scale = (0.86 - 0.70) / (largest - smallest)
    state["6.weight"] *= scale
    state["6.bias"] += 0.70 - scale * smallest
    torch.save(state, path)
    return path
