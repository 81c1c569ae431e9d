"""Run folders on `shapes`, made without training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from made_up_tables import make_training

from fofa.data import shapes
from fofa.runs import RECORD_NAME, WEIGHTS_NAME, Run, RunRecord
from fofa.supernet.config import SupernetConfig
from fofa.supernet.model import Supernet
from fofa.supernet.weights import save_weights


def make_record(**fields: Any) -> RunRecord:
    """The record of a finished run of width 0.25 on `shapes`; `fields` are those of `RunRecord`."""
    classes = list(fields.get("class_names", shapes.CLASS_NAMES))
    values = {
        "recipe": "fofa-n3",
        "preset": "shapes",
        "dataset": "shapes",
        "data_spec": "shapes",
        "class_names": classes,
        "mean": shapes.MEAN,
        "std": shapes.STD,
        "supernet": SupernetConfig(width_mult=0.25, num_classes=len(classes)),
        "resolutions": [24, 32],
        "training": make_training(epochs=0, images_per_second=0),
        "status": "finished",
        "step": 0,
    }
    return RunRecord(**values | fields)


def make_run(folder: Path, supernet: Supernet | None = None, **fields: Any) -> Run:
    """A run folder of `supernet`, or of an untrained one of width 0.25."""
    if supernet is None:
        torch.manual_seed(0)
        supernet = Supernet(make_record(**fields).supernet)
    save_weights(supernet, folder / WEIGHTS_NAME)
    make_record(**{"supernet": supernet.config} | fields).write(folder / RECORD_NAME)
    return Run.open(folder)
