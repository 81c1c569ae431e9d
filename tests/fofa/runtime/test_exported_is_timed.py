"""What `fofa-export` writes is what latency tables are measured with.

Every plugin that runs networks is driven up to the point where its runtime is given the graph; that
graph is compared with the exported file's, and the file is loaded the way `--network` does.
"""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from fofa.errors import UserError
from fofa.export.int8_model import int8_model
from fofa.export.onnx_file import network_model, noise_images
from fofa.runtime import torch_graph
from fofa.runtime.graph import BUILT_TYPES, GRAPH_TYPES, build_model
from fofa.runtime.int8 import Int8Scheme, Quantisation
from fofa.runtime.session import session_logits
from fofa.runtime.tensorrt import TensorRt, build_engine
from fofa.space import network_blocks
from profilers.plugin import PluginOptions, Session
from profilers.plugins import cuda, mnn, onnxruntime, openvino, tensorrt
from profilers.plugins.engine_cache import EngineCache
from profilers.plugins.gpu_options import GpuOptions
from profilers.remote import session as remote
from profilers.remote.transport import Local

RESOLUTION = 32
BATCH = 3
TIMED = {
    "onnxruntime": BUILT_TYPES,
    "openvino": openvino.DTYPES,
    "mnn": mnn.DTYPES,
    "cuda": GRAPH_TYPES,
    "tensorrt": GRAPH_TYPES,
    "elsewhere": BUILT_TYPES,
}
"""The plugins that run networks, and in which number types; `elsewhere` is the agent's runtime on
another machine."""
SUBNETS = ("22222", "43234", "3x3+5x4-7x6+3x3+5x3-3x3+3x4-5x6+7x6+3x3+3x3-7x4+7x4")


def description(model: onnx.ModelProto) -> list[object]:
    """All of a graph but what its weights hold and what it is called."""
    graph = model.graph
    values = [(value.name, str(value.type)) for value in (*graph.input, *graph.output)]
    weights = [(w.name, tuple(w.dims), w.data_type) for w in graph.initializer]
    nodes = [
        (
            node.op_type,
            list(node.input),
            list(node.output),
            {a.name: helper.get_attribute_value(a) for a in node.attribute},
        )
        for node in graph.node
    ]
    return [[(o.domain, o.version) for o in model.opset_import], values, weights, nodes]


class Cpu:
    """In place of a GPU."""

    name = "cpu"

    def use(self):
        return contextlib.nullcontext()

    def hardware(self):
        return {"gpu": {"name": "none", "compute_capability": "8.0"}}


def tensorrt_that(hand_over: Callable[[bytes], None]) -> TensorRt:
    """TensorRT up to the point where its parser is given a graph."""
    module = types.SimpleNamespace(
        Runtime=lambda logger: types.SimpleNamespace(deserialize_cuda_engine=None),
        Builder=lambda logger: types.SimpleNamespace(create_network=lambda flags: None),
        NetworkDefinitionCreationFlag=types.SimpleNamespace(STRONGLY_TYPED=0),
        OnnxParser=lambda network, logger: types.SimpleNamespace(parse=hand_over, num_errors=0),
    )
    return TensorRt(module, "TensorRT", "10.0", logger=None)


class HandedOverError(BaseException):
    """The graph has been handed over."""


def exported(network, dtype, batch_size, metadata=None):
    """The model that is written."""
    if dtype != "int8":
        return network_model(
            network, RESOLUTION, metadata or {}, dtype=dtype, batch_size=batch_size
        )
    images = noise_images(RESOLUTION, 8)
    model, _ = int8_model(
        network,
        RESOLUTION,
        [(images, torch.zeros(8))],
        Quantisation(Int8Scheme(), 8),
        check=images,
        batch_size=batch_size,
    )
    return model


@pytest.fixture
def timed_graph(plugin, monkeypatch, tmp_path):
    """A function that gives the graph that a plugin hands to its runtime for blocks or a file."""
    seen: list[onnx.ModelProto] = []

    def hand_over(model: onnx.ModelProto | bytes) -> None:
        seen.append(onnx.ModelProto.FromString(model) if isinstance(model, bytes) else model)
        raise HandedOverError

    options = {"batch_size": BATCH}

    def open_session(dtype: str) -> Session:
        if plugin == "cuda":
            monkeypatch.setattr(torch_graph, "load_module", hand_over)
            return cuda.CudaSession(Cpu(), GpuOptions(dtype=dtype, **options))
        if plugin == "tensorrt":
            return tensorrt.TensorRtSession(
                tensorrt_that(hand_over),
                Cpu(),
                GpuOptions(dtype=dtype, **options),
                EngineCache(tmp_path / "engines"),
            )
        if plugin == "openvino":
            monkeypatch.setattr(
                openvino.OpenVinoSession, "_request", lambda _, model: hand_over(model)
            )
            return openvino.PLUGIN.open(PluginOptions(dtype=dtype, **options))
        if plugin == "mnn":
            pytest.importorskip("MNN")
            monkeypatch.setattr("fofa.runtime.mnn.convert", hand_over)
            return mnn.PLUGIN.open(PluginOptions(dtype=dtype, **options))
        if plugin == "elsewhere":
            monkeypatch.setattr(remote.RemoteSession, "_start", lambda _: None)
            monkeypatch.setattr(remote.RemoteSession, "_machine", lambda _: None)
            monkeypatch.setattr(
                remote.RemoteSession, "_open", lambda _, network: hand_over(network.model)
            )
            return remote.RemotePlugin(Local(tmp_path)).open(PluginOptions(dtype=dtype, **options))
        monkeypatch.setattr(
            onnxruntime.OnnxRuntimeSession, "_open", lambda _, model, *__: hand_over(model)
        )
        return onnxruntime.PLUGIN.open(PluginOptions(dtype=dtype, **options))

    def graph(dtype: str, subject: object) -> onnx.ModelProto:
        with open_session(dtype) as session:
            load = session.load if isinstance(subject, Path) else session.lower
            with pytest.raises(HandedOverError):
                load(subject)
        return seen[-1]

    return graph


@pytest.mark.parametrize(
    ("plugin", "dtype"), [(plugin, dtype) for plugin, types in TIMED.items() for dtype in types]
)
@pytest.mark.parametrize("name", SUBNETS)
def test_the_exported_graph_is_the_timed_one(timed_graph, make_network, tmp_path, name, dtype):
    network = make_network(name)
    blocks = network_blocks(network.subnet, RESOLUTION, network.network_config)
    timed = description(timed_graph(dtype, blocks))
    assert description(exported(network, dtype, BATCH, {"a": "b"})) == timed
    file, free = tmp_path / "free.onnx", exported(network, dtype, None)
    onnx.save(free, file)
    assert description(free) != timed  # any batch size
    assert description(timed_graph(dtype, file)) == timed


def test_an_engine_is_built_from_the_timed_graph_whatever_batch_the_model_has(make_network):
    seen = []
    network = make_network("22222")
    for batch_size in (None, BATCH):
        model = network_model(network, RESOLUTION, {}, dtype="fp16", batch_size=batch_size)
        with pytest.raises(UserError, match="cannot read"):
            build_engine(tensorrt_that(seen.append), model.SerializeToString(), batch_size=BATCH)
    blocks = network_blocks(network.subnet, RESOLUTION, network.network_config)
    timed = description(build_model(blocks, BATCH, "fp16"))
    assert [description(onnx.ModelProto.FromString(model)) for model in seen] == [timed, timed]


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
@pytest.mark.parametrize("name", SUBNETS)
def test_it_computes_what_the_supernets_network_does(make_network, name, dtype):
    network, images = make_network(name), noise_images(RESOLUTION, 5)
    with torch.inference_mode():
        expected = network(images).numpy()
    tolerance = {"fp32": 1e-4, "fp16": 5e-2}[dtype] * max(1, np.abs(expected).max())
    model = network_model(network, RESOLUTION, {}, dtype=dtype, batch_size=BATCH)
    assert np.abs(session_logits(model)(images) - expected).max() <= tolerance
    with torch.inference_mode():
        module = torch_graph.load_module(model)
        logits = module(images.to(next(module.parameters()).dtype)).float().numpy()
    assert np.abs(logits - expected).max() <= tolerance
