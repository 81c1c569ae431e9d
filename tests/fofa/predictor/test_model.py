import json
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from fofa.errors import UserError
from fofa.predictor.model import METADATA_KEY, Predictor, features, load_predictor
from fofa.space import Architecture, SearchSpace
from fofa.space.encoding import encode

SPACE = SearchSpace(kind="elastic", resolutions=(128, 160))
OFA = tuple(range(112, 225, 16))
OFA_SPACE = SearchSpace(kind="elastic", resolutions=(160, 176, 192, 208, 224))


def population(num: int = 20, resolutions: tuple[int, ...] = (128, 160)):
    space = SearchSpace(kind="elastic", resolutions=resolutions)
    rng = random.Random(0)
    return encode([space.sample(rng) for _ in range(num)], resolutions)


def test_predictions_are_those_of_the_layers_in_torch(predictor) -> None:
    x = torch.from_numpy(features(population(), (128, 160)))
    for weight, bias in zip(predictor.weights[:-1], predictor.biases[:-1], strict=True):
        x = (x @ torch.from_numpy(weight) + torch.from_numpy(bias)).relu()
    expected = x @ torch.from_numpy(predictor.weights[-1]) + torch.from_numpy(predictor.biases[-1])
    predicted = predictor.predict(population())
    assert predicted.dtype == np.float64
    assert predicted == pytest.approx(expected[:, 0].numpy(), rel=1e-5, abs=1e-5)


def test_a_saved_predictor_loads_the_same(predictor, tmp_path) -> None:
    predictor.save(tmp_path / "p.safetensors")
    loaded = load_predictor(tmp_path / "p.safetensors")
    assert loaded.record == predictor.record
    assert np.array_equal(loaded.predict(population()), predictor.predict(population()))


def test_ofas_own_predictor(ofa_predictor_file) -> None:
    """Its file loads, and predicts what its layers define on the features of the facts."""
    loaded = load_predictor(ofa_predictor_file)
    assert [weight.shape for weight in loaded.weights] == [
        (128, 400),
        (400, 400),
        (400, 400),
        (400, 1),
    ]
    chosen = population(50, (160, 176, 192, 208, 224))
    state = torch.load(ofa_predictor_file, map_location="cpu", weights_only=True)
    x = torch.from_numpy(features(chosen, tuple(range(112, 225, 16))))
    for layer in (0, 2, 4, 6):
        x = torch.nn.functional.linear(x, state[f"{layer}.weight"], state[f"{layer}.bias"])
        x = x if layer == 6 else x.relu()
    predicted = loaded.predict(chosen)
    assert predicted == pytest.approx(x[:, 0].numpy(), abs=1e-5)
    assert 0.7 < predicted.min() < predicted.max() < 0.86


class Malicious:
    """Pickles as a call that makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
@pytest.mark.parametrize("new_format", [True, False])
def test_a_predictor_made_to_run_code_does_not(tmp_path, suffix, new_format) -> None:
    target, file = tmp_path / "ran", tmp_path / f"bad{suffix}"
    state = {"0.weight": torch.zeros(1, 128), "0.bias": Malicious(target)}
    torch.save(state, file, _use_new_zipfile_serialization=new_format)
    with pytest.raises(UserError, match=r"not a state dict that can be read safely"):
        load_predictor(file)
    assert not target.exists()
    pickle.loads(pickle.dumps(Malicious(target)))
    assert target.exists()  # the attack itself works


def test_a_plain_pickle_is_refused(tmp_path) -> None:
    target, file = tmp_path / "ran", tmp_path / "bad.pth"
    file.write_bytes(pickle.dumps(Malicious(target)))
    with pytest.raises(UserError, match=r"bad\.pth"):
        load_predictor(file)
    assert not target.exists()


def damaged(predictor: Predictor, folder: Path, change) -> Path:
    """The predictor's file after `change` of its tensors and its metadata."""
    tensors = {}
    for index, (weight, bias) in enumerate(zip(predictor.weights, predictor.biases, strict=True)):
        tensors[f"layers.{index}.weight"] = np.ascontiguousarray(weight.T)
        tensors[f"layers.{index}.bias"] = bias
    record = json.loads(predictor.record.to_json())
    change(tensors, record)
    file = folder / "damaged.safetensors"
    save_file(tensors, file, metadata={METADATA_KEY: json.dumps(record)})
    return file


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, r: t.pop("layers.0.bias"), "a weight and a bias for every layer"),
        (lambda t, r: t.update({"extra": np.zeros(1, np.float32)}), "unexpected tensor 'extra'"),
        (lambda t, r: r["space"].update(resolutions=[128]), "where 121 inputs come in"),
        (lambda t, r: r.update(schema="fofa.predictor/9"), "newer than this fofa"),
        (lambda t, r: r.update(schema="fofa.lut/1"), "expected 'fofa.predictor/1'"),
        (lambda t, r: r.update(recipe=3), "field recipe"),
        (lambda t, r: t["layers.1.bias"].fill(np.nan), "not finite"),
        (lambda t, r: t.update({"layers.1.bias": np.zeros(1)}), "float32"),
        (
            lambda t, r: t.update(
                {"layers.1.weight": np.zeros((2, 8), "f4"), "layers.1.bias": np.zeros(2, "f4")}
            ),
            "has 2 outputs",
        ),
    ],
)
def test_damaged_predictors_are_refused_in_one_line(predictor, tmp_path, change, message) -> None:
    with pytest.raises(UserError, match=message) as error:
        load_predictor(damaged(predictor, tmp_path, change))
    assert "damaged.safetensors" in str(error.value)


@settings(deadline=None)
@given(st.data())
def test_any_flipped_bytes_are_refused_or_harmless(data) -> None:
    """Random damage never gives a traceback or a number that is not finite."""
    rng = np.random.default_rng(0)
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.safetensors"
        _tiny(rng).save(path)
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            # Mostly the header, where the structure is.
            place = data.draw(st.integers(0, min(len(content) - 1, 900)))
            content[place] = data.draw(st.integers(0, 255))
        cut = data.draw(st.integers(1, len(content)))
        path.write_bytes(content[:cut] if data.draw(st.booleans()) else content)
        try:
            loaded = load_predictor(path)
            if loaded.resolutions == (128, 160):
                assert np.isfinite(loaded.predict(population(2))).all()
        except UserError as refused:
            assert "\n" not in str(refused)


def _tiny(rng: np.random.Generator) -> Predictor:
    from fofa.accuracy import SpaceRecord
    from fofa.predictor.model import PredictorRecord

    space = SpaceRecord(kind="elastic", width_mult=1.0, resolutions=[128, 160])
    return Predictor(
        PredictorRecord(recipe="ofa", dataset="made-up", space=space),
        (rng.standard_normal((122, 1)).astype(np.float32),),
        (np.zeros(1, np.float32),),
    )


def test_files_that_are_no_predictors(tmp_path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_predictor(tmp_path / "missing.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(UserError, match="not a safetensors file"):
        load_predictor(tmp_path / "text.safetensors")
    (tmp_path / "empty.pth").write_bytes(b"")
    with pytest.raises(UserError, match="read safely"):
        load_predictor(tmp_path / "empty.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(UserError, match="expected a state dict"):
        load_predictor(tmp_path / "list.pth")
    save_file({"a": np.zeros(1)}, tmp_path / "plain.safetensors")
    with pytest.raises(UserError, match="without a predictor's metadata"):
        load_predictor(tmp_path / "plain.safetensors")


def as_the_facts_define(architecture: Architecture) -> list[float]:
    """20 x one-hot kernel, 20 x one-hot expand, zero where a block is left out, then one-hot of
    (resolution - 112) / 16."""
    kernels: list[float] = []
    expands: list[float] = []
    for stage in architecture.subnet.stages:
        for place in range(4):
            block = stage[place] if place < len(stage) else None
            kernels += [float(block is not None and block.kernel == k) for k in (3, 5, 7)]
            expands += [float(block is not None and block.expand == e) for e in (3, 4, 6)]
    resolution = [0.0] * 8
    resolution[(architecture.resolution - 112) // 16] = 1.0
    return kernels + expands + resolution


def test_features_are_those_that_the_facts_define() -> None:
    architectures = [OFA_SPACE.sample(random.Random(seed)) for seed in range(50)]
    made = features(encode(architectures, OFA_SPACE.resolutions), OFA)
    assert made.dtype == np.float32
    assert made.tolist() == [as_the_facts_define(a) for a in architectures]


def test_unknown_resolutions_are_refused() -> None:
    population = encode([OFA_SPACE.sample(random.Random(0))], OFA_SPACE.resolutions)
    with pytest.raises(UserError, match=r"no resolution \[176, 208\]"):
        features(population, (160, 192, 224))


def test_no_architectures_have_no_features() -> None:
    assert features(encode([], (160,)), (160,)).shape == (0, 121)
