"""Programs that show how trainings go: TensorBoard, MLflow and Weights & Biases, one interface.

All of them write into the run folder and reach no network: what is to be seen elsewhere is sent
there by their own programs (`mlflow ui`, `wandb sync`). A library is imported when it is chosen.
"""

from __future__ import annotations

import importlib.util
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from fofa.errors import UserError
from fofa.files import write_text

TENSORBOARD_NAME = "tensorboard"
MLFLOW_NAME = "mlflow.db"
WANDB_NAME = "wandb"
RUN_ID_SUFFIX = ".run-id"
"""Beside a tracker's files: under which name a run that goes on is known to it."""
PROJECT = "fofa"

Settings = Mapping[str, object]


class Tracker(Protocol):
    """What takes the numbers of a training."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Take numbers by name, once `step` steps are done."""

    def close(self) -> None:
        """End its files."""


class TensorBoard:
    """Event files; what was written after `step` by a killed process is hidden."""

    def __init__(self, folder: Path, step: int, settings: Settings) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / TENSORBOARD_NAME), purge_step=step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class MLflow:
    """A data base in the run folder: `mlflow ui --backend-store-uri sqlite:///RUN/mlflow.db`.

    MLflow keeps every value: what a killed process had written after its checkpoint is there twice.
    """

    def __init__(self, folder: Path, step: int, settings: Settings) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        store = folder.resolve() / MLFLOW_NAME
        self._client = MlflowClient(tracking_uri=f"sqlite:///{store}")
        known = kept_id(folder / MLFLOW_NAME)
        if known is not None:
            self._run = known
            return
        experiment = self._client.get_experiment_by_name(PROJECT)
        number = experiment.experiment_id if experiment else self._client.create_experiment(PROJECT)
        self._run = self._client.create_run(number, run_name=folder.name).info.run_id
        keep_id(folder / MLFLOW_NAME, self._run)
        self._client.log_batch(
            self._run, params=[Param(name, str(value)) for name, value in settings.items()]
        )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._client.log_metric(self._run, name, value, step=step)

    def close(self) -> None:
        self._client.set_terminated(self._run)


class WeightsAndBiases:
    """Offline files in the run folder: `wandb sync RUN/wandb/offline-run-*` sends them."""

    def __init__(self, folder: Path, step: int, settings: Settings) -> None:
        import wandb

        known = kept_id(folder / WANDB_NAME)
        if known is None:
            known = uuid.uuid4().hex
            keep_id(folder / WANDB_NAME, known)
        self._run = wandb.init(
            project=PROJECT,
            name=folder.name,
            id=known,
            resume="allow",
            mode="offline",
            dir=str(folder),
            config=dict(settings),
            settings=wandb.Settings(silent=True, console="off"),
        )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


TRACKERS: dict[str, tuple[str, Callable[[Path, int, Settings], Tracker]]] = {
    "tensorboard": ("tensorboard", TensorBoard),
    "mlflow": ("mlflow", MLflow),
    "wandb": ("wandb", WeightsAndBiases),
}
"""By name: the module that has to be there, and what takes the numbers."""


def check_trackers(names: Sequence[str]) -> tuple[str, ...]:
    """Names of trackers, each once.

    Raises:
        UserError: if there is none of a name, or it is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise UserError(f"--tracker {name!r}: expected one of {', '.join(TRACKERS)}")
        module, _ = TRACKERS[name]
        if importlib.util.find_spec(module) is None:
            raise UserError(
                f"--tracker {name}: it is not installed: pip install 'fofa-nas[{name}]'"
            )
    return tuple(dict.fromkeys(names))


def open_trackers(
    names: Sequence[str], folder: Path, step: int, settings: Settings
) -> list[Tracker]:
    """The trackers of a run folder, from `step` on; `settings` tell the run from others."""
    return [TRACKERS[name][1](folder, step, settings) for name in names]


def kept_id(place: Path) -> str | None:
    """Under which name a run is known to the tracker whose files are at `place`."""
    path = place.with_name(place.name + RUN_ID_SUFFIX)
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None


def keep_id(place: Path, run_id: str) -> None:
    """Keep it for when the run goes on."""
    write_text(place.with_name(place.name + RUN_ID_SUFFIX), f"{run_id}\n")
