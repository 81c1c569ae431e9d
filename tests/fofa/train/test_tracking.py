"""Trackers: the real libraries where they are installed, else stand-ins that know their API."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fofa.errors import UserError
from fofa.train.reporting import RunLog
from fofa.train.tracking import (
    MLFLOW_NAME,
    TENSORBOARD_NAME,
    check_trackers,
    kept_id,
    open_trackers,
)

SETTINGS = {"recipe": "fofa-n3", "batch_size": 8, "family": None}


def log_twice(folder: Path, *names: str) -> None:
    """A training that is stopped after step 2 and goes on to step 3."""
    for session in ([1, 2], [3]):
        log = RunLog(folder, session[0] - 1, open_trackers(names, folder, session[0] - 1, SETTINGS))
        for step in session:
            log.write(step, {"loss": 4.0 - step, "phase": "warmup", "resolution": 24})
        log.close()


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, ModuleType], None]:
    """Puts a stand-in in the place of a library that is not installed."""

    def put(name: str, module: ModuleType) -> None:
        module.__spec__ = importlib.util.spec_from_loader(name, None)
        monkeypatch.setitem(sys.modules, name, module)

    return put


def module(name: str, **members: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(members)
    return made


def test_tensorboard_has_each_step_once(tmp_path: Path) -> None:
    log_twice(tmp_path, "tensorboard")
    events = EventAccumulator(str(tmp_path / TENSORBOARD_NAME))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(1, 3), (2, 2), (3, 1)]
    assert "train/phase" not in events.Tags()["scalars"]


@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="no mlflow here")
def test_mlflow_goes_on_with_its_run(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    log_twice(tmp_path, "mlflow")
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / MLFLOW_NAME}")
    experiment = client.get_experiment_by_name("fofa")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(entry.step, entry.value) for entry in history] == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert run.data.params["recipe"] == "fofa-n3"
    assert run.info.status == "FINISHED"


@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="no wandb here")
def test_wandb_writes_offline_files(tmp_path: Path) -> None:
    log_twice(tmp_path, "wandb")
    written = list((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(written) == 2
    assert {path.stem for path in written} == {f"run-{kept_id(tmp_path / 'wandb')}"}


def test_mlflow_is_called_as_its_client_is(tmp_path: Path, modules) -> None:
    """Against a stand-in with the methods and arguments of MLflow 3's client."""
    stores: dict[str, list[Any]] = {}

    class Client:
        def __init__(self, tracking_uri: str) -> None:
            self.calls = stores.setdefault(tracking_uri, [])

        def get_experiment_by_name(self, name: str) -> None:
            return None

        def create_experiment(self, name: str) -> str:
            return "1"

        def create_run(self, experiment_id: str, *, run_name: str) -> Any:
            self.calls.append(("run", experiment_id, run_name))
            return SimpleNamespace(info=SimpleNamespace(run_id="r1"))

        def log_batch(self, run_id: str, *, params: list[tuple[str, str]]) -> None:
            self.calls.append(("params", run_id, dict(params)))

        def log_metric(self, run_id: str, key: str, value: float, *, step: int) -> None:
            self.calls.append((run_id, key, value, step))

        def set_terminated(self, run_id: str) -> None:
            self.calls.append(("end", run_id))

    modules("mlflow", module("mlflow", MlflowClient=Client))
    modules("mlflow.entities", module("mlflow.entities", Param=lambda key, value: (key, value)))
    assert check_trackers(["mlflow"]) == ("mlflow",)
    log_twice(tmp_path, "mlflow")
    ((store, calls),) = stores.items()
    assert store == f"sqlite:///{tmp_path.resolve()}/mlflow.db"
    assert calls[:2] == [
        ("run", "1", tmp_path.name),
        ("params", "r1", {"recipe": "fofa-n3", "batch_size": "8", "family": "None"}),
    ]
    assert [call for call in calls if "train/loss" in call] == [
        ("r1", "train/loss", 3.0, 1),
        ("r1", "train/loss", 2.0, 2),
        ("r1", "train/loss", 1.0, 3),
    ]
    assert calls.count(("end", "r1")) == 2


def test_wandb_is_called_offline_and_goes_on_with_its_run(tmp_path: Path, modules) -> None:
    """Against a stand-in with the arguments of wandb.init."""
    started: list[dict[str, Any]] = []
    logged: list[Any] = []

    def init(**arguments: Any) -> Any:
        started.append(arguments)
        return SimpleNamespace(
            log=lambda values, step: logged.append((step, values["train/loss"])),
            finish=lambda: logged.append("end"),
        )

    modules("wandb", module("wandb", init=init, Settings=dict))
    log_twice(tmp_path, "wandb")
    assert [call["mode"] for call in started] == ["offline"] * 2
    assert started[0]["id"] == started[1]["id"] == kept_id(tmp_path / "wandb")
    assert started[0]["dir"] == str(tmp_path)
    assert started[0]["config"] == SETTINGS
    assert logged == [(1, 3.0), (2, 2.0), "end", (3, 1.0), "end"]


def test_what_is_not_installed_or_unknown_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"--tracker wandb: .* pip install 'fofa-nas\[wandb\]'"):
        check_trackers(["wandb"])
    with pytest.raises(UserError, match="expected one of tensorboard, mlflow, wandb"):
        check_trackers(["tracking"])


def test_a_tracker_is_opened_once() -> None:
    assert check_trackers(["tensorboard", "tensorboard"]) == ("tensorboard",)
