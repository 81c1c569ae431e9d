"""The folder for timm: built by timm with the card's own lines, it computes what ours computes."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path
from typing import Any

import guides
import made_up_tables
import pytest
import timm.data
import torch
from families import custom_family
from in_process import run_here
from tiny_runs import make_record
from torch import nn

from fofa.commands import export
from fofa.errors import UserError
from fofa.export.onnx_file import Accuracy, describe
from fofa.export.timm_folder import CARD_NAME, CONFIG_NAME, write_folder
from fofa.runs import Run
from fofa.space import (
    EFFICIENTNET_LITE0,
    MOBILENETV3,
    PROXYLESS,
    Architecture,
    Family,
    NetworkConfig,
)
from fofa.space.spaces import sample_compound, sample_elastic
from fofa.supernet.config import SupernetConfig
from fofa.supernet.network import PlainNetwork

RUNS = {"mobilenetv3": MOBILENETV3, "proxyless": PROXYLESS, "lite0": EFFICIENTNET_LITE0}
"""Some subnets of each are built by timm."""
SEEDS = [0, 1, 2, 3, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 10))]


def drawn_network(family: Family, seed: int, **config: Any) -> PlainNetwork:
    """A random subnet with random norms, so that every tensor shows in the logits."""
    draw = random.Random(seed)
    subnet = (sample_compound if seed % 2 else sample_elastic)(draw, family)
    torch.manual_seed(seed)
    network = PlainNetwork(subnet, NetworkConfig(family=family, num_classes=10, **config))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                nn.init.normal_(tensor, std=0.2)
    return network.eval()


def described(network: PlainNetwork, side: int, accuracy: Accuracy | None = None) -> dict[str, str]:
    """What a run of the network's family says of it."""
    config = network.network_config
    supernet = SupernetConfig(family=config.family, width_mult=config.width_mult, num_classes=10)
    run = Run(Path("unread"), make_record(supernet=supernet))
    return describe(run, Architecture(network.subnet, side), "fp32", accuracy)


def built_by_timm(folder: Path) -> nn.Module:
    """The network that the card's own lines make in the folder."""
    (snippet,) = guides.blocks((folder / CARD_NAME).read_text(encoding="utf-8"), "python")
    names: dict[str, Any] = {}
    with contextlib.chdir(folder):
        exec(compile(snippet, CARD_NAME, "exec"), names)
    return names["network"]


def difference(network: PlainNetwork, folder: Path, side: int) -> float:
    """The largest difference of a logit, as a share of the largest one above 1."""
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(side))
    with torch.inference_mode():
        ours, theirs = network(images), built_by_timm(folder)(images)
    assert ours.std() > 1e-3, "logits that show nothing"
    return ((ours - theirs).abs().max() / ours.abs().max().clamp(min=1)).item()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("family", RUNS)
def test_timm_builds_it(family: str, seed: int, tmp_path: Path) -> None:
    width, side = (0.25, 0.5, 1.0)[seed % 3], (33, 64, 96)[seed % 3]
    network = drawn_network(RUNS[family], seed, width_mult=width)
    write_folder(network, Architecture(network.subnet, side), tmp_path, described(network, side))
    assert difference(network, tmp_path, side) < 1e-4


def test_what_timm_has_not_is_refused(tmp_path: Path) -> None:
    network = drawn_network(custom_family(tmp_path), 1)
    out = tmp_path / "out"
    with pytest.raises(UserError, match="a stem whose kernel is not 3") as caught:
        write_folder(network, Architecture(network.subnet, 64), out, described(network, 64))
    assert "--format onnx" in str(caught.value)
    assert not out.exists()


def test_pictures_are_prepared_as_the_run_wants(run: Run, tmp_path: Path) -> None:
    network = drawn_network(MOBILENETV3, 1, width_mult=0.25)
    write_folder(network, Architecture(network.subnet, 64), tmp_path, described(network, 64))
    config = json.loads((tmp_path / CONFIG_NAME).read_text(encoding="utf-8"))
    taken = timm.data.resolve_data_config(pretrained_cfg=config["pretrained_cfg"])
    assert list(taken["input_size"]) == [3, 64, 64]
    assert tuple(taken["mean"]) == run.record.mean
    assert tuple(taken["std"]) == run.record.std
    assert config["pretrained_cfg"]["label_names"] == run.record.class_names
    assert config["num_classes"] == len(run.record.class_names)


def test_the_card_has_accuracy_device_and_the_error_of_its_table(tmp_path: Path) -> None:
    network = drawn_network(MOBILENETV3, 1, width_mult=0.25)
    architecture = Architecture(network.subnet, 24)
    lut = made_up_tables.make_lut(
        width_mult=0.25, resolutions=(16, 24), validation=made_up_tables.make_validation(1.25)
    )
    accuracy = Accuracy(top1=71.5, test_images=300, data="a|b<i>", runtime="pytorch")
    text = described(network, 24, accuracy)
    write_folder(network, architecture, tmp_path, text, [lut])
    card = (tmp_path / CARD_NAME).read_text(encoding="utf-8")
    assert "71.50% of 300 test images of a\\|b&lt;i>" in card
    assert f"| {lut.latency_ms(architecture):.3f} ms |" in card
    assert "| 1.25% |" in card
    assert "| measured, fp32, batch 1 |" in card
    other = Architecture(network.subnet, 999)
    with pytest.raises(UserError, match="no resolution 999"):
        write_folder(network, other, tmp_path / "no", text, [lut])
    assert not (tmp_path / "no").exists()


def test_the_program_writes_it(run: Run, tmp_path: Path) -> None:
    made_up_tables.make_lut(width_mult=0.25, resolutions=(16, 24)).write(tmp_path / "cpu.json")
    words = "--architecture 23432@24 --format timm --lut cpu.json --out card"
    few = "--calibration-images 20 --test-images 20"
    done = run_here(
        export.main, "fofa-export", run.folder, *words.split(), *few.split(), cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "as timm, fp32: card" in done.stdout
    card = (tmp_path / "card" / CARD_NAME).read_text(encoding="utf-8")
    assert "of 20 test images of shapes" in card
    assert " ms |" in card
    built = built_by_timm(tmp_path / "card")
    assert built(torch.zeros(1, 3, 24, 24)).shape == (1, 10)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--format timm --out mine.txt", "is a file, expected a folder"),
        ("--format timm --out full", "full: holds notes.txt"),
        ("--format timm --dtype fp16 --out card", "exported in fp32"),
        ("--out n.onnx --lut cpu.json", "--lut goes with --format timm"),
    ],
)
def test_what_it_does_not_write(words: str, reason: str, run: Run, tmp_path: Path) -> None:
    made_up_tables.make_lut(width_mult=0.25, resolutions=(16, 24)).write(tmp_path / "cpu.json")
    (tmp_path / "full").mkdir()
    for name in ("mine.txt", "full/notes.txt"):
        (tmp_path / name).write_text("mine")
    few = "--architecture 23432@24 --calibration-images 20 --test-images 0"
    done = run_here(
        export.main, "fofa-export", run.folder, *few.split(), *words.split(), cwd=tmp_path
    )
    assert done.returncode == 2
    assert reason in done.stderr
    assert (tmp_path / "mine.txt").read_text() == (tmp_path / "full" / "notes.txt").read_text()
