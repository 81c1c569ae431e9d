import pytest
import torch

from fofa.errors import UserError
from fofa.export.engine import write_engine
from fofa.export.onnx_graph import build_model


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_what_is_missing(network, tmp_path) -> None:
    model = build_model(network, 32, {}).SerializeToString()
    with pytest.raises(UserError, match=r"no NVIDIA GPU|not installed"):
        write_engine(model, 32, tmp_path / "n.plan", max_batch=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="an engine is built on a GPU")
def test_an_engine_is_built(network, tmp_path) -> None:
    pytest.importorskip("tensorrt")
    model = build_model(network, 32, {}).SerializeToString()
    write_engine(model, 32, tmp_path / "n.plan", max_batch=4)
    assert (tmp_path / "n.plan").stat().st_size > 1000
