"""From what a person chose to settings: the preset's defaults, and what does not go together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from fofa.accuracy import AccuracyTable, Pace
from fofa.data import open_data
from fofa.distributed import Processes
from fofa.errors import UserError
from fofa.presets import FOLDER, Preset, folder_preset, presets_for
from fofa.runs import PRETRAINED, Run
from fofa.space import MOBILENETV3
from fofa.train.pretrained import LEARNING_RATE, PRETRAINED_RATE
from fofa.train.settings import TrainSettings


def choose_settings(
    preset: Preset, processes: Processes, chosen: Mapping[str, object]
) -> TrainSettings:
    """Settings by their names as a person chose them; the preset's where the value is None.

    The precision `auto` is bf16 on a GPU that computes in it, else fp32.

    Raises:
        UserError: if one is wrong, or the data set is not one that the preset is for.
    """
    data = chosen["data"] or preset.data
    if data is None:
        raise UserError(
            f"preset {preset.name} has no data of its own; name it, such as "
            f"--data {preset.data_sets[0]}:DIR"
        )
    kind = str(data).partition(":")[0]
    if kind not in preset.data_sets:
        others = " or ".join(presets_for(kind))
        raise UserError(
            f"preset {preset.name} is for {' or '.join(preset.data_sets)}, not for {data!r}"
            + (f", which goes with --preset {others}" if others else "")
        )
    if chosen["budget_hours"] is not None and chosen["epoch_scale"] is not None:
        raise UserError("--budget and --epoch-scale exclude each other: both set the length")
    if chosen.get("pace") is not None and chosen["budget_hours"] is None:
        raise UserError("--pace needs --budget: how many hours at that pace")
    precision = chosen["precision"]
    if precision == "auto":
        on_gpu = processes.device.type == "cuda"
        precision = "bf16" if on_gpu and torch.cuda.is_bf16_supported(False) else "fp32"
    if chosen["init"] is not None:
        chosen = {**chosen, **_of_init(chosen)}
    values = {
        name: getattr(preset, name, None) if value is None else value
        for name, value in chosen.items()
    }
    if chosen["epoch_scale"] is not None:
        values["budget_hours"] = None  # which the preset may have
    values |= {
        "preset": preset.name,
        "data": data,
        "precision": precision,
        "processes": processes.world_size,
        "zero_init_residual": preset.zero_init_residual,
        "family": values["family"] or MOBILENETV3,
    }
    settings = TrainSettings.checked(values)
    if settings.pace is not None:
        for name in ("recipe", "preset"):
            theirs, ours = getattr(settings.pace, name), getattr(settings, name)
            if theirs != ours:
                raise UserError(f"--pace: that table is of {name} {theirs}, this run of {ours}")
    return settings


def read_pace(path: Path) -> Pace:
    """The pace of the training that an accuracy table is of.

    Raises:
        UserError: if it cannot be read or does not say.
    """
    table = AccuracyTable.read(path)
    try:
        return table.pace
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def fitted_preset(
    preset: Preset, processes: Processes, data: str | None, folder: Path, *, pretrained: bool
) -> Preset:
    """The preset `folder` for the images that are there; every other one as it is.

    A run that has begun stays as it was fitted then.

    Raises:
        UserError: if the data cannot be opened.
    """
    if preset.name != FOLDER.name or data is None:
        return preset
    if data.partition(":")[0] not in preset.data_sets:
        return preset
    found = TrainSettings.of_run(folder)
    if found is not None and found.preset == preset.name:
        return replace(
            preset,
            resolutions=found.resolutions,
            batch_size=found.batch_size,
            budget_hours=found.budget_hours,
            epoch_scale=found.epoch_scale,
        )
    source = open_data(data)
    on_gpu = processes.device.type == "cuda"
    processors = processes.world_size * (1 if on_gpu else torch.get_num_threads())
    return folder_preset(
        source.num_train, on_gpu=on_gpu, pretrained=pretrained, processors=processors
    )


def _of_init(chosen: Mapping[str, object]) -> dict[str, object]:
    """What follows from the run to begin from, where a person chose nothing else."""
    path = Path(str(chosen["init"]))
    record = Run.open(path).record
    found = {"family": record.supernet.family, "width_mult": record.supernet.width_mult}
    known = {name: value for name, value in found.items() if chosen[name] is None}
    if chosen["learning_rate"] is None:
        is_new = record.recipe == PRETRAINED
        known["learning_rate"] = PRETRAINED_RATE if is_new else LEARNING_RATE
    return {**known, "init": str(path)}
