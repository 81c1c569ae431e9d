"""Schema versions of every file format: newer ones are refused, older ones upgraded or refused."""

from __future__ import annotations

import importlib
import json
import pkgutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import bench
import fofa
import profilers
from fofa.errors import UserError
from fofa.evaluate.checkpoint import read_partial
from fofa.files import FileModel
from fofa.predictor.model import load_predictor
from fofa.train.checkpoint import CHECKPOINT_PATH, load_checkpoint

PLUGIN_FOLDER = "profilers.plugins."
"""These import runtimes, and define no file formats."""


def file_models() -> list[type[FileModel]]:
    """Every file format of the project, whichever module defines it."""
    for package in (fofa, profilers, bench):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.startswith(PLUGIN_FOLDER) and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    found = [model for model in descendants(FileModel) if model.__module__.partition(".")[0] in TOP]
    return sorted(found, key=lambda model: model.SCHEMA)


TOP = {"fofa", "profilers", "bench"}


def descendants(model: type[FileModel]) -> list[type[FileModel]]:
    return [each for child in model.__subclasses__() for each in (child, *descendants(child))]


MODELS = file_models()


def test_every_format_has_a_schema_of_its_own() -> None:
    schemas = [model.SCHEMA for model in MODELS]
    assert {"fofa.lut", "fofa.accuracy", "fofa.run", "fofa.baseline"} <= set(schemas)
    assert len(schemas) == len(set(schemas))


def refusal(model: type[FileModel], schema: object, path: Path) -> str:
    path.write_text(json.dumps({"schema": schema}))
    with pytest.raises(UserError) as caught:
        model.read(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.SCHEMA)
def test_versions_are_told_apart(model: type[FileModel], tmp_path: Path) -> None:
    path, own = tmp_path / "file.json", f"{model.SCHEMA}/{model.VERSION}"
    newer = refusal(model, f"{model.SCHEMA}/{model.VERSION + 1}", path)
    assert "newer" in newer
    assert "upgrade fofa" in newer
    oldest = min(model.UPGRADES, default=model.VERSION)
    assert "too old" in refusal(model, f"{model.SCHEMA}/{oldest - 1}", path)
    for other in (None, 1, "", model.SCHEMA, f"{model.SCHEMA}/x", f"{model.SCHEMA}s/1", own + ".5"):
        assert f"expected '{own}'" in refusal(model, other, path)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.SCHEMA)
def test_every_older_version_that_is_read_has_its_upgrade(model: type[FileModel]) -> None:
    oldest = min(model.UPGRADES, default=model.VERSION)
    assert sorted(model.UPGRADES) == list(range(oldest, model.VERSION))


@pytest.mark.parametrize(
    ("schema", "message"), [("fofa.checkpoint/2", "newer"), ("fofa.lut/1", "fofa.checkpoint/1")]
)
def test_a_checkpoint_of_another_version_is_refused(
    schema: str, message: str, tmp_path: Path
) -> None:
    state = {"schema": schema, "step": 1, "seconds": 1, "core_seconds": 1}
    path = tmp_path / CHECKPOINT_PATH
    path.parent.mkdir()
    save_file({"supernet.a": torch.zeros(1)}, path, {"state": json.dumps(state)})
    with pytest.raises(UserError, match=message):
        load_checkpoint(tmp_path)


def test_a_predictor_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "predictor.safetensors"
    save_file({"layers.0.bias": torch.zeros(1)}, path, {"fofa": '{"schema": "fofa.predictor/2"}'})
    with pytest.raises(UserError, match="newer"):
        load_predictor(path)


def test_a_partial_evaluation_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path, record = tmp_path / "table.json.partial", {"version": 2, "settings": {}}
    save_file({}, path, {"fofa.partial": json.dumps(record)})
    with pytest.raises(UserError, match=r"version.*remove it to start over"):
        read_partial(path, {})
