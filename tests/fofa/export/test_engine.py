from importlib.util import find_spec

import pytest
import torch

from fofa.errors import UserError
from fofa.export.engine import MODULES, write_engine
from fofa.export.onnx_graph import build_model

RTX = any(find_spec(name) for name in MODULES[1:]) and not find_spec("tensorrt")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_what_is_missing(network, tmp_path) -> None:
    model = build_model(network, 32, {}).SerializeToString()
    with pytest.raises(UserError, match=r"no NVIDIA GPU|not installed"):
        write_engine(model, 32, tmp_path / "n.plan", max_batch=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not RTX, reason="TensorRT-RTX builds without a GPU, and it is not used here")
@pytest.mark.parametrize("half", [False, True])
def test_an_engine_is_built_for_a_gpu_that_is_not_there(network, tmp_path, half) -> None:
    model = build_model(network, 32, {}, half=half).SerializeToString()
    write_engine(model, 32, tmp_path / "n.plan", max_batch=4, compute_capability="8.6")
    assert (tmp_path / "n.plan").stat().st_size > 10_000


@pytest.mark.skipif(not RTX, reason="TensorRT-RTX builds without a GPU, and it is not used here")
def test_what_cannot_be_built(network, tmp_path) -> None:
    model = build_model(network, 32, {}).SerializeToString()
    with pytest.raises(UserError, match=r"does not build for compute capability 1\.0"):
        write_engine(model, 32, tmp_path / "n.plan", max_batch=1, compute_capability="1.0")
    with pytest.raises(UserError, match="does not take the network"):
        write_engine(b"no model", 32, tmp_path / "n.plan", max_batch=1, compute_capability="8.6")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="an engine for this GPU needs one")
def test_an_engine_for_the_gpu_that_is_here(network, tmp_path) -> None:
    model = build_model(network, 32, {}).SerializeToString()
    write_engine(model, 32, tmp_path / "n.plan", max_batch=4)
    assert (tmp_path / "n.plan").stat().st_size > 10_000
