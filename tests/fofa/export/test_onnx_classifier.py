"""`fofa predict`: what the file itself says is enough to name images as the run's network does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from in_process import run_here
from PIL import Image

from fofa.commands import predict
from fofa.errors import UserError
from fofa.export.classifier import ImageClassifier
from fofa.export.onnx_classifier import OnnxClassifier
from fofa.export.onnx_file import describe, network_model


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture that is not square, so that cropping shows."""
    path = tmp_path_factory.mktemp("pictures") / "noise.png"
    values = np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return path


@pytest.fixture(scope="session")
def exported(run, network, architecture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "network.onnx"
    save(path, network, describe(run, architecture, "fp32"))
    return path


def save(path: Path, network, metadata, **options) -> None:
    model = network_model(network, int(metadata["input_size"]), metadata, **options)
    onnx.save_model(model, path)


@pytest.mark.parametrize("crops", [False, True])
@pytest.mark.parametrize(("dtype", "batch_size"), [("fp32", None), ("fp16", None), ("fp32", 3)])
def test_the_file_names_an_image_as_the_run_does(
    crops, dtype, batch_size, make_run, run, network, architecture, picture, tmp_path
) -> None:
    told = run
    if crops:
        told = make_run(tmp_path / "run", run.load_supernet(), data_spec="folder:photos")
    path = tmp_path / "network.onnx"
    save(path, network, describe(told, architecture, dtype), dtype=dtype, batch_size=batch_size)
    expected = ImageClassifier.of(told, architecture, network).predict(picture, top=10)
    found = {one.class_name: one for one in OnnxClassifier.open(path).predict(picture, top=10)}
    assert len(found) == 10
    for one in expected:
        assert found[one.class_name].probability == pytest.approx(one.probability, abs=5e-3)


def test_the_program(exported, picture) -> None:
    done = run_here(predict.main, "fofa predict", exported, picture, picture, "--top", 2, cwd=None)
    assert done.returncode == 0
    assert len(set(done.stdout.splitlines())) == 1
    assert done.stdout.startswith(f"{picture}: ")
    assert done.stdout.splitlines()[0].count("%") == 2
    as_json = run_here(predict.main, "fofa predict", exported, picture, "--json", cwd=None)
    classes = json.loads(as_json.stdout)[str(picture)]
    assert [one["probability"] for one in classes] == sorted(
        (one["probability"] for one in classes), reverse=True
    )


def test_a_file_of_before_is_taken_as_cropped(exported, tmp_path) -> None:
    model = onnx.load_model(exported)
    kept = {entry.key: entry.value for entry in model.metadata_props if entry.key != "crop"}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, kept)
    onnx.save_model(model, tmp_path / "old.onnx")
    assert OnnxClassifier.open(tmp_path / "old.onnx").description.crop == "centre"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("input_size", None, "metadata, field input_size: Field required"),
        ("input_size", "-4", "metadata, input_size: resolutions"),
        ("input_size", "many", "metadata, field input_size: "),
        ("mean", "[0, 0]", "metadata, field mean"),
        ("mean", "[0, 0, NaN]", "metadata, field mean"),
        ("std", "[0, 1, 1]", "metadata, field std"),
        ("class_names", '["one"]', "gives [10] logits for 1 class_names"),
        ("class_names", "nothing", "metadata, field class_names"),
        ("crop", "sideways", "metadata, field crop"),
    ],
)
def test_metadata_that_is_wrong_is_one_line(key, value, said, exported, tmp_path) -> None:
    model = onnx.load_model(exported)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    metadata.pop(key)
    if value is not None:
        metadata[key] = value
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, metadata)
    path = tmp_path / "wrong.onnx"
    onnx.save_model(model, path)
    with pytest.raises(UserError) as raised:
        OnnxClassifier.open(path)
    assert str(raised.value).startswith(str(path))
    assert said in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07"])
def test_a_file_that_is_none(content: bytes, tmp_path: Path, picture: Path) -> None:
    path = tmp_path / "wrong.onnx"
    path.write_bytes(content)
    done = run_here(predict.main, "fofa predict", path, picture, cwd=None)
    assert done.returncode == 2
    assert done.stderr.startswith(f"fofa predict: {path}: ")
    assert done.stderr.count("\n") == 1


def test_files_that_are_not_there(exported: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    for words in ((missing, missing), (exported, missing)):
        done = run_here(predict.main, "fofa predict", *words, cwd=None)
        assert done.returncode == 2
        assert done.stderr.startswith(f"fofa predict: {missing}: no such file")
